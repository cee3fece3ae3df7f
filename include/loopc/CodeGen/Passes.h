// Passes over the TASK form and the way into it. Names are those of loopc-opt.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_CODEGEN_PASSES_H
#define LOOPC_CODEGEN_PASSES_H

#include "mlir/Pass/Pass.h"
#include <memory>
#include <string>

namespace loopc::codegen {

/// loop-form-phases: every stage of a LANES model becomes a task.program beside the model.
std::unique_ptr<mlir::Pass> createFormPhasesPass(llvm::StringRef step = "");
/// task-fuse: maps that only use a linear's output become its epilogue; copies into states, fields and outputs go away.
std::unique_ptr<mlir::Pass> createFusePass();
/// task-plan-memory: offsets of the row buffers, buffers whose lives do not overlap share bytes.
std::unique_ptr<mlir::Pass> createPlanMemoryPass();
/// task-place-syncs: a task.sync before each phase that conflicts with one since the last sync, back edges included.
std::unique_ptr<mlir::Pass> createPlaceSyncsPass();
/// task-check: refuses programs in which conflicting phases can meet, or live buffers overlap.
std::unique_ptr<mlir::Pass> createTaskCheckPass();

struct CpuOptions {
  unsigned vectorBits = 256; ///< width of the registers: 128, 256 or 512
  std::string clock;         ///< LLVM intrinsic whose ticks each phase and each wait are timed in; empty: no time is taken
  unsigned registers = 16;
  std::vector<std::string> features; ///< LLVM's names
  bool amx32 = false; ///< linears of bf16 rows and weights add in the order of tdpbf16ps instead of `chain`
};
/// task-to-cpu: task.programs become functions of scf, arith, vector and llvm ops.
std::unique_ptr<mlir::Pass> createTaskToCpuPass(CpuOptions options = {});

/// cpu-lower-math: element functions (exp, tanh, erf, log1p, …) become polynomials; no library calls remain.
std::unique_ptr<mlir::Pass> createLowerMathPass();

/// Registers the passes above and the pipeline names with loopc-opt.
void registerCodeGenPasses();

} // namespace loopc::codegen
#endif
