// Greedy self-speculation of a case: fewer iterations or another view of the model draft, the model verifies.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/runtime/Sampler.h"
#include <algorithm>
#include <span>

namespace loopc::driver {

namespace {

int32_t best(const rt::FeedResult &result, size_t row) { return rt::Sampler::argmax(result.row(uint32_t(row))); }

/// Feeds what `tokens` has beyond the sequence, after taking back positions that are not to stay.
rt::FeedResult continueWith(rt::Engine &engine, rt::SequenceId id, size_t stay, const std::vector<int32_t> &tokens,
                            rt::LogitsFor logits, const std::string &view = "", float drafted = 0) {
  if (engine.length(id) > stay)
    engine.rollback(id, uint32_t(stay));
  rt::FeedOptions feed;
  feed.logits = logits;
  if (!view.empty())
    feed.draws[view].values.assign(tokens.size() - engine.length(id), drafted);
  return engine.feed(id, std::span(tokens).subspan(engine.length(id)), feed);
}

/// A draft in one call: behind the last token as many masks as tokens are drafted, each filled in by the row before it.
void fillIn(rt::Engine &engine, rt::SequenceId drafter, const CasePlan &plan, int64_t count,
            std::vector<int32_t> &line) {
  size_t last = line.size() - 1;
  if (engine.length(drafter) < last)
    continueWith(engine, drafter, last, {line.begin(), line.end() - 1}, rt::LogitsFor::Last, plan.draftView);
  line.resize(line.size() + size_t(count), plan.draftMask);
  rt::FeedResult result = continueWith(engine, drafter, last, line, rt::LogitsFor::All, plan.draftView, 1);
  for (size_t i = 0; i < size_t(count); ++i)
    line[last + 1 + i] = best(result, i);
  engine.rollback(drafter, uint32_t(last)); // a draft leaves nothing
}

} // namespace

void speculate(rt::Engine &engine, rt::SequenceId verifier, rt::SequenceOptions options, const CasePlan &plan,
               int64_t generate, SequenceRun &run) {
  const bool view = !plan.draftView.empty();
  auto stopped = [&] { // a stop ends the continuation and is no part of it
    for (size_t i = 0; i < run.newTokens.size(); ++i)
      if (plan.stop.count(run.newTokens[i])) {
        run.tokens.resize(run.tokens.size() - run.newTokens.size() + i);
        run.newTokens.resize(i);
        return true;
      }
    return false;
  };
  if (view) { // the first token is that of the prompt, a draft begins behind it
    run.newTokens.push_back(rt::Sampler::argmax(std::span(run.logits).last(size_t(run.vocab))));
    run.tokens.push_back(run.newTokens.back());
  } else {
    options.loops = int32_t(plan.draftLoops);
  }
  rt::SequenceId drafter = engine.open(options);
  while (int64_t(run.newTokens.size()) < generate && !stopped()) {
    size_t last = run.tokens.size() - 1; // runs again with the drafts behind it
    std::vector<int32_t> line = run.tokens;
    int64_t drafts = plan.draftTokens;
    if (view) {
      drafts = std::min(drafts, generate - int64_t(run.newTokens.size()));
      fillIn(engine, drafter, plan, drafts, line);
    }
    for (int64_t i = 0; !view && i < drafts; ++i)
      line.push_back(best(continueWith(engine, drafter, i ? line.size() : last, line, rt::LogitsFor::Last), 0));
    rt::FeedResult checked = continueWith(engine, verifier, last, line, rt::LogitsFor::All);
    size_t accepted = 0;
    while (accepted < size_t(drafts) && line[last + 1 + accepted] == best(checked, accepted))
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
  stopped();
}

} // namespace loopc::driver
