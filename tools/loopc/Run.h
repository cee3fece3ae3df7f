// What one prompt and a file of requests have in common.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Model.h"
#include "loopc/runtime/Sampler.h"
#include "loopc/runtime/Tokenizer.h"

namespace loopc::driver {

/// Iterations, exits and seed. Throws Failure or UsageError for what the model does not allow.
rt::SequenceOptions sequenceOptions(const RunOptions &options, const rt::ModelInfo &info);
rt::SamplingParams samplingParams(const RunOptions &options);
/// RunOptions::tokens, or the text (in the chat template if asked) through the tokenizer; fit for the model.
std::vector<int32_t> promptTokens(const RunOptions &options, const rt::Tokenizer *tokenizer, const rt::ModelInfo &info);
/// What the scheduler did.
Json statsOf(const rt::Engine &engine);

/// Runs RunOptions::batch. `options` is what a line leaves out.
int runBatch(const RunOptions &options, const LoadedModel &model, const rt::Tokenizer *tokenizer);

} // namespace loopc::driver
