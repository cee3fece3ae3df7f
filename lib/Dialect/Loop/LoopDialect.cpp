// Registration, attribute and type syntax, type helpers of the `loop` dialect.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Dialect/Loop/Loop.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::loop;

FailureOr<std::string> mlir::loop::parseName(AsmParser &parser) {
  std::string name;
  if (parser.parseKeywordOrString(&name))
    return failure();
  return name;
}

#include "loopc/Dialect/Loop/LoopDialect.cpp.inc"
#include "loopc/Dialect/Loop/LoopEnums.cpp.inc"
#include "loopc/Dialect/Loop/LoopInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "loopc/Dialect/Loop/LoopAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "loopc/Dialect/Loop/LoopTypes.cpp.inc"
#define GET_OP_CLASSES
#include "loopc/Dialect/Loop/LoopOps.cpp.inc"

void LoopDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "loopc/Dialect/Loop/LoopAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "loopc/Dialect/Loop/LoopTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "loopc/Dialect/Loop/LoopOps.cpp.inc"
      >();
}

// #loop.law<kind, mean = 0.0, std = 1.0, cut = 3.0>; a parameter at its default is not printed.
Attribute LawAttr::parse(AsmParser &parser, Type) {
  StringRef keyword;
  if (parser.parseLess() || parser.parseKeyword(&keyword))
    return {};
  std::optional<LawKind> kind = symbolizeLawKind(keyword);
  if (!kind) {
    parser.emitError(parser.getCurrentLocation(), "expected a distribution, but got `") << keyword << "`";
    return {};
  }
  double mean = 0.0, std = 1.0, cut = 0.0;
  while (succeeded(parser.parseOptionalComma())) {
    StringRef name;
    SMLoc loc = parser.getCurrentLocation();
    double value;
    if (parser.parseKeyword(&name) || parser.parseEqual() || parser.parseFloat(value))
      return {};
    if (name == "mean")
      mean = value;
    else if (name == "std")
      std = value;
    else if (name == "cut")
      cut = value;
    else {
      parser.emitError(loc, "expected mean, std or cut, but got `") << name << "`";
      return {};
    }
  }
  if (parser.parseGreater())
    return {};
  return LawAttr::get(parser.getContext(), *kind, mean, std, cut);
}

void LawAttr::print(AsmPrinter &printer) const {
  auto number = [&](StringRef name, double value, double usual) {
    if (value != usual) {
      printer << ", " << name << " = ";
      printer.printFloat(APFloat(value));
    }
  };
  printer << "<" << stringifyLawKind(getKind());
  number("mean", getMean(), 0.0);
  number("std", getStd(), 1.0);
  number("cut", getCut(), 0.0);
  printer << ">";
}

namespace mlir::loop {

RowsAttr getRows(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<RowsAttr>(tensor.getEncoding()) : RowsAttr();
}

ArrayRef<int64_t> getFeatureShape(Type type) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(type).getShape();
  return getRows(type) ? shape.drop_front() : shape;
}

int64_t getFeatureCount(Type type) {
  int64_t count = 1;
  for (int64_t size : getFeatureShape(type))
    count *= size;
  return count;
}

RankedTensorType withRows(Type type, RowsAttr space) {
  SmallVector<int64_t> shape(getFeatureShape(type));
  if (space)
    shape.insert(shape.begin(), ShapedType::kDynamic);
  return RankedTensorType::get(shape, cast<RankedTensorType>(type).getElementType(), space);
}

RankedTensorType withElementType(Type type, Type element) {
  auto tensor = cast<RankedTensorType>(type);
  return RankedTensorType::get(tensor.getShape(), element, tensor.getEncoding());
}

ModelOp getModel(Operation *op) { return isa<ModelOp>(op) ? cast<ModelOp>(op) : op->getParentOfType<ModelOp>(); }

} // namespace mlir::loop
