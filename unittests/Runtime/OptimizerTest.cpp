// Optimizers: what a step must do whatever the numbers are.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Optimizer.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace loopc::rt;

namespace {

std::vector<double> wave(int64_t count, double pace) {
  std::vector<double> result(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    result[size_t(i)] = std::sin(pace * double(i + 1)) + 0.1;
  return result;
}

double dot(const std::vector<double> &a, const std::vector<double> &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

TEST(Optimizer, Names) {
  EXPECT_EQ(optimizerNamed("muonh"), OptimizerKind::muonh);
  EXPECT_FALSE(optimizerNamed("muon_h"));
  OptimizerSettings settings;
  ASSERT_TRUE(settings.named("beta1"));
  *settings.named("beta1") = 0.5;
  EXPECT_EQ(settings.beta1, 0.5);
  EXPECT_FALSE(settings.named("betas"));
}

// Of the first step the moments cancel: it is lr times the sign of the gradient, whatever its size.
TEST(Optimizer, FirstStepOfAdamw) {
  OptimizerSettings settings;
  settings.lr = 0.5;
  settings.rate = 0.5;
  settings.decay = 0.2;
  settings.eps = 0;
  std::vector<double> w = {1, -2, 3}, g = {7, -1e-3, 0.25};
  OptimizerState<double> state;
  optimize(OptimizerKind::adamw, settings, 1, 3, w.data(), g.data(), state);
  const double keep = 1 - 0.25 * 0.2;
  EXPECT_NEAR(w[0], 1 * keep - 0.25, 1e-12);
  EXPECT_NEAR(w[1], -2 * keep + 0.25, 1e-12);
  EXPECT_NEAR(w[2], 3 * keep - 0.25, 1e-12);
}

// With moments m, v after two steps, by hand.
TEST(Optimizer, SecondStepOfAdamAtan2) {
  OptimizerSettings settings;
  settings.lr = 0.1;
  settings.beta1 = 0.9;
  settings.beta2 = 0.99;
  double w = 1, g1 = 2, g2 = -1;
  OptimizerState<double> state;
  optimize(OptimizerKind::adam_atan2, settings, 1, 1, &w, &g1, state);
  double after = 1 - 0.1 / 0.1 * std::atan2(0.2, 2.0);
  EXPECT_NEAR(w, after, 1e-12);
  optimize(OptimizerKind::adam_atan2, settings, 1, 1, &w, &g2, state);
  double m = 0.9 * 0.2 - 0.1, v = 0.99 * 0.04 + 0.01, seen = 1 - 0.99 * 0.99;
  EXPECT_NEAR(w, after - 0.1 / (1 - 0.81) * std::atan2(m, std::sqrt(v) / std::sqrt(seen)), 1e-12);
}

// The step of muon has singular values near 1, of tall and of wide matrices; a turned matrix gets the turned step.
TEST(Optimizer, MuonIsOrthogonal) {
  OptimizerSettings settings;
  settings.lr = 1;
  const int64_t rows = 3, columns = 5;
  std::vector<double> wide(15), g = wave(15, 1.7), tall(15), turned(15);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      turned[size_t(j * rows + i)] = g[size_t(i * columns + j)];
  OptimizerState<double> one, other;
  optimize(OptimizerKind::muon, settings, rows, columns, wide.data(), g.data(), one);
  optimize(OptimizerKind::muon, settings, columns, rows, tall.data(), turned.data(), other);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < rows; ++k) {
      double sum = 0;
      for (int64_t j = 0; j < columns; ++j)
        sum += wide[size_t(i * columns + j)] * wide[size_t(k * columns + j)];
      EXPECT_NEAR(sum, i == k ? 1 : 0, 0.35);
    }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      EXPECT_NEAR(wide[size_t(i * columns + j)], tall[size_t(j * rows + i)], 1e-9);
}

TEST(Optimizer, MuonhKeepsTheNorm) {
  OptimizerSettings settings;
  settings.lr = 0.3;
  std::vector<double> w = wave(12, 0.9), g = wave(12, 2.3);
  double before = dot(w, w);
  std::vector<double> first = w;
  OptimizerState<double> state;
  for (int step = 0; step < 3; ++step)
    optimize(OptimizerKind::muonh, settings, 4, 3, w.data(), g.data(), state);
  EXPECT_NEAR(dot(w, w), before, 1e-9);
  EXPECT_LT(dot(first, w), 0.999 * before);
}

// Where the update would let a weight grow, cautious decay takes nothing.
TEST(Optimizer, CautiousDecay) {
  OptimizerSettings settings;
  settings.lr = 0.1;
  settings.decay = 0.5;
  std::vector<double> plain = {1, -1, 1, -1}, cautious = plain, none = plain, g = {1, 1, -1, 3};
  OptimizerState<double> a, b, c;
  optimize(OptimizerKind::muon, settings, 2, 2, plain.data(), g.data(), a);
  settings.cautious = 1;
  optimize(OptimizerKind::muon, settings, 2, 2, cautious.data(), g.data(), b);
  settings.decay = 0;
  optimize(OptimizerKind::muon, settings, 2, 2, none.data(), g.data(), c);
  int kept = 0;
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(cautious[i] == plain[i] || cautious[i] == none[i]);
    kept += cautious[i] == none[i] && none[i] != plain[i];
  }
  EXPECT_GT(kept, 0);
  EXPECT_LT(kept, 4);
}

TEST(Optimizer, Clip) {
  EXPECT_EQ(clipFactor(0.5, 1), 1);
  EXPECT_NEAR(clipFactor(4, 1), 0.25, 1e-6);
}

} // namespace
