// Sequences that give up lanes and rows: cancel, restore, preempt, resume, room for others (runtime.md §4).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "EngineImpl.h"
#include <algorithm>
#include <utility>

namespace loopc::rt {

void Sequence::cut(uint32_t position) {
  tokens.resize(std::min<size_t>(tokens.size(), position));
  depths.resize(std::min<size_t>(depths.size(), position));
  executed.resize(depths.size());
  computed = std::min(computed, position);
  settled = std::min(settled, computed);
  swappedKeep = std::min(swappedKeep, position);
  std::erase_if(feeds, [&](const Feed &f) { return f.first >= tokens.size(); });
  if (!feeds.empty())
    feeds.back().end = std::min(feeds.back().end, uint32_t(tokens.size()));
}

void Engine::Impl::dropLanes(Sequence &s) {
  for (Lane &l : s.lanes)
    freeSlots.push_back(l.slot);
  s.lanes.clear();
  s.tables.truncate(s.final());
}

/// The rows of a feed are settled when the last of its tokens has them; what was cut off does not count.
void Engine::Impl::settleFeeds(Sequence &s) {
  if (s.computed <= s.settled || s.feedOf(s.computed - 1).end != s.computed)
    return;
  s.tables.settle(s.settled, std::span(s.executed).subspan(s.settled, s.computed - s.settled));
  s.settled = s.computed;
}

void Engine::Impl::abandon(Sequence &s) {
  dropLanes(s);
  s.cut(s.known());
  settleFeeds(s);
  s.job.reset();
  s.waiting = false;
}

void Engine::Impl::evict(Sequence &s) {
  s.computed = s.settled = 0;
  dropLanes(s);
  s.forgetExits |= (options.faults & FaultRecomputeFull) != 0;
}

Sequence *Engine::Impl::makeRoom(Sequence &s) {
  if (!options.evict)
    return nullptr;
  Sequence *idle = nullptr, *younger = nullptr;
  bool older = false;
  for (auto &[id, other] : sequences) {
    if (other.get() == &s || !other->hasRows())
      continue;
    if (alone || !other->job || other->finished() || other->held)
      idle = other.get();
    else if (id > s.id)
      younger = other.get();
    else
      older = true;
  }
  Sequence *victim = idle ? idle : younger ? younger : older ? &s : nullptr;
  // Blocks that it wrote apart from a fork take two pages: computed again they take one.
  if (!victim && s.hasRows() && s.compacted < s.tokens.size() && bytesOf(s) <= budget.limitBytes()) {
    s.compacted = s.tokens.size();
    victim = &s;
  }
  if (!victim)
    return nullptr;
  stats.evictions += victim->hasRows();
  evict(*victim);
  victim->waiting = victim->job && !victim->finished();
  return victim;
}

Sequence *Engine::Impl::giveWay(Sequence &s) {
  if (Sequence *gone = makeRoom(s))
    return gone;
  s.failure = std::current_exception();
  abandon(s);
  return &s;
}

uint64_t Engine::Impl::bytesOf(const Sequence &s) const {
  uint64_t bytes = 0;
  for (size_t p = 0; p < pools.size(); ++p) {
    uint64_t planes = int(p) == info.poolOf(Stage::Core) ? std::max<uint64_t>(s.policy.writtenPlanes(), 1) : 1;
    bytes += (s.tokens.size() + LOOPC_PAGE_ROWS - 1) / LOOPC_PAGE_ROWS * planes * pools[p]->info().pageBytes;
  }
  return bytes;
}

bool Engine::Impl::admits(const Sequence &s) const {
  uint64_t bytes = bytesOf(s);
  for (const auto &pool : pools)
    bytes += pool->pagesInUse() * pool->info().pageBytes;
  return bytes <= budget.limitBytes();
}

void Engine::Impl::bringBack(Sequence &s) {
  while (!s.swapped.empty() && s.job && !s.waiting)
    try {
      unpack(s, s.swapped, true);
      s.swapped = {};
    } catch (const Error &) {
      giveWay(s);
    }
}

void Engine::restore(SequenceId id, SequenceId source) {
  Sequence &s = impl->find(id), &from = impl->find(source);
  if (&s == &from)
    return;
  if (!(s.options == from.options))
    throw Error("", "request " + std::to_string(id), "the options of request " + std::to_string(source), "others");
  impl->abandon(s);
  s.failure = nullptr;
  s.cut(0);
  s.tables.truncate(0);
  s.swapped = {};
  s.tables.share(from.tables, from.final(), impl->options.faults & FaultForkShares);
  s.tokens = from.tokens;
  s.depths = from.depths;
  s.executed = from.executed;
  s.feeds = from.feeds;
  s.computed = from.computed;
  s.settled = from.settled;
  s.chunk = from.chunk;
  s.warm = from.warm;
  s.forgetExits = from.forgetExits;
  s.cut(from.known());
  impl->settleFeeds(s);
}

void Engine::cancel(SequenceId id) {
  Sequence &s = impl->find(id);
  impl->abandon(s);
  s.failure = nullptr;
}

void Engine::preempt(SequenceId id, Preempt how) {
  Sequence &s = impl->find(id);
  s.held = true;
  impl->dropLanes(s);
  // What an exit did to the rows of older tokens is known to the tables only: those are computed again.
  if (how == Preempt::Swap && s.final() > 0 && s.policy.holes != Holes::LastIfHole) {
    s.swapped = impl->pack(s);
    s.swappedKeep = s.final();
  }
  if (how != Preempt::Keep)
    impl->evict(s);
}

void Engine::resume(SequenceId id) { impl->find(id).held = false; }

} // namespace loopc::rt
