// From logits to a token: temperature, cuts, repetition penalty, and choice by keyed clocks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include "loopc/runtime/Random.h"
#include <cstdint>
#include <span>
#include <vector>

namespace loopc::rt {

struct SamplingParams {
  float temperature = 0;       ///< 0: greedy
  int32_t topK = 0;            ///< keep the k largest; 0: all
  float topP = 1;              ///< keep the smallest set of the largest with mass >= topP; 1: all
  float minP = 0;              ///< keep p >= minP * largest p
  float repetitionPenalty = 1; ///< logits of tokens in the history: divided if positive, multiplied if negative
  uint64_t seed = 0;
  /// Throws Error naming the option, expected and found.
  void check() const;
};

struct TokenWeight {
  int32_t token;
  double weight; ///< probability after all cuts
};

/// Chooses tokens. The choice for a position depends only on (logits, history, params, position): not on batching,
/// threads or the order of calls. Order of steps: repetition penalty, temperature, top-k, top-p, min-p.
class Sampler {
public:
  explicit Sampler(const SamplingParams &params);
  const SamplingParams &params() const { return options; }

  /// The token at `position` (its own position in the sequence) from logits[vocab]. `history` is the tokens so far
  /// (used by the repetition penalty only). Throws Error if a logit is NaN or +inf, or if all are -inf.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position);

  /// The distribution that `sample` draws from, largest first, ties by lowest id.
  std::span<const TokenWeight> distribution(std::span<const float> logits, std::span<const int32_t> history);

  /// argmin over v of E_v / weight_v, E_v = -ln u(seed, position, Clock, v): an exponential race, so P(v) = weight_v.
  /// Weight 0 never wins; ties go to the lowest id. (Drafter-invariant sampling: arXiv 2408.07978.)
  static int32_t race(std::span<const TokenWeight> weights, uint64_t seed, uint64_t position);
  /// Largest logit, lowest id on ties.
  static int32_t argmax(std::span<const float> logits);

private:
  void collect(std::span<const float> logits, std::span<const int32_t> history);
  std::span<const float> penalised(std::span<const float> logits, std::span<const int32_t> history);
  SamplingParams options;
  std::vector<float> work;
  std::vector<TokenWeight> weights;
};

} // namespace loopc::rt
