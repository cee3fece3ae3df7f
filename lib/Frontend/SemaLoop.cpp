// Recurrences: stacks, loops, K/V policies.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"
#include "loopc/runtime/KvMap.h"

#include <algorithm>

namespace loopc::frontend::sema {

//===----------------------------------------------------------------------===//
// Stacks
//===----------------------------------------------------------------------===//

void Elaborator::elaborateSequence(const SequenceStmt &stmt) {
  if (!stmt.atMost)
    return defer("`sequence exactly`", stmt.range);
  Val most = evaluate(stmt.length.get());
  if (most.poison())
    return;
  if (!most.is(Kind::Int) || most.integer < 1 || most.integer > INT32_MAX)
    error(ErrorCode::L0216, stmt.length->range, "expected a number of tokens from 1 on that is known when compiled, but got " +
                                                    (most.is(Kind::Int) ? std::to_string(most.integer) : describe(most)));
  else if (program.context == 0 || most.integer < program.context)
    program.context = most.integer;
}

void Elaborator::elaborateStack(const StackStmt &stmt) {
  Val low = Val::ofInt(0), high;
  if (stmt.count)
    high = evaluate(stmt.count.get());
  else if (const auto *range = as<RangeExpr>(stmt.domain)) {
    if (range->low)
      low = evaluate(range->low.get());
    if (range->high)
      high = evaluate(range->high.get());
    if (range->closed && high.is(Kind::Int))
      high = foldBinary(Fn::Add, high, Val::ofInt(1), stmt.range);
  }
  if (low.poison() || high.poison())
    return;
  const SourceRange where = stmt.count ? stmt.count->range : stmt.domain->range;
  if (!low.is(Kind::Int) || !high.is(Kind::Int)) {
    const bool option = high.is(Kind::Option) || low.is(Kind::Option);
    Diagnostic &diagnostic = error(ErrorCode::L0216, where, "expected a number of layers known when compiled, but got " +
                                                                describe(low.is(Kind::Int) ? high : low));
    if (option)
      diagnostic.help("layers have weights of their own, so their number belongs into `config`; a count of a run is for `loop`");
    return;
  }
  if (low.integer < 0 || high.integer < low.integer || high.integer > (1 << 20)) {
    error(ErrorCode::L0216, where,
          "expected a range of layers from 0 upwards, but got " + std::to_string(low.integer) + ".." + std::to_string(high.integer));
    return;
  }
  if (lookup(stmt.index.text) || slots.count(stmt.index.text)) {
    declare(stmt.index, {});
    return;
  }
  if (stmt.unrolled) { // the index is a number, so that shapes may depend on it
    if (high.integer - low.integer > 256) {
      error(ErrorCode::L0216, where, "expected at most 256 layers that are written out, but got " + std::to_string(high.integer - low.integer));
      return;
    }
    for (int64_t i = low.integer; i < high.integer; ++i) {
      environments.back().scopes.push_back({{stmt.index.text, {Val::ofInt(i), NameRole::Index, stmt.index.range}}});
      elaborateStatements(stmt.body.statements);
      environments.back().scopes.pop_back();
    }
    return;
  }
  IndexVar variable;
  variable.name = stmt.index.text;
  variable.low = low.integer;
  variable.high = high.integer;
  variable.range = stmt.index.range;
  ProgramType type;
  type.element = ElementType::Index;
  type.scope = ValueScope::Run;
  variable.value = newValue(type, stmt.index.text);
  // A stack without layers is the identity: nothing in it exists.
  if (low.integer == high.integer)
    return;
  const uint32_t id = static_cast<uint32_t>(indexVars.size());
  indexVars.push_back(variable);
  auto node = std::make_shared<IndexNode>();
  node->variable = id;
  Val index = Val::make(Kind::Index);
  index.index = node;
  Carried carried;
  carried.names = carriedNames(stmt.body);
  carried.region.arguments.push_back(variable.value);
  const bool ok = inRegion(
      carried,
      [&] {
        environments.back().scopes.back()[stmt.index.text] = {index, NameRole::Index, stmt.index.range};
        elaborateStatements(stmt.body.statements);
      },
      stmt.range, "stack");
  indexVars[id].active = false;
  if (!ok)
    return;
  ProgramStack stack;
  stack.index = stmt.index.text;
  stack.begin = low.integer;
  stack.end = high.integer;
  stack.loc = loc(stmt.range);
  ProgramOp op;
  op.kind = OpKind::Stack;
  op.loc = stack.loc;
  const uint32_t stackId = static_cast<uint32_t>(program.stacks.size());
  op.ref = stackId;
  program.stacks.push_back(stack);
  finishRegion(carried, op, true);
  program.stacks[stackId].states = carried.names;
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

std::optional<KvPolicy> Elaborator::kvPolicy(const LoopStmt &stmt) {
  KvPolicy policy;
  const LoopClause *kv = stmt.clause(stmt.clause("kv") ? "kv" : "carry");
  policy.text = sourceText(kv->range);
  policy.loc = loc(kv->range);
  const auto *call = as<CallExpr>(kv->value);
  const auto *word = as<NameExpr>(call ? call->callee.get() : kv->value.get());
  const std::string name = word ? word->name : "";
  const int map = rt::findKvMap(name);
  if (map >= 0 || policies.count(name)) {
    policy.map = name;
  } else if (name == "last_exited") {
    policy.holes = KvHoles::LastExited;
  } else {
    std::vector<std::string> known;
    std::string list;
    for (const rt::KvMapInfo &info : rt::kvMaps) {
      known.emplace_back(info.name);
      list += std::string(info.name) + (info.sizes == 0 ? ", " : info.sizes == 1 ? "(k), " : "(n, k), ");
    }
    Diagnostic &diagnostic = error(ErrorCode::L0411, kv->value->range, "expected where keys and values are kept, but got `" + sourceText(kv->value->range) + "`");
    diagnostic.label("not a K/V map");
    std::string close = nearest(name, known);
    diagnostic.help(close.empty() ? "maps are " + list + "or a `policy` of this spec" : "did you mean `" + close + "`?");
    return std::nullopt;
  }
  const int sizes = map >= 0 ? rt::kvMaps[map].sizes : 0;
  int given = 0;
  for (size_t k = 0; call && map >= 0 && k < call->args.size(); ++k) {
    const Expr *value = call->args[k].value.get();
    const std::string &label = call->args[k].name.text;
    if (label == "coda") {
      const auto *choice = as<NameExpr>(value);
      policy.codaOverwrites = choice && choice->name == "overwrites" && rt::kvMaps[map].needsCount;
      if (!policy.codaOverwrites) {
        error(ErrorCode::L0411, value->range, "expected `coda = overwrites` of last or boundaries, but got `" + sourceText(kv->value->range) + "`");
        return std::nullopt;
      }
      continue;
    }
    if (label == "unit" || label == "keep") {
      const auto *choice = as<NameExpr>(value);
      std::string &to = label == "unit" ? policy.unit : policy.keep;
      to = choice ? choice->name : "";
      if (label == "unit" ? to != "recurrence" && to != "layer_step" : to != "last" && to != "first" && to != "mean") {
        error(ErrorCode::L0411, value->range,
              "expected " + std::string(label == "unit" ? "a unit (recurrence, layer_step)" : "what stays (last, first, mean)") +
                  ", but got `" + sourceText(value->range) + "`");
        return std::nullopt;
      }
      if (label == "keep" && name != "single") {
        error(ErrorCode::L0411, value->range, "expected `keep` of single, which has one plane, but got `" + sourceText(kv->value->range) + "`");
        return std::nullopt;
      }
      continue;
    }
    if (given == sizes) {
      error(ErrorCode::L0411, value->range,
            "expected " + std::to_string(sizes) + " numbers of planes, but got `" + sourceText(kv->value->range) + "`");
      return std::nullopt;
    }
    std::optional<int64_t> number = compileTimeInt(value, "a number of planes");
    if (!number)
      return std::nullopt;
    if (*number < 1) {
      error(ErrorCode::L0411, value->range, "expected at least one plane, but got " + std::to_string(*number));
      return std::nullopt;
    }
    policy.sizes[given++] = *number;
  }
  if (given < sizes) {
    error(ErrorCode::L0411, kv->value->range,
          "`" + name + "` needs " + (sizes == 1 ? "a number: `" + name + "(2)`" : "two numbers: `" + name + "(8, 1)`"));
    return std::nullopt;
  }
  if (const LoopClause *holes = stmt.clause("holes")) {
    static const std::map<std::string, KvHoles> table = {{"refuse", KvHoles::Refuse},      {"latest", KvHoles::Latest},
                                                         {"always_last", KvHoles::AlwaysLast}, {"last_exited", KvHoles::LastExited},
                                                         {"skip", KvHoles::Skip},          {"zero", KvHoles::Zero},
                                                         {"last_if_hole", KvHoles::LastIfHole}};
    const auto *rule = as<NameExpr>(holes->value);
    auto at = table.find(rule ? rule->name : "");
    if (at == table.end()) {
      error(ErrorCode::L0413, holes->value->range,
            "expected a rule for missing planes (refuse, latest, always_last, last_if_hole, last_exited, skip, zero), but got `" +
                sourceText(holes->value->range) + "`");
      return std::nullopt;
    }
    policy.holes = at->second;
  }
  const bool shares = policy.map != "depth_indexed" && policy.map != "recompute";
  if (const LoopClause *order = stmt.clause("order")) {
    static const std::map<std::string, KvOrder> table = {
        {"token", KvOrder::Token}, {"pass", KvOrder::Pass}, {"by_call", KvOrder::ByCall}};
    const auto *rule = as<NameExpr>(order->value);
    auto at = table.find(rule ? rule->name : "");
    if (at == table.end()) {
      error(ErrorCode::L0414, order->value->range, "expected an order (token, pass, by_call), but got `" + sourceText(order->value->range) + "`");
      return std::nullopt;
    }
    policy.order = at->second;
    if (!shares) {
      error(ErrorCode::L0416, order->range, "`order` says nothing here: no two iterations share a plane under `" + name + "`")
          .also(kv->range, "the map")
          .help("leave `order` out");
      return std::nullopt;
    }
  } else if (shares) {
    error(ErrorCode::L0415, kv->range,
          "`" + sourceText(kv->value->range) + "` lets iterations share planes, so reading the prompt in parallel is not the same function as token by token")
        .label("the order of tokens and iterations matters")
        .help("say which is meant: `order token` (exact, slower), `order pass` (full planes until the given tokens have finished) or `order by_call` (as published; depends on how the prompt is cut)");
    return std::nullopt;
  }
  if (map < 0 && policy.map == name)
    defer("`kv " + name + "`", kv->range);
  return policy;
}

void Elaborator::elaborateLoop(const LoopStmt &stmt) {
  ProgramLoop loop;
  loop.index = stmt.index.text;
  loop.label = stmt.index.text;
  loop.loc = loc(stmt.range);
  IndexVar variable;
  variable.name = stmt.index.text;
  variable.loop = true;
  variable.range = stmt.index.range;
  if (lookup(stmt.index.text) || slots.count(stmt.index.text)) {
    declare(stmt.index, {});
    return;
  }
  Val count;
  SourceRange countRange = stmt.index.range;
  if (stmt.count) {
    count = evaluate(stmt.count.get());
    countRange = stmt.count->range;
  } else {
    defer(stmt.list ? "a loop over a list" : "a loop over a range", stmt.range);
    count = Val::ofInt(1);
  }
  if (count.poison())
    return;
  if (count.is(Kind::Option)) {
    ProgramOption &option = program.options[count.ref];
    if (option.kind != OptionKind::Int) {
      error(ErrorCode::L0216, countRange, "expected a whole number of iterations, but got " + describe(count))
          .also({option.loc.begin, option.loc.end}, "declared here");
      return;
    }
    option.isCount = true;
    loop.countOption = count.ref;
    variable.high = option.max ? static_cast<int64_t>(*option.max) : -1;
  } else if (count.is(Kind::Int)) {
    if (count.integer < 0 || count.integer > (1 << 20)) {
      error(ErrorCode::L0216, countRange, "expected a number of iterations from 0 upwards, but got " + std::to_string(count.integer));
      return;
    }
    loop.fixedCount = count.integer;
    variable.high = count.integer;
  } else {
    if (count.is(Kind::Runtime) || count.is(Kind::Index)) {
      defer("a loop count that is computed", countRange);
      variable.high = -1;
      loop.fixedCount = 1;
    } else {
      error(ErrorCode::L0216, countRange, "expected a number of iterations, but got " + describe(count));
      return;
    }
  }
  if (stmt.clause("kv") || stmt.clause("carry")) {
    std::optional<KvPolicy> policy = kvPolicy(stmt);
    if (!policy)
      return;
    loop.hasKv = true;
    loop.kv = *policy;
  } else if (stmt.clause("holes") || stmt.clause("order"))
    for (const LoopClause &clause : stmt.clauses)
      if (clause.word.text == "holes" || clause.word.text == "order") {
        error(ErrorCode::L0411, clause.range, "`" + clause.word.text + "` belongs to a K/V map, but this loop has no `kv`")
            .help("write `kv depth_indexed, " + sourceText(clause.range) + "`");
        return;
      }
  if (const LoopClause *carry = stmt.clause("carry"), *kv = stmt.clause("kv"); carry && kv && sourceText(carry->value->range) != sourceText(kv->value->range))
    defer("`carry " + sourceText(carry->value->range) + "` beside another `kv`", carry->range);

  ProgramType type;
  type.element = ElementType::Index;
  type.scope = ValueScope::Run;
  variable.value = newValue(type, stmt.index.text);
  const uint32_t id = static_cast<uint32_t>(indexVars.size());
  indexVars.push_back(variable);
  auto node = std::make_shared<IndexNode>();
  node->variable = id;
  Val index = Val::make(Kind::Index);
  index.index = node;

  Carried carried;
  for (const std::string &name : carriedNames(stmt.body)) {
    Binding *binding = lookup(name);
    if (binding->role == NameRole::State || binding->role == NameRole::Carry || binding->role == NameRole::Parameter) {
      carried.names.push_back(name);
      continue;
    }
    error(ErrorCode::L0214, stmt.range, "this loop reassigns `" + name + "`, which is not a state")
        .also(binding->range, "bound here")
        .help("declare it: `state " + name + " = …`; what a loop carries from iteration to iteration is a state");
    indexVars[id].active = false;
    return;
  }
  std::optional<Solver> solver;
  if (const LoopClause *by = stmt.clause("by"); by && !(solver = solverOf(*by, carried.names))) {
    indexVars[id].active = false;
    return;
  }
  const uint32_t loopId = static_cast<uint32_t>(program.loops.size());
  program.loops.push_back(loop);
  carried.region.arguments.push_back(variable.value);
  LoopContext context;
  context.loop = loopId;
  context.indexVar = id;
  context.regionDepth = regions.size() + 1;
  context.continuation = continuations.size();
  context.environmentDepth = environments.size();
  context.firstValue = static_cast<ValueId>(program.values.size());
  context.carried = &carried;
  loops.push_back(context);
  ValueId exit = kNone;
  std::vector<ValueId> previousYields;
  const bool ok = inRegion(
      carried,
      [&] {
        environments.back().scopes.back()[stmt.index.text] = {index, NameRole::Index, stmt.index.range};
        if (solver)
          beginSolve(*solver, variable.value);
        elaborateStatements(stmt.body.statements);
        if (solver)
          endSolve(*solver);
        elaborateTraces(stmt);
        for (LoopContext::Previous &previous : loops.back().previous) {
          Binding *binding = lookup(previous.name);
          ValueId value = kNone;
          if (!binding)
            error(ErrorCode::L0201, previous.range, "`prev(" + previous.name + ")` needs a name that this loop's body binds");
          else
            value = materialise(binding->value, previous.range);
          if (value != kNone && !sameAxes(typeOf(value).axes, typeOf(previous.argument).axes)) {
            defer("`prev` with a start of another shape", previous.range);
            value = previous.argument;
          }
          if (value != kNone && typeOf(value).element != typeOf(previous.argument).element)
            value = cast(value, typeOf(previous.argument).element, previous.range);
          previousYields.push_back(value);
        }
        if (loops.back().check.region.exit != kNone) {
          exit = finishCheck(stmt.range);
          if (exit == kNone)
            previousYields.push_back(kNone);
          else {
            const ProgramOp &check = regions.back()->ops.back();
            previousYields.insert(previousYields.end(), check.results.begin(), check.results.end() - 1);
          }
        }
        for (ValueId test : loops.back().exits) {
          if (exit == kNone) {
            exit = test;
            continue;
          }
          ProgramType flag = typeOf(exit);
          flag.scope = std::max(flag.scope, typeOf(test).scope);
          ProgramOp &op = emit(OpKind::Binary, flag, {exit, test}, stmt.range);
          op.fn = Fn::Or;
          exit = op.results[0];
        }
      },
      stmt.range, "loop");
  context = loops.back();
  loops.pop_back();
  indexVars[id].active = false;
  if (context.assignedAfterExit)
    defer("an exit before the end of the body", stmt.range);
  if (!ok || std::find(previousYields.begin(), previousYields.end(), kNone) != previousYields.end())
    return;
  for (size_t k = 0; k < context.previous.size(); ++k) {
    LoopContext::Previous &previous = context.previous[k];
    const ProgramType type = typeOf(previous.argument);
    ValueId start = kNone;
    if (previous.fromState) {
      for (size_t n = 0; n < carried.names.size() && n < carried.initial.size(); ++n)
        if ("check." + carried.names[n] == previous.name)
          start = carried.initial[n];
      if (start == kNone)
        error(ErrorCode::L0201, previous.range, "`prev` of a state that this loop does not change needs a start");
    } else {
      start = materialise(previous.startValue, previous.range, &type);
      if (start != kNone && !sameAxes(typeOf(start).axes, type.axes))
        start = broadcast(start, type.axes, previous.range);
    }
    if (start == kNone)
      return;
    carried.names.push_back((previous.name.rfind("check.", 0) == 0 ? "" : "prev.") + previous.name);
    carried.initial.push_back(start);
    carried.region.arguments.push_back(previous.argument);
    carried.region.yields.push_back(previousYields[k]);
  }
  if (solver)
    for (const Solver::Kept &kept : solver->memory) {
      if (kept.yield == kNone)
        return;
      carried.names.push_back(program.values[kept.argument].name);
      carried.initial.push_back(constant(0, typeOf(kept.argument), solver->range));
      carried.region.arguments.push_back(kept.argument);
      carried.region.yields.push_back(kept.yield);
    }
  for (const LoopContext::Trace &trace : context.traces) {
    const ProgramValue argument = program.values[trace.argument];
    carried.names.push_back(argument.name);
    carried.initial.push_back(constant(0, argument.type, stmt.range));
    carried.region.arguments.push_back(trace.argument);
    carried.region.yields.push_back(trace.yield);
  }
  carried.region.exit = exit;
  if (stmt.clause("kv") && program.loops[loopId].kv.map != "recompute" && !usesSite(carried.region) && !program.loops[loopId].hasExit)
    diags.warning(ErrorCode::L0412, stmt.clause("kv")->range, "nothing in this loop attends, so there are no keys and values to keep");
  ProgramOp op;
  op.kind = OpKind::Loop;
  op.loc = loc(stmt.range);
  op.ref = loopId;
  finishRegion(carried, op, true);
  const std::vector<ValueId> &results = regions.back()->ops.back().results;
  for (size_t k = 0; k < context.traces.size(); ++k)
    if (context.traces[k].fold)
      traceSums[context.traces[k].fold].push_back(results[results.size() - context.traces.size() + k]);
  carried.names.resize(carried.names.size() - context.traces.size());
  program.loops[loopId].states = carried.names;
}

} // namespace loopc::frontend::sema
