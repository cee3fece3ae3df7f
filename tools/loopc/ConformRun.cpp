// Running a case through the engine, all its sequences at once.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/runtime/Sampler.h"
#include <algorithm>
#include <cmath>

namespace loopc::driver {

std::string bankField(const rt::ModelInfo &info, const std::string &name) {
  for (const std::string &candidate : {"obs." + name, name, "draw." + name})
    if (info.field(candidate))
      return candidate;
  std::string list;
  for (const rt::FieldInfo &field : info.fields)
    list += (list.empty() ? "" : ", ") + field.name;
  failExpected("value " + name, "a name that the model gives to a value of its own text", "fields " + list);
}

namespace {

void append(std::vector<float> &to, const std::vector<float> &from) { to.insert(to.end(), from.begin(), from.end()); }

class CaseRunner {
public:
  CaseRunner(const CasePlan &plan, const words::Table &table, rt::Executor &executor)
      : plan(plan), table(table), executor(executor), info(executor.info()) {
    for (const std::string &name : plan.names)
      if (!isFunction(name))
        fields[name] = bankField(info, name);
    wantKeys = usesCall("keys") || usesCall("values");
  }

  CaseRuns run() {
    sequences = plan.tokens.size('B') < 0 ? 1 : plan.tokens.size('B');
    length = plan.tokens.size('S') < 0 ? plan.tokens.size('P') : plan.tokens.size('S');
    if (length < 1)
      failExpected(plan.tokens.name, "an axis S of positions", "none");
    bool needForced = false;
    int64_t generate = plan.generate.value_or(0);
    for (const CaseOutput &output : plan.outputs) {
      if (!output.unsupported.empty())
        continue;
      int64_t count = output.expected.size('G');
      if (count < 0 && !usesGenerated(output.rule->value))
        needForced = true;
      if (!plan.generate && count > 0)
        generate = std::max(generate, count);
    }
    CaseRuns result;
    size_t runs = plan.each.empty() ? 1 : plan.eachValues.size();
    for (size_t n = 0; n < runs; ++n) {
      if (!plan.generate && needForced)
        result.forced.push_back(pass(n, 0));
      if (generate > 0)
        result.generated.push_back(pass(n, generate));
    }
    return result;
  }

private:
  static bool isFunction(const std::string &name) {
    return name == "depth" || name == "generated" || name == "sequence" || name == "keys" || name == "values" ||
           name == "accepted" || name == "drafts" || name == "corrections";
  }
  static bool usesGenerated(const words::Expr &expr) {
    if (expr.kind == words::Expr::Kind::Call && (expr.text == "generated" || expr.text == "sequence"))
      return true;
    return std::any_of(expr.args.begin(), expr.args.end(), usesGenerated);
  }
  static bool calls(const words::Expr &expr, const std::string &name) {
    return (expr.kind == words::Expr::Kind::Call && expr.text == name) ||
           std::any_of(expr.args.begin(), expr.args.end(), [&](const words::Expr &arg) { return calls(arg, name); });
  }
  bool usesCall(const std::string &name) const {
    return std::any_of(plan.outputs.begin(), plan.outputs.end(),
                       [&](const CaseOutput &output) { return calls(output.rule->value, name); });
  }

  words::Scope scopeOf(const words::Scope &own, size_t n) const {
    words::Scope scope = plan.scope;
    for (const auto &[name, value] : own)
      scope[name] = value;
    if (!plan.each.empty()) {
      scope[plan.each] = plan.eachValues[n];
      if (plan.eachValues[n].is_object()) // a list of groups: their keys are names
        for (const auto &[name, value] : plan.eachValues[n].items())
          scope[name] = value;
    }
    return scope;
  }

  /// Real tokens of a sequence begin here.
  int64_t padOf(int64_t b) const {
    if (!plan.mask)
      return 0;
    for (int64_t s = 0; s < length; ++s)
      if (plan.mask->values[size_t(b * length + s)] != 0)
        return s;
    return length;
  }

  rt::SequenceOptions optionsOf(size_t n, int64_t b, int64_t pad, int64_t prompt) {
    rt::SequenceOptions options;
    options.exit = plan.exits;
    options.order = plan.order;
    words::Scope scope = scopeOf({}, n);
    for (const CasePlan::Setting &setting : plan.settings) {
      double value = words::evaluateNumber(table, *setting.expr, scopeOf(setting.scope, n));
      if (info.count && setting.name == info.count->name)
        options.loops = int32_t(value);
      else
        options.knobs[setting.name] = float(value);
    }
    for (const auto &[name, tensor] : plan.given) {
      int64_t iterations = tensor.size('T');
      if (options.loops < 0)
        options.loops = int32_t(iterations);
      rt::GivenDraw given;
      given.values.assign(tensor.values.begin() + b * iterations, tensor.values.begin() + (b + 1) * iterations);
      options.draws["given." + name] = std::move(given);
    }
    int64_t loops = options.loops > 0 ? options.loops : info.count ? info.count->value : 1;
    scope = scopeOf({}, n);
    if (info.count)
      scope[info.count->name] = loops;
    runScope = scope;
    auto withCount = [&](const words::Scope &own) {
      words::Scope result = scopeOf(own, n);
      if (info.count)
        result[info.count->name] = loops;
      return result;
    };
    if (plan.minLoops)
      options.minLoops = int32_t(words::evaluateNumber(table, *plan.minLoops->expr, withCount(plan.minLoops->scope)));
    if (plan.exitAfter) {
      int32_t after = int32_t(words::evaluateNumber(table, *plan.exitAfter->expr, withCount(plan.exitAfter->scope)));
      options.exitAfter.assign(size_t(length + 4096), after);
    }
    if (plan.exits_) {
      const CaseTensor &tensor = *plan.exits_;
      int64_t decoded = tensor.size('D'), all = tensor.size('S'), count = decoded >= 0 ? decoded : all;
      if (count < 0)
        failExpected(tensor.name, "an axis S or D", "neither");
      int64_t first = decoded >= 0 ? prompt - pad : -pad;
      options.exitAfter.assign(size_t(std::max<int64_t>(0, first + count)), 0);
      for (int64_t i = 0; i < count; ++i) {
        words::Scope with = withCount({});
        with["it"] = tensor.values[size_t((tensor.size('B') >= 0 ? b * count : 0) + i)];
        if (first + i >= 0)
          options.exitAfter[size_t(first + i)] = int32_t(words::evaluateNumber(table, *plan.exitTensorExpr, with));
      }
    }
    for (const auto &[name, tensor] : plan.draws) {
      int64_t positions = tensor.size('S'), batch = tensor.size('B');
      if (positions < 0)
        failExpected(tensor.name, "an axis S of positions", "none");
      int64_t elements = int64_t(tensor.values.size()) / std::max<int64_t>(1, positions * std::max<int64_t>(1, batch));
      rt::GivenDraw given;
      const double *from = tensor.values.data() + (batch >= 0 ? b : 0) * positions * elements;
      given.values.assign(from + pad * elements, from + positions * elements);
      options.draws[name] = std::move(given);
    }
    return options;
  }

  std::vector<int64_t> callsOf(int64_t prompt, bool generating) const {
    if (generating)
      return {prompt};
    if (!plan.calls.empty()) {
      int64_t sum = 0;
      for (int64_t one : plan.calls)
        sum += one;
      if (sum != length)
        failExpected("calls", std::to_string(length) + " tokens", std::to_string(sum));
      return plan.calls;
    }
    std::vector<int64_t> result{prompt};
    result.insert(result.end(), size_t(length - prompt), 1);
    return result;
  }

  void take(SequenceRun &run, const rt::FeedResult &result) {
    run.vocab = result.vocab;
    run.loops = result.loops;
    run.positions += result.count;
    append(run.logits, result.logits);
    append(run.iterationLogits, result.iterationLogits);
    run.depth.insert(run.depth.end(), result.depth.begin(), result.depth.end());
    for (const auto &[field, from] : result.observed) {
      rt::Observation &to = run.observed[field];
      to.shape = from.shape;
      append(to.prelude, from.prelude);
      append(to.iterations, from.iterations);
      append(to.final, from.final);
    }
  }

  std::vector<SequenceRun> pass(size_t n, int64_t generate) {
    rt::Engine engine(executor);
    int64_t prompt = plan.prompt.value_or(!plan.calls.empty() && !generate ? plan.calls.front() : length);
    if (prompt < 1 || prompt > length)
      failExpected("prompt", "1 to " + std::to_string(length) + " tokens", std::to_string(prompt));
    rt::FeedOptions feed;
    feed.logits = rt::LogitsFor::All;
    feed.everyIteration = plan.everyIteration;
    for (const auto &[name, field] : fields)
      feed.observe.push_back(field);
    std::vector<SequenceRun> runs(static_cast<size_t>(sequences));
    std::vector<rt::SequenceId> ids;
    for (int64_t b = 0; b < sequences; ++b) {
      SequenceRun &run = runs[size_t(b)];
      run.pad = padOf(b);
      run.prompt = prompt;
      ids.push_back(engine.open(optionsOf(n, b, run.pad, prompt)));
      run.scope = runScope;
    }
    int64_t at = 0;
    for (int64_t count : callsOf(prompt, generate > 0)) {
      std::vector<bool> fed(size_t(sequences), false);
      for (int64_t b = 0; b < sequences; ++b) {
        SequenceRun &run = runs[size_t(b)];
        std::vector<int32_t> tokens;
        for (int64_t s = std::max(at, run.pad); s < at + count; ++s)
          if (int32_t token = int32_t(plan.tokens.values[size_t(b * length + s)]); token >= 0) // -1: behind a prompt
            tokens.push_back(token);
        if (tokens.empty())
          continue;
        run.tokens.insert(run.tokens.end(), tokens.begin(), tokens.end());
        engine.enqueue(ids[size_t(b)], tokens, feed);
        fed[size_t(b)] = true;
      }
      collect(engine, ids, fed, runs);
      at += count;
    }
    if (plan.draftLoops && generate > 0) {
      for (int64_t b = 0; b < sequences; ++b)
        speculate(engine, ids[size_t(b)], optionsOf(n, b, runs[size_t(b)].pad, prompt), plan, generate, runs[size_t(b)]);
      generate = 0;
    }
    std::vector<bool> going(size_t(sequences), generate > 0);
    for (int64_t step = 0; step < generate; ++step) {
      for (int64_t b = 0; b < sequences; ++b) {
        SequenceRun &run = runs[size_t(b)];
        if (!going[size_t(b)])
          continue;
        size_t vocab = size_t(run.vocab);
        int32_t token = rt::Sampler::argmax({run.logits.data() + run.logits.size() - vocab, vocab});
        going[size_t(b)] = !plan.stop.count(token);
        if (!going[size_t(b)])
          continue;
        run.tokens.push_back(token);
        run.newTokens.push_back(token);
        if (step + 1 < generate)
          engine.enqueue(ids[size_t(b)], std::vector<int32_t>{token}, feed);
      }
      if (step + 1 < generate)
        collect(engine, ids, going, runs);
    }
    size_t longest = 0; // shorter ones end in padding
    for (const SequenceRun &run : runs)
      longest = std::max(longest, run.tokens.size());
    for (SequenceRun &run : runs)
      run.tokens.resize(longest, -1);
    if (wantKeys)
      for (int64_t b = 0; b < sequences; ++b)
        for (int kv = 0; kv < 2; ++kv)
          (kv ? runs[size_t(b)].values : runs[size_t(b)].keys) = planes(engine, ids[size_t(b)], kv);
    return runs;
  }

  void collect(rt::Engine &engine, const std::vector<rt::SequenceId> &ids, std::vector<bool> waiting,
               std::vector<SequenceRun> &runs) {
    while (true) {
      bool open = false;
      for (size_t b = 0; b < ids.size(); ++b) {
        if (!waiting[b])
          continue;
        if (engine.ready(ids[b])) {
          take(runs[b], *engine.take(ids[b]));
          waiting[b] = false;
        } else {
          open = true;
        }
      }
      if (!open)
        return;
      if (!engine.step())
        fail("expected a lane that can run, but got none although sequences wait");
    }
  }

  /// Planes in the order in which attention steps are executed.
  SequenceValue planes(rt::Engine &engine, rt::SequenceId id, int kv) {
    std::vector<rt::KvBlock> blocks;
    uint32_t length = engine.length(id);
    for (rt::Stage stage : {rt::Stage::Prelude, rt::Stage::Core, rt::Stage::Coda}) {
      int pool = info.poolOf(stage);
      if (pool < 0)
        continue;
      const rt::PoolInfo &kept = info.pools[size_t(pool)];
      uint32_t rounds = kept.perIteration ? uint32_t(engine.loops(id)) : 1;
      for (uint32_t plane = 0; plane < rounds; ++plane)
        for (size_t site = 0; site < kept.sites.size(); ++site)
          for (int64_t layer = 0; layer < kept.sites[site].layers; ++layer)
            blocks.push_back(engine.readKv(id, stage, site, layer, kv, plane, 0, length));
    }
    SequenceValue result;
    result.rows = length;
    result.steps = int64_t(blocks.size());
    result.features = blocks.empty() ? 1 : blocks[0].heads * blocks[0].dim;
    result.data.resize(size_t(result.rows * result.steps * result.features));
    for (int64_t step = 0; step < result.steps; ++step) {
      const rt::KvBlock &block = blocks[size_t(step)];
      if (block.heads * block.dim != result.features)
        failExpected("keys", "one shape for all attention steps", "several");
      for (int64_t row = 0; row < result.rows; ++row)
        std::copy_n(block.values.begin() + row * result.features, result.features,
                    result.data.begin() + (row * result.steps + step) * result.features);
    }
    return result;
  }

  const CasePlan &plan;
  const words::Table &table;
  rt::Executor &executor;
  const rt::ModelInfo &info;
  std::map<std::string, std::string> fields;
  bool wantKeys = false;
  int64_t sequences = 0, length = 0;
  words::Scope runScope;
};

} // namespace

CaseRuns runCase(const CasePlan &plan, const words::Table &table, rt::Executor &executor) {
  return CaseRunner(plan, table, executor).run();
}

} // namespace loopc::driver
