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

#endif
