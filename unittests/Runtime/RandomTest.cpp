// Keyed random numbers: published vectors, laws, independence of cuts.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Random.h"
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <set>
#include <vector>

using namespace loopc::rt;

namespace {

// Known answers of the authors' distribution (Random123 1.14, kat_vectors, philox4x32 10).
TEST(Random, PhiloxKnownAnswers) {
  using Block = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, QuantileInvertsTheDistributionFunction) {
  for (double x = -6.5; x <= 6.5; x += 0.01)
    EXPECT_NEAR(normalQuantile(normalCdf(x)), x, x > 5 ? 1e-4 : 2e-6 * (1 + std::fabs(x))) << x;
  EXPECT_EQ(normalQuantile(0.5), 0);
}

TEST(Random, AnyCutGivesTheSameValues) {
  DrawKey key{7, nameHash("core.noise"), 3, 11, 2};
  for (Law::Kind kind : {Law::Normal, Law::TruncatedNormal, Law::Uniform, Law::Constant}) {
    Law law{.kind = kind};
    std::vector<float> whole(1000), parts(1000);
    keyedDraw(key, law, 5, whole);
    for (size_t at = 0, step = 1; at < parts.size(); at += step, step = step % 7 + 1)
      keyedDraw(key, law, 5 + at, std::span(parts).subspan(at, std::min(step, parts.size() - at)));
    EXPECT_EQ(whole, parts);
  }
}

TEST(Random, EveryPartOfTheKeyCounts) {
  DrawKey base{1, 2, 3, 4, 5};
  std::set<float> seen;
  auto first = [&](const DrawKey &key, uint64_t element) {
    float value;
    keyedDraw(key, {}, element, std::span(&value, 1));
    return value;
  };
  seen.insert(first(base, 0));
  for (uint64_t element : {uint64_t(1), uint64_t(4), uint64_t(1) << 34, uint64_t(1) << 40})
    seen.insert(first(base, element));
  for (DrawKey key : {DrawKey{9, 2, 3, 4, 5}, DrawKey{1, 9, 3, 4, 5}, DrawKey{1, 2, 9, 4, 5}, DrawKey{1, 2, 3, 9, 5},
                      DrawKey{1, 2, 3, 4, 9}, DrawKey{2, 1, 3, 4, 5}, DrawKey{1, 3, 2, 4, 5}, DrawKey{1, 2, 3, 5, 4}})
    seen.insert(first(key, 0));
  EXPECT_EQ(seen.size(), 13u);
}

TEST(Random, Laws) {
  constexpr size_t n = 200000;
  std::vector<float> x(n);
  auto moments = [&](const Law &law) {
    keyedDraw({42, nameHash("w"), 0, 0, 0}, law, 0, x);
    double mean = 0, square = 0;
    for (float v : x)
      mean += v;
    mean /= n;
    for (float v : x)
      square += (v - mean) * (v - mean);
    return std::pair(mean, std::sqrt(square / n));
  };
  auto [mean, std] = moments({.kind = Law::Normal, .mean = 2, .std = 0.5});
  EXPECT_NEAR(mean, 2, 0.005); // 4.5 standard errors
  EXPECT_NEAR(std, 0.5, 0.004);
  std::sort(x.begin(), x.end());
  for (double q : {0.01, 0.1, 0.5, 0.9, 0.99})
    EXPECT_NEAR(normalCdf((x[size_t(q * n)] - 2) / 0.5), q, 0.005);

  auto [tmean, tstd] = moments({.kind = Law::TruncatedNormal, .mean = 0, .std = 2, .cut = 1.5});
  EXPECT_NEAR(tmean, 0, 0.015);
  EXPECT_NEAR(tstd, 2 * 0.7426, 0.01); // sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1)) at c = 1.5
  EXPECT_LE(*std::max_element(x.begin(), x.end()), 3.0f);
  EXPECT_GE(*std::min_element(x.begin(), x.end()), -3.0f);

  auto [umean, ustd] = moments({.kind = Law::Uniform, .low = -1, .high = 3});
  EXPECT_NEAR(umean, 1, 0.012);
  EXPECT_NEAR(ustd, 4 / std::sqrt(12.0), 0.01);
  EXPECT_LT(*std::max_element(x.begin(), x.end()), 3.0f);
  EXPECT_GE(*std::min_element(x.begin(), x.end()), -1.0f);

  auto [cmean, cstd] = moments({.kind = Law::Constant, .value = 0.25});
  EXPECT_EQ(cmean, 0.25);
  EXPECT_EQ(cstd, 0);
}

TEST(Random, UniformsAreInsideTheOpenInterval) {
  for (uint32_t v = 0; v < 100000; ++v) {
    double u = keyedUniform(1, 2, Purpose::Clock, v);
    EXPECT_GT(u, 0);
    EXPECT_LT(u, 1);
  }
}

} // namespace
