// Registration, interface answers and verifiers of the `task` dialect.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Dialect/Task/Task.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::task;

#include "loopc/Dialect/Task/TaskDialect.cpp.inc"
#include "loopc/Dialect/Task/TaskEnums.cpp.inc"
#include "loopc/Dialect/Task/TaskInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "loopc/Dialect/Task/TaskAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "loopc/Dialect/Task/TaskTypes.cpp.inc"
#define GET_OP_CLASSES
#include "loopc/Dialect/Task/TaskOps.cpp.inc"

void TaskDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "loopc/Dialect/Task/TaskAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "loopc/Dialect/Task/TaskTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "loopc/Dialect/Task/TaskOps.cpp.inc"
      >();
}

int64_t mlir::task::getByteWidth(Type element) { return (element.getIntOrFloatBitWidth() + 7) / 8; }
int64_t mlir::task::getRowBytes(MemType type) { return type.getCount() * getByteWidth(type.getElement()); }

bool MapOp::isElementwise() { return true; }
bool GemmOp::isElementwise() { return true; }
bool AdvanceOp::writesColumns() { return true; }
int64_t AppendOp::getPoolWritten() { return getPool(); }
int64_t AttendOp::getPoolRead() { return getPool(); }
int64_t KeepOp::getPoolWritten() { return getPool(); }
int64_t RecallOp::getPoolRead() { return getPool(); }

// The region's arguments are elements of `ins` (after `first` others), its yield gives elements of `outs`.
static LogicalResult verifyRegion(Operation *op, ValueRange ins, ValueRange outs, ArrayRef<int64_t> shape,
                                  ArrayAttr views, unsigned accumulators) {
  Block &block = op->getRegion(0).front();
  if (block.getNumArguments() != ins.size() + accumulators)
    return op->emitOpError("expected ") << ins.size() + accumulators << " block arguments, but got "
                                        << block.getNumArguments();
  for (auto [argument, memory] : llvm::zip(block.getArguments().drop_front(accumulators), ins))
    if (argument.getType() != cast<MemType>(memory.getType()).getElement())
      return op->emitOpError("expected the block argument of ") << memory.getType() << " to be an element, but got "
                                                                << argument.getType();
  auto yield = cast<YieldOp>(block.getTerminator());
  if (yield.getValues().size() != outs.size())
    return op->emitOpError("expected ") << outs.size() << " yielded values, but got " << yield.getValues().size();
  for (auto [value, memory] : llvm::zip(yield.getValues(), outs))
    if (value.getType() != cast<MemType>(memory.getType()).getElement())
      return op->emitOpError("expected an element of ") << memory.getType() << " to be yielded, but got " << value.getType();
  return success();
}

// Every view stays inside its memory.
static LogicalResult verifyViews(Operation *op, OperandRange ins, OperandRange outs, ArrayRef<int64_t> shape, ArrayAttr views,
                                 unsigned skipped) {
  if (views.size() != ins.size() + outs.size())
    return op->emitOpError("expected ") << ins.size() + outs.size() << " views, but got " << views.size();
  for (unsigned i = skipped; i < views.size(); ++i) {
    auto view = cast<ViewAttr>(views[i]);
    auto type = cast<MemType>((i < ins.size() ? ins[i] : outs[i - ins.size()]).getType());
    if (view.getStrides().size() != shape.size())
      return op->emitOpError("expected ") << shape.size() << " strides in view " << i << ", but got "
                                          << view.getStrides().size();
    int64_t last = view.getOffset();
    for (auto [size, stride] : llvm::zip(shape, view.getStrides()))
      last += (size - 1) * stride;
    if (view.getOffset() < 0 || last >= type.getCount())
      return op->emitOpError("expected view ") << i << " inside " << type << ", but its last element is " << last;
  }
  return success();
}

LogicalResult MapOp::verify() {
  if (failed(verifyViews(*this, getIns(), getOuts(), getShape(), getViews(), 0)))
    return failure();
  return verifyRegion(*this, getIns(), getOuts(), getShape(), getViews(), 0);
}

LogicalResult GemmOp::verify() {
  if (getIns().size() < 2)
    return emitOpError("expected a row and panels among ins, but got ") << getIns().size() << " operands";
  auto panels = cast<MemType>(getIns()[1].getType());
  int64_t rows = getGroups() * getShape()[0];
  if (panels.getCount() != (rows + 31) / 32 * 32 * static_cast<int64_t>(getK()))
    return emitOpError("expected panels of ") << rows << " x " << getK() << " elements, padded to 32 rows, but got "
                                              << panels.getCount();
  if (getGroups() > 1 && getShape()[0] % 32 != 0)
    return emitOpError("expected groups of whole panels, but got ") << getShape()[0] << " columns";
  if (failed(verifyViews(*this, getIns(), getOuts(), getShape(), getViews(), 2)))
    return failure();
  return verifyRegion(*this, getIns().drop_front(2), getOuts(), getShape(), getViews(), getGroups());
}
