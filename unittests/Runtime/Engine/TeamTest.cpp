// The worker team: barriers, poison, denormals. Meant to be run under the thread sanitizer as well.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Team.h"
#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace loopc::rt;

namespace {

class TeamTest : public testing::TestWithParam<std::pair<uint32_t, int32_t>> {};

TEST_P(TeamTest, BarrierOrdersPlainMemory) {
  auto [workers, spin] = GetParam();
  Team team({.workers = workers, .spin = spin});
  std::vector<uint64_t> cells(workers), sums(workers);
  for (int run = 0; run < 20; ++run) {
    int32_t code = team.run([&](uint32_t w) {
      for (int i = 0; i < 50; ++i) {
        cells[w] = cells[w] + w + 1; // plain memory: only the barrier orders it
        if (team.abi()->sync(team.abi(), w, 0))
          return 1;
        uint64_t sum = 0;
        for (uint64_t c : cells)
          sum += c;
        sums[w] = sum;
        if (team.abi()->sync(team.abi(), w, 1))
          return 1;
      }
      return 0;
    });
    ASSERT_EQ(code, 0);
    uint64_t want = uint64_t(run + 1) * 50 * workers * (workers + 1) / 2;
    for (uint64_t s : sums)
      ASSERT_EQ(s, want);
  }
}

TEST_P(TeamTest, PoisonReleasesTheOthers) {
  auto [workers, spin] = GetParam();
  Team team({.workers = workers, .spin = spin});
  for (int run = 0; run < 10; ++run) {
    uint32_t stops = uint32_t(run) % workers;
    int32_t code = team.run([&](uint32_t w) {
      for (int i = 0; i < 3; ++i) {
        if (w == stops && i == 2)
          return 5;
        if (int32_t c = team.sync(w))
          return c;
      }
      return team.sync(w);
    });
    EXPECT_EQ(code, 5);
    EXPECT_THROW(team.run([&](uint32_t w) -> int32_t {
      if (w == stops)
        throw Error("", "worker", "nothing", "this");
      return team.sync(w);
    }),
                 Error);
    EXPECT_EQ(team.run([&](uint32_t w) { return team.sync(w); }), 0); // and it works again
  }
}

TEST_P(TeamTest, DealsEachItemOnce) {
  auto [workers, spin] = GetParam();
  Team team({.workers = workers, .spin = spin});
  constexpr uint32_t turns = 200;
  for (int run = 0; run < 3; ++run) {
    // Turns follow each other without a barrier: some workers are still in one when others are turns ahead.
    std::vector<std::atomic<uint32_t>> taken(turns * workers * 4);
    int32_t code = team.run([&, workers = workers](uint32_t w) {
      for (uint32_t turn = 1; turn <= turns; ++turn)
        for (uint32_t later = 0; later < workers; ++later) {
          uint32_t owner = (w + later) % workers, items = (turn + owner) % 5;
          for (uint32_t item; (item = team.abi()->claim(team.abi(), owner, turn, items)) < items;)
            ++taken[((turn - 1) * workers + owner) * 4 + item];
        }
      return 0;
    });
    ASSERT_EQ(code, 0);
    for (uint32_t turn = 1; turn <= turns; ++turn)
      for (uint32_t owner = 0; owner < workers; ++owner)
        for (uint32_t item = 0; item < 4; ++item)
          ASSERT_EQ(taken[((turn - 1) * workers + owner) * 4 + item], item < (turn + owner) % 5 ? 1u : 0u) << "turn " << turn << ", item " << item;
  }
}

TEST_P(TeamTest, ParksAndWakes) {
  auto [workers, spin] = GetParam();
  Team team({.workers = workers, .spin = spin});
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10)); // all park
    std::atomic<uint32_t> ran{0};
    team.run([&](uint32_t w) {
      if (w == 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(5)); // the others park in the barrier
      ++ran;
      return team.sync(w);
    });
    EXPECT_EQ(ran.load(), workers);
  }
}

TEST_P(TeamTest, FlushesDenormalsInsideOnly) {
  auto [workers, spin] = GetParam();
  Team team({.workers = workers, .spin = spin});
  volatile float tiny = 1e-38f, tenth = .1f;
  std::vector<float> products(workers, 1);
  team.run([&](uint32_t w) {
    products[w] = tiny * tenth;
    return 0;
  });
  for (float p : products)
    EXPECT_EQ(p, 0.f);
  float outside = tiny * tenth;
  EXPECT_GT(outside, 0.f);
}

INSTANTIATE_TEST_SUITE_P(Teams, TeamTest,
                         testing::Values(std::pair(1u, -1), std::pair(2u, -1), std::pair(2u, 0), std::pair(4u, 0),
                                         std::pair(3u, 100)));

TEST(Team, RefusesCounts) {
  EXPECT_THROW(Team({.workers = 0}), Error);
  EXPECT_THROW(Team({.workers = 5000}), Error);
}

} // namespace
