// Small questions that several passes ask about a program.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc {

FloatType getNumberType(MLIRContext *context, StringRef word) {
  return llvm::StringSwitch<FloatType>(word)
      .Case("f32", Float32Type::get(context))
      .Case("bf16", BFloat16Type::get(context))
      .Case("f16", Float16Type::get(context))
      .Default(FloatType());
}

ForwardOp getForward(ModelOp model) {
  auto found = model.getBody().front().getOps<ForwardOp>();
  return found.empty() ? ForwardOp() : *found.begin();
}

bool attends(Operation *op) {
  return op
      ->walk([](Operation *inner) {
        return isa<AttendOp, KVAppendOp, KVAttendOp, RecallOp, KeepOp>(inner) ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

bool isBodyOp(Operation *op) { return isa<RecurOp, StackOp, WhereOp, CheckOp>(op); }

RecurOp getScheduledRecur(ForwardOp forward) {
  for (RecurOp recur : forward.getBody().front().getOps<RecurOp>())
    if (!recur.getPlan() || recur.getPlan()->getPlace() == Place::scheduled)
      return recur;
  return {};
}

CheckOp getCheck(RecurOp recur) {
  auto found = recur.getBody().front().getOps<CheckOp>();
  return found.empty() ? CheckOp() : *found.begin();
}

bool isElementFunction(Operation *op) {
  return isa_and_nonnull<arith::ArithDialect, math::MathDialect>(op->getDialect()) && !isa<arith::ConstantOp>(op) &&
         op->getNumResults() == 1 && OpTrait::hasElementwiseMappableTraits(op);
}

static std::string tapName(Value value) {
  for (Operation *user : value.getUsers())
    if (auto tap = dyn_cast<TapOp>(user))
      return tap.getName().str();
  return "";
}

SmallVector<std::string> getStateNames(RecurOp recur) {
  SmallVector<std::string> names;
  if (auto given = recur->getAttrOfType<ArrayAttr>("state_names"))
    for (auto name : given.getAsRange<StringAttr>())
      names.push_back(name.str());
  auto yield = cast<YieldOp>(recur.getBody().front().getTerminator());
  names.resize(recur.getStates().size());
  for (auto [i, name] : llvm::enumerate(names)) {
    if (name.empty())
      name = tapName(yield.getValues()[i]);
    if (name.empty())
      name = recur.getName().str() + "." + std::to_string(i);
  }
  return names;
}

void setStateNames(RecurOp recur, ArrayRef<std::string> names) {
  Builder b(recur.getContext());
  SmallVector<StringRef> refs(names.begin(), names.end());
  recur->setAttr("state_names", b.getStrArrayAttr(refs));
}

bool ParameterValues::contains(Value value) {
  if (auto found = known.find(value); found != known.end())
    return found->second;
  Operation *op = value.getDefiningOp();
  bool result = false;
  if (op && isa<ParamOp, arith::ConstantOp>(op))
    result = true;
  else if (op && op->getNumRegions() == 0 && isPure(op) && op->getNumOperands() > 0)
    result = llvm::all_of(op->getOperands(), [&](Value operand) { return contains(operand); });
  return known[value] = result;
}

//===-- observed values
//--------------------------------------------------------------------------------------------===//

Operation *addState(Operation *op, Value init, StringRef name, Value &argument) {
  OpBuilder b(op);
  Block &body = op->getRegion(0).front();
  auto yield = cast<YieldOp>(body.getTerminator());
  Type type = init.getType();
  argument = body.addArgument(type, op->getLoc());
  SmallVector<Value> yielded(yield.getValues());
  yielded.push_back(argument);
  Value exit = yield.getExit();
  b.setInsertionPoint(yield);
  YieldOp::create(b, yield.getLoc(), yielded, exit);
  yield.erase();
  b.setInsertionPoint(op);
  OperationState state(op->getLoc(), op->getName());
  Operation *made = nullptr;
  SmallVector<Type> results(op->getResultTypes());
  results.push_back(type);
  if (auto recur = dyn_cast<RecurOp>(op)) {
    SmallVector<std::string> names = getStateNames(recur);
    SmallVector<Value> states(recur.getStates());
    states.push_back(init);
    auto next = RecurOp::create(b, op->getLoc(), Type(), results, Type(), recur.getNameAttr(), recur.getCountAttr(),
                                states, ValueRange(), Value(), Value(), Value(), recur.getKvAttr(), recur.getExitAttr(),
                                recur.getPlanAttr());
    next->setDiscardableAttrs(llvm::to_vector(recur->getDiscardableAttrs()));
    next.getBody().takeBody(recur.getBody());
    names.push_back(name.str());
    setStateNames(next, names);
    made = next;
  } else if (auto stack = dyn_cast<StackOp>(op)) {
    SmallVector<Value> states(stack.getStates());
    states.push_back(init);
    auto next =
        StackOp::create(b, op->getLoc(), results, Type(), stack.getNameAttr(), stack.getLayersAttr(), states, Value());
    next.getBody().takeBody(stack.getBody());
    made = next;
  } else if (auto check = dyn_cast<CheckOp>(op)) {
    SmallVector<Value> states(check.getStates());
    states.push_back(init);
    auto next = CheckOp::create(b, op->getLoc(), ValueRange(states).getTypes(), check.getStop().getType(), Type(),
                                states, Value());
    next.getBody().takeBody(check.getBody());
    for (auto [old, result] : llvm::zip(check.getResults(), next.getResults()))
      old.replaceAllUsesWith(result);
    check.getStop().replaceAllUsesWith(next.getStop());
    op->erase();
    return next;
  } else {
    auto where = cast<WhereOp>(op);
    SmallVector<Value> states(where.getStates());
    states.push_back(init);
    auto next = WhereOp::create(b, op->getLoc(), results, Type(), where.getCondition(), states, Value());
    next.getBody().takeBody(where.getBody());
    made = next;
  }
  for (auto [i, old] : llvm::enumerate(op->getResults()))
    old.replaceAllUsesWith(made->getResult(i));
  op->erase();
  return made;
}

Value lastState(Operation *op) {
  if (auto check = dyn_cast<CheckOp>(op))
    return check.getResults().back();
  return op->getResults().back();
}

void yieldLast(Operation *op, Value value) {
  auto yield = cast<YieldOp>(op->getRegion(0).front().getTerminator());
  yield.getValuesMutable()[yield.getValues().size() - 1].set(value);
}

static void threadTap(TapOp tap) {
  SmallVector<Operation *> around; // innermost first
  for (Operation *op = tap->getParentOp(); isBodyOp(op); op = op->getParentOp())
    around.push_back(op);
  if (around.empty())
    return;
  OpBuilder b(around.back());
  auto type = cast<RankedTensorType>(tap.getValue().getType());
  Value init = arith::ConstantOp::create(b, tap.getLoc(), b.getZeroAttr(type));
  SmallVector<Operation *> made;
  for (Operation *op : llvm::reverse(around)) {
    Value argument;
    made.push_back(addState(op, init, ("obs." + tap.getName()).str(), argument));
    init = argument;
  }
  yieldLast(made.back(), tap.getValue());
  for (size_t i = made.size() - 1; i > 0; --i)
    yieldLast(made[i - 1], lastState(made[i]));
  b.setInsertionPointAfter(made.front());
  TapOp::create(b, tap.getLoc(), lastState(made.front()), tap.getNameAttr());
  tap.erase();
}

void threadObservedTaps(ForwardOp forward, ArrayRef<std::string> names) {
  bool all = llvm::is_contained(names, "*");
  SmallVector<TapOp> taps;
  forward.walk([&](TapOp tap) { taps.push_back(tap); });
  // State names may come from taps: fix them before taps move.
  for (RecurOp recur : forward.getBody().front().getOps<RecurOp>())
    setStateNames(recur, getStateNames(recur));
  for (TapOp tap : taps) {
    if (all || llvm::is_contained(names, tap.getName()))
      threadTap(tap);
    else
      tap.erase();
  }
}

} // namespace loopc
