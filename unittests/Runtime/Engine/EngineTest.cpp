// The lane scheduler against token-after-token decoding, in exact integers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

using namespace loopc::rt;
using namespace loopc::rt::fake;

namespace {

using Rng = std::mt19937_64;
int pick(Rng &r, int low, int high) { return low + int(r() % uint64_t(high - low + 1)); }

/// A random life of several sequences over one engine; returns the first difference, empty if there is none.
class Fuzz {
public:
  Fuzz(uint64_t seed, uint32_t faults, std::vector<std::string> policies, bool exits, bool control)
      : rng(seed), exits(exits), control(control) {
    name = policies[rng() % policies.size()];
    shape = shapeOf(name);
    shape.maxLoops = pick(rng, 1, 6);
    shape.coda = pick(rng, 0, 3) > 0;
    shape.exit = exits && pick(rng, 0, 3) > 0;
    shape.draws = pick(rng, 0, 1);
    executor = std::make_unique<FakeExecutor>(shape);
    EngineOptions o;
    o.capacity = uint32_t(pick(rng, 1, 9));
    o.kvBytes = 1 << 22;
    o.poison = Poison::On;
    o.shuffle = pick(rng, 0, 2) > 0;
    o.shuffleSeed = rng();
    o.faults = faults;
    engine = std::make_unique<Engine>(*executor, o);
    capacity = o.capacity;
  }

  std::string run(int actions) {
    try {
      for (int i = 0; i < actions && problem.empty(); ++i)
        act();
      for (int guard = 0; problem.empty() && engine->step(); ++guard)
        if (guard > 100000)
          problem = "no end";
      collect();
      while (!live.empty()) {
        engine->close(live.begin()->first);
        live.erase(live.begin());
        engine->checkInvariants();
      }
      for (size_t p = 0; p < engine->info().pools.size(); ++p)
        if (engine->pool(p).pagesInUse() || engine->pool(p).rowsInUse())
          problem = "pages are left";
      if (engine->slotsInUse())
        problem = "slots are left";
    } catch (const Error &e) {
      problem = e.what();
    }
    if (problem.empty() && executor->badReads)
      problem = std::to_string(executor->badReads) + " reads of rows that hold nothing";
    return problem;
  }

private:
  struct Client {
    Story story;
    bool busy = false;
    FeedOptions feed;
  };

  void open() {
    Client c;
    Story &s = c.story;
    s.shape = shape;
    s.options.loops = s.loops = pick(rng, 1, shape.maxLoops);
    s.options.seed = rng();
    s.threshold = float(pick(rng, 0, 2) * 25);
    s.options.knobs["threshold"] = s.threshold;
    s.options.exit = ExitMode::Off;
    if (exits && pick(rng, 0, 3) > 0)
      s.options.exit = mayLeave(shape.policy) && pick(rng, 0, 2) > 0 ? ExitMode::Leave : ExitMode::Select;
    s.exit = s.options.exit;
    if (s.exit != ExitMode::Off && pick(rng, 0, 1))
      for (int p = 0; p < 60; ++p)
        s.options.exitAfter.push_back(pick(rng, 0, s.loops));
    if (pick(rng, 0, 3) == 0) {
      s.options.minLoops = pick(rng, 1, 3);
      s.options.checkEvery = pick(rng, 1, 3);
    }
    int order = pick(rng, 0, 3);
    s.options.order = order == 0 ? PrefillOrder::Token : order == 1 ? PrefillOrder::Chunk : PrefillOrder::Declared;
    s.order = order == 0               ? Order::Token
              : order == 1             ? Order::Chunk
              : shape.order == "pass"  ? Order::Pass
                                       : Order::Free;
    if (shape.draws && pick(rng, 0, 2) == 0) {
      GivenDraw &draw = s.options.draws["n"];
      for (int p = 0; p < 80; ++p)
        draw.values.push_back(float(pick(rng, 0, 50)));
    }
    SequenceId id = engine->open(s.options);
    live[id] = std::move(c);
  }

  void feed(SequenceId id, Client &c) {
    Story &s = c.story;
    int n = pick(rng, 1, 8);
    if (s.tokens.size() + size_t(n) > 60)
      return;
    c.feed = {};
    c.feed.chunk = uint32_t(pick(rng, 0, 4));
    if (s.order == Order::Chunk && (c.feed.chunk == 0 || c.feed.chunk > capacity)) {
      c.feed.chunk = 0;
      n = std::min(n, int(capacity));
    }
    c.feed.logits = LogitsFor(pick(rng, 0, 2));
    c.feed.everyIteration = pick(rng, 0, 3) == 0;
    if (pick(rng, 0, 3) == 0)
      c.feed.observe = {"h"};
    std::vector<int32_t> tokens;
    for (int i = 0; i < n; ++i)
      tokens.push_back(pick(rng, 0, int(vocab) - 1));
    size_t piece = c.feed.chunk && s.order != Order::Pass ? c.feed.chunk : size_t(n);
    for (size_t i = 0; i < tokens.size(); ++i) {
      s.chunk.push_back(chunks + int(i / piece));
      s.everyIteration.push_back(c.feed.everyIteration);
    }
    chunks += n + 1;
    s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
    if (pick(rng, 0, 3) == 0 && engine->slotsInUse() == 0) {
      check(id, c, engine->feed(id, tokens, c.feed));
    } else {
      engine->enqueue(id, tokens, c.feed);
      c.busy = true;
    }
  }

  void cut(Client &c, size_t n) {
    c.story.tokens.resize(n);
    c.story.chunk.resize(n);
    c.story.everyIteration.resize(n);
  }

  void act() {
    int what = pick(rng, 0, 99);
    if (live.empty() || (what < 8 && live.size() < 5))
      return open();
    auto it = live.begin();
    std::advance(it, ptrdiff_t(rng() % live.size()));
    auto &[id, c] = *it;
    if (what < 35 && !c.busy) {
      feed(id, c);
    } else if (control && what < 42) {
      SequenceId copy = engine->fork(id);
      Client other = c;
      other.busy = false;
      cut(other, engine->length(id));
      live[copy] = std::move(other);
    } else if (control && what < 48) {
      uint32_t to = uint32_t(pick(rng, int(engine->length(id)) / 2, int(engine->length(id))));
      engine->rollback(id, to);
      c.busy = false;
      cut(c, to);
    } else if (control && what < 50) {
      engine->close(id);
      live.erase(it);
    } else if (control && what >= 95) {
      engine->preempt(id, Preempt(pick(rng, 0, 2)));
      engine->step();
      engine->checkInvariants();
      engine->resume(id);
    } else if (control && what < 52 && executor->failAt < 0) {
      executor->failAt = pick(rng, 0, 3);
      try {
        while (executor->failAt >= 0 && engine->step())
          ;
        executor->failAt = -1;
      } catch (const Error &) {
        for (auto &[i, client] : live)
          if (client.busy && engine->tokens(i).size() < client.story.tokens.size()) {
            client.busy = false;
            cut(client, engine->length(i));
          }
      }
    } else {
      for (int i = pick(rng, 1, 4); i > 0; --i)
        engine->step();
    }
    collect();
    engine->checkInvariants();
  }

  void collect() {
    for (auto &[id, c] : live)
      if (c.busy && engine->ready(id)) {
        c.busy = false;
        check(id, c, *engine->take(id));
      }
  }

  void differ(SequenceId id, const std::string &what, uint32_t position) {
    if (problem.empty())
      problem = "policy " + name + ", sequence " + std::to_string(id) + " (" + live[id].story.describe() +
                "), position " + std::to_string(position) + ": " + what + " differs";
  }

  void check(SequenceId id, const Client &c, const FeedResult &r) {
    Answer want = decode(c.story);
    for (uint32_t i = 0; i < r.count; ++i) {
      uint32_t p = r.first + i;
      if (r.depth[i] != want.depth[p] || r.executed[i] != want.executed[p])
        differ(id, "exit depth", p);
      if (i < r.count - r.rows)
        continue;
      uint32_t row = i - (r.count - r.rows);
      if (!r.logits.empty() && !std::equal(want.logits[p].begin(), want.logits[p].end(), r.row(row).begin()))
        differ(id, "readout", p);
      for (uint32_t d = 0; d < r.loops; ++d) {
        bool ran = d < want.iterationLogits[p].size();
        for (uint32_t v = 0; v < vocab && !r.iterationLogits.empty(); ++v)
          if (r.iterationLogits[(size_t(row) * r.loops + d) * vocab + v] != (ran ? want.iterationLogits[p][d][v] : 0))
            differ(id, "readout after iteration " + std::to_string(d), p);
        if (auto h = r.observed.find("h"); h != r.observed.end())
          if (h->second.iterations[size_t(row) * r.loops + d] != (ran ? want.states[p][d] : 0))
            differ(id, "state after iteration " + std::to_string(d), p);
      }
    }
  }

  Rng rng;
  bool exits, control;
  std::string name;
  Shape shape;
  std::unique_ptr<FakeExecutor> executor;
  std::unique_ptr<Engine> engine;
  uint32_t capacity = 0;
  int chunks = 0;
  std::map<SequenceId, Client> live;
  std::string problem;
};


uint64_t rounds(uint64_t normal) {
  const char *more = std::getenv("LOOPC_FUZZ_ROUNDS");
  return more ? std::strtoull(more, nullptr, 10) : normal;
}

TEST(EngineFuzz, FixedDepthAllPolicies) {
  for (uint64_t seed = 1; seed <= rounds(100); ++seed)
    ASSERT_EQ(Fuzz(seed, 0, allPolicies, false, false).run(60), "") << "seed " << seed;
}

TEST(EngineFuzz, ExitsAllPolicies) {
  for (uint64_t seed = 1; seed <= rounds(100); ++seed)
    ASSERT_EQ(Fuzz(seed, 0, allPolicies, true, false).run(60), "") << "seed " << seed;
}

TEST(EngineFuzz, ForkRollbackCloseFailure) {
  for (uint64_t seed = 1; seed <= rounds(100); ++seed)
    ASSERT_EQ(Fuzz(seed, 0, allPolicies, true, true).run(100), "") << "seed " << seed;
}

/// A mistake made on purpose must be noticed by some seed.
void expectNoticed(uint32_t fault, std::vector<std::string> policies, bool exits, bool control) {
  for (uint64_t seed = 1; seed <= 400; ++seed)
    if (!Fuzz(seed, fault, policies, exits, control).run(60).empty())
      return;
  FAIL() << "400 seeds did not notice the mistake";
}

TEST(EngineFaults, SharedPlaneNeedsOnlyTheSameIteration) {
  for (const char *policy : {"single", "ring(2)", "stride(2)", "first_then_shared(2)", "last(1)", "boundaries",
                             "anchor(2, 2)", "layer ring(1)", "layer stride(3)", "first single"})
    expectNoticed(FaultNeedShared, {policy}, false, false);
}
TEST(EngineFaults, OnlyTheParentIsAsked) { expectNoticed(FaultParentOnly, {"last_exited"}, true, false); }
TEST(EngineFaults, NoAliasAtExit) { expectNoticed(FaultNoAlias, {"last_exited"}, true, false); }
TEST(EngineFaults, ForkWritesSharedRows) { expectNoticed(FaultForkShares, {"depth_indexed"}, false, true); }
TEST(EngineFaults, RecomputedTokensForgetTheirExit) {
  expectNoticed(FaultRecomputeFull, {"last_exited"}, true, true);
}

//===- Directed -----------------------------------------------------------------------------------------------------===//

TEST(Engine, CallsOfPrefillAreAsTheLagSays) {
  // runtime.md §0: T + (N - 1) * lag iterations for N tokens.
  for (const char *policy : {"depth_indexed", "ring(2)", "stride(2)", "first_then_shared(3)", "last(2)", "boundaries"}) {
    FakeExecutor executor(shapeOf(policy));
    Engine engine(executor, {.capacity = 16, .kvBytes = 1 << 20});
    SequenceId id = engine.open({.loops = 6, .exit = ExitMode::Off});
    std::vector<int32_t> tokens(8, 1);
    engine.feed(id, tokens, {.observe = {"h"}}); // observing makes every call one iteration
    Policy p = Policy::make(engine.info().policy, 6, false);
    EXPECT_EQ(engine.stats().rounds, uint64_t(6 + 7 * p.lag())) << policy;
  }
}

TEST(Engine, OneCallOfAllIterations) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  Engine engine(executor, {.capacity = 16, .kvBytes = 1 << 20});
  SequenceId id = engine.open({.loops = 5, .exit = ExitMode::Off});
  std::vector<int32_t> tokens(8, 2);
  engine.feed(id, tokens);
  EXPECT_EQ(engine.stats().calls[size_t(Stage::Core)], 1u);
  EXPECT_EQ(engine.stats().laneIterations, 40u);
  engine.feed(id, std::span(tokens).first(1));
  EXPECT_EQ(engine.stats().calls[size_t(Stage::Core)], 2u);
}

TEST(Engine, DecodeWithLeavingExitIsOneCall) {
  FakeExecutor executor(shapeOf("last_exited"));
  Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20});
  SequenceId id = engine.open({.loops = 6, .knobs = {{"threshold", 60.f}}, .exit = ExitMode::Leave});
  std::vector<int32_t> one = {3};
  int early = 0;
  for (int i = 0; i < 20; ++i)
    early += engine.feed(id, one).depth[0] < 6;
  EXPECT_EQ(engine.stats().calls[size_t(Stage::Core)], 20u);
  EXPECT_GT(early, 0);
}

TEST(Engine, SequencesShareCalls) {
  FakeExecutor executor(shapeOf("last_exited"));
  Engine engine(executor, {.capacity = 32, .kvBytes = 1 << 20});
  std::vector<int32_t> tokens = {1, 2, 3};
  for (int i = 0; i < 8; ++i)
    engine.enqueue(engine.open({.loops = 1 + i % 3, .exit = ExitMode::Off}), tokens);
  while (engine.step())
    ;
  EXPECT_LE(engine.stats().calls[size_t(Stage::Core)], 4u);
  EXPECT_EQ(engine.stats().tokens, 24u);
}

TEST(Engine, ReadsKeysBack) {
  FakeExecutor executor(shapeOf("last_exited"));
  Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20});
  SequenceId id = engine.open({.loops = 3, .exit = ExitMode::Leave, .exitAfter = {0, 1}});
  std::vector<int32_t> tokens = {1, 2, 3};
  engine.feed(id, tokens);
  KvBlock k0 = engine.readKv(id, Stage::Core, 0, 1, 0, 0, 0, 3), k2 = engine.readKv(id, Stage::Core, 0, 1, 0, 2, 0, 3);
  KvBlock v2 = engine.readKv(id, Stage::Core, 0, 1, 1, 2, 0, 3);
  EXPECT_EQ(k0.values[1], k2.values[1]); // position 1 left after one iteration
  EXPECT_NE(k0.values[0], k2.values[0]);
  for (int p = 0; p < 3; ++p)
    EXPECT_EQ(v2.values[size_t(p)], float(valueOf(int64_t(k2.values[size_t(p)]))));
  EXPECT_NE(messageOf([&] { engine.readKv(id, Stage::Core, 0, 5, 0, 0, 0, 1); }).find("layers 0 .. 1"),
            std::string::npos);
}

TEST(Engine, ModelWithoutLoop) {
  Shape shape;
  shape.loop = shape.coda = shape.exit = false;
  FakeExecutor executor(shape);
  Engine engine(executor, {.capacity = 3, .kvBytes = 1 << 20});
  SequenceId id = engine.open();
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5};
  FeedResult r = engine.feed(id, tokens, {.logits = LogitsFor::All});
  Story story;
  story.shape = shape;
  story.tokens = tokens;
  story.everyIteration.assign(5, false);
  Answer want = decode(story);
  for (uint32_t p = 0; p < 5; ++p)
    EXPECT_TRUE(std::equal(want.logits[p].begin(), want.logits[p].end(), r.row(p).begin()));
  EXPECT_NE(messageOf([&] { engine.open({.loops = 2}); }).find("one without a loop"), std::string::npos);
}

TEST(Engine, StandardisedDraws) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20});
  SequenceId id = engine.open({.exit = ExitMode::Off});
  std::vector<int32_t> tokens = {1, 2};
  FeedResult r = engine.feed(id, tokens, {.logits = LogitsFor::All, .observe = {"draw.m"}});
  const std::vector<float> &values = r.observed["draw.m"].prelude;
  ASSERT_EQ(values.size(), 16u);
  for (int position = 0; position < 2; ++position) {
    double sum = 0, square = 0;
    for (int i = 0; i < 8; ++i) {
      sum += values[size_t(position * 8 + i)];
      square += values[size_t(position * 8 + i)] * values[size_t(position * 8 + i)];
    }
    EXPECT_NEAR(sum, 0, 1e-5);
    EXPECT_NEAR(square, 7, 1e-4);
  }
  EXPECT_NE(values[0], values[8]);
}

TEST(Engine, RefusesWithBothValues) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20});
  auto has = [](const std::string &message, const std::string &part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  has(messageOf([&] { engine.open({.loops = 7}); }), "expected 1 .. 6, but got 7");
  has(messageOf([&] { engine.open({.exit = ExitMode::Leave}); }), "policy depth_indexed");
  has(messageOf([&] { engine.open({.knobs = {{"treshold", 1.f}}}); }), "one of threshold");
  has(messageOf([&] { engine.open({.knobs = {{"threshold", 101.f}}}); }), "but got 101");
  has(messageOf([&] { engine.open({.draws = {{"absent", {}}}}); }), "a draw of the model");
  SequenceId id = engine.open({.exit = ExitMode::Off, .draws = {{"n", {0, {1, 2}}}}});
  std::vector<int32_t> three = {1, 2, 3}, bad = {7}, many(201, 1);
  has(messageOf([&] { engine.feed(id, three); }), "positions 0 .. 1");
  has(messageOf([&] { engine.feed(id, bad); }), "tokens in 0 .. 6, but got 7");
  has(messageOf([&] { engine.feed(id, {}); }), "at least one token");
  has(messageOf([&] { engine.feed(id, many); }), "at most 200 positions, but got 201");
  has(messageOf([&] { engine.feed(id, std::span(three).first(1), {.observe = {"x"}}); }), "to observe");
  has(messageOf([&] { engine.feed(99, three); }), "an open sequence");
  SequenceId chunked = engine.open({.exit = ExitMode::Off, .order = PrefillOrder::Chunk});
  std::vector<int32_t> five(5, 1);
  has(messageOf([&] { engine.feed(chunked, five); }), "at most 4 tokens, since a chunk is one call here, but got 5");
  has(messageOf([&] { engine.rollback(chunked, 1); }), "at most 0, but got 1");
  engine.enqueue(chunked, three);
  has(messageOf([&] { engine.enqueue(chunked, three); }), "to be taken first");
}

TEST(Engine, RunsOutOfMemoryAndGoesOn) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  // Pages: prelude 128, core 320 for each plane, coda 128 bytes.
  Engine engine(executor, {.capacity = 8, .kvBytes = 128 + 3 * 320 + 128 + 100, .evict = false});
  SequenceId a = engine.open({.loops = 3, .exit = ExitMode::Off}), b = engine.open({.loops = 3, .exit = ExitMode::Off});
  std::vector<int32_t> tokens = {1, 2, 3};
  engine.enqueue(a, tokens);
  engine.enqueue(b, tokens);
  while (engine.step())
    engine.checkInvariants();
  int failed = 0;
  for (SequenceId id : {a, b}) {
    std::string message = refusalOf([&] { engine.take(id); });
    failed += message.find("K/V memory of stage") != std::string::npos;
  }
  EXPECT_GE(failed, 1);
  engine.checkInvariants();
  engine.close(b);
  engine.rollback(a, 0);
  EXPECT_EQ(engine.feed(a, tokens).depth, (std::vector<int32_t>{3, 3, 3}));
}

TEST(Engine, MakesRoomWhenMemoryRunsOut) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  std::vector<int32_t> tokens = {1, 2, 3};
  std::vector<float> want;
  for (uint64_t bytes : {uint64_t(1) << 20, uint64_t(128 + 3 * 320 + 128 + 100)}) {
    Engine engine(executor, {.capacity = 8, .kvBytes = bytes, .check = true});
    std::vector<SequenceId> ids;
    for (size_t i = 0; i < 4; ++i) {
      ids.push_back(engine.open({.loops = 3, .exit = ExitMode::Off}));
      engine.enqueue(ids.back(), std::span(tokens).first(1 + i % 3));
    }
    while (engine.step())
      ;
    std::vector<float> found;
    auto add = [&](const FeedResult &r) { found.insert(found.end(), r.logits.begin(), r.logits.end()); };
    for (SequenceId id : ids)
      add(*engine.take(id));
    int32_t more = 4; // the rows of the first have gone
    add(engine.feed(ids[0], {&more, 1}));
    if (want.empty())
      want = found;
    EXPECT_EQ(found, want);
    EXPECT_EQ(engine.stats().evictions > 0, bytes < 4096);
    EXPECT_EQ(engine.length(ids[0]), 2u);
  }
  Engine small(executor, {.capacity = 8, .kvBytes = 128 + 2 * 320});
  SequenceId id = small.open({.loops = 3, .exit = ExitMode::Off});
  EXPECT_NE(messageOf([&] { small.feed(id, tokens); }).find("K/V memory of stage core"), std::string::npos);
  small.checkInvariants();
}

TEST(Engine, FailedCallLosesOnlyWhatWasInFlight) {
  FakeExecutor executor(shapeOf("depth_indexed"));
  Engine engine(executor, {.capacity = 8, .kvBytes = 1 << 20});
  SequenceId id = engine.open({.loops = 3, .exit = ExitMode::Off});
  std::vector<int32_t> tokens = {1, 2, 3};
  engine.feed(id, tokens);
  executor.failAt = 1;
  EXPECT_NE(messageOf([&] { engine.feed(id, tokens); }).find("stopped with 7"), std::string::npos);
  EXPECT_EQ(engine.length(id), 3u);
  engine.checkInvariants();
  EXPECT_EQ(engine.feed(id, tokens).first, 3u);
}

/// A kept mean is that of the rows of all iterations; what they were is gone.
TEST(Engine, KeepsTheMeanOfIterations) {
  Shape shape = shapeOf("single");
  shape.keep = "mean";
  shape.order = "pass";
  shape.draws = false;
  Shape full = shapeOf("depth_indexed");
  full.draws = false;
  FakeExecutor executor(shape), other(full);
  Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20}), plain(other, {.capacity = 4, .kvBytes = 1 << 20});
  std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6};
  SequenceId id = engine.open({.loops = 3, .exit = ExitMode::Off}), all = plain.open({.loops = 3, .exit = ExitMode::Off});
  std::vector<float> logits = engine.feed(id, tokens, {.logits = LogitsFor::All, .chunk = 2}).logits;
  EXPECT_EQ(logits, plain.feed(all, tokens, {.logits = LogitsFor::All}).logits); // inside a pass, full planes
  for (int layer = 0; layer < layers; ++layer)
    for (int kv = 0; kv < 2; ++kv) {
      std::vector<float> sum(6);
      for (uint32_t d = 0; d < 3; ++d)
        for (size_t i = 0; i < 6; ++i)
          sum[i] += plain.readKv(all, Stage::Core, 0, layer, kv, d, 0, 6).values[i];
      for (uint32_t d = 0; d < 3; ++d)
        for (size_t i = 0; i < 6; ++i)
          EXPECT_EQ(engine.readKv(id, Stage::Core, 0, layer, kv, d, 0, 6).values[i], sum[i] / 3);
    }
  engine.checkInvariants();
  EXPECT_EQ(engine.pool(1).pagesInUse(), 1u); // one plane
}

} // namespace
