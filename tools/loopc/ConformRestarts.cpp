// What is said of the restarts of a sequence: how far each has converged, which is chosen, how often they are right.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace loopc::driver {

namespace {

/// The restarts of one sequence: traces of their logits, and the labels.
struct Restarts {
  std::vector<double> score;                 ///< the smaller, the more converged
  std::vector<size_t> order;                 ///< from the most to the least converged
  std::vector<std::vector<int64_t>> answers; ///< tokens of the last iteration
  std::vector<double> labels;

  int64_t right(const std::vector<int64_t> &answer) const {
    int64_t count = 0;
    for (size_t s = 0; s < labels.size(); ++s)
      count += labels[s] >= 0 && int64_t(labels[s]) == answer[s];
    return count;
  }
  int64_t labelled() const {
    return std::count_if(labels.begin(), labels.end(), [](double label) { return label >= 0; });
  }
  bool exact(const std::vector<int64_t> &answer) const { return right(answer) == labelled(); }
  /// The most frequent answer, of several the first.
  const std::vector<int64_t> &majority() const {
    size_t best = 0, votes = 0;
    for (size_t k = 0; k < answers.size(); ++k)
      if (size_t own = size_t(std::count(answers.begin(), answers.end(), answers[k])); own > votes) {
        best = k;
        votes = own;
      }
    return answers[best];
  }
};

/// Mean over the positions and the last `window` iterations of how far the logits moved.
double movement(const SequenceValue &logits, int64_t window) {
  double sum = 0;
  window = std::min(window, logits.steps - 1);
  for (int64_t row = 0; row < logits.rows; ++row)
    for (int64_t step = logits.steps - window; step < logits.steps; ++step) {
      double squares = 0;
      for (int64_t f = 0; f < logits.features; ++f)
        squares += std::pow(logits.at(row, step, f) - logits.at(row, step - 1, f), 2);
      sum += std::sqrt(squares);
    }
  return sum / double(std::max<int64_t>(1, logits.rows * window));
}

Restarts gather(const SequenceValue *logits, const SequenceRun *runs, size_t count, int64_t window) {
  Restarts all;
  all.labels = runs[0].labels;
  for (size_t k = 0; k < count; ++k) {
    const SequenceValue &own = logits[k];
    all.score.push_back(movement(own, window));
    std::vector<int64_t> &answer = all.answers.emplace_back();
    for (int64_t row = 0; row < own.rows; ++row) {
      int64_t best = 0;
      for (int64_t f = 1; f < own.features; ++f)
        best = own.at(row, own.steps - 1, f) > own.at(row, own.steps - 1, best) ? f : best;
      answer.push_back(best);
    }
  }
  all.order.resize(count);
  std::iota(all.order.begin(), all.order.end(), 0);
  std::sort(all.order.begin(), all.order.end(),
            [&](size_t a, size_t b) { return std::pair(all.score[a], a) < std::pair(all.score[b], b); });
  return all;
}

/// The chance that one of k restarts, drawn without putting back, is right, where c of n are.
double passAt(int64_t k, int64_t n, int64_t c) {
  double miss = 1;
  for (int64_t i = 0; i < k; ++i)
    miss *= double(std::max<int64_t>(0, n - c - i)) / double(n - i);
  return k <= n ? 1 - miss : 0;
}

/// A counter of one sequence; `top` restarts are chosen.
double counter(const Restarts &all, const std::string &name, size_t top, bool &known) {
  words::Scope scope;
  top = std::min(top, all.order.size());
  int64_t n = int64_t(all.answers.size()), correct = 0, chosen = 0;
  for (const std::vector<int64_t> &answer : all.answers)
    correct += all.exact(answer);
  double score = 0;
  std::vector<int64_t> prefix;
  for (size_t k = 0; k < top; ++k) {
    prefix.push_back(chosen += all.exact(all.answers[all.order[k]]));
    score += all.score[all.order[k]] / double(top);
  }
  auto number = [&] { return scope.at("k").get<int64_t>(); };
  if (name == "samples")
    return 1;
  if (name == "chosen_right")
    return double(chosen);
  if (name == "chosen_any")
    return chosen > 0;
  if (name == "chosen_score")
    return score;
  if (words::matchText("chosen_{k}", name, scope))
    return number() == chosen;
  if (words::matchText("first_{k}", name, scope) && size_t(number()) < prefix.size())
    return double(prefix[size_t(number())]);
  if (name == "any")
    return correct > 0;
  if (words::matchText("pass_{k}", name, scope))
    return passAt(number(), n, correct);
  if (name == "majority")
    return all.exact(all.majority());
  if (name == "majority_tokens")
    return double(all.right(all.majority()));
  if (name == "tokens")
    return double(all.labelled());
  known = false;
  return 0;
}

} // namespace

bool isOfRestarts(const words::Expr &expr) {
  return expr.kind == words::Expr::Kind::Call &&
         (expr.text == "movement" || expr.text == "ranked" || expr.text == "settled" || expr.text == "restarts_count");
}

std::vector<SequenceValue> ofRestarts(const words::Table &table, const words::Expr &expr, const words::Scope &scope,
                                      const std::vector<SequenceValue> &logits, const std::vector<SequenceRun> &runs) {
  int64_t window = int64_t(words::evaluateNumber(table, expr.args[1], scope));
  size_t each = size_t(std::max<int64_t>(1, runs.at(0).restarts));
  std::vector<SequenceValue> result;
  double sum = 0;
  for (size_t first = 0; first + each <= logits.size(); first += each) {
    Restarts all = gather(&logits[first], &runs[first], each, window);
    SequenceValue &value = result.emplace_back();
    value.rows = 1;
    value.features = int64_t(each);
    if (expr.text == "movement") {
      value.data = all.score;
    } else if (expr.text == "ranked") {
      value.data.assign(all.order.begin(), all.order.end());
    } else if (expr.text == "settled") {
      const std::vector<int64_t> &answer = all.answers[all.order[0]];
      value.data.assign(answer.begin(), answer.end());
      value.rows = int64_t(answer.size());
      value.features = 1;
    } else {
      bool known = true;
      std::string name = words::interpolate(table, expr.args[3].text, expr.args[3].place, scope);
      sum += counter(all, name, size_t(words::evaluateNumber(table, expr.args[2], scope)), known);
      if (!known)
        table.fail(expr.args[3].place, "a counter of restarts", "`" + name + "`");
    }
  }
  if (expr.text == "restarts_count") {
    result.resize(1);
    result[0].features = 1;
    result[0].data = {sum};
  }
  return result;
}

} // namespace loopc::driver
