// The `loop` dialect: enums, attributes, types, ops, and the few helpers every pass needs.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_LOOP_LOOP_H
#define LOOPC_DIALECT_LOOP_LOOP_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace mlir::loop {
/// A name in an attribute or type: an identifier or a string.
FailureOr<std::string> parseName(AsmParser &parser);
class Adjoints;
} // namespace mlir::loop

#include "loopc/Dialect/Loop/LoopDialect.h.inc"
#include "loopc/Dialect/Loop/LoopEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "loopc/Dialect/Loop/LoopAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "loopc/Dialect/Loop/LoopTypes.h.inc"
#include "loopc/Dialect/Loop/LoopInterfaces.h.inc"
#define GET_OP_CLASSES
#include "loopc/Dialect/Loop/LoopOps.h.inc"

namespace mlir::loop {

/// The row space of a tensor type, or null if the value does not vary over rows (parameters, and everything in SOURCE).
RowsAttr getRows(Type type);

/// The shape without the row dimension.
llvm::ArrayRef<int64_t> getFeatureShape(Type type);

/// Number of elements of one row.
int64_t getFeatureCount(Type type);

/// The same features with rows of `space` in front (space null: no row dimension).
RankedTensorType withRows(Type type, RowsAttr space);
RankedTensorType withElementType(Type type, Type element);

/// A line of WeightFormats.def: columns of a block, bytes of an element.
struct WeightFormat {
  int64_t block;
  double bytes;
};
std::optional<WeightFormat> getWeightFormat(llvm::StringRef name);

/// The model that holds `op`.
ModelOp getModel(Operation *op);

/// Number of a layer of an attend among the attends that one iteration executes, in their order: first + stride * layer
/// of its site, of `count`. Nothing where that is no function of the layer.
struct LayerStep {
  int64_t first = 0, stride = 1, count = 0;
};
std::optional<LayerStep> getLayerStep(AttendOp attend);

} // namespace mlir::loop

#endif
