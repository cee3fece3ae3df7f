// loop-form-phases: row ops, linears, attention and K/V append.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PhaseFormer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace loopc::codegen;

//===-- row ops ---------------------------------------------------------------------------------------------------===//

// The last axis in consecutive elements.
static bool innerDense(const View &view) { return view.shape.back() == 1 || view.strides.back() == 1; }

LogicalResult PhaseFormer::formRowOp(Operation *op) {
  Location loc = op->getLoc();
  auto dense = [&](Value value) {
    View view = get(value);
    return innerDense(view) && !splatOf(view) ? view : materialise(view);
  };
  if (auto norm = dyn_cast<loop::NormOp>(op)) {
    View x = dense(norm.getInput()), y = makeBuffer(norm.getType());
    SmallVector<View> operands{x};
    SmallVector<Value> ins{x.root};
    if (norm.getGain()) {
      View gain = dense(norm.getGain());
      gain.strides.insert(gain.strides.begin(), x.shape.size() - gain.shape.size(), 0);
      operands.push_back(gain);
      ins.push_back(gain.root);
    }
    operands.push_back(y);
    task::NormOp::create(rowPhase(), loc, ins, ValueRange(y.root), x.shape, viewsOf(operands), norm.getKind(), norm.getEps());
    views[norm.getResult()] = y;
    return success();
  }
  if (auto softmax = dyn_cast<loop::SoftmaxOp>(op)) {
    View x = dense(softmax.getInput()), y = makeBuffer(softmax.getType());
    task::SoftmaxOp::create(rowPhase(), loc, ValueRange(x.root), ValueRange(y.root), x.shape, viewsOf({x, y}));
    views[softmax.getResult()] = y;
    return success();
  }
  if (auto reduce = dyn_cast<loop::ReduceOp>(op)) {
    View x = dense(reduce.getInput()), y = makeBuffer(reduce.getType()), spread = y;
    SmallVector<int64_t> strides = denseStrides(y.shape);
    if (x.shape.size() == 1)
      spread.strides = {0};
    else {
      strides.insert(strides.begin() + reduce.getAxis(), 0);
      spread.strides = strides;
    }
    task::ReduceOp::create(rowPhase(), loc, ValueRange(x.root), ValueRange(y.root), x.shape, viewsOf({x, spread}), reduce.getKind(),
                           reduce.getAxis());
    views[reduce.getResult()] = y;
    return success();
  }
  if (auto rope = dyn_cast<loop::RopeOp>(op)) {
    View x = dense(rope.getInput()), y = makeBuffer(rope.getType());
    SmallVector<View> operands{x};
    SmallVector<Value> ins{x.root};
    if (rope.getPlace()) {
      View place = get(rope.getPlace());
      if (splatOf(place))
        place = materialise(place);
      place.strides.assign(x.shape.size(), 0);
      operands.push_back(place);
      ins.push_back(place.root);
    }
    operands.push_back(y);
    task::RopeOp::create(rowPhase(), loc, ins, ValueRange(y.root), b.getDenseI64ArrayAttr(x.shape), viewsOf(operands),
                         rope.getBaseAttr(), rope.getPairsAttr(), rope.getBackwardAttr(), rope.getTableAttr());
    views[rope.getResult()] = y;
    return success();
  }
  if (auto embed = dyn_cast<loop::EmbedOp>(op)) {
    View id = get(embed.getId()), table, y = makeBuffer(embed.getType());
    if (views.count(embed.getTable()))
      table = get(embed.getTable());
    else
      table = View{panelsOf(embed.getTable()), 0, {}, {}};
    View tableRow = table; // elements of one row of the table
    tableRow.shape = y.shape;
    tableRow.strides = denseStrides(y.shape);
    id.strides.assign(y.shape.size(), 0);
    task::EmbedOp::create(rowPhase(), loc, ValueRange{id.root, table.root}, ValueRange(y.root), y.shape, viewsOf({id, tableRow, y}));
    views[embed.getResult()] = y;
    return success();
  }
  if (auto concat = dyn_cast<loop::ConcatOp>(op)) {
    View y = makeBuffer(concat.getType());
    int64_t begin = 0;
    for (Value input : concat.getInputs()) {
      View from = get(input), to = y;
      to.shape = from.shape;
      to.offset += begin * y.strides.back();
      begin += from.shape.back();
      copy(from, to, loc);
    }
    views[concat.getResult()] = y;
    return success();
  }
  if (auto store = dyn_cast<loop::StoreOp>(op)) {
    const FieldSlot *slot = layout.field(store.getField());
    if (!slot)
      return op->emitOpError("expected a field of the bank, but got `") << store.getField() << "`";
    auto type = task::MemType::get(b.getContext(), slot->type.getNumElements(), slot->type.getElementType());
    Value root = task::FieldOp::create(memory(), loc, type, slot->name, slot->offset);
    copy(get(store.getValue()), makeView(root, store.getValue().getType()), loc);
    return success();
  }
  if (auto append = dyn_cast<loop::KVAppendOp>(op))
    return formAppend(append);
  if (isa<loop::RecallOp, loop::KeepOp>(op))
    return formState(op);
  return op->emitOpError("expected an op of LANES that the code generator knows, but got `") << op->getName() << "`";
}

Value PhaseFormer::panelsOf(Value weight) {
  bool transposed;
  loop::ParamOp param = getMatrix(weight, transposed);
  const ParamSlot *slot = param ? layout.param(param.getWeight(), true, transposed) : nullptr;
  if (!slot)
    return {};
  SmallVector<Value> index;
  for (Value value : param.getIndex())
    index.push_back(scalars.lookup(value));
  auto type = task::MemType::get(b.getContext(), slot->elements(), slot->element);
  return task::ParamOp::create(memory(), param.getLoc(), type, slot->name, slot->index, index, slot->strides, true, slot->format);
}

LogicalResult PhaseFormer::formLinear(loop::LinearOp op) {
  Location loc = op.getLoc();
  View x = get(op.getInput());
  auto weightType = cast<RankedTensorType>(op.getWeight().getType());
  if (!x.contiguous() || splatOf(x))
    x = materialise(x);
  int64_t k = x.elements();
  if (weightType.getRank() == 1) {
    View w = get(op.getWeight()), y = makeBuffer(op.getType());
    x.shape = {k};
    x.strides = {1};
    y.strides = {0};
    SmallVector<View> operands{x, w};
    SmallVector<Value> ins{x.root, w.root};
    if (op.getBias()) {
      View bias = get(op.getBias());
      if (splatOf(bias))
        bias = materialise(bias);
      bias.strides = {0};
      operands.push_back(bias);
      ins.push_back(bias.root);
    }
    operands.push_back(y);
    task::DotOp::create(rowPhase(), loc, ins, ValueRange(y.root), ArrayRef<int64_t>{k}, viewsOf(operands));
    y.strides = {1};
    views[op.getResult()] = y;
    return success();
  }
  bool transposed;
  loop::ParamOp param = getMatrix(op.getWeight(), transposed);
  if (!param || !layout.param(param.getWeight(), true, transposed))
    return op.emitOpError("expected a parameter as the matrix of a linear, but got a computed value");
  int64_t n = weightType.getDimSize(0);
  View bias;
  if (op.getBias()) {
    bias = get(op.getBias());
    if (!bias.contiguous() || splatOf(bias))
      bias = materialise(bias);
    bias.strides = {1};
    bias.shape = {n};
  }
  flush();
  Value panels = panelsOf(op.getWeight());
  View y = makeBuffer(op.getType());
  auto phase = task::PhaseOp::create(b, loc, phaseName("linear"), task::Items::panels, list());
  OpBuilder inner = OpBuilder::atBlockEnd(&phase.getBody().emplaceBlock());
  SmallVector<Value> ins{x.root, panels};
  SmallVector<Attribute> operandViews{viewAttr(x.offset, {1}), viewAttr(0, {1})};
  if (bias.root) {
    ins.push_back(bias.root);
    operandViews.push_back(viewAttr(bias.offset, {1}));
  }
  operandViews.push_back(viewAttr(0, {1}));
  auto gemm = task::GemmOp::create(inner, loc, ins, ValueRange(y.root), ArrayRef<int64_t>{n}, b.getArrayAttr(operandViews), k, 1);
  Block *block = inner.createBlock(&gemm.getBody(), {}, {b.getF32Type()}, {loc});
  Value sum = block->getArgument(0);
  if (bias.root) {
    Value add = block->addArgument(bias.element(), loc);
    if (add.getType() != sum.getType())
      add = arith::ExtFOp::create(inner, loc, sum.getType(), add);
    sum = arith::AddFOp::create(inner, loc, sum, add);
  }
  Type result = y.element();
  if (result != sum.getType())
    sum = arith::TruncFOp::create(inner, loc, result, sum);
  task::YieldOp::create(inner, loc, ValueRange(sum));
  views[op.getResult()] = y;
  return success();
}

LogicalResult PhaseFormer::formFold(loop::FoldOp op) {
  View x = get(op.getInput());
  if (!x.contiguous() || splatOf(x))
    x = materialise(x);
  int64_t n = x.elements();
  flush();
  View y = makeBuffer(op.getType());
  auto phase = task::PhaseOp::create(b, op.getLoc(), phaseName("fold"), task::Items::sequences, list());
  OpBuilder inner = OpBuilder::atBlockEnd(&phase.getBody().emplaceBlock());
  task::FoldOp::create(inner, op.getLoc(), ValueRange(x.root), ValueRange(y.root), b.getDenseI64ArrayAttr({n}),
                       b.getArrayAttr({viewAttr(x.offset, {1}), viewAttr(0, {1})}), op.getKindAttr(), op.getBatchAttr());
  views[op.getResult()] = y;
  return success();
}

LogicalResult PhaseFormer::formAppend(loop::KVAppendOp op) {
  const SiteSlot *slot = layout.site(op.getSite());
  if (!slot)
    return op.emitOpError("expected a site of the model, but got @") << op.getSite();
  SmallVector<Value> index;
  for (Value value : op.getIndex())
    index.push_back(scalars.lookup(value));
  auto dense = [&](Value value) {
    View view = get(value);
    return innerDense(view) && !splatOf(view) ? view : materialise(view);
  };
  View k = dense(op.getK()), v = dense(op.getV());
  loop::SiteOp site = slot->site;
  task::AppendOp::create(rowPhase(), op.getLoc(), ValueRange{k.root, v.root}, ValueRange(), k.shape, viewsOf({k, v}), slot->pool,
                         slot->offset, index, slot->strides, site.getHeads(), site.getDim(), site.getPlan()->getWrite(),
                         site.getPlan()->getRows());
  return success();
}

// States are worked on as lists of f32.
LogicalResult PhaseFormer::formState(Operation *op) {
  auto recall = dyn_cast<loop::RecallOp>(op);
  auto keep = dyn_cast<loop::KeepOp>(op);
  const SiteSlot *slot = layout.site(recall ? recall.getSite() : keep.getSite());
  if (!slot)
    return op->emitOpError("expected a site of the model, but got another name");
  SmallVector<Value> index;
  for (Value value : recall ? recall.getIndex() : keep.getIndex())
    index.push_back(scalars.lookup(value));
  auto list = [](View view) {
    view.shape = {view.elements()};
    view.strides = {1};
    return view;
  };
  View given = get(recall ? recall.getInit() : keep.getValue());
  given = list(given.contiguous() && !splatOf(given) ? given : materialise(given));
  loop::SiteOp site = slot->site;
  loop::SitePlanAttr plan = *site.getPlan();
  if (keep) {
    task::KeepOp::create(rowPhase(), op->getLoc(), ValueRange(given.root), ValueRange(), given.shape, viewsOf({given}), slot->pool, slot->offset,
                         index, slot->strides, site.getHeads(), site.getDim(), plan.getWrite(), plan.getRows());
    return success();
  }
  View made = makeBuffer(recall.getType()), flat = list(made);
  SmallVector<View> operands{given};
  SmallVector<Value> ins{given.root};
  if (recall.getPast()) {
    View past = get(recall.getPast());
    if (splatOf(past))
      past = materialise(past);
    past.strides = {0};
    operands.push_back(past);
    ins.push_back(past.root);
  }
  operands.push_back(flat);
  task::RecallOp::create(rowPhase(), op->getLoc(), ins, ValueRange(made.root), given.shape, viewsOf(operands),
                         slot->pool, slot->offset, index, slot->strides, site.getHeads(), site.getDim(), plan.getRead(), plan.getRows(),
                         site.getStage() == "core" && plan.getPlanes().isConstant());
  views[recall.getResult()] = made;
  return success();
}

LogicalResult PhaseFormer::formAttend(loop::KVAttendOp op) {
  const SiteSlot *slot = layout.site(op.getSite());
  if (!slot)
    return op.emitOpError("expected a site of the model, but got @") << op.getSite();
  View q = get(op.getQ());
  if (!innerDense(q) || splatOf(q))
    q = materialise(q);
  SmallVector<View> operands = {q};
  if (op.getLeast()) {
    View least = materialise(get(op.getLeast()));
    least.shape.push_back(q.shape[1]); // the same for all features of a head
    least.strides.push_back(0);
    operands.push_back(least);
  }
  SmallVector<Value> ins, index;
  for (const View &view : operands)
    ins.push_back(view.root);
  for (Value value : op.getIndex())
    index.push_back(scalars.lookup(value));
  loop::SiteOp site = slot->site;
  flush();
  View o = makeBuffer(op.getType());
  operands.push_back(o);
  auto phase = task::PhaseOp::create(b, op.getLoc(), phaseName("attend"), task::Items::heads, list());
  OpBuilder inner = OpBuilder::atBlockEnd(&phase.getBody().emplaceBlock());
  auto number = [&](int64_t value) { return b.getI64IntegerAttr(value); };
  AffineMap plane = site.getPlan()->getRead();
  if (op.getFirst() && plane.getNumDims()) // of iteration 0, whatever the own is
    plane = plane.replace(b.getAffineDimExpr(0), b.getAffineConstantExpr(0), plane.getNumDims(), 0);
  task::AttendOp::create(inner, op.getLoc(), ins, ValueRange(o.root), b.getDenseI64ArrayAttr(q.shape), viewsOf(operands),
                         number(slot->pool), number(slot->offset), index, b.getDenseI64ArrayAttr(slot->strides),
                         number(site.getHeads()), number(site.getDim()), AffineMapAttr::get(plane),
                         TypeAttr::get(site.getPlan()->getRows()), op.getScaleAttr(), op.getWindowAttr(), op.getSoftcapAttr(),
                         op.getMask() ? b.getUnitAttr() : UnitAttr(), op.getBeforeAttr(), op.getUptoAttr(), op.getLogSumAttr(), op.getSparseAttr());
  views[op.getResult()] = o;
  return success();
}
