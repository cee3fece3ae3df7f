// loop-form-phases: stages, loops, stacks and branches of LANES as task.programs.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PhaseFormer.h"
#include "loopc/CodeGen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace loopc::codegen;

LogicalResult PhaseFormer::formStage(loop::StageOp op) { return formProgram(op, op.getSymName(), op.getBody().front()); }
LogicalResult PhaseFormer::formStep(loop::ForwardOp op) { return formProgram(op, "step", op.getBody().front()); }

LogicalResult PhaseFormer::formProgram(Operation *op, StringRef name, Block &block) {
  stage = op;
  auto program = task::ProgramOp::create(b, op->getLoc(), name, layout.poolOf(name), IntegerAttr(), IntegerAttr(), IntegerAttr());
  OpBuilder::InsertionGuard guard(b);
  b.createBlock(&program.getBody());
  currentList = task::AllOp::create(b, op->getLoc(), task::ListType::get(b.getContext()));
  if (failed(layout.step ? formChunks(block) : formBlock(block)))
    return failure();
  flush();
  return success();
}

LogicalResult PhaseFormer::formBlock(Block &block) {
  for (Operation &op : block)
    if (failed(form(&op)))
      return failure();
  return success();
}

LogicalResult PhaseFormer::form(Operation *op) {
  if (op->getNumResults() && op->use_empty() && isMemoryEffectFree(op))
    return success();
  // Index and i1 scalars: the same in every worker.
  if (op->getNumRegions() == 0 && op->getNumResults() && isa<arith::ArithDialect>(op->getDialect()) &&
      !isa<ShapedType>(op->getResult(0).getType())) {
    memory().clone(*op, scalars); // before the rows phase that is open, whose ops may read it
    return success();
  }
  if (isElementwise(op)) {
    auto type = cast<RankedTensorType>(op->getResult(0).getType());
    SmallVector<int64_t> shape(loop::getFeatureShape(type));
    if (shape.empty())
      shape.push_back(1);
    if (!open.empty() && shape != openShape)
      closeMap();
    openShape = shape;
    open.push_back(op);
    return success();
  }
  LogicalResult result = success();
  bool usesOpen = llvm::any_of(op->getOperands(), [&](Value v) { return inOpenMap(v); });
  if (usesOpen || op->getNumRegions() || isa<loop::ReturnOp, loop::YieldOp>(op))
    closeMap();
  if (formView(op, result))
    return result;
  closeMap();
  if (auto recur = dyn_cast<loop::RecurOp>(op))
    return formRecur(recur);
  if (auto stack = dyn_cast<loop::StackOp>(op))
    return formStack(stack);
  if (auto where = dyn_cast<loop::WhereOp>(op))
    return formWhere(where);
  if (auto ret = dyn_cast<loop::ReturnOp>(op))
    return formReturn(ret);
  if (auto linear = dyn_cast<loop::LinearOp>(op))
    return formLinear(linear);
  if (auto attend = dyn_cast<loop::KVAttendOp>(op))
    return formAttend(attend);
  if (auto fold = dyn_cast<loop::FoldOp>(op))
    return formFold(fold);
  if (auto rewind = dyn_cast<loop::RewindOp>(op))
    return formRewind(rewind);
  if (auto accumulate = dyn_cast<loop::AccumulateOp>(op))
    return formAccumulate(accumulate);
  if (auto attend = dyn_cast<loop::AttendOp>(op))
    return formAttendRows(attend);
  if (auto adjoint = dyn_cast<loop::AttendAdjointOp>(op))
    return formAttendAdjoint(adjoint);
  if (isa<loop::CrossEntropyOp, loop::OneHotOp>(op))
    return formLoss(op);
  return formRowOp(op);
}

// Buffers for the states of a loop, set to their initial values.
SmallVector<View> PhaseFormer::makeStates(ValueRange initial) {
  SmallVector<View> states;
  for (Value value : initial) {
    View from = get(value), to = makeBuffer(value.getType());
    copy(from, to, value.getLoc());
    states.push_back(to);
  }
  return states;
}

// Assigns all states at once: what is read from a state that changes is copied first.
LogicalResult PhaseFormer::writeStates(Operation *yield, ValueRange values, ArrayRef<View> states) {
  std::vector<std::pair<View, View>> moves;
  for (auto [value, state] : llvm::zip(values, states)) {
    View from = get(value);
    if (from.root == state.root) { // a state that stays
      if (from.offset != 0 || !from.contiguous())
        from = materialise(from);
      else
        continue;
    } else if (llvm::any_of(states, [&](const View &other) { return other.root == from.root; })) {
      View temporary = makeBuffer(value.getType());
      copy(from, temporary, yield->getLoc());
      from = temporary;
    }
    moves.push_back({from, state});
  }
  for (auto &[from, to] : moves)
    copy(from, to, yield->getLoc());
  return success();
}

// The ops of a body and what it yields into the states, which are its block arguments from `first` on.
LogicalResult PhaseFormer::formBody(Block &source, unsigned first, ArrayRef<View> states) {
  for (auto [i, state] : llvm::enumerate(states))
    views[source.getArgument(first + i)] = state;
  if (failed(formBlock(source)))
    return failure();
  auto yield = cast<loop::YieldOp>(source.getTerminator());
  return writeStates(yield, yield.getValues().take_front(states.size()), states);
}

LogicalResult PhaseFormer::formRecur(loop::RecurOp op) {
  if (layout.step)
    return formTurns(op);
  if (!op.getRounds())
    return op.emitOpError("expected a scheduled recur (with rounds), but got an inline one");
  SmallVector<View> states = makeStates(op.getStates());
  flush();
  auto rounds = task::RoundsOp::create(b, op.getLoc());
  {
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&rounds.getBody(), {}, {task::ListType::get(b.getContext())}, {op.getLoc()});
    Value outer = std::exchange(currentList, body->getArgument(0));
    Block &source = op.getBody().front();
    for (auto [i, with] : llvm::enumerate(op.getWith()))
      views[source.getArgument(1 + states.size() + i)] = get(with);
    if (failed(formBody(source, 1, states))) // argument 0: the lanes
      return failure();
    auto yield = cast<loop::YieldOp>(source.getTerminator());
    SmallVector<Value> stop;
    SmallVector<View> stopViews;
    if (yield.getExit()) {
      stopViews.push_back(get(yield.getExit()));
      stop.push_back(stopViews.front().root);
    }
    task::AdvanceOp::create(rowPhase(), op.getLoc(), stop, ValueRange(), viewsOf(stopViews));
    flush();
    currentList = outer;
  }
  for (auto [result, state] : llvm::zip(op.getResults(), states))
    views[result] = state;
  return success();
}

LogicalResult PhaseFormer::formStack(loop::StackOp op) {
  SmallVector<View> states = makeStates(op.getStates());
  SmallVector<Value> planes = keptFor(op, op.getNameAttr(), op.getStates());
  Block &source = op.getBody().front();
  auto body = [&](Value index) {
    scalars.map(source.getArgument(0), index);
    keepStates(planes, index, states);
    return formBody(source, 1, states);
  };
  if (failed(formLoop(op, {}, op.getLayers(), false, false, body)))
    return failure();
  for (auto [result, state] : llvm::zip(op.getResults(), states))
    views[result] = state;
  return success();
}

LogicalResult PhaseFormer::formWhere(loop::WhereOp op) {
  if (!op.getCondition().getType().isInteger(1))
    return op.emitOpError("expected a condition of type i1 in LANES, but got ") << op.getCondition().getType();
  SmallVector<View> states = makeStates(op.getStates());
  flush();
  auto branch = task::IfOp::create(b, op.getLoc(), scalars.lookup(op.getCondition()));
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&branch.getBody());
    if (failed(formBody(op.getBody().front(), 0, states)))
      return failure();
    flush();
  }
  for (auto [result, state] : llvm::zip(op.getResults(), states))
    views[result] = state;
  return success();
}

LogicalResult PhaseFormer::formReturn(loop::ReturnOp op) {
  for (Value value : op.getValues()) {
    if (!isa<RankedTensorType>(value.getType()))
      continue;
    auto type = task::MemType::get(b.getContext(), loop::getFeatureCount(value.getType()),
                                   cast<RankedTensorType>(value.getType()).getElementType());
    Value out = task::OutOp::create(memory(), op.getLoc(), type);
    copy(get(value), makeView(out, value.getType()), op.getLoc());
  }
  return success();
}

namespace {
struct FormPhasesPass : PassWrapper<FormPhasesPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FormPhasesPass)
  FormPhasesPass(StringRef name = "") { step = name.str(); }
  FormPhasesPass(const FormPhasesPass &other) : PassWrapper(other) {}
  StringRef getArgument() const final { return "loop-form-phases"; }
  StringRef getDescription() const final { return "stages of a LANES model, or a training step of SOURCE, become task.programs"; }
  void getDependentDialects(DialectRegistry &registry) const final { registry.insert<task::TaskDialect>(); }

  void runOnOperation() final {
    for (auto model : getOperation().getOps<loop::ModelOp>()) {
      OpBuilder b(&getContext());
      b.setInsertionPointToEnd(getOperation().getBody());
      if (!step.empty()) {
        auto program = dyn_cast_or_null<loop::ForwardOp>(SymbolTable::lookupSymbolIn(model, step));
        if (!program) {
          model.emitOpError("expected a program @") << step << " of SOURCE, but got none";
          return signalPassFailure();
        }
        ModelLayout layout = ModelLayout::getStep(model, program);
        if (failed(PhaseFormer(layout, b).formStep(program)))
          return signalPassFailure();
        continue;
      }
      if (model.getPhase() != loop::Phase::lanes) {
        model.emitOpError("expected phase(lanes), but got phase(") << loop::stringifyPhase(model.getPhase()) << ")";
        return signalPassFailure();
      }
      FailureOr<ModelLayout> layout = ModelLayout::get(model);
      if (failed(layout))
        return signalPassFailure();
      for (auto stage : model.getBody().front().getOps<loop::StageOp>())
        if (failed(PhaseFormer(*layout, b).formStage(stage)))
          return signalPassFailure();
    }
  }
  Option<std::string> step{*this, "step", llvm::cl::desc("the program of SOURCE that is a training step; none: the stages of LANES")};
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createFormPhasesPass(StringRef step) { return std::make_unique<FormPhasesPass>(step); }
