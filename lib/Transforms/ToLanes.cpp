// loop-to-lanes: gives every value of the program a row dimension and makes K/V rows explicit.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `loop-to-lanes` and `loop-split-stages` leave behind, for those who read LANES (interpreter, code generator).
// test/Dialect/Loop/lanes.mlir is a whole model in this form.
//
// Model level, in this order: counts, knobs, weights, sites (each with `plan` and `stage`), one `loop.bank @slot`, one
// `loop.schedule`, then the stages `prelude`, `core`, `coda`, `head`; `core` only with a loop, `coda` only if something
// after the loop attends. Weights that a merged weight lists stay as declarations and have no `loop.param`.
//
// Stages. Block arguments: (lanes<lane>, rounds: index, bank, cache if the stage has sites). `loop.return`: (bank,
// cache if there is one, then for `head` the logits: tensor<?xVxf32, rows<lane>>). `rounds` has a use in `core` only.
//   prelude: …, loop.store of every field it makes.
//   core:    loop.load of states and of values captured by the loop; exactly one loop.recur; loop.store of its states.
//   coda:    loop.load of what it needs, …, loop.store of what `head` needs.
//   head:    loop.load, …, returns the logits.
// A field is loaded before the first store of the stage, at most once; stores stand at the end of the stage.
//
// An exit test beside the iteration is a loop.check behind the recur in `step`: (states, cache?), exit. It becomes the
// stage `check`, and what stands behind its last loop.fold the stage `decide`: they load and store the states that
// `prev` keeps and store the flag as field `exit.stop`; the operand of a loop.fold is stored as field `fold.KIND`, which
// the runtime reduces over the lanes of the sequence before `decide`. A check reads and writes rows of the readout's sites.
//
// loop.recur: `rounds` is the stage's argument, `of` the stage's lanes. Block arguments: (lanes<lane.NAME>, states,
// with, cache?), NAME being the recur's name; states and with values have rows<lane.NAME> inside, rows<lane> outside.
// yield: (states, cache?), exit(tensor<?xi1, rows<lane.NAME>>) iff the recur has `exit`. The body captures only index
// scalars and values without rows. The iteration is the column `iteration` of the body's lanes (number of iterations
// completed before this one, from 0).
// loop.stack: (index, states, cache?); loop.where with an i1 condition: (states, cache?). Both keep the row space, and
// may capture row values of that space. There is no loop.where with a condition per row: it has become arith.select.
//
// Cache: one chain of SSA values per stage: kv.append gives a new one, kv.attend reads it. The kv.attend of a site
// follows its kv.append. k and v have the row type of the site's plan; q is f32. `kv.append`/`kv.attend` have one index
// per table of the site.
//
// Bank fields (types without rows), in this order:
//   states of the recur: name of the state (attribute `state_names` of the recur, else a tap's name, else NAME.i)
//   values that a later stage reads: a tap's name, else `STAGE.i` of the stage that makes them
//   `draw.NAME`: written by the runtime before `prelude` runs; never stored by a stage
//   `obs.NAME`: observed taps; inside a loop they are extra states of the recur, zero from `prelude` on
// A value that is named twice gets `.2`, `.3`, … .
//
// Values without rows (loop.param, arith.constant, element functions of them, casts, reshape/broadcast/slice/concat of
// them) are evaluated in the stage that needs them and enter row arithmetic by loop.spread. Operands that have no rows:
// weight and bias of linear, gain of norm, table of embed, input of spread. Index and i1 scalars (layer indices,
// arith on them) have no rows either.
//
// Upstream ops that may appear, with operands and results in one row space or without rows:
//   arith: constant, every element function on f32, bf16, f64 and i1 (addf … select, extf, truncf, sitofp, uitofp), on
//          tensors of i32 (addi … divsi remsi minsi maxsi cmpi), and arithmetic of index and i1 scalars
//   tensor.from_elements of one index-derived scalar, as the input of a loop.spread
//
// A loop.param whose index is a column (a weight of the iteration) becomes a loop.stack over its table, see `byEntry`.
//   math:  every element function (exp log sqrt rsqrt absf floor ceil sin cos tanh erf powf fma …)
#include "Program.h"
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/TypeSwitch.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPTOLANES
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

/// Where rows live at a point of the program: the lanes, their space, the newest cache.
struct RowScope {
  Value lanes;
  RowsAttr rows;
  Value cache;
  Value meant = {}; ///< a flag per row: the others leave no keys
};

bool hasRows(Value value) { return bool(getRows(value.getType())); }

class Converter {
public:
  Converter(ModelOp model, ForwardOp forward)
      : model(model), forward(forward), b(model.getContext()), space(RowsAttr::get(model.getContext(), "lane")) {}

  LogicalResult run();

private:
  Value loadDraw(NoiseOp noise, RowScope &scope);
  LogicalResult convertBody(Block &block, RowScope &scope);
  LogicalResult convert(Operation *op, RowScope &scope);
  LogicalResult convertRecur(RecurOp recur, RowScope &scope);
  LogicalResult convertStack(StackOp stack, RowScope &scope);
  LogicalResult convertInline(RecurOp recur, RowScope &scope);
  LogicalResult convertWhere(WhereOp where, RowScope &scope);
  LogicalResult convertCheck(CheckOp check, RowScope &scope);
  LogicalResult convertSelected(WhereOp where, Value condition, RowScope &scope);
  LogicalResult convertOther(Operation *op, RowScope &scope);
  LogicalResult convertAttend(AttendOp attend, RowScope &scope);
  /// `row` where the lane is meant, else `number`.
  Value meantOr(Value row, const llvm::APFloat &number, const RowScope &scope, Location loc);

  LogicalResult convertLinear(LinearOp linear, RowScope &scope);
  LogicalResult convertNorm(NormOp norm, RowScope &scope);
  LogicalResult convertParam(ParamOp param, RowScope &scope);
  /// Whether `value` is a weight whose entry depends on the iteration.
  bool variesByRow(Value value) {
    auto param = value ? value.getDefiningOp<ParamOp>() : ParamOp();
    return param && llvm::any_of(param.getIndex(), [&](Value i) { return hasRows(map.lookup(i)); });
  }
  Value byEntry(ParamOp param, Type result, const RowScope &scope, llvm::function_ref<Value(Value)> use);
  /// A value of the last axis for all features of `type`.
  Value wide(Value value, Type type, Location loc);

  /// The same in-body conversion for stack and uniform where: (index?, states, cache?).
  LogicalResult convertRegion(Block &from, Block &to, bool index, bool cache, const RowScope &outer);
  LogicalResult checkRolled(Operation *op);

  /// `value` of the program with rows of `scope`: spread if it has none.
  Value rowsOf(Value value, const RowScope &scope, Location loc) { return spread(map.lookup(value), scope, loc); }
  Value spread(Value value, const RowScope &scope, Location loc);
  SmallVector<Value> rowsOf(ValueRange values, const RowScope &scope, Location loc) {
    return llvm::map_to_vector(values, [&](Value value) { return rowsOf(value, scope, loc); });
  }
  SmallVector<Value> scalars(ValueRange values) {
    return llvm::map_to_vector(values, [&](Value value) { return map.lookup(value); });
  }
  Value column(Column which, Type type, const RowScope &scope, Location loc) {
    return ColumnOp::create(b, loc, withRows(type, scope.rows), which, scope.lanes);
  }
  /// A value that is cheaper to read again in another space than to carry there; null if `value` is not one.
  Value again(Value value, const RowScope &scope);

  ModelOp model;
  ForwardOp forward;
  OpBuilder b;
  RowsAttr space;
  IRMapping map;
  BankType bankType;
  CacheType cacheType;
  StageOp stage;
  Value rounds, bank;
  SmallVector<FieldAttr> drawn;
};

/// Operands that are parameters whatever the other operands are.
bool isParameterOperand(OpOperand &operand) {
  Operation *op = operand.getOwner();
  unsigned i = operand.getOperandNumber();
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<LinearOp, EmbedOp, NormOp>([&](auto) { return i > 0; })
      .Default(false);
}

Value Converter::spread(Value value, const RowScope &scope, Location loc) {
  if (hasRows(value))
    return value;
  Type type = value.getType();
  if (!isa<RankedTensorType>(type)) {
    APInt number;
    Type element = type.isIndex() ? Type(b.getI32Type()) : type;
    if (isa<IntegerType>(element) && matchPattern(value, m_ConstantInt(&number))) {
      auto constant = RankedTensorType::get({}, element);
      value = arith::ConstantOp::create(
          b, loc, DenseElementsAttr::get(constant, number.sextOrTrunc(element.getIntOrFloatBitWidth())));
      return SpreadOp::create(b, loc, withRows(constant, scope.rows), value, scope.lanes);
    }
    if (type.isIndex())
      value = arith::IndexCastOp::create(b, loc, b.getI32Type(), value);
    value = tensor::FromElementsOp::create(b, loc, RankedTensorType::get({}, value.getType()), value);
  }
  return SpreadOp::create(b, loc, withRows(value.getType(), scope.rows), value, scope.lanes);
}

Value Converter::again(Value value, const RowScope &scope) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return {};
  Location loc = op->getLoc();
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](TokenOp) -> Value { return column(Column::token, value.getType(), scope, loc); })
      .Case([&](PositionOp) -> Value { return column(Column::position, value.getType(), scope, loc); })
      .Case([&](CountValueOp count) -> Value {
        return CountValueOp::create(b, loc, withRows(value.getType(), scope.rows), count.getCountAttr(), scope.lanes);
      })
      .Case([&](KnobValueOp knob) -> Value {
        return KnobValueOp::create(b, loc, withRows(value.getType(), scope.rows), knob.getKnobAttr(), scope.lanes);
      })
      .Default([](Operation *) { return Value(); });
}

Value Converter::loadDraw(NoiseOp noise, RowScope &scope) {
  std::string field = "draw." + noise.getName().str();
  FieldAttr attr = FieldAttr::get(b.getContext(), field, noise.getResult().getType());
  if (!llvm::is_contained(drawn, attr)) {
    drawn.push_back(attr);
    OpBuilder at(stage);
    DrawOp::create(at, noise.getLoc(), noise.getName(), field, noise.getLaw(), noise.getResult().getType(),
                   noise.getIteration(), noise.getShared());
  }
  return LoadOp::create(b, noise.getLoc(), withRows(noise.getResult().getType(), scope.rows), bank,
                        b.getStringAttr(field), scope.lanes);
}

LogicalResult Converter::convertBody(Block &block, RowScope &scope) {
  for (Operation &op : block.without_terminator())
    if (failed(convert(&op, scope)))
      return failure();
  return success();
}

LogicalResult Converter::convert(Operation *op, RowScope &scope) {
  Location loc = op->getLoc();
  if (op->getNumResults() == 1)
    if (Value read = again(op->getResult(0), scope)) {
      map.map(op->getResult(0), read);
      return success();
    }
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](NoiseOp noise) -> LogicalResult {
        if (scope.rows != space)
          return map.contains(noise.getResult())
                     ? success()
                     : noise.emitOpError("expected a draw directly in the scheduled loop, but got one in a body inside it");
        map.map(noise.getResult(), loadDraw(noise, scope));
        return success();
      })
      .Case([&](RopeOp rope) -> LogicalResult {
        Value input = rowsOf(rope.getInput(), scope, loc);
        map.map(rope.getResult(), RopeOp::create(b, loc, withRows(rope.getResult().getType(), scope.rows), input,
                                                 scope.lanes,
                                                 rope.getPlace() ? rowsOf(rope.getPlace(), scope, loc) : Value(),
                                                 rope.getBaseAttr(), rope.getPairsAttr(), rope.getBackwardAttr(),
                                                 rope.getTableAttr()));
        return success();
      })
      .Case([&](ParamOp param) -> LogicalResult { return convertParam(param, scope); })
      .Case([&](LinearOp linear) -> LogicalResult { return convertLinear(linear, scope); })
      .Case([&](NormOp norm) -> LogicalResult { return convertNorm(norm, scope); })
      .Case([&](AttendOp attend) -> LogicalResult { return convertAttend(attend, scope); })
      .Case([&](FoldOp fold) -> LogicalResult {
        Value input = rowsOf(fold.getInput(), scope, loc);
        map.map(fold.getResult(), FoldOp::create(b, loc, input.getType(), fold.getKindAttr(), input, fold.getBatchAttr()).getResult());
        return success();
      })
      .Case([&](RecallOp recall) -> LogicalResult {
        Value init = rowsOf(recall.getInit(), scope, loc);
        map.map(recall.getResult(), RecallOp::create(b, loc, init.getType(), recall.getSiteAttr(), scalars(recall.getIndex()), init,
                                                     recall.getPast() ? rowsOf(recall.getPast(), scope, loc) : Value(), scope.cache,
                                                     scope.lanes));
        return success();
      })
      .Case([&](KeepOp keep) -> LogicalResult {
        if (scope.meant)
          return keep.emitOpError("expected a carry outside of a `where` that differs by token, but got one inside");
        scope.cache = KeepOp::create(b, loc, cacheType, rowsOf(keep.getValue(), scope, loc), keep.getSiteAttr(), scalars(keep.getIndex()),
                                     scope.cache, scope.lanes)
                          .getResult();
        return success();
      })
      .Case([&](TapOp tap) -> LogicalResult {
        if (tap->getParentOp() == forward)
          TapOp::create(b, loc, rowsOf(tap.getValue(), scope, loc), tap.getNameAttr());
        return success();
      })
      .Case([&](RecurOp recur) -> LogicalResult {
        bool outermost = recur->getParentOp() == forward && recur == getScheduledRecur(forward);
        return outermost ? convertRecur(recur, scope) : convertInline(recur, scope);
      })
      .Case([&](StackOp stack) -> LogicalResult { return convertStack(stack, scope); })
      .Case([&](WhereOp where) -> LogicalResult { return convertWhere(where, scope); })
      .Case([&](CheckOp check) -> LogicalResult { return convertCheck(check, scope); })
      .Default([&](Operation *other) { return convertOther(other, scope); });
}

Value Converter::meantOr(Value row, const llvm::APFloat &number, const RowScope &scope, Location loc) {
  auto type = cast<RankedTensorType>(row.getType());
  auto none = RankedTensorType::get(getFeatureShape(type), type.getElementType());
  Value other = spread(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(none, number)), scope, loc);
  Value meant = BroadcastOp::create(b, loc, withElementType(type, b.getI1Type()), scope.meant, b.getDenseI64ArrayAttr({}));
  return arith::SelectOp::create(b, loc, meant, row, other);
}

LogicalResult Converter::convertAttend(AttendOp attend, RowScope &scope) {
  Location loc = attend.getLoc();
  SmallVector<Value> index = scalars(attend.getIndex());
  for (Value i : index)
    if (!i.getType().isIndex())
      return attend.emitOpError(
          "expected a site index that is the same for all tokens, but got one that depends on the iteration");
  bool appended = false; // by an attend of the same rows before it
  for (Operation *before = attend->getPrevNode(); before && !appended; before = before->getPrevNode())
    if (auto other = dyn_cast<AttendOp>(before))
      appended = other.getSiteAttr() == attend.getSiteAttr();
  Value q = rowsOf(attend.getQ(), scope, loc);
  if (!appended) {
    Value k = rowsOf(attend.getK(), scope, loc), v = rowsOf(attend.getV(), scope, loc);
    if (scope.meant) {
      const llvm::fltSemantics &kind = cast<FloatType>(cast<RankedTensorType>(k.getType()).getElementType()).getFloatSemantics();
      k = meantOr(k, llvm::APFloat::getNaN(kind), scope, loc);
      v = meantOr(v, llvm::APFloat::getZero(kind), scope, loc);
    }
    scope.cache = KVAppendOp::create(b, loc, cacheType, k, v, scope.cache, attend.getSiteAttr(), index, scope.lanes);
  }
  Value least = attend.getLeast() ? rowsOf(attend.getLeast(), scope, loc) : Value();
  map.map(attend.getResult(),
          KVAttendOp::create(b, loc, withRows(attend.getResult().getType(), scope.rows), q, least, scope.cache,
                             attend.getSiteAttr(), index, scope.lanes, attend.getScaleAttr(), attend.getWindowAttr(),
                             attend.getSoftcapAttr(), attend.getMaskAttr(), attend.getBeforeAttr(), attend.getFirstAttr(),
                             attend.getUptoAttr(), attend.getLogSumAttr(), scope.meant ? b.getUnitAttr() : UnitAttr(), attend.getOrderAttr()));
  return success();
}

// Lanes of one call may be at different iterations. A rolled stack goes through the entries of the table; each lane keeps
// what `use` makes of its own one.
Value Converter::byEntry(ParamOp param, Type result, const RowScope &scope, llvm::function_ref<Value(Value)> use) {
  Location loc = param.getLoc();
  auto type = cast<RankedTensorType>(result);
  auto weight = lookup<WeightOp>(model, param.getWeightAttr());
  SmallVector<Value> index = scalars(param.getIndex());
  unsigned which = 0;
  while (!hasRows(index[which]))
    ++which;
  Value own = index[which];
  Value zero = spread(arith::ConstantOp::create(b, loc, b.getZeroAttr(type)), scope, loc);
  auto stack = StackOp::create(b, loc, TypeRange(zero.getType()), Type(), b.getStringAttr("entry"),
                               b.getI64IntegerAttr((*weight.getTables())[which]), ValueRange(zero), Value());
  OpBuilder::InsertionGuard guard(b);
  Block *body = b.createBlock(&stack.getBody(), {}, {b.getIndexType(), zero.getType()}, {loc, loc});
  index[which] = body->getArgument(0);
  Value value = use(ParamOp::create(b, loc, param.getType(), param.getWeightAttr(), index));
  Value is = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, own, spread(body->getArgument(0), scope, loc));
  if (!getFeatureShape(value.getType()).empty())
    is = BroadcastOp::create(b, loc, withElementType(cast<RankedTensorType>(value.getType()), b.getI1Type()), is, b.getDenseI64ArrayAttr({}));
  YieldOp::create(b, loc, ValueRange(arith::SelectOp::create(b, loc, is, value, body->getArgument(1)).getResult()), Value());
  return stack.getResult(0);
}

Value Converter::wide(Value value, Type type, Location loc) {
  auto to = cast<RankedTensorType>(type);
  int64_t rank = getFeatureShape(to).size(), own = getFeatureShape(value.getType()).size();
  if (rank == own)
    return value;
  return BroadcastOp::create(b, loc, to, value, llvm::to_vector(llvm::seq<int64_t>(rank - own, rank)));
}

LogicalResult Converter::convertParam(ParamOp param, RowScope &scope) {
  if (!variesByRow(param))
    return convertOther(param, scope);
  if (llvm::count_if(scalars(param.getIndex()), hasRows) > 1)
    return param.emitOpError("expected at most one index that depends on the iteration, but got more");
  auto matrix = [](OpOperand &use) { return isa<LinearOp>(use.getOwner()) && use.getOperandNumber() == 1; };
  if (!llvm::all_of(param->getUses(), matrix)) // as a value; a linear multiplies with each entry instead
    map.map(param.getResult(), byEntry(param, param.getType(), scope, [&](Value entry) { return spread(entry, scope, param.getLoc()); }));
  return success();
}

LogicalResult Converter::convertLinear(LinearOp linear, RowScope &scope) {
  Value bias = linear.getBias() ? map.lookup(linear.getBias()) : Value();
  bool separate = bias && hasRows(bias), varies = variesByRow(linear.getWeight());
  if (!separate && !varies)
    return convertOther(linear, scope);
  Location loc = linear.getLoc();
  Value input = rowsOf(linear.getInput(), scope, loc);
  auto multiply = [&](Value weight) -> Value {
    return LinearOp::create(b, loc, withRows(linear.getType(), scope.rows), input, weight, separate ? Value() : bias,
                            linear.getOrderAttr());
  };
  Value y = varies ? byEntry(linear.getWeight().getDefiningOp<ParamOp>(), linear.getType(), scope, multiply)
                   : multiply(map.lookup(linear.getWeight()));
  if (separate)
    y = arith::AddFOp::create(b, loc, y, wide(bias, y.getType(), loc));
  map.map(linear.getResult(), y);
  return success();
}

LogicalResult Converter::convertNorm(NormOp norm, RowScope &scope) {
  if (!norm.getGain() || !hasRows(map.lookup(norm.getGain())))
    return convertOther(norm, scope);
  Location loc = norm.getLoc();
  Value y = NormOp::create(b, loc, withRows(norm.getType(), scope.rows), norm.getKindAttr(), rowsOf(norm.getInput(), scope, loc),
                           Value(), norm.getEpsAttr(), norm.getOrderAttr());
  map.map(norm.getResult(), arith::MulFOp::create(b, loc, y, wide(map.lookup(norm.getGain()), y.getType(), loc)).getResult());
  return success();
}

LogicalResult Converter::convertOther(Operation *op, RowScope &scope) {
  if (op->getNumRegions())
    return op->emitOpError("expected an op without regions here");
  bool rows = llvm::any_of(op->getOperands(), [&](Value operand) { return hasRows(map.lookup(operand)); });
  if (!rows) {
    b.clone(*op, map);
    return success();
  }
  if (isa<arith::IndexCastOp>(op) && op->getResult(0).getType().isInteger(32)) {
    map.map(op->getResult(0), map.lookup(op->getOperand(0)));
    return success();
  }
  if (isa<tensor::FromElementsOp>(op) && op->getNumOperands() == 1 &&
      getFeatureShape(op->getResult(0).getType()).empty()) {
    map.map(op->getResult(0), map.lookup(op->getOperand(0)));
    return success();
  }
  if (isa<tensor::SplatOp>(op)) {
    Value made = BroadcastOp::create(b, op->getLoc(), withRows(op->getResult(0).getType(), scope.rows),
                                     map.lookup(op->getOperand(0)), b.getDenseI64ArrayAttr({}));
    map.map(op->getResult(0), made);
    return success();
  }
  if (!isElementFunction(op) && !isa<LoopDialect>(op->getDialect()))
    return op->emitOpError("expected an element function or an op of the loop dialect, but got `")
           << op->getName() << "`";
  for (OpOperand &operand : op->getOpOperands())
    if (isParameterOperand(operand) && hasRows(map.lookup(operand.get())))
      return op->emitOpError("expected operand ")
             << operand.getOperandNumber() << " to be made of weights only, but it differs by token";
  bool element = isElementFunction(op);
  Operation *made = b.clone(*op, map);
  b.setInsertionPoint(made);
  for (OpOperand &operand : made->getOpOperands()) {
    bool tensor = isa<RankedTensorType>(operand.get().getType());
    // A scalar operand of an element function joins rows only where another operand of its own kind has them.
    bool scalar = element && !isa<RankedTensorType>(op->getOperand(operand.getOperandNumber()).getType()) &&
                  !isa<RankedTensorType>(op->getResult(0).getType());
    if ((tensor || scalar) && !isParameterOperand(operand))
      operand.set(spread(operand.get(), scope, op->getLoc()));
  }
  // A uniform condition that became a column (it reads the iteration) selects whole rows.
  if (auto select = dyn_cast<arith::SelectOp>(made))
    if (hasRows(select.getCondition()) &&
        getFeatureShape(select.getCondition().getType()) != getFeatureShape(select.getTrueValue().getType()))
      select.getConditionMutable().set(
          BroadcastOp::create(b, op->getLoc(), withElementType(select.getTrueValue().getType(), b.getI1Type()),
                              select.getCondition(), b.getDenseI64ArrayAttr({})));
  b.setInsertionPointAfter(made);
  for (auto [old, result] : llvm::zip(op->getResults(), made->getResults())) {
    Type type = old.getType();
    if (type.isIndex())
      type = b.getI32Type();
    result.setType(withRows(isa<RankedTensorType>(type) ? type : RankedTensorType::get({}, type), scope.rows));
  }
  return success();
}

LogicalResult Converter::checkRolled(Operation *op) {
  auto yield = cast<YieldOp>(op->getRegion(0).front().getTerminator());
  for (Value value : yield.getValues())
    if (!isa<RankedTensorType>(value.getType()))
      return op->emitOpError("expected states that are tensors, but got ") << value.getType();
  return success();
}

LogicalResult Converter::convertRecur(RecurOp recur, RowScope &scope) {
  Location loc = recur.getLoc();
  if (failed(checkRolled(recur)))
    return failure();
  Block &from = recur.getBody().front();
  RowsAttr inner = RowsAttr::get(b.getContext(), ("lane." + recur.getName()).str());

  // What the body reads from outside and differs by token: carried along, unless it is cheaper to read again.
  llvm::SetVector<Value> used;
  getUsedValuesDefinedAbove(recur.getBody(), recur.getBody(), used);
  SmallVector<Value> with, reread;
  for (Value value : used)
    if (hasRows(map.lookup(value))) {
      Operation *op = value.getDefiningOp();
      (op && isa<TokenOp, PositionOp, CountValueOp, KnobValueOp>(op) ? reread : with).push_back(value);
    }

  bool cached = attends(recur);
  SmallVector<Value> states = rowsOf(recur.getStates(), scope, loc), carried;
  // Flags enter as numbers, which is what a bank field holds.
  auto isFlag = [](Value value) { return cast<RankedTensorType>(value.getType()).getElementType().isInteger(1); };
  for (Value value : scalars(with))
    carried.push_back(isFlag(value) ? arith::UIToFPOp::create(b, loc, withElementType(value.getType(), b.getF32Type()), value) : value);
  // The runtime writes a draw of an iteration before the call that runs it.
  SmallVector<NoiseOp> draws; // of the body and of its branches
  from.walk([&](NoiseOp noise) { draws.push_back(noise); });
  for (NoiseOp noise : draws)
    carried.push_back(loadDraw(noise, scope));
  auto made =
      RecurOp::create(b, loc, scope.lanes.getType(), ValueRange(states).getTypes(), cached ? Type(cacheType) : Type(),
                      recur.getNameAttr(), recur.getCountAttr(), states, carried, scope.lanes, rounds,
                      cached ? scope.cache : Value(), recur.getKvAttr(), recur.getExitAttr(), recur.getPlanAttr());
  setStateNames(made, getStateNames(recur));

  OpBuilder::InsertionGuard guard(b);
  Block *body = b.createBlock(&made.getBody());
  RowScope in{body->addArgument(LanesType::get(b.getContext(), inner.getSpace()), loc), inner, Value()};
  for (auto [old, state] : llvm::zip(from.getArguments().drop_front(), states))
    map.map(old, body->addArgument(withRows(state.getType(), inner), loc));
  SmallVector<std::pair<Value, Value>> outside;
  llvm::scope_exit restore([&] {
    for (auto [value, mapped] : outside)
      map.map(value, mapped);
  });
  for (auto [value, number] : llvm::zip(with, carried)) {
    Value before = map.lookup(value), inside = body->addArgument(withRows(number.getType(), inner), loc);
    outside.emplace_back(value, before);
    if (isFlag(before)) {
      auto type = RankedTensorType::get(getFeatureShape(inside.getType()), b.getF32Type());
      Value zero = spread(arith::ConstantOp::create(b, loc, b.getZeroAttr(type)), in, loc);
      inside = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, inside, zero);
    }
    map.map(value, inside);
  }
  for (NoiseOp noise : draws)
    map.map(noise.getResult(), body->addArgument(withRows(noise.getResult().getType(), inner), loc));
  if (cached)
    in.cache = body->addArgument(cacheType, loc);
  for (Value value : reread) {
    outside.emplace_back(value, map.lookup(value));
    map.map(value, again(value, in));
  }
  if (!from.getArgument(0).use_empty())
    map.map(from.getArgument(0), column(Column::iteration, RankedTensorType::get({}, b.getI32Type()), in, loc));
  if (failed(convertBody(from, in)))
    return failure();
  auto yield = cast<YieldOp>(from.getTerminator());
  SmallVector<Value> yielded = rowsOf(yield.getValues(), in, yield.getLoc());
  if (cached)
    yielded.push_back(in.cache);
  Value exit = yield.getExit() ? rowsOf(yield.getExit(), in, yield.getLoc()) : Value();
  YieldOp::create(b, yield.getLoc(), yielded, exit);

  scope.lanes = made.getOutLanes();
  if (cached)
    scope.cache = made.getOutCache();
  for (auto [old, result] : llvm::zip(recur.getResults(), made.getResults()))
    map.map(old, result);
  return success();
}

LogicalResult Converter::convertRegion(Block &from, Block &to, bool index, bool cache, const RowScope &outer) {
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(&to);
  RowScope in = outer;
  for (auto [i, argument] : llvm::enumerate(from.getArguments())) {
    Type type = index && i == 0 ? argument.getType() : Type(withRows(argument.getType(), outer.rows));
    map.map(argument, to.addArgument(type, argument.getLoc()));
  }
  if (cache)
    in.cache = to.addArgument(cacheType, from.getParentOp()->getLoc());
  if (failed(convertBody(from, in)))
    return failure();
  auto yield = cast<YieldOp>(from.getTerminator());
  SmallVector<Value> yielded = rowsOf(yield.getValues(), in, yield.getLoc());
  if (cache)
    yielded.push_back(in.cache);
  YieldOp::create(b, yield.getLoc(), yielded,
                  yield.getExit() ? rowsOf(yield.getExit(), in, yield.getLoc()) : Value());
  return success();
}

LogicalResult Converter::convertCheck(CheckOp check, RowScope &scope) {
  bool cached = attends(check);
  SmallVector<Value> states = rowsOf(check.getStates(), scope, check.getLoc());
  auto made = CheckOp::create(b, check.getLoc(), ValueRange(states).getTypes(),
                              withRows(check.getStop().getType(), scope.rows), cached ? Type(cacheType) : Type(),
                              states, cached ? scope.cache : Value());
  Block &body = made.getBody().emplaceBlock();
  if (failed(convertRegion(check.getBody().front(), body, /*index=*/false, cached, scope)))
    return failure();
  if (cached)
    scope.cache = made.getOutCache();
  return success();
}

LogicalResult Converter::convertStack(StackOp stack, RowScope &scope) {
  if (failed(checkRolled(stack)))
    return failure();
  bool cached = attends(stack);
  SmallVector<Value> states = rowsOf(stack.getStates(), scope, stack.getLoc());
  auto made = StackOp::create(b, stack.getLoc(), ValueRange(states).getTypes(), cached ? Type(cacheType) : Type(),
                              stack.getNameAttr(), stack.getLayersAttr(), states, cached ? scope.cache : Value());
  Block &body = made.getBody().emplaceBlock();
  if (failed(convertRegion(stack.getBody().front(), body, /*index=*/true, cached, scope)))
    return failure();
  if (cached)
    scope.cache = made.getOutCache();
  for (auto [old, result] : llvm::zip(stack.getResults(), made.getResults()))
    map.map(old, result);
  return success();
}

// A recurrence that the scheduler does not run has a fixed count and no exit: it is a stack without own weights.
LogicalResult Converter::convertInline(RecurOp recur, RowScope &scope) {
  auto count = lookup<CountOp>(model, recur.getCountAttr());
  if (!count || count.getMin() != count.getMax())
    return recur.emitOpError("expected a fixed count for a loop inside another, but @")
           << recur.getCount() << " is chosen at run time";
  if (recur.getExit())
    return recur.emitOpError("expected no exit test in a loop inside another, but got one");
  if (failed(checkRolled(recur)))
    return failure();
  bool cached = attends(recur);
  if (cached && recur->getParentOp() == forward)
    return recur.emitOpError("expected attention in the first loop of the program, but got it in another");
  SmallVector<Value> states = rowsOf(recur.getStates(), scope, recur.getLoc());
  auto made = StackOp::create(b, recur.getLoc(), ValueRange(states).getTypes(), cached ? Type(cacheType) : Type(),
                              recur.getNameAttr(), count.getValueAttr(), states, cached ? scope.cache : Value());
  Block &body = made.getBody().emplaceBlock();
  if (failed(convertRegion(recur.getBody().front(), body, /*index=*/true, cached, scope)))
    return failure();
  if (cached)
    scope.cache = made.getOutCache();
  for (auto [old, result] : llvm::zip(recur.getResults(), made.getResults()))
    map.map(old, result);
  return success();
}

LogicalResult Converter::convertWhere(WhereOp where, RowScope &scope) {
  if (failed(checkRolled(where)))
    return failure();
  Value condition = map.lookup(where.getCondition());
  if (!condition.getType().isInteger(1))
    return convertSelected(where, spread(condition, scope, where.getLoc()), scope);
  bool cached = attends(where);
  SmallVector<Value> states = rowsOf(where.getStates(), scope, where.getLoc());
  auto made = WhereOp::create(b, where.getLoc(), ValueRange(states).getTypes(), cached ? Type(cacheType) : Type(),
                              condition, states, cached ? scope.cache : Value());
  Block &body = made.getBody().emplaceBlock();
  if (failed(convertRegion(where.getBody().front(), body, /*index=*/false, cached, scope)))
    return failure();
  if (cached)
    scope.cache = made.getOutCache();
  for (auto [old, result] : llvm::zip(where.getResults(), made.getResults()))
    map.map(old, result);
  return success();
}

// A branch per token: computed for all, chosen by select. Rows that other tokens leave there are marked as none.
LogicalResult Converter::convertSelected(WhereOp where, Value condition, RowScope &scope) {
  Location loc = where.getLoc();
  Block &from = where.getBody().front();
  SmallVector<Value> states = rowsOf(where.getStates(), scope, loc);
  for (auto [argument, state] : llvm::zip(from.getArguments(), states))
    map.map(argument, state);
  Value outer = scope.meant;
  scope.meant = outer ? arith::AndIOp::create(b, loc, outer, condition).getResult() : condition;
  LogicalResult done = convertBody(from, scope);
  scope.meant = outer;
  if (failed(done))
    return failure();
  auto yield = cast<YieldOp>(from.getTerminator());
  for (auto [old, value, state] : llvm::zip(where.getResults(), yield.getValues(), states)) {
    Value next = rowsOf(value, scope, loc), chosen = condition;
    auto type = cast<RankedTensorType>(state.getType());
    if (!getFeatureShape(type).empty())
      chosen = BroadcastOp::create(b, loc, withElementType(type, b.getI1Type()), condition, b.getDenseI64ArrayAttr({}));
    map.map(old, arith::SelectOp::create(b, loc, chosen, next, state));
  }
  return success();
}

LogicalResult Converter::run() {
  Location loc = forward.getLoc();
  bankType = BankType::get(b.getContext(), FlatSymbolRefAttr::get(b.getContext(), "slot"));
  cacheType = CacheType::get(b.getContext(), FlatSymbolRefAttr::get(b.getContext(), "step"));
  b.setInsertionPoint(forward);
  stage = StageOp::create(b, loc, "step");
  Block &body = stage.getBody().emplaceBlock();
  b.setInsertionPointToEnd(&body);
  RowScope scope{body.addArgument(LanesType::get(b.getContext(), space.getSpace()), loc), space, Value()};
  rounds = body.addArgument(b.getIndexType(), loc);
  bank = body.addArgument(bankType, loc);
  bool cached = attends(forward);
  if (cached)
    scope.cache = body.addArgument(cacheType, loc);
  if (failed(convertBody(forward.getBody().front(), scope)))
    return failure();
  auto back = cast<ReturnOp>(forward.getBody().front().getTerminator());
  if (back.getValues().size() != 1 || !isa<RankedTensorType>(back.getValues()[0].getType()))
    return back.emitOpError("expected the logits as the only value, but got ") << back.getValues().size() << " values";
  SmallVector<Value> results = {bank};
  if (cached)
    results.push_back(scope.cache);
  results.push_back(rowsOf(back.getValues()[0], scope, back.getLoc()));
  ReturnOp::create(b, back.getLoc(), results);
  b.setInsertionPoint(stage);
  SmallVector<Attribute> fields(drawn.begin(), drawn.end());
  BankOp::create(b, loc, "slot", b.getArrayAttr(fields));
  forward.erase();
  model.setPhase(Phase::lanes);
  return success();
}

struct ToLanesPass : impl::LoopToLanesBase<ToLanesPass> {
  using Base::Base;
  void runOnOperation() override {
    ModelOp model = getOperation();
    ForwardOp forward = getForward(model);
    if (!forward) {
      model.emitOpError("expected a loop.forward, but got none");
      return signalPassFailure();
    }
    threadObservedTaps(forward, SmallVector<std::string>(observe.begin(), observe.end()));
    if (failed(moveExitCheck(model, forward)) || failed(Converter(model, forward).run()))
      signalPassFailure();
  }
};

} // namespace
} // namespace loopc
