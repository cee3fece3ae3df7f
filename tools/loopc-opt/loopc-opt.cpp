// loopc-opt: reads a .mlir file, runs the passes named on the command line, writes the result.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Compile.h"
#include "loopc/CodeGen/Passes.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  loopc::codegen::registerCodeGenDialects(registry);
  mlir::registerCanonicalizer();
  mlir::registerCSE();
  loopc::registerLoopPassesAndPipelines();
  loopc::codegen::registerCodeGenPasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "loopc optimizer driver\n", registry));
}
