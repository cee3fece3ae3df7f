// Random and directed schedules on compiled code; mistakes made on purpose; leaks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LOOPC_FUZZ_ROUNDS=N runs N seeds instead of a few, from LOOPC_FUZZ_SEED on: a failure names its seed, and that
// variable with LOOPC_FUZZ_ROUNDS=1 runs it again.
#include "Storm.h"
#include "loopc/runtime/Generate.h"
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <malloc.h>

using namespace loopc::rt;
using namespace loopc::rt::test;

namespace {

uint64_t setting(const char *name, uint64_t otherwise) {
  const char *text = std::getenv(name);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

std::string storm(uint64_t seed, uint32_t faults = 0, uint32_t workers = 0) {
  return Storm(load(modelNames()[seed % modelNames().size()]), seed, faults, workers).run(60);
}

TEST(Storms, RandomSchedules) {
  uint64_t first = setting("LOOPC_FUZZ_SEED", 1), count = setting("LOOPC_FUZZ_ROUNDS", 150);
  std::printf("seeds %llu .. %llu\n", (unsigned long long)first, (unsigned long long)(first + count - 1));
  for (uint64_t seed = first; seed < first + count; ++seed)
    ASSERT_EQ(storm(seed), "") << "LOOPC_FUZZ_SEED=" << seed << " LOOPC_FUZZ_ROUNDS=1 runs this schedule again";
}

/// What differs if a prompt is preempted after each of its first steps.
std::string preempted(const Model &model, const Request &request, Preempt how, uint32_t faults = 0) {
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  const std::vector<float> want = decodeAlone(model, request).logits;
  for (int step = 0; step < 8; ++step) {
    Engine engine(*executor, {.capacity = 4,
                              .kvBytes = 1 << 22,
                              .poison = Poison::On,
                              .check = faults == 0,
                              .shuffle = true,
                              .faults = faults});
    SequenceId id = engine.open(request.options);
    engine.enqueue(id, request.prompt, {.logits = LogitsFor::All});
    for (int i = 0; i < step; ++i)
      engine.step();
    engine.preempt(id, how);
    if (engine.slotsInUse() > 0)
      return "slots in use after step " + std::to_string(step);
    for (size_t p = 0; how != Preempt::Keep && p < engine.info().pools.size(); ++p)
      if (engine.pool(p).rowsInUse() > 0)
        return "rows in use after step " + std::to_string(step);
    if (engine.step() && !engine.ready(id))
      return "a held request runs after step " + std::to_string(step);
    engine.resume(id);
    while (!engine.ready(id) && engine.step())
      ;
    if (engine.take(id)->logits != want)
      return "logits after step " + std::to_string(step);
  }
  return "";
}

/// Every switch has to be noticed by some schedule of these models.
struct Mistake {
  Fault fault;
  const char *name;
  std::vector<std::string> models;
};
const std::vector<Mistake> mistakes = {
    {FaultNeedShared, "NeedShared", {"ouro-single-f32", "ouro-ring2-f32", "ouro-stride2-f32", "ouro-first2-f32"}},
    {FaultParentOnly, "ParentOnly", {"ouro-last_exited-f32"}},
    {FaultNoAlias, "NoAlias", {"ouro-last_exited-f32"}},
    {FaultForkShares, "ForkShares", {"ouro-depth_indexed-f32"}},
    {FaultRecomputeFull, "RecomputeFull", {"ouro-last_exited-f32"}},
    {FaultSkipCoda, "SkipCoda", {"parcae-depth_indexed-f32"}},
    {FaultStaleRows, "StaleRows", {"ouro-last_exited-f32"}},
    {FaultDrawBySlot, "DrawBySlot", {"parcae-depth_indexed-f32"}},
    {FaultPartialChunk, "PartialChunk", {"ouro-single_by_call_exited-f32"}},
};

TEST(MistakeTable, HasEverySwitch) {
  uint32_t all = 0;
  for (const Mistake &m : mistakes)
    all |= m.fault;
  EXPECT_EQ(all, uint32_t(FaultAll));
}

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, IsNoticed) {
  for (const std::string &model : GetParam().models) {
    bool noticed = false;
    for (uint64_t seed = 1; seed <= 400 && !noticed; ++seed)
      noticed = !Storm(load(model), seed, GetParam().fault, 1).run(60).empty() ||
                !preempted(load(model), requestOf(load(model), seed, 4, 0), Preempt::Keep, GetParam().fault).empty();
    EXPECT_TRUE(noticed) << "400 schedules of " << model << " did not notice the mistake";
  }
}

INSTANTIATE_TEST_SUITE_P(Engine, Mistakes, testing::ValuesIn(mistakes),
                         [](const auto &info) { return std::string(info.param.name); });

//===- Directed
//-----------------------------------------------------------------------------------------------------===//

class Directed : public testing::TestWithParam<std::string> {
protected:
  const Model &model = load(GetParam());
  const Request request = requestOf(model, 5, 4, 4);
  std::vector<float> last(const Trace &t) { return {t.logits.end() - ptrdiff_t(model.info().vocab), t.logits.end()}; }
  /// Logits of the last of `tokens`.
  std::vector<float> alone(std::vector<int32_t> tokens) {
    Request r = request;
    r.prompt = std::move(tokens);
    r.count = 0;
    return last(decodeAlone(model, r));
  }
  static std::vector<float> run(Engine &engine, SequenceId id) {
    while (!engine.ready(id) && engine.step())
      engine.checkInvariants();
    FeedResult r = *engine.take(id);
    return {r.row(r.rows - 1).begin(), r.row(r.rows - 1).end()};
  }
};

TEST_P(Directed, ForkAfterEachStepAndGoOnAfterEachDelay) {
  if (model.info().policy.order == "chunk")
    GTEST_SKIP() << "the cut is an input of the function";
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  std::vector<int32_t> prompt = request.prompt, other = {5, 6};
  std::vector<float> want = alone(prompt);
  for (int step = 0; step < 8; ++step)
    for (int delay = 0; delay < 4; ++delay) {
      Engine engine(*executor, {.capacity = 6,
                                .kvBytes = 1 << 22,
                                .poison = Poison::On,
                                .shuffle = true,
                                .shuffleSeed = uint64_t(step * 10 + delay)});
      SequenceId id = engine.open(request.options);
      engine.enqueue(id, prompt);
      for (int i = 0; i < step; ++i)
        engine.step();
      SequenceId copy = engine.fork(id);
      std::vector<int32_t> tokens(prompt.begin(), prompt.begin() + engine.length(copy));
      tokens.insert(tokens.end(), other.begin(), other.end());
      engine.preempt(id);
      engine.enqueue(copy, other);
      for (int i = 0; i < delay; ++i)
        engine.step();
      engine.resume(id);
      EXPECT_EQ(run(engine, id), want) << "step " << step << ", delay " << delay;
      EXPECT_EQ(run(engine, copy), alone(tokens)) << "step " << step << ", delay " << delay;
    }
}

TEST_P(Directed, PreemptedAfterEachStepInEachWay) {
  for (Preempt how : {Preempt::Keep, Preempt::Swap, Preempt::Free})
    for (uint64_t family = 1; family <= 12; ++family)
      EXPECT_EQ(preempted(model, requestOf(model, family, 4, 0), how), "") << "way " << int(how) << ", request " << family;
}

TEST_P(Directed, OldestLaneStalls) {
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  for (uint64_t i : {2, 5, 6, 9}) {
    Request r = requestOf(model, i, 7, 0);
    Engine engine(*executor, {.capacity = 8, .kvBytes = 1 << 22, .poison = Poison::On, .stall = true});
    SequenceId id = engine.open(r.options);
    engine.enqueue(id, r.prompt);
    EXPECT_EQ(run(engine, id), last(decodeAlone(model, r))) << describe(r);
  }
}

TEST_P(Directed, OneSlotAndRoomForOneSequence) {
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  uint64_t pages = 0;
  for (const PoolInfo &p : model.info().pools)
    pages += p.pageBytes * (p.perIteration ? 6 : 1);
  std::vector<GenerateRequest> requests;
  std::vector<Request> family;
  for (uint64_t i = 0; i < 5; ++i) {
    family.push_back(requestOf(model, i, model.info().policy.order == "chunk" ? 1 : 3, 5));
    requests.push_back(
        {.prompt = family[i].prompt, .maxTokens = 5, .sampling = family[i].sampling, .sequence = family[i].options});
  }
  for (uint32_t capacity : {1u, 4u}) {
    Engine engine(*executor, {.capacity = capacity, .kvBytes = pages, .poison = Poison::On, .check = true});
    std::vector<Generated> made = generate(engine, requests, {.atOnce = 4});
    for (size_t i = 0; i < family.size(); ++i) {
      EXPECT_EQ(made[i].error, "");
      Trace want = decodeAlone(model, family[i]);
      EXPECT_TRUE(std::equal(made[i].tokens.begin(), made[i].tokens.end(), want.tokens.end() - 5))
          << describe(family[i]);
    }
    if (model.info().policy.map == KvMap::depth_indexed) // each iteration has a plane, so there is room for no second
      EXPECT_EQ(engine.stats().evictions > 0, capacity > 1); // with one slot the others have not begun
  }
}

INSTANTIATE_TEST_SUITE_P(Compiled, Directed, testing::ValuesIn(modelNames()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

//===- Leaks
//--------------------------------------------------------------------------------------------------------===//

TEST(Leaks, MemoryStaysFlatOverManyShortRequests) {
  const Model &model = load("ouro-last_exited-f32");
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  Engine engine(*executor, {.capacity = 8, .kvBytes = 1 << 24});
  uint64_t count = setting("LOOPC_REQUESTS", 2000), group = 100;
  size_t first = 0;
  for (uint64_t begin = 0; begin < count; begin += group) {
    std::vector<GenerateRequest> requests;
    for (uint64_t i = begin; i < begin + group; ++i) {
      Request r = requestOf(model, i, 1 + uint32_t(i % 3), 2);
      requests.push_back({.prompt = r.prompt, .maxTokens = r.count, .sampling = r.sampling, .sequence = r.options});
    }
    generate(engine, requests);
    engine.checkInvariants();
    EXPECT_EQ(engine.slotsInUse(), 0u);
    for (size_t p = 0; p < engine.info().pools.size(); ++p)
      EXPECT_EQ(engine.pool(p).pagesInUse(), 0u);
    requests = {};
    size_t used = mallinfo2().uordblks;
    if (begin == group * 4)
      first = used;
    if (begin > group * 4) {
      ASSERT_LE(used, first + (64 << 10)) << "after " << begin + group << " requests";
    }
  }
}

} // namespace
