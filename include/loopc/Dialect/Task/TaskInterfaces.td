// Interfaces that the ops of the `task` dialect have.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_TASK_TASKINTERFACES
#define LOOPC_DIALECT_TASK_TASKINTERFACES

include "mlir/IR/OpBase.td"

def Task_ItemOpInterface : OpInterface<"ItemOpInterface"> {
  let cppNamespace = "::mlir::task";
  let description = [{
    What one item of a phase does: reads `ins`, writes `outs`, each through its view. An op that carries a state of the
    call besides its operands (rows of a pool, columns) says so.
  }];
  let methods = [
    InterfaceMethod<"Memories read.", "::mlir::OperandRange", "getIns", (ins)>,
    InterfaceMethod<"Memories written.", "::mlir::OperandRange", "getOuts", (ins)>,
    InterfaceMethod<"Views of ins, then outs.", "::mlir::ArrayAttr", "getViews", (ins)>,
    InterfaceMethod<"Pool whose rows are read (-1: none).", "int64_t", "getPoolRead", (ins), "", "return -1;">,
    InterfaceMethod<"Pool whose rows are written (-1: none).", "int64_t", "getPoolWritten", (ins), "", "return -1;">,
    InterfaceMethod<"Writes the columns `iteration` and `exited`.", "bool", "writesColumns", (ins), "", "return false;">,
    InterfaceMethod<"Element i of the outputs depends on element i of an input of the same view only.", "bool",
                    "isElementwise", (ins), "", "return false;">];
}

#endif
