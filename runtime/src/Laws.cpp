// Door checks of stage calls.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Laws.h"
#include <algorithm>

namespace loopc::rt {

namespace {

[[noreturn]] void fail(const LawSequence &s, const std::string &expected, const std::string &found) {
  throw Error("", "request " + std::to_string(s.request), expected, found);
}
std::string at(const LawLane &l) { return "position " + std::to_string(l.position); }

/// C1: order, capacity, slots, iterations. C2: rows to write are our own.
void checkLanes(const ModelInfo &info, const LawCall &call, std::span<const LawSequence> sequences) {
  std::vector<bool> slots(call.slots);
  uint32_t lanes = 0;
  const LawSequence *before = nullptr;
  for (const LawSequence &s : sequences) {
    if (before && before->request >= s.request)
      fail(s, "requests in ascending order (C1)", "request " + std::to_string(before->request) + " before it");
    before = &s;
    const LawLane *older = nullptr;
    for (const LawLane &l : s.lanes) {
      if (older && older->position >= l.position)
        fail(s, "positions once and ascending (C1)", at(*older) + " before " + at(l));
      older = &l;
      if (!l.inCall)
        continue;
      if (++lanes > call.capacity)
        fail(s, "at most " + std::to_string(call.capacity) + " lanes in a call (C1)", std::to_string(lanes));
      if (l.slot >= call.slots || slots[l.slot])
        fail(s, at(l) + " to have a slot of its own below " + std::to_string(call.slots) + " (C1)",
             "slot " + std::to_string(l.slot));
      slots[l.slot] = true;
      if (call.stage == Stage::Core) {
        if (call.rounds < 1 || l.exited || l.done + call.rounds > s.policy->loops)
          fail(s, at(l) + " to run at most " + std::to_string(s.policy->loops) + " iterations (C1)",
               l.exited ? "a lane that has left after " + std::to_string(l.done)
                        : std::to_string(l.done) + " and a call of " + std::to_string(call.rounds));
        if (info.count && s.policy->loops > info.count->max)
          fail(s, "at most " + std::to_string(info.count->max) + " iterations as planned (C1)",
               std::to_string(s.policy->loops));
      }
      if (!l.exclusive)
        fail(s, "rows that " + at(l) + " writes to be its own (C2)", "rows that are absent or shared");
    }
  }
}

/// C3 for iterations: how far older tokens are, at every inner round.
void checkCausality(const LawCall &call, const LawSequence &s) {
  for (int32_t j = 0; j < call.rounds; ++j) {
    const LawLane *behind = nullptr; // older lane that is least far
    int32_t least = INT32_MAX;
    for (const LawLane &l : s.lanes) {
      int32_t done = l.done + (l.inCall ? j : 0);
      if (l.inCall && behind) {
        int32_t need = needOf(*s.policy, s.order, done);
        if (need == Policy::finished || least < need)
          fail(s,
               at(*behind) + " to have " +
                   (need == Policy::finished ? "finished" : "completed " + std::to_string(need) + " iterations") +
                   " before " + at(l) + " runs iteration " + std::to_string(done) + " (C3)",
               std::to_string(behind->done) + (behind->inCall ? " and a place in the call" : ""));
      }
      int32_t reaches = done + (l.inCall ? 1 : 0);
      if (!l.exited && reaches < least)
        least = reaches, behind = &l;
    }
  }
}

/// C3 for prelude and coda, which have one step each: older tokens have taken it, or take it in this call.
void checkSteps(const LawCall &call, const LawSequence &s) {
  for (size_t i = 0; i < s.lanes.size(); ++i) {
    const LawLane &l = s.lanes[i];
    if (!l.inCall)
      continue;
    if ((call.stage == Stage::Coda || call.stage == Stage::Head) && !l.exited)
      fail(s, at(l) + " to have finished its iterations before " + std::string(stageName(call.stage)) + " (C3)",
           std::to_string(l.done) + " of " + std::to_string(s.policy->loops));
    if (i == 0 || call.stage == Stage::Head)
      continue;
    const LawLane &older = s.lanes[i - 1];
    bool taken = older.inCall || (call.stage == Stage::Prelude ? older.prelude : older.codaFinal);
    if (!taken)
      fail(s, at(older) + " to take " + std::string(stageName(call.stage)) + " before " + at(l) + " (C3)",
           "it has not and is not in the call");
  }
}

/// C4 and C5: which lanes have to be together.
void checkGroups(const ModelInfo &info, const LawCall &call, const LawSequence &s) {
  const LawLane *first = nullptr;
  for (const LawLane &l : s.lanes) {
    if (l.exited || (!l.inCall && !first && (s.order == Order::Free || s.order == Order::Pass) && info.contract.group == "lane"))
      continue;
    if (!first) {
      first = &l;
      if (info.contract.group == "whole" && s.pending > 0)
        fail(s, "the whole group in one call (C4)", std::to_string(s.pending) + " tokens outside");
      continue;
    }
    bool together = l.inCall == first->inCall && l.done == first->done;
    if (info.contract.group == "whole" && !together)
      fail(s, at(l) + " at the step of " + at(*first) + " (C4)",
           l.inCall ? "iteration " + std::to_string(l.done) : "a lane outside the call");
    if (s.order == Order::Token)
      fail(s, at(*first) + " to finish before " + at(l) + " begins (C5, order token)",
           "both live, at iterations " + std::to_string(first->done) + " and " + std::to_string(l.done));
    if (s.order == Order::Chunk && (!together || l.chunk != first->chunk))
      fail(s, at(l) + " in the chunk and at the iteration of " + at(*first) + " (C5, order chunk)",
           l.chunk != first->chunk ? "another chunk"
           : l.inCall              ? "iteration " + std::to_string(l.done)
                                   : "a lane outside the call");
  }
}

} // namespace

void checkLaws(const ModelInfo &info, const LawCall &call, std::span<const LawSequence> sequences) {
  checkLanes(info, call, sequences);
  if (call.scratch)
    return;
  const LawLane *first = nullptr;
  for (const LawSequence &s : sequences) {
    if (call.stage == Stage::Core) {
      checkCausality(call, s);
      checkGroups(info, call, s);
      if (info.contract.couple == "call")
        for (const LawLane &l : s.lanes) {
          if (!l.inCall)
            continue;
          if (!first)
            first = &l;
          if (l.done != first->done)
            fail(s, at(l) + " at iteration " + std::to_string(first->done) + " like all lanes of the call (C6)",
                 std::to_string(l.done));
        }
    } else {
      checkSteps(call, s);
    }
  }
}

} // namespace loopc::rt
