// Compiled code gives the same bits for every batch, cut of the prompt, number of workers and mixture of depths.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Compiled.h"
#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <tuple>

using namespace loopc::rt;
using namespace loopc::rt::test;

namespace {

/// Requests that share the calls of one engine until each has made its tokens.
std::vector<Trace> decodeTogether(const Model &model, Executor &executor, const std::vector<Request> &requests,
                                  EngineOptions options, uint32_t chunk) {
  Engine engine(executor, options);
  struct Running {
    SequenceId id;
    Sampler sampler;
    Trace trace;
    bool done = false;
  };
  std::vector<Running> running;
  FeedOptions all{.chunk = chunk, .logits = LogitsFor::All};
  for (const Request &r : requests) {
    running.push_back({engine.open(r.options), Sampler(r.sampling), {}});
    engine.enqueue(running.back().id, r.prompt, all);
  }
  bool moved = true;
  while (moved) {
    moved = engine.step();
    for (size_t i = 0; i < running.size(); ++i) {
      Running &one = running[i];
      std::optional<FeedResult> r = engine.take(one.id);
      if (!r)
        continue;
      one.trace.add(*r);
      std::span<const int32_t> tokens = engine.tokens(one.id);
      one.trace.tokens.assign(tokens.begin(), tokens.end());
      if (tokens.size() == requests[i].prompt.size() + requests[i].count)
        continue;
      int32_t token = one.sampler.sample(r->row(r->rows - 1), tokens, tokens.size());
      engine.enqueue(one.id, {&token, 1}, all);
      moved = true;
    }
    engine.checkInvariants();
  }
  std::vector<Trace> traces;
  for (Running &one : running)
    traces.push_back(std::move(one.trace));
  return traces;
}

class Invariance : public testing::TestWithParam<std::string> {
protected:
  const Model &model = load(GetParam());
  bool chunked = model.info().policy.order == "chunk"; // the cut is then an input of the function
};

TEST_P(Invariance, BatchWorkersMixedDepthsAndExits) {
  for (uint32_t workers = 1; workers <= 4; ++workers) {
    std::unique_ptr<CpuExecutor> executor = model.executor(workers);
    for (uint32_t batch : {1u, 3u, 8u, 17u}) {
      std::vector<Request> requests;
      for (uint32_t i = 0; i < batch; ++i)
        requests.push_back(requestOf(model, i, 1 + (i * 5 + 3) % 9, 4));
      // Fewer lanes than sequences, as many, and room for whole prompts.
      uint32_t capacity = chunked ? 64 : workers == 1 ? 64 : workers == 2 ? batch : 5 + workers;
      std::vector<Trace> found = decodeTogether(model, *executor, requests,
                                                {.capacity = capacity, .kvBytes = 1 << 24, .poison = Poison::On}, 0);
      for (uint32_t i = 0; i < batch; ++i) {
        static std::map<std::pair<std::string, uint32_t>, Trace> alone;
        auto [known, fresh] = alone.try_emplace({model.name, i});
        if (fresh)
          known->second = decodeAlone(model, requests[i]);
        EXPECT_EQ(difference(known->second, found[i], model.info().vocab), "")
            << "request " << i << " of " << batch << " (" << describe(requests[i]) << "), workers " << workers;
      }
    }
  }
}

TEST_P(Invariance, EveryCutOfAPrompt) {
  if (chunked)
    GTEST_SKIP() << "the cut is an input of the function";
  constexpr uint32_t length = 6;
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  for (uint64_t i : {1, 2, 4, 5}) {
    Request request = requestOf(model, i, length, 0);
    Trace alone = decodeAlone(model, request);
    for (uint32_t cuts = 0; cuts < 1u << (length - 1); ++cuts) {
      Engine engine(*executor, {.capacity = length, .kvBytes = 1 << 24, .poison = Poison::On});
      SequenceId id = engine.open(request.options);
      Trace found;
      for (uint32_t begin = 0, p = 0; p < length; ++p)
        if (p + 1 == length || (cuts >> p & 1)) {
          found.add(
              engine.feed(id, std::span(request.prompt).subspan(begin, p + 1 - begin), {.logits = LogitsFor::All}));
          begin = p + 1;
        }
      found.tokens = request.prompt;
      EXPECT_EQ(difference(alone, found, model.info().vocab), "")
          << describe(request) << ", cut after the bits of " << cuts;
    }
  }
}

TEST_P(Invariance, LongPromptsInPiecesOverSeveralPages) {
  Request request = requestOf(model, 3, 45, 3);
  Trace alone = decodeAlone(model, request);
  std::unique_ptr<CpuExecutor> executor = model.executor(2);
  for (uint32_t chunk : {0u, 1u, 7u, 16u, 17u, 33u}) {
    if (chunked && chunk > 0)
      continue;
    EngineOptions options{.capacity = chunk == 1 ? 3u : 64u, .kvBytes = 1 << 24, .poison = Poison::On};
    Trace found = decodeTogether(model, *executor, {request}, options, chunk)[0];
    EXPECT_EQ(difference(alone, found, model.info().vocab), "") << describe(request) << ", pieces of " << chunk;
  }
}

TEST_P(Invariance, RequestsOfTheFamilyLeaveAtSeveralDepths) {
  // A family in which nothing varies would make the tests above empty.
  std::map<int32_t, int> depths;
  std::map<int32_t, int> tokens;
  for (uint64_t i = 0; i < 17; ++i) {
    Trace t = decodeAlone(model, requestOf(model, i, 1 + (i * 5 + 3) % 9, 4));
    for (size_t p = 0; p < t.depth.size(); ++p)
      ++depths[t.depth[p]], ++tokens[t.tokens[p]];
  }
  EXPECT_GE(depths.size(), 5u);
  EXPECT_GE(tokens.size(), 15u);
}

/// Models whose prompts, or whole sequences, run together: the same bits alone, in batches and for every number of workers.
class Together : public testing::TestWithParam<std::string> {};

TEST_P(Together, BatchAndWorkers) {
  const Model &model = load("together-" + GetParam() + "-f32");
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 8; ++i) {
    requests.push_back(requestOf(model, i, 1 + (i * 5 + 3) % 9, 3));
    requests.back().options = {.loops = int32_t(1 + i % 5), .seed = i};
  }
  std::unique_ptr<CpuExecutor> one = model.executor(1);
  std::vector<Trace> alone;
  for (const Request &r : requests)
    alone.push_back(decodeTogether(model, *one, {r}, {.capacity = 64, .kvBytes = 1 << 24, .poison = Poison::On}, 0)[0]);
  for (uint32_t workers = 1; workers <= 4; ++workers) {
    std::unique_ptr<CpuExecutor> executor = model.executor(workers);
    for (size_t batch : {size_t(2), requests.size()}) {
      EngineOptions options{.capacity = workers == 4 ? 16u : 128u, .kvBytes = 1 << 24, .poison = Poison::On};
      std::vector<Request> some(requests.begin(), requests.begin() + ptrdiff_t(batch));
      std::vector<Trace> found = decodeTogether(model, *executor, some, options, 0);
      for (size_t i = 0; i < batch; ++i)
        EXPECT_EQ(difference(alone[i], found[i], model.info().vocab), "")
            << "request " << i << " of " << batch << ", workers " << workers;
    }
  }
}

/// Later tokens change what older ones compute: feeding in pieces ends where feeding at once does, to the bit.
TEST(TogetherRules, WholeSequencesRunAgain) {
  for (const char *name : {"together-attractor-f32", "together-trm-f32"}) {
    const Model &model = load(name);
    Request r = requestOf(model, 1, 7, 0);
    std::unique_ptr<CpuExecutor> executor = model.executor(2);
    Engine engine(*executor, {.capacity = 16, .kvBytes = 1 << 24, .poison = Poison::On});
    SequenceId whole = engine.open({.loops = 4}), pieces = engine.open({.loops = 4});
    FeedResult all = engine.feed(whole, r.prompt, {.logits = LogitsFor::All});
    FeedResult last;
    for (size_t begin : {size_t(0), size_t(4), size_t(5), size_t(6)}) {
      size_t count = begin == 0 ? 4 : 1;
      last = engine.feed(pieces, std::span(r.prompt).subspan(begin, count), {.logits = LogitsFor::Last});
      EXPECT_EQ(last.count, count) << name;
    }
    std::span<const float> expected = all.row(6), found = last.row(0);
    EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size_bytes()), 0) << name;
    engine.rollback(pieces, 4);
    last = engine.feed(pieces, std::span(r.prompt).subspan(4, 3), {.logits = LogitsFor::Last});
    EXPECT_EQ(std::memcmp(expected.data(), last.row(0).data(), expected.size_bytes()), 0) << name;
    EXPECT_THROW(engine.feed(pieces, std::vector<int32_t>(10, 1)), Error) << name << ": more tokens than a call takes";
  }
}

TEST(TogetherRules, APromptIsOne) {
  const Model &model = load("together-hrm_text-f32");
  Request r = requestOf(model, 1, 7, 0);
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  Engine engine(*executor, {.capacity = 16, .kvBytes = 1 << 24});
  SequenceId id = engine.open({.loops = 2}), given = engine.open({.loops = 2, .prefix = 5});
  FeedOptions all{.logits = LogitsFor::All};
  FeedResult prompt = engine.feed(id, std::span(r.prompt).first(5), all);
  FeedResult rest = engine.feed(id, std::span(r.prompt).last(2), all), once = engine.feed(given, r.prompt, all);
  for (uint32_t row = 0; row < 7; ++row) {
    std::span<const float> expected = once.row(row), found = row < 5 ? prompt.row(row) : rest.row(row - 5);
    EXPECT_EQ(std::memcmp(expected.data(), found.data(), expected.size_bytes()), 0) << "position " << row;
  }
  EXPECT_THROW(engine.rollback(id, 3), Error);
  engine.rollback(id, 5);
  FeedResult again = engine.feed(id, std::span(r.prompt).last(2), all);
  EXPECT_EQ(again.logits, rest.logits);
  engine.rollback(id, 0);
  FeedResult shorter = engine.feed(id, std::span(r.prompt).first(3), all);
  EXPECT_NE(shorter.row(0)[0], prompt.row(0)[0]); // the first token sees a shorter prompt
  SequenceId cut = engine.open({.loops = 2, .prefix = 5});
  EXPECT_THROW(engine.feed(cut, std::span(r.prompt).first(3), all), Error);
}

/// Models that read other rows than those of their iteration up to their position.
class Rows : public testing::TestWithParam<std::string> {};

TEST_P(Rows, BatchWorkersAndPieces) {
  const Model &model = load("rows-" + GetParam());
  std::vector<Request> requests;
  for (uint32_t i = 0; i < 5; ++i) {
    requests.push_back(requestOf(model, i, 1 + (i * 5 + 3) % 23, 2));
    requests.back().options = {.seed = i};
  }
  std::unique_ptr<CpuExecutor> one = model.executor(1);
  auto options = [](uint32_t capacity) { return EngineOptions{.capacity = capacity, .kvBytes = 1 << 24, .poison = Poison::On}; };
  std::vector<Trace> alone;
  for (const Request &r : requests)
    alone.push_back(decodeTogether(model, *one, {r}, options(1), 1)[0]);
  for (uint32_t workers = 1; workers <= 4; ++workers) {
    std::unique_ptr<CpuExecutor> executor = model.executor(workers);
    for (uint32_t chunk : {0u, 4u}) {
      std::vector<Trace> found = decodeTogether(model, *executor, requests, options(workers == 4 ? 7 : 64), chunk);
      for (size_t i = 0; i < requests.size(); ++i)
        EXPECT_EQ(difference(alone[i], found[i], model.info().vocab), "")
            << "request " << i << ", workers " << workers << ", pieces of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Compiled, Rows,
                         testing::Values("plt-f32", "plt-bf16", "mor-f32", "mor-bf16", "tah-f32", "tah-bf16"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

INSTANTIATE_TEST_SUITE_P(Compiled, Together, testing::Values("hrm_text", "attractor", "trm"),
                         [](const auto &info) { return info.param; });

INSTANTIATE_TEST_SUITE_P(Compiled, Invariance, testing::ValuesIn(modelNames()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

} // namespace
