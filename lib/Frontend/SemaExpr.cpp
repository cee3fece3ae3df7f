// Expressions: names, choices, reductions, traces.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

DepthGuard::DepthGuard(Elaborator &elaborator, SourceRange range) : elaborator(elaborator) {
  constexpr unsigned limit = 1500;
  ok = ++elaborator.depth < limit && !elaborator.exhausted;
  if (!ok && !elaborator.exhausted) {
    elaborator.exhausted = true;
    elaborator.error(ErrorCode::L0212, range, "calls and expressions nest too deeply here");
  }
}
DepthGuard::~DepthGuard() { --elaborator.depth; }

Val Elaborator::evaluate(const Expr *expr, const ProgramType *expected) {
  if (!expr)
    return {};
  DepthGuard guard(*this, expr->range);
  if (!guard.ok)
    return {};
  switch (expr->kind) {
  case ExprKind::Number: {
    const auto &number = *as<NumberExpr>(expr);
    return number.integer ? Val::ofInt(*number.integer) : Val::ofFloat(number.value);
  }
  case ExprKind::Bool:
    return Val::ofBool(as<BoolExpr>(expr)->value);
  case ExprKind::String: {
    Val v = Val::make(Kind::Text);
    v.text = as<StringExpr>(expr)->value;
    return v;
  }
  case ExprKind::Name:
    return evaluateName(*as<NameExpr>(expr));
  case ExprKind::Field: {
    const auto &field = *as<FieldExpr>(expr);
    if (const auto *base = as<NameExpr>(field.base); base && slots.count(base->name)) {
      Val v = evaluate(base);
      if (v.is(Kind::List))
        for (const Val &element : v.elements)
          if (element.is(Kind::Tuple) && element.text == field.field.text && element.elements.size() == 1)
            return element.elements[0];
    }
    if (configMode)
      return {};
    defer("the field `" + sourceText(expr->range) + "`", expr->range);
    return {};
  }
  case ExprKind::Call:
    return evaluateCall(*as<CallExpr>(expr), expected);
  case ExprKind::Index:
    return evaluateIndex(*as<IndexExpr>(expr));
  case ExprKind::Unary: {
    const auto &node = *as<UnaryExpr>(expr);
    Val operand = evaluate(node.operand.get());
    return unary(node.op == UnaryOp::Minus ? Fn::Neg : Fn::Not, operand, expr->range);
  }
  case ExprKind::Binary:
    return evaluateBinary(*as<BinaryExpr>(expr));
  case ExprKind::List: {
    Val v = Val::make(Kind::List);
    for (const ExprPtr &element : as<ListExpr>(expr)->elements)
      v.elements.push_back(evaluate(element.get()));
    return v;
  }
  case ExprKind::Tuple: {
    Val v = Val::make(Kind::List);
    for (const Argument &element : as<TupleExpr>(expr)->elements) {
      Val value = evaluate(element.value.get());
      if (element.name.empty()) {
        v.elements.push_back(value);
        continue;
      }
      Val member = Val::make(Kind::Tuple);
      member.text = element.name.text;
      member.elements.push_back(value);
      v.elements.push_back(member);
    }
    return v;
  }
  case ExprKind::If:
    return evaluateIf(*as<IfExpr>(expr), expected);
  case ExprKind::Match:
    return evaluateMatch(*as<MatchExpr>(expr), expected);
  case ExprKind::Block:
    return evaluateBlock(as<BlockExpr>(expr)->block, expected);
  case ExprKind::Reduce:
    return evaluateReduce(*as<ReduceExpr>(expr));
  case ExprKind::Cast: {
    const auto &node = *as<CastExpr>(expr);
    Val operand = evaluate(node.operand.get());
    std::optional<ElementType> element = elementOf(node.dtype);
    ValueId value = materialise(operand, node.operand->range);
    if (!element || !toFloat(value, node.operand->range))
      return {};
    return Val::ofRuntime(cast(value, *element, expr->range));
  }
  case ExprKind::Range:
  case ExprKind::Set:
  case ExprKind::Ragged:
  case ExprKind::Pack:
    error(ErrorCode::L0207, expr->range, "expected a value, but got `" + sourceText(expr->range) + "`");
    return {};
  case ExprKind::Over:
  case ExprKind::Binder:
    defer("`" + sourceText(expr->range) + "`", expr->range);
    return {};
  case ExprKind::Error:
    return {};
  }
  return {};
}

Binding *Elaborator::lookup(const std::string &name) {
  if (environments.empty())
    return nullptr;
  auto &scopes = environments.back().scopes;
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
    if (auto found = scope->find(name); found != scope->end())
      return &found->second;
  return nullptr;
}

std::string Elaborator::nearest(const std::string &word, const std::vector<std::string> &candidates) const {
  std::string best;
  size_t bestDistance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string &candidate : candidates) {
    if (candidate.size() > 200 || word.size() > 200)
      continue;
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t k = 0; k <= candidate.size(); ++k)
      row[k] = k;
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t k = 0; k < candidate.size(); ++k) {
        const size_t substituted = diagonal + (word[i] != candidate[k]);
        diagonal = row[k + 1];
        row[k + 1] = std::min({row[k] + 1, row[k + 1] + 1, substituted});
      }
    }
    if (row.back() < bestDistance) {
      bestDistance = row.back();
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> Elaborator::visibleNames() const {
  std::vector<std::string> result = slotOrder;
  if (!environments.empty()) {
    for (const auto &scope : environments.back().scopes)
      for (const auto &entry : scope)
        result.push_back(entry.first);
    for (const auto &entry : environments.back().axes)
      result.push_back(entry.first);
  }
  result.insert(result.end(), {"token", "position"});
  return result;
}

Val Elaborator::evaluateName(const NameExpr &expr) {
  const std::string &name = expr.name;
  if (Binding *binding = lookup(name))
    return binding->value;
  if (!environments.empty()) {
    auto axis = environments.back().axes.find(name);
    if (axis != environments.back().axes.end())
      return Val::ofInt(axis->second.size, SizeExpr::named(axis->second.name));
  }
  if (slots.count(name))
    return configValue(name);
  for (const ProgramAccident &accident : program.accidents)
    if (accident.name == name)
      return Val::ofBool(accident.on);
  if (name == "none")
    return Val::make(Kind::None);
  if (name == "infinity")
    return Val::ofFloat(INFINITY);
  if (isWord(name))
    return Val::ofWord(name);
  if (!configMode && !regions.empty()) {
    ProgramType type;
    type.element = ElementType::Int;
    if (name == "token")
      return Val::ofRuntime(emitValue(OpKind::Token, type, {}, expr.range));
    if (name == "position" || name == "pos")
      return Val::ofRuntime(emitValue(OpKind::Position, type, {}, expr.range));
    if (name == "training")
      return Val::ofBool(false);
    if (training && (name == "label" || name == "next_token"))
      return Val::ofRuntime(emitValue(OpKind::Label, type, {}, expr.range));
    static const std::set<std::string> later = {"label", "next_token", "next_label", "length", "padding",
                                                "step",  "steps",      "offset",     "phase"};
    if (later.count(name)) {
      defer("`" + name + "`", expr.range);
      return {};
    }
    if (!loops.empty() && loops.back().inExit && readAhead(name, expr.range))
      if (Binding *binding = lookup(name))
        return binding->value;
  }
  Diagnostic &diagnostic = error(ErrorCode::L0201, expr.range, "`" + name + "` is not defined here");
  diagnostic.label("not found");
  std::string close = nearest(name, visibleNames());
  if (exitNames.count(name))
    diagnostic.help("it reads `prev` behind the loop, so it has a value in the conditions of exits only");
  else if (functions.count(name) || shares.count(name) || builtins().count(name))
    diagnostic.help("`" + name + "` is a function; call it: `" + name + "(…)`");
  else if (!close.empty())
    diagnostic.help("did you mean `" + close + "`?");
  else if (environments.size() > 1)
    diagnostic.help("a function sees its parameters, `config`, `options` and shared instances, but not its caller's names");
  return {};
}

//===----------------------------------------------------------------------===//
// Choices
//===----------------------------------------------------------------------===//

Val Elaborator::select(const Val &condition, const Val &a, const Val &b, SourceRange range) {
  if (condition.poison() || a.poison() || b.poison())
    return {};
  ValueId test = materialise(condition, range);
  const ProgramType left0 = a.is(Kind::Runtime) ? typeOf(a.ref) : ProgramType(), right0 = b.is(Kind::Runtime) ? typeOf(b.ref) : ProgramType();
  ValueId left = materialise(a, range, b.is(Kind::Runtime) ? &right0 : nullptr);
  ValueId right = materialise(b, range, a.is(Kind::Runtime) ? &left0 : nullptr);
  if (test == kNone || left == kNone || right == kNone)
    return {};
  if (typeOf(test).element != ElementType::Bool) {
    error(ErrorCode::L0207, range, "expected a condition after `if`, but got " + describe(condition));
    return {};
  }
  if (typeOf(left).element == ElementType::Index)
    left = cast(left, ElementType::F32, range);
  if (typeOf(right).element == ElementType::Index)
    right = cast(right, ElementType::F32, range);
  if (!unify(left, right, range, range, range))
    return {};
  // A condition with axes of its own must fit the values, or widen them.
  ValueId widened = test;
  if (!typeOf(test).axes.empty()) {
    ProgramType flags = typeOf(left);
    if (!sameAxes(typeOf(test).axes, flags.axes)) {
      if (typeOf(test).axes.size() > flags.axes.size()) {
        left = broadcast(left, typeOf(test).axes, range);
        right = broadcast(right, typeOf(test).axes, range);
      } else
        widened = broadcast(test, flags.axes, range);
      if (left == kNone || right == kNone || widened == kNone) {
        error(ErrorCode::L0204, range,
              "the condition has axes " + show(typeOf(test)) + ", the values have " + show(flags) +
                  ": neither contains the other");
        return {};
      }
    }
  }
  ProgramType type = typeOf(left);
  type.scope = std::max({type.scope, typeOf(right).scope, typeOf(widened).scope});
  return Val::ofRuntime(emitValue(OpKind::Select, type, {widened, left, right}, range));
}

Val Elaborator::evaluateIf(const IfExpr &expr, const ProgramType *expected) {
  Val condition = evaluate(expr.condition.get());
  if (condition.poison()) {
    return {};
  }
  if (condition.is(Kind::Index)) {
    if (!condition.index->boolean) {
      error(ErrorCode::L0207, expr.condition->range, "expected a condition, but got a number");
      return {};
    }
    if (std::optional<bool> known = alwaysHolds(condition.index, expr.range))
      condition = Val::ofBool(*known);
  }
  if (condition.is(Kind::Bool))
    return evaluate(condition.integer ? expr.thenValue.get() : expr.elseValue.get(), expected);
  if (condition.constant()) {
    error(ErrorCode::L0207, expr.condition->range, "expected a condition, but got " + describe(condition));
    return {};
  }
  // Arms that make weights exist only where their condition holds, so they are branches; other arms are a select.
  const bool branch = condition.is(Kind::Index) &&
                      (containsWeights(expr.thenValue.get()) || containsWeights(expr.elseValue.get()));
  if (!branch) {
    Val a = evaluate(expr.thenValue.get(), expected);
    Val b = evaluate(expr.elseValue.get(), expected);
    return select(condition, a, b, expr.range);
  }
  ValueId result = kNone;
  for (bool negate : {false, true}) {
    const Expr *arm = negate ? expr.elseValue.get() : expr.thenValue.get();
    Val test = negate ? unary(Fn::Not, condition, expr.range) : condition;
    ValueId flag = materialise(test, expr.condition->range);
    ProgramRegion region;
    regions.push_back(&region);
    conditions.push_back(test.index);
    Val value = evaluate(arm, expected);
    ValueId yielded = materialise(value, arm->range);
    conditions.pop_back();
    if (yielded != kNone && typeOf(yielded).element == ElementType::Index)
      yielded = cast(yielded, ElementType::F32, arm->range);
    if (yielded != kNone && result != kNone && !sameAxes(typeOf(yielded).axes, typeOf(result).axes))
      yielded = broadcast(yielded, typeOf(result).axes, arm->range);
    regions.pop_back();
    if (flag == kNone || yielded == kNone) {
      if (!value.poison() && yielded == kNone)
        error(ErrorCode::L0205, arm->range, "the arms of this `if` have different shapes");
      return {};
    }
    ProgramType type = typeOf(yielded);
    if (result == kNone)
      result = constant(0, type, expr.range);
    else if (!sameAxes(type.axes, typeOf(result).axes)) {
      error(ErrorCode::L0205, arm->range,
            "expected " + show(typeOf(result)) + " as in the other arm, but got " + show(type));
      return {};
    }
    region.arguments.push_back(newValue(type));
    region.yields.push_back(yielded);
    ProgramOp &op = emit(OpKind::If, type, {flag, result}, expr.range);
    op.regions.push_back(std::move(region));
    result = op.results[0];
  }
  return Val::ofRuntime(result);
}

const MatchArm *Elaborator::matchArm(const Val &subject, SourceRange range, const std::vector<MatchArm> &arms,
                                     bool &failed) {
  failed = true;
  if (subject.poison())
    return nullptr;
  if (!subject.constant()) {
    error(ErrorCode::L0207, range, "expected a word or number of `config` after `match`, but got " + describe(subject))
        .help("a choice per index is `if`, a choice per token is `if c then a else b`");
    return nullptr;
  }
  const MatchArm *otherwise = nullptr;
  for (const MatchArm &arm : arms) {
    if (arm.patterns.empty())
      otherwise = &arm;
    for (const ExprPtr &pattern : arm.patterns) {
      Val value;
      if (const auto *name = as<NameExpr>(pattern); name && !slots.count(name->name) && name->name != "none") {
        if (subject.is(Kind::Word) && !isWord(name->name)) {
          error(ErrorCode::L0220, name->range, "`" + name->name + "` is not a word of any entry of `config`");
          return nullptr;
        }
        value = Val::ofWord(name->name);
      } else
        value = evaluate(pattern.get());
      if (value.poison())
        return nullptr;
      Val equal = foldBinary(Fn::Eq, subject, value, pattern->range);
      if (equal.is(Kind::Bool) && equal.integer) {
        failed = false;
        return &arm;
      }
    }
  }
  if (otherwise) {
    failed = false;
    return otherwise;
  }
  error(ErrorCode::L0220, range, "no arm of this `match` is for " + describe(subject))
      .help("add an arm `" + describe(subject) + " { … }` or `else { … }`");
  return nullptr;
}

Val Elaborator::evaluateMatch(const MatchExpr &expr, const ProgramType *expected) {
  Val subject = evaluate(expr.subject.get());
  bool failed = false;
  const MatchArm *arm = matchArm(subject, expr.subject->range, expr.arms, failed);
  return arm ? evaluateBlock(arm->body, expected) : Val();
}

Val Elaborator::evaluateBlock(const Block &block, const ProgramType *expected) {
  if (block.statements.empty())
    return {};
  environments.back().scopes.emplace_back();
  Val result;
  const size_t depthBefore = names.size();
  for (size_t k = 0; k < block.statements.size(); ++k) {
    const Stmt *stmt = block.statements[k].get();
    if (const auto *value = as<ResultStmt>(stmt); value && k + 1 == block.statements.size()) {
      if (value->values.size() == 1) {
        result = evaluate(value->values[0].get(), expected);
      } else {
        result = Val::make(Kind::Tuple);
        for (const ExprPtr &element : value->values)
          result.elements.push_back(evaluate(element.get()));
      }
      continue;
    }
    elaborateStmt(*stmt);
    if (k + 1 == block.statements.size())
      error(ErrorCode::L0207, stmt->range, "expected an expression as the last line of a block that is a value");
  }
  names.resize(depthBefore);
  keepCarries();
  environments.back().scopes.pop_back();
  return result;
}

//===----------------------------------------------------------------------===//
// Reductions and traces
//===----------------------------------------------------------------------===//

Val Elaborator::evaluateReduce(const ReduceExpr &expr) {
  static const std::map<std::string, Fn> functions = {
      {"sum", Fn::Sum},       {"mean", Fn::Mean}, {"max", Fn::ReduceMax}, {"min", Fn::ReduceMin}, {"argmax", Fn::ArgMax},
      {"norm", Fn::NormL2}, {"any", Fn::Any},   {"all", Fn::All},       {"count", Fn::Count}};
  if (training && traceSums.count(&expr))
    return traceOf(expr);
  Val body = evaluate(expr.body.get());
  if (body.poison())
    return {};
  ValueId value = materialise(body, expr.body->range);
  if (value == kNone)
    return {};
  ProgramType type = typeOf(value);
  std::vector<size_t> axes;
  bool crosses = false, sequence = true, batch = false, iterations = false;
  for (const ExprPtr &axis : expr.axes) {
    const auto *name = as<NameExpr>(axis);
    if (name && (name->name == "sequence" || name->name == "batch" || name->name == "tokens")) {
      crosses = true;
      sequence = sequence && name->name == "sequence";
      batch = batch || name->name != "sequence";
      type.scope = name->name == "sequence" ? ValueScope::Sequence : ValueScope::Run;
      continue;
    }
    if (name)
      if (Binding *binding = lookup(name->name); binding && binding->role == NameRole::Index) {
        crosses = true;
        sequence = false;
        iterations = true;
        continue;
      }
    Val size = evaluate(axis.get());
    std::optional<ProgramAxis> wanted = axisOf(size, axis->range);
    if (!wanted)
      return {};
    size_t at = type.axes.size();
    for (size_t k = 0; k < type.axes.size(); ++k)
      if (type.axes[k].name == wanted->name)
        at = k;
    if (at == type.axes.size()) {
      error(ErrorCode::L0217, axis->range,
            "`" + expr.op.text + " over " + wanted->name + "` needs that axis, but the value has axes " + show(type))
          .label("no axis of that name");
      return {};
    }
    axes.push_back(at);
  }
  if (training && crosses)
    return meanOfLabelled(expr.where.get(), Val::ofRuntime(value), expr.range);
  auto fn = functions.find(expr.op.text);
  // Over the tokens that are taken in together.
  static const std::map<std::string, Fn> folds = {{"sum", Fn::Sum}, {"mean", Fn::Mean}, {"max", Fn::ReduceMax}, {"min", Fn::ReduceMin},
                                                  {"first", Fn::First}, {"last", Fn::Last}, {"norm", Fn::NormL2}};
  auto fold = folds.find(expr.op.text);
  const bool places = fold != folds.end() && (fold->second == Fn::First || fold->second == Fn::Last);
  if (crosses && !iterations && !expr.where && expr.results.empty() && fold != folds.end() && type.element == ElementType::F32 &&
      !(places && (batch || !axes.empty()))) {
    const bool norm = fold->second == Fn::NormL2;
    const Fn inside = norm ? Fn::Sum : fold->second;
    if (norm) {
      const Val square = Val::ofRuntime(value);
      value = binary(Fn::Mul, square, square, expr.range, expr.range, expr.range).ref;
    }
    if (!axes.empty()) {
      Val inner = reduceValue(inside, value, axes, expr.range);
      if (inner.poison())
        return {};
      value = inner.ref;
    }
    // A condition waits for all tokens of the call; where the whole sequence runs together it is a part of the iteration.
    if (!loops.empty() && loops.back().inExit && program.loops[loops.back().loop].kv.map != "recompute")
      loops.back().check.apart = true;
    Val result = foldValue(inside, value, batch ? ValueScope::Run : ValueScope::Sequence, expr.range);
    return norm ? unary(Fn::Sqrt, result, expr.range) : result;
  }
  if (crosses || expr.where || fn == functions.end() || !expr.results.empty()) {
    ProgramType reduced = type;
    std::sort(axes.rbegin(), axes.rend());
    for (size_t axis : axes)
      reduced.axes.erase(reduced.axes.begin() + static_cast<std::ptrdiff_t>(axis));
    return Val::ofRuntime(deferredValue("`" + expr.op.text + " over …` with `where`, over tokens or iterations, or `" +
                                            expr.op.text + "` itself",
                                        reduced, expr.range));
  }
  return reduceValue(fn->second, value, axes, expr.range);
}

Val Elaborator::foldValue(Fn fn, ValueId value, ValueScope scope, SourceRange range) {
  ProgramType type = typeOf(value);
  type.scope = scope;
  ProgramOp &op = emit(OpKind::Fold, type, {value}, range);
  op.fn = fn;
  op.number = scope == ValueScope::Run ? 1 : 0;
  return Val::ofRuntime(op.results[0]);
}

Val Elaborator::reduceValue(Fn fn, ValueId value, const std::vector<size_t> &axes, SourceRange range) {
  ProgramType type = typeOf(value);
  const bool flags = fn == Fn::Any || fn == Fn::All || fn == Fn::Count;
  if (flags != (type.element == ElementType::Bool)) {
    error(ErrorCode::L0207, range,
          flags ? "expected flags to reduce, but got numbers" : "expected numbers to reduce, but got flags");
    return {};
  }
  if (!flags && !toFloat(value, range))
    return {};
  type = typeOf(value);
  std::vector<int64_t> dims(axes.begin(), axes.end());
  std::sort(dims.begin(), dims.end());
  dims.erase(std::unique(dims.begin(), dims.end()), dims.end());
  for (auto axis = dims.rbegin(); axis != dims.rend(); ++axis)
    type.axes.erase(type.axes.begin() + static_cast<std::ptrdiff_t>(*axis));
  if (fn == Fn::ArgMax)
    type.element = ElementType::Int;
  if (fn == Fn::Count)
    type.element = ElementType::F32;
  ProgramOp &op = emit(OpKind::Reduce, type, {value}, range);
  op.fn = fn;
  op.ints = dims;
  return Val::ofRuntime(op.results[0]);
}

Val Elaborator::evaluateIndex(const IndexExpr &expr) {
  // `list[i]` of a configuration list.
  if (const auto *name = as<NameExpr>(expr.base)) {
    if (slots.count(name->name) && !lookup(name->name)) {
      Val list = configValue(name->name);
      if (list.is(Kind::List) && expr.entries.size() == 1) {
        Val at = evaluate(expr.entries[0].value.get());
        if (at.poison())
          return {};
        if (at.is(Kind::Int)) {
          if (at.integer < 0 || at.integer >= static_cast<int64_t>(list.elements.size())) {
            error(ErrorCode::L0313, expr.range,
                  "`" + name->name + "` has " + std::to_string(list.elements.size()) + " entries, but entry " +
                      std::to_string(at.integer) + " is read");
            return {};
          }
          return list.elements[static_cast<size_t>(at.integer)];
        }
        ProgramType type;
        type.scope = ValueScope::Run;
        return Val::ofRuntime(deferredValue("a list of `config` read by an index", type, expr.range));
      }
    }
  }
  Val base = evaluate(expr.base.get());
  if (base.poison() || (!loops.empty() && !loops.back().tracing.empty())) // of this iteration
    return base;
  if (!base.is(Kind::Runtime)) {
    error(ErrorCode::L0207, expr.range, "expected a value with a history before `[`, but got " + describe(base));
    return {};
  }
  ProgramType type = typeOf(base.ref);
  for (const IndexEntry &entry : expr.entries)
    if (as<RangeExpr>(entry.value))
      type.axes.insert(type.axes.begin(), {"*", -1});
  return Val::ofRuntime(deferredValue("the trace `" + sourceText(expr.range) + "`", type, expr.range));
}

std::optional<int64_t> Elaborator::compileTimeInt(const Expr *expr, const char *what) {
  Val value = evaluate(expr);
  if (value.poison())
    return std::nullopt;
  if (!value.is(Kind::Int)) {
    error(ErrorCode::L0206, expr->range,
          std::string("expected ") + what + " known when compiled, but got " + describe(value));
    return std::nullopt;
  }
  return value.integer;
}

} // namespace loopc::frontend::sema
