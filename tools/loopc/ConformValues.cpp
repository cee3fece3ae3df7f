// Values of `out` expressions for one sequence.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace loopc::driver {
namespace {

using words::Expr;
using Kind = words::Expr::Kind;

class Evaluator {
public:
  Evaluator(const words::Table &table, const words::Scope &scope, const SequenceRun &run)
      : table(table), scope(scope), run(run) {}

  SequenceValue value(const Expr &expr) {
    switch (expr.kind) {
    case Kind::Name:
      if (expr.text == "logits")
        return make(run.positions, 1, run.vocab, run.logits);
      if (const rt::Observation *seen = observed(expr.text))
        return make(run.positions, 1, elements(*seen), seen->final);
      break;
    case Kind::Trace: {
      int64_t step = int64_t(words::evaluateNumber(table, expr.args[1], scope));
      const Expr &base = expr.args[0];
      if (base.kind == Kind::Call && !isLayer(base)) { // planes or executions
        SequenceValue all = value(base);
        if (step < 0 || step >= all.steps)
          table.fail(expr.args[1].place, "a number from 0 to " + std::to_string(all.steps - 1), std::to_string(step));
        return slice(all, step, 1);
      }
      SequenceValue all = trace(expr, -1);
      if (step < -1 || step >= all.steps - 1)
        table.fail(expr.args[1].place, "an iteration from -1 to " + std::to_string(all.steps - 2),
                   std::to_string(step));
      return slice(all, step + 1, 1);
    }
    case Kind::TraceFrom:
      if (expr.args[0].kind == Kind::Call && !isLayer(expr.args[0])) {
        SequenceValue all = value(expr.args[0]);
        int64_t first = int64_t(words::evaluateNumber(table, expr.args[1], scope));
        if (first < 0 || first >= all.steps)
          table.fail(expr.args[1].place, "a number from 0 to " + std::to_string(all.steps - 1), std::to_string(first));
        return slice(all, first, all.steps - first);
      }
      return trace(expr, int64_t(words::evaluateNumber(table, expr.args[1], scope)));
    case Kind::Call:
      if (!constant(expr))
        return expr.text == "min" || expr.text == "max" ? arithmetic(expr) : call(expr);
      break;
    case Kind::Binary:
    case Kind::Unary:
      if (!constant(expr))
        return arithmetic(expr);
      break;
    case Kind::If:
      if (!constant(expr))
        return value(chosen(table, expr, scope));
      break;
    default:
      break;
    }
    SequenceValue result;
    result.rows = 1;
    result.data = {rounded(words::evaluateNumber(table, expr, scope))};
    return result;
  }

private:
  /// Whether the expression has no values of the model.
  bool constant(const Expr &expr) const {
    if (expr.kind == Kind::Name)
      return scope.count(expr.text) != 0;
    if (expr.kind == Kind::Call && expr.text != "min" && expr.text != "max")
      return false;
    if (expr.kind == Kind::Trace || expr.kind == Kind::TraceFrom)
      return false;
    return std::all_of(expr.args.begin(), expr.args.end(), [&](const Expr &arg) { return constant(arg); });
  }

  template <typename T>
  static SequenceValue make(int64_t rows, int64_t steps, int64_t features, const std::vector<T> &data) {
    SequenceValue result;
    result.rows = rows;
    result.steps = steps;
    result.features = features;
    result.data.assign(data.begin(), data.end());
    return result;
  }

  static int64_t elements(const rt::Observation &seen) {
    int64_t count = 1;
    for (int64_t size : seen.shape)
      count *= size;
    return count;
  }

  const rt::Observation *observed(const std::string &name) const {
    for (const std::string &field : {"obs." + name, name, "draw." + name}) {
      auto found = run.observed.find(field);
      if (found != run.observed.end())
        return &found->second;
    }
    return nullptr;
  }

  static SequenceValue slice(const SequenceValue &from, int64_t first, int64_t count) {
    SequenceValue result;
    result.rows = from.rows;
    result.steps = count;
    result.features = from.features;
    for (int64_t row = 0; row < from.rows; ++row)
      for (int64_t step = first; step < first + count; ++step)
        for (int64_t f = 0; f < from.features; ++f)
          result.data.push_back(from.at(row, step, f));
    return result;
  }

  static SequenceValue concat(const SequenceValue &a, const SequenceValue &b) {
    SequenceValue result;
    result.rows = std::max(a.rows, b.rows);
    result.steps = a.steps + b.steps;
    result.features = a.features;
    for (int64_t row = 0; row < result.rows; ++row) {
      for (int64_t step = 0; step < a.steps; ++step)
        for (int64_t f = 0; f < a.features; ++f)
          result.data.push_back(a.at(row, step, f));
      for (int64_t step = 0; step < b.steps; ++step)
        for (int64_t f = 0; f < a.features; ++f)
          result.data.push_back(b.at(row, step, f));
    }
    return result;
  }

  /// The trace of a name from iteration `first` on; -1 is the value before the first.
  SequenceValue trace(const Expr &expr, int64_t first) {
    const Expr &base = expr.args[0];
    bool inLayer = isLayer(base);
    if (base.kind != Kind::Name && !inLayer)
      table.fail(base.place, "a name, layer() or turn()", "an expression");
    if (first < -1 || first > run.loops)
      table.fail(expr.args[1].place, "an iteration from -1 to " + std::to_string(run.loops - 1), std::to_string(first));
    SequenceValue start, rest;
    if (!inLayer && base.text == "logits") {
      rest = make(run.positions, run.loops, run.vocab, run.iterationLogits);
      start = make(run.positions, 1, run.vocab, std::vector<double>(size_t(run.positions * run.vocab), std::nan("")));
    } else if (const rt::Observation *seen = observed(inLayer ? layerTap(table, base, scope) : base.text)) {
      rest = make(run.positions, run.loops, elements(*seen), seen->iterations);
      start = make(run.positions, 1, elements(*seen), seen->prelude);
    } else {
      table.fail(base.place, "a value of the model", "`" + base.text + "`");
    }
    return slice(concat(start, rest), first + 1, run.loops - first);
  }

  /// A trace up to the last iteration that was run.
  SequenceValue reached(const Expr &expr) {
    int64_t last = run.ran.empty() ? 0 : int64_t(*std::max_element(run.ran.begin(), run.ran.end()));
    SequenceValue all = value(expr);
    if (expr.kind == Kind::TraceFrom) // entry 0 is that iteration
      last -= int64_t(words::evaluateNumber(table, expr.args[1], scope));
    return slice(all, 0, std::clamp<int64_t>(last, 0, all.steps));
  }

  /// A result inside `bf16(…)` is rounded.
  double rounded(double x) const { return bf16 ? double(rt::bf16ToF32(rt::f32ToBF16(float(x)))) : x; }

  SequenceValue call(const Expr &expr) {
    const std::string &name = expr.text;
    if (name == "bf16") {
      Evaluator inside = *this;
      inside.bf16 = true;
      return inside.value(expr.args[0]);
    }
    if (name == "stablemax_loss" || name == "accuracy" || name == "exact" || name == "bce" || name == "agrees")
      return lossValue(name, value(expr.args[0]), value(expr.args[1]));
    if (name == "greedy" || name == "over_batch" || name == "total" || isOfRestarts(expr)) // which runs, and what becomes of them, is seen where outputs are compared
      return value(expr.args[0]);
    if (name == "steps" || name == "left") {
      int64_t most = name == "left" ? int64_t(words::evaluateNumber(table, expr.args[0], scope)) : 0, ran = run.ran.empty() ? 0 : run.ran.back();
      std::vector<int64_t> list = name == "left" ? run.left : run.steps;
      for (int64_t t = 1; t <= run.loops && run.steps.empty(); ++t)
        list.push_back(name == "steps" ? t : t == most || (t == ran && !run.fired.empty() && run.fired.back()));
      return make(1, int64_t(list.size()), 1, list);
    }
    if (name == "tokens" || name == "labels") {
      auto lists = name == "tokens" ? run.tokensAt : run.labelsAt;
      if (lists.empty()) // the same in every iteration
        lists.assign(size_t(std::max<int64_t>(1, run.loops)),
                     name == "tokens" ? std::vector<double>(run.tokens.begin(), run.tokens.end()) : run.labels);
      SequenceValue result = make(int64_t(lists.empty() ? 0 : lists[0].size()), int64_t(lists.size()), 1, std::vector<double>());
      for (int64_t row = 0; row < result.rows; ++row)
        for (const std::vector<double> &list : lists)
          result.data.push_back(list[size_t(row)]);
      return result;
    }
    if (name == "sequence_of")
      return value(expr.args[1]);
    if (name == "ahead") {
      if (!run.ahead)
        table.fail(expr.place, "the segments of a carry", "one run");
      return Evaluator(table, scope, *run.ahead).value(expr.args[0]);
    }
    if (name == "at") {
      SequenceValue all = value(expr.args[0]), result = slice(all, 0, 0);
      for (const nlohmann::json &step : words::evaluate(table, expr.args[1], scope))
        result = result.steps ? concat(result, slice(all, std::min(step.get<int64_t>(), all.steps - 1), 1)) : slice(all, step.get<int64_t>(), 1);
      return result;
    }
    if (name == "filled") {
      SequenceValue trace = reached(expr.args[1]), result = value(expr.args[0]);
      int64_t count = int64_t(words::evaluateNumber(table, expr.args[2], scope));
      double least = INFINITY;
      for (int64_t step = 0; step < count; ++step) {
        least = step < trace.steps ? std::min(least, trace.at(0, step, 0)) : least;
        result.data.push_back(step < trace.steps ? trace.at(0, step, 0) : least);
      }
      result.steps = count + 1;
      return result;
    }
    if (name == "append") {
      SequenceValue a = value(expr.args[0]), b = value(expr.args[1]), result = a;
      if (a.rows != b.rows || a.steps != b.steps || !b.features || a.features % b.features)
        table.fail(expr.place, "a value that repeats the axes of the other", std::to_string(b.features) + " features beside " + std::to_string(a.features));
      int64_t each = a.features / b.features; // entries of the last axis of a
      result.features += b.features;
      result.data.clear();
      for (int64_t row = 0; row < a.rows; ++row)
        for (int64_t step = 0; step < a.steps; ++step)
          for (int64_t f = 0; f < b.features; ++f) {
            for (int64_t i = 0; i < each; ++i)
              result.data.push_back(a.at(row, step, f * each + i));
            result.data.push_back(b.at(row, step, f));
          }
      return result;
    }
    if (name == "reached")
      return reached(expr.args[0]);
    if (name == "last" || name == "prompted") {
      SequenceValue all = value(expr.args[0]), result = all;
      int64_t row = name == "last" ? all.rows - 1 : run.prompt - run.pad - 1, each = all.steps * all.features;
      result.rows = 1;
      if (all.rows > 1)
        result.data.assign(all.data.begin() + row * each, all.data.begin() + (row + 1) * each);
      return result;
    }
    if (name == "tail") {
      SequenceValue all = value(expr.args[0]), result = all;
      int64_t size = int64_t(words::evaluateNumber(table, expr.args[1], scope)), count = int64_t(words::evaluateNumber(table, expr.args[2], scope));
      if (size < 1 || count < 1 || count > size || all.features % size)
        table.fail(expr.place, "a last axis of so many entries", std::to_string(all.features) + " features");
      result.features = all.features / size * count;
      result.data.clear();
      for (size_t i = 0; i < all.data.size(); ++i)
        if (int64_t(i) % size >= size - count)
          result.data.push_back(all.data[i]);
      return result;
    }
    if (name == "distinct") {
      SequenceValue all = value(expr.args[0]);
      int64_t first = int64_t(words::evaluateNumber(table, expr.args[1], scope)), layers = int64_t(words::evaluateNumber(table, expr.args[2], scope)),
              rounds = int64_t(words::evaluateNumber(table, expr.args[3], scope));
      if (first < 0 || layers < 1 || rounds < 1 || first + layers * rounds > all.steps)
        table.fail(expr.place, std::to_string(first + layers * rounds) + " executions", std::to_string(all.steps));
      double sum = 0;
      for (int64_t row = 0; row < all.rows; ++row)
        for (int64_t layer = 0; layer < layers; ++layer) {
          std::set<double> seen;
          for (int64_t round = 0; round < rounds; ++round)
            for (int64_t f = 0; f < all.features; ++f)
              seen.insert(all.at(row, first + round * layers + layer, f));
          sum += double(seen.size());
        }
      return make(1, 1, 1, std::vector<double>{sum / double(all.rows * layers)});
    }
    if (name == "rows") {
      SequenceValue result = value(expr.args[0]);
      int64_t n = int64_t(words::evaluateNumber(table, expr.args[1], scope));
      if (n < 1 || result.features % n || result.steps != 1)
        table.fail(expr.args[1].place, "a divisor of " + std::to_string(result.features) + " features", std::to_string(n));
      result.rows *= n;
      result.features /= n;
      return result;
    }
    if (name == "features") {
      SequenceValue all = value(expr.args[0]), result = all;
      result.features = int64_t(words::evaluateNumber(table, expr.args[1], scope));
      if (result.features < 1 || result.features > all.features)
        table.fail(expr.args[1].place, "1 to " + std::to_string(all.features), std::to_string(result.features));
      result.data.clear();
      for (int64_t row = 0; row < all.rows * all.steps; ++row)
        result.data.insert(result.data.end(), all.data.begin() + row * all.features, all.data.begin() + row * all.features + result.features);
      return result;
    }
    if (name == "first" || name == "every") {
      SequenceValue all = value(expr.args[0]), result = all;
      int64_t n = int64_t(words::evaluateNumber(table, expr.args[1], scope)), each = all.steps * all.features;
      if (n < 1)
        table.fail(expr.args[1].place, "at least 1 position", std::to_string(n));
      result.rows = 0;
      result.data.clear();
      for (int64_t row = 0; row < all.rows; ++row)
        if (name == "first" ? row < n : row % n == n - 1 || row + 1 == all.rows) {
          ++result.rows;
          result.data.insert(result.data.end(), all.data.begin() + row * each, all.data.begin() + (row + 1) * each);
        }
      return result;
    }
    if (name == "position") {
      std::vector<double> places(size_t(run.positions));
      std::iota(places.begin(), places.end(), 0);
      return make(run.positions, 1, 1, places);
    }
    if (name == "active" || name == "where") {
      SequenceValue all = value(expr.args[0]), result = all, some;
      double iteration = 0;
      if (name == "where")
        some = value(expr.args[1]);
      else
        iteration = words::evaluateNumber(table, expr.args[1], scope);
      result.rows = 0;
      result.data.clear();
      for (int64_t row = 0; row < run.positions; ++row) {
        if (name == "where" ? some.at(row, 0, 0) == 0 : run.ran[size_t(row)] <= iteration)
          continue;
        ++result.rows;
        for (int64_t step = 0; step < all.steps; ++step)
          for (int64_t f = 0; f < all.features; ++f)
            result.data.push_back(all.at(row, step, f));
      }
      return result;
    }
    if (name == "layers")
      return executions(expr.args[0].text);
    if (name == "top" || name == "ascending")
      return ordered(value(expr.args[0]), name == "top" ? &expr.args[1] : nullptr);
    if (name == "keys")
      return run.keys;
    if (name == "values")
      return run.values;
    if (name == "planes")
      return run.planes;
    if (name == "present")
      return run.present;
    if (name == "executed")
      return make(run.positions, 1, 1, run.ran);
    if (name == "fired")
      return make(run.positions, 1, 1, run.fired);
    if (name == "tests" || name == "tested" || name == "tested_mean")
      return tests(name == "tests" ? nullptr : &expr.args[0], name == "tested_mean");
    if (name == "cross_entropy" || name == "pooled_cross_entropy")
      return crossEntropy(value(expr.args[0]), name != "cross_entropy");
    if (name == "depth")
      return make(run.positions, 1, 1, run.depth);
    if (name == "generated") {
      SequenceValue result = make(int64_t(run.newTokens.size()), 1, 1, run.newTokens);
      result.byGenerated = true;
      return result;
    }
    if (name == "accepted" || name == "drafts" || name == "corrections") {
      int64_t rounds = int64_t(run.accepted.size()), each = name == "drafts" ? int64_t(run.drafts.size()) / std::max<int64_t>(1, rounds) : 1;
      SequenceValue result = name == "accepted" ? make(rounds, 1, each, run.accepted)
                                                : make(rounds, 1, each, name == "drafts" ? run.drafts : run.corrections);
      result.byGenerated = true;
      return result;
    }
    if (name == "sequence")
      return make(int64_t(run.tokens.size()), 1, 1, run.tokens);
    if (isLayer(expr)) {
      const rt::Observation *seen = observed(layerTap(table, expr, scope));
      if (!seen)
        table.fail(expr.place, "a value that was kept", "none");
      return make(run.positions, 1, elements(*seen), seen->final);
    }
    SequenceValue first = value(expr.args[0]);
    for (double &x : first.data)
      x = rounded(x);
    if (name == "sigmoid") {
      for (double &x : first.data)
        x = rounded(1 / (1 + std::exp(-x)));
      return first;
    }
    if (name == "reach") {
      SequenceValue least = value(expr.args[1]);
      std::vector<double> at;
      for (int64_t row = 0; row < first.rows; ++row) {
        int64_t step = 0;
        while (step + 1 < first.steps && first.at(row, step, 0) < least.at(row, 0, 0))
          ++step;
        at.push_back(double(step));
      }
      return make(first.rows, 1, 1, at);
    }
    if (name == "concat")
      return concat(first, value(expr.args[1]));
    if (name == "expect") {
      SequenceValue second = value(expr.args[1]), result;
      result.rows = second.rows;
      result.features = second.features;
      for (int64_t row = 0; row < second.rows; ++row)
        for (int64_t f = 0; f < second.features; ++f) {
          double sum = 0;
          for (int64_t step = 0; step < second.steps; ++step)
            sum += first.at(row, step, 0) * second.at(row, step, f);
          result.data.push_back(sum);
        }
      return result;
    }
    SequenceValue result = first; // hazard, cumsum: over the steps of each row and feature
    for (int64_t row = 0; row < first.rows; ++row)
      for (int64_t f = 0; f < first.features; ++f) {
        double stay = 1, sum = 0;
        for (int64_t step = 0; step < first.steps; ++step) {
          double x = first.at(row, step, f);
          double y = sum += x;
          if (name == "hazard") {
            y = step + 1 < first.steps ? x * stay : stay;
            stay = rounded(stay * rounded(1 - x));
          }
          y = rounded(y);
          result.data[size_t((row * first.steps + step) * first.features + f)] = y;
        }
      }
    return result;
  }

  /// A name of the layers, along all their executions in order.
  SequenceValue executions(const std::string &name) {
    SequenceValue all;
    for (const LayerTaps &group : run.layers.at(name))
      for (int64_t step = 0; step < (group.looped ? run.loops : 1); ++step)
        for (const std::string &tap : group.taps) {
          const rt::Observation &seen = run.observed.at("obs." + tap);
          SequenceValue one = group.looped ? slice(make(run.positions, run.loops, elements(seen), seen.iterations), step, 1)
                                           : make(run.positions, 1, elements(seen), seen.final);
          all = all.features == one.features && !all.data.empty() ? concat(all, one) : one;
        }
    return all;
  }

  /// The last axis in ascending order or, with a count, the places of its largest entries, the largest first.
  SequenceValue ordered(const SequenceValue &of, const Expr *most) {
    int64_t count = most ? int64_t(words::evaluateNumber(table, *most, scope)) : of.features;
    if (count < 1 || count > of.features)
      table.fail(most->place, "a number from 1 to " + std::to_string(of.features), std::to_string(count));
    SequenceValue result = of;
    result.features = count;
    result.data.clear();
    for (int64_t row = 0; row < of.rows; ++row)
      for (int64_t step = 0; step < of.steps; ++step) {
        std::vector<int64_t> places(size_t(of.features));
        std::iota(places.begin(), places.end(), 0);
        std::sort(places.begin(), places.end(), [&](int64_t a, int64_t b) {
          double x = of.at(row, step, a), y = of.at(row, step, b);
          return x == y ? a < b : most ? x > y : x < y;
        });
        for (int64_t f = 0; f < count; ++f)
          result.data.push_back(most ? double(places[size_t(f)]) : of.at(row, step, places[size_t(f)]));
      }
    return result;
  }

  /// Iterations after which the exit was tested, for each row: their number, or the values that `of` had there.
  SequenceValue tests(const Expr *of, bool mean) {
    SequenceValue result;
    result.rows = run.positions;
    const rt::Observation *seen = of && of->kind == Kind::Name ? observed(of->text) : nullptr;
    if (of && (!seen || elements(*seen) != 1))
      table.fail(of->place, "the name of a number", "another value");
    result.steps = of ? run.loops : 1;
    result.padded = of != nullptr;
    for (int64_t row = 0; row < run.positions; ++row) {
      std::vector<double> values;
      for (int64_t done = run.minLoops; row >= run.untested && done <= run.ran[size_t(row)]; done += run.checkEvery) {
        double sum = 0, count = 0;
        for (int64_t other = 0; seen && other < run.positions; ++other)
          if (mean ? run.call[size_t(other)] == run.call[size_t(row)] : other == row) {
            sum += seen->iterations[size_t(other * run.loops + done - 1)];
            ++count;
          }
        values.push_back(seen ? sum / count : 0);
      }
      if (!of)
        values = {double(values.size())};
      values.resize(size_t(result.steps), -1);
      result.data.insert(result.data.end(), values.begin(), values.end());
    }
    return result;
  }

  /// Mean over the labels of the sequence; in parts, their sum and their number.
  SequenceValue crossEntropy(const SequenceValue &logits, bool inParts) {
    double sum = 0;
    int64_t count = 0;
    if (int64_t(run.labels.size()) < run.pad + logits.rows)
      failExpected("cross_entropy", std::to_string(logits.rows) + " labels", std::to_string(run.labels.size()));
    for (int64_t row = 0; row < logits.rows; ++row) {
      int64_t label = int64_t(run.labels[size_t(run.pad + row)]);
      if (label < 0 || label >= logits.features)
        continue;
      double top = -INFINITY, total = 0;
      for (int64_t f = 0; f < logits.features; ++f)
        top = std::max(top, logits.at(row, 0, f));
      for (int64_t f = 0; f < logits.features; ++f)
        total += std::exp(logits.at(row, 0, f) - top);
      sum += top + std::log(total) - logits.at(row, 0, label);
      ++count;
    }
    return inParts ? make(1, 1, 2, std::vector<double>{sum, double(count)}) : make(1, 1, 1, std::vector<double>{count ? sum / double(count) : 0});
  }

  SequenceValue arithmetic(const Expr &expr) {
    SequenceValue a = value(expr.args[0]);
    if (expr.kind == Kind::Unary) {
      if (expr.text != "-")
        table.fail(expr.place, "arithmetic", "`" + expr.text + "`");
      for (double &x : a.data)
        x = -x;
      return a;
    }
    SequenceValue b = value(expr.args[1]), result;
    result.rows = std::max(a.rows, b.rows);
    result.steps = std::max(a.steps, b.steps);
    result.features = std::max(a.features, b.features);
    result.byGenerated = a.byGenerated || b.byGenerated;
    for (int64_t row = 0; row < result.rows; ++row)
      for (int64_t step = 0; step < result.steps; ++step)
        for (int64_t f = 0; f < result.features; ++f) {
          double x = a.at(row, step, a.features == 1 ? 0 : f), y = b.at(row, step, b.features == 1 ? 0 : f);
          switch (expr.kind == Kind::Call ? expr.text[1] : expr.text[0]) {
          case 'i':
            result.data.push_back(std::min(x, y));
            break;
          case 'a':
            result.data.push_back(std::max(x, y));
            break;
          case '+':
            result.data.push_back(x + y);
            break;
          case '-':
            result.data.push_back(x - y);
            break;
          case '*':
            result.data.push_back(x * y);
            break;
          case '/':
            result.data.push_back(x / y);
            break;
          default:
            table.fail(expr.place, "`+`, `-`, `*` or `/` on values of the model", "`" + expr.text + "`");
          }
        }
    for (double &x : result.data)
      x = rounded(x);
    return result;
  }

  const words::Table &table;
  const words::Scope &scope;
  const SequenceRun &run;
  bool bf16 = false;
};

} // namespace

SequenceValue evaluateOutput(const words::Table &table, const Expr &expr, const words::Scope &scope,
                             const SequenceRun &run) {
  words::Scope all = scope;
  for (const auto &[name, value] : run.scope)
    all[name] = value;
  return Evaluator(table, all, run).value(expr);
}

} // namespace loopc::driver
