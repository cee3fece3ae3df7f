// Who runs a stage call: a compiled artefact, or an interpreter of the same stages.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include "loopc/runtime/abi.h"

namespace loopc::rt {

/// Memory of the engine that stage calls read and write; layouts are those of abi.h and of ModelInfo.
struct EngineMemory {
  uint8_t *bank = nullptr; ///< slot s at bank + s * bankRowBytes
  uint64_t bankRowBytes = 0;
  loopc_pool pools[LOOPC_MAX_POOLS] = {};
  uint32_t capacity = 0; ///< most lanes of a call
};

/// Runs stages for one engine at a time (the last that bound its memory). One call at a time; the engine never calls
/// from two threads.
class Executor {
public:
  virtual ~Executor() = default;
  virtual const ModelInfo &info() const = 0;
  /// Called once by each engine before its first `run`; the memory outlives the engine's last `run`.
  virtual void bind(const EngineMemory &memory) = 0;
  /// Runs one call to its end. Throws Error if the stage stopped with a nonzero value.
  virtual void run(Stage stage, loopc_call &call) = 0;
};

} // namespace loopc::rt
