// Interfaces that the ops of the `loop` dialect have.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_LOOP_LOOPINTERFACES
#define LOOPC_DIALECT_LOOP_LOOPINTERFACES

include "mlir/IR/OpBase.td"

def Loop_PhaseOpInterface : OpInterface<"PhaseOpInterface"> {
  let cppNamespace = "::mlir::loop";
  let description = "Tells in which forms an op may stand; `loop-check` asks it.";
  let methods = [StaticInterfaceMethod<"Bit set over Phase.", "unsigned", "getLegalPhases", (ins)>];
}

def Loop_AdjointOpInterface : OpInterface<"AdjointOpInterface"> {
  let cppNamespace = "::mlir::loop";
  let description = "Knows its reverse; `loop-reverse` asks it.";
  let methods = [InterfaceMethod<"Adds the adjoints of the operands, built from those of the results, to `adjoints`.",
                                 "::llvm::LogicalResult", "buildAdjoint", (ins "::mlir::loop::Adjoints &":$adjoints)>];
}

#endif
