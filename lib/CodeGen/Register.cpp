// Registration of the passes of this library with loopc-opt.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Passes.h"

void loopc::codegen::registerCodeGenPasses() {
  using mlir::registerPass;
  registerPass([] { return createFormPhasesPass(); });
  registerPass([] { return createFusePass(); });
  registerPass([] { return createPlanMemoryPass(); });
  registerPass([] { return createPlaceSyncsPass(); });
  registerPass([] { return createTaskCheckPass(); });
  registerPass([] { return createTaskToCpuPass(); });
  registerPass([] { return createLowerMathPass(); });
}
