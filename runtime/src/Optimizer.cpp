// The rules of the optimizers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Optimizer.h"
#include <algorithm>
#include <cmath>

namespace loopc::rt {

std::optional<OptimizerKind> optimizerNamed(std::string_view name) {
#define LOOPC_OPTIMIZER(NAME)                                                                                          \
  if (name == #NAME)                                                                                                   \
    return OptimizerKind::NAME;
#include "loopc/runtime/Optimizers.def"
  return std::nullopt;
}

double *OptimizerSettings::named(std::string_view name) {
#define LOOPC_OPTIMIZER_SETTING(NAME, VALUE)                                                                           \
  if (name == #NAME)                                                                                                   \
    return &NAME;
#include "loopc/runtime/Optimizers.def"
  return nullptr;
}

double clipFactor(double norm, double limit) { return std::min(1.0, limit / (norm + 1e-6)); }

namespace {

template <typename T> struct Step {
  const OptimizerSettings &set;
  int64_t rows, columns;
  T *w;
  const T *g;
  OptimizerState<T> &state;
  int64_t size = rows * columns;
  T beta1 = T(set.beta1), beta2 = T(set.beta2 < 0 ? 0.999 : set.beta2), lr = T(set.lr * set.rate);

  T correction(double beta) const { return T(1 - std::pow(beta, double(state.steps))); }

  void moments() {
    state.first.resize(size_t(size));
    state.second.resize(size_t(size));
    T *m = state.first.data(), *v = state.second.data();
    for (int64_t i = 0; i < size; ++i) {
      m[i] += (T(1) - beta1) * (g[i] - m[i]);
      v[i] += (T(1) - beta2) * (g[i] * g[i] - v[i]);
    }
  }

  void adamw() {
    moments();
    const T *m = state.first.data(), *v = state.second.data();
    T keep = T(1) - lr * T(set.decay), rate = lr / correction(set.beta1), second = correction(double(beta2));
    for (int64_t i = 0; i < size; ++i)
      w[i] = w[i] * keep - rate * m[i] / (std::sqrt(v[i] / second) + T(set.eps));
  }

  void arcTangents(T keep, T rate) {
    const T *m = state.first.data(), *v = state.second.data();
    T second = std::sqrt(correction(double(beta2)));
    for (int64_t i = 0; i < size; ++i)
      w[i] = w[i] * keep - rate * std::atan2(m[i], std::sqrt(v[i]) / second);
  }

  void adamAtan2() {
    moments();
    arcTangents(T(1) - lr * T(set.decay), lr / correction(set.beta1));
  }

  void ellisAdam() {
    if (state.steps == 1) {
      state.first.assign(g, g + size);
      state.second.resize(size_t(size));
      std::transform(g, g + size, state.second.begin(), [](T x) { return x * x; });
    }
    moments();
    double ratio = 0;
    for (int64_t i = 0; i < size; ++i) {
      T &v = state.second[size_t(i)];
      v = std::max(v, T(set.eps * set.eps));
      ratio += double(g[i]) * double(g[i]) / double(v);
    }
    double bound = std::max(1.0, std::sqrt(ratio / double(size)));
    arcTangents(T(1 - set.rate * set.decay), lr / T(bound) / correction(set.beta1)); // decay is independent of lr
  }

  static double norm(const T *x, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i)
      sum += double(x[i]) * double(x[i]);
    return std::sqrt(sum);
  }

  /// x = the momentum with singular values near 1: five steps of the polar express (arXiv 2505.16932), or of the same
  /// polynomial each.
  std::vector<T> orthogonal() {
    static constexpr double quintic[3] = {3.4445, -4.7750, 2.0315};
    static constexpr double express[][3] = {{8.156554524902461, -22.48329292557795, 15.878769915207462},
                                            {4.042929935166739, -2.808917465908714, 0.5000178451051316},
                                            {3.8916678022926607, -2.772484153217685, 0.5060648178503393},
                                            {3.285753657755655, -2.3681294933425376, 0.46449024233003106},
                                            {2.3465413258596377, -1.7097828382687081, 0.42323551169305323}};
    state.first.resize(size_t(size));
    std::vector<T> x(static_cast<size_t>(size));
    T keep = T(set.momentum);
    for (int64_t i = 0; i < size; ++i) {
      T &m = state.first[size_t(i)];
      m += (T(1) - keep) * (g[i] - m);
      x[size_t(i)] = g[i] + keep * (m - g[i]);
    }
    double scale = set.quintic != 0 ? norm(x.data(), size) + 1e-7 : 1.02 * norm(x.data(), size) + 1e-6;
    for (T &value : x)
      value = T(double(value) / scale);
    // The smaller side is that of the Gram matrix; a tall matrix is turned.
    bool tall = rows > columns;
    int64_t n = std::min(rows, columns), k = std::max(rows, columns);
    auto turn = [&](const std::vector<T> &from, int64_t height, int64_t width) {
      std::vector<T> to(from.size());
      for (int64_t i = 0; i < height; ++i)
        for (int64_t j = 0; j < width; ++j)
          to[size_t(j * height + i)] = from[size_t(i * width + j)];
      return to;
    };
    auto multiply = [](const std::vector<T> &a, const std::vector<T> &b, int64_t height, int64_t inner, int64_t width) {
      std::vector<T> c(static_cast<size_t>(height * width));
      for (int64_t i = 0; i < height; ++i)
        for (int64_t p = 0; p < inner; ++p)
          for (int64_t j = 0; j < width; ++j)
            c[size_t(i * width + j)] += a[size_t(i * inner + p)] * b[size_t(p * width + j)];
      return c;
    };
    if (tall)
      x = turn(x, rows, columns);
    for (const auto &step : express) {
      const auto &[a, b, c] = set.quintic != 0 ? quintic : step;
      std::vector<T> gram = multiply(x, turn(x, n, k), n, k, n), square = multiply(gram, gram, n, n, n);
      for (size_t i = 0; i < gram.size(); ++i)
        gram[i] = T(b) * gram[i] + T(c) * square[i];
      std::vector<T> next = multiply(gram, x, n, n, k);
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = T(a) * x[i] + next[i];
    }
    return tall ? turn(x, columns, rows) : x;
  }

  /// Every row (of a wide matrix every column) by the root of its mean square over the steps, with the norm of before.
  void even(std::vector<T> &x) {
    bool byRow = rows >= columns;
    int64_t lines = byRow ? rows : columns, length = byRow ? columns : rows;
    state.second.resize(size_t(lines));
    std::vector<T> mean(static_cast<size_t>(lines)), scale(static_cast<size_t>(lines));
    for (int64_t i = 0; i < size; ++i)
      mean[size_t(byRow ? i / columns : i % columns)] += x[size_t(i)] * x[size_t(i)] / T(length);
    double before = 0, after = 0;
    for (size_t i = 0; i < mean.size(); ++i) {
      state.second[i] += (T(1) - beta2) * (mean[i] - state.second[i]);
      scale[i] = T(1) / std::sqrt(std::max(state.second[i], T(1e-10)));
      before += double(mean[i]) * double(length);
      after += double(mean[i]) * double(length) * double(scale[i]) * double(scale[i]);
    }
    T all = T(std::sqrt(before) / std::max(std::sqrt(after), 1e-10));
    for (int64_t i = 0; i < size; ++i)
      x[size_t(i)] *= scale[size_t(byRow ? i / columns : i % columns)] * all;
  }

  void muon() {
    std::vector<T> x = orthogonal();
    if (set.beta2 >= 0)
      even(x);
    T rate = lr * T(set.aspect != 0 ? std::sqrt(std::max(1.0, double(rows) / double(columns))) : 1.0);
    for (int64_t i = 0; i < size; ++i) {
      T decay = set.cautious != 0 && x[size_t(i)] * w[i] < T(0) ? T(0) : T(set.decay);
      w[i] -= rate * x[size_t(i)] + rate * decay * w[i];
    }
  }

  void muonh() {
    if (state.steps == 1)
      state.norm = norm(w, size);
    std::vector<T> x = orthogonal();
    double scale = state.norm / std::max(norm(x.data(), size), 1e-10);
    for (int64_t i = 0; i < size; ++i)
      w[i] -= lr * T(double(x[size_t(i)]) * scale);
    scale = state.norm / std::max(norm(w, size), 1e-10);
    for (int64_t i = 0; i < size; ++i)
      w[i] = T(double(w[i]) * scale);
  }

  void signSgd() {
    for (int64_t i = 0; i < size; ++i)
      w[i] = w[i] * (T(1) - lr * T(set.decay)) - lr * T((g[i] > T(0)) - (g[i] < T(0)));
  }
};

} // namespace

template <typename T>
void optimize(OptimizerKind kind, const OptimizerSettings &settings, int64_t rows, int64_t columns, T *weight,
              const T *gradient, OptimizerState<T> &state) {
  ++state.steps;
  Step<T> step{settings, rows, columns, weight, gradient, state};
  switch (kind) {
  case OptimizerKind::adamw:
    return step.adamw();
  case OptimizerKind::adam_atan2:
    return step.adamAtan2();
  case OptimizerKind::ellis_adam:
    return step.ellisAdam();
  case OptimizerKind::muon:
    return step.muon();
  case OptimizerKind::muonh:
    return step.muonh();
  case OptimizerKind::sign_sgd:
    return step.signSgd();
  }
}

template void optimize<float>(OptimizerKind, const OptimizerSettings &, int64_t, int64_t, float *, const float *,
                              OptimizerState<float> &);
template void optimize<double>(OptimizerKind, const OptimizerSettings &, int64_t, int64_t, double *, const double *,
                               OptimizerState<double> &);

} // namespace loopc::rt
