// Enums of the `task` dialect (a file of their own: they are generated without those of the `loop` dialect).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_TASK_TASKENUMS
#define LOOPC_DIALECT_TASK_TASKENUMS

include "mlir/IR/EnumAttr.td"

def Task_Items : I32EnumAttr<"Items", "what a phase cuts over the workers", [
  I32EnumAttrCase<"rows", 0>, I32EnumAttrCase<"panels", 1>, I32EnumAttrCase<"heads", 2>, I32EnumAttrCase<"sequences", 3>]> {
  let cppNamespace = "::mlir::task";
  let genSpecializedAttr = 0;
}

#endif
