// SOURCE and LANES of one model, compared under random legal schedules.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Schedules.h"

#include "loopc/CodeGen/Metadata.h"
#include "mlir/Pass/PassManager.h"
#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::interp;

static constexpr uint64_t weightSeed = 5, drawSeed = 9;

Twins::Twins(const std::string &text, const PlanOptions &plan) : source(text), lanes(text), params(weightSeed) {
  std::string error;
  if (plan.dtype != "f32" || !plan.holes.empty() || !plan.policy.empty()) {
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
std::unique_ptr<rt::Engine> Twins::engine(uint32_t capacity, uint64_t shuffleSeed) {
  rt::EngineOptions options;
  options.capacity = capacity;
  options.kvBytes = 16 << 20;
  options.poison = rt::Poison::On;
  options.shuffle = shuffleSeed != 0;
  options.shuffleSeed = shuffleSeed;
  return std::make_unique<rt::Engine>(*executor, options);
}
std::vector<int32_t> randomTokens(std::mt19937 &random, size_t count, int32_t vocab) {
  std::vector<int32_t> tokens(count);
  for (int32_t &token : tokens)
    token = int32_t(random() % uint32_t(vocab));
  return tokens;
}

static std::vector<float> asFloat(const std::vector<double> &values) { return {values.begin(), values.end()}; }

static SequenceConfig configOf(const rt::SequenceOptions &options) {
  SequenceConfig config;
  config.loops = options.loops;
  for (auto &[name, value] : options.knobs)
    config.knobs[name] = value;
  config.exit = options.exit == rt::ExitMode::Leave    ? ExitUse::Leave
                : options.exit == rt::ExitMode::Select ? ExitUse::Select
                : options.exit == rt::ExitMode::Off    ? ExitUse::Off
                                                       : ExitUse::Default;
  config.exitAfter = options.exitAfter;
  config.prefix = options.prefix;
  return config;
}

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
  const std::string &group = twins.executor->info().contract.group; // what has to be called together
  for (unsigned seed = 1; seed <= schedules; ++seed) {
    std::mt19937 random(seed);
    std::unique_ptr<rt::Engine> engine = twins.engine((group == "lane" ? 1 : 16) + random() % 12, seed % 3 ? seed : 0);
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
          size_t left = request.tokens.size() - fed[i], least = fed[i] ? 1 : std::max<size_t>(1, request.options.prefix);
          busy[i] = group == "whole" ? left : std::max<size_t>(least, 1 + random() % left);
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
