// Losses over iterations: what every iteration of a loop adds to the loss of a section, summed as states of the loop.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A fold over a loop's index (`sum over t { … }`, `mean over t where … { … }`, `entropy(q[t] over t)`) is elaborated
// at the end of the loop's body, where the values of the iteration have their names; values computed behind the loop
// are read there as they would be had the loop ended. The sums are states that begin at zero. They stand in the body of
// the model until dead code goes: of inference nothing of them is left.

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

namespace {

/// Folds over `index` in an expression, the outermost ones.
void collectFolds(const Expr &expr, const std::string &index, std::vector<const Expr *> &folds) {
  if (isFoldOver(expr, index)) {
    folds.push_back(&expr);
    return;
  }
  ast::forEachChild(expr, [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
      collectFolds(child, index, folds);
  });
}

void collectNames(const Expr &expr, std::set<std::string> &names) {
  if (const auto *name = as<NameExpr>(&expr))
    names.insert(name->name);
  ast::forEachChild(expr, [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
      collectNames(child, names);
  });
}

void collectNames(const Stmt &stmt, std::set<std::string> &names) {
  ast::forEachChild(stmt, [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>> ||
                  std::is_base_of_v<Stmt, std::decay_t<decltype(child)>>)
      collectNames(child, names);
  });
}

} // namespace

bool isFoldOver(const Expr &expr, const std::string &index) {
  auto isIndex = [&](const Expr *axis) {
    const auto *name = as<NameExpr>(axis);
    return name && name->name == index;
  };
  if (const auto *reduce = as<ReduceExpr>(&expr))
    return (reduce->op.text == "sum" || reduce->op.text == "mean") && reduce->axes.size() == 1 &&
           isIndex(reduce->axes[0].get());
  const auto *call = as<CallExpr>(&expr);
  const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
  const auto *over = callee && callee->name == "entropy" && call->args.size() == 1 ? as<OverExpr>(call->args[0].value)
                                                                                  : nullptr;
  return over && isIndex(over->axis.get());
}

/// The statements behind the loop that give `wanted` their values, in their order; `wanted` gets what these read.
std::vector<const Stmt *> Elaborator::behindLoop(std::set<std::string> wanted) const {
  std::vector<const Stmt *> result;
  const size_t index = loops.back().continuation;
  if (index == 0 || index > continuations.size())
    return result;
  const Continuation &continuation = continuations[index - 1];
  for (size_t k = continuation.statements->size(); k-- > continuation.next;) {
    const Stmt &stmt = *(*continuation.statements)[k];
    std::vector<std::string> names;
    if (const auto *bind = as<BindStmt>(&stmt))
      for (const BindTarget &target : bind->targets)
        names.push_back(target.name.text);
    else if (const auto *output = as<OutputStmt>(&stmt); output && output->value)
      names.push_back(output->name.text);
    else if (const auto *stack = as<StackStmt>(&stmt))
      collectAssigned(stack->body, names);
    else if (const auto *branch = as<IfStmt>(&stmt)) {
      collectAssigned(branch->thenBlock, names);
      if (branch->elseBlock)
        collectAssigned(*branch->elseBlock, names);
    }
    if (std::none_of(names.begin(), names.end(), [&](const std::string &name) { return wanted.count(name); }))
      continue;
    collectNames(stmt, wanted);
    result.push_back(&stmt);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

/// One more state of the innermost loop, a number of each token, zero at the start.
ValueId Elaborator::addTrace(const Expr *fold, std::string name) {
  LoopContext &loop = loops.back();
  LoopContext::Trace trace;
  trace.fold = fold;
  trace.name = std::move(name);
  trace.argument = newValue(ProgramType(), loop.tracing + std::to_string(loop.traces.size()));
  loop.traces.push_back(trace);
  return trace.argument;
}

void Elaborator::elaborateTraces(const LoopStmt &stmt) {
  if (loops.size() != 1 || environments.size() != 1 || regions.size() != 2)
    return;
  for (const TrainStmt *section : trainSections) {
    TrainLines lines(*section);
    std::vector<const Expr *> folds;
    for (const Expr *value : lines.values)
      collectFolds(*value, stmt.index.text, folds);
    if (folds.empty())
      continue;
    // All is undone if a part of it does not run.
    const auto scopes = environments.back().scopes;
    const auto sites = siteNames;
    const size_t ops = regions.back()->ops.size(), traces = loops.back().traces.size(),
                 deferred = program.deferred.size(), readoutsBefore = readouts.size(), sitesBefore = program.sites.size();
    std::set<std::string> wanted;
    for (const Expr *value : lines.values)
      collectNames(*value, wanted);
    std::set<std::string> outer;
    for (const std::string &name : wanted)
      if (!lookup(name) && !lines.named.count(name))
        outer.insert(name);
    const std::vector<const Stmt *> behind = behindLoop(outer);
    LossForm form;
    form.lines = lines.named;
    form.iteration = stmt.index.text;
    form.known = [&](const std::string &name) {
      return lookup(name) || slots.count(name) || isWord(name) || std::any_of(behind.begin(), behind.end(), [&](const Stmt *s) {
               const auto *bind = as<BindStmt>(s);
               return bind && std::any_of(bind->targets.begin(), bind->targets.end(),
                                          [&](const BindTarget &target) { return target.name.text == name; });
             });
    };
    bool runs = std::all_of(folds.begin(), folds.end(), [&](const Expr *fold) { return form.runsInIteration(*fold); });
    if (!runs)
      continue;
    loops.back().tracing = "trace." + section->name.text + ".";
    training = true;
    ++instanceDepth; // the same weights are met again behind the loop
    const bool savedAhead = std::exchange(readingAhead, true);
    const size_t savedIndexDepth = std::exchange(instanceIndexDepth, indexVars.size());
    environments.back().scopes.emplace_back();
    for (const Stmt *one : behind)
      elaborateStmt(*one);
    instanceIndexDepth = savedIndexDepth;
    readingAhead = savedAhead;
    for (const std::string &name : lines.order)
      if (form.needed.count(name))
        environments.back().scopes.back()[name] = {evaluate(lines.named.at(name)), NameRole::Plain, section->range};
    for (const Expr *fold : folds)
      runs = elaborateFold(*fold) && runs;
    // What `prev` keeps is the value at the end of the iteration.
    for (size_t k = traces; k < loops.back().traces.size(); ++k) {
      LoopContext::Trace trace = loops.back().traces[k];
      if (trace.fold)
        continue;
      Binding *binding = lookup(trace.name);
      ProgramType type = typeOf(trace.argument);
      trace.yield = binding ? materialise(binding->value, stmt.range, &type) : kNone;
      runs = runs && trace.yield != kNone && typeOf(trace.yield).axes.empty() && toFloat(trace.yield, stmt.range);
      loops.back().traces[k] = trace;
    }
    --instanceDepth;
    training = false;
    loops.back().tracing.clear();
    readouts.resize(readoutsBefore);
    siteNames = sites;
    environments.back().scopes = scopes;
    if (runs && program.deferred.size() == deferred && program.sites.size() == sitesBefore)
      continue;
    regions.back()->ops.erase(regions.back()->ops.begin() + static_cast<std::ptrdiff_t>(ops), regions.back()->ops.end());
    program.deferred.resize(deferred);
    program.sites.resize(sitesBefore);
    loops.back().traces.resize(traces);
  }
}

/// What the iteration adds to a fold.
bool Elaborator::elaborateFold(const Expr &fold) {
  const SourceRange range = fold.range;
  auto add = [&](const Val &term, const char *part) {
    const ValueId before = addTrace(&fold, part);
    const size_t at = loops.back().traces.size() - 1;
    Val after = term.poison() ? term : binary(Fn::Add, Val::ofRuntime(before), term, range, range, range);
    const ValueId yield = after.poison() ? kNone : materialise(after, range);
    loops.back().traces[at].yield = yield;
    return yield != kNone && typeOf(yield).axes.empty();
  };
  const auto *reduce = as<ReduceExpr>(&fold);
  if (!reduce) { // entropy(q[t] over t)
    const Val q = evaluate(as<OverExpr>(as<CallExpr>(&fold)->args[0].value)->value.get());
    return !q.poison() && add(entropyTerm(q, range), "sum");
  }
  Val term = evaluate(reduce->body.get());
  Val weight = reduce->where ? select(evaluate(reduce->where.get()), Val::ofFloat(1), Val::ofFloat(0), range)
                             : Val::ofFloat(1);
  if (term.poison() || weight.poison())
    return false;
  if (reduce->where)
    term = binary(Fn::Mul, term, weight, range, range, range);
  return add(term, "sum") && (reduce->op.text == "sum" || add(weight, "count"));
}

/// `prev(v)`: the state at the start of the iteration; `prev(v, start)`: v at the end of the one before.
Val Elaborator::previousInTrace(const NameExpr &name, const Expr *startExpr, SourceRange range) {
  if (!startExpr) {
    const Carried &carried = *loops.back().carried;
    for (size_t k = 0; k < carried.names.size(); ++k)
      if (carried.names[k] == name.name)
        return Val::ofRuntime(carried.region.arguments[carried.region.arguments.size() - carried.names.size() + k]);
    defer("`prev` of a name that is no state without a start", range);
    return {};
  }
  const Val start = evaluate(startExpr);
  if (start.poison())
    return {};
  const Val before = Val::ofRuntime(addTrace(nullptr, name.name));
  ProgramType type;
  type.element = ElementType::Index;
  type.scope = ValueScope::Run;
  const Val first = binary(Fn::Eq, Val::ofRuntime(indexVars[loops.back().indexVar].value), Val::ofInt(0), range, range, range);
  return select(first, start, before, range);
}

/// A fold outside of its loop: its sums, which the loop left.
Val Elaborator::traceOf(const Expr &fold) {
  auto found = traceSums.find(&fold);
  if (found == traceSums.end())
    return {};
  const Val sum = Val::ofRuntime(found->second.at(0));
  const auto *reduce = as<ReduceExpr>(&fold);
  return reduce && reduce->op.text == "mean"
             ? binary(Fn::Div, sum, Val::ofRuntime(found->second.at(1)), fold.range, fold.range, fold.range)
             : sum;
}

} // namespace loopc::frontend::sema
