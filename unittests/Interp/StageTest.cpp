// LANES under random legal schedules against SOURCE: equal bits.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Loaded.h"

#include "loopc/CodeGen/Metadata.h"
#include "loopc/Interp/LanesExecutor.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/runtime/Engine.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>
#include <random>

using namespace loopc;
using namespace loopc::interp;

namespace {

constexpr uint64_t weightSeed = 5, drawSeed = 9;

/// One model in both forms.
class Twins {
public:
  /// In bf16 the oracle runs PLANNED, which says where numbers are rounded.
  Twins(const std::string &text, const PlanOptions &plan) : source(text), lanes(text), params(weightSeed) {
    std::string error;
    if (plan.dtype == "bf16") {
      mlir::PassManager planning(source.context.get());
      buildPlanPipeline(planning, plan);
      if (failed(planning.run(*source.module)))
        throw std::runtime_error("the module cannot be planned");
      source.model = *source.module->getOps<mlir::loop::ModelOp>().begin();
    }
    oracle = SourceInterp::create(source.model, params, Precision::F32, keyedDraws(drawSeed), error);
    EXPECT_TRUE(oracle) << error;
    mlir::PassManager pm(lanes.context.get());
    buildPlanPipeline(pm, plan);
    buildLanesPipeline(pm, plan);
    if (failed(pm.run(*lanes.module)))
      throw std::runtime_error("the module does not lower");
    lanes.model = *lanes.module->getOps<mlir::loop::ModelOp>().begin();
    auto layout = codegen::ModelLayout::get(lanes.model);
    if (failed(layout))
      throw std::runtime_error("the module has no layout");
    rt::ModelInfo info = rt::ModelInfo::parse(codegen::buildMetadata(lanes.model, *layout, {}, {}, {}), "test");
    auto stages = StageInterp::create(lanes.model, params, layoutOf(info), error);
    EXPECT_TRUE(stages) << error;
    executor = std::make_unique<LanesExecutor>(info, std::move(stages));
  }
  std::unique_ptr<rt::Engine> engine(uint32_t capacity, uint64_t shuffleSeed) {
    rt::EngineOptions options;
    options.capacity = capacity;
    options.kvBytes = 16 << 20;
    options.poison = rt::Poison::On;
    options.shuffle = shuffleSeed != 0;
    options.shuffleSeed = shuffleSeed;
    return std::make_unique<rt::Engine>(*executor, options);
  }
  Loaded source, lanes;
  RandomParams params;
  std::unique_ptr<SourceInterp> oracle;
  std::unique_ptr<LanesExecutor> executor;
};

std::vector<int32_t> randomTokens(std::mt19937 &random, size_t count, int32_t vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t &token : tokens)
    token = int32_t(random() % uint32_t(vocab));
  return tokens;
}

std::vector<float> asFloat(const std::vector<double> &values) { return {values.begin(), values.end()}; }

struct Request {
  rt::SequenceOptions options;
  std::vector<int32_t> tokens;
  SourceResult expected;
};

SequenceConfig configOf(const rt::SequenceOptions &options) {
  SequenceConfig config;
  config.loops = options.loops;
  for (auto &[name, value] : options.knobs)
    config.knobs[name] = value;
  config.exit = options.exit == rt::ExitMode::Leave    ? ExitUse::Leave
                : options.exit == rt::ExitMode::Select ? ExitUse::Select
                : options.exit == rt::ExitMode::Off    ? ExitUse::Off
                                                       : ExitUse::Default;
  config.exitAfter = options.exitAfter;
  return config;
}

/// Several sequences at once in the engine, tokens cut at random, lanes picked at random; everything is compared with
/// SOURCE, where each sequence ran alone and uncut.
void compare(Twins &twins, std::vector<Request> requests, unsigned schedules, bool everyIteration) {
  for (size_t i = 0; i < requests.size(); ++i) {
    std::string error;
    // Draws are keyed by the request's number, which is the oracle's sequence.
    requests[i].options.seed = drawSeed;
    requests[i].options.request = i;
    ASSERT_TRUE(twins.oracle->open(uint32_t(i), configOf(requests[i].options), error)) << error;
    SourceFeed feed;
    feed.everyIteration = everyIteration;
    std::vector<SourceResult> results;
    ASSERT_TRUE(twins.oracle->feed({{uint32_t(i), requests[i].tokens}}, feed, results, error)) << error;
    requests[i].expected = results[0];
    twins.oracle->close(uint32_t(i));
  }
  for (unsigned seed = 1; seed <= schedules; ++seed) {
    std::mt19937 random(seed);
    std::unique_ptr<rt::Engine> engine = twins.engine(1 + random() % 12, seed % 3 ? seed : 0);
    std::vector<rt::SequenceId> ids;
    std::vector<size_t> fed(requests.size(), 0), busy(requests.size(), 0);
    for (const Request &request : requests)
      ids.push_back(engine->open(request.options));
    size_t finished = 0;
    while (finished < requests.size()) {
      finished = 0;
      for (size_t i = 0; i < requests.size(); ++i) {
        const Request &request = requests[i];
        const SourceResult &expected = request.expected;
        if (busy[i]) {
          std::optional<rt::FeedResult> result = engine->take(ids[i]);
          if (!result)
            continue;
          size_t first = fed[i] - busy[i], vocab = expected.vocab, loops = expected.loops;
          ASSERT_EQ(result->rows, busy[i]);
          std::vector<float> all = asFloat(expected.logits), each = asFloat(expected.iterationLogits);
          ASSERT_EQ(result->logits, std::vector<float>(&all[first * vocab], &all[fed[i] * vocab]))
              << "schedule " << seed;
          ASSERT_EQ(result->depth, std::vector<int32_t>(&expected.depth[first], &expected.depth[fed[i]]));
          ASSERT_EQ(result->executed, std::vector<int32_t>(&expected.executed[first], &expected.executed[fed[i]]));
          if (everyIteration) {
            ASSERT_EQ(result->iterationLogits,
                      std::vector<float>(&each[first * loops * vocab], &each[fed[i] * loops * vocab]))
                << "schedule " << seed;
          }
          busy[i] = 0;
        }
        if (fed[i] == request.tokens.size()) {
          ++finished;
        } else if (random() % 2) {
          busy[i] = 1 + random() % (request.tokens.size() - fed[i]);
          rt::FeedOptions options;
          options.chunk = uint32_t(random() % 3);
          options.logits = rt::LogitsFor::All;
          options.everyIteration = everyIteration;
          engine->enqueue(ids[i], std::span(request.tokens).subspan(fed[i], busy[i]), options);
          fed[i] += busy[i];
        }
      }
      engine->step();
      engine->checkInvariants();
    }
  }
}

std::string partsText() {
  std::string text = projectFile("unittests/Interp/three_part.mlir");
  text = text.substr(text.find("loop.model"));
  return text.replace(text.find("KV_POLICY"), 9, "kv(#loop.kv<depth_indexed>)");
}

TEST(Stages, PreludeCoreCodaHead) {
  Twins twins(partsText(), {});
  std::mt19937 random(1);
  std::vector<Request> requests;
  for (int32_t loops : {3, 1, 8, 5}) {
    Request request;
    request.options.loops = loops;
    request.tokens = randomTokens(random, 3 + random() % 20, 11);
    requests.push_back(request);
  }
  compare(twins, requests, 30, false);
}

TEST(Stages, ReadoutAfterEveryIteration) {
  Twins twins(partsText(), {});
  std::mt19937 random(2);
  std::vector<Request> requests(2);
  requests[1].options.loops = 6;
  for (Request &request : requests)
    request.tokens = randomTokens(random, 12, 11);
  compare(twins, requests, 10, true);
}

TEST(Stages, WithoutHoistingAndMerging) {
  PlanOptions plan;
  plan.hoist = plan.mergeLinears = false;
  Twins twins(partsText(), plan);
  std::mt19937 random(3);
  std::vector<Request> requests(2);
  for (Request &request : requests)
    request.tokens = randomTokens(random, 9, 11);
  compare(twins, requests, 5, false);
}

TEST(Stages, RoundedToBF16) {
  PlanOptions plan;
  plan.dtype = "bf16";
  Twins twins(partsText(), plan);
  std::mt19937 random(7);
  std::vector<Request> requests(3);
  for (Request &request : requests)
    request.tokens = randomTokens(random, 9, 11);
  compare(twins, requests, 6, false);
  EXPECT_EQ(twins.executor->info().kvDType, rt::DType::BF16);
}

TEST(Stages, ExitsThatLeave) {
  PlanOptions plan;
  plan.leavingExit = true;
  Twins twins(ouroText("kv(#loop.kv<depth_indexed holes last_exited>)"), plan);
  std::mt19937 random(4);
  std::vector<Request> requests;
  for (float threshold : {0.3f, 0.6f, 0.9f, 1.0f}) {
    Request request;
    request.options.knobs["threshold"] = threshold;
    request.options.exit = rt::ExitMode::Leave;
    request.options.loops = 5;
    request.tokens = randomTokens(random, 10, 97);
    requests.push_back(request);
  }
  compare(twins, requests, 15, false);
}

TEST(Stages, ExitsThatSelect) {
  Twins twins(ouroText("kv(#loop.kv<depth_indexed>)"), {});
  std::mt19937 random(5);
  std::vector<Request> requests(3);
  for (Request &request : requests) {
    request.options.knobs["threshold"] = 0.5f;
    request.options.exit = rt::ExitMode::Select;
    request.tokens = randomTokens(random, 8, 97);
  }
  compare(twins, requests, 10, true);
}

TEST(Stages, OnePlaneInTokenOrder) {
  PlanOptions plan;
  plan.leavingExit = true;
  Twins twins(ouroText("kv(#loop.kv<single order token>)"), plan);
  std::mt19937 random(6);
  std::vector<Request> requests(3);
  for (Request &request : requests) {
    request.options.exit = rt::ExitMode::Leave;
    request.options.exitAfter = {2, 0, 1, 3, 0, 4, 1, 2};
    request.tokens = randomTokens(random, 8, 97);
  }
  compare(twins, requests, 10, false);
}

} // namespace
