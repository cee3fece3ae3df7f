// The `task` dialect: worker programs over memory.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_TASK_TASK_H
#define LOOPC_DIALECT_TASK_TASK_H

#include "loopc/Dialect/Loop/Loop.h"

#include "loopc/Dialect/Task/TaskDialect.h.inc"
#include "loopc/Dialect/Task/TaskEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "loopc/Dialect/Task/TaskAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "loopc/Dialect/Task/TaskTypes.h.inc"
#include "loopc/Dialect/Task/TaskInterfaces.h.inc"
#define GET_OP_CLASSES
#include "loopc/Dialect/Task/TaskOps.h.inc"

namespace mlir::task {

/// Bytes of one element in memory (i1 takes a byte).
int64_t getByteWidth(Type element);

/// Bytes of one row of a memory.
int64_t getRowBytes(MemType type);

} // namespace mlir::task

#endif
