// Statements: bindings, states, draws, weights.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

void Elaborator::elaborateStatements(const std::vector<StmtPtr> &statements) {
  continuations.push_back({&statements, 0});
  for (size_t k = 0; k < statements.size(); ++k) {
    continuations.back().next = k + 1;
    elaborateStmt(*statements[k]);
  }
  continuations.pop_back();
}

void Elaborator::elaborateStmt(const Stmt &stmt) {
  DepthGuard guard(*this, stmt.range);
  if (!guard.ok)
    return;
  names.push_back({});
  switch (stmt.kind) {
  case StmtKind::Bind:
    elaborateBind(*as<BindStmt>(&stmt));
    break;
  case StmtKind::State:
    elaborateState(*as<StateStmt>(&stmt));
    break;
  case StmtKind::Draw:
    elaborateDraw(*as<DrawStmt>(&stmt));
    break;
  case StmtKind::Weight:
    elaborateWeight(*as<WeightStmt>(&stmt));
    break;
  case StmtKind::Input:
    elaborateInput(*as<InputStmt>(&stmt));
    break;
  case StmtKind::Carry:
    elaborateCarry(*as<CarryStmt>(&stmt));
    break;
  case StmtKind::Stack:
    elaborateStack(*as<StackStmt>(&stmt));
    break;
  case StmtKind::Loop:
    elaborateLoop(*as<LoopStmt>(&stmt));
    break;
  case StmtKind::Exit:
    elaborateExit(*as<ExitStmt>(&stmt));
    break;
  case StmtKind::If:
    elaborateIf(*as<IfStmt>(&stmt));
    break;
  case StmtKind::Where:
    elaborateWhere(*as<WhereStmt>(&stmt));
    break;
  case StmtKind::Match: {
    const auto &match = *as<MatchStmt>(&stmt);
    Val subject = evaluate(match.subject.get());
    bool failed = false;
    if (const MatchArm *arm = matchArm(subject, match.subject->range, match.arms, failed))
      elaborateStatements(arm->body.statements); // a choice of config opens no scope
    break;
  }
  case StmtKind::Require:
    checkRequire(*as<RequireStmt>(&stmt));
    break;
  case StmtKind::Output: {
    const auto &output = *as<OutputStmt>(&stmt);
    Val value;
    if (output.value) {
      names.back() = nameContext(output.name.text, output.value.get());
      value = evaluate(output.value.get());
      declare(output.name, {value, NameRole::Plain, output.name.range});
      tap(output.name.text, value, stmt.range);
    } else if (Binding *binding = lookup(output.name.text))
      value = binding->value;
    else
      error(ErrorCode::L0201, output.name.range, "`" + output.name.text + "` is not defined here");
    readouts.push_back(output.name);
    break;
  }
  case StmtKind::Readout: {
    const auto &readout = *as<ReadoutStmt>(&stmt);
    names.back() = nameContext(readout.name.text, readout.value.get());
    Val value = evaluate(readout.value.get());
    declare(readout.name, {value, NameRole::Plain, readout.name.range});
    tap(readout.name.text, value, stmt.range);
    readouts.push_back(readout.name);
    break;
  }
  case StmtKind::Result: {
    const auto &result = *as<ResultStmt>(&stmt);
    for (const ExprPtr &value : result.values)
      (void)evaluate(value.get());
    error(ErrorCode::L0207, stmt.range, "this value is not used").help("bind it to a name, or make it the last line of a function");
    break;
  }
  case StmtKind::View:
  case StmtKind::Memory:
    defer(stmt.kind == StmtKind::View ? "`view`" : "`memory`", stmt.range);
    break;
  case StmtKind::Sequence:
    elaborateSequence(*as<SequenceStmt>(&stmt));
    break;
  case StmtKind::Phases:
    defer("`phases differ`", stmt.range);
    break;
  default:
    break; // sections are read elsewhere; the parser has reported what is in the wrong place
  }
  names.pop_back();
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

void Elaborator::declare(const Identifier &name, Binding binding) {
  auto &scopes = environments.back().scopes;
  Binding *earlier = lookup(name.text);
  if (earlier || slots.count(name.text)) {
    SourceRange where = earlier ? earlier->range : slots[name.text].entry->name.range;
    error(ErrorCode::L0202, name.range, "`" + name.text + "` is already the name of something here")
        .label("a second meaning")
        .also(where, "the first")
        .help("choose another name");
    if (earlier)
      earlier->value = binding.value;
    return;
  }
  scopes.back()[name.text] = std::move(binding);
}

void Elaborator::assign(const Identifier &name, Val value, SourceRange valueRange) {
  if (name.text == "_")
    return;
  Binding *binding = lookup(name.text);
  if (!binding) {
    declare(name, {std::move(value), NameRole::Plain, name.range});
    return;
  }
  if (binding->role == NameRole::Index) {
    error(ErrorCode::L0202, name.range, "`" + name.text + "` counts a `stack` or `loop` and cannot be assigned")
        .also(binding->range, "declared here");
    return;
  }
  if (value.poison() || binding->value.poison()) {
    binding->value = std::move(value);
    return;
  }
  if (value.is(Kind::Tuple)) {
    error(ErrorCode::L0207, valueRange, "expected one value for `" + name.text + "`, but got " + describe(value));
    return;
  }
  if (binding->role == NameRole::State || binding->role == NameRole::Carry) {
    // A state keeps its type.
    ValueId id = materialise(value, valueRange);
    if (id == kNone)
      return;
    if (typeOf(id).element == ElementType::Index)
      id = cast(id, ElementType::F32, valueRange);
    const ProgramType &declared = typeOf(binding->value.ref), actual = typeOf(id);
    if (ValueId widened = actual.axes.empty() && binding->role == NameRole::Carry ? broadcast(id, declared.axes, valueRange) : kNone; widened != kNone) {
      id = widened;
    } else if (!sameAxes(declared.axes, actual.axes)) {
      Diagnostic &diagnostic = error(ErrorCode::L0205, valueRange,
                                     "expected " + show(declared) + " for the state `" + name.text + "`, but got " + show(actual));
      diagnostic.label("a state keeps its axes").also(binding->range, "declared here");
      if (product(declared.axes) == product(actual.axes))
        diagnostic.help("an axis is its name; if they are meant to be the same write `reshape(…) -> " + show(declared) + "`");
      return;
    }
    if (actual.scope > declared.scope) {
      error(ErrorCode::L0210, valueRange, "a state that is the same for a whole sequence or run cannot take a value per token")
          .also(binding->range, "declared here")
          .help("reduce it: `mean over sequence { … }`");
      return;
    }
    if (actual.element != declared.element) {
      if ((actual.element == ElementType::Bool) != (declared.element == ElementType::Bool)) {
        error(ErrorCode::L0207, valueRange, "expected " + std::string(declared.element == ElementType::Bool ? "a flag" : "a number") +
                                                " for the state `" + name.text + "`");
        return;
      }
      id = cast(id, declared.element, valueRange);
    }
    binding->value = Val::ofRuntime(id);
    if (!loops.empty() && !loops.back().exits.empty())
      loops.back().assignedAfterExit = true;
    return;
  }
  binding->value = std::move(value);
}

/// Names that a block assigns, in its own text and in nested blocks.
void Elaborator::collectAssigned(const Block &block, std::vector<std::string> &result) const {
  auto add = [&](const std::string &name) {
    if (std::find(result.begin(), result.end(), name) == result.end())
      result.push_back(name);
  };
  std::function<void(const Stmt &)> visit = [&](const Stmt &stmt) {
    if (const auto *bind = as<BindStmt>(&stmt))
      for (const BindTarget &target : bind->targets)
        add(target.name.text);
    auto block = [&](const Block &inner) {
      for (const StmtPtr &child : inner.statements)
        visit(*child);
    };
    if (const auto *node = as<StackStmt>(&stmt))
      block(node->body);
    if (const auto *node = as<LoopStmt>(&stmt))
      block(node->body);
    if (const auto *node = as<WhereStmt>(&stmt))
      block(node->body);
    if (const auto *node = as<IfStmt>(&stmt)) {
      block(node->thenBlock);
      if (node->elseBlock)
        block(*node->elseBlock);
    }
    if (const auto *node = as<MatchStmt>(&stmt))
      for (const MatchArm &arm : node->arms)
        block(arm.body);
  };
  for (const StmtPtr &stmt : block.statements)
    visit(*stmt);
}

std::vector<std::string> Elaborator::carriedNames(const Block &block) {
  std::vector<std::string> assigned, result;
  collectAssigned(block, assigned);
  for (const std::string &name : assigned)
    if (Binding *binding = lookup(name); binding && binding->role != NameRole::Index)
      result.push_back(name);
  return result;
}

/// Gives values of the model's own text a name under which they can be observed.
void Elaborator::tap(const std::string &name, const Val &value, SourceRange range) {
  if (environments.size() != 1 || !value.is(Kind::Runtime) || instanceDepth || name == "_")
    return;
  for (const IndexVar &variable : indexVars)
    if (variable.active && !variable.loop)
      return; // one value a layer has no single name
  // A name that is bound again means its last value; one that a loop observes keeps meaning the loop's.
  std::vector<ProgramOp> &ops = regions.back()->ops;
  ops.erase(std::remove_if(ops.begin(), ops.end(), [&](const ProgramOp &op) { return op.kind == OpKind::Tap && op.name == name; }), ops.end());
  if (!loops.empty())
    observedInLoop.insert(name);
  else if (observedInLoop.count(name))
    return tap("final(" + name + ")", value, range);
  ProgramOp op;
  op.kind = OpKind::Tap;
  op.loc = loc(range);
  op.operands = {value.ref};
  op.name = name;
  ops.push_back(std::move(op));
}

//===----------------------------------------------------------------------===//
// Bindings
//===----------------------------------------------------------------------===//

void Elaborator::elaborateBind(const BindStmt &stmt) {
  auto indexed = [&](const BindTarget &target) {
    if (target.indices.empty())
      return false;
    defer("assignment of one entry, `" + sourceText(target.name.range) + "[…] = …`", stmt.range);
    return true;
  };
  if (loops.empty() && !readingAhead && std::any_of(stmt.values.begin(), stmt.values.end(), [](const ExprPtr &e) { return mentionsPrevious(*e); })) {
    for (const BindTarget &target : stmt.targets)
      exitNames.insert(target.name.text); // evaluated where an exit reads it
    return;
  }
  if (stmt.targets.size() == 1 && stmt.values.size() == 1) {
    const BindTarget &target = stmt.targets[0];
    const std::string &name = target.name.text;
    Binding *existing = lookup(name);
    names.back() = nameContext(existing ? "" : name, stmt.values[0].get());
    ProgramType expected;
    const bool typed = existing && existing->value.is(Kind::Runtime) && existing->role == NameRole::State;
    if (typed)
      expected = typeOf(existing->value.ref);
    Val value = evaluate(stmt.values[0].get(), typed ? &expected : nullptr);
    if (indexed(target))
      return;
    if (value.is(Kind::Tuple)) {
      error(ErrorCode::L0203, stmt.range, "expected one value for `" + name + "`, but got " + describe(value));
      value = {};
    }
    if (value.is(Kind::Runtime) && program.values[value.ref].name.empty())
      program.values[value.ref].name = name;
    assign(target.name, value, stmt.values[0]->range);
    if (Binding *bound = lookup(name))
      tap(name, bound->value, stmt.range);
    return;
  }
  std::vector<Val> values;
  std::vector<SourceRange> ranges;
  if (stmt.values.size() == 1) {
    Val value = evaluate(stmt.values[0].get());
    if (value.is(Kind::Runtime) && !typeOf(value.ref).axes.empty() &&
        typeOf(value.ref).axes[0].size == static_cast<int64_t>(stmt.targets.size())) {
      // A leading axis of literal size is taken apart.
      const ProgramType type = typeOf(value.ref);
      const std::vector<ProgramAxis> rest(type.axes.begin() + 1, type.axes.end());
      for (size_t k = 0; k < stmt.targets.size(); ++k) {
        Val part = sliceValue(value.ref, 0, static_cast<int64_t>(k), {"1", 1}, stmt.range);
        values.push_back(Val::ofRuntime(reshape(part.ref, rest, stmt.range)));
      }
    } else if (value.is(Kind::Tuple))
      values = value.elements;
    else if (!value.poison())
      values = {value};
    else
      values.assign(stmt.targets.size(), Val());
    ranges.assign(values.size(), stmt.values[0]->range);
  } else
    for (const ExprPtr &expr : stmt.values) {
      values.push_back(evaluate(expr.get()));
      ranges.push_back(expr->range);
    }
  if (values.size() != stmt.targets.size()) {
    error(ErrorCode::L0203, stmt.range,
          "expected " + std::to_string(stmt.targets.size()) + " values, but got " + std::to_string(values.size()));
    values.assign(stmt.targets.size(), Val());
    ranges.assign(stmt.targets.size(), stmt.range);
  }
  for (size_t k = 0; k < stmt.targets.size(); ++k) {
    if (indexed(stmt.targets[k]))
      continue;
    const std::string &name = stmt.targets[k].name.text;
    if (values[k].is(Kind::Runtime) && program.values[values[k].ref].name.empty())
      program.values[values[k].ref].name = name;
    assign(stmt.targets[k].name, values[k], ranges[k]);
    if (Binding *bound = lookup(name))
      tap(name, bound->value, stmt.range);
  }
}

void Elaborator::elaborateState(const StateStmt &stmt) {
  std::optional<ProgramType> type;
  if (stmt.type) {
    type = resolveType(*stmt.type);
    if (!type)
      return;
  }
  const ValueScope scope = scopeOf(stmt.scope, type ? type->scope : ValueScope::Token);
  Val value;
  if (stmt.draw)
    value = drawValue(stmt.name.text, stmt.value.get(), stmt.scope, type ? &*type : nullptr, stmt.range);
  else if (stmt.value) {
    names.back() = nameContext(stmt.name.text, stmt.value.get());
    value = evaluate(stmt.value.get(), type ? &*type : nullptr);
  }
  if (stmt.warm) {
    const auto *from = as<NameExpr>(stmt.warmValue);
    if (stmt.warmValue && !from)
      error(ErrorCode::L0207, stmt.warmValue->range, "expected the name of a value behind `warm`, but got an expression");
    else
      program.warm.push_back({stmt.name.text, from ? from->name : stmt.name.text});
  }
  if (value.poison()) {
    declare(stmt.name, {Val(), NameRole::State, stmt.name.range});
    return;
  }
  const SourceRange range = stmt.value ? stmt.value->range : stmt.range;
  ValueId id = materialise(value, range, type ? &*type : nullptr);
  if (id == kNone) {
    declare(stmt.name, {Val(), NameRole::State, stmt.name.range});
    return;
  }
  if (typeOf(id).element == ElementType::Index)
    id = cast(id, ElementType::F32, range);
  if (type && !sameAxes(type->axes, typeOf(id).axes)) {
    ValueId widened = broadcast(id, type->axes, range);
    if (widened == kNone) {
      error(ErrorCode::L0205, range, "expected " + show(*type) + " for the state `" + stmt.name.text + "`, but got " + show(typeOf(id)));
      id = kNone;
    } else
      id = widened;
  }
  if (id != kNone && typeOf(id).scope > scope) {
    error(ErrorCode::L0210, range, "a state that is the same for a whole sequence or run cannot start from a value per token");
    id = kNone;
  }
  if (id != kNone && typeOf(id).scope < scope) {
    // The state is a value of its own, wider in scope than what it starts from.
    ProgramType widened = typeOf(id);
    widened.scope = scope;
    ProgramOp &op = emit(OpKind::Reshape, widened, {id}, range);
    id = op.results[0];
  }
  if (id != kNone && program.values[id].name.empty())
    program.values[id].name = stmt.name.text;
  declare(stmt.name, {Val::ofRuntime(id), NameRole::State, stmt.name.range});
  tap("start(" + stmt.name.text + ")", Val::ofRuntime(id), stmt.range);
}

Val Elaborator::drawValue(const std::string &name, const Expr *distribution, const ScopeClause &scope,
                          const ProgramType *expected, SourceRange range) {
  const auto *call = as<CallExpr>(distribution);
  const auto *law = call ? as<NameExpr>(call->callee) : nullptr;
  if (!law) {
    defer("the draw `" + sourceText(range) + "`", range);
    return {};
  }
  ProgramDraw draw;
  draw.name = name;
  draw.loc = loc(range);
  draw.type.scope = scopeOf(scope, ValueScope::Token);
  if (!call->results.empty()) {
    std::optional<ProgramType> type = resolveType(call->results[0]);
    if (!type)
      return {};
    draw.type.axes = type->axes;
  } else if (expected)
    draw.type.axes = expected->axes;
  Arguments args;
  args.call = call;
  args.name = law->name;
  args.range = call->range;
  for (const Argument &argument : call->args)
    if (argument.name.empty())
      args.positional.push_back(&argument);
    else
      args.named.emplace(argument.name.text, &argument);
  auto number = [&](const char *key, size_t at, double fallback) -> std::optional<double> {
    if (!has(args, key) && at < args.positional.size())
      return staticNumberAt(args, at, key);
    return staticNumber(args, key, fallback);
  };
  std::optional<double> a, b, c;
  if (law->name == "normal" || law->name == "truncated_normal") {
    draw.law = law->name == "normal" ? DrawLaw::Normal : DrawLaw::TruncatedNormal;
    a = number("mean", 9, 0);
    b = number("std", 0, 1);
    c = has(args, "cut") ? number("cut", 9, 0) : number("clip", 1, draw.law == DrawLaw::Normal ? 0 : 2);
    if (!a || !b || !c)
      return {};
    draw.mean = *a;
    draw.std = *b;
    draw.cut = *c;
    if (draw.std < 0) {
      error(ErrorCode::L0207, call->range, "expected a standard deviation of at least 0, but got " + describe(Val::ofFloat(draw.std)));
      return {};
    }
  } else if (law->name == "uniform") {
    draw.law = DrawLaw::Uniform;
    a = number("low", 0, 0);
    b = number("high", 1, 1);
    if (!a || !b)
      return {};
    draw.low = *a;
    draw.high = *b;
  } else if (law->name == "constant") {
    draw.law = DrawLaw::Constant;
    a = number("value", 0, 0);
    if (!a)
      return {};
    draw.mean = *a;
  } else if (law->name == "standardised_normal") {
    draw.law = DrawLaw::StandardisedNormal;
    a = number("eps", 0, 1e-8);
    if (!a)
      return {};
    draw.low = *a;
  } else {
    defer("draws from `" + law->name + "`", range);
    draw.law = DrawLaw::Normal;
  }
  for (const ProgramDraw &other : program.draws)
    if (other.name == name && !instanceDepth) {
      error(ErrorCode::L0202, range, "two draws are called `" + name + "`")
          .also({other.loc.begin, other.loc.end}, "the first")
          .help("a draw is keyed by its name; choose another one");
      return {};
    }
  for (const IndexVar &variable : indexVars)
    if (variable.active && (!variable.loop || std::exchange(draw.iteration, true))) {
      defer("a draw inside a `stack` or an inner `loop`", range);
      break;
    }
  program.draws.push_back(draw);
  ProgramOp &op = emit(OpKind::Draw, draw.type, {}, range);
  op.ref = static_cast<uint32_t>(program.draws.size() - 1);
  op.name = name;
  return Val::ofRuntime(op.results[0]);
}

void Elaborator::elaborateDraw(const DrawStmt &stmt) {
  if (stmt.targets.size() != 1 || !stmt.targets[0].indices.empty()) {
    defer("a draw of several values", stmt.range);
    return;
  }
  const Identifier &name = stmt.targets[0].name;
  Val value = drawValue(name.text, stmt.distribution.get(), stmt.scope, nullptr, stmt.range);
  declare(name, {value, NameRole::Plain, name.range});
  tap(name.text, value, stmt.range);
}

void Elaborator::elaborateWeight(const WeightStmt &stmt) {
  std::optional<ProgramType> type = resolveType(stmt.type);
  std::optional<std::vector<PathSegment>> segments = type ? labelSegments(stmt.label) : std::nullopt;
  Val value;
  if (segments && !segments->empty()) {
    // A weight's own name ends its path; indices of the last segment come before it in tables, as everywhere.
    std::optional<WeightUse> use =
        registerWeight(*segments, "", type->shape(), type->axes.size() < 2 ? WeightRole::Vector : WeightRole::Matrix, stmt.range);
    if (use)
      value = Val::ofRuntime(param(*use, type->axes, stmt.range));
  }
  if (stmt.buffer)
    defer("`buffer`", stmt.range);
  declare(stmt.name(), {value, NameRole::Plain, stmt.name().range});
}

void Elaborator::elaborateInput(const InputStmt &stmt) {
  if (stmt.name.text == "token") {
    if (stmt.type.form == TypeSyntax::Form::Word && stmt.type.word.text == "id" && stmt.type.args.size() == 1)
      tokenRows = axisOf(evaluate(stmt.type.args[0].get()), stmt.type.args[0]->range);
    else
      error(ErrorCode::L0207, stmt.type.range, "expected `id(vocab)` as the type of `token`, but got `" + sourceText(stmt.type.range) + "`");
    return;
  }
  std::optional<ProgramType> type = resolveType(stmt.type);
  Val value;
  const auto *word = as<NameExpr>(stmt.value);
  const bool place = word && (word->name == "position" || word->name == "pos");
  const Val usual = place || !stmt.value ? Val() : evaluate(stmt.value.get());
  if (type && (place || usual.numeric()) && type->axes.empty() && type->element == ElementType::F32) {
    // Given by the run, else the token's position or a number: a draw whose law says which.
    ProgramDraw draw;
    draw.name = stmt.name.text;
    draw.law = place ? DrawLaw::Position : DrawLaw::Constant;
    draw.mean = place ? 0 : usual.number();
    draw.type = *type;
    draw.loc = loc(stmt.range);
    program.draws.push_back(draw);
    ProgramOp &op = emit(OpKind::Draw, *type, {}, stmt.range);
    op.ref = static_cast<uint32_t>(program.draws.size() - 1);
    op.name = stmt.name.text;
    value = Val::ofRuntime(op.results[0]);
  } else if (type) {
    program.inputs.push_back(stmt.name.text);
    ProgramOp &op = emit(OpKind::Input, *type, {}, stmt.range);
    op.name = stmt.name.text;
    value = Val::ofRuntime(op.results[0]);
    defer("the input `" + stmt.name.text + "`", stmt.range);
  }
  declare(stmt.name, {value, NameRole::Plain, stmt.name.range});
}

// The value that the token before left, or the start; what the name means at the end of its block is left for the next.
void Elaborator::elaborateCarry(const CarryStmt &stmt) {
  std::optional<ProgramType> type;
  if (stmt.type && !(type = resolveType(*stmt.type)))
    return declare(stmt.name, {Val(), NameRole::Carry, stmt.name.range});
  if (!stmt.counts.empty()) {
    defer("a `carry` for each index", stmt.range);
    return declare(stmt.name, {Val(), NameRole::Carry, stmt.name.range});
  }
  if (choices)
    defer("a `carry` inside a `where`", stmt.range);
  Val start = stmt.value ? evaluate(stmt.value.get(), type ? &*type : nullptr) : Val::ofFloat(0);
  ValueId init = start.poison() ? kNone : materialise(start, stmt.range, type ? &*type : nullptr);
  if (init != kNone && typeOf(init).element != ElementType::F32)
    init = cast(init, ElementType::F32, stmt.range);
  if (init != kNone && type && !sameAxes(type->axes, typeOf(init).axes)) {
    const ValueId widened = broadcast(init, type->axes, stmt.range);
    if (widened == kNone)
      error(ErrorCode::L0205, stmt.value->range, "expected " + show(*type) + " for the carry `" + stmt.name.text + "`, but got " + show(typeOf(init)));
    init = widened;
  }
  if (init == kNone)
    return declare(stmt.name, {Val(), NameRole::Carry, stmt.name.range});
  ProgramType kept = typeOf(init);
  kept.scope = ValueScope::Token;
  ProgramSite site;
  site.state = true;
  site.kvHeads = 1;
  site.keyDim = site.valueDim = std::max<int64_t>(1, product(kept.axes));
  path.push_back({stmt.name.text, {}});
  Carry carry{stmt.name.text, kNone, {}, environments.size(), environments.back().scopes.size(), stmt.range, init, loops.size()};
  std::vector<ValueId> operands{init};
  carry.site = addSite(site, operands, stmt.range);
  path.pop_back();
  carry.indices.assign(operands.begin() + 1, operands.end());
  ProgramOp &op = emit(OpKind::Recall, kept, operands, stmt.range);
  op.ref = carry.site;
  Val value = Val::ofRuntime(op.results[0]);
  if (stmt.restart)
    if (const auto *word = as<NameExpr>(stmt.restart); !word || word->name != "new_document")
      if (Val restart = evaluate(stmt.restart.get()); !restart.poison())
        value = select(restart, Val::ofRuntime(init), value, stmt.restart->range);
  carries.push_back(carry);
  declare(stmt.name, {value, NameRole::Carry, stmt.name.range});
}

void Elaborator::keepCarries() {
  while (!carries.empty() && carries.back().environment == environments.size() && carries.back().scope == environments.back().scopes.size()) {
    const Carry carry = carries.back();
    carries.pop_back();
    Binding *binding = lookup(carry.name);
    if (!binding || binding->value.poison())
      continue;
    std::vector<ValueId> operands{materialise(binding->value, carry.range)};
    if (operands[0] == kNone)
      continue;
    operands.insert(operands.end(), carry.indices.begin(), carry.indices.end());
    ProgramOp op;
    op.kind = OpKind::Keep;
    op.loc = loc(carry.range);
    op.operands = operands;
    op.ref = carry.site;
    // As soon as the value is there: what follows may belong to a later stage.
    std::vector<ProgramOp> &ops = regions.back()->ops;
    auto made = std::find_if(ops.rbegin(), ops.rend(), [&](const ProgramOp &each) {
      return std::find(each.results.begin(), each.results.end(), operands[0]) != each.results.end();
    });
    ops.insert(made == ops.rend() ? ops.end() : made.base(), std::move(op));
  }
}

} // namespace loopc::frontend::sema
