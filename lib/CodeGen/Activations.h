// Activation functions as scalar arith and math ops: one definition for every target.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_ACTIVATIONS_H
#define LOOPC_LIB_CODEGEN_ACTIVATIONS_H

#include "loopc/Dialect/Loop/Loop.h"

namespace loopc::codegen {

/// `kind`(x) for a float scalar x.
mlir::Value expandActivation(mlir::OpBuilder &b, mlir::Location loc, mlir::loop::ActKind kind, mlir::Value x);

} // namespace loopc::codegen
#endif
