// What the runs of a case gave, compared with what it expects.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include <algorithm>
#include <cmath>

namespace loopc::driver {

using words::Expr;
using Kind = words::Expr::Kind;

TensorResult compareOutput(const CaseOutput &output, const words::Table &table, const CaseRuns &runs,
                           const std::vector<int64_t> &cuts) {
  TensorResult result;
  result.tensor = output.name;
  result.atol = output.atol;
  result.rtol = output.rtol;
  result.status = "FAIL";
  const CaseTensor &expected = output.expected;
  bool usesNew = expected.size('G') >= 0 || runs.forced.empty();
  const Expr &expr = output.rule->value;
  if (expr.kind == Kind::Call && (expr.text == "generated" || expr.text == "sequence" || expr.text == "greedy"))
    usesNew = true;
  std::vector<std::vector<SequenceRun>> alone;
  if (expr.kind == Kind::Call && expr.text == "sequence_of") {
    int64_t b = int64_t(words::evaluateNumber(table, expr.args[0], output.scope));
    for (const std::vector<SequenceRun> &pass : usesNew ? runs.generated : runs.forced) {
      if (b < 0 || size_t(b) >= pass.size())
        table.fail(expr.args[0].place, "a sequence from 0 to " + std::to_string(pass.size() - 1), std::to_string(b));
      alone.push_back({pass[size_t(b)]});
    }
  }
  const auto &passes = !alone.empty() ? alone : usesNew ? runs.generated : runs.forced;
  std::vector<std::vector<SequenceValue>> values(passes.size());
  for (size_t n = 0; n < passes.size(); ++n)
    for (const SequenceRun &run : passes[n])
      values[n].push_back(evaluateOutput(table, output.rule->value, output.scope, run));
  if (expr.kind == Kind::Call && (expr.text == "over_batch" || expr.text == "total"))
    for (std::vector<SequenceValue> &pass : values) {
      for (size_t b = 1; b < pass.size(); ++b)
        for (size_t i = 0; i < pass[0].data.size(); ++i)
          pass[0].data[i] += pass[b].data.at(i);
      for (double &x : pass[0].data)
        x /= expr.text == "total" ? 1 : double(pass.size());
      pass.resize(1);
    }
  if (expr.kind == Kind::Call && expr.text == "pooled_cross_entropy")
    for (std::vector<SequenceValue> &pass : values) {
      double sum = 0, count = 0;
      for (const SequenceValue &own : pass) {
        sum += own.data[0];
        count += own.data[1];
      }
      pass.resize(1);
      pass[0].features = 1;
      pass[0].data = {sum / std::max(1.0, count)};
    }
  for (size_t n = 0; n < passes.size() && isOfRestarts(expr); ++n)
    values[n] = ofRestarts(table, expr, output.scope, values[n], passes[n]);
  auto shapeIs = [&](const std::string &axis, int64_t wanted, int64_t got) {
    if (wanted == got)
      return true;
    result.message = "expected " + std::to_string(wanted) + " along " + axis + ", but got " + std::to_string(got);
    return false;
  };
  int64_t features = 1;
  for (size_t i = 0; i < expected.layout.size(); ++i)
    if (expected.layout[i].letter == 'F')
      features *= expected.shape[i];
  const SequenceValue &sample = values.at(0).at(0);
  // A tensor without N (B) does not depend on the run (sequence): that of the first is compared.
  int64_t runsWanted = expected.size('N') < 0 ? int64_t(values.size()) : expected.size('N');
  int64_t batchWanted = expected.size('B') < 0 ? int64_t(values[0].size()) : expected.size('B');
  int64_t stepsWanted = std::max(expected.size('T'), expected.size('X'));
  if (!shapeIs("N", runsWanted, int64_t(values.size())) || !shapeIs("B", batchWanted, int64_t(values[0].size())) ||
      (!sample.padded && !shapeIs("T", stepsWanted < 0 ? 1 : stepsWanted, sample.steps)) ||
      !shapeIs("the features", features, sample.features))
    return result;
  int64_t most = 0, all = 0; // rows of the longest sequence, and of all
  for (const SequenceValue &value : values[0]) {
    most = std::max(most, value.rows);
    all += value.rows;
  }
  if ((expected.size('A') >= 0 && !shapeIs("A", expected.size('A'), most)) || (expected.size('M') >= 0 && !shapeIs("M", expected.size('M'), all)))
    return result;
  std::vector<int64_t> index(expected.shape.size(), 0);
  double worst = -1;
  for (size_t flat = 0; flat < expected.values.size(); ++flat) {
    int64_t n = 0, b = 0, step = 0, feature = 0, row = 0;
    bool positional = false;
    char letter = 0;
    int64_t along = 0;
    for (size_t i = 0; i < index.size(); ++i) {
      switch (expected.layout[i].letter) {
      case 'N':
        n = index[i];
        break;
      case 'B':
        b = index[i];
        break;
      case 'T':
      case 'X':
        step = index[i];
        break;
      case 'F':
        feature = feature * expected.shape[i] + index[i];
        break;
      default:
        positional = true;
        letter = expected.layout[i].letter;
        along = index[i];
      }
    }
    if (letter == 'J') { // sequences one after the other, then padding
      auto next = std::upper_bound(cuts.begin(), cuts.end(), along);
      b = next == cuts.end() ? 0 : next - cuts.begin() - 1;
      along = next == cuts.end() ? -1 : along - cuts[size_t(b)];
    }
    while (letter == 'M' && along >= values[size_t(n)][size_t(b)].rows)
      along -= values[size_t(n)][size_t(b++)].rows;
    const SequenceRun &run = passes[size_t(n)][size_t(b)];
    const SequenceValue &value = values[size_t(n)][size_t(b)];
    if (positional) {
      if ((letter == 'G' && value.byGenerated) || letter == 'A' || letter == 'M')
        row = along;
      else if (letter == 'R')
        row = run.again + along;
      else if (letter == 'P' && along >= run.prompt) // of a shorter prompt
        row = -1;
      else if (letter == 'S' || letter == 'P' || letter == 'J')
        row = along - run.pad + run.lead;
      else if (letter == 'W')
        row = along;
      else
        row = run.prompt - run.pad + along - (letter == 'D' ? 0 : 1);
    }
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < expected.shape[i])
        break;
      index[i] = 0;
    }
    if (positional && (row < 0 || (letter == 'A' && row >= value.rows) || (letter == 'S' && along >= run.end)))
      continue; // padding: not to be compared
    if (row >= value.rows && value.rows != 1) {
      result.message = "expected position " + std::to_string(row) + ", but got only " + std::to_string(value.rows);
      return result;
    }
    double wanted = expected.values[flat], got = value.at(row, step, feature);
    double error = std::fabs(got - wanted), limit = output.atol + output.rtol * std::fabs(wanted);
    ++result.compared;
    bool bad = !(error <= limit);
    if (!(error <= result.error))
      result.error = error;
    double excess = std::isnan(error) ? INFINITY : error - limit;
    if (bad && ++result.wrong && excess > worst) {
      worst = excess;
      result.message = "run " + std::to_string(n) + ", sequence " + std::to_string(b) + ", position " +
                       std::to_string(row) + ", iteration " + std::to_string(step) + ", feature " +
                       std::to_string(feature) + ": expected " + nlohmann::json(wanted).dump() + ", but got " +
                       nlohmann::json(got).dump();
    }
  }
  if (!result.compared && !expected.values.empty()) {
    result.message = "expected elements to compare, but got none";
    return result;
  }
  if (!result.wrong)
    result.status = "pass";
  return result;
}

} // namespace loopc::driver
