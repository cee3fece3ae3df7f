// Rules of reverse mode in SOURCE: rewound loops, sums of gradients, attention backwards.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SourceMachine.h"
#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {

// All states between iterations are kept; what else an iteration computes is computed again.
template <typename T> LogicalResult SourceMachine<T>::evalRewind(RewindOp op) {
  Block &advance = op.getAdvance().front(), &reverse = op.getReverse().front();
  size_t count = op.getStates().size();
  std::vector<uint8_t> entered = this->active, runs(tokens.size(), 0);
  std::vector<int64_t> first(tokens.size(), 0), limit(tokens.size(), 0);
  int64_t most = 0;
  for (size_t r = 0; r < tokens.size(); ++r) {
    const SequenceConfig &config = tokens[r].sequence->config;
    limit[r] = op.getLayers() ? int64_t(*op.getLayers()) : countOf(config, *op.getCount());
    if (op.getWindow() && config.window >= 0)
      first[r] = std::max<int64_t>(0, limit[r] - config.window);
    most = std::max(most, limit[r]);
  }
  auto run = [&](Block &body, int64_t t, ArrayRef<V> states, ArrayRef<V> adjoints) {
    this->set(body.getArgument(0), V::scalar(t));
    for (size_t i = 0; i < count; ++i) {
      this->set(body.getArgument(i + 1), states[i]);
      if (!adjoints.empty())
        this->set(body.getArgument(count + i + 1), adjoints[i]);
    }
    this->active = runs;
    ++rewinding;
    LogicalResult done = this->runBlock(body);
    --rewinding;
    this->active = entered;
    return done;
  };
  auto yields = [](Block &body) { return cast<YieldOp>(body.getTerminator()).getValues(); };

  SmallVector<V> states, adjoints, sums;
  for (Value state : op.getStates())
    states.push_back(this->spread(this->get(state)));
  for (Value adjoint : op.getAdjoints())
    adjoints.push_back(this->spread(this->get(adjoint)));
  for (Value sum : op.getSums())
    sums.push_back(this->make(sum, false));
  std::vector<SmallVector<V>> kept;
  for (int64_t t = 0; t < most; ++t) {
    kept.push_back(states);
    for (size_t r = 0; r < tokens.size(); ++r)
      runs[r] = entered[r] && t < limit[r];
    if (t + 1 == most)
      break;
    if (failed(run(advance, t, states, {})))
      return failure();
    for (auto [state, value] : llvm::zip(states, yields(advance)))
      state = this->merge(state, this->get(value), runs);
  }
  for (int64_t t = most - 1; t >= 0; --t) {
    for (size_t r = 0; r < tokens.size(); ++r)
      runs[r] = entered[r] && t < limit[r] && t >= first[r];
    if (llvm::none_of(runs, [](uint8_t on) { return on; }))
      continue;
    if (failed(run(reverse, t, kept[size_t(t)], adjoints)))
      return failure();
    for (auto [adjoint, value] : llvm::zip(adjoints, yields(reverse)))
      adjoint = this->merge(adjoint, this->get(value), runs);
    for (auto [sum, value] : llvm::zip(sums, yields(reverse).drop_front(count))) {
      V term = this->spread(this->get(value));
      for (size_t r = 0; r < tokens.size(); ++r)
        for (int64_t i = 0; runs[r] && i < sum.width; ++i)
          sum.realRow(r)[i] += term.realRow(r)[i];
    }
  }
  for (V &adjoint : adjoints) {
    V passed = this->spread(adjoint);
    passed.real = std::make_shared<std::vector<T>>(*passed.real);
    for (size_t r = 0; r < tokens.size(); ++r)
      if (first[r] > 0)
        std::fill_n(passed.realRow(r), passed.width, T(0));
    adjoint = passed;
  }
  for (auto [result, value] : llvm::zip(op.getResults(), adjoints))
    this->set(result, value);
  for (auto [result, value] : llvm::zip(op.getSums(), sums))
    this->set(result, value);
  return success();
}

template <typename T> LogicalResult SourceMachine<T>::evalAccumulate(AccumulateOp op) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(op, op.getWeightAttr());
  int64_t table = 0;
  for (auto [index, size] : llvm::zip(op.getIndex(), weight.getTables().value_or(ArrayRef<int64_t>())))
    table = table * size + (*this->get(index).whole)[0];
  while (weight.getTie()) // one sum for all names of a value
    weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(op, weight.getTieAttr());
  std::vector<T> &sum = gradients[{weight, table}];
  sum.resize(size_t(widthOf(weight.getType())));
  V value = this->spread(this->get(op.getValue())), outer, row;
  if (op.getOuter())
    outer = this->spread(this->get(op.getOuter()));
  if (op.getRow())
    row = this->spread(this->get(op.getRow()));
  for (size_t r = 0; r < tokens.size(); ++r) {
    if (!this->active[r])
      continue;
    const T *d = value.realRow(r);
    T *to = sum.data() + (op.getRow() ? *row.wholeRow(r) * value.width : 0);
    for (int64_t i = 0; i < value.width; ++i)
      if (op.getOuter())
        for (int64_t j = 0; j < outer.width; ++j)
          to[i * outer.width + j] += d[i] * outer.realRow(r)[j];
      else
        to[i] += d[i];
  }
  return success();
}

template <typename T> template <typename Op> std::vector<size_t> SourceMachine<T>::seen(Op op, size_t r) {
  const SourceRow<T> &row = tokens[r];
  int64_t before = op.getBefore().value_or(0), all = int64_t(row.sequence->tokens.size()),
          end = row.position + 1 - before;
  if (op.getMask())
    end = op.getMask() == Mask::whole ? all : std::max(end, std::min<int64_t>(row.sequence->config.prefix, all));
  int64_t begin = op.getWindow() ? row.position + 1 - before - int64_t(*op.getWindow()) : 0;
  std::vector<size_t> result;
  for (size_t o = 0; o < tokens.size(); ++o)
    if (this->active[o] && tokens[o].sequence == row.sequence && tokens[o].position >= begin &&
        tokens[o].position < end)
      result.push_back(o);
  return result;
}

template <typename T> LogicalResult SourceMachine<T>::attendTogether(AttendOp op) {
  if (op.getFirst() || op.getUpto())
    return this->fail(op, "expected attention to keys of the same iteration in training, but got another");
  ArrayRef<int64_t> qShape = getFeatureShape(op.getQ().getType()), vShape = getFeatureShape(op.getV().getType());
  int64_t shared = qShape[0] / vShape[0], width = getFeatureShape(op.getType())[1];
  AttendShape shape{qShape[1], vShape[1], op.getScale().convertToDouble(),
                    op.getSoftcap() ? op.getSoftcap()->convertToDouble() : 0.0, op.getLogSum()};
  V q = this->spread(this->get(op.getQ())), k = this->spread(this->get(op.getK())),
    v = this->spread(this->get(op.getV())), least = op.getLeast() ? this->spread(this->get(op.getLeast())) : V();
  V out = this->make(op.getResult(), false);
  std::vector<T> scores;
  for (size_t r = 0; r < tokens.size(); ++r) {
    std::vector<size_t> others = this->active[r] ? seen(op, r) : std::vector<size_t>();
    for (int64_t head = 0; !others.empty() && head < qShape[0]; ++head) {
      std::vector<const T *> keys, values;
      for (size_t o : others) {
        keys.push_back(k.realRow(o) + head / shared * shape.dim);
        values.push_back(v.realRow(o) + head / shared * shape.valueDim);
      }
      attendHead(shape, q.realRow(r) + head * shape.dim, keys, values, scores, out.realRow(r) + head * width,
                 op.getLeast() ? least.realRow(r) + head : nullptr);
    }
  }
  this->set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult SourceMachine<T>::evalAttendAdjoint(AttendAdjointOp op) {
  ArrayRef<int64_t> qShape = getFeatureShape(op.getQ().getType()), vShape = getFeatureShape(op.getV().getType());
  int64_t heads = qShape[0], shared = heads / vShape[0], dim = qShape[1], valueDim = vShape[1];
  T scale = T(op.getScale().convertToDouble()), cap = op.getSoftcap() ? T(op.getSoftcap()->convertToDouble()) : T(0);
  V q = this->spread(this->get(op.getQ())), k = this->spread(this->get(op.getK())),
    v = this->spread(this->get(op.getV())), d = this->spread(this->get(op.getAdjoint()));
  V dq = this->make(op.getDq(), false), dk = this->make(op.getDk(), false), dv = this->make(op.getDv(), false);
  auto dot = [](const T *a, const T *b, int64_t n) {
    T sum(0);
    for (int64_t i = 0; i < n; ++i)
      sum += a[i] * b[i];
    return sum;
  };
  for (size_t r = 0; r < tokens.size(); ++r) {
    std::vector<size_t> others = this->active[r] ? seen(op, r) : std::vector<size_t>();
    std::vector<T> scores(others.size()), p(others.size()), dp(others.size());
    for (int64_t head = 0; !others.empty() && head < heads; ++head) {
      int64_t key = head / shared * dim, value = head / shared * valueDim;
      const T *query = q.realRow(r) + head * dim, *given = d.realRow(r) + head * valueDim;
      for (size_t n = 0; n < others.size(); ++n) {
        scores[n] = dot(query, k.realRow(others[n]) + key, dim) * scale;
        if (cap > T(0))
          scores[n] = cap * std::tanh(scores[n] / cap);
      }
      T most = *std::max_element(scores.begin(), scores.end()), total(0), mean(0);
      for (size_t n = 0; n < others.size(); ++n)
        total += p[n] = std::exp(scores[n] - most);
      for (size_t n = 0; n < others.size(); ++n) {
        p[n] /= total;
        dp[n] = dot(given, v.realRow(others[n]) + value, valueDim);
        mean += p[n] * dp[n];
      }
      for (size_t n = 0; n < others.size(); ++n) {
        T ds = p[n] * (dp[n] - mean);
        if (cap > T(0))
          ds *= T(1) - scores[n] / cap * (scores[n] / cap);
        ds *= scale;
        for (int64_t i = 0; i < dim; ++i) {
          dq.realRow(r)[head * dim + i] += ds * k.realRow(others[n])[key + i];
          dk.realRow(others[n])[key + i] += ds * query[i];
        }
        for (int64_t i = 0; i < valueDim; ++i)
          dv.realRow(others[n])[value + i] += p[n] * given[i];
      }
    }
  }
  this->set(op.getDq(), dq);
  this->set(op.getDk(), dk);
  this->set(op.getDv(), dv);
  return success();
}

template class SourceMachine<float>;
template class SourceMachine<double>;

} // namespace loopc::interp
