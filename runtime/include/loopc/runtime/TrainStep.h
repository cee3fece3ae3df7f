// One training step: the loss of whole sequences and the gradients of the weights.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Executor.h"
#include <map>
#include <span>
#include <string>
#include <vector>

namespace loopc::rt {

/// A sequence of a step.
struct StepSequence {
  std::vector<int32_t> tokens, labels;             ///< labels: one for each token; none is asked where it is no id
  std::map<std::string, int32_t> counts;           ///< iterations by the name of the count; others: the default
  int32_t window = -1;                             ///< the last iterations that a gradient passes; negative: all
  std::map<std::string, std::vector<float>> draws; ///< [tokens][elements]
  std::map<std::string, float> knobs;
  uint32_t prefix = 0; ///< positions below are seen by all
};

class TrainStep {
public:
  /// `executor` runs the artefact of a step and outlives this.
  explicit TrainStep(Executor &executor);

  /// Throws Error for what the step cannot take: a count out of range, draws or labels that are missing. Gradients are
  /// those of this call alone.
  void run(std::span<const StepSequence> sequences);

  /// The loss of every token, sequences one after the other.
  const std::vector<float> &losses() const { return loss; }
  /// By the published names of the tensors, rows in their order.
  std::map<std::string, std::vector<float>> gradients() const;

private:
  void fill(std::span<const StepSequence> sequences);

  Executor &executor;
  uint32_t capacity = 0;
  std::vector<std::vector<float>> sums; ///< by entry of loopc_step::gradient
  std::vector<float *> sumTable;
  std::vector<int32_t> token, position, sequence, slot, limit, iteration;
  std::vector<uint8_t> exited;
  std::vector<loopc_sequence> records;
  std::vector<std::vector<float>> knobs;
  std::vector<std::vector<int32_t>> columns; ///< by number of ModelInfo::given: labels and counts ...
  std::vector<std::vector<float>> draws;     ///< ... or draws
  std::vector<const void *> given;
  std::vector<float> loss;
};

} // namespace loopc::rt
