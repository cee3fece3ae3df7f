// What a training run carries from update to update: weights, states of optimizers, and its checkpoints.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Model.h"
#include "loopc/runtime/Optimizer.h"
#include <map>

namespace loopc::driver {

/// Weights in f32 by their published names; they can be read as a file can.
class MasterWeights : public rt::TensorSource {
public:
  /// Those of `from`, as the model's checkpoint map wants them.
  MasterWeights(const frontend::Program &program, const rt::TensorSource &from);
  /// Seeded, by the laws of Packing.h.
  MasterWeights(const frontend::Program &program, const rt::ModelInfo &info, uint64_t seed);
  std::vector<float> &values(const std::string &name) { return owned.at(name); }

private:
  void take(const frontend::Program &program, const std::string &name, uint32_t weight, std::vector<float> values);
  std::map<std::string, std::vector<float>> owned;
};

class TrainState {
public:
  TrainState(const frontend::Program &program, const frontend::ProgramTraining &section, MasterWeights weights);

  /// Update number `update`, from 1, with the gradients of all weights by published names; they are scaled in place. Returns their norm.
  double apply(std::map<std::string, std::vector<float>> &gradients, int64_t update);
  MasterWeights &weights() { return master; }

  /// Writes `directory`/step-N whole or not at all: model.safetensors, optimizer.safetensors, state.json, and `files`, texts by name.
  void save(const std::string &directory, int64_t step, Json state, const std::map<std::string, std::string> &files) const;
  /// The state that `save` was given.
  Json load(const std::string &checkpoint);

private:
  const frontend::Program &program;
  const frontend::ProgramTraining &section;
  MasterWeights master;
  std::map<std::string, rt::OptimizerState<float>> states;
};

/// Numbers of the checkpoints of a run, ascending.
std::vector<int64_t> checkpointsOf(const std::string &directory);
std::string checkpointPath(const std::string &directory, int64_t step);

} // namespace loopc::driver
