// Plane maps as the scheduler sees them: refusals, need, golden tables, what stands for an exited token's iterations.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include <gtest/gtest.h>

using namespace loopc::rt;
using namespace loopc::rt::fake;

TEST(Policy, Refusals) {
  PolicyInfo info = metadata(shapeOf("boundaries")).policy;
  EXPECT_NE(messageOf([&] { Policy::make(info, 4, true); }).find("a fixed number of iterations"), std::string::npos);
  info = metadata(shapeOf("depth_indexed")).policy;
  EXPECT_NE(messageOf([&] { Policy::make(info, 4, true); }).find("last_exited, always_last"), std::string::npos);
  info = metadata(shapeOf("ring(2)")).policy;
  EXPECT_NE(messageOf([&] { Policy::make(info, 4, true); }).find("policy ring(2)"), std::string::npos);
}

TEST(Policy, NeedIsTheLastWriteOfThePlane) {
  for (const std::string &name : allPolicies)
    for (int T = 1; T <= 12; ++T) {
      Shape shape = shapeOf(name);
      Policy p = Policy::make(metadata(shape).policy, T, false, shape.order == "pass");
      for (int d = 0; d < T; ++d)
        for (int layer = 0; layer < layers; ++layer) {
          // The row that is seen, and the call after which it is there: that of its iteration, or the next where a
          // later layer wrote it.
          int sees = version(shape, T, d, layer, T - 1), after = sees / layers + 1 + (sees % layers > layer);
          int32_t need = p.need[size_t(d)];
          EXPECT_TRUE(need == Policy::finished || need >= after) << name << " T=" << T << " d=" << d;
          if (!shape.layerSteps && shape.keep == "last" && name != "always_last")
            EXPECT_EQ(need, std::max(after, d + 1)) << name << " T=" << T << " d=" << d;
          int32_t source = p.source(shape.layerSteps ? d * layers + layer : d, T);
          if (shape.layerSteps || shape.keep != "first")
            EXPECT_EQ(source, shape.layerSteps ? sees : sees / layers) << name << " T=" << T << " d=" << d;
        }
    }
}

/// The table of runtime.md §2, for every loop count and size.
TEST(Policy, GoldenTables) {
  struct Golden {
    std::string name;
    std::function<int(int d, int T)> plane, need;
    std::function<int(int T)> lag;
  };
  std::vector<Golden> all = {
      {"depth_indexed", [](int d, int) { return d; }, [](int d, int) { return d + 1; }, [](int) { return 0; }},
      {"single", [](int, int) { return 0; }, [](int, int T) { return T; }, [](int T) { return T - 1; }},
      {"boundaries", [](int d, int T) { return d == T - 1 && T > 1 ? 1 : 0; },
       [](int d, int T) { return d < T - 1 ? T - 1 : T; }, [](int T) { return std::max(0, T - 2); }}};
  for (int k = 1; k <= 6; ++k) {
    std::string size = "(" + std::to_string(k) + ")";
    all.push_back({"stride" + size, [k](int d, int) { return d / k; },
                   [k](int d, int T) { return std::min(T, k * (d / k) + k); },
                   [k](int T) { return std::min(T, k) - 1; }});
    all.push_back({"ring" + size, [k](int d, int) { return d % k; },
                   [k](int d, int T) { return T - 1 - (T - 1 - d) % k + 1; },
                   [k](int T) { return k * ((T - 1) / k); }});
    all.push_back({"first_then_shared" + size, [k](int d, int) { return std::min(d, k - 1); },
                   [k](int d, int T) { return d < k - 1 ? d + 1 : T; }, [k](int T) { return std::max(0, T - k); }});
    all.push_back({"last" + size, [k](int d, int T) { return T <= k ? d : std::max(0, d - (T - k) + 1); },
                   [k](int d, int T) { return d < T - k ? T - k : d + 1; },
                   [k](int T) { return std::max(0, T - k - 1); }});
    for (int n = 1; n <= 4; ++n)
      all.push_back({"anchor(" + std::to_string(n) + ", " + std::to_string(k) + ")",
                     [k, n](int d, int) { return d < n ? d : n + (d - n) % k; },
                     [k, n](int d, int T) { return d < n ? d + 1 : T - 1 - (T - 1 - d) % k + 1; },
                     [k, n](int T) { return T <= n ? 0 : k * ((T - 1 - n) / k); }});
  }
  for (const Golden &g : all)
    for (int T = 1; T <= 12; ++T) {
      Policy p = Policy::make(metadata(shapeOf(g.name)).policy, T, false);
      EXPECT_EQ(p.lag(), g.lag(T)) << g.name << " T=" << T;
      for (int d = 0; d < T; ++d) {
        EXPECT_EQ(int(p.kept[size_t(d)]), g.plane(d, T)) << g.name << " T=" << T << " d=" << d;
        EXPECT_EQ(p.need[size_t(d)], g.need(d, T)) << g.name << " T=" << T << " d=" << d;
      }
    }
}

/// What stands for each iteration of a token that left: the newest row of its plane, else that of the exit.
TEST(Policy, AtExit) {
  for (const std::string &name : allPolicies) {
    Shape shape = shapeOf(name);
    if (!mayLeave(shape.policy) || shape.keep == "first")
      continue;
    for (int T = 1; T <= 12; ++T) {
      Policy p = Policy::make(metadata(shape).policy, T, true, shape.order == "pass");
      for (int done = 1; done <= T; ++done)
        for (int d = 0; d < T; ++d)
          for (int layer = 0; layer < layers; ++layer) {
            int sees = version(shape, T, d, layer, done - 1);
            EXPECT_EQ(p.source(p.steps > 1 ? d * layers + layer : d, done), p.steps > 1 ? sees : sees / layers)
                << name << " T=" << T << " d=" << d << " done=" << done;
          }
    }
  }
}
