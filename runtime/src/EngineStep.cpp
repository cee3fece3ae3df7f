// One step of the lane scheduler: births, prelude, iterations, exits, readouts, retirement (runtime.md §4).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "EngineImpl.h"
#include <algorithm>
#include <cstring>
#include <utility>

namespace loopc::rt {

namespace {

void eraseSequence(std::vector<Member> &lanes, const Sequence *s) {
  std::erase_if(lanes, [&](const Member &m) { return m.sequence == s; });
}

} // namespace

std::vector<Sequence *> Engine::Impl::active(Sequence *only) {
  std::vector<Sequence *> set;
  for (auto &[id, s] : sequences)
    if ((!only || s.get() == only) && s->job && !s->finished() && !s->held &&
        (!s->waiting || set.empty() || admits(*s))) {
      s->waiting = false;
      set.push_back(s.get());
    }
  return set;
}

bool Engine::Impl::step(Sequence *only) {
  std::vector<Sequence *> set = active(only);
  alone = only != nullptr;
  try {
    bool moved = births(set) > 0;
    prelude(set);
    moved |= iterate(set);
    readouts(set);
    return moved;
  } catch (...) {
    // A call that failed may have left any of its lanes half done.
    for (Sequence *s : set)
      if (!s->lanes.empty())
        abandon(*s);
    throw;
  }
}

void Engine::Impl::birth(Sequence &s) {
  Lane l;
  l.position = s.born();
  l.token = s.tokens[l.position];
  l.slot = freeSlots.back();
  l.chunk = s.chunk;
  s.tables.open(Stage::Prelude, 0, l.position);
  freeSlots.pop_back();
  std::memset(slot(l.slot), options.poison == Poison::On ? 0xff : 0, info.bankRowBytes);
  writeDraws(s, l, false);
  s.lanes.push_back(l);
  // A mistake made on purpose may read what no iteration has written: rows that hold nothing, not memory anywhere.
  for (int32_t d = 0; options.faults && d < s.policy.loops; ++d)
    s.tables.open(Stage::Core, d, l.position);
}

uint32_t Engine::Impl::births(std::span<Sequence *const> set) {
  uint32_t born = 0;
  bool waiting = false; // a chunk that does not fit yet: nobody may take the slots it waits for
  auto tryBirths = [&](Sequence &s, uint32_t most) {
    for (uint32_t end = s.born() + most;
         s.job && !s.waiting && s.born() < end && s.pending() > 0 && !freeSlots.empty();)
      try {
        birth(s);
        ++born;
      } catch (const Error &) {
        giveWay(s);
      }
  };
  for (Sequence *s : set)
    bringBack(*s);
  // First every sequence gets a lane, then those that may have more.
  for (Sequence *s : set) {
    if (!s->job || !s->lanes.empty() || s->waiting || waiting)
      continue;
    uint32_t most = 1;
    if (s->order == Order::Chunk) {
      const Feed &feed = s->feedOf(s->born());
      most = feed.end - s->born();
      if (feed.chunk)
        most = std::min(feed.chunk, most);
      waiting = most > freeSlots.size();
      if (waiting)
        continue;
      ++s->chunk;
    }
    tryBirths(*s, most);
  }
  for (bool grew = !waiting; grew && !freeSlots.empty();) {
    grew = false;
    for (Sequence *s : set) {
      if (!s->job || s->waiting || (s->order != Order::Free && s->order != Order::Pass) || s->pending() == 0)
        continue;
      const Feed &feed = s->feedOf(s->born());
      // Readouts of each iteration take final coda rows of the feeds before; a pass is complete before the next.
      if ((feed.everyIteration || s->order == Order::Pass) && feed.first > s->final())
        continue;
      uint32_t limit = feed.chunk ? feed.chunk : options.capacity;
      if (s->lanes.size() >= limit)
        continue;
      uint32_t before = born;
      tryBirths(*s, set.size() == 1 ? std::min(limit - uint32_t(s->lanes.size()), feed.end - s->born()) : 1);
      grew |= born > before;
    }
  }
  return born;
}

void Engine::Impl::prelude(std::span<Sequence *const> set) {
  std::vector<Member> lanes;
  for (Sequence *s : set)
    for (Lane &l : s->lanes)
      if (!l.prelude)
        lanes.push_back({s, &l, l.slot});
  if (lanes.empty())
    return;
  laws(Stage::Prelude, lanes, 1);
  call(Stage::Prelude, lanes, 1, 0);
  for (const Member &m : lanes) {
    m.lane->prelude = true;
    startWarm(*m.sequence, *m.lane);
    observe(*m.sequence, *m.lane, m.slot, Moment::Prelude, *m.sequence->job);
    if (m.sequence->policy.loops == 0)
      m.lane->exited = true;
  }
}

uint32_t Engine::Impl::pick(std::span<Sequence *const> set) {
  const Lane *couple = nullptr;
  const Sequence *coupled = nullptr; // its batch: the sequences of its group, or itself
  uint32_t count = 0;
  std::map<uint32_t, int32_t> slowest; // of a group, iterations of its slowest lane; -1: one is not born yet
  for (auto &[id, s] : sequences)
    if (uint32_t group = s->options.group; group && s->job && !s->finished()) {
      int32_t &least = slowest.try_emplace(group, INT32_MAX).first->second;
      if (s->lanes.empty())
        least = -1;
      for (const Lane &l : s->lanes)
        if (!l.exited)
          least = std::min(least, l.done);
    }
  for (Sequence *s : set) {
    int32_t least = INT32_MAX; // over older lanes: iterations they will have completed
    bool skipAll = options.shuffle && s->order == Order::Chunk && random() % 3 == 0;
    for (Lane &l : s->lanes) {
      l.taken = false;
      if (l.exited || !l.prelude) {
        if (options.faults & FaultParentOnly)
          least = INT32_MAX;
        continue;
      }
      int32_t need = needOf(s->policy, s->order, l.done);
      bool ready = least == INT32_MAX || (need != Policy::finished && least >= need);
      if (info.contract.couple == "call" && couple &&
          (couple->done != l.done || (coupled != s && (!s->options.group || coupled->options.group != s->options.group))))
        ready = false;
      if (s->options.group && l.done != slowest[s->options.group])
        ready = false;
      if (options.shuffle && (skipAll || (s->order != Order::Chunk && random() % 3 == 0)))
        ready = false;
      if (options.stall && least == INT32_MAX && s->order != Order::Chunk)
        ready = false;
      if (ready) {
        l.taken = true;
        couple = &l;
        coupled = s;
        ++count;
      }
      int32_t reaches = l.done + (l.taken ? 1 : 0);
      least = options.faults & FaultParentOnly ? reaches : std::min(least, reaches);
    }
  }
  return count;
}

int32_t Engine::Impl::roundsFor(std::span<const Member> lanes, bool &keep) {
  int32_t rounds = INT32_MAX;
  bool native = false;
  for (const Member &m : lanes) {
    const Sequence &s = *m.sequence;
    const Lane &l = *m.lane;
    int32_t next = s.policy.loops - l.done;
    if (int32_t given = s.exit == ExitMode::Off ? 0 : s.givenExit(l.position); given > l.done)
      next = std::min(next, given - l.done);
    if (s.everyIteration(l) || !s.job->options.observe.empty())
      next = 1;
    if (s.modelExit(info) && info.exit->check) {
      next = std::min(next, s.untilTest(l.done));
    } else if (s.modelExit(info) && l.depth == 0) {
      // The program may let a lane go by itself only if no other lane has to see that it went: neither a younger token
      // of its sequence nor one that could take its place in the next iteration.
      native =
          lanes.size() == 1 && s.lanes.size() == 1 && s.exit == ExitMode::Leave && s.minLoops == 1 && s.checkEvery == 1;
      if (!native)
        next = 1;
    }
    rounds = std::min(rounds, next);
  }
  if (std::any_of(info.draws.begin(), info.draws.end(), [](const DrawInfo &d) { return d.iteration; }))
    rounds = 1;
  if (options.shuffle)
    rounds = 1 + int32_t(random() % uint64_t(rounds));
  keep = rounds == 1 || !native;
  // Causality at every inner round: lanes of the call advance together, others stay.
  for (int32_t j = 1; j < rounds; ++j)
    for (size_t i = 0; i < lanes.size(); ++i) {
      const Sequence &s = *lanes[i].sequence;
      if (i > 0 && lanes[i - 1].sequence == &s)
        continue;
      int32_t least = INT32_MAX;
      for (const Lane &l : s.lanes) {
        if (l.exited)
          continue;
        int32_t d = l.done + j;
        if (l.taken && least != INT32_MAX) {
          int32_t need = needOf(s.policy, s.order, d);
          if (need == Policy::finished || least < need) {
            keep = keep || j == 1;
            return j;
          }
        }
        least = std::min(least, l.taken ? d + 1 : l.done);
      }
    }
  return rounds;
}

bool Engine::Impl::iterate(std::span<Sequence *const> set) {
  if (!info.count)
    return false;
  uint32_t count = pick(set);
  if (count == 0 && (options.shuffle || options.stall)) {
    bool shuffle = std::exchange(options.shuffle, false), stall = std::exchange(options.stall, false);
    count = pick(set); // every lane was left out: take all
    options.shuffle = shuffle;
    options.stall = stall;
  }
  std::vector<Member> lanes;
  for (Sequence *s : set)
    for (Lane &l : s->lanes)
      if (l.taken && !l.exited)
        lanes.push_back({s, &l, l.slot});
  if (lanes.empty())
    return false;
  bool keep = true;
  int32_t rounds = roundsFor(lanes, keep);
  for (size_t i = 0; i < lanes.size();) {
    Sequence *s = lanes[i].sequence;
    const Lane &l = *lanes[i].lane;
    try {
      for (int32_t d = l.done; d < l.done + rounds; ++d)
        s->tables.open(Stage::Core, d, l.position);
      if (s->everyIteration(l) && info.stage(Stage::Coda))
        s->tables.openReadout(l.done, s->final(), {&l.position, 1});
      ++i;
    } catch (const Error &) {
      eraseSequence(lanes, giveWay(*s));
      i = 0; // rows that are open already stay
    }
  }
  if (lanes.empty())
    return true;
  for (const Member &m : lanes)
    writeDraws(*m.sequence, *m.lane, true);
  if (!(options.faults & (FaultNeedShared | FaultParentOnly)))
    laws(Stage::Core, lanes, rounds);
  call(Stage::Core, lanes, rounds, keep ? LOOPC_CALL_KEEP_RUNNING : 0);
  stats.rounds += uint64_t(rounds);
  std::vector<uint8_t> fired(lanes.size());
  for (size_t i = 0; i < lanes.size(); ++i)
    fired[i] = afterCore(lanes[i], rounds, keep, arrays.iteration[i], arrays.exited[i] != 0);
  check(lanes, fired);
  for (size_t i = 0; i < lanes.size(); ++i)
    settle(lanes[i], fired[i] != 0);
  leaveTogether(lanes);
  iterationReadouts(lanes);
  for (const Member &m : lanes)
    if (m.lane->exited)
      m.sequence->tables.leaveReadout(m.lane->position, m.lane->done);
  return true;
}

bool Engine::Impl::afterCore(const Member &m, int32_t rounds, bool keep, int32_t iteration, bool fired) {
  Sequence &s = *m.sequence;
  Lane &l = *m.lane;
  int32_t most = l.done + rounds;
  if (iteration > most || iteration <= l.done || (iteration < most && (keep || !fired)))
    throw Error("", "request " + std::to_string(s.id) + ": stage core, position " + std::to_string(l.position),
                std::to_string(most) + " iterations completed", std::to_string(iteration));
  stats.laneIterations += uint64_t(iteration - l.done);
  l.done = iteration;
  return fired;
}

void Engine::Impl::check(std::span<const Member> lanes, std::vector<uint8_t> &fired) {
  if (!info.exit || !info.exit->check)
    return;
  std::vector<Member> due;
  for (const Member &m : lanes)
    if (m.sequence->modelExit(info) && m.sequence->testDue(m.lane->done) && (m.lane->depth == 0 || m.sequence->options.group || info.contract.group != "lane"))
      due.push_back(m);
  std::fill(fired.begin(), fired.end(), 0);
  if (due.empty())
    return;
  for (const Member &m : due)
    m.sequence->tables.open(Stage::Coda, 0, m.lane->position);
  if (info.poolOf(Stage::Coda) >= 0)
    laws(Stage::Check, due, 1);
  call(Stage::Check, due, 1, 0);
  if (info.stage(Stage::Decide)) {
    foldFields(due);
    call(Stage::Decide, due, 1, 0);
  }
  const FieldInfo &stop = *info.field("exit.stop");
  for (const Member &m : due) {
    m.lane->checked = m.lane->done;
    float flag;
    std::memcpy(&flag, slot(m.slot) + stop.offset, sizeof flag);
    for (size_t i = 0; i < lanes.size(); ++i)
      if (lanes[i].lane == m.lane)
        fired[i] = flag != 0;
    if (m.sequence->options.lastCheck)
      std::memcpy(slot(m.slot + 2 * options.capacity), slot(m.slot), info.bankRowBytes);
  }
}

void Engine::Impl::settle(const Member &m, bool fired) {
  Sequence &s = *m.sequence;
  Lane &l = *m.lane;
  bool act = false;
  if (!s.modelExit(info))
    fired = false;
  else if (fired && l.depth == 0) {
    act = s.testDue(l.done);
    fired = act;
    l.left = act;
  }
  l.fired = fired && !info.exit->check;
  if (s.exit != ExitMode::Off && s.givenExit(l.position) == l.done)
    act = true;
  if (s.job)
    observe(s, l, l.slot, Moment::Iteration, *s.job);
  if (act && l.depth == 0) {
    l.depth = l.done;
    if (s.options.group)
      return; // see leaveTogether
    if (s.exit == ExitMode::Leave || l.done == s.policy.loops)
      return leave(s, l);
    std::memcpy(slot(l.slot + 2 * options.capacity), slot(l.slot), info.bankRowBytes);
    l.snapshot = true;
  }
  if (l.done == s.policy.loops) {
    bool last = s.options.lastCheck && l.checked && l.depth == 0;
    l.snapshot |= last;
    if (l.depth == 0)
      l.depth = last ? l.checked : l.done;
    if (!s.options.group)
      leave(s, l);
  }
}

/// Lanes of a group that have just fired give their outputs; once all have fired or run all iterations, all leave.
void Engine::Impl::leaveTogether(std::span<const Member> lanes) {
  std::vector<Member> fresh;
  std::map<uint32_t, bool> open;
  for (const Member &m : lanes)
    if (uint32_t group = m.sequence->options.group) {
      open[group] |= m.lane->depth == 0;
      if (m.lane->left && !m.lane->frozen)
        fresh.push_back(m);
    }
  for (const Member &m : fresh) {
    m.sequence->tables.open(Stage::Coda, 0, m.lane->position);
    m.lane->frozen = true;
  }
  if (!fresh.empty() && info.stage(Stage::Coda))
    call(Stage::Coda, fresh, 1, 0);
  outputs(fresh);
  for (const Member &m : lanes)
    if (uint32_t group = m.sequence->options.group; group && !open[group]) {
      m.lane->snapshot = m.sequence->options.lastCheck && m.lane->checked > 0;
      leave(*m.sequence, *m.lane);
    }
}

void Engine::Impl::leave(Sequence &s, Lane &l) {
  l.exited = true;
  if (!(options.faults & FaultNoAlias))
    s.tables.leave(l.position, l.done);
}

void Engine::Impl::readouts(std::span<Sequence *const> set) {
  std::vector<Member> lanes;
  for (Sequence *s : set) {
    for (Lane &l : s->lanes) {
      if (!l.exited)
        break; // coda steps are taken in position order
      if (!l.codaFinal)
        lanes.push_back({s, &l, l.snapshot ? l.slot + 2 * options.capacity : l.slot});
    }
  }
  for (size_t i = 0; i < lanes.size();) {
    Sequence *s = lanes[i].sequence;
    try {
      s->tables.open(Stage::Coda, 0, lanes[i].lane->position);
      ++i;
    } catch (const Error &) {
      eraseSequence(lanes, giveWay(*s));
      i = 0;
    }
  }
  if (lanes.empty())
    return;
  if (info.stage(Stage::Coda)) {
    std::vector<Member> steps = lanes;
    if (options.faults & FaultSkipCoda)
      std::erase_if(steps, [](const Member &m) { return m.sequence->job->rowOf(m.lane->position) < 0; });
    else
      laws(Stage::Coda, steps, 1);
    if (!steps.empty())
      call(Stage::Coda, steps, 1, 0);
  }
  std::vector<Member> now;
  for (const Member &m : lanes) {
    m.lane->codaFinal = true;
    m.sequence->tables.overwrite(m.lane->position);
    if (!m.lane->frozen)
      now.push_back(m);
  }
  outputs(now);
  for (const Member &m : lanes)
    keepWarm(*m.sequence, *m.lane, m.slot);
  for (size_t i = 0; i < lanes.size(); ++i)
    if (i == 0 || lanes[i].sequence != lanes[i - 1].sequence)
      retire(*lanes[i].sequence);
}

void Engine::Impl::outputs(std::span<const Member> lanes) {
  std::vector<Member> heads;
  for (const Member &m : lanes)
    if (!m.sequence->job->result.logits.empty() && m.sequence->job->rowOf(m.lane->position) >= 0)
      heads.push_back(m);
  head(heads, [](const Member &m) {
    FeedResult &r = m.sequence->job->result;
    return r.logits.data() + size_t(m.sequence->job->rowOf(m.lane->position)) * r.vocab;
  });
  for (const Member &m : lanes)
    observe(*m.sequence, *m.lane, m.slot, Moment::Final, *m.sequence->job);
}

void Engine::Impl::retire(Sequence &s) {
  size_t n = 0;
  while (n < s.lanes.size() && s.lanes[n].codaFinal)
    ++n;
  if (s.order == Order::Chunk &&
      !(options.faults & FaultPartialChunk)) // whole chunks, so that one can always be begun again
    while (n > 0 && n < s.lanes.size() && s.lanes[n].chunk == s.lanes[n - 1].chunk)
      --n;
  for (size_t i = 0; i < n; ++i) {
    const Lane &l = s.lanes[i];
    freeSlots.push_back(l.slot);
    if (++s.computed > s.known()) {
      s.depths.push_back(l.depth);
      s.executed.push_back(l.done);
      s.job->result.depth.push_back(l.depth);
      s.job->result.executed.push_back(l.done);
      s.job->result.fired.push_back(l.left);
      ++stats.tokens;
      continue;
    }
    ++stats.again;
    if (info.contract.group == "whole") { // another answer: later tokens are there now
      s.depths[l.position] = l.depth;
      s.executed[l.position] = l.done;
      continue;
    }
    if (!s.forgetExits && (s.depths[l.position] != l.depth || s.executed[l.position] != l.done))
      throw Error("",
                  "request " + std::to_string(s.id) + ": position " + std::to_string(l.position) + " computed again",
                  "an exit after " + std::to_string(s.depths[l.position]) + " of " +
                      std::to_string(s.executed[l.position]) + " iterations",
                  std::to_string(l.depth) + " of " + std::to_string(l.done));
  }
  s.lanes.erase(s.lanes.begin(), s.lanes.begin() + ptrdiff_t(n));
  settleFeeds(s);
}

} // namespace loopc::rt
