// Runs the stages of a compiled artefact on a team of threads.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Artifact.h"
#include "loopc/runtime/Executor.h"
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/Team.h"
#include <memory>

namespace loopc::rt {

class CpuExecutor : public Executor {
public:
  /// `params` must have been packed for the metadata of `artifact`.
  CpuExecutor(std::shared_ptr<const Artifact> artifact, std::shared_ptr<const PackedParams> params,
              const TeamOptions &team);
  ~CpuExecutor() override;

  const ModelInfo &info() const override { return artifact->info(); }
  void bind(const EngineMemory &memory) override;
  void run(Stage stage, loopc_call &call) override;
  uint32_t workers() const { return team.workers(); }

private:
  void release();

  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<const PackedParams> params;
  Team team;
  loopc_params table;
  loopc_memory memory = {};
  std::vector<uint8_t *> scratch;
  void *block = nullptr; ///< arena and scratch
  uint64_t blockBytes = 0;
};

} // namespace loopc::rt
