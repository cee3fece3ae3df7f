// Greedy self-speculation of a case: fewer iterations draft, all of them verify.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/runtime/Sampler.h"

namespace loopc::driver {

namespace {

int32_t best(const rt::FeedResult &result, size_t row) { return rt::Sampler::argmax(result.row(uint32_t(row))); }

/// Feeds what `tokens` has beyond the sequence, after taking back positions that are not to stay.
rt::FeedResult continueWith(rt::Engine &engine, rt::SequenceId id, size_t stay, const std::vector<int32_t> &tokens,
                            rt::LogitsFor logits) {
  if (engine.length(id) > stay)
    engine.rollback(id, uint32_t(stay));
  rt::FeedOptions feed;
  feed.logits = logits;
  return engine.feed(id, std::span(tokens).subspan(engine.length(id)), feed);
}

} // namespace

void speculate(rt::Engine &engine, rt::SequenceId verifier, rt::SequenceOptions options, const CasePlan &plan,
               int64_t generate, SequenceRun &run) {
  options.loops = int32_t(plan.draftLoops);
  rt::SequenceId drafter = engine.open(options);
  while (int64_t(run.newTokens.size()) < generate) {
    size_t last = run.tokens.size() - 1; // runs again with the drafts behind it
    std::vector<int32_t> line = run.tokens;
    for (int64_t i = 0; i < plan.draftTokens; ++i)
      line.push_back(best(continueWith(engine, drafter, i ? line.size() : last, line, rt::LogitsFor::Last), 0));
    rt::FeedResult checked = continueWith(engine, verifier, last, line, rt::LogitsFor::All);
    size_t accepted = 0;
    while (accepted < size_t(plan.draftTokens) && line[last + 1 + accepted] == best(checked, accepted))
      ++accepted;
    int32_t next = best(checked, accepted);
    run.drafts.insert(run.drafts.end(), line.begin() + ptrdiff_t(last) + 1, line.end());
    run.accepted.push_back(int64_t(accepted));
    run.corrections.push_back(next);
    line.resize(last + 1 + accepted);
    line.push_back(next);
    run.newTokens.insert(run.newTokens.end(), line.begin() + ptrdiff_t(run.tokens.size()), line.end());
    run.tokens = std::move(line);
  }
}

} // namespace loopc::driver
