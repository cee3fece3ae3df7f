// Exits of loops: inside the iteration, and tests beside it that read a readout or the test before.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

void Elaborator::elaborateExit(const ExitStmt &stmt) {
  if (loops.empty()) {
    error(ErrorCode::L0501, stmt.range, "`exit` stands outside a loop");
    return;
  }
  if (regions.size() != loops.back().regionDepth || environments.size() != loops.back().environmentDepth) {
    defer("`exit` inside a stack, a branch or a function", stmt.range);
    return;
  }
  const uint32_t loopId = loops.back().loop;
  // A named exit is off until a run turns it on; it is checked all the same.
  const bool on = stmt.name.empty() || stmt.name.text == input.exit;
  exitsFound.insert(stmt.name.text);
  const LoopContext::Check before = loops.back().check;
  const size_t deferredBefore = program.deferred.size();
  // What is read ahead after the loop is visible, and assigned, in conditions only.
  const std::vector<std::map<std::string, Binding>> scopes = environments.back().scopes;
  environments.back().scopes.push_back(before.scope);
  ProgramRegion region = before.region;
  const size_t opsBefore = region.ops.size();
  loops.back().inExit = true;
  regions.push_back(&region);
  Val condition = evaluate(stmt.condition.get());
  ValueId test = condition.poison() ? kNone : materialise(condition, stmt.condition->range);
  regions.pop_back();
  loops.back().inExit = false;
  LoopContext::Check &check = loops.back().check;
  check.scope = environments.back().scopes.back();
  environments.back().scopes = scopes;
  if (test == kNone)
    return;
  if (typeOf(test).element != ElementType::Bool || !typeOf(test).axes.empty()) {
    error(ErrorCode::L0502, stmt.condition->range, "expected one flag after `exit when`, but got " + describe(condition))
        .help("reduce it, for example with `all over axis { … }`");
    return;
  }
  const ValueScope grain = scopeOf(stmt.scope, ValueScope::Token);
  if (typeOf(test).scope > grain) {
    error(ErrorCode::L0210, stmt.condition->range, "an exit per sequence or run needs a condition of that scope, but this is a value per token")
        .help("reduce it: `all over sequence { … }`");
    return;
  }
  if (!on) {
    check = before;
    program.deferred.resize(deferredBefore);
    return;
  }
  ProgramLoop &loop = program.loops[loopId];
  loop.hasExit = true;
  loop.exitName = stmt.name.empty() ? "exit" : stmt.name.text;
  loop.exitScope = grain;
  if (!check.apart) { // a part of the iteration
    std::vector<ProgramOp> &ops = regions.back()->ops;
    ops.insert(ops.end(), std::make_move_iterator(region.ops.begin() + static_cast<std::ptrdiff_t>(opsBefore)),
               std::make_move_iterator(region.ops.end()));
    loops.back().exits.push_back(test);
    return;
  }
  if (!loops.back().exits.empty())
    defer("an exit that is tested beside the iteration together with one that is not", stmt.range);
  if (region.exit != kNone) {
    ProgramType flag = typeOf(test);
    flag.scope = std::max(flag.scope, typeOf(region.exit).scope);
    regions.push_back(&region);
    ProgramOp &op = emit(OpKind::Binary, flag, {region.exit, test}, stmt.range);
    op.fn = Fn::Or;
    test = op.results[0];
    regions.pop_back();
  }
  region.exit = test;
  check.region = std::move(region);
}

/// `prev(v, start)` in an exit: v at the test before.
Val Elaborator::previousInExit(const NameExpr &name, const Expr *startExpr, SourceRange range) {
  for (const LoopContext::Previous &previous : loops.back().check.previous)
    if (previous.name == name.name)
      return Val::ofRuntime(previous.argument);
  if (!lookup(name.name) && !aheadBusy.count(name.name))
    readAhead(name.name, range);
  Binding *bound = lookup(name.name);
  LoopContext::Previous previous;
  previous.name = name.name;
  previous.range = range;
  previous.fromState = !startExpr && bound && bound->role == NameRole::State;
  if (startExpr)
    previous.startValue = evaluate(startExpr);
  else if (!previous.fromState) {
    error(ErrorCode::L0203, range, "`prev(" + name.name + ")` needs a start, since `" + name.name + "` is not a state")
        .help("write `prev(" + name.name + ", start)`");
    return {};
  }
  if (startExpr && previous.startValue.poison())
    return {};
  ProgramType type;
  if (bound && bound->value.is(Kind::Runtime))
    type = typeOf(bound->value.ref);
  else if (previous.startValue.is(Kind::Runtime))
    type = typeOf(previous.startValue.ref);
  if (previous.startValue.is(Kind::Runtime) && previous.startValue.ref >= loops.back().firstValue)
    defer("`prev` with a start that is computed in the loop", range);
  if (type.element == ElementType::Int || type.element == ElementType::Index)
    type.element = ElementType::F32;
  type.scope = ValueScope::Token;
  previous.argument = newValue(type, "prev." + name.name);
  loops.back().check.apart = true;
  loops.back().check.previous.push_back(previous);
  return Val::ofRuntime(previous.argument);
}

/// Closes what exits evaluate beside the iteration, as the last op of the body, and gives its flag. What `prev` keeps
/// are states of the loop that only this op changes.
ValueId Elaborator::finishCheck(SourceRange range) {
  LoopContext::Check check = std::move(loops.back().check);
  ProgramOp op;
  op.kind = OpKind::Check;
  op.loc = loc(range);
  environments.back().scopes.push_back(check.scope);
  regions.push_back(&check.region);
  bool ok = true;
  for (const LoopContext::Previous &previous : check.previous) {
    const ProgramType type = typeOf(previous.argument);
    Binding *binding = lookup(previous.name);
    ValueId value = binding ? materialise(binding->value, previous.range, &type) : kNone;
    if (!binding)
      error(ErrorCode::L0201, previous.range, "`prev(" + previous.name + ")` needs a name that the exit can read");
    if (value != kNone && typeOf(value).element != type.element)
      value = cast(value, type.element, previous.range);
    if (value != kNone && !sameAxes(typeOf(value).axes, type.axes)) {
      defer("`prev` with a start of another shape", previous.range);
      value = kNone;
    }
    ok = ok && value != kNone;
    check.region.arguments.push_back(previous.argument);
    check.region.yields.push_back(value);
  }
  regions.pop_back();
  environments.back().scopes.pop_back();
  if (!ok)
    return kNone;
  for (const LoopContext::Previous &previous : check.previous) {
    LoopContext::Previous carried = previous;
    carried.name = "check." + previous.name;
    carried.argument = newValue(typeOf(previous.argument), carried.name);
    op.operands.push_back(carried.argument);
    op.results.push_back(newValue(typeOf(previous.argument), carried.name));
    loops.back().previous.push_back(carried);
  }
  const ValueId flag = newValue(typeOf(check.region.exit), "stop");
  op.results.push_back(flag);
  op.regions.push_back(std::move(check.region));
  regions.back()->ops.push_back(std::move(op));
  return flag;
}

bool mentionsPrevious(const Expr &expr) {
  if (const auto *call = as<CallExpr>(&expr))
    if (const auto *name = as<NameExpr>(call->callee); name && name->name == "prev")
      return true;
  bool found = false;
  auto look = [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
      found = found || mentionsPrevious(child);
  };
  forEachChild(expr, look);
  return found;
}

/// A condition reads a value that is computed after the loop: had the loop stopped now. The statements after the loop
/// up to that value are evaluated here, with the states as they are.
bool Elaborator::readAhead(const std::string &name, SourceRange range) {
  const size_t index = loops.back().continuation;
  if (index == 0 || index > continuations.size())
    return false;
  const Continuation continuation = continuations[index - 1];
  size_t last = continuation.next;
  bool found = false;
  for (size_t k = continuation.next; k < continuation.statements->size() && !found; ++k) {
    const Stmt *stmt = (*continuation.statements)[k].get();
    auto binds = [&](const Stmt *s) {
      if (const auto *bind = as<BindStmt>(s))
        return std::any_of(bind->targets.begin(), bind->targets.end(), [&](const BindTarget &t) { return t.name.text == name; });
      if (const auto *output = as<OutputStmt>(s))
        return output->value && output->name.text == name;
      return false;
    };
    if (binds(stmt)) {
      found = true;
      last = k;
    }
  }
  if (!found)
    return false;
  const size_t self = loops.size() - 1;
  program.loops[loops[self].loop].exitReadsReadout = true;
  loops[self].check.apart = true;
  if (loops[self].check.next == 0) {
    loops[self].check.next = continuation.next;
    loops[self].check.siteNames = siteNames;
  }
  // What reads `prev` exists only here and is evaluated, and observed, only if it is read; all else in its order.
  auto only = [](const Stmt &stmt) {
    const auto *bind = as<BindStmt>(&stmt);
    return bind && std::any_of(bind->values.begin(), bind->values.end(), [](const ExprPtr &e) { return mentionsPrevious(*e); });
  };
  const bool savedAhead = std::exchange(readingAhead, true);
  const size_t savedIndexDepth = std::exchange(instanceIndexDepth, indexVars.size());
  const size_t savedReadouts = readouts.size();
  const unsigned savedDepth = instanceDepth;
  if (!savedAhead)
    std::swap(siteNames, loops[self].check.siteNames);
  if (only(*(*continuation.statements)[last])) {
    if (!aheadBusy.insert(name).second) {
      error(ErrorCode::L0201, range, "`" + name + "` is read before it has a value").help("`prev(" + name + ", start)` is its value before");
    } else {
      instanceDepth = 0;
      elaborateStmt(*(*continuation.statements)[last]);
    }
    aheadBusy.erase(name);
  } else {
    instanceDepth = savedDepth + 1; // the same weights are met again after the loop
    while (loops[self].check.next <= last) {
      const Stmt &stmt = *(*continuation.statements)[loops[self].check.next++];
      const StmtKind kind = stmt.kind;
      if (!only(stmt) && (kind == StmtKind::Bind || kind == StmtKind::Stack || kind == StmtKind::If || kind == StmtKind::Match ||
                          kind == StmtKind::State || kind == StmtKind::Output))
        elaborateStmt(stmt);
    }
  }
  instanceDepth = savedDepth;
  if (!savedAhead)
    std::swap(siteNames, loops[self].check.siteNames);
  readouts.resize(savedReadouts);
  instanceIndexDepth = savedIndexDepth;
  readingAhead = savedAhead;
  return lookup(name) != nullptr;
}

} // namespace loopc::frontend::sema
