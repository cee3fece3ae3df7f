// Losses and counts of `out` expressions: of a sequence's logits and labels.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include <algorithm>
#include <cmath>

namespace loopc::driver {

namespace {

/// s(x) of the stable softmax of arXiv 2501.04697: x + 1 from 0 on, below 1 / (1 - x).
double stable(double x) { return x >= 0 ? x + 1 : 1 / (1 - x + 1e-30); }

SequenceValue number(double x) {
  SequenceValue result;
  result.rows = 1;
  result.data = {x};
  return result;
}

} // namespace

SequenceValue lossValue(const std::string &name, const SequenceValue &a, const SequenceValue &b) {
  if (name == "bce") { // of a logit
    double x = a.at(0, 0, 0);
    return number(std::max(x, 0.0) - x * b.at(0, 0, 0) + std::log1p(std::exp(-std::fabs(x))));
  }
  if (name == "agrees")
    return number((a.at(0, 0, 0) >= 0) == (b.at(0, 0, 0) != 0));
  double loss = 0;
  int64_t labelled = 0, right = 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    int64_t label = int64_t(b.at(row, 0, 0)), best = 0;
    if (label < 0 || label >= a.features)
      continue;
    double sum = 0;
    for (int64_t f = 0; f < a.features; ++f) {
      sum += stable(a.at(row, 0, f));
      best = a.at(row, 0, f) > a.at(row, 0, best) ? f : best;
    }
    loss += std::log(sum) - std::log(stable(a.at(row, 0, label)));
    right += best == label;
    ++labelled;
  }
  double count = double(std::max<int64_t>(1, labelled));
  return number(name == "stablemax_loss" ? loss / count
                : name == "accuracy"     ? double(right) / count
                                         : right == labelled);
}

} // namespace loopc::driver
