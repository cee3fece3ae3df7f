// Policies as text; numbers of the attends of an iteration.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Dialect/Loop/Loop.h"

using namespace mlir;
using namespace mlir::loop;

std::string KVAttr::describe() const {
  std::string out = stringifyKVMap(getMap()).str(), inside;
  auto add = [&](const std::string &part) { inside += (inside.empty() ? "" : ", ") + part; };
  if (getSize())
    add(std::to_string(getSize()));
  if (getPeriod())
    add(std::to_string(getPeriod()));
  if (getUnit() != KVUnit::recurrence)
    add("unit = " + stringifyKVUnit(getUnit()).str());
  if (getKeep() != KVKeep::last)
    add("keep = " + stringifyKVKeep(getKeep()).str());
  if (getCodaOverwrites())
    add("coda = overwrites");
  if (!inside.empty())
    out += "(" + inside + ")";
  if (getHoles() != Holes::refuse)
    out += ", holes " + stringifyHoles(getHoles()).str();
  if (getOrder() != CallOrder::free)
    out += ", order " + stringifyCallOrder(getOrder()).str();
  return out;
}

/// Attends that `op` executes, -1 if that depends on a condition or a count.
static int64_t countAttends(Operation &op) {
  if (isa<AttendOp>(op))
    return 1;
  if (isa<CheckOp>(op)) // the readout's
    return 0;
  int64_t sum = 0;
  for (Region &region : op.getRegions())
    for (Block &block : region)
      for (Operation &inner : block) {
        int64_t count = countAttends(inner);
        if (count < 0)
          return -1;
        sum += count;
      }
  if (sum == 0)
    return 0;
  auto stack = dyn_cast<StackOp>(op);
  return stack ? sum * int64_t(stack.getLayers()) : -1;
}

static int64_t countAttends(Block &block, Operation *end) {
  int64_t sum = 0;
  for (Operation &op : block) {
    if (&op == end)
      break;
    int64_t count = countAttends(op);
    if (count < 0)
      return -1;
    sum += count;
  }
  return sum;
}

std::optional<LayerStep> mlir::loop::getLayerStep(AttendOp attend) {
  LayerStep step;
  int64_t layers = 1; // of the stacks passed on the way out, which the indices name from the last
  OperandRange index = attend.getIndex();
  size_t named = index.size();
  for (Operation *at = attend; !isa<RecurOp>(at); at = at->getParentOp()) {
    int64_t before = countAttends(*at->getBlock(), at), all = countAttends(*at->getBlock(), nullptr);
    if (before < 0 || all < 0)
      return std::nullopt;
    step.first += before;
    Operation *parent = at->getParentOp();
    if (isa_and_nonnull<RecurOp>(parent)) {
      step.count = all;
    } else if (auto stack = dyn_cast_or_null<StackOp>(parent)) {
      if (named == 0 || index[--named] != stack.getBody().getArgument(0))
        return std::nullopt;
      if (layers == 1)
        step.stride = all;
      else if (all != step.stride * layers)
        return std::nullopt;
      layers *= int64_t(stack.getLayers());
    } else {
      return std::nullopt;
    }
  }
  return named == 0 ? std::optional(step) : std::nullopt;
}
