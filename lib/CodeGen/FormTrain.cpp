// loop-form-phases: what only a training step has: rewound loops, kept states, sums of gradients, attention among rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PhaseFormer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace loopc::codegen;

Value PhaseFormer::given(StringRef what, StringRef name, Type element) {
  int64_t number = layout.given(what, name);
  auto type = task::MemType::get(b.getContext(), layout.givens[size_t(number)].elements, element);
  return task::GivenOp::create(memory(), stage->getLoc(), type, number);
}

View PhaseFormer::denseView(Value value) {
  View view = get(value);
  return (view.shape.back() == 1 || view.strides.back() == 1) && !splatOf(view) ? view : materialise(view);
}

// Columns of the call and transposes: values that are there already.
bool PhaseFormer::formOwn(Operation *op) {
  if (!layout.step)
    return false;
  auto is = [&](Value memory) {
    views[op->getResult(0)] = makeView(memory, op->getResult(0).getType());
    return true;
  };
  auto column = [&](loop::Column which) {
    return is(
        task::ColumnOp::create(memory(), op->getLoc(), task::MemType::get(b.getContext(), 1, b.getI32Type()), which));
  };
  if (isa<loop::TokenOp>(op))
    return column(loop::Column::token);
  if (isa<loop::PositionOp>(op))
    return column(loop::Column::position);
  if (isa<loop::LabelOp>(op))
    return is(given("label", "", b.getI32Type()));
  if (auto noise = dyn_cast<loop::NoiseOp>(op)) {
    Type element = cast<RankedTensorType>(noise.getType()).getElementType();
    if (noise.getLaw().getKind() != loop::LawKind::position)
      return !noise.getIteration() && is(given("draw", noise.getName(), element));
    View to = makeBuffer(noise.getType());
    View from{task::ColumnOp::create(memory(), op->getLoc(), task::MemType::get(b.getContext(), 1, b.getI32Type()),
                                     loop::Column::position),
              0, to.shape, SmallVector<int64_t>(to.shape.size(), 0)};
    auto map = task::MapOp::create(rowPhase(), op->getLoc(), ValueRange(from.root), ValueRange(to.root), to.shape,
                                   viewsOf({from, to}));
    OpBuilder inner(b.getContext());
    Block *block = inner.createBlock(&map.getBody(), {}, {b.getI32Type()}, {op->getLoc()});
    Value number = arith::SIToFPOp::create(inner, op->getLoc(), element, block->getArgument(0));
    task::YieldOp::create(inner, op->getLoc(), ValueRange(number));
    views[noise.getResult()] = to;
    return true;
  }
  // Nothing exits in a step: a test whose flag alone is used does nothing.
  if (auto check = dyn_cast<loop::CheckOp>(op); check)
    return llvm::all_of(check.getResults(), [](Value state) { return state.use_empty(); });
  if (auto transpose = dyn_cast<loop::TransposeOp>(op)) {
    if (!views.count(transpose.getInput()))
      return true; // of a parameter, for linears: they name its panels themselves
    View view = get(transpose.getInput());
    std::swap(view.shape[0], view.shape[1]);
    std::swap(view.strides[0], view.strides[1]);
    views[transpose.getResult()] = view;
    return true;
  }
  return false;
}

//===-- loops -----------------------------------------------------------------------------------------------------===//

LogicalResult PhaseFormer::formLoop(Operation *op, FlatSymbolRefAttr count, std::optional<uint64_t> layers,
                                    bool backward, bool window, llvm::function_ref<LogicalResult(Value)> body) {
  flush();
  Location loc = op->getLoc();
  Region *region;
  SmallVector<Type> types{b.getIndexType()};
  if (layers) {
    auto made = task::LayersOp::create(b, loc, *layers, backward);
    region = &made.getBody();
  } else {
    Value limit = given("limit", count.getValue(), b.getI32Type());
    Value first = window ? given("first", count.getValue(), b.getI32Type()) : Value();
    auto made = task::TurnsOp::create(b, loc, list(), limit, first, backward);
    region = &made.getBody();
    types.push_back(task::ListType::get(b.getContext()));
  }
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(region, {}, types, SmallVector<Location>(types.size(), loc));
  Value outer = currentList;
  if (count)
    currentList = block->getArgument(1);
  LogicalResult done = body(block->getArgument(0));
  flush();
  currentList = outer;
  return done;
}

SmallVector<Value> PhaseFormer::makePlanes(ValueRange states, Operation *op, FlatSymbolRefAttr count,
                                           std::optional<uint64_t> layers) {
  int64_t planes =
      layers ? int64_t(*layers) : int64_t(SymbolTable::lookupNearestSymbolFrom<loop::CountOp>(op, count).getMax());
  SmallVector<Value> result;
  for (Value state : states) {
    auto tensor = cast<RankedTensorType>(state.getType());
    auto type = task::MemType::get(b.getContext(), loop::getFeatureCount(tensor), tensor.getElementType());
    result.push_back(task::BufferOp::create(memory(), op->getLoc(), type, IntegerAttr(), b.getI64IntegerAttr(planes),
                                            IntegerAttr()));
  }
  return result;
}

View PhaseFormer::planeOf(Value planes, Value index, Type tensor) {
  return makeView(task::PlaneOp::create(memory(), stage->getLoc(), planes.getType(), planes, index), tensor);
}

void PhaseFormer::keepStates(ArrayRef<Value> planes, Value index, ArrayRef<View> states) {
  for (auto [plane, state] : llvm::zip(planes, states)) {
    View to = state;
    to.root = task::PlaneOp::create(memory(), stage->getLoc(), plane.getType(), plane, index);
    copy(state, to, stage->getLoc());
  }
}

// The reverse of a loop stands behind it in the same block and begins with the same states.
SmallVector<Value> PhaseFormer::keptFor(Operation *loop, StringAttr name, ValueRange states) {
  if (!layout.step)
    return {};
  for (Operation *next = loop->getNextNode(); next; next = next->getNextNode()) {
    auto rewind = dyn_cast<loop::RewindOp>(next);
    if (!rewind || rewind.getNameAttr() != name || !llvm::equal(ValueRange(rewind.getStates()), states))
      continue;
    SmallVector<Value> planes = makePlanes(states, loop, rewind.getCountAttr(), rewind.getLayers());
    kept[rewind] = planes;
    return planes;
  }
  return {};
}

LogicalResult PhaseFormer::formTurns(loop::RecurOp op) {
  SmallVector<View> states = makeStates(op.getStates());
  SmallVector<Value> planes = keptFor(op, op.getNameAttr(), op.getStates());
  Block &source = op.getBody().front();
  auto body = [&](Value index) {
    scalars.map(source.getArgument(0), index);
    keepStates(planes, index, states);
    return formBody(source, 1, states);
  };
  if (failed(formLoop(op, op.getCountAttr(), {}, false, false, body)))
    return failure();
  for (auto [result, state] : llvm::zip(op.getResults(), states))
    views[result] = state;
  return success();
}

LogicalResult PhaseFormer::formRewind(loop::RewindOp op) {
  Location loc = op.getLoc();
  size_t count = op.getStates().size();
  std::optional<uint64_t> layers;
  if (op.getLayers())
    layers = uint64_t(*op.getLayers());
  SmallVector<Value> planes = kept.lookup(op);
  if (planes.empty() && count) { // no forward loop has kept them
    planes = makePlanes(op.getStates(), op, op.getCountAttr(), layers);
    SmallVector<View> states = makeStates(op.getStates());
    Block &source = op.getAdvance().front();
    auto body = [&](Value index) {
      scalars.map(source.getArgument(0), index);
      keepStates(planes, index, states);
      return formBody(source, 1, states);
    };
    if (failed(formLoop(op, op.getCountAttr(), layers, false, false, body)))
      return failure();
  }
  SmallVector<View> adjoints = makeStates(op.getAdjoints()), sums;
  for (Value sum : op.getSums()) {
    Type element = cast<RankedTensorType>(sum.getType()).getElementType();
    auto zero = DenseElementsAttr::get(RankedTensorType::get({1}, element), b.getZeroAttr(element));
    View none{task::ConstantOp::create(memory(), loc, task::MemType::get(b.getContext(), 1, element), zero), 0, {}, {}};
    sums.push_back(makeBuffer(sum.getType()));
    copy(none, sums.back(), loc);
  }
  // Element functions of a view and `old`, into `old`.
  auto combine = [&](View with, View old, llvm::function_ref<Value(OpBuilder &, Value, Value)> function) {
    if (splatOf(with))
      with = materialise(with);
    auto map = task::MapOp::create(rowPhase(), loc, ValueRange{with.root, old.root}, ValueRange(old.root), old.shape,
                                   viewsOf({with, old, old}));
    OpBuilder inner(b.getContext());
    Block *block = inner.createBlock(&map.getBody(), {}, {with.element(), old.element()}, {loc, loc});
    task::YieldOp::create(inner, loc, ValueRange(function(inner, block->getArgument(0), block->getArgument(1))));
  };
  Block &source = op.getReverse().front();
  auto body = [&](Value index) {
    scalars.map(source.getArgument(0), index);
    for (size_t i = 0; i < count; ++i) {
      views[source.getArgument(unsigned(1 + i))] = planeOf(planes[i], index, op.getStates()[i].getType());
      views[source.getArgument(unsigned(1 + count + i))] = adjoints[i];
    }
    if (failed(formBlock(source)))
      return failure();
    auto yield = cast<loop::YieldOp>(source.getTerminator());
    for (auto [term, sum] : llvm::zip(yield.getValues().drop_front(count), sums))
      combine(get(term), sum,
              [&](OpBuilder &inner, Value a, Value s) -> Value { return arith::AddFOp::create(inner, loc, s, a); });
    return writeStates(yield, yield.getValues().take_front(count), adjoints);
  };
  if (failed(formLoop(op, op.getCountAttr(), layers, true, op.getWindow(), body)))
    return failure();
  if (op.getWindow()) { // no gradient passes the first iteration that is reversed, unless it is the first of all
    Value first = given("first", op.getCountAttr().getValue(), b.getI32Type());
    for (View adjoint : adjoints) {
      View where{first, 0, adjoint.shape, SmallVector<int64_t>(adjoint.shape.size(), 0)};
      combine(where, adjoint, [&](OpBuilder &inner, Value from, Value old) -> Value {
        Value none = arith::ConstantOp::create(inner, loc, inner.getZeroAttr(old.getType()));
        Value start = arith::ConstantOp::create(inner, loc, inner.getZeroAttr(from.getType()));
        Value cut = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::sgt, from, start);
        return arith::SelectOp::create(inner, loc, cut, none, old);
      });
    }
  }
  for (auto [result, view] : llvm::zip(op.getResults(), adjoints))
    views[result] = view;
  for (auto [result, view] : llvm::zip(op.getSums(), sums))
    views[result] = view;
  return success();
}

//===-- wide values -----------------------------------------------------------------------------------------------===//

// Ops that have a value as wide as the logits, and those between them. They need the rows of a chunk only: no buffer of
// tokens times vocabulary, and nothing is computed twice. What they read is computed before, what reads them behind.
LogicalResult PhaseFormer::formChunks(Block &block) {
  int64_t width = 0;
  for (auto loss : block.getOps<loop::CrossEntropyOp>())
    width = std::max(width, loop::getFeatureCount(loss.getLogits().getType()));
  auto isWide = [&](Value value) {
    return isa<RankedTensorType>(value.getType()) && loop::getFeatureCount(value.getType()) == width &&
           !value.getDefiningOp<loop::ParamOp>() && !value.getDefiningOp<arith::ConstantOp>();
  };
  auto ofRows = [](Operation *op) {
    return !op->getNumRegions() && !isa<loop::FoldOp, loop::AttendOp, loop::AttendAdjointOp>(op);
  };
  SmallPtrSet<Operation *, 32> inside, behind;
  bool possible = width > 0;
  for (Operation &op : block)
    if (llvm::any_of(op.getOperands(), isWide) || llvm::any_of(op.getResults(), isWide))
      inside.insert(&op);
  for (bool grown = true; grown && possible;) {
    grown = false;
    behind.clear();
    for (Operation &op : block) {
      bool reads = llvm::any_of(op.getOperands(), [&](Value value) {
        Operation *def = value.getDefiningOp();
        return def && (inside.contains(def) || behind.contains(def));
      });
      op.walk([&](Operation *inner) {
        for (Value value : inner->getOperands())
          if (Operation *def = value.getDefiningOp())
            reads |= inside.contains(def) || behind.contains(def);
      });
      if (!inside.contains(&op) && reads)
        behind.insert(&op);
    }
    for (Operation *op : SmallVector<Operation *>(inside.begin(), inside.end()))
      for (Value value : op->getOperands())
        if (Operation *def = value.getDefiningOp(); def && behind.contains(def))
          grown |= inside.insert(def).second;
  }
  possible &= llvm::all_of(inside, ofRows) && !inside.contains(block.getTerminator());
  if (!possible)
    return formBlock(block);
  auto formAll = [&](llvm::function_ref<bool(Operation *)> which) {
    for (Operation &op : block)
      if (which(&op) && failed(form(&op)))
        return failure();
    return success();
  };
  if (failed(formAll([&](Operation *op) { return !inside.contains(op) && !behind.contains(op); })))
    return failure();
  flush();
  // What is read behind the chunks has a buffer of all rows.
  SmallVector<std::pair<Value, View>> results;
  for (Operation &op : block)
    for (Value result : op.getResults())
      if (inside.contains(&op) && llvm::any_of(result.getUsers(), [&](Operation *user) {
            return !inside.contains(block.findAncestorOpInBlock(*user));
          }))
        results.push_back({result, makeBuffer(result.getType())});
  auto chunks = task::ChunksOp::create(b, stage->getLoc(), chunkRows, list());
  {
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&chunks.getBody(), {}, {task::ListType::get(b.getContext())}, {stage->getLoc()});
    Value outer = std::exchange(currentList, body->getArgument(0));
    chunkWidth = width;
    if (failed(formAll([&](Operation *op) { return inside.contains(op); })))
      return failure();
    closeMap();
    for (auto &[result, view] : results)
      copy(get(result), view, stage->getLoc());
    flush();
    chunkWidth = 0;
    currentList = outer;
  }
  for (auto &[result, view] : results)
    views[result] = view;
  return formAll([&](Operation *op) { return behind.contains(op); });
}

//===-- losses and gradients --------------------------------------------------------------------------------------===//

LogicalResult PhaseFormer::formLoss(Operation *op) {
  View y = makeBuffer(op->getResult(0).getType());
  if (auto hot = dyn_cast<loop::OneHotOp>(op)) {
    View id = get(hot.getId());
    id.strides = {0};
    task::OneHotOp::create(rowPhase(), op->getLoc(), ValueRange(id.root), ValueRange(y.root), y.shape,
                           viewsOf({id, y}));
  } else {
    auto loss = cast<loop::CrossEntropyOp>(op);
    View x = denseView(loss.getLogits()), label = get(loss.getLabel()), one = y;
    label.strides = one.strides = {0};
    task::CrossEntropyOp::create(rowPhase(), op->getLoc(), ValueRange{x.root, label.root}, ValueRange(y.root), x.shape,
                                 viewsOf({x, label, one}));
  }
  views[op->getResult(0)] = y;
  return success();
}

LogicalResult PhaseFormer::formAccumulate(loop::AccumulateOp op) {
  const GradientSlot *slot = layout.gradient(getUntied(op, op.getWeightAttr()).getSymName());
  auto flat = [&](Value value) {
    View view = get(value);
    if (!view.contiguous() || splatOf(view))
      view = materialise(view);
    view.shape = {view.elements()};
    view.strides = {1};
    return view;
  };
  View d = flat(op.getValue()), x = op.getOuter() ? flat(op.getOuter()) : View(),
       row = op.getRow() ? get(op.getRow()) : View();
  SmallVector<Value> index, ins{d.root};
  for (Value value : op.getIndex())
    index.push_back(scalars.lookup(value));
  SmallVector<View> operands{d};
  SmallVector<int64_t> shape{d.elements()};
  if (op.getOuter()) {
    ins.push_back(x.root);
    operands.push_back(x);
    shape.push_back(x.elements());
  } else if (op.getRow()) {
    row.strides = {0};
    ins.push_back(row.root);
    operands.push_back(row);
  }
  flush();
  auto type = task::MemType::get(b.getContext(), slot->rows * slot->cols, b.getF32Type());
  Value root = task::GradientOp::create(b, op.getLoc(), type, slot->name, slot->index, index, slot->strides);
  operands.push_back(View{root, 0, shape, {1}});
  auto phase = task::PhaseOp::create(b, op.getLoc(), phaseName("gradient"), task::Items::panels, list());
  OpBuilder inner = OpBuilder::atBlockEnd(&phase.getBody().emplaceBlock());
  task::AccumulateOp::create(inner, op.getLoc(), ins, ValueRange(root), shape, viewsOf(operands), bool(op.getOuter()),
                             bool(op.getRow()));
  return success();
}

//===-- attention -------------------------------------------------------------------------------------------------===//

namespace {
/// A phase of attention among rows, forward or backward, with what `op` says about its keys.
template <typename Op>
void createAttendRows(OpBuilder &b, Op op, StringRef name, Value list, ArrayRef<Value> ins, ArrayRef<Value> outs,
                      ArrayAttr views, bool backward) {
  auto phase = task::PhaseOp::create(b, op.getLoc(), name, task::Items::heads, list);
  OpBuilder inner = OpBuilder::atBlockEnd(&phase.getBody().emplaceBlock());
  ArrayRef<int64_t> q = loop::getFeatureShape(op.getQ().getType()), v = loop::getFeatureShape(op.getV().getType());
  bool whole = op.getMask() == loop::Mask::whole, ahead = op.getMask() == loop::Mask::prefix;
  auto flag = [&](bool on) { return on ? b.getUnitAttr() : UnitAttr(); };
  task::AttendRowsOp::create(inner, op.getLoc(), ins, outs, b.getDenseI64ArrayAttr({q[0] * q[1]}), views,
                             b.getDenseI64ArrayAttr({q[0], v[0], q[1], v[1]}), op.getScaleAttr(), op.getWindowAttr(),
                             op.getSoftcapAttr(), op.getBeforeAttr(), flag(ahead), flag(whole), flag(backward));
}
} // namespace

/// Made once for equal operands: the reverse of a body begins with the body, whose attention it asks for again.
template <typename Op> PhaseFormer::Attended PhaseFormer::attendRows(Op op, Type type) {
  SmallVector<Attribute> how;
  for (Attribute attr : {Attribute(op.getScaleAttr()), Attribute(op.getWindowAttr()), Attribute(op.getSoftcapAttr()),
                         Attribute(op.getMaskAttr()), Attribute(op.getBeforeAttr())})
    how.push_back(attr ? attr : Attribute(b.getUnitAttr()));
  Attended made{{op.getQ(), op.getK(), op.getV()}, b.getArrayAttr(how), {}, {}};
  for (const Attended &one : attended)
    if (one.of == made.of && one.how == made.how)
      return one;
  View q = denseView(op.getQ()), k = denseView(op.getK()), v = denseView(op.getV());
  flush();
  made.result = makeBuffer(type);
  auto sums = task::MemType::get(b.getContext(), q.shape[0], b.getF32Type());
  made.sums = {buffer(sums), 0, {q.shape[0], 1}, {1, 1}};
  createAttendRows(b, op, phaseName("attend"), list(), {q.root, k.root, v.root}, {made.result.root, made.sums.root},
                   viewsOf({q, k, v, made.result, made.sums}), false);
  attended.push_back(made);
  return made;
}

LogicalResult PhaseFormer::formAttendRows(loop::AttendOp op) {
  if (op.getFirst() || op.getUpto() || op.getLogSum())
    return op.emitOpError("expected attention to keys of the same iteration in training, but got another");
  if (op.getLeast())
    return op.emitOpError("expected attention to all keys of its mask in training, but got `keep`");
  views[op.getResult()] = attendRows(op, op.getType()).result;
  return success();
}

LogicalResult PhaseFormer::formAttendAdjoint(loop::AttendAdjointOp op) {
  Attended forward = attendRows(op, op.getAdjoint().getType());
  View q = denseView(op.getQ()), k = denseView(op.getK()), v = denseView(op.getV()), d = denseView(op.getAdjoint());
  flush();
  SmallVector<View> made;
  for (Value result : op.getResults()) {
    made.push_back(makeBuffer(result.getType()));
    views[result] = made.back();
  }
  SmallVector<View> operands{q, k, v, forward.result, forward.sums, d, made[0], made[1], made[2]};
  createAttendRows(b, op, phaseName("attend_back"), list(),
                   {q.root, k.root, v.root, forward.result.root, forward.sums.root, d.root},
                   {made[0].root, made[1].root, made[2].root}, viewsOf(operands), true);
  return success();
}
