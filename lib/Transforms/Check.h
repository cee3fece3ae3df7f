// The part of loop-check for the form LANES.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_TRANSFORMS_CHECK_H
#define LOOPC_LIB_TRANSFORMS_CHECK_H

#include "loopc/Dialect/Loop/Loop.h"

namespace loopc {

/// L1 to L6 of a model in LANES; reports the first violation.
mlir::LogicalResult checkLanes(mlir::loop::ModelOp model);

} // namespace loopc

#endif
