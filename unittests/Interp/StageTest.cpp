// LANES under random legal schedules against SOURCE: equal bits.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Schedules.h"

#include <gtest/gtest.h>

using namespace loopc;

namespace {

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

TEST(Stages, RoundedToBF16AndF16) {
  for (rt::DType type : {rt::DType::BF16, rt::DType::F16}) {
    PlanOptions plan;
    plan.dtype = type == rt::DType::BF16 ? "bf16" : "f16";
    Twins twins(partsText(), plan);
    std::mt19937 random(7);
    std::vector<Request> requests(3);
    for (Request &request : requests)
      request.tokens = randomTokens(random, 9, 11);
    compare(twins, requests, 6, false);
    EXPECT_EQ(twins.executor->info().kvDType, type);
  }
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
