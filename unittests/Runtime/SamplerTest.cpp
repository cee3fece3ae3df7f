// The sampler: greedy, cuts, the law of the race, determinism, refusals.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Sampler.h"
#include "Bytes.h"
#include <cmath>
#include <thread>

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

std::vector<std::pair<int, double>> distribution(const SamplingParams &params, std::vector<float> logits,
                                                 std::vector<int32_t> history = {}) {
  std::vector<std::pair<int, double>> list;
  Sampler sampler(params);
  for (const TokenWeight &w : sampler.distribution(logits, history))
    list.emplace_back(w.token, w.weight);
  return list;
}

std::vector<int> tokens(const SamplingParams &params, std::vector<float> logits, std::vector<int32_t> history = {}) {
  std::vector<int> list;
  for (auto [token, weight] : distribution(params, std::move(logits), std::move(history)))
    list.push_back(token);
  return list;
}

/// Logits whose softmax is the given weights.
std::vector<float> logs(std::vector<double> weights) {
  std::vector<float> list;
  for (double w : weights)
    list.push_back(float(std::log(w)));
  return list;
}

TEST(Sampler, GreedyTakesTheLowestIdOnTies) {
  Sampler sampler({});
  std::vector<float> logits{1, 3, 2, 3};
  EXPECT_EQ(sampler.sample(logits, {}, 0), 1);
  EXPECT_EQ(Sampler::argmax(logits), 1);
  EXPECT_EQ(distribution({}, logits), (std::vector<std::pair<int, double>>{{1, 1.0}}));
  EXPECT_EQ(sampler.sample(std::vector<float>{-INFINITY, -5}, {}, 0), 1);
}

TEST(Sampler, Cuts) {
  std::vector<float> logits = logs({0.1, 0.4, 0.2, 0.3});
  EXPECT_EQ(tokens({.temperature = 1}, logits), (std::vector<int>{1, 3, 2, 0}));
  EXPECT_EQ(tokens({.temperature = 1, .topK = 2}, logits), (std::vector<int>{1, 3}));
  EXPECT_EQ(tokens({.temperature = 1, .topK = 9}, logits), (std::vector<int>{1, 3, 2, 0}));
  EXPECT_EQ(tokens({.temperature = 1, .topP = 0.39f}, logits), (std::vector<int>{1}));
  EXPECT_EQ(tokens({.temperature = 1, .topP = 0.41f}, logits), (std::vector<int>{1, 3}));
  EXPECT_EQ(tokens({.temperature = 1, .topP = 0.89f}, logits), (std::vector<int>{1, 3, 2}));
  EXPECT_EQ(tokens({.temperature = 1, .topP = 1e-9f}, logits), (std::vector<int>{1}));
  EXPECT_EQ(tokens({.temperature = 1, .minP = 0.6f}, logits), (std::vector<int>{1, 3}));
  EXPECT_EQ(tokens({.temperature = 1, .minP = 1}, logits), (std::vector<int>{1}));
  // top-p counts the mass that top-k left: 0.4 of 0.7 is 0.571.
  EXPECT_EQ(tokens({.temperature = 1, .topK = 2, .topP = 0.56f}, logits), (std::vector<int>{1}));
  EXPECT_EQ(tokens({.temperature = 1, .topK = 2, .topP = 0.58f}, logits), (std::vector<int>{1, 3}));
  // Ties at the edge of top-k: the lowest ids stay.
  EXPECT_EQ(tokens({.temperature = 1, .topK = 2}, {5, 5, 5, 5}), (std::vector<int>{0, 1}));
}

TEST(Sampler, TemperatureAndPenalty) {
  std::vector<float> logits{2, -1, 0};
  auto warm = distribution({.temperature = 2}, logits);
  double total = std::exp(1.0) + std::exp(-0.5) + 1;
  EXPECT_NEAR(warm[0].second, std::exp(1.0) / total, 1e-12);
  EXPECT_NEAR(warm[2].second, std::exp(-0.5) / total, 1e-12);
  // 2 / 2 = 1 and -1 * 2 = -2, once each although token 0 occurs twice.
  auto penalised = distribution({.temperature = 1, .repetitionPenalty = 2}, logits, {0, 1, 0});
  total = std::exp(1.0) + std::exp(-2.0) + 1;
  EXPECT_NEAR(penalised[0].second, std::exp(1.0) / total, 1e-12);
  EXPECT_NEAR(penalised[2].second, std::exp(-2.0) / total, 1e-12);
  EXPECT_EQ(tokens({.temperature = 1e-30f}, logits), (std::vector<int>{0}));
  SamplingParams greedy{.repetitionPenalty = 3};
  EXPECT_EQ(Sampler(greedy).sample(std::vector<float>{2, 1, 0}, std::vector<int32_t>{0}, 0), 1);
}

TEST(Sampler, TheRaceHasTheLaw) {
  // chi-square over 4 tokens and 40 000 positions; 16.27 is its 99.9 % point at 3 degrees of freedom.
  std::vector<double> p{0.5, 0.3, 0.15, 0.05};
  Sampler sampler({.temperature = 1, .seed = 1});
  std::vector<float> logits = logs(p);
  std::vector<int> count(4);
  const int n = 40000;
  for (int position = 0; position < n; ++position)
    ++count[size_t(sampler.sample(logits, {}, uint64_t(position)))];
  double chi = 0;
  for (size_t v = 0; v < 4; ++v)
    chi += (count[v] - n * p[v]) * (count[v] - n * p[v]) / (n * p[v]);
  EXPECT_LT(chi, 16.27);
}

TEST(Sampler, CloseDistributionsChooseTheSameToken) {
  // The reason for clocks: P(different) is at most 2 TV / (1 + TV), far below two independent draws.
  Sampler sampler({.temperature = 1, .seed = 5});
  std::vector<float> a = logs({0.25, 0.25, 0.25, 0.25}), b = logs({0.27, 0.25, 0.25, 0.23});
  int different = 0;
  for (uint64_t position = 0; position < 10000; ++position)
    different += sampler.sample(a, {}, position) != sampler.sample(b, {}, position);
  EXPECT_LT(different, 500); // bound 2 * 0.02 / 1.02 = 392 of 10 000
  EXPECT_GT(different, 0);
}

TEST(Sampler, WeightZeroNeverWins) {
  std::vector<TokenWeight> weights{{0, 0.0}, {1, 1e-300}, {2, 0.0}};
  for (uint64_t position = 0; position < 1000; ++position)
    EXPECT_EQ(Sampler::race(weights, 3, position), 1);
  EXPECT_EQ(messageOf([] {
              std::vector<TokenWeight> none{{0, 0.0}};
              Sampler::race(none, 0, 0);
            }),
            "distribution: expected a token of weight above 0, but got none");
}

TEST(Sampler, DependsOnlyOnItsArguments) {
  std::vector<float> logits(5000);
  keyedDraw({1, 2, 3, 4, 5}, {}, 0, logits);
  SamplingParams params{.temperature = 0.8f, .topP = 0.9f, .minP = 0.001f, .seed = 99};
  std::vector<int32_t> forwards(64), backwards(64), threaded(64);
  Sampler one(params), two(params);
  for (size_t i = 0; i < 64; ++i)
    forwards[i] = one.sample(logits, {}, i);
  for (size_t i = 64; i-- > 0;)
    backwards[i] = two.sample(logits, {}, i);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      Sampler own(params);
      for (size_t i = t; i < 64; i += 4)
        threaded[i] = own.sample(logits, {}, i);
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(forwards, backwards);
  EXPECT_EQ(forwards, threaded);
  params.seed = 100;
  std::vector<int32_t> other(64);
  for (size_t i = 0; i < 64; ++i)
    other[i] = Sampler(params).sample(logits, {}, i);
  EXPECT_NE(forwards, other);
}

TEST(Sampler, RaceIsOverTheDistribution) {
  // Sampling and the public pair (distribution, race) agree.
  std::vector<float> logits(300);
  keyedDraw({8, 2, 3, 4, 5}, {.std = 2}, 0, logits);
  for (SamplingParams params : {SamplingParams{.temperature = 1, .seed = 4},
                                SamplingParams{.temperature = 1.3f, .topK = 40, .topP = 0.8f, .seed = 4}}) {
    Sampler sampler(params);
    for (uint64_t position = 0; position < 100; ++position) {
      int32_t sampled = sampler.sample(logits, {}, position);
      EXPECT_EQ(sampled, Sampler::race(sampler.distribution(logits, {}), 4, position));
    }
  }
}

TEST(Sampler, Refusals) {
  auto refusal = [](SamplingParams params, std::vector<float> logits, std::vector<int32_t> history = {}) {
    return messageOf([&] { Sampler(params).sample(logits, history, 0); });
  };
  EXPECT_EQ(refusal({}, {1, NAN}), "logit of token 1: expected a number below infinity, but got NaN");
  EXPECT_EQ(refusal({.temperature = 1}, {INFINITY}), "logit of token 0: expected a number below infinity, but got infinity");
  EXPECT_EQ(refusal({}, {-INFINITY, -INFINITY}),
            "logits: expected a token that is not ruled out, but got 2 logits of -infinity");
  EXPECT_EQ(refusal({}, {}), "logits: expected a token that is not ruled out, but got none at all");
  EXPECT_EQ(refusal({.repetitionPenalty = 2}, {1, 2}, {2}), "history: expected token ids below 2, but got 2");
  EXPECT_EQ(refusal({.repetitionPenalty = 1e-30f}, {1e20f}, {0}),
            "logit of token 0: expected a number below infinity, but got infinity");
  EXPECT_EQ(refusal({.temperature = -1}, {1}), "temperature: expected a number of 0 or more, but got -1.000000");
  EXPECT_EQ(refusal({.topK = -1}, {1}), "top-k: expected a number of 0 or more, but got -1.000000");
  EXPECT_EQ(refusal({.topP = 0}, {1}), "top-p: expected a number above 0, at most 1, but got 0.000000");
  EXPECT_EQ(refusal({.minP = 2}, {1}), "min-p: expected a number of 0 to 1, but got 2.000000");
  EXPECT_EQ(refusal({.repetitionPenalty = NAN}, {1}),
            "repetition-penalty: expected a number above 0, but got nan");
}

} // namespace
