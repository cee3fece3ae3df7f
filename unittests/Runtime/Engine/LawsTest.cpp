// Each law of stage calls refuses what breaks it, with request, lane and both values.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include <functional>
#include <gtest/gtest.h>

using namespace loopc::rt;
using namespace loopc::rt::fake;

namespace {

class LawsTest : public testing::Test {
protected:
  LawsTest() : info(metadata({})) {
    policy = Policy::make(info.policy, 4, false);
    call.capacity = call.slots = 4;
    for (uint32_t i = 0; i < 3; ++i) {
      LawLane l;
      l.position = 10 + i;
      l.slot = i;
      l.inCall = true;
      lanes.push_back(l);
    }
  }
  std::string check() {
    LawSequence s;
    s.request = 7;
    s.policy = &policy;
    s.order = order;
    s.pending = pending;
    s.lanes = lanes;
    std::vector<LawSequence> all = {s};
    if (twice)
      all.push_back(s);
    try {
      checkLaws(info, call, all);
    } catch (const Error &e) {
      return e.what();
    }
    return "";
  }
  void expectRefused(const std::string &part) {
    std::string message = check();
    EXPECT_NE(message.find("request 7"), std::string::npos) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  ModelInfo info;
  Policy policy;
  LawCall call;
  Order order = Order::Free;
  uint32_t pending = 0;
  bool twice = false;
  std::vector<LawLane> lanes;
};

TEST_F(LawsTest, LegalCallPasses) {
  EXPECT_EQ(check(), "");
  call.rounds = 4;
  EXPECT_EQ(check(), "");
}

TEST_F(LawsTest, C1) {
  lanes[1].position = 10;
  expectRefused("positions once and ascending (C1), but got position 10 before position 10");
  lanes[1].position = 11;
  twice = true;
  expectRefused("ascending order (C1)");
  twice = false;
  call.capacity = 2;
  expectRefused("at most 2 lanes in a call (C1), but got 3");
  call.capacity = 4;
  lanes[2].slot = 0;
  expectRefused("slot of its own below 4 (C1), but got slot 0");
  lanes[2].slot = 9;
  expectRefused("but got slot 9");
  lanes[2].slot = 2;
  call.rounds = 5;
  expectRefused("at most 4 iterations (C1), but got 0 and a call of 5");
  call.rounds = 1;
  lanes[0].exited = true;
  lanes[0].done = 2;
  expectRefused("a lane that has left after 2");
  lanes[0] = lanes[1];
  lanes[0].position = 10;
  lanes[0].slot = 0;
  policy = Policy::make(info.policy, 9, false);
  expectRefused("at most 6 iterations as planned (C1), but got 9");
}

TEST_F(LawsTest, C2) {
  lanes[1].exclusive = false;
  expectRefused("rows that position 11 writes to be its own (C2)");
}

TEST_F(LawsTest, C3) {
  lanes[0].done = 2;
  lanes[1].done = 0;
  lanes[1].inCall = false;
  lanes[2].done = 1;
  expectRefused("position 11 to have completed 2 iterations before position 12 runs iteration 1 (C3), but got 0");
  lanes[1].done = 2; // older at least as deep, not in the call
  lanes[2].done = 1;
  EXPECT_EQ(check(), "");
  call.rounds = 2; // in the second round position 12 needs three iterations of position 11
  expectRefused("position 11 to have completed 3 iterations before position 12 runs iteration 2 (C3), but got 2");
  // A grandparent that lags behind a parent that has left.
  call.rounds = 1;
  lanes[0].done = 1;
  lanes[0].inCall = false;
  lanes[1].exited = true;
  lanes[2].done = 3;
  expectRefused("position 10 to have completed 4 iterations");
  // A plane that is written again is final only with its last write.
  Shape shape;
  shape.policy = "single";
  policy = Policy::make(metadata(shape).policy, 4, false);
  lanes[0] = lanes[2];
  lanes[0].position = 10;
  lanes[0].slot = 0;
  lanes[0].done = 2;
  lanes.resize(2);
  lanes[1] = lanes[0];
  lanes[1].position = 11;
  lanes[1].slot = 1;
  lanes[1].done = 0;
  lanes[1].exited = false;
  expectRefused("position 10 to have completed 4 iterations before position 11 runs iteration 0 (C3), but got 2");
  lanes[0].done = 3; // writes its last iteration in this call
  EXPECT_EQ(check(), "");
}

TEST_F(LawsTest, C3Coda) {
  call.stage = Stage::Coda;
  expectRefused("position 10 to have finished its iterations before coda (C3), but got 0 of 4");
  for (LawLane &l : lanes)
    l.exited = true;
  EXPECT_EQ(check(), "");
  lanes[1].inCall = false;
  expectRefused("position 11 to take coda before position 12 (C3)");
  lanes[1].codaFinal = true;
  EXPECT_EQ(check(), "");
}

TEST_F(LawsTest, C4) {
  info.contract.group = "whole";
  EXPECT_EQ(check(), "");
  pending = 2;
  expectRefused("the whole group in one call (C4), but got 2 tokens outside");
  pending = 0;
  lanes[2].inCall = false;
  expectRefused("position 12 at the step of position 10 (C4), but got a lane outside the call");
}

TEST_F(LawsTest, C5) {
  order = Order::Token;
  expectRefused("position 10 to finish before position 11 begins (C5, order token)");
  order = Order::Chunk;
  EXPECT_EQ(check(), "");
  lanes[2].chunk = 1;
  expectRefused("(C5, order chunk), but got another chunk");
  lanes[2].chunk = 0;
  lanes[2].inCall = false;
  expectRefused("but got a lane outside the call");
}

TEST_F(LawsTest, C6) {
  info.contract.couple = "call";
  EXPECT_EQ(check(), "");
  lanes[0].done = lanes[1].done = 1;
  expectRefused("position 12 at iteration 1 like all lanes of the call (C6), but got 0");
}

} // namespace
