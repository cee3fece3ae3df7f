// The exit test that stands beside the iteration leaves the body of the recur.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"
#include "loopc/Dialect/Loop/Loop.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc {

LogicalResult moveExitCheck(ModelOp model, ForwardOp forward) {
  RecurOp recur = getScheduledRecur(forward);
  CheckOp check = recur ? getCheck(recur) : CheckOp();
  if (!check)
    return success();
  OpBuilder b(check);
  ParameterValues parameters;
  Block &block = check.getBody().front();
  std::function<Value(Value)> again = [&](Value value) -> Value {
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != &recur.getBody().front())
      return op && recur.getBody().isAncestor(value.getParentRegion()) ? Value() : value;
    if (!isa<ParamOp, TokenOp, PositionOp, KnobValueOp, CountValueOp>(op) && !parameters.contains(value))
      return {};
    IRMapping map;
    for (Value operand : op->getOperands())
      if (Value made = again(operand))
        map.map(operand, made);
      else
        return {};
    return b.clone(*op, map)->getResult(0);
  };
  llvm::SetVector<Value> used;
  getUsedValuesDefinedAbove(check.getBody(), check.getBody(), used);
  for (Value value : used) {
    if (!recur.getBody().isAncestor(value.getParentRegion()))
      continue;
    b.setInsertionPointToStart(&block);
    if (Value made = again(value)) {
      value.replaceUsesWithIf(made, [&](OpOperand &use) { return check.getBody().isAncestor(use.getOwner()->getParentRegion()); });
      continue;
    }
    auto type = dyn_cast<RankedTensorType>(value.getType());
    if (!type)
      return check.emitOpError("expected an exit test that reads values, but it reads the index of the loop");
    auto yield = cast<YieldOp>(recur.getBody().front().getTerminator());
    if (llvm::is_contained(yield.getValues(), value))
      continue;
    b.setInsertionPoint(recur);
    Value zero = arith::ConstantOp::create(b, check.getLoc(), b.getZeroAttr(type)), argument;
    std::string name = (recur.getName() + "." + Twine(recur.getStates().size())).str();
    recur = cast<RecurOp>(addState(recur, zero, name, argument));
    yieldLast(recur, value);
  }
  Block &body = recur.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  auto resultOf = [&](Value yielded) {
    return recur.getResults()[llvm::find(yield.getValues(), yielded) - yield.getValues().begin()];
  };
  SmallVector<Value> states;
  for (auto [state, result] : llvm::zip(check.getStates(), check.getResults())) {
    auto argument = dyn_cast<BlockArgument>(state);
    if (!argument || argument.getOwner() != &body)
      return check.emitOpError("expected states of the loop around");
    states.push_back(recur.getResults()[argument.getArgNumber() - 1]);
  }
  b.setInsertionPointAfter(recur);
  auto made = CheckOp::create(b, check.getLoc(), ValueRange(states).getTypes(), check.getStop().getType(), Type(), states, Value());
  made.getBody().takeBody(check.getBody());
  for (Value value : used)
    if (llvm::is_contained(yield.getValues(), value))
      value.replaceUsesWithIf(resultOf(value), [&](OpOperand &use) { return made.getBody().isAncestor(use.getOwner()->getParentRegion()); });
  for (auto [state, result] : llvm::zip(check.getStates(), check.getResults()))
    result.replaceAllUsesWith(state);
  b.setInsertionPoint(yield);
  YieldOp::create(b, yield.getLoc(), SmallVector<Value>(yield.getValues()), Value());
  yield.erase();
  check.erase();
  model->setAttr("loop.exit", recur.getExitAttr());
  recur.removeExitAttr();
  return success();
}

} // namespace loopc
