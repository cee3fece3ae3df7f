// When row buffers of a task.program are in use.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_BUFFERLIVES_H
#define LOOPC_LIB_CODEGEN_BUFFERLIVES_H

#include "loopc/Dialect/Task/Task.h"
#include <climits>
#include <functional>

namespace loopc::codegen {

/// A buffer is in use from `begin` to `end` (numbers of ops in program order, both included; end < 0: never).
struct BufferLife {
  mlir::task::BufferOp buffer;
  int begin, end;
  int64_t bytes; ///< of one row, padded to 64
};
std::vector<BufferLife> bufferLives(mlir::task::ProgramOp program);

} // namespace loopc::codegen
#endif
