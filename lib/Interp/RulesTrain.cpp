// Rules of the ops of training that look at nothing but their operands.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {
namespace {

template <typename T> LogicalResult oneHotRule(Machine<T> &m, Operation *operation) {
  auto op = cast<OneHotOp>(operation);
  const Val<T> &id = m.get(op.getId());
  Val<T> out = m.make(op.getResult(), id.uniform);
  for (int64_t r = 0; r < out.rows; ++r)
    if (int64_t at = *id.wholeRow(r); at >= 0 && at < out.width)
      out.realRow(r)[at] = T(1);
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult crossEntropyRule(Machine<T> &m, Operation *operation) {
  auto op = cast<CrossEntropyOp>(operation);
  const Val<T> z = m.spread(m.get(op.getLogits())), label = m.spread(m.get(op.getLabel()));
  Val<T> out = m.make(op.getResult(), false);
  for (int64_t r = 0; r < out.rows; ++r) {
    const T *x = z.realRow(r);
    int64_t at = *label.wholeRow(r);
    if (at < 0 || at >= z.width)
      continue;
    T most = *std::max_element(x, x + z.width), total(0);
    for (int64_t i = 0; i < z.width; ++i)
      total += std::exp(x[i] - most);
    *out.realRow(r) = most + std::log(total) - x[at];
  }
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult transposeRule(Machine<T> &m, Operation *operation) {
  auto op = cast<TransposeOp>(operation);
  ArrayRef<int64_t> shape = getFeatureShape(op.getInput().getType());
  const Val<T> &in = m.get(op.getInput());
  Val<T> out = m.make(op.getResult(), in.uniform);
  for (int64_t r = 0; r < out.rows; ++r)
    for (int64_t i = 0; i < shape[0]; ++i)
      for (int64_t j = 0; j < shape[1]; ++j)
        out.realRow(r)[j * shape[0] + i] = in.realRow(r)[i * shape[1] + j];
  m.set(op.getResult(), out);
  return success();
}

} // namespace

template <typename T> void addTrainRules(RuleTable<T> &table) {
  table["loop.one_hot"] = oneHotRule<T>;
  table["loop.cross_entropy"] = crossEntropyRule<T>;
  table["loop.transpose"] = transposeRule<T>;
}

template void addTrainRules(RuleTable<float> &);
template void addTrainRules(RuleTable<double> &);

} // namespace loopc::interp
