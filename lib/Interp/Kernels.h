// The three rules of the interpreter that take nearly all of its time: linear, attention of one head, normalisation.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_KERNELS_H
#define LOOPC_LIB_INTERP_KERNELS_H

#include <cstdint>
#include <memory>
#include <vector>

namespace loopc::interp {

/// Outputs of a packed weight that are computed side by side.
inline constexpr int64_t panelWidth = 32;

/// A weight [outputs, inputs] as panels [ceil(outputs / 32)][inputs][32], zero where there is no output.
template <typename T> struct Packed {
  int64_t outputs = 0, inputs = 0;
  std::vector<T> panels;
};
template <typename T, typename S> std::shared_ptr<Packed<T>> pack(const S *weight, int64_t outputs, int64_t inputs);

/// y[r][o] = chain of fused multiply-adds over ascending k from +0, the same for any number of rows. x is [rows,
/// inputs], y [rows, outputs].
void linear(const float *x, int64_t rows, const Packed<float> &weight, float *y);
void linear(const double *x, int64_t rows, const Packed<double> &weight, double *y);

/// One head of one token: scores q·k * scale (chain over ascending features), c * tanh(score / c) if softcap c > 0,
/// softmax over the keys in ascending order, weighted sum of the values in the same order; then, if asked for, the
/// logarithm of the sum of the exponentials. `least`: keys whose q·k is below it are not seen.
struct AttendShape {
  int64_t dim = 0, valueDim = 0;
  double scale = 1, softcap = 0;
  bool logSum = false;
};
void attendHead(const AttendShape &shape, const float *q, const std::vector<const float *> &keys,
                const std::vector<const float *> &values, std::vector<float> &scores, float *out,
                const float *least = nullptr);
void attendHead(const AttendShape &shape, const double *q, const std::vector<const double *> &keys,
                const std::vector<const double *> &values, std::vector<double> &scores, double *out,
                const double *least = nullptr);

/// Sum of x[i]^2, or of x[i]: 32 neighbours ascending, then these sums ascending.
template <typename T> T panelSum(const T *x, int64_t count, bool squares);

/// The nearest bf16 or f16 number, ties to even.
template <typename T> T roundToBF16(T value);
template <typename T> T roundToF16(T value);

} // namespace loopc::interp

#endif
