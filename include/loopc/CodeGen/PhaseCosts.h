// What the phases of a model's programs cost: the one table behind `explain` and `bench --profile`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The header names no MLIR op beyond the module, and the struct none at all: tools read it without MLIR headers.
#ifndef LOOPC_CODEGEN_PHASECOSTS_H
#define LOOPC_CODEGEN_PHASECOSTS_H

#include <string>
#include <vector>

namespace mlir {
class ModuleOp;
namespace task {
class ProgramOp;
}
} // namespace mlir

namespace loopc::codegen {

/// One phase, in program order. Counts are of one execution; those "for each row" of one row in it.
struct PhaseCost {
  std::string stage, name; ///< names of the program and of the phase
  std::string what;        ///< what it does: parameters of a linear, ops of rows
  bool rounds = false;     ///< runs in each iteration of the core
  double times = 0;        ///< executions in a call of the stage; of the core, in an iteration
  double syncs = 0;        ///< syncs right before it, in the same
  double weightBytes = 0;  ///< matrices and vectors read, whatever the number of rows
  double tableBytes = 0;   ///< for each row: rows of embedding tables
  double rowBytes = 0;     ///< for each row: buffers and fields read and written
  double flops = 0;        ///< for each row: of matrix products, 2 for each multiply and add
  double keptBytes = 0;    ///< for each row: keys and values written
  double historyBytes = 0; ///< for each row and earlier position: keys and values read
  double historyFlops = 0; ///< for each row and earlier position: of attention
};

/// Memory and syncs of one stage.
struct StageCost {
  std::string name;
  double arenaRowBytes = 0;  ///< arena for each row of a call
  double bufferRowBytes = 0; ///< the same if buffers shared no bytes
};

struct PhaseTable {
  std::vector<PhaseCost> phases;
  std::vector<StageCost> stages;
};

/// The table of the task.programs of a module, or of one.
PhaseTable phaseCosts(mlir::ModuleOp module);
PhaseTable phaseCosts(mlir::task::ProgramOp program);

} // namespace loopc::codegen
#endif
