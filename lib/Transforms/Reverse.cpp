// loop-reverse: appends to a program that returns its loss the program of the gradients.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reverse mode over SOURCE: a block is walked from its last op to its first, each op's rule (AdjointOpInterface) adds
// terms to the adjoints of its operands. A loop or stack becomes a `loop.rewind`, whose `reverse` region is the body
// once more with the reverse of the body behind it, so that nothing but the states between iterations is kept; a
// branch becomes a branch. No rule knows a model.
#include "Adjoints.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Iterators.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace mlir::loop;

namespace mlir::loop {

bool isDifferentiable(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && isa<FloatType>(type.getElementType());
}

Value Adjoints::number(Type type, double value) {
  auto tensor = cast<RankedTensorType>(type);
  return arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(tensor, builder.getFloatAttr(tensor.getElementType(), value)));
}

Value Adjoints::orZero(Value primal) {
  Value sum = of(primal);
  return sum ? sum : number(primal.getType(), 0);
}

void Adjoints::add(Value primal, Value term) {
  Operation *op = primal.getDefiningOp();
  if (!isDifferentiable(primal) || (op && op->getNumOperands() == 0 && !isa<ParamOp>(op)))
    return;
  Value &sum = sums[primal];
  sum = sum ? Value(arith::AddFOp::create(builder, loc, sum, term)) : term;
}

Value Adjoints::reduce(ReduceKind kind, Value value, int64_t axis) {
  SmallVector<int64_t> shape(getFeatureShape(value.getType()));
  shape.erase(shape.begin() + axis);
  Type type = RankedTensorType::get(shape, cast<RankedTensorType>(value.getType()).getElementType());
  return ReduceOp::create(builder, loc, type, kind, value, uint64_t(axis), OrderAttr());
}

Value Adjoints::collapse(Value value, ArrayRef<int64_t> dims) {
  for (int64_t axis = int64_t(getFeatureShape(value.getType()).size()) - 1; axis >= 0; --axis)
    if (!llvm::is_contained(dims, axis))
      value = reduce(ReduceKind::sum, value, axis);
  return value;
}

SmallVector<Value> Adjoints::outside(Block &block) const {
  SmallVector<Value> values;
  for (auto [primal, sum] : sums)
    if (primal.getParentBlock() != &block)
      values.push_back(primal);
  return values;
}

namespace {

/// Appends a copy of the ops of `body` that compute; `values` get what stands for those of its yield.
void copyBody(Block &body, OpBuilder &builder, IRMapping &map, SmallVectorImpl<Value> &values) {
  for (Operation &op : body.without_terminator()) {
    if (isa<TapOp>(op))
      continue;
    Operation *copy = builder.clone(op, map);
    copy->walk([](TapOp tap) { tap.erase(); });
  }
  for (Value value : cast<YieldOp>(body.getTerminator()).getValues())
    values.push_back(map.lookupOrDefault(value));
}

/// At the end of `block`: `body` once more with its arguments as `map` says, then its reverse for the adjoints
/// `given` of what it yields.
LogicalResult buildReverse(Block &body, Block &block, IRMapping &map, ValueRange given, Adjoints &inner) {
  SmallVector<Value> values;
  copyBody(body, inner.builder, map, values);
  for (auto [value, adjoint] : llvm::zip(values, given))
    inner.add(value, adjoint);
  return inner.reverse(block);
}

OpBuilder endOf(Block *block, MLIRContext *context) {
  OpBuilder builder(context); // the block's region belongs to no op yet
  builder.setInsertionPointToEnd(block);
  return builder;
}

LogicalResult reverseLoop(Operation *op, StringAttr name, FlatSymbolRefAttr count, IntegerAttr layers,
                          OperandRange states, ResultRange results, Block &body, Adjoints &in) {
  OperationState made(in.loc, RewindOp::getOperationName());
  OpBuilder &builder = in.builder;
  Region *advance = made.addRegion(), *reverse = made.addRegion();
  SmallVector<Type> types(TypeRange(states.getTypes()));
  auto start = [&](Region *region, bool adjoints) {
    Block &block = region->emplaceBlock();
    block.addArgument(builder.getIndexType(), in.loc);
    for (int round = 0; round <= int(adjoints); ++round)
      for (Type type : types)
        block.addArgument(type, in.loc);
    return &block;
  };
  auto mapArguments = [&](Block *block) {
    IRMapping map;
    for (unsigned i = 0; i <= types.size(); ++i)
      map.map(body.getArgument(i), block->getArgument(i));
    return map;
  };
  Block *forward = start(advance, false), *backward = start(reverse, true);
  OpBuilder ahead = endOf(forward, op->getContext());
  IRMapping aheadMap = mapArguments(forward);
  SmallVector<Value> next;
  copyBody(body, ahead, aheadMap, next);
  YieldOp::create(ahead, in.loc, next, Value());

  Adjoints inner(endOf(backward, op->getContext()), in.loc);
  IRMapping map = mapArguments(backward);
  if (failed(buildReverse(body, *backward, map, backward->getArguments().take_back(types.size()), inner)))
    return failure();
  SmallVector<Value> yields, outside = inner.outside(*backward);
  for (Value state : backward->getArguments().slice(1, types.size()))
    yields.push_back(inner.orZero(state));
  for (Value value : outside)
    yields.push_back(inner.of(value));
  YieldOp::create(inner.builder, in.loc, yields, Value());

  SmallVector<Value> adjoints;
  for (Value result : results)
    adjoints.push_back(in.orZero(result));
  made.addOperands(states);
  made.addOperands(adjoints);
  made.addTypes(TypeRange(ValueRange(yields)));
  auto sizes = [&](size_t first, size_t second) { return std::array<int32_t, 2>{int32_t(first), int32_t(second)}; };
  RewindOp::Properties &properties = made.getOrAddProperties<RewindOp::Properties>();
  properties.setName(name);
  properties.setCount(count);
  properties.setLayers(layers);
  if (count && isa_and_nonnull<ForwardOp>(op->getParentOp()))
    properties.setWindow(builder.getUnitAttr());
  properties.operandSegmentSizes = sizes(types.size(), types.size());
  properties.resultSegmentSizes = sizes(types.size(), outside.size());
  Operation *rewind = builder.create(made);
  for (auto [value, adjoint] : llvm::zip(states, rewind->getResults().take_front(types.size())))
    in.add(value, adjoint);
  for (auto [value, adjoint] : llvm::zip(outside, rewind->getResults().drop_front(types.size())))
    in.add(value, adjoint);
  return success();
}

/// A branch whose states are the adjoints; those of what the body reads from outside begin at zero.
LogicalResult reverseWhere(WhereOp op, Adjoints &in) {
  Block &body = op.getBody().front();
  OperationState made(in.loc, WhereOp::getOperationName());
  Region *region = made.addRegion();
  Block *block = &region->emplaceBlock();
  SmallVector<Value> operands, yields;
  for (Value result : op.getResults()) {
    operands.push_back(in.orZero(result));
    block->addArgument(result.getType(), in.loc);
  }
  Adjoints inner(endOf(block, op->getContext()), in.loc);
  // Each state of the body is a value of its own, so that what reaches it is told from what its operand gets elsewhere.
  IRMapping map;
  for (auto [argument, state] : llvm::zip(body.getArguments(), op.getStates())) {
    map.map(argument, ReshapeOp::create(inner.builder, in.loc, state.getType(), state));
  }
  SmallVector<Value> values;
  copyBody(body, inner.builder, map, values);
  for (auto [value, adjoint] : llvm::zip(values, block->getArguments()))
    inner.add(value, adjoint);
  if (failed(inner.reverse(*block)))
    return failure();
  // The copies passed their adjoints on to the states' operands: those are terms from outside like all others.
  SmallVector<Value> outside = inner.outside(*block);
  for (Value state : op.getResults())
    yields.push_back(inner.number(state.getType(), 0));
  for (Value value : outside) {
    operands.push_back(in.number(value.getType(), 0));
    block->addArgument(value.getType(), in.loc);
    yields.push_back(inner.of(value));
  }
  YieldOp::create(inner.builder, in.loc, yields, Value());
  auto branch = WhereOp::create(in.builder, in.loc, TypeRange(ValueRange(operands)), Type(), op.getCondition(),
                                operands, Value());
  branch.getBody().takeBody(*region);
  for (auto [value, adjoint] : llvm::zip(op.getStates(), branch.getResults()))
    in.add(value, adjoint);
  for (auto [value, adjoint] : llvm::zip(outside, branch.getResults().drop_front(op.getResults().size())))
    in.add(value, adjoint);
  return success();
}

} // namespace

LogicalResult Adjoints::reverse(Block &block) {
  SmallVector<Operation *> ops;
  for (Operation &op : block)
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops)) {
    if (llvm::none_of(op->getResults(), [&](Value result) { return of(result); }))
      continue;
    loc = op->getLoc();
    LogicalResult done = success();
    if (auto recur = dyn_cast<RecurOp>(op))
      done = reverseLoop(op, recur.getNameAttr(), recur.getCountAttr(), IntegerAttr(), recur.getStates(),
                         recur.getResults(), recur.getBody().front(), *this);
    else if (auto stack = dyn_cast<StackOp>(op))
      done = reverseLoop(op, stack.getNameAttr(), FlatSymbolRefAttr(), stack.getLayersAttr(), stack.getStates(),
                         stack.getResults(), stack.getBody().front(), *this);
    else if (auto where = dyn_cast<WhereOp>(op))
      done = reverseWhere(where, *this);
    else if (auto rule = dyn_cast<AdjointOpInterface>(op))
      done = rule.buildAdjoint(*this);
    else if (llvm::any_of(op->getOperands(), isDifferentiable))
      done = op->emitOpError("expected an op with a reverse rule, but it has none");
    if (failed(done))
      return failure();
  }
  return success();
}

} // namespace mlir::loop

namespace loopc {
#define GEN_PASS_DEF_LOOPREVERSE
#include "loopc/Transforms/Passes.h.inc"

namespace {

struct ReversePass : impl::LoopReverseBase<ReversePass> {
  void getDependentDialects(DialectRegistry &registry) const override {
    LoopReverseBase::getDependentDialects(registry);
    registry.insert<math::MathDialect>();
    registerReverseRules(registry);
  }

  void runOnOperation() override {
    for (ForwardOp program : getOperation().getOps<ForwardOp>())
      if (program.getSymName().starts_with("train") && failed(reverse(program)))
        return signalPassFailure();
  }

  LogicalResult reverse(ForwardOp program) {
    Block &body = program.getBody().front();
    auto end = cast<ReturnOp>(body.getTerminator());
    if (end.getValues().size() != 1 || !isDifferentiable(end.getValues()[0]) ||
        getFeatureCount(end.getValues()[0].getType()) != 1)
      return end.emitOpError("expected a program that returns one number, its loss");
    Value loss = end.getValues()[0];
    Location loc = end.getLoc();
    end->remove();
    Adjoints adjoints(OpBuilder::atBlockEnd(&body), loc);
    // The loss is the mean over the tokens of the call.
    Value one = adjoints.number(loss.getType(), 1);
    Value count = FoldOp::create(adjoints.builder, loc, loss.getType(), ReduceKind::sum, one, true);
    Value share = arith::DivFOp::create(adjoints.builder, loc, one, count);
    adjoints.add(loss, share);
    LogicalResult done = adjoints.reverse(body);
    body.push_back(end);
    if (succeeded(done))
      dropUnused(program);
    return done;
  }

  /// Terms that nothing took: adjoints of what has none.
  static void dropUnused(Operation *program) {
    program->walk<WalkOrder::PostOrder, ReverseIterator>([](Operation *op) {
      if (isOpTriviallyDead(op))
        op->erase();
    });
  }
};

} // namespace
} // namespace loopc
