// Regions of code with carried values, and the branches made of them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

bool Elaborator::inRegion(Carried &carried, const std::function<void()> &body, SourceRange range, const char *what) {
  std::vector<std::string> names;
  std::map<std::string, Binding> scope;
  for (const std::string &name : carried.names) {
    Binding *binding = lookup(name);
    if (!binding || binding->value.poison())
      continue;
    ValueId initial = materialise(binding->value, binding->range);
    if (initial == kNone)
      continue;
    if (typeOf(initial).element == ElementType::Index)
      initial = cast(initial, ElementType::F32, range);
    ProgramType type = typeOf(initial);
    if (binding->role != NameRole::State && binding->role != NameRole::Carry)
      type.scope = ValueScope::Token;
    const ValueId argument = newValue(type, name);
    names.push_back(name);
    carried.initial.push_back(initial);
    carried.region.arguments.push_back(argument);
    scope[name] = {Val::ofRuntime(argument), binding->role, binding->range};
  }
  carried.names = names;
  environments.back().scopes.push_back(std::move(scope));
  regions.push_back(&carried.region);
  body();
  keepCarries();
  bool ok = true;
  for (size_t k = 0; k < carried.names.size(); ++k) {
    Binding &binding = environments.back().scopes.back()[carried.names[k]];
    const ProgramType declared = typeOf(carried.region.arguments[k + carried.region.arguments.size() - carried.names.size()]);
    if (binding.value.poison()) {
      ok = false;
      continue;
    }
    ValueId value = materialise(binding.value, binding.range);
    if (value == kNone) {
      ok = false;
      continue;
    }
    if (typeOf(value).element != declared.element &&
        (typeOf(value).element == ElementType::Bool) == (declared.element == ElementType::Bool))
      value = cast(value, declared.element, range);
    if (!sameAxes(typeOf(value).axes, declared.axes)) {
      error(ErrorCode::L0205, range,
            "`" + carried.names[k] + "` is " + show(declared) + " before the body of this " + what + " and " + show(typeOf(value)) +
                " after it")
          .label("compiled once, so what it carries keeps one shape")
          .also(binding.range, "declared here");
      ok = false;
      continue;
    }
    carried.region.yields.push_back(value);
  }
  regions.pop_back();
  environments.back().scopes.pop_back();
  if (!ok)
    for (const std::string &name : carried.names)
      if (Binding *binding = lookup(name))
        binding->value = Val();
  return ok;
}

void Elaborator::substitute(ProgramRegion &region, ValueId from, ValueId to) {
  auto replace = [&](ValueId &value) {
    if (value == from)
      value = to;
  };
  for (ProgramOp &op : region.ops) {
    for (ValueId &operand : op.operands)
      replace(operand);
    for (ProgramRegion &inner : op.regions)
      substitute(inner, from, to);
  }
  for (ValueId &value : region.yields)
    replace(value);
  replace(region.exit);
}

bool Elaborator::usesSite(const ProgramRegion &region) {
  return std::any_of(region.ops.begin(), region.ops.end(), [](const ProgramOp &op) {
    return op.kind == OpKind::Attend || op.kind == OpKind::Keep || std::any_of(op.regions.begin(), op.regions.end(), usesSite);
  });
}

/// Appends `op` with the carried values as states; names that the body leaves as they were are not states.
void Elaborator::finishRegion(Carried &carried, ProgramOp &op, bool prune) {
  ProgramRegion &region = carried.region;
  const size_t lead = region.arguments.size() - carried.names.size();
  std::vector<std::string> kept;
  std::vector<ValueId> arguments(region.arguments.begin(), region.arguments.begin() + static_cast<std::ptrdiff_t>(lead)), yields;
  for (size_t k = 0; k < carried.names.size(); ++k) {
    const ValueId argument = region.arguments[lead + k];
    if (prune && region.yields[k] == argument) {
      substitute(region, argument, carried.initial[k]);
      continue;
    }
    kept.push_back(carried.names[k]);
    arguments.push_back(argument);
    yields.push_back(region.yields[k]);
    op.operands.push_back(carried.initial[k]);
  }
  region.arguments = arguments;
  region.yields = yields;
  for (size_t k = 0; k < kept.size(); ++k) {
    ProgramType type = typeOf(arguments[lead + k]);
    type.scope = std::max(type.scope, typeOf(yields[k]).scope);
    op.results.push_back(newValue(type, kept[k]));
  }
  op.regions.push_back(std::move(region));
  const std::vector<ValueId> results = op.results;
  const bool loop = op.kind == OpKind::Loop;
  const SourceRange range{op.loc.begin, op.loc.end};
  regions.back()->ops.push_back(std::move(op));
  for (size_t k = 0; k < kept.size(); ++k)
    if (Binding *binding = lookup(kept[k])) {
      binding->value = Val::ofRuntime(results[k]);
      if (!loop) // a loop's own body observes its states
        tap(kept[k], binding->value, range);
    }
  carried.names = kept;
}

//===----------------------------------------------------------------------===//
// Branches
//===----------------------------------------------------------------------===//

void Elaborator::elaborateIf(const IfStmt &stmt) {
  Val condition = evaluate(stmt.condition.get());
  if (condition.poison())
    return;
  if (condition.is(Kind::Index)) {
    if (!condition.index->boolean) {
      error(ErrorCode::L0207, stmt.condition->range, "expected a condition, but got a number");
      return;
    }
    if (std::optional<bool> known = alwaysHolds(condition.index, stmt.range))
      condition = Val::ofBool(*known);
  }
  if (condition.is(Kind::Bool)) {
    // Decided when compiled: the other arm does not exist, and the arm opens no scope.
    if (condition.integer)
      elaborateStatements(stmt.thenBlock.statements);
    else if (stmt.elseBlock)
      elaborateStatements(stmt.elseBlock->statements);
    return;
  }
  if (condition.constant()) {
    error(ErrorCode::L0207, stmt.condition->range, "expected a condition, but got " + describe(condition));
    return;
  }
  if (condition.is(Kind::Runtime)) {
    const ProgramType &type = typeOf(condition.ref);
    if (type.element != ElementType::Bool) {
      error(ErrorCode::L0207, stmt.condition->range, "expected a condition, but got " + describe(condition));
      return;
    }
    if (type.scope != ValueScope::Run) {
      error(ErrorCode::L0215, stmt.condition->range, "`if` needs a condition that is the same for the whole run")
          .label("this is a value per token")
          .help("`where c { … }` lets only those tokens execute; `if c then a else b` computes both");
      return;
    }
  }
  elaborateBranch(condition, false, stmt.thenBlock, stmt.range);
  if (stmt.elseBlock)
    elaborateBranch(condition, true, *stmt.elseBlock, stmt.range);
}

void Elaborator::elaborateBranch(const Val &condition, bool negate, const Block &block, SourceRange range) {
  Val test = negate ? unary(Fn::Not, condition, range) : condition;
  ValueId flag = materialise(test, range);
  if (flag == kNone)
    return;
  if (test.is(Kind::Index))
    conditions.push_back(test.index);
  Carried carried;
  carried.names = carriedNames(block);
  const bool ok = inRegion(carried, [&] { elaborateStatements(block.statements); }, range, "branch");
  if (test.is(Kind::Index))
    conditions.pop_back();
  if (!ok)
    return;
  ProgramOp op;
  op.kind = OpKind::If;
  op.loc = loc(range);
  op.operands = {flag};
  finishRegion(carried, op, true);
}

void Elaborator::elaborateWhere(const WhereStmt &stmt) {
  Val condition = evaluate(stmt.condition.get());
  if (condition.poison())
    return;
  if (condition.is(Kind::Bool)) {
    if (condition.integer)
      elaborateStatements(stmt.body.statements);
    return;
  }
  ValueId flag = materialise(condition, stmt.condition->range);
  if (flag == kNone)
    return;
  if (typeOf(flag).element != ElementType::Bool || !typeOf(flag).axes.empty()) {
    error(ErrorCode::L0207, stmt.condition->range, "expected one flag per token after `where`, but got " + describe(condition));
    return;
  }
  Carried carried;
  carried.names = carriedNames(stmt.body);
  const bool varies = typeOf(flag).scope != ValueScope::Run;
  choices += varies;
  const bool fine = inRegion(carried, [&] { elaborateStatements(stmt.body.statements); }, stmt.range, "where");
  choices -= varies;
  if (!fine)
    return;
  ProgramOp op;
  op.kind = OpKind::Where;
  op.loc = loc(stmt.range);
  op.operands = {flag};
  finishRegion(carried, op, true);
}

} // namespace loopc::frontend::sema
