// Compiled models for tests, and what decoding them one token after another gives.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Artifact.h"
#include "loopc/runtime/CpuExecutor.h"
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Sampler.h"
#include <memory>
#include <string>
#include <vector>

namespace loopc::rt::test {

/// An artefact with seeded weights.
struct Model {
  std::string name;
  std::shared_ptr<const Artifact> artifact;
  std::shared_ptr<const PackedParams> params;
  const ModelInfo &info() const { return artifact->info(); }
  /// The policy has rows for planes that an exit leaves out.
  bool mayLeave() const;
  std::unique_ptr<CpuExecutor> executor(uint32_t workers) const;
};

/// Names of all artefacts whose tokens are scheduled one by one, sorted.
const std::vector<std::string> &modelNames();
/// Loaded once.
const Model &load(const std::string &name);

/// One request: options, a prompt, and how its tokens go on.
struct Request {
  SequenceOptions options;
  SamplingParams sampling;
  std::vector<int32_t> prompt;
  uint32_t count = 0; ///< tokens to make
};
/// The i-th of a family of requests that differ in prompt, iterations, exits and sampling.
Request requestOf(const Model &model, uint64_t i, uint32_t promptTokens, uint32_t count);

/// What a request gives; `logits` are those of every position that was fed.
struct Trace {
  std::vector<int32_t> tokens; ///< prompt and new ones
  std::vector<int32_t> depth, executed;
  std::vector<float> logits;
  void add(const FeedResult &r);
};
/// Feeds the request alone, each token in a call of its own, on one worker (order chunk: the prompt in one call).
Trace decodeAlone(const Model &model, const Request &request);

/// The first difference of two traces, empty if there is none. Logits are compared bit by bit.
std::string difference(const Trace &expected, const Trace &found, uint32_t vocab);
std::string describe(const Request &request);

} // namespace loopc::rt::test
