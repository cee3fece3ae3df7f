// Changes of a checked model for measurements.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ProgramEdit.h"
#include "Support.h"
#include <algorithm>

namespace loopc::driver {

using namespace frontend;

namespace {

ValueId newValue(Program &program, ProgramType type, const std::string &name) {
  program.values.push_back({std::move(type), name});
  return ValueId(program.values.size() - 1);
}

ProgramOp makeOp(OpKind kind, ProgramLoc loc, std::vector<ValueId> operands, ValueId result) {
  ProgramOp op;
  op.kind = kind;
  op.loc = loc;
  op.operands = std::move(operands);
  op.results = {result};
  return op;
}

ProgramType vectorOf(int64_t size, ValueScope scope) {
  ProgramType type;
  type.scope = scope;
  type.axes = {{std::to_string(size), size}};
  return type;
}

/// The operation of a kind (and table entry) with the list that holds it.
struct Found {
  std::vector<ProgramOp> *list = nullptr;
  size_t index = 0;
};
Found find(std::vector<ProgramOp> &ops, OpKind kind, uint32_t ref) {
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].kind == kind && (ref == kNone || ops[i].ref == ref))
      return {&ops, i};
    for (ProgramRegion &region : ops[i].regions)
      if (Found found = find(region.ops, kind, ref); found.list)
        return found;
  }
  return {};
}

/// The last value of that name in a body's own text or in functions that it calls, or its state after it, or what a
/// `carry` keeps whose labels end so; kNone.
ValueId boundIn(const Program &program, const ProgramRegion &body, const std::vector<std::string> &states,
                const std::string &name) {
  ValueId value = kNone;
  auto ends = [&](const std::string &path) {
    return path.size() > name.size() && path.compare(path.size() - name.size() - 1, std::string::npos, "." + name) == 0;
  };
  for (const ProgramOp &op : body.ops) {
    if (op.kind == OpKind::Keep && ends(program.sites[op.ref].path))
      value = op.operands[0];
    for (ValueId result : op.results)
      if (program.values[result].name == name)
        value = result;
  }
  for (size_t i = 0; i < states.size() && i < body.yields.size(); ++i)
    if (states[i] == name)
      value = body.yields[i];
  return value;
}

bool hasTap(const std::vector<ProgramOp> &ops, const std::string &name) {
  return std::any_of(ops.begin(), ops.end(), [&](const ProgramOp &op) {
    return (op.kind == OpKind::Tap && op.name == name) ||
           std::any_of(op.regions.begin(), op.regions.end(), [&](const ProgramRegion &region) { return hasTap(region.ops, name); });
  });
}

/// Stacks inside a layer belong to the layer.
void collectLayers(const Program &program, const std::vector<ProgramOp> &ops, bool looped, const std::string &name,
                   std::vector<LayerGroup> &groups) {
  for (const ProgramOp &op : ops) {
    if (op.kind != OpKind::Stack) {
      for (const ProgramRegion &region : op.regions)
        collectLayers(program, region.ops, looped || op.kind == OpKind::Loop, name, groups);
      continue;
    }
    const ProgramStack &stack = program.stacks[op.ref];
    if (boundIn(program, op.regions[0], stack.states, name) == kNone)
      continue;
    if (groups.empty() || groups.back().looped != looped)
      groups.push_back({looped, {}});
    for (int64_t index = stack.begin; index < stack.end; ++index)
      groups.back().layers.push_back({op.ref, index});
  }
}

} // namespace

std::vector<LayerGroup> layersThatBind(const Program &program, const std::string &name) {
  std::vector<LayerGroup> groups;
  collectLayers(program, program.body.ops, false, name, groups);
  if (groups.empty())
    failExpected("layers(" + name + ")", "a value bound in a layer, or a state of a stack", "none of that name");
  return groups;
}

void keepLoopValue(Program &program, const std::string &name) {
  Found at = find(program.body.ops, OpKind::Loop, kNone);
  if (hasTap(program.body.ops, name))
    return;
  ProgramOp *loop = at.list ? &(*at.list)[at.index] : nullptr;
  ProgramRegion &body = loop ? loop->regions[0] : program.body;
  ValueId value = boundIn(program, body, loop ? program.loops[loop->ref].states : std::vector<std::string>(), name);
  if (value == kNone)
    return;
  ProgramOp tapping;
  tapping.kind = OpKind::Tap;
  tapping.loc = loop ? loop->loc : body.ops.back().loc;
  tapping.name = name;
  tapping.operands = {value};
  body.ops.push_back(tapping);
}

void giveValue(Program &program, const std::string &name, int64_t iterations) {
  Found at = find(program.body.ops, OpKind::Loop, kNone);
  if (!at.list)
    failExpected("given " + name, "a model with a loop", "none");
  ProgramRegion &body = (*at.list)[at.index].regions[0];
  auto made = std::find_if(body.ops.rbegin(), body.ops.rend(), [&](const ProgramOp &op) {
    return op.results.size() == 1 && program.values[op.results[0]].name == name;
  });
  if (made == body.ops.rend() || !program.values[made->results[0]].type.axes.empty())
    failExpected("given " + name, "a value of the loop's own text that has no axes", "none of that name");
  ProgramLoc loc = made->loc;
  ValueId result = made->results[0];
  // The values to come are a state of the loop: each iteration takes the first and moves the others up.
  ProgramType list = vectorOf(iterations, ValueScope::Token);
  ValueId drawn = newValue(program, list, "given." + name), state = newValue(program, list, "given." + name);
  ValueId after = newValue(program, list, ""), first = newValue(program, vectorOf(1, ValueScope::Token), "");
  size_t place = size_t(body.ops.rend() - made) - 1;
  std::vector<ProgramOp> ops;
  ProgramOp slice = makeOp(OpKind::Slice, loc, {state}, first);
  slice.ints = {0, 0};
  ops.push_back(slice);
  ops.push_back(makeOp(OpKind::Reshape, loc, {first}, result));
  ValueId next = state;
  if (iterations > 1) {
    ValueId rest = newValue(program, vectorOf(iterations - 1, ValueScope::Token), "");
    next = newValue(program, list, "");
    ProgramOp tail = makeOp(OpKind::Slice, loc, {state}, rest);
    tail.ints = {0, 1};
    ops.push_back(tail);
    ops.push_back(makeOp(OpKind::Concat, loc, {rest, first}, next));
  }
  body.ops.erase(body.ops.begin() + long(place));
  body.ops.insert(body.ops.begin() + long(place), ops.begin(), ops.end());
  body.arguments.push_back(state);
  body.yields.push_back(next);
  ProgramOp &loop = (*at.list)[at.index];
  loop.operands.push_back(drawn);
  loop.results.push_back(after);
  program.loops[loop.ref].states.push_back("given." + name);
  ProgramDraw draw;
  draw.name = "given." + name;
  draw.law = DrawLaw::Constant;
  draw.mean = 0;
  draw.type = list;
  draw.loc = loc;
  ProgramOp drawing = makeOp(OpKind::Draw, loc, {}, drawn);
  drawing.ref = uint32_t(program.draws.size());
  program.draws.push_back(draw);
  at.list->insert(at.list->begin() + long(at.index), drawing);
}

void keepLayerValue(Program &program, OpKind kind, uint32_t number, int64_t index, const std::string &name,
                    const std::string &tap) {
  bool loop = kind == OpKind::Loop;
  std::string what = (loop ? "turn(" : "layer(") + std::to_string(number) + ", " + std::to_string(index) + ", " + name + ")";
  size_t known = loop ? program.loops.size() : program.stacks.size();
  if (number >= known)
    failExpected(what, std::string(loop ? "a loop" : "a stack") + " from 0 to " + std::to_string(int64_t(known) - 1), std::to_string(number));
  if (loop && program.loops[number].countOption != kNone)
    failExpected(what, "a loop whose count is a number of `config`", "one with a count of the run");
  std::vector<std::string> &states = loop ? program.loops[number].states : program.stacks[number].states;
  int64_t begin = loop ? 0 : program.stacks[number].begin, end = loop ? program.loops[number].fixedCount : program.stacks[number].end;
  Found at = find(program.body.ops, kind, number);
  if (!at.list || index < begin || index >= end)
    failExpected(what, "an index from " + std::to_string(begin) + " to " + std::to_string(end - 1), std::to_string(index));
  ProgramRegion &body = (*at.list)[at.index].regions[0];
  ProgramLoc loc = (*at.list)[at.index].loc;
  ValueId value = boundIn(program, body, states, name);
  if (value == kNone)
    failExpected(what, "a value bound in the body, or a state of it", "none of that name");
  ProgramType type = program.values[value].type, constant = type, index0, truth;
  type.scope = ValueScope::Token;
  constant.scope = ValueScope::Run;
  index0.element = ElementType::Index;
  index0.scope = ValueScope::Run;
  truth.element = ElementType::Bool;
  truth.scope = ValueScope::Run;
  ValueId zero = newValue(program, constant, ""), start = newValue(program, type, "");
  ValueId argument = newValue(program, type, ""), kept = value, after = newValue(program, type, tap);
  if (index + 1 < end) { // the last one overwrites what the others left
    ValueId number = newValue(program, index0, ""), here = newValue(program, truth, "");
    kept = newValue(program, type, "");
    ProgramOp which = makeOp(OpKind::Constant, loc, {}, number);
    which.number = double(index);
    ProgramOp compare = makeOp(OpKind::Compare, loc, {body.arguments[0], number}, here);
    compare.fn = Fn::Eq;
    body.ops.push_back(which);
    body.ops.push_back(compare);
    ProgramOp choice = makeOp(OpKind::If, loc, {here, argument}, kept);
    ProgramRegion then;
    then.arguments = {newValue(program, type, "")};
    then.yields = {value};
    choice.regions.push_back(then);
    body.ops.push_back(choice);
  }
  body.arguments.push_back(argument);
  body.yields.push_back(kept);
  ProgramOp &op = (*at.list)[at.index];
  op.operands.push_back(start);
  op.results.push_back(after);
  states.push_back(tap);
  ProgramOp tapping;
  tapping.kind = OpKind::Tap;
  tapping.loc = loc;
  tapping.name = tap;
  tapping.operands = {after};
  at.list->insert(at.list->begin() + long(at.index) + 1, tapping);
  std::vector<ProgramOp> before = {makeOp(OpKind::Constant, loc, {}, zero),
                                   makeOp(OpKind::Reshape, loc, {zero}, start)};
  at.list->insert(at.list->begin() + long(at.index), before.begin(), before.end());
}

} // namespace loopc::driver
