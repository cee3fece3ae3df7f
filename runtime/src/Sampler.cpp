// From logits to a token.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Sampler.h"
#include <algorithm>
#include <cmath>

namespace loopc::rt {

void SamplingParams::check() const {
  auto need = [](bool good, const char *option, const char *expected, double found) {
    if (!good)
      throw Error("", option, expected, std::to_string(found));
  };
  need(std::isfinite(temperature) && temperature >= 0, "temperature", "a number of 0 or more", temperature);
  need(topK >= 0, "top-k", "a number of 0 or more", topK);
  need(topP > 0 && topP <= 1, "top-p", "a number above 0, at most 1", topP);
  need(minP >= 0 && minP <= 1, "min-p", "a number of 0 to 1", minP);
  need(std::isfinite(repetitionPenalty) && repetitionPenalty > 0, "repetition-penalty", "a number above 0",
       repetitionPenalty);
}

Sampler::Sampler(const SamplingParams &params) : options(params) { options.check(); }

/// Refuses logits that no rule can order.
static void checkLogits(std::span<const float> logits) {
  bool any = false;
  for (size_t v = 0; v < logits.size(); ++v) {
    if (std::isnan(logits[v]) || logits[v] == INFINITY)
      throw Error("", "logit of token " + std::to_string(v), "a number below infinity",
                  std::isnan(logits[v]) ? "NaN" : "infinity");
    any |= logits[v] != -INFINITY;
  }
  if (!any)
    throw Error("", "logits", "a token that is not ruled out",
                logits.empty() ? "none at all" : std::to_string(logits.size()) + " logits of -infinity");
}

std::span<const float> Sampler::penalised(std::span<const float> logits, std::span<const int32_t> history) {
  if (options.repetitionPenalty == 1 || history.empty())
    return logits;
  work.assign(logits.begin(), logits.end());
  for (int32_t token : history) {
    if (token < 0 || size_t(token) >= logits.size())
      throw Error("", "history", "token ids below " + std::to_string(logits.size()), std::to_string(token));
    // Computed from the original, so a token that occurs twice is penalised once.
    float logit = logits[size_t(token)];
    work[size_t(token)] = logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty;
  }
  checkLogits(work); // a penalty near 0 or infinity can push logits out of range
  return work;
}

int32_t Sampler::argmax(std::span<const float> logits) {
  checkLogits(logits);
  return int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

static bool before(const TokenWeight &a, const TokenWeight &b) {
  return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
}

/// Sums in the order of the vector.
static double sum(std::span<const TokenWeight> weights) {
  double total = 0;
  for (const TokenWeight &w : weights)
    total += w.weight;
  return total;
}

/// Leaves in `weights` the tokens that survive the cuts, with weights relative to the largest.
void Sampler::collect(std::span<const float> logits, std::span<const int32_t> history) {
  checkLogits(logits);
  logits = penalised(logits, history);
  float largest = *std::max_element(logits.begin(), logits.end());
  weights.clear();
  for (size_t v = 0; v < logits.size(); ++v) {
    double weight = std::exp((double(logits[v]) - double(largest)) / double(options.temperature));
    // Below this bound a token cannot be told from weight 0 after the sum of a whole vocabulary.
    if (weight >= 0x1p-60)
      weights.push_back({int32_t(v), weight});
  }
  if (options.topK > 0 && size_t(options.topK) < weights.size()) {
    std::partial_sort(weights.begin(), weights.begin() + options.topK, weights.end(), before);
    weights.resize(size_t(options.topK));
  }
  if (options.topP < 1) {
    // The cut lies among the first few in practice: sort only as far as the mass needs.
    double wanted = double(options.topP) * sum(weights), mass = 0;
    size_t keep = 0, sorted = 0;
    while (keep < weights.size() && mass < wanted) {
      if (keep == sorted) {
        size_t next = std::min(weights.size(), std::max<size_t>(256, 4 * sorted));
        auto begin = weights.begin() + ptrdiff_t(sorted), end = weights.begin() + ptrdiff_t(next);
        if (next < weights.size())
          std::nth_element(begin, end, weights.end(), before);
        std::sort(begin, end, before);
        sorted = next;
      }
      mass += weights[keep++].weight;
    }
    weights.resize(keep);
  }
  if (options.minP > 0)
    std::erase_if(weights, [&](const TokenWeight &w) { return w.weight < double(options.minP); });
}

std::span<const TokenWeight> Sampler::distribution(std::span<const float> logits, std::span<const int32_t> history) {
  if (options.temperature == 0) {
    weights.assign(1, {sample(logits, history, 0), 1.0});
    return weights;
  }
  collect(logits, history);
  std::sort(weights.begin(), weights.end(), before);
  double total = sum(weights);
  for (TokenWeight &w : weights)
    w.weight /= total;
  return weights;
}

int32_t Sampler::race(std::span<const TokenWeight> weights, uint64_t seed, uint64_t position) {
  int32_t winner = -1;
  double best = INFINITY;
  for (const TokenWeight &w : weights) {
    if (!(w.weight > 0))
      continue;
    double clock = -std::log(keyedUniform(seed, position, Purpose::Clock, uint32_t(w.token))) / w.weight;
    if (winner < 0 || clock < best || (clock == best && w.token < winner)) {
      winner = w.token;
      best = clock;
    }
  }
  if (winner < 0)
    throw Error("", "distribution", "a token of weight above 0", "none");
  return winner;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position) {
  if (options.temperature == 0) {
    checkLogits(logits);
    logits = penalised(logits, history);
    return int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  collect(logits, history);
  return race(weights, options.seed, position);
}

} // namespace loopc::rt
