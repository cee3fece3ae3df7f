// What each op of the `loop` dialect demands of its operands: `expected X, but got Y`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Dialect/Loop/Loop.h"

using namespace mlir;
using namespace mlir::loop;

namespace {

std::string text(ArrayRef<int64_t> shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

/// All row values of one op live in one row space.
LogicalResult oneSpace(Operation *op) {
  RowsAttr seen;
  auto look = [&](Type type) -> LogicalResult {
    RowsAttr rows = getRows(type);
    if (!rows)
      return success();
    if (seen && seen != rows)
      return op->emitOpError("expected values of one row space, but got ") << seen.getSpace() << " and " << rows.getSpace();
    seen = rows;
    return success();
  };
  for (Type type : op->getOperandTypes())
    if (failed(look(type)))
      return failure();
  for (Type type : op->getResultTypes())
    if (failed(look(type)))
      return failure();
  return success();
}

LogicalResult sameTypes(Operation *op, StringRef what, TypeRange expected, TypeRange got) {
  if (expected.size() != got.size())
    return op->emitOpError("expected ") << expected.size() << " " << what << ", but got " << got.size();
  for (auto [index, pair] : llvm::enumerate(llvm::zip(expected, got)))
    if (std::get<0>(pair) != std::get<1>(pair))
      return op->emitOpError("expected ") << what << " " << index << " of type " << std::get<0>(pair) << ", but got "
                                          << std::get<1>(pair);
  return success();
}

/// Same types up to the row space: a recur in LANES runs its body over the subset of lanes that are active.
LogicalResult sameFeatures(Operation *op, StringRef what, TypeRange expected, TypeRange got) {
  if (expected.size() != got.size())
    return op->emitOpError("expected ") << expected.size() << " " << what << ", but got " << got.size();
  for (auto [index, pair] : llvm::enumerate(llvm::zip(expected, got))) {
    Type a = std::get<0>(pair), b = std::get<1>(pair);
    bool rows = bool(getRows(a)) == bool(getRows(b));
    if (!rows || getFeatureShape(a) != getFeatureShape(b) ||
        cast<RankedTensorType>(a).getElementType() != cast<RankedTensorType>(b).getElementType())
      return op->emitOpError("expected ") << what << " " << index << " like " << a << ", but got " << b;
  }
  return success();
}

} // namespace

LogicalResult ModelOp::verifyRegions() {
  for (Operation &op : getBody().front()) {
    if (auto phase = dyn_cast<PhaseOpInterface>(op))
      continue;
    return op.emitOpError("expected only ops of the loop dialect directly in a model");
  }
  return success();
}

LogicalResult CountOp::verify() {
  if (int64_t(getMin()) < 0 || int64_t(getMin()) > int64_t(getValue()) || int64_t(getValue()) > int64_t(getMax()))
    return emitOpError("expected 0 <= min <= default <= max, but got min ")
           << getMin() << ", default " << getValue() << ", max " << getMax();
  return success();
}

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape())
    return emitOpError("expected a static tensor type, but got ") << getType();
  int64_t count = 1;
  for (int64_t size : getTables().value_or(ArrayRef<int64_t>()))
    count *= size;
  int64_t holes = getSource() ? int64_t(getSource()->count("{}")) : 0;
  if (getIndices() && int64_t(getIndices()->size()) != count * std::max<int64_t>(1, holes))
    return emitOpError("expected one index for each of ") << count << " tables, but got " << getIndices()->size();
  if (getFormat() && (!getWeightFormat(*getFormat()) || !type.getElementType().isF32() || type.getRank() != 2))
    return emitOpError("expected a format of matrices of f32, but got \"") << *getFormat() << "\" of " << type;
  return success();
}

std::optional<WeightFormat> mlir::loop::getWeightFormat(StringRef name) {
#define LOOPC_WEIGHT_FORMAT(format, dtype, k, bytes)                                                                   \
  if (name == #format)                                                                                                 \
    return WeightFormat{k, (bytes) / (32.0 * (k))};
#include "loopc/runtime/WeightFormats.def"
  return std::nullopt;
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto weight = tables.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("expected the name of a loop.weight, but got ") << getWeightAttr();
  if (weight.getType() != getResult().getType())
    return emitOpError("expected the weight's type ") << weight.getType() << ", but got " << getResult().getType();
  size_t dims = weight.getTables().value_or(ArrayRef<int64_t>()).size();
  if (getIndex().size() != dims)
    return emitOpError("expected ") << dims << " table indices, but got " << getIndex().size();
  return success();
}

LogicalResult LinearOp::verify() {
  if (failed(oneSpace(*this)))
    return failure();
  ArrayRef<int64_t> in = getFeatureShape(getInput().getType()), w = cast<RankedTensorType>(getWeight().getType()).getShape(),
                    out = getFeatureShape(getResult().getType());
  if (in.size() != 1)
    return emitOpError("expected an input with one feature axis, but got ") << text(in);
  if (w.empty() || w.size() > 2 || w.back() != in[0])
    return emitOpError("expected a weight [outputs, ") << in[0] << "] or [" << in[0] << "], but got " << text(w);
  if (out != w.drop_back())
    return emitOpError("expected a result ") << text(w.drop_back()) << ", but got " << text(out);
  if (getBias() && cast<RankedTensorType>(getBias().getType()).getShape() != w.drop_back())
    return emitOpError("expected a bias ") << text(w.drop_back()) << ", but got "
                                           << text(cast<RankedTensorType>(getBias().getType()).getShape());
  return success();
}

LogicalResult NormOp::verify() {
  if (failed(oneSpace(*this)))
    return failure();
  ArrayRef<int64_t> in = getFeatureShape(getInput().getType());
  if (in.empty())
    return emitOpError("expected an input with a feature axis, but got a scalar");
  if (in != getFeatureShape(getResult().getType()))
    return emitOpError("expected a result ") << text(in) << ", but got " << text(getFeatureShape(getResult().getType()));
  if (getGain() && getFeatureShape(getGain().getType()) != in.take_back(getFeatureShape(getGain().getType()).size()))
    return emitOpError("expected a gain over the last axes of ") << text(in) << ", but got "
                                                                << text(getFeatureShape(getGain().getType()));
  return success();
}

LogicalResult ReduceOp::verify() {
  if (getKind() == ReduceKind::last)
    return emitOpError("expected sum, mean, max, min or argmax, but got last");
  ArrayRef<int64_t> in = getFeatureShape(getInput().getType());
  if (int64_t(getAxis()) < 0 || int64_t(getAxis()) >= int64_t(in.size()))
    return emitOpError("expected an axis below ") << in.size() << ", but got " << getAxis();
  SmallVector<int64_t> rest(in);
  rest.erase(rest.begin() + getAxis());
  if (ArrayRef<int64_t>(rest) != getFeatureShape(getResult().getType()))
    return emitOpError("expected a result ") << text(rest) << ", but got " << text(getFeatureShape(getResult().getType()));
  return oneSpace(*this);
}

LogicalResult ReshapeOp::verify() {
  if (getFeatureCount(getInput().getType()) != getFeatureCount(getResult().getType()))
    return emitOpError("expected ") << getFeatureCount(getInput().getType()) << " elements, but got "
                                    << getFeatureCount(getResult().getType());
  return oneSpace(*this);
}

LogicalResult SliceOp::verify() {
  ArrayRef<int64_t> in = getFeatureShape(getInput().getType()), out = getFeatureShape(getResult().getType());
  int64_t axis = getAxis(), begin = getBegin();
  if (axis < 0 || axis >= int64_t(in.size()) || in.size() != out.size())
    return emitOpError("expected an axis below ") << in.size() << " and a result of equal rank, but got axis " << axis
                                                 << " and " << text(out);
  if (begin < 0 || begin + out[axis] > in[axis])
    return emitOpError("expected elements within [0, ") << in[axis] << "), but got [" << begin << ", " << begin + out[axis] << ")";
  return oneSpace(*this);
}

LogicalResult ConcatOp::verify() {
  if (getInputs().empty())
    return emitOpError("expected at least one value, but got none");
  int64_t last = 0;
  for (Value input : getInputs()) {
    if (getFeatureShape(input.getType()).empty())
      return emitOpError("expected values with a feature axis, but got a scalar");
    last += getFeatureShape(input.getType()).back();
  }
  ArrayRef<int64_t> out = getFeatureShape(getResult().getType());
  if (out.empty() || out.back() != last)
    return emitOpError("expected a last axis of ") << last << ", but got " << text(out);
  return oneSpace(*this);
}

LogicalResult BroadcastOp::verify() {
  ArrayRef<int64_t> in = getFeatureShape(getInput().getType()), out = getFeatureShape(getResult().getType());
  if (getDims().size() != in.size())
    return emitOpError("expected ") << in.size() << " dims, but got " << getDims().size();
  int64_t before = -1;
  for (auto [i, dim] : llvm::enumerate(getDims())) {
    if (dim <= before || dim >= int64_t(out.size()) || out[dim] != in[i])
      return emitOpError("expected ascending axes of ") << text(out) << " that match " << text(in) << ", but got axis " << dim;
    before = dim;
  }
  return oneSpace(*this);
}

LogicalResult SpreadOp::verify() {
  RowsAttr rows = getRows(getResult().getType());
  StringRef space = cast<LanesType>(getLanes().getType()).getSpace();
  if (!rows || rows.getSpace() != space)
    return emitOpError("expected a result with rows of ") << space << ", but got " << getResult().getType();
  return success();
}

LogicalResult AttendOp::verify() {
  ArrayRef<int64_t> q = getFeatureShape(getQ().getType()), k = getFeatureShape(getK().getType()), v = getFeatureShape(getV().getType());
  if (q.size() != 2 || k.size() != 2 || v.size() != 2)
    return emitOpError("expected q, k, v of [heads, dim], but got ") << text(q) << ", " << text(k) << ", " << text(v);
  if (k[0] != v[0] || k[1] != q[1] || k[0] == 0 || q[0] % k[0])
    return emitOpError("expected k and v with equal heads that divide those of q and k with q's dim, but got q ")
           << text(q) << ", k " << text(k) << ", v " << text(v);
  int64_t made = v[1] + (getLogSum() ? 1 : 0);
  ArrayRef<int64_t> result = getFeatureShape(getResult().getType());
  if (result != ArrayRef<int64_t>{q[0], made})
    return emitOpError("expected a result [") << q[0] << ", " << made << "], but got " << text(result);
  if (getFirst() && getUpto())
    return emitOpError("expected the rows of the first iteration or those of all, but got both");
  if (getLeast() && getFeatureShape(getLeast().getType()) != q.take_front())
    return emitOpError("expected the least product of each of ") << q[0] << " heads, but got " << getLeast().getType();
  return success();
}

/// The body of a stack, where or check: states and cache are its last block arguments, its yields and the op's results.
template <typename Op>
static LogicalResult verifyStates(Op op, unsigned first, bool exit = false) {
  Block &body = op.getBody().front();
  SmallVector<Type> states(op.getStates().getTypes()), results(op.getResults().getTypes());
  if (op.getCache())
    states.push_back(op.getCache().getType());
  if (op.getOutCache())
    results.push_back(op.getOutCache().getType());
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield)
    return op.emitOpError("expected a body that ends in loop.yield");
  if (bool(yield.getExit()) != exit)
    return op.emitOpError(exit ? "expected an exit test in loop.yield, but got none" : "expected no exit test outside a recur");
  if (failed(sameTypes(op, "block arguments", states, TypeRange(body.getArgumentTypes()).drop_front(first))) ||
      failed(sameTypes(op, "yielded values", states, yield.getValues().getTypes())))
    return failure();
  return sameTypes(op, "results", states, results);
}

LogicalResult StackOp::verifyRegions() {
  Block &body = getBody().front();
  if (body.getNumArguments() == 0 || !body.getArgument(0).getType().isIndex())
    return emitOpError("expected the layer index as first block argument");
  return verifyStates(*this, 1);
}

LogicalResult WhereOp::verifyRegions() {
  if (!getCondition().getType().isInteger(1) && !isa<RankedTensorType>(getCondition().getType()))
    return emitOpError("expected a condition of type i1 or tensor<i1>, but got ") << getCondition().getType();
  return verifyStates(*this, 0);
}

LogicalResult CheckOp::verifyRegions() {
  if (failed(verifyStates(*this, 0, /*exit=*/true)))
    return failure();
  Type flag = cast<YieldOp>(getBody().front().getTerminator()).getExit().getType();
  if (flag != getStop().getType())
    return emitOpError("expected a flag of type ") << flag << ", but got " << getStop().getType();
  return success();
}

LogicalResult FoldOp::verify() {
  if (getKind() == ReduceKind::argmax)
    return emitOpError("expected sum, mean, max, min, first or last, but got argmax");
  if (getBatch() && getOperation()->getParentOfType<CheckOp>())
    return emitOpError("expected a reduction over the sequence in a check, but got one over the batch");
  return success();
}

LogicalResult RecurOp::verifyRegions() {
  Block &body = getBody().front();
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (!yield)
    return emitOpError("expected a body that ends in loop.yield");
  if (bool(yield.getExit()) != bool(getExit()))
    return emitOpError(getExit() ? "expected an exit test in loop.yield, but got none" : "expected no exit test, but loop.yield has one");
  if (!getLanes()) {
    if (body.getNumArguments() == 0 || !body.getArgument(0).getType().isIndex())
      return emitOpError("expected the iteration index as first block argument");
    if (!getWith().empty() || getCache() || getRounds())
      return emitOpError("expected `with`, `cache` and `rounds` only in the LANES form");
    if (failed(sameTypes(*this, "block arguments", getStates().getTypes(), TypeRange(body.getArgumentTypes()).drop_front())) ||
        failed(sameTypes(*this, "yielded values", getStates().getTypes(), yield.getValues().getTypes())) ||
        failed(sameTypes(*this, "results", getStates().getTypes(), getResults().getTypes())))
      return failure();
    return success();
  }
  if (!getRounds() || !getOutLanes())
    return emitOpError("expected `rounds` and the lanes among the results in the LANES form");
  size_t states = getStates().size(), with = getWith().size(), cache = getCache() ? 1 : 0;
  if (body.getNumArguments() != 1 + states + with + cache || !isa<LanesType>(body.getArgument(0).getType()))
    return emitOpError("expected block arguments (active lanes, states, with, cache), but got ") << body.getNumArguments();
  TypeRange args = body.getArgumentTypes();
  if (failed(sameFeatures(*this, "states", getStates().getTypes(), args.slice(1, states))) ||
      failed(sameFeatures(*this, "with values", getWith().getTypes(), args.slice(1 + states, with))) ||
      failed(sameTypes(*this, "results", getStates().getTypes(), getResults().getTypes())))
    return failure();
  SmallVector<Type> yielded(args.slice(1, states));
  if (cache)
    yielded.push_back(args.back());
  return sameTypes(*this, "yielded values", yielded, yield.getValues().getTypes());
}
