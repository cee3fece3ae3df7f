// Walks regions, applies rules, runs rolled layers and branches.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {

std::string locatedMessage(Operation *op, const Twine &message) {
  std::string text;
  llvm::raw_string_ostream out(text);
  op->getLoc().print(out);
  out << ": " << op->getName().getStringRef() << ": " << message;
  return text;
}

template <typename T> Machine<T>::Machine(ParamProvider &provider) : params(provider) {
  addArithRules<T>(rules);
  addMathRules<T>(rules);
  addFeatureRules<T>(rules);
  addTrainRules<T>(rules);
}

template <typename T> LogicalResult Machine<T>::fail(Operation *op, const Twine &message) {
  if (error.empty())
    error = locatedMessage(op, message);
  return failure();
}

template <typename T> LogicalResult Machine<T>::runBlock(Block &block, Operation *after) {
  for (auto it = after ? std::next(after->getIterator()) : block.begin(); it != block.end(); ++it) {
    Operation *op = &*it;
    if (op->hasTrait<OpTrait::IsTerminator>())
      return success();
    auto [entry, isNew] = found.try_emplace(op->getName(), nullptr);
    if (isNew)
      entry->second = rules.lookup(op->getName().getStringRef());
    LogicalResult done = entry->second      ? entry->second(*this, op)
                         : isa<ParamOp>(op) ? evalParam(cast<ParamOp>(op))
                         : isa<StackOp>(op) ? evalStack(cast<StackOp>(op))
                         : isa<WhereOp>(op) ? evalWhere(cast<WhereOp>(op))
                                            : evalOwn(op);
    if (failed(done))
      return failure();
  }
  return success();
}

template <typename T> Val<T> Machine<T>::make(Value value, bool uniform) const {
  int64_t width = widthOf(value.getType());
  return isReal(value.getType()) ? V::makeReal(uniform, rows, width) : V::makeWhole(uniform, rows, width);
}

template <typename T> Val<T> Machine<T>::spread(const V &value) const {
  if (!value.uniform)
    return value;
  V result = value.real ? V::makeReal(false, rows, value.width) : V::makeWhole(false, rows, value.width);
  for (int64_t r = 0; r < rows; ++r)
    if (value.real)
      std::copy_n(value.realRow(0), value.width, result.realRow(r));
    else
      std::copy_n(value.wholeRow(0), value.width, result.wholeRow(r));
  return result;
}

template <typename T> Val<T> Machine<T>::merge(const V &kept, const V &fresh, const std::vector<uint8_t> &mask) const {
  if (llvm::all_of(mask, [](uint8_t on) { return on; }) || (!kept.real && !kept.whole))
    return fresh;
  V from = spread(fresh), result = spread(kept);
  if (result.real)
    result.real = std::make_shared<std::vector<T>>(*result.real);
  else
    result.whole = std::make_shared<std::vector<int64_t>>(*result.whole);
  for (int64_t r = 0; r < rows; ++r) {
    if (!mask[r])
      continue;
    if (result.real)
      std::copy_n(from.realRow(r), from.width, result.realRow(r));
    else
      std::copy_n(from.wholeRow(r), from.width, result.wholeRow(r));
  }
  return result;
}

// The value of a parameter is the number of its table; the elements are there too unless only linears use it.
template <typename T> LogicalResult Machine<T>::evalParam(ParamOp op) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(op, op.getWeightAttr());
  ArrayRef<int64_t> tables = weight.getTables().value_or(ArrayRef<int64_t>());
  int64_t table = 0;
  for (auto [index, size] : llvm::zip(op.getIndex(), tables)) {
    int64_t i = (*get(index).whole)[0];
    if (i < 0 || i >= size)
      return fail(op,
                  "expected a table index of `" + op.getWeight() + "` below " + Twine(size) + ", but got " + Twine(i));
    table = table * size + i;
  }
  V value = V::scalar(table);
  value.width = widthOf(op.getType());
  bool onlyLinear = llvm::all_of(op->getUses(), [](OpOperand &use) {
    auto linear = dyn_cast<LinearOp>(use.getOwner());
    return linear && use.get() == linear.getWeight() && use.getOperandNumber() == 1;
  });
  std::string why;
  if (!onlyLinear && !(value.real = params.raw(weight, table, why)))
    return fail(op, why);
  set(op.getResult(), value);
  return success();
}

template <typename T> LogicalResult Machine<T>::evalStack(StackOp op) {
  Block &body = op.getBody().front();
  SmallVector<V> states;
  for (Value operand : op->getOperands())
    states.push_back(get(operand));
  for (int64_t layer = 0, layers = op.getLayers(); layer < layers; ++layer) {
    set(body.getArgument(0), V::scalar(layer));
    for (auto [i, state] : llvm::enumerate(states))
      set(body.getArgument(i + 1), state);
    if (failed(runBlock(body)))
      return failure();
    for (auto [i, value] : llvm::enumerate(cast<YieldOp>(body.getTerminator()).getValues()))
      states[i] = get(value);
  }
  for (auto [result, state] : llvm::zip(op->getResults(), states))
    set(result, state);
  return success();
}

template <typename T> LogicalResult Machine<T>::evalWhere(WhereOp op) {
  V condition = get(op.getCondition());
  std::vector<uint8_t> outer = active, mask(size_t(rows), 0);
  bool any = false;
  for (int64_t r = 0; r < rows; ++r)
    any |= mask[r] = *condition.wholeRow(r) != 0 && active[r];
  if (condition.uniform)
    any = (*condition.whole)[0] != 0, mask = outer;
  SmallVector<V> states;
  for (Value operand : op->getOperands().drop_front())
    states.push_back(get(operand));
  if (any) {
    Block &body = op.getBody().front();
    for (auto [argument, state] : llvm::zip(body.getArguments(), states))
      set(argument, state);
    active = mask;
    masked += !condition.uniform;
    LogicalResult done = runBlock(body);
    masked -= !condition.uniform;
    active = outer;
    if (failed(done))
      return failure();
    for (auto [state, value] : llvm::zip(states, cast<YieldOp>(body.getTerminator()).getValues()))
      state = condition.uniform ? get(value) : merge(state, get(value), mask);
  }
  for (auto [result, state] : llvm::zip(op->getResults(), states))
    set(result, state);
  return success();
}

template class Machine<float>;
template class Machine<double>;

} // namespace loopc::interp
