// Ops of the `loop` dialect: structure, features, recurrence, position, lanes, training.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_LOOP_LOOPOPS
#define LOOPC_DIALECT_LOOP_LOOPOPS

include "loopc/Dialect/Loop/LoopBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

include "loopc/Dialect/Loop/StructureOps.td"
include "loopc/Dialect/Loop/FeatureOps.td"
include "loopc/Dialect/Loop/RecurrenceOps.td"
include "loopc/Dialect/Loop/PositionOps.td"
include "loopc/Dialect/Loop/LanesOps.td"
include "loopc/Dialect/Loop/TrainOps.td"

#endif
