// loopc-opt: reads a .mlir file, runs the passes named on the command line, writes the result.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::math::MathDialect, mlir::tensor::TensorDialect, mlir::loop::LoopDialect>();
  mlir::registerCanonicalizer();
  mlir::registerCSE();
  loopc::registerLoopPassesAndPipelines();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "loopc optimizer driver\n", registry));
}
