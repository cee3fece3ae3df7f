// A random life of many requests over one engine and compiled code, compared with decoding each of them alone.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Storm.h"
#include <algorithm>
#include <cstring>
#include <utility>

namespace loopc::rt::test {

namespace {
constexpr size_t longest = 40; ///< tokens of a sequence: three pages
bool sameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}
} // namespace

void Story::cut(size_t positions) {
  tokens.resize(positions);
  piece.resize(positions);
  everyIteration.resize(positions);
}

//===- Alone
//--------------------------------------------------------------------------------------------------------===//

Alone::Alone(const Model &model)
    : model(model), executor(model.executor(1)),
      alone(std::make_unique<Engine>(*executor, EngineOptions{.capacity = 16, .kvBytes = 1 << 26, .check = false})) {}

void Alone::forget(uint32_t key) {
  if (auto it = known.find(key); it != known.end()) {
    alone->close(it->second.id);
    known.erase(it);
  }
}

const Alone::Answer &Alone::decode(uint32_t key, const Story &story) {
  if (auto it = known.find(key); it != known.end()) {
    const Story &old = it->second.story;
    size_t n = old.tokens.size();
    if (n > story.tokens.size() || !std::equal(old.tokens.begin(), old.tokens.end(), story.tokens.begin()) ||
        !std::equal(old.piece.begin(), old.piece.end(), story.piece.begin()) ||
        !std::equal(old.everyIteration.begin(), old.everyIteration.end(), story.everyIteration.begin()))
      forget(key);
  }
  auto [it, fresh] = known.try_emplace(key);
  Known &k = it->second;
  if (fresh) {
    SequenceOptions options = story.options;
    if (options.order == PrefillOrder::Causal)
      options.order = PrefillOrder::Token;
    k.id = alone->open(options);
  }
  bool chunked = model.info().policy.order == "chunk";
  for (size_t begin = k.story.tokens.size(); begin < story.tokens.size();) {
    size_t end = begin + 1;
    while (chunked && end < story.tokens.size() && story.piece[end] == story.piece[begin])
      ++end;
    FeedResult r = alone->feed(k.id, std::span(story.tokens).subspan(begin, end - begin),
                               {.logits = LogitsFor::All, .everyIteration = story.everyIteration[begin]});
    k.answer.depth.insert(k.answer.depth.end(), r.depth.begin(), r.depth.end());
    k.answer.executed.insert(k.answer.executed.end(), r.executed.begin(), r.executed.end());
    k.answer.logits.insert(k.answer.logits.end(), r.logits.begin(), r.logits.end());
    r.iterationLogits.resize(size_t(r.count) * r.loops * r.vocab, 0);
    k.answer.iterationLogits.insert(k.answer.iterationLogits.end(), r.iterationLogits.begin(), r.iterationLogits.end());
    begin = end;
  }
  k.story = story;
  return k.answer;
}

//===- Storm
//--------------------------------------------------------------------------------------------------------===//

Storm::Storm(const Model &model, uint64_t seed, uint32_t faults, uint32_t workers)
    : model(model), rng(seed), chunked(model.info().policy.order == "chunk"), alone(model) {
  // Teams larger than the machine are slow, so they are rare.
  executor = model.executor(workers ? workers : below(8) ? 1 + uint32_t(below(2)) : 3 + uint32_t(below(2)));
  EngineOptions o;
  o.capacity = capacity = uint32_t(1 + below(10));
  // Room for everything, or for hardly more than the longest sequence: rows of others then have to go.
  uint64_t pages = 0;
  for (const PoolInfo &p : model.info().pools)
    pages += p.pageBytes * 3 * (p.perIteration ? 6 : p.stage == Stage::Coda ? 7 : 1); // 6 for readouts
  o.kvBytes = below(3) ? 1 << 26 : pages + below(pages);
  o.poison = Poison::On;
  o.check = true;
  o.shuffle = below(3) > 0;
  o.stall = below(4) == 0;
  o.shuffleSeed = rng();
  o.faults = faults;
  engine = std::make_unique<Engine>(*executor, o);
}

std::string Storm::run(int actions) {
  try {
    for (int i = 0; i < actions && problem.empty(); ++i)
      act();
    for (auto &[id, c] : clients)
      if (std::exchange(c.held, false))
        engine->resume(id);
    for (int guard = 0; problem.empty() && engine->step(); ++guard)
      if (guard > 100000)
        problem = "no end";
    collect();
    for (auto &[id, c] : clients)
      if (c.busy && problem.empty())
        problem = "sequence " + std::to_string(id) + " waits for ever";
    while (!clients.empty()) {
      if (problem.empty())
        checkRows(clients.begin()->first, clients.begin()->second);
      engine->close(clients.begin()->first);
      clients.erase(clients.begin());
      engine->checkInvariants();
    }
    for (size_t p = 0; p < engine->info().pools.size() && problem.empty(); ++p)
      if (engine->pool(p).pagesInUse() || engine->pool(p).rowsInUse())
        problem = "pages are left";
    if (engine->slotsInUse() && problem.empty())
      problem = "slots are left";
  } catch (const Error &e) {
    if (problem.empty())
      problem = e.what();
  }
  return problem.empty() ? "" : model.name + ": " + problem;
}

void Storm::open() {
  Client c;
  Request r = requestOf(model, rng(), 0, longest + 8);
  c.story.options = r.options;
  if (model.info().policy.order == "token" && below(2))
    c.story.options.order = PrefillOrder::Causal;
  c.sampler = Sampler(r.sampling);
  c.key = nextKey++;
  clients.emplace(engine->open(c.story.options), std::move(c));
}

void Storm::feed(SequenceId id, Client &c) {
  Story &s = c.story;
  // A token of the sampler, or given ones.
  std::vector<int32_t> tokens;
  if (!c.last.empty() && below(2))
    tokens = {c.sampler.sample(c.last, s.tokens, s.tokens.size())};
  else
    for (uint64_t n = 1 + below(9); n-- > 0;)
      tokens.push_back(int32_t(below(model.info().vocab)));
  if (s.tokens.size() + tokens.size() > longest)
    return;
  c.feed = {};
  c.feed.chunk = below(2) ? 0 : uint32_t(1 + below(5));
  if (chunked && (c.feed.chunk == 0 || c.feed.chunk > capacity)) {
    c.feed.chunk = 0;
    tokens.resize(std::min<size_t>(tokens.size(), capacity));
  }
  c.feed.logits = LogitsFor(below(3));
  c.feed.everyIteration = below(8) == 0;
  size_t piece = c.feed.chunk ? c.feed.chunk : tokens.size();
  for (size_t i = 0; i < tokens.size(); ++i) {
    s.piece.push_back(nextPiece + uint32_t(i / piece));
    s.everyIteration.push_back(c.feed.everyIteration);
  }
  nextPiece += uint32_t(tokens.size()) + 1;
  s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
  if (!c.held && below(4) == 0 && engine->slotsInUse() == 0) {
    check(id, c, engine->feed(id, tokens, c.feed));
  } else {
    engine->enqueue(id, tokens, c.feed);
    c.busy = true;
  }
}

void Storm::copy(SequenceId from, SequenceId to, bool fresh) {
  Client c = clients.at(from);
  c.key = fresh ? nextKey++ : clients.at(to).key;
  c.held = !fresh && clients.at(to).held;
  c.busy = false;
  if (c.story.tokens.size() != engine->length(to))
    c.last.clear();
  c.story.cut(engine->length(to));
  clients[to] = std::move(c);
}

void Storm::act() {
  uint64_t what = below(100);
  if (clients.empty() || (what < 8 && clients.size() < 6))
    return open();
  auto it = clients.begin();
  std::advance(it, ptrdiff_t(below(clients.size())));
  auto &[id, c] = *it;
  auto cutTo = [&, &c = c](uint32_t position) {
    if (position != c.story.tokens.size())
      c.last.clear();
    c.story.cut(position);
    c.busy = false;
  };
  if (what < 40) {
    if (!c.busy)
      feed(id, c);
  } else if (what < 44) {
    copy(id, engine->fork(id), true);
  } else if (what < 46) { // back to what a fork of the same options is at
    for (auto &[other, client] : clients)
      if (other != id && client.story.options == c.story.options && !client.busy) {
        engine->restore(id, other);
        copy(other, id, false);
        break;
      }
  } else if (what < 50) {
    uint32_t length = engine->length(id), to = uint32_t(below(length + 1));
    engine->rollback(id, to);
    cutTo(to);
  } else if (what < 52) {
    engine->cancel(id);
    cutTo(engine->length(id));
  } else if (what < 58) {
    engine->preempt(id, Preempt(below(3)));
    c.held = true;
  } else if (what < 64) {
    engine->resume(id);
    c.held = false;
  } else if (what < 67) {
    if (!c.busy && !c.held)
      checkRows(id, c);
  } else if (what < 69) {
    // Rows that were freed cannot be exported.
    if (c.busy || c.held ||
        (engine->length(id) > 0 && engine->rowOf(id, Stage::Core, 0, engine->length(id) - 1) < 0 &&
         c.story.options.loops != 0))
      return;
    std::vector<uint8_t> bytes = engine->exportRows(id);
    SequenceId other = engine->open(c.story.options);
    try {
      engine->importRows(other, bytes);
    } catch (const Error &e) {
      engine->close(other); // memory may be short; nothing else may be wrong
      if (std::string(e.what()).find("K/V memory") == std::string::npos)
        throw;
      return;
    }
    copy(id, other, true);
  } else if (what < 71) {
    alone.forget(c.key);
    engine->close(id);
    clients.erase(it);
  } else {
    for (uint64_t i = 1 + below(4); i > 0; --i)
      engine->step();
  }
  collect();
}

void Storm::collect() {
  for (auto &[id, c] : clients)
    if (c.busy && engine->ready(id)) {
      c.busy = false;
      check(id, c, *engine->take(id));
    }
}

void Storm::differ(SequenceId id, const std::string &what, uint64_t position) {
  if (problem.empty())
    problem = "sequence " + std::to_string(id) + ", position " + std::to_string(position) + ": " + what + " differs";
}

void Storm::check(SequenceId id, Client &c, const FeedResult &r) {
  const Alone::Answer &want = alone.decode(c.key, c.story);
  std::span<const float> logits(want.logits), iterations(want.iterationLogits);
  size_t wide = size_t(r.loops) * r.vocab;
  for (uint32_t i = 0; i < r.count; ++i) {
    uint32_t p = r.first + i;
    if (r.depth[i] != want.depth[p] || r.executed[i] != want.executed[p])
      differ(id, "exit depth", p);
    if (i < r.count - r.rows)
      continue;
    uint32_t row = i - (r.count - r.rows);
    if (!r.logits.empty() && !sameBits(logits.subspan(size_t(p) * r.vocab, r.vocab), r.row(row)))
      differ(id, "readout", p);
    if (!r.iterationLogits.empty() &&
        !sameBits(iterations.subspan(p * wide, wide), std::span(r.iterationLogits).subspan(row * wide, wide)))
      differ(id, "readout after an iteration", p);
  }
  c.last.clear();
  if (!r.logits.empty())
    c.last.assign(r.row(r.rows - 1).begin(), r.row(r.rows - 1).end());
}

void Storm::checkRows(SequenceId id, Client &c) {
  if (c.busy || c.story.tokens.empty())
    return;
  alone.decode(c.key, c.story);
  SequenceId other = alone.sequence(c.key);
  uint32_t n = uint32_t(c.story.tokens.size());
  for (const PoolInfo &pool : model.info().pools) {
    uint32_t planes = pool.stage == Stage::Core ? uint32_t(engine->loops(id)) : 1;
    for (uint32_t plane = 0; plane < planes; ++plane) {
      if (engine->rowOf(id, pool.stage, plane, 0) < 0 || engine->rowOf(id, pool.stage, plane, n - 1) < 0)
        continue; // freed for others, or no such plane
      for (size_t site = 0; site < pool.sites.size(); ++site)
        for (int64_t layer = 0; layer < pool.sites[site].layers; ++layer)
          for (int kv = 0; kv < 2; ++kv) {
            KvBlock found = engine->readKv(id, pool.stage, site, layer, kv, plane, 0, n);
            KvBlock want = alone.engine().readKv(other, pool.stage, site, layer, kv, plane, 0, n);
            if (!sameBits(want.values, found.values))
              differ(id, std::string(kv ? "value" : "key") + " row of stage " + std::string(stageName(pool.stage)),
                     plane);
          }
    }
  }
}

} // namespace loopc::rt::test
