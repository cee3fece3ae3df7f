// Linear, attention of one head, sums and roundings of the interpreter.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Kernels.h"

#include "llvm/ADT/APFloat.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

// Every fused multiply-add is written as one, on every machine.
#pragma clang fp contract(off)

// The same arithmetic with the widest registers there are. An fma is exact in software too, so bits do not differ.
#if defined(__x86_64__) && defined(__clang__)
#define LOOPC_WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOOPC_WIDE
#endif
#define LOOPC_INLINE inline __attribute__((always_inline))

namespace loopc::interp {

template <typename T, typename S> std::shared_ptr<Packed<T>> pack(const S *weight, int64_t outputs, int64_t inputs) {
  auto packed = std::make_shared<Packed<T>>();
  packed->outputs = outputs;
  packed->inputs = inputs;
  int64_t panels = (outputs + panelWidth - 1) / panelWidth;
  packed->panels.assign(size_t(panels * inputs * panelWidth), T(0));
  for (int64_t o = 0; o < outputs; ++o) {
    T *column = packed->panels.data() + (o / panelWidth) * inputs * panelWidth + o % panelWidth;
    for (int64_t k = 0; k < inputs; ++k)
      column[k * panelWidth] = T(weight[o * inputs + k]);
  }
  return packed;
}
template std::shared_ptr<Packed<float>> pack<float, float>(const float *, int64_t, int64_t);
template std::shared_ptr<Packed<double>> pack<double, float>(const float *, int64_t, int64_t);
template std::shared_ptr<Packed<double>> pack<double, double>(const double *, int64_t, int64_t);

/// M rows of one panel.
template <typename T, int M>
static LOOPC_INLINE void linearBlock(const T *x, int64_t inputs, const T *panel, T *y, int64_t outputs,
                                     int64_t columns) {
  typedef T Lanes __attribute__((ext_vector_type(panelWidth)));
  typedef T Unaligned __attribute__((ext_vector_type(panelWidth), aligned(alignof(T))));
  Lanes sums[M];
  for (int m = 0; m < M; ++m)
    sums[m] = Lanes(T(0));
  for (int64_t k = 0; k < inputs; ++k) {
    Lanes w = *reinterpret_cast<const Unaligned *>(panel + k * panelWidth);
    for (int m = 0; m < M; ++m)
      sums[m] = __builtin_elementwise_fma(Lanes(x[m * inputs + k]), w, sums[m]);
  }
  for (int m = 0; m < M; ++m)
    for (int64_t i = 0; i < columns; ++i)
      y[m * outputs + i] = sums[m][i];
}

template <typename T> static LOOPC_INLINE void linearPanels(const T *x, int64_t rows, const Packed<T> &weight, T *y) {
  int64_t inputs = weight.inputs, outputs = weight.outputs;
  for (int64_t begin = 0; begin < outputs; begin += panelWidth) {
    const T *panel = weight.panels.data() + begin * inputs;
    int64_t columns = std::min(panelWidth, outputs - begin), r = 0;
    for (; r + 4 <= rows; r += 4)
      linearBlock<T, 4>(x + r * inputs, inputs, panel, y + r * outputs + begin, outputs, columns);
    for (; r < rows; ++r)
      linearBlock<T, 1>(x + r * inputs, inputs, panel, y + r * outputs + begin, outputs, columns);
  }
}
LOOPC_WIDE void linear(const float *x, int64_t rows, const Packed<float> &weight, float *y) {
  linearPanels(x, rows, weight, y);
}
LOOPC_WIDE void linear(const double *x, int64_t rows, const Packed<double> &weight, double *y) {
  linearPanels(x, rows, weight, y);
}

template <typename T>
static LOOPC_INLINE void attendChains(const AttendShape &shape, const T *q, const std::vector<const T *> &keys,
                                      std::vector<T> &scores) {
  for (size_t j = 0; j < keys.size(); ++j) {
    T sum(0);
    for (int64_t i = 0; i < shape.dim; ++i)
      sum = __builtin_elementwise_fma(q[i], keys[j][i], sum);
    scores[j] = sum;
  }
}
LOOPC_WIDE static void scoresOf(const AttendShape &shape, const float *q, const std::vector<const float *> &keys,
                                std::vector<float> &scores) {
  attendChains(shape, q, keys, scores);
}
LOOPC_WIDE static void scoresOf(const AttendShape &shape, const double *q, const std::vector<const double *> &keys,
                                std::vector<double> &scores) {
  attendChains(shape, q, keys, scores);
}

template <typename T>
static LOOPC_INLINE void addWeighted(const AttendShape &shape, const std::vector<T> &weights,
                                     const std::vector<const T *> &values, T *out) {
  for (size_t j = 0; j < values.size(); ++j)
    for (int64_t i = 0; i < shape.valueDim; ++i)
      out[i] = __builtin_elementwise_fma(weights[j], values[j][i], out[i]);
}
LOOPC_WIDE static void sumOf(const AttendShape &shape, const std::vector<float> &weights,
                             const std::vector<const float *> &values, float *out) {
  addWeighted(shape, weights, values, out);
}
LOOPC_WIDE static void sumOf(const AttendShape &shape, const std::vector<double> &weights,
                             const std::vector<const double *> &values, double *out) {
  addWeighted(shape, weights, values, out);
}

template <typename T>
static void attendAny(const AttendShape &shape, const T *q, const std::vector<const T *> &keys,
                      const std::vector<const T *> &values, std::vector<T> &scores, T *out, const T *least) {
  std::fill(out, out + shape.valueDim, T(0));
  if (shape.logSum)
    out[shape.valueDim] = -std::numeric_limits<T>::infinity();
  if (keys.empty())
    return;
  scores.resize(keys.size());
  scoresOf(shape, q, keys, scores);
  const T none = -std::numeric_limits<T>::infinity();
  T most = none;
  for (T &score : scores) {
    const bool kept = !least || score >= *least;
    score = score * T(shape.scale);
    if (shape.softcap > 0)
      score = T(shape.softcap) * std::tanh(score / T(shape.softcap));
    score = kept ? score : none;
    most = std::max(most, score);
  }
  if (least && most == none)
    return;
  T total(0);
  for (T &score : scores) {
    score = std::exp(score - most);
    total += score;
  }
  sumOf(shape, scores, values, out);
  for (int64_t i = 0; i < shape.valueDim; ++i)
    out[i] /= total;
  if (shape.logSum)
    out[shape.valueDim] = most + std::log(total);
}
void attendHead(const AttendShape &shape, const float *q, const std::vector<const float *> &keys,
                const std::vector<const float *> &values, std::vector<float> &scores, float *out, const float *least) {
  attendAny(shape, q, keys, values, scores, out, least);
}
void attendHead(const AttendShape &shape, const double *q, const std::vector<const double *> &keys,
                const std::vector<const double *> &values, std::vector<double> &scores, double *out,
                const double *least) {
  attendAny(shape, q, keys, values, scores, out, least);
}

template <typename T> T panelSum(const T *x, int64_t count, bool squares) {
  T total(0);
  for (int64_t begin = 0; begin < count; begin += panelWidth) {
    T sum(0);
    for (int64_t i = begin, end = std::min(begin + panelWidth, count); i < end; ++i)
      sum += squares ? x[i] * x[i] : x[i];
    total += sum;
  }
  return total;
}
template float panelSum(const float *, int64_t, bool);
template double panelSum(const double *, int64_t, bool);

template <typename T> static T roundTo(T value, const llvm::fltSemantics &semantics) {
  if (std::isnan(value))
    return value;
  llvm::APFloat number(value);
  bool inexact;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &inexact);
  number.convert(llvm::APFloat::IEEEdouble(), llvm::APFloat::rmNearestTiesToEven, &inexact);
  return T(number.convertToDouble());
}
template <typename T> T roundToBF16(T value) { return roundTo(value, llvm::APFloat::BFloat()); }
/// The usual case, once for every weight: the same result by adding half of the last bit that stays.
template <> float roundToBF16(float value) {
  if (std::isnan(value))
    return value;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x7fffu + ((bits >> 16) & 1u);
  bits &= 0xffff0000u;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}
template <typename T> T roundToF16(T value) { return roundTo(value, llvm::APFloat::IEEEhalf()); }
template double roundToBF16(double);
template float roundToF16(float);
template double roundToF16(double);

} // namespace loopc::interp
