// From an elaborated program to a model in SOURCE form.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_MLIRGEN_MLIRGEN_H
#define LOOPC_MLIRGEN_MLIRGEN_H

#include "loopc/Frontend/Program.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace loopc {

/// Makes a module with one `loop.model` of `program`. Weights are named as in the checkpoint map `format` ("" is the
/// published form, "gguf" the names of a GGUF file). What SOURCE cannot say is a diagnostic at the place in the spec;
/// the result is null then. `training`: beside @main also the programs of the losses (@train, …).
mlir::OwningOpRef<mlir::ModuleOp> generateSource(mlir::MLIRContext &context, const frontend::Program &program, llvm::StringRef format = "",
                                               bool training = false);

} // namespace loopc
#endif
