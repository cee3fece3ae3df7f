// The invariants of LANES: one row space per op, row values only by the front door, linear values, loads after stores.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Check.h"
#include "Program.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

StringRef spaceOf(Type type) {
  if (RowsAttr rows = getRows(type))
    return rows.getSpace();
  if (auto lanes = dyn_cast<LanesType>(type))
    return lanes.getSpace();
  return {};
}

/// L1: operands and results of an op live in one row space; upstream ops neither cut nor move rows.
LogicalResult checkSpaces(Operation *op) {
  if (isa<RecurOp>(op))
    return success();
  StringRef seen;
  for (Type type :
       llvm::concat<const Type>(llvm::to_vector(op->getOperandTypes()), llvm::to_vector(op->getResultTypes()))) {
    StringRef space = spaceOf(type);
    if (space.empty())
      continue;
    if (!seen.empty() && seen != space)
      return op->emitOpError("expected values of one row space, but got ") << seen << " and " << space;
    seen = space;
  }
  if (!seen.empty() && isa<tensor::TensorDialect>(op->getDialect()))
    return op->emitOpError("expected only element functions on values with rows");
  if (seen.empty() || !isElementFunction(op))
    return success();
  for (Value operand : op->getOperands())
    if (isa<RankedTensorType>(operand.getType()) && !getRows(operand.getType()))
      return op->emitOpError("expected operands with rows of ") << seen << ", but got " << operand.getType();
  return success();
}

/// L2: what differs by row enters a recurrence through `state` and `with`.
LogicalResult checkCaptures(RecurOp recur) {
  WalkResult result = recur.getBody().walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      if (!spaceOf(operand.getType()).empty() && !recur.getBody().isAncestor(operand.getParentRegion())) {
        op->emitOpError("expected rows to enter @")
            << recur.getName() << " through `state` or `with`, but an operand has rows of "
            << spaceOf(operand.getType());
        return WalkResult::interrupt();
      }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

/// L3: a bank or cache is used up once, and read before that.
LogicalResult checkLinear(Value value) {
  if (!isa<BankType, CacheType>(value.getType()))
    return success();
  Operation *consumer = nullptr;
  for (Operation *user : value.getUsers()) {
    if (isa<LoadOp, KVAttendOp, RecallOp>(user))
      continue;
    if (consumer) {
      bool later = user->getBlock() == consumer->getBlock() && user->isBeforeInBlock(consumer);
      return (later ? consumer : user)->emitOpError("expected the only op that uses up ")
             << value.getType() << ", but it is used up twice";
    }
    consumer = user;
  }
  for (Operation *user : value.getUsers()) {
    if (!consumer || user == consumer)
      continue;
    Operation *reader = consumer->getBlock()->findAncestorOpInBlock(*user);
    if (reader && reader != consumer && consumer->isBeforeInBlock(reader))
      return user->emitOpError("expected to read ") << value.getType() << " before it is used up";
  }
  return success();
}

/// L5: attention sees its own row: its site's last append is the one it follows.
LogicalResult checkOwnRow(KVAttendOp attend) {
  Value cache = attend.getCache();
  while (Operation *before = cache.getDefiningOp()) {
    if (auto keep = dyn_cast<KeepOp>(before)) {
      cache = keep.getCache();
      continue;
    }
    auto append = dyn_cast<KVAppendOp>(before);
    if (!append)
      break;
    if (append.getSiteAttr() == attend.getSiteAttr() && append.getIndex() == attend.getIndex())
      return success();
    cache = append.getCache();
  }
  return attend.emitOpError("expected a kv.append of @") << attend.getSite() << " before it, but got none";
}

/// L6: only the scheduled recurrence takes rounds, and it stands in a stage.
LogicalResult checkRounds(RecurOp recur) {
  auto stage = dyn_cast<StageOp>(recur->getParentOp());
  if (!stage || recur.getRounds() != stage.getBody().getArgument(1))
    return recur.emitOpError("expected to stand in a stage and to take its rounds");
  if (recur.getPlan() && recur.getPlan()->getPlace() != Place::scheduled)
    return recur.emitOpError("expected a scheduled recurrence, but its plan says inline");
  return success();
}

LogicalResult checkField(Operation *op, BankOp bank, StringRef name, Type type) {
  for (Attribute attr : bank.getFields()) {
    auto field = cast<FieldAttr>(attr);
    if (field.getName() != name)
      continue;
    if (field.getType() == withRows(type, RowsAttr()))
      return success();
    return op->emitOpError("expected field ") << name << " of type " << field.getType() << ", but got " << type;
  }
  return op->emitOpError("expected a field of @") << bank.getSymName() << ", but got " << name;
}

/// L4: every field that a stage loads is stored on every way to it.
LogicalResult checkStored(ModelOp model, ScheduleOp schedule, const llvm::MapVector<StringRef, StageOp> &stages) {
  using Fields = llvm::StringSet<>;
  llvm::StringMap<Fields> stored;
  Fields drawn, all;
  for (DrawOp draw : model.getBody().front().getOps<DrawOp>())
    drawn.insert(draw.getField());
  for (BankOp bank : model.getBody().front().getOps<BankOp>())
    for (Attribute attr : bank.getFields())
      all.insert(cast<FieldAttr>(attr).getName());
  for (auto [name, stage] : stages)
    const_cast<StageOp &>(stage).walk([&, name = name](StoreOp store) { stored[name].insert(store.getField()); });
  StringRef born;
  for (Attribute attr : schedule.getEdges()) {
    auto edge = cast<EdgeAttr>(attr);
    if (born.empty())
      born = edge.getFrom();
    for (StringRef stage : {edge.getFrom(), edge.getTo()})
      if (!stages.contains(stage))
        return schedule.emitOpError("expected the name of a stage, but got ") << stage;
  }
  // Greatest fixed point: what is there on every way to a stage.
  llvm::StringMap<Fields> there;
  for (auto [name, stage] : stages)
    there[name] = name == born ? drawn : all;
  for (bool changed = true; changed;) {
    changed = false;
    for (Attribute attr : schedule.getEdges()) {
      auto edge = cast<EdgeAttr>(attr);
      Fields next;
      for (auto &field : there[edge.getTo()])
        if (there[edge.getFrom()].contains(field.getKey()) || stored[edge.getFrom()].contains(field.getKey()))
          next.insert(field.getKey());
      changed |= next.size() != there[edge.getTo()].size();
      there[edge.getTo()] = next;
    }
  }
  for (auto [name, stage] : stages) {
    WalkResult result = const_cast<StageOp &>(stage).walk([&, name = name](LoadOp load) {
      if (there[name].contains(load.getField()))
        return WalkResult::advance();
      load.emitOpError("expected field ")
          << load.getField() << " to be stored on every way to @" << name << ", but it is not";
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

} // namespace

LogicalResult checkLanes(ModelOp model) {
  Block &body = model.getBody().front();
  auto banks = body.getOps<BankOp>();
  if (banks.empty())
    return model.emitOpError("expected a loop.bank, but got none");
  BankOp bank = *banks.begin();
  llvm::MapVector<StringRef, StageOp> stages;
  for (StageOp stage : body.getOps<StageOp>())
    stages[stage.getSymName()] = stage;
  WalkResult result = model.walk([&](Operation *op) {
    LogicalResult ok = checkSpaces(op);
    if (auto recur = dyn_cast<RecurOp>(op))
      ok = success(succeeded(ok) && succeeded(checkCaptures(recur)) && succeeded(checkRounds(recur)));
    if (auto attend = dyn_cast<KVAttendOp>(op); attend && succeeded(ok))
      ok = checkOwnRow(attend);
    if (auto load = dyn_cast<LoadOp>(op); load && succeeded(ok))
      ok = checkField(op, bank, load.getField(), load.getResult().getType());
    if (auto store = dyn_cast<StoreOp>(op); store && succeeded(ok))
      ok = checkField(op, bank, store.getField(), store.getValue().getType());
    for (Value value : op->getResults())
      if (succeeded(ok))
        ok = checkLinear(value);
    for (Region &region : op->getRegions())
      for (Value value : region.getArguments())
        if (succeeded(ok))
          ok = checkLinear(value);
    return failed(ok) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  for (ScheduleOp schedule : body.getOps<ScheduleOp>())
    if (failed(checkStored(model, schedule, stages)))
      return failure();
  return success();
}

} // namespace loopc
