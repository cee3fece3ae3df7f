// Passes from SOURCE to LANES and the two pipelines made of them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_TRANSFORMS_PASSES_H
#define LOOPC_TRANSFORMS_PASSES_H

#include "loopc/Dialect/Loop/Loop.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/Pass.h"

#include <string>
#include <vector>

namespace loopc {

#define GEN_PASS_DECL
#include "loopc/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "loopc/Transforms/Passes.h.inc"

/// Choices of a run or an artefact, as the command line gives them. Empty or 0: as the spec says.
struct PlanOptions {
  int64_t loops = 0;                ///< default loop count
  double maxMsPerToken = 0;         ///< budget of a decoded token, milliseconds; only without `loops`
  double gigabytesPerSecond = 20;   ///< memory bandwidth of the cost model
  std::string policy;               ///< K/V map: depth_indexed, last_exited, always_last, single
  int64_t policySizes[2] = {0, 0};  ///< sizes of the map
  std::string policyUnit;           ///< recurrence, layer_step
  std::string policyKeep;           ///< last, first, mean
  bool policyCodaOverwrites = false;
  std::string holes;                ///< refuse, last_exited, …
  std::string order;                ///< free, token, pass, by_call
  bool leavingExit = false;         ///< refuse a policy without a rule for planes that an exit leaves out
  std::string dtype = "f32";        ///< matrices: f32, bf16, f16
  std::string kvDtype;              ///< K/V rows: f32, bf16, f16; empty: as `dtype`
  std::vector<std::string> observe; ///< taps that become bank fields `obs.NAME`; {"*"}: all
  bool hoist = true;                ///< off only to compare
  bool mergeLinears = true;         ///< off only to compare
  bool check = true;                ///< loop-check after every pass
};

/// SOURCE to PLANNED. `pm` works on a module.
void buildPlanPipeline(mlir::OpPassManager &pm, const PlanOptions &options);

/// PLANNED to LANES.
void buildLanesPipeline(mlir::OpPassManager &pm, const PlanOptions &options);

/// Registers all passes and the pipelines `loop-plan` and `loop-lanes` for textual pass pipelines.
void registerLoopPassesAndPipelines();

} // namespace loopc

#endif
