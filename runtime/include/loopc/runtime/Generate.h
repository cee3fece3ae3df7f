// From prompts to new tokens: feeds the engine, samples, stops.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Sampler.h"
#include <functional>
#include <span>
#include <vector>

namespace loopc::rt {

struct GenerateRequest {
  std::vector<int32_t> prompt;    ///< at least one token
  uint32_t maxTokens = 64;        ///< new tokens at most
  std::vector<int32_t> stop = {}; ///< tokens that end the text (and are its last token)
  SamplingParams sampling = {};
  SequenceOptions sequence = {};
  uint32_t chunk = 0; ///< FeedOptions::chunk of the prompt
};

enum class Finish : uint8_t {
  Length,  ///< maxTokens
  Stop,    ///< a token of `stop`
  Context, ///< the model has no further position
  Caller,  ///< the callback returned false
  Failed,  ///< see Generated::error
};

struct Generated {
  std::vector<int32_t> tokens; ///< new ones only
  /// Iterations in the state of each position that was fed: the prompt, then every new token but the last.
  std::vector<int32_t> depths;
  std::vector<int32_t> executed; ///< iterations run, by position
  Finish finish = Finish::Length;
  std::string error; ///< why the request could not begin or go on
  double firstTokenSeconds = 0; ///< from the start of the run to the first new token
  double totalSeconds = 0;
};

/// Called with each new token (index of its request); false ends that request.
using OnToken = std::function<bool(size_t request, int32_t token)>;

/// Called with each request that has come to its end.
using OnDone = std::function<void(size_t request, const Generated &result)>;

struct GenerateOptions {
  uint32_t atOnce = 0; ///< requests that run at a time; 0: EngineOptions::capacity
  OnToken onToken = {};
  OnDone onDone = {};
};

/// Runs the requests to their ends, many in each call; the next begins as soon as one has ended. The tokens of a request
/// do not depend on the others, and one that fails does not stop them. Throws Error if a stage call fails; sequences it
/// opened are closed in any case.
std::vector<Generated> generate(Engine &engine, std::span<const GenerateRequest> requests,
                                const GenerateOptions &options = {});
/// The same for one; throws Error if it fails.
Generated generate(Engine &engine, const GenerateRequest &request, const OnToken &onToken = {});

} // namespace loopc::rt
