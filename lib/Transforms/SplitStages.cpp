// loop-split-stages: cuts the stage `step` into prelude, core, coda and head, with bank fields between them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the stages look like is described in ToLanes.cpp. An op belongs to the stage that its place in the program
// gives: before the recurrence, the recurrence, after it up to the last op that attends, the rest. Values that cost
// nothing (weights, constants, columns, options, draws) are read again in every stage that needs them; every other
// value that a later stage reads becomes a bank field, and no other value does.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPSPLITSTAGES
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

constexpr StringLiteral kNames[] = {"prelude", "core", "check", "decide", "coda", "head"};
enum StageIndex : unsigned { Prelude, Core, Check, Decide, Coda, Head, StageCount };

/// True for an op that every stage may repeat.
bool isFree(Operation *op) {
  if (isa<ColumnOp, KnobValueOp, CountValueOp, LoadOp>(op))
    return true;
  if (auto spread = dyn_cast<SpreadOp>(op))
    return true;
  return op->getNumRegions() == 0 && isPure(op) &&
         llvm::none_of(op->getResultTypes(), [](Type type) { return bool(getRows(type)); });
}

class Splitter {
public:
  Splitter(ModelOp model, StageOp step)
      : model(model), step(step), source(step.getBody().front()), b(model.getContext()) {}
  LogicalResult run();

private:
  struct Part {
    StageOp stage;
    IRMapping map;
    SmallVector<Operation *> ops;
    Value lanes, bank, cache;
    llvm::StringMap<Value> loaded;
    bool used = false;
  };

  void assignStages();
  LogicalResult build(StageIndex index);
  LogicalResult buildCore();
  /// What the exit test keeps: (value, field), each in the stage that may write it last.
  void storeCheck(StageIndex index, SmallVectorImpl<std::pair<Value, std::string>> &stores);
  void finish(StageIndex index);
  void open(StageIndex index);
  /// Makes `value` readable in the part: nothing, a repeated op, or a load.
  void ensure(StageIndex index, Value value);
  void ensureOperands(StageIndex index, Operation *op);
  Value load(StageIndex index, StringRef field, Type type);
  std::string fieldOf(Value value);
  std::string unique(std::string name);
  unsigned stageOf(Value value) { return stageIndex.lookup(value.getDefiningOp()); }
  void writeBankAndSchedule();

  ModelOp model;
  StageOp step;
  Block &source;
  OpBuilder b;
  Part parts[StageCount];
  RecurOp recur;
  CheckOp check;
  SmallVector<std::string> stateFields;
  llvm::DenseMap<Operation *, unsigned> stageIndex;
  llvm::MapVector<Value, std::string> crossing;
  SmallVector<std::pair<Value, std::string>> observed;
  llvm::StringSet<> names;
  Value logits;
};

std::string Splitter::unique(std::string name) {
  std::string tried = name;
  for (unsigned i = 2; !names.insert(tried).second; ++i)
    tried = name + "." + std::to_string(i);
  return tried;
}

void Splitter::assignStages() {
  Operation *lastAttending = nullptr;
  for (Operation &op : source.without_terminator()) {
    if (auto found = dyn_cast<RecurOp>(op))
      recur = found;
    if (auto found = dyn_cast<CheckOp>(op))
      check = found;
    else if (attends(&op))
      lastAttending = &op;
  }
  bool afterLoop = !recur, afterAttention = !lastAttending;
  for (Operation &op : source.without_terminator()) {
    unsigned index = !recur ? (afterAttention ? Head : Prelude)
                            : (&op == recur ? Core : (!afterLoop ? Prelude : (afterAttention ? Head : Coda)));
    if (&op == check)
      index = Check;
    stageIndex[&op] = index;
    if (&op == check)
      continue;
    if (&op == recur)
      afterLoop = true;
    if (&op == lastAttending)
      afterAttention = true;
    if (!isFree(&op) && !isa<TapOp>(op))
      parts[index].ops.push_back(&op);
  }
  if (check) {
    Operation *lastFold = nullptr;
    for (FoldOp fold : check.getBody().front().getOps<FoldOp>())
      lastFold = fold;
    unsigned index = Check;
    for (Operation &op : check.getBody().front().without_terminator()) {
      stageIndex[&op] = index;
      if (!isFree(&op) && !isa<TapOp>(op))
        parts[index].ops.push_back(&op);
      if (&op == lastFold)
        index = Decide;
    }
    parts[Check].used = true;
    parts[Decide].used = lastFold != nullptr;
  }
  parts[Prelude].used = parts[Head].used = true;
  parts[Core].used = bool(recur);
  parts[Coda].used = !parts[Coda].ops.empty();
}

void Splitter::open(StageIndex index) {
  Part &part = parts[index];
  b.setInsertionPoint(step);
  part.stage = StageOp::create(b, step.getLoc(), kNames[index]);
  Block &body = part.stage.getBody().emplaceBlock();
  part.lanes = body.addArgument(source.getArgument(0).getType(), step.getLoc());
  part.map.map(source.getArgument(0), part.lanes);
  if (recur)
    part.map.map(recur.getOutLanes(), part.lanes);
  part.map.map(source.getArgument(1), body.addArgument(source.getArgument(1).getType(), step.getLoc()));
  part.bank = body.addArgument(source.getArgument(2).getType(), step.getLoc());
  part.map.map(source.getArgument(2), part.bank);
  if (llvm::any_of(part.ops, [](Operation *op) { return attends(op); })) {
    part.cache = body.addArgument(source.getArgument(3).getType(), step.getLoc());
    // The chain of caches of the whole step enters here with whatever op came before.
    for (Value value : {Value(source.getArgument(3))})
      part.map.map(value, part.cache);
    for (Operation &op : source)
      for (Value result : op.getResults())
        if (isa<CacheType>(result.getType()) && stageIndex.lookup(&op) != index)
          part.map.map(result, part.cache);
    if (index == Check)
      part.map.map(check.getBody().front().getArguments().back(), part.cache);
  }
  b.setInsertionPointToEnd(&body);
}

std::string Splitter::fieldOf(Value value) {
  if (recur && value.getDefiningOp() == recur)
    return stateFields[llvm::find(recur.getResults(), value) - recur.getResults().begin()];
  auto [entry, added] = crossing.try_emplace(value);
  if (!added)
    return entry->second;
  std::string name;
  if (auto fold = value.getDefiningOp<FoldOp>(); fold && isa<CheckOp>(fold->getParentOp()))
    return entry->second = unique(("fold." + stringifyReduceKind(fold.getKind())).str());
  for (Operation *user : value.getUsers())
    if (auto tap = dyn_cast<TapOp>(user))
      name = tap.getName().str();
  if (name.empty())
    name = kNames[stageOf(value)].str() + "." + std::to_string(crossing.size() - 1);
  return entry->second = unique(name);
}

Value Splitter::load(StageIndex index, StringRef field, Type type) {
  Part &part = parts[index];
  Value &value = part.loaded[field];
  if (!value)
    value = LoadOp::create(b, step.getLoc(), type, part.bank, b.getStringAttr(field), part.lanes);
  return value;
}

void Splitter::ensure(StageIndex index, Value value) {
  Part &part = parts[index];
  if (part.map.contains(value))
    return;
  Operation *op = value.getDefiningOp();
  if (!op) { // a state that the exit test keeps
    Value state = check.getStates()[cast<BlockArgument>(value).getArgNumber()];
    part.map.map(value, load(index, fieldOf(state), value.getType()));
    return;
  }
  // A flag is made again from what it was made of: no field holds one.
  auto type = dyn_cast<RankedTensorType>(value.getType());
  const bool flag = type && type.getElementType().isInteger(1) && op->getNumRegions() == 0 && isPure(op);
  if (isFree(op) || flag) {
    ensureOperands(index, op);
    b.clone(*op, part.map);
    return;
  }
  part.map.map(value, load(index, fieldOf(value), value.getType()));
}

void Splitter::ensureOperands(StageIndex index, Operation *op) {
  for (Value operand : op->getOperands())
    ensure(index, operand);
  for (Region &region : op->getRegions()) {
    llvm::SetVector<Value> used;
    getUsedValuesDefinedAbove(region, region, used);
    for (Value value : used)
      ensure(index, value);
  }
}

LogicalResult Splitter::build(StageIndex index) {
  Part &part = parts[index];
  open(index);
  for (Operation *op : part.ops) {
    if (index == Check)
      for (Value operand : op->getOperands())
        if (operand.getDefiningOp<FoldOp>())
          return op->emitOpError("expected one reduction over the sequence, but got one of another");
    ensureOperands(index, op);
    if (auto fold = dyn_cast<FoldOp>(op); fold && index == Check) { // stored as it is; reduced on the way to `decide`
      part.map.map(fold.getResult(), part.map.lookup(fold.getInput()));
      continue;
    }
    Operation *made = b.clone(*op, part.map);
    for (Value result : made->getResults())
      if (isa<CacheType>(result.getType()))
        part.cache = result;
  }
  return success();
}

LogicalResult Splitter::buildCore() {
  Part &part = parts[Core];
  open(Core);
  SmallVector<Value> states;
  for (auto [value, field] : llvm::zip(recur.getStates(), stateFields))
    states.push_back(load(Core, field, value.getType()));
  for (Value value : recur.getWith())
    ensure(Core, value);
  llvm::SetVector<Value> used;
  getUsedValuesDefinedAbove(recur.getBody(), recur.getBody(), used);
  for (Value value : used)
    ensure(Core, value);
  // The initial states stay behind in the prelude; the core starts from the bank.
  IRMapping map = part.map;
  for (Value value : recur.getStates())
    if (!map.contains(value))
      map.map(value, states.front());
  auto made = cast<RecurOp>(b.clone(*recur, map));
  made.getStatesMutable().assign(states);
  for (auto [old, result] : llvm::zip(recur.getResults(), made.getResults()))
    part.map.map(old, result);
  part.map.map(recur.getOutLanes(), made.getOutLanes());
  part.lanes = made.getOutLanes();
  if (made.getOutCache())
    part.cache = made.getOutCache();
  return success();
}

void Splitter::storeCheck(StageIndex index, SmallVectorImpl<std::pair<Value, std::string>> &stores) {
  Block &body = check.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  auto decides = [&](Operation *op) {
    while (op && op->getBlock() != &body)
      op = op->getParentOp();
    return op && stageIndex.lookup(op) == Decide;
  };
  for (auto [i, state] : llvm::enumerate(check.getStates())) {
    Value value = yield.getValues()[i];
    bool late = parts[Decide].used && (decides(value.getDefiningOp()) || value.getDefiningOp<FoldOp>() ||
                                       llvm::any_of(body.getArgument(i).getUsers(), [&](Operation *user) { return decides(user); }));
    if (index == (late ? Decide : Check))
      stores.emplace_back(value, fieldOf(state));
  }
}

void Splitter::finish(StageIndex index) {
  Part &part = parts[index];
  b.setInsertionPointToEnd(&part.stage.getBody().front());
  Location loc = step.getLoc();
  SmallVector<std::pair<Value, std::string>> stores;
  if (recur && index == Prelude)
    for (auto [value, field] : llvm::zip(recur.getStates(), stateFields))
      stores.emplace_back(value, field);
  if (index == Core)
    for (auto [value, field] : llvm::zip(recur.getResults(), stateFields))
      stores.emplace_back(value, field);
  if (check && (index == Check || index == Decide))
    storeCheck(index, stores);
  for (auto &[value, field] : crossing)
    if (stageOf(value) == index)
      stores.emplace_back(value, field);
  for (auto &[value, field] : observed)
    if ((isFree(value.getDefiningOp()) ? unsigned(Prelude) : stageOf(value)) == index)
      stores.emplace_back(value, field);
  for (auto &[value, field] : stores)
    ensure(index, value);
  if (index == Head)
    ensure(Head, logits);
  Value bank = part.bank;
  for (auto &[value, field] : stores)
    bank = StoreOp::create(b, loc, bank.getType(), part.map.lookup(value), bank, b.getStringAttr(field), part.lanes);
  if (check && index == (parts[Decide].used ? Decide : Check)) {
    Value stop = cast<YieldOp>(check.getBody().front().getTerminator()).getExit();
    ensure(index, stop);
    Value flag = part.map.lookup(stop);
    flag = arith::UIToFPOp::create(b, loc, withElementType(flag.getType(), b.getF32Type()), flag);
    bank = StoreOp::create(b, loc, bank.getType(), flag, bank, b.getStringAttr("exit.stop"), part.lanes);
  }
  SmallVector<Value> results = {bank};
  if (part.cache)
    results.push_back(part.cache);
  if (index == Head)
    results.push_back(part.map.lookup(logits));
  ReturnOp::create(b, loc, results);

  auto name = FlatSymbolRefAttr::get(b.getContext(), kNames[index]);
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](CacheType) -> Type { return CacheType::get(b.getContext(), name); });
  replacer.recursivelyReplaceElementsIn(part.stage, /*replaceAttrs=*/false, /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  part.stage.walk([&](Operation *op) {
    if (index == Check || !isa<KVAppendOp, KeepOp>(op))
      return; // a site of the readout
    if (auto site = lookup<SiteOp>(model, op->getAttrOfType<FlatSymbolRefAttr>("site")))
      site.setStageAttr(name);
  });
}

void Splitter::writeBankAndSchedule() {
  SmallVector<Attribute> fields;
  int64_t bytes = 0;
  llvm::StringSet<> seen;
  auto add = [&](StringRef name, Type rows) {
    if (!seen.insert(name).second)
      return;
    Type type = withRows(rows, RowsAttr());
    bytes += getFeatureCount(type) * llvm::divideCeil(cast<RankedTensorType>(type).getElementTypeBitWidth(), 8);
    fields.push_back(FieldAttr::get(b.getContext(), name, type));
  };
  if (recur)
    for (auto [value, field] : llvm::zip(recur.getStates(), stateFields))
      add(field, value.getType());
  for (auto &[value, field] : crossing)
    add(field, value.getType());
  auto bank = *model.getBody().front().getOps<BankOp>().begin();
  for (Attribute field : bank.getFields())
    add(cast<FieldAttr>(field).getName(), cast<FieldAttr>(field).getType());
  for (auto &[value, field] : observed)
    add(field, value.getType());
  if (check)
    add("exit.stop", withElementType(check.getStop().getType(), b.getF32Type()));
  bank.setFieldsAttr(b.getArrayAttr(fields));

  SmallVector<Attribute> edges;
  auto edge = [&](StringRef from, StringRef to, EdgeWhen when) {
    edges.push_back(EdgeAttr::get(b.getContext(), from, to, when));
  };
  StringRef afterLoop = parts[Coda].used ? "coda" : "head";
  if (recur) {
    auto count = lookup<CountOp>(model, recur.getCountAttr());
    bool never = count && count.getMin() == 0;
    edge("prelude", "core", never ? EdgeWhen::running : EdgeWhen::always);
    if (never)
      edge("prelude", afterLoop, EdgeWhen::finished);
    edge("core", "core", EdgeWhen::running);
    StringRef last = "core";
    for (StageIndex next : {Check, Decide})
      if (parts[next].used) {
        edge(last, kNames[next], EdgeWhen::always);
        last = kNames[next];
      }
    if (last != "core") {
      edge(last, "core", EdgeWhen::running);
      edge(last, afterLoop, EdgeWhen::finished);
    }
    edge("core", afterLoop, EdgeWhen::finished);
    if (parts[Coda].used)
      edge("coda", "head", EdgeWhen::always);
  } else {
    edge("prelude", "head", EdgeWhen::always);
  }
  b.setInsertionPointAfter(bank);
  ScheduleOp::create(b, step.getLoc(), b.getArrayAttr(edges));
  std::string list;
  for (unsigned i = 0; i < StageCount; ++i)
    if (parts[i].used)
      list += (list.empty() ? "" : ", ") + kNames[i].str();
  addRemark(model, RemarkId::StagesCut, list, bytes);
}

LogicalResult Splitter::run() {
  assignStages();
  if (recur) {
    for (const std::string &name : getStateNames(recur))
      stateFields.push_back(unique(name));
  }
  auto back = cast<ReturnOp>(source.getTerminator());
  logits = back.getValues().back();
  for (TapOp tap : source.getOps<TapOp>()) {
    std::string field = "obs." + tap.getName().str();
    bool state = recur && tap.getValue().getDefiningOp() == recur && fieldOf(tap.getValue()) == field;
    if (!state)
      observed.emplace_back(tap.getValue(), field);
  }
  for (unsigned i : {Prelude, Core, Check, Decide, Coda, Head})
    if (parts[i].used && failed(i == Core ? buildCore() : build(StageIndex(i))))
      return failure();
  // From the last to the first: what a later stage still asks for becomes a store of an earlier one.
  for (unsigned i : {Head, Coda, Decide, Check, Core, Prelude})
    if (parts[i].used)
      finish(StageIndex(i));
  writeBankAndSchedule();
  step.erase();
  return success();
}

struct SplitStagesPass : impl::LoopSplitStagesBase<SplitStagesPass> {
  using Base::Base;
  void runOnOperation() override {
    ModelOp model = getOperation();
    for (StageOp stage : model.getBody().front().getOps<StageOp>())
      if (stage.getSymName() == "step") {
        if (failed(Splitter(model, stage).run()))
          signalPassFailure();
        return;
      }
    model.emitOpError("expected a stage @step (loop-to-lanes), but got none");
    signalPassFailure();
  }
};

} // namespace
} // namespace loopc
