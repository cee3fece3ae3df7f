// loop-form-phases: values as views, element functions as maps.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Activations.h"
#include "PhaseFormer.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace loopc::codegen;

int64_t View::elements() const {
  int64_t n = 1;
  for (int64_t size : shape)
    n *= size;
  return n;
}

bool View::contiguous() const {
  int64_t step = 1;
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != step)
      return false;
    step *= shape[i];
  }
  return true;
}

SmallVector<int64_t> loopc::codegen::featureShape(Type type) {
  SmallVector<int64_t> shape(loop::getFeatureShape(type));
  if (shape.empty())
    shape.push_back(1);
  return shape;
}

SmallVector<int64_t> loopc::codegen::denseStrides(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> strides(shape.size(), 1);
  for (int i = static_cast<int>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

//===-- helpers ---------------------------------------------------------------------------------------------------===//

Attribute loopc::codegen::splatOf(const View &view) {
  auto constant = view.root.getDefiningOp<task::ConstantOp>();
  if (!constant || cast<task::MemType>(view.root.getType()).getCount() != 1)
    return {};
  return cast<DenseElementsAttr>(constant.getValue()).getSplatValue<Attribute>();
}

View PhaseFormer::get(Value value) {
  auto found = views.find(value);
  assert(found != views.end() && "operands are formed before their users");
  return found->second;
}

View PhaseFormer::makeView(Value root, Type tensor) {
  SmallVector<int64_t> shape = featureShape(tensor);
  return View{root, 0, shape, denseStrides(shape)};
}

Value PhaseFormer::buffer(task::MemType type) {
  bool wide = chunkWidth && type.getCount() >= chunkWidth;
  return task::BufferOp::create(memory(), stage->getLoc(), type, IntegerAttr(), IntegerAttr(), wide ? b.getI64IntegerAttr(chunkRows) : IntegerAttr());
}

View PhaseFormer::makeBuffer(Type tensor) {
  auto type = task::MemType::get(b.getContext(), loop::getFeatureCount(tensor), cast<RankedTensorType>(tensor).getElementType());
  return makeView(buffer(type), tensor);
}

View PhaseFormer::materialise(const View &view) {
  auto type = task::MemType::get(b.getContext(), view.elements(), view.element());
  View to{buffer(type), 0, view.shape, denseStrides(view.shape)};
  copy(view, to, stage->getLoc());
  return to;
}

// Memory ops stand before the phase that is being filled.
OpBuilder &PhaseFormer::memory() {
  if (!rows)
    return b;
  memoryBuilder = std::make_unique<OpBuilder>(rows);
  return *memoryBuilder;
}

OpBuilder &PhaseFormer::rowPhase() {
  if (!rows) {
    rows = task::PhaseOp::create(b, stage->getLoc(), phaseName("rows"), task::Items::rows, list());
    rows.getBody().emplaceBlock();
    rowBuilder = std::make_unique<OpBuilder>(OpBuilder::atBlockEnd(&rows.getBody().front()));
  }
  return *rowBuilder;
}

void PhaseFormer::flush() {
  closeMap();
  rows = {};
}

Value PhaseFormer::list() { return currentList; }

std::string PhaseFormer::phaseName(StringRef kind) {
  int number = names[kind]++;
  return number ? (kind + "_" + Twine(number + 1)).str() : kind.str();
}

task::ViewAttr PhaseFormer::viewAttr(int64_t offset, ArrayRef<int64_t> strides) {
  return task::ViewAttr::get(b.getContext(), offset, strides);
}

ArrayAttr PhaseFormer::viewsOf(ArrayRef<View> list) {
  SmallVector<Attribute> attrs;
  for (const View &view : list)
    attrs.push_back(viewAttr(view.offset, view.strides));
  return b.getArrayAttr(attrs);
}

// Adjacent dimensions that every view walks as one become one; single steps go away.
static void collapse(SmallVectorImpl<int64_t> &shape, MutableArrayRef<View> operands) {
  for (size_t i = 0; i + 1 < shape.size();) {
    bool joined = llvm::all_of(operands, [&](const View &v) {
      return shape[i] == 1 || v.strides[i] == v.strides[i + 1] * shape[i + 1];
    });
    if (!joined) {
      ++i;
      continue;
    }
    shape[i + 1] *= shape[i];
    shape.erase(shape.begin() + i);
    for (View &v : operands)
      v.strides.erase(v.strides.begin() + i);
  }
}

void PhaseFormer::copy(const View &from, const View &to, Location loc) {
  SmallVector<int64_t> shape = to.shape;
  Attribute splat = splatOf(from);
  SmallVector<View> operands;
  if (!splat)
    operands.push_back(from);
  operands.push_back(to);
  collapse(shape, operands);
  auto map = task::MapOp::create(rowPhase(), loc, splat ? ValueRange() : ValueRange(from.root), ValueRange(to.root), shape,
                                 viewsOf(operands));
  OpBuilder inner(b.getContext());
  Block *block = inner.createBlock(&map.getBody());
  Value value;
  if (splat)
    value = arith::ConstantOp::create(inner, loc, cast<TypedAttr>(splat));
  else
    value = block->addArgument(from.element(), loc);
  task::YieldOp::create(inner, loc, ValueRange(value));
}

//===-- open map --------------------------------------------------------------------------------------------------===//

bool PhaseFormer::isElementwise(Operation *op) const {
  if (op->getNumResults() != 1 || op->getNumOperands() == 0 || !isa<RankedTensorType>(op->getResult(0).getType()))
    return false;
  return isa<loop::ActOp>(op) || isa<arith::ArithDialect, math::MathDialect>(op->getDialect());
}

bool PhaseFormer::inOpenMap(Value value) const {
  return value.getDefiningOp() && llvm::is_contained(open, value.getDefiningOp());
}

void PhaseFormer::closeMap() {
  if (open.empty())
    return;
  SmallVector<Operation *> ops = std::exchange(open, {});
  Location loc = ops.front()->getLoc();
  auto inside = [&](Operation *op) { return llvm::is_contained(ops, op); };

  llvm::MapVector<Value, View> inputs;
  std::vector<std::pair<Value, View>> outputs;
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      if (isa<RankedTensorType>(operand.getType()) && (!operand.getDefiningOp() || !inside(operand.getDefiningOp())))
        inputs.insert({operand, get(operand)});
    if (llvm::any_of(op->getUsers(), [&](Operation *user) { return !inside(user); }))
      outputs.push_back({op->getResult(0), View()});
  }
  if (outputs.empty())
    return;
  SmallVector<int64_t> shape = openShape;
  for (auto &[value, view] : outputs)
    view = makeBuffer(value.getType());
  SmallVector<View> operands;
  SmallVector<Value> ins, outs;
  llvm::MapVector<Value, Attribute> constants;
  for (auto &[value, view] : inputs) {
    if (Attribute splat = splatOf(view)) {
      constants.insert({value, splat});
      continue;
    }
    operands.push_back(view);
    ins.push_back(view.root);
  }
  for (auto &[value, view] : outputs) {
    operands.push_back(view);
    outs.push_back(view.root);
    views[value] = view;
  }
  collapse(shape, operands);
  auto map = task::MapOp::create(rowPhase(), loc, ins, outs, shape, viewsOf(operands));
  OpBuilder inner(b.getContext());
  Block *block = inner.createBlock(&map.getBody());
  IRMapping mapping;
  for (auto &[value, view] : inputs)
    if (!constants.count(value))
      mapping.map(value, block->addArgument(view.element(), loc));
  for (auto &[value, splat] : constants)
    mapping.map(value, arith::ConstantOp::create(inner, loc, cast<TypedAttr>(splat)).getResult());
  for (Operation *op : ops) {
    if (auto act = dyn_cast<loop::ActOp>(op)) {
      mapping.map(act.getResult(), expandActivation(inner, op->getLoc(), act.getKind(), mapping.lookup(act.getInput())));
      continue;
    }
    SmallVector<Value> scalarOperands;
    for (Value operand : op->getOperands()) // a condition may be a scalar of the program, equal for all elements
      scalarOperands.push_back(isa<RankedTensorType>(operand.getType()) ? mapping.lookup(operand) : scalars.lookup(operand));
    OperationState state(op->getLoc(), op->getName(), scalarOperands,
                         {cast<RankedTensorType>(op->getResult(0).getType()).getElementType()}, op->getAttrs());
    state.propertiesAttr = op->getPropertiesAsAttribute();
    mapping.map(op->getResult(0), inner.create(state)->getResult(0));
  }
  SmallVector<Value> yielded;
  for (auto &[value, view] : outputs)
    yielded.push_back(mapping.lookup(value));
  task::YieldOp::create(inner, loc, yielded);
}

//===-- views -----------------------------------------------------------------------------------------------------===//

// True if `op` only names elements that exist already.
bool PhaseFormer::formView(Operation *op, LogicalResult &result) {
  if (isa<loop::TapOp>(op) || isa<loop::YieldOp>(op) || formOwn(op))
    return true;
  if (auto param = dyn_cast<loop::ParamOp>(op)) {
    const ParamSlot *slot = layout.param(param.getWeight(), false);
    if (!slot)
      return true; // used as the matrix of linears only: they name it themselves
    SmallVector<Value> index;
    for (Value value : param.getIndex())
      index.push_back(scalars.lookup(value));
    auto type = task::MemType::get(b.getContext(), slot->elements(), slot->element);
    Value root = task::ParamOp::create(memory(), op->getLoc(), type, slot->name, slot->index, index, slot->strides, false, StringAttr());
    views[param.getResult()] = makeView(root, param.getType());
    return true;
  }
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto value = cast<DenseElementsAttr>(constant.getValue());
    auto tensor = cast<RankedTensorType>(constant.getType());
    if (value.isSplat())
      value = value.resizeSplat(RankedTensorType::get({1}, tensor.getElementType()));
    auto type = task::MemType::get(b.getContext(), value.getNumElements(), tensor.getElementType());
    View view = makeView(task::ConstantOp::create(memory(), op->getLoc(), type, value), tensor);
    if (value.isSplat())
      llvm::fill(view.strides, 0);
    views[constant.getResult()] = view;
    return true;
  }
  if (auto load = dyn_cast<loop::LoadOp>(op)) {
    const FieldSlot *slot = layout.field(load.getField());
    if (!slot) {
      result = op->emitOpError("expected a field of the bank, but got `") << load.getField() << "`";
      return true;
    }
    auto type = task::MemType::get(b.getContext(), slot->type.getNumElements(), slot->type.getElementType());
    View view = makeView(task::FieldOp::create(memory(), op->getLoc(), type, slot->name, slot->offset), load.getType());
    // A field that this stage also stores is copied unless the only reader is a loop's state, which copies it itself.
    bool stored = false;
    stage->walk([&](loop::StoreOp store) { stored |= store.getField() == load.getField(); });
    if (stored && !llvm::all_of(load->getUsers(), [](Operation *user) { return isa<loop::RecurOp>(user); }))
      view = materialise(view);
    views[load.getResult()] = view;
    return true;
  }
  if (auto column = dyn_cast<loop::ColumnOp>(op)) {
    auto type = task::MemType::get(b.getContext(), 1, b.getI32Type());
    views[column.getResult()] = makeView(task::ColumnOp::create(memory(), op->getLoc(), type, column.getColumn()), column.getType());
    return true;
  }
  if (auto knob = dyn_cast<loop::KnobValueOp>(op)) {
    auto type = task::MemType::get(b.getContext(), 1, b.getF32Type());
    views[knob.getResult()] = makeView(task::KnobOp::create(memory(), op->getLoc(), type, layout.knob(knob.getKnob())), knob.getType());
    return true;
  }
  if (auto count = dyn_cast<loop::CountValueOp>(op)) {
    auto type = task::MemType::get(b.getContext(), 1, b.getI32Type());
    Value column = layout.step ? given("limit", count.getCount(), b.getI32Type())
                               : task::ColumnOp::create(memory(), op->getLoc(), type, loop::Column::limit).getResult();
    View limit = makeView(column, count.getType());
    Type element = cast<RankedTensorType>(count.getType()).getElementType();
    if (isa<FloatType>(element)) {
      View to = makeBuffer(count.getType());
      auto map = task::MapOp::create(rowPhase(), op->getLoc(), ValueRange(limit.root), ValueRange(to.root), ArrayRef<int64_t>{1},
                                     viewsOf({limit, to}));
      OpBuilder inner(b.getContext());
      Block *block = inner.createBlock(&map.getBody(), {}, {b.getI32Type()}, {op->getLoc()});
      Value number = arith::SIToFPOp::create(inner, op->getLoc(), element, block->getArgument(0));
      task::YieldOp::create(inner, op->getLoc(), ValueRange(number));
      limit = to;
    }
    views[count.getResult()] = limit;
    return true;
  }
  if (auto made = dyn_cast<tensor::FromElementsOp>(op)) { // a scalar of the program as a number of every row
    View to = makeBuffer(made.getType());
    auto map = task::MapOp::create(rowPhase(), op->getLoc(), ValueRange(), ValueRange(to.root), to.shape, viewsOf({to}));
    OpBuilder inner(b.getContext());
    inner.createBlock(&map.getBody());
    task::YieldOp::create(inner, op->getLoc(), ValueRange(scalars.lookup(made.getElements()[0])));
    views[made.getResult()] = to;
    return true;
  }
  if (isa<loop::SpreadOp, loop::StopGradientOp>(op)) {
    views[op->getResult(0)] = get(op->getOperand(0));
    return true;
  }
  if (auto slice = dyn_cast<loop::SliceOp>(op)) {
    View view = get(slice.getInput());
    view.offset += static_cast<int64_t>(slice.getBegin()) * view.strides[slice.getAxis()];
    view.shape = featureShape(slice.getType());
    views[slice.getResult()] = view;
    return true;
  }
  if (auto broadcast = dyn_cast<loop::BroadcastOp>(op)) {
    View from = get(broadcast.getInput()), to = from;
    to.shape = featureShape(broadcast.getType());
    to.strides.assign(to.shape.size(), 0);
    for (auto [i, dim] : llvm::enumerate(broadcast.getDims()))
      to.strides[dim] = from.shape[i] == 1 ? 0 : from.strides[i];
    views[broadcast.getResult()] = to;
    return true;
  }
  if (auto reshape = dyn_cast<loop::ReshapeOp>(op)) {
    View view = get(reshape.getInput());
    bool constant = llvm::all_of(view.strides, [](int64_t stride) { return stride == 0; });
    if (!constant && !view.contiguous())
      view = materialise(view);
    view.shape = featureShape(reshape.getType());
    view.strides = denseStrides(view.shape);
    if (constant)
      llvm::fill(view.strides, 0);
    views[reshape.getResult()] = view;
    return true;
  }
  return false;
}
