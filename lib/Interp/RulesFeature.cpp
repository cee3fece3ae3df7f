// Rules of the ops along feature axes: linear, norm, activations, softmax, sums, embed, rope, shapes.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"

#include <cmath>

#pragma clang fp contract(off)

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {
namespace {

/// f(input row, output row) for every row of a one-operand op on real numbers.
template <typename T, typename F> LogicalResult forRows(Machine<T> &m, Value input, Value result, F f) {
  const Val<T> &in = m.get(input);
  Val<T> out = m.make(result, in.uniform);
  for (int64_t r = 0; r < out.rows; ++r)
    f(static_cast<const T *>(in.realRow(r)), out.realRow(r));
  m.set(result, out);
  return success();
}

/// result[i] = operand[source[i]] in every row, for real and whole numbers.
template <typename T> void permute(Machine<T> &m, Value input, Value result, const std::vector<int64_t> &source) {
  const Val<T> &in = m.get(input);
  Val<T> out = m.make(result, in.uniform);
  for (int64_t r = 0; r < out.rows; ++r)
    for (size_t i = 0; i < source.size(); ++i)
      if (out.real)
        out.realRow(r)[i] = in.realRow(r)[source[i]];
      else
        out.wholeRow(r)[i] = in.wholeRow(r)[source[i]];
  m.set(result, out);
}

template <typename T> LogicalResult linearRule(Machine<T> &m, Operation *operation) {
  auto op = cast<LinearOp>(operation);
  const Val<T> &x = m.get(op.getInput()), &w = m.get(op.getWeight());
  auto type = cast<RankedTensorType>(op.getWeight().getType());
  if (!w.uniform)
    return m.fail(op, "expected a weight that does not vary over rows, but got " + Twine(w.rows) + " rows");
  std::shared_ptr<Packed<T>> packed;
  if (auto param = op.getWeight().template getDefiningOp<ParamOp>()) {
    auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(param, param.getWeightAttr());
    std::string why;
    if (!(packed = m.params.packed(weight, (*w.whole)[0], why)))
      return m.fail(op, why);
  } else {
    packed = pack<T>(w.real->data(), type.getRank() == 2 ? type.getShape()[0] : 1, type.getShape().back());
  }
  const Val<T> *bias = op.getBias() ? &m.get(op.getBias()) : nullptr;
  Val<T> y = m.make(op.getResult(), x.uniform && (!bias || bias->uniform));
  if (!y.uniform && x.uniform)
    linear(m.spread(x).real->data(), y.rows, *packed, y.real->data());
  else
    linear(x.real->data(), y.rows, *packed, y.real->data());
  for (int64_t r = 0; bias && r < y.rows; ++r)
    for (int64_t i = 0; i < y.width; ++i)
      y.realRow(r)[i] += bias->realRow(r)[i];
  m.set(op.getResult(), y);
  return success();
}

template <typename T> LogicalResult normRule(Machine<T> &m, Operation *operation) {
  auto op = cast<NormOp>(operation);
  const Val<T> *gain = op.getGain() ? &m.get(op.getGain()) : nullptr;
  if (gain && !gain->uniform)
    return m.fail(op, "expected a gain that does not vary over rows, but got " + Twine(gain->rows) + " rows");
  int64_t last = getFeatureShape(op.getInput().getType()).back();
  T eps = T(op.getEps().convertToDouble());
  return forRows(m, op.getInput(), op.getResult(), [&](const T *x, T *y) {
    for (int64_t begin = 0, width = widthOf(op.getResult().getType()); begin < width; begin += last) {
      const T *a = x + begin;
      T *b = y + begin;
      if (op.getKind() == NormKind::layer) {
        T mean = panelSum(a, last, false) / T(last);
        for (int64_t i = 0; i < last; ++i)
          b[i] = a[i] - mean;
        a = b;
      }
      T scale = T(1) / std::sqrt(panelSum(a, last, true) / T(last) + eps);
      for (int64_t i = 0; i < last; ++i) {
        b[i] = a[i] * scale;
        if (gain)
          b[i] *= (*gain->real)[(begin + i) % gain->width];
      }
    }
  });
}

template <typename T> T act(ActKind kind, T x) {
  switch (kind) {
  case ActKind::silu:
    return x / (T(1) + std::exp(-x));
  case ActKind::gelu:
    return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752440)));
  case ActKind::gelu_tanh:
    return T(0.5) * x * (T(1) + std::tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)));
  case ActKind::relu:
    return x > T(0) || std::isnan(x) ? x : T(0);
  case ActKind::sigmoid:
    return T(1) / (T(1) + std::exp(-x));
  case ActKind::softplus:
    return std::fmax(x, T(0)) + std::log1p(std::exp(-std::fabs(x)));
  case ActKind::tanh:
    return std::tanh(x);
  }
  return x;
}
template <typename T> LogicalResult actRule(Machine<T> &m, Operation *operation) {
  auto op = cast<ActOp>(operation);
  ActKind kind = op.getKind();
  int64_t width = widthOf(op.getResult().getType());
  return forRows(m, op.getInput(), op.getResult(), [&](const T *x, T *y) {
    for (int64_t i = 0; i < width; ++i)
      y[i] = act(kind, x[i]);
  });
}

template <typename T> LogicalResult softmaxRule(Machine<T> &m, Operation *operation) {
  auto op = cast<SoftmaxOp>(operation);
  int64_t width = widthOf(op.getResult().getType()), last = getFeatureShape(op.getInput().getType()).back();
  return forRows(m, op.getInput(), op.getResult(), [&](const T *x, T *y) {
    for (int64_t begin = 0; begin < width; begin += last) {
      T most = x[begin], total(0);
      for (int64_t i = 1; i < last; ++i)
        most = std::max(most, x[begin + i]);
      for (int64_t i = 0; i < last; ++i)
        total += y[begin + i] = std::exp(x[begin + i] - most);
      for (int64_t i = 0; i < last; ++i)
        y[begin + i] /= total;
    }
  });
}

template <typename N> N reduced(ReduceKind kind, const N *x, int64_t count, int64_t step) {
  if (count == 0)
    return N(0);
  N value = x[0];
  if (kind == ReduceKind::argmax) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; ++i)
      if (x[i * step] > x[best * step])
        best = i;
    return N(best);
  }
  for (int64_t i = 1; i < count; ++i) {
    N next = x[i * step];
    bool isNaN = next != next;
    if (kind == ReduceKind::max)
      value = next > value || isNaN ? next : value;
    else if (kind == ReduceKind::min)
      value = next < value || isNaN ? next : value;
    else
      value = value + next;
  }
  return kind == ReduceKind::mean ? value / N(count) : value;
}
template <typename T> LogicalResult reduceRule(Machine<T> &m, Operation *operation) {
  auto op = cast<ReduceOp>(operation);
  ArrayRef<int64_t> shape = getFeatureShape(op.getInput().getType());
  int64_t axis = op.getAxis(), count = shape[axis], inner = 1;
  for (int64_t size : shape.drop_front(axis + 1))
    inner *= size;
  const Val<T> &in = m.get(op.getInput());
  Val<T> out = m.make(op.getResult(), in.uniform);
  for (int64_t r = 0; r < out.rows; ++r)
    for (int64_t i = 0; i < out.width; ++i) {
      int64_t at = i / inner * count * inner + i % inner;
      if (out.real)
        out.realRow(r)[i] = reduced(op.getKind(), in.realRow(r) + at, count, inner);
      else
        out.wholeRow(r)[i] = reduced(op.getKind(), in.wholeRow(r) + at, count, inner);
    }
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult embedRule(Machine<T> &m, Operation *operation) {
  auto op = cast<EmbedOp>(operation);
  const Val<T> &id = m.get(op.getId()), &table = m.get(op.getTable());
  Val<T> out = m.make(op.getResult(), id.uniform);
  int64_t count = cast<RankedTensorType>(op.getTable().getType()).getShape()[0];
  for (int64_t r = 0; r < out.rows; ++r) {
    int64_t row = *id.wholeRow(r);
    if (row < 0 || row >= count)
      return m.fail(op, "expected an index below " + Twine(count) + ", but got " + Twine(row));
    std::copy_n(table.real->data() + row * out.width, out.width, out.realRow(r));
  }
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult ropeRule(Machine<T> &m, Operation *operation) {
  auto op = cast<RopeOp>(operation);
  const Val<T> in = m.spread(m.get(op.getInput()));
  int64_t dim = getFeatureShape(op.getInput().getType()).back(), half = dim / 2;
  std::vector<T> frequency(half), cosine(half), sine(half);
  T base = T(op.getBase().convertToDouble());
  for (int64_t i = 0; i < half; ++i)
    frequency[i] = T(1) / std::pow(base, T(2 * i) / T(dim));
  bool halves = op.getPairs() == Pairs::halves;
  Val<T> out = m.make(op.getResult(), false);
  std::vector<T> positions;
  if (op.getPlace()) {
    const Val<T> place = m.spread(m.get(op.getPlace()));
    for (int64_t r = 0; r < out.rows; ++r)
      positions.push_back(*place.realRow(r));
  } else {
    for (int64_t position : m.positions(op.getLanes()))
      positions.push_back(T(position));
  }
  for (int64_t r = 0; r < out.rows; ++r) {
    for (int64_t i = 0; i < half; ++i) {
      T angle = positions[r] * frequency[i];
      cosine[i] = std::cos(angle);
      sine[i] = op.getBackward() ? -std::sin(angle) : std::sin(angle);
      if (op.getTable() && op.getTable()->isBF16()) {
        cosine[i] = roundToBF16(cosine[i]);
        sine[i] = roundToBF16(sine[i]);
      }
    }
    for (int64_t begin = 0; begin < out.width; begin += dim) {
      const T *x = in.realRow(r) + begin;
      T *y = out.realRow(r) + begin;
      for (int64_t i = 0; i < half; ++i) {
        int64_t a = halves ? i : 2 * i, b = halves ? i + half : 2 * i + 1;
        y[a] = x[a] * cosine[i] - x[b] * sine[i];
        y[b] = x[b] * cosine[i] + x[a] * sine[i];
      }
      if (dim % 2)
        y[dim - 1] = x[dim - 1];
    }
  }
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult sameElements(Machine<T> &m, Operation *op) {
  m.set(op->getResult(0), m.get(op->getOperand(0)));
  return success();
}

template <typename T> LogicalResult sliceRule(Machine<T> &m, Operation *operation) {
  auto op = cast<SliceOp>(operation);
  ArrayRef<int64_t> in = getFeatureShape(op.getInput().getType()), out = getFeatureShape(op.getResult().getType());
  int64_t axis = op.getAxis(), inner = 1;
  for (int64_t size : in.drop_front(axis + 1))
    inner *= size;
  std::vector<int64_t> source(widthOf(op.getResult().getType()));
  for (size_t i = 0; i < source.size(); ++i) {
    int64_t piece = out[axis] * inner;
    source[i] = int64_t(i) / piece * in[axis] * inner + op.getBegin() * inner + int64_t(i) % piece;
  }
  permute(m, op.getInput(), op.getResult(), source);
  return success();
}

template <typename T> LogicalResult concatRule(Machine<T> &m, Operation *operation) {
  auto op = cast<ConcatOp>(operation);
  Val<T> out = m.make(op.getResult(), m.uniformOperands(op));
  int64_t last = getFeatureShape(op.getResult().getType()).back();
  for (int64_t r = 0; r < out.rows; ++r) {
    int64_t column = 0;
    for (Value input : op.getInputs()) {
      const Val<T> &in = m.get(input);
      int64_t size = getFeatureShape(input.getType()).back();
      for (int64_t i = 0; i < in.width; ++i) {
        int64_t at = i / size * last + column + i % size;
        if (out.real)
          out.realRow(r)[at] = in.realRow(r)[i];
        else
          out.wholeRow(r)[at] = in.wholeRow(r)[i];
      }
      column += size;
    }
  }
  m.set(op.getResult(), out);
  return success();
}

template <typename T> LogicalResult broadcastRule(Machine<T> &m, Operation *operation) {
  auto op = cast<BroadcastOp>(operation);
  ArrayRef<int64_t> in = getFeatureShape(op.getInput().getType()), out = getFeatureShape(op.getResult().getType());
  std::vector<int64_t> strides(out.size(), 0);
  int64_t stride = 1;
  for (size_t i = in.size(); i-- > 0; stride *= in[i])
    strides[op.getDims()[i]] = stride;
  std::vector<int64_t> source(widthOf(op.getResult().getType()));
  for (size_t i = 0; i < source.size(); ++i) {
    int64_t rest = i;
    for (size_t axis = out.size(); axis-- > 0; rest /= out[axis])
      source[i] += rest % out[axis] * strides[axis];
  }
  permute(m, op.getInput(), op.getResult(), source);
  return success();
}

} // namespace

template <typename T> void addFeatureRules(RuleTable<T> &table) {
  table["loop.linear"] = linearRule<T>;
  table["loop.norm"] = normRule<T>;
  table["loop.act"] = actRule<T>;
  table["loop.softmax"] = softmaxRule<T>;
  table["loop.reduce"] = reduceRule<T>;
  table["loop.embed"] = embedRule<T>;
  table["loop.rope"] = ropeRule<T>;
  table["tensor.from_elements"] = sameElements<T>;
  table["loop.slice"] = sliceRule<T>;
  table["loop.concat"] = concatRule<T>;
  table["loop.broadcast"] = broadcastRule<T>;
  table["loop.reshape"] = sameElements<T>;
  table["loop.stop_gradient"] = sameElements<T>;
  table["tensor.expand_shape"] = sameElements<T>;
  table["tensor.collapse_shape"] = sameElements<T>;
}

template void addFeatureRules(RuleTable<float> &);
template void addFeatureRules(RuleTable<double> &);

} // namespace loopc::interp
