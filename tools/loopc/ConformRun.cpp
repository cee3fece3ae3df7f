// Running a case through the engine, all its sequences at once.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/runtime/Sampler.h"
#include <algorithm>
#include <cmath>
#include <utility>

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
    if (plan.carries) {
      result.forced.push_back(carried());
      return result;
    }
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
           name == "accepted" || name == "drafts" || name == "corrections" || name == "planes" || name == "present";
  }
  static bool usesGenerated(const words::Expr &expr) {
    if (expr.kind == words::Expr::Kind::Call && (expr.text == "generated" || expr.text == "sequence" || expr.text == "greedy"))
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

  /// Real tokens of a sequence end here.
  int64_t endOf(int64_t b) const {
    int64_t end = length;
    while (plan.mask && end > 0 && plan.mask->values[size_t(b * length + end - 1)] == 0)
      --end;
    return end;
  }

  rt::SequenceOptions optionsOf(size_t n, int64_t b, int64_t pad, int64_t prompt) {
    rt::SequenceOptions options;
    options.exit = plan.exits;
    options.order = plan.order;
    if (size_t(b) < plan.prefixes.size())
      options.prefix = uint32_t(plan.prefixes[size_t(b)]);
    words::Scope scope = scopeOf({}, n);
    for (const CasePlan::Setting &setting : plan.settings) {
      double value = words::evaluateNumber(table, *setting.expr, scopeOf(setting.scope, n));
      if (info.count && setting.name == info.count->name)
        options.loops = int32_t(value);
      else
        options.knobs[setting.name] = float(value);
    }
    if (plan.loops)
      options.loops = int32_t(plan.loops);
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
    if (plan.checkEvery)
      options.checkEvery =
          int32_t(words::evaluateNumber(table, *plan.checkEvery->expr, withCount(plan.checkEvery->scope)));
    options.group = plan.together ? 1 : 0;
    options.lastCheck = plan.lastCheck;
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
    if (!plan.callLoops.empty()) { // whole calls leave together, each after iterations of its own
      options.exit = rt::ExitMode::Leave;
      if (options.loops < 0)
        options.loops = int32_t(*std::max_element(plan.callLoops.begin(), plan.callLoops.end()));
    }
    if (!plan.warm.empty())
      for (const std::string &state : plan.warmStates)
        options.warm[state] = fields.at(plan.warm);
    for (const auto &[name, parts] : plan.draws) {
      if (plan.declared.count(name) && std::none_of(info.draws.begin(), info.draws.end(), [&](const rt::DrawInfo &d) { return d.name == name; }))
        continue; // this configuration does not read it
      rt::GivenDraw given;
      for (const char *letters : {"SP", "D", "-"})
        for (const CaseTensor &tensor : parts)
          for (const char *letter = letters; *letter; ++letter)
            if (*letter == '-' ? !positional(tensor) : tensor.size(*letter) >= 0)
              append(given.values, drawRows(tensor, *letter, b, *letter == 'D' ? 0 : pad, *letter == '-' ? length : tensor.size(*letter)));
      if (given.values.empty())
        failExpected("draw " + name, "values", "none");
      options.draws[name] = std::move(given);
    }
    return options;
  }

  static bool positional(const CaseTensor &tensor) {
    return tensor.size('S') >= 0 || tensor.size('P') >= 0 || tensor.size('D') >= 0 || tensor.size('R') >= 0;
  }

  /// Positions [first, last) of a sequence of a given draw, along axis `letter`: the values of its iterations, if it has
  /// an axis T, follow each other. Whatever the order of the axes.
  static std::vector<float> drawRows(const CaseTensor &tensor, char letter, int64_t b, int64_t first, int64_t last) {
    std::vector<float> rows;
    int64_t rounds = std::max<int64_t>(1, tensor.size('T'));
    for (int64_t s = first; s < last; ++s)
      for (int64_t t = 0; t < rounds; ++t)
        for (size_t flat = 0; flat < tensor.values.size(); ++flat) {
          size_t rest = flat;
          bool mine = true;
          for (size_t i = tensor.shape.size(); i-- > 0; rest /= size_t(tensor.shape[i])) {
            int64_t at = int64_t(rest % size_t(tensor.shape[i]));
            char axis = tensor.layout[i].letter;
            mine &= (axis != 'B' || at == b) && (axis != 'T' || at == t) && (axis != letter || at == s);
          }
          if (mine)
            rows.push_back(float(tensor.values[flat]));
        }
    return rows;
  }

  std::vector<int64_t> callsOf(int64_t prompt, bool generating) const {
    if (generating)
      return {prompt};
    if (!plan.calls.empty()) {
      int64_t sum = 0;
      for (int64_t one : plan.calls)
        sum += one;
      int64_t again = std::max<int64_t>(0, plan.tokensAgain.size('R'));
      for (int64_t back : again ? std::vector<int64_t>() : plan.callBack)
        again += back; // the same tokens are fed again, or the first of them
      if (plan.tokensAgain.values.empty() && !plan.callBack.empty() ? sum > length + again : sum != length + again)
        failExpected("calls", std::to_string(length + again) + " tokens", std::to_string(sum));
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
    run.executed.insert(run.executed.end(), result.executed.begin(), result.executed.end());
    run.ran.insert(run.ran.end(), result.executed.begin(), result.executed.end());
    run.fired.insert(run.fired.end(), result.fired.begin(), result.fired.end());
    run.call.insert(run.call.end(), result.count, run.call.empty() ? 0 : run.call.back() + 1);
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
      run.end = endOf(b);
      run.prompt = prompt;
      run.lead = plan.lead;
      run.restarts = plan.restarts;
      rt::SequenceOptions options = optionsOf(n, b, run.pad, prompt);
      run.minLoops = std::max(1, options.minLoops);
      run.checkEvery = std::max(1, options.checkEvery);
      run.untested = plan.untested ? prompt : 0;
      if (plan.labels)
        run.labels = labelsOf(b);
      ids.push_back(engine.open(options));
      run.scope = runScope;
      run.layers = plan.layers;
    }
    int64_t at = 0, call = 0;
    auto ofCall = [&](const std::vector<int64_t> &list) { return size_t(call) < list.size() ? list[size_t(call)] : 0; };
    bool again = false;
    for (int64_t count : callsOf(prompt, generate > 0)) {
      feed.loops = int32_t(ofCall(plan.callLoops));
      feed.noExit = plan.untested && call == 0;
      if (int64_t back = ofCall(plan.callBack)) {
        for (int64_t b = 0; b < sequences; ++b) {
          SequenceRun &run = runs[size_t(b)];
          int64_t left = std::max<int64_t>(0, int64_t(engine.length(ids[size_t(b)])) - back);
          engine.rollback(ids[size_t(b)], uint32_t(left));
          run.executed.resize(size_t(left));
          if (!std::exchange(run.back, true))
            run.again = run.positions;
        }
        if (plan.tokensAgain.values.empty()) { // the tokens that were taken back
          at -= back;
        } else {
          at = again ? at : 0;
          again = true;
        }
      }
      ++call;
      std::vector<bool> fed(size_t(sequences), false);
      for (int64_t b = 0; b < sequences; ++b) {
        SequenceRun &run = runs[size_t(b)];
        const CaseTensor &given = again ? plan.tokensAgain : plan.tokens;
        int64_t rows = again ? given.size('R') : length;
        if (at + count > rows)
          failExpected("calls", "at most " + std::to_string(rows) + " tokens", std::to_string(at + count));
        std::vector<int32_t> tokens;
        for (int64_t s = again ? at : std::max(at, run.pad); s < (again ? at + count : std::min(at + count, run.end)); ++s)
          if (int32_t token = int32_t(given.values[size_t(b * rows + s)]); token >= 0) // -1: behind a prompt
            tokens.push_back(token);
        if (tokens.empty())
          continue;
        if (run.tokens.empty())
          run.prompt = run.pad + int64_t(tokens.size());
        feed.draws.clear();
        for (const auto &[name, parts] : plan.draws)
          for (const CaseTensor &tensor : parts)
            if (again && tensor.size('R') >= 0)
              feed.draws[name].values = drawRows(tensor, 'R', b, at, at + count);
        run.tokens.insert(run.tokens.end(), tokens.begin(), tokens.end());
        engine.enqueue(ids[size_t(b)], tokens, feed);
        fed[size_t(b)] = true;
      }
      collect(engine, ids, fed, runs);
      at += count;
    }
    if (plan.again >= 0 && !generate) {
      int64_t count = 0;
      for (const CaseOutput &output : plan.outputs)
        count = std::max(count, output.expected.size('R'));
      for (int64_t b = 0; b < sequences; ++b) {
        SequenceRun &run = runs[size_t(b)];
        if (plan.again + count > int64_t(run.tokens.size()))
          failExpected("again", std::to_string(plan.again + count) + " tokens", std::to_string(run.tokens.size()));
        engine.rollback(ids[size_t(b)], uint32_t(plan.again));
        run.executed.resize(size_t(plan.again));
        run.again = run.positions;
        engine.enqueue(ids[size_t(b)], {run.tokens.begin() + plan.again, run.tokens.begin() + plan.again + count}, feed);
      }
      collect(engine, ids, std::vector<bool>(size_t(sequences), count > 0), runs);
    }
    if (plan.draftTokens && generate > 0) {
      for (int64_t b = 0; b < sequences; ++b)
        speculate(engine, ids[size_t(b)], optionsOf(n, b, runs[size_t(b)].pad, prompt), plan, generate, runs[size_t(b)]);
      generate = 0;
    }
    std::vector<bool> going(size_t(sequences), generate > 0);
    bool lastToo = usesCall("greedy"); // what is kept at the end holds the last token as well
    feed.draws.clear();
    feed.noExit = false;
    for (int64_t step = 0; step < generate; ++step, ++call) {
      feed.loops = int32_t(ofCall(plan.callLoops));
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
        if (step + 1 < generate || lastToo)
          engine.enqueue(ids[size_t(b)], std::vector<int32_t>{token}, feed);
      }
      if (step + 1 < generate || lastToo)
        collect(engine, ids, going, runs);
    }
    size_t longest = 0; // shorter ones end in padding
    for (const SequenceRun &run : runs)
      longest = std::max(longest, run.tokens.size());
    for (SequenceRun &run : runs)
      run.tokens.resize(longest, -1);
    if (usesCall("planes") || usesCall("present"))
      for (int64_t b = 0; b < sequences; ++b)
        keptPlanes(engine, ids[size_t(b)], runs[size_t(b)]);
    if (wantKeys)
      for (int64_t b = 0; b < sequences; ++b)
        for (int kv = 0; kv < 2; ++kv)
          (kv ? runs[size_t(b)].values : runs[size_t(b)].keys) = planes(engine, ids[size_t(b)], kv);
    return runs;
  }

  /// Segment after segment, each one iteration of the scheduled loop: a sequence that has left is replaced by the one that
  /// its row is given for the next segment.
  std::vector<SequenceRun> carried() {
    int64_t segments = int64_t(plan.tokensAt.size()), most = optionsOf(0, 0, 0, length).loops;
    if (most < 0)
      most = info.count ? info.count->value : 1;
    std::vector<std::vector<SequenceRun>> from, twins; // a sequence for every row that begins in a segment; without exits
    bool ahead = usesCall("ahead");
    for (int64_t n = 0; n < segments; ++n) {
      from.push_back(CaseRunner(fromSegment(plan, size_t(n), most), table, executor).run().forced.at(0));
      if (!ahead)
        continue;
      CasePlan endless = fromSegment(plan, size_t(n), most + 1);
      endless.loops = most + 1;
      endless.exits = rt::ExitMode::Off;
      twins.push_back(CaseRunner(endless, table, executor).run().forced.at(0));
    }
    std::vector<SequenceRun> rows = from.at(0);
    for (size_t b = 0; b < rows.size(); ++b) {
      SequenceRun &row = rows[b];
      makeRoom(row, segments);
      if (ahead)
        row.ahead = std::make_shared<SequenceRun>(row);
      for (int64_t first = 0, n = 0; n < segments; ++n) {
        const SequenceRun &own = from[size_t(first)][b];
        int64_t step = n - first, ran = own.ran.back();
        takeIteration(row, n, own, step);
        if (ahead)
          takeIteration(*row.ahead, n, twins[size_t(first)][b], step + 1);
        row.steps.push_back(step + 1);
        row.left.push_back(step + 1 == ran);
        row.tokensAt.emplace_back(own.tokens.begin(), own.tokens.end());
        row.labelsAt.push_back(own.labels);
        if (step + 1 == ran)
          first = n + 1;
      }
    }
    return rows;
  }

  /// Room for the values of so many segments.
  static void makeRoom(SequenceRun &row, int64_t segments) {
    size_t positions = size_t(row.positions);
    row.iterationLogits.assign(positions * size_t(segments) * size_t(row.vocab), 0);
    for (auto &[name, seen] : row.observed)
      seen.iterations.assign(size_t(segments) * seen.prelude.size(), 0);
    row.loops = segments;
  }

  /// Segment n of `row` is iteration `step` of `own`.
  static void takeIteration(SequenceRun &row, int64_t n, const SequenceRun &own, int64_t step) {
    size_t positions = size_t(row.positions);
    auto take = [&](std::vector<float> &to, const std::vector<float> &values, size_t width) {
      for (size_t p = 0; p < positions; ++p)
        std::copy_n(values.begin() + long((p * size_t(own.loops) + size_t(step)) * width), width,
                    to.begin() + long((p * size_t(row.loops) + size_t(n)) * width));
    };
    if (!own.iterationLogits.empty())
      take(row.iterationLogits, own.iterationLogits, size_t(row.vocab));
    for (auto &[name, seen] : row.observed)
      take(seen.iterations, own.observed.at(name).iterations, seen.prelude.size() / positions);
  }

  /// Labels of a sequence, none for what stands before its tokens.
  std::vector<double> labelsOf(int64_t b) const {
    int64_t count = length - plan.lead;
    std::vector<double> labels(size_t(plan.lead), -100);
    labels.insert(labels.end(), plan.labels->values.begin() + b * count, plan.labels->values.begin() + (b + 1) * count);
    return labels;
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

  /// Planes with rows of their own: their numbers (coda layers count down from -1), and where each position wrote one.
  void keptPlanes(rt::Engine &engine, rt::SequenceId id, SequenceRun &run) {
    const rt::Policy &policy = engine.policy(id);
    int64_t number = 0;
    SequenceValue &numbers = run.planes, &present = run.present;
    present.rows = engine.length(id);
    auto add = [&](int64_t plane, auto &&wrote) {
      numbers.data.push_back(double(plane));
      for (int64_t row = 0; row < present.rows; ++row)
        present.data.push_back(wrote(row));
    };
    for (rt::Stage stage : {rt::Stage::Prelude, rt::Stage::Core, rt::Stage::Coda})
      if (int pool = info.poolOf(stage); pool >= 0) {
        int64_t layers = 0, below = -1;
        for (const rt::SiteInfo &site : info.pools[size_t(pool)].sites)
          layers += site.layers;
        bool core = stage == rt::Stage::Core;
        uint32_t planes = core ? policy.keptPlanes : 1;
        if (core && policy.steps > 1)
          layers = 1; // the policy counts layers
        for (uint32_t plane = 0; plane < planes; ++plane)
          for (int64_t layer = 0; layer < layers; ++layer)
            add(stage == rt::Stage::Coda ? below-- : number++, [&](int64_t row) {
              bool wrote = !core;
              for (int32_t s = 0; s < run.executed[size_t(row)] * policy.steps; ++s)
                wrote |= policy.kept[size_t(s)] == plane;
              return wrote;
            });
      }
    numbers.rows = 1;
    numbers.steps = present.steps = int64_t(numbers.data.size());
    // [steps][rows] as collected becomes [rows][steps].
    std::vector<double> turned;
    for (int64_t row = 0; row < present.rows; ++row)
      for (int64_t step = 0; step < present.steps; ++step)
        turned.push_back(present.data[size_t(step * present.rows + row)]);
    present.data = std::move(turned);
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
