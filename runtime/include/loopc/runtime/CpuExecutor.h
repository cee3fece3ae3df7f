// Runs the stages of a compiled artefact on a team of threads.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Artifact.h"
#include "loopc/runtime/Executor.h"
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/Team.h"
#include <array>
#include <memory>
#include <vector>

namespace loopc::rt {

/// What the calls of a stage took, of an artefact that times its phases.
struct StageProfile {
  double calls = 0, rounds = 0; ///< rounds: iterations run, 1 for a call of another stage than the core
  double rows = 0;              ///< lanes; of the core, lanes that ran in each round
  double history = 0;           ///< earlier positions that these rows attended to
  double reach = 0;             ///< the same, but those of one sequence in one call and round counted once
  double seconds = 0;           ///< from the call to its return
  std::vector<std::vector<double>> work, wait; ///< seconds for each worker and phase; `wait` before the phase
};

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

  /// Sums since the start or the last `clearProfile`; zeros for a stage that takes no time.
  StageProfile profile(Stage stage) const;
  void clearProfile();

private:
  struct alignas(128) Line {
    uint64_t words[16] = {};
  };
  /// Ticks that the code of a stage adds up, and what its calls did.
  struct Times {
    uint32_t phases = 0;
    uint64_t ticks = 0; ///< of the clock of the code, over the calls
    StageProfile sums;
    std::vector<Line> lines; ///< LOOPC_PROFILE_WORDS(phases) words for each worker
  };
  void release();
  int32_t runAll(loopc_stage entry, loopc_call &call);
  int32_t runTimed(loopc_stage entry, Stage stage, loopc_call &call, Times &times);

  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<const PackedParams> params;
  Team team;
  std::array<Times, stageCount> times;
  loopc_params table;
  loopc_memory memory = {};
  std::vector<uint8_t *> scratch;
  void *block = nullptr; ///< arena and scratch
  uint64_t blockBytes = 0;
};

} // namespace loopc::rt
