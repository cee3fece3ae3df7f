// Metadata: every key is checked, messages name the path.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include <gtest/gtest.h>

using namespace loopc::rt;

namespace {

std::string text() { return fake::metadata({}).json; }

std::string parseWith(const std::string &from, const std::string &to) {
  std::string json = text();
  size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  json.replace(at, from.size(), to);
  try {
    ModelInfo::parse(json, "m.so");
  } catch (const Error &e) {
    return e.what();
  }
  return "";
}

TEST(ModelInfo, ReadsWhatIsThere) {
  ModelInfo m = ModelInfo::parse(text(), "m.so");
  EXPECT_EQ(m.count->max, 6);
  EXPECT_EQ(m.knobs[0].name, "threshold");
  EXPECT_EQ(m.policy.map, KvMap::depth_indexed);
  EXPECT_EQ(m.policy.holes, "refuse");
  EXPECT_FALSE(m.policy.planeZero);
  EXPECT_EQ(m.poolOf(Stage::Core), 1);
  EXPECT_EQ(m.poolOf(Stage::Head), -1);
  EXPECT_TRUE(m.pools[1].perIteration);
  EXPECT_EQ(m.pools[1].sites[0].layers, 2);
  EXPECT_EQ(m.field("h")->shape, std::vector<int64_t>{1});
  EXPECT_EQ(m.draws[0].law.kind, Law::Uniform);
  EXPECT_EQ(m.remarks.size(), 1u);
  EXPECT_TRUE(m.draws[1].standardise);
  fake::Shape latest;
  latest.holes = "latest";
  EXPECT_EQ(fake::metadata(latest).policy.holes, "last_exited");
  fake::Shape ring;
  ring.policy = "ring(3)";
  EXPECT_EQ(fake::metadata(ring).policy.sizes[0], 3);
  ring.policy = "anchor(8, 2)";
  EXPECT_EQ(fake::metadata(ring).policy.sizes, (std::array<int64_t, 2>{8, 2}));
}

TEST(ModelInfo, RefusesWithThePath) {
  const char *cases[][3] = {
      {R"("model":"fake")", R"("model":3)", "metadata model: expected a string, but got"},
      {R"("vocab":7)", R"("vocab":0)", "metadata vocab: expected an integer in 1 .. 2147483647, but got 0"},
      {R"("vocab":7)", R"("vocab":7.5)", "metadata vocab: expected an integer"},
      {R"("vocab":7,)", "", "metadata root: expected the key \"vocab\", but got none"},
      {R"("dtype":"f32","kv)", R"("dtype":"f64","kv)", "metadata dtype: expected one of f32, bf16, f16, but got"},
      {R"("default":1,"min":1)", R"("default":0,"min":1)", "metadata count.default: expected an integer in 1 .. 6"},
      {R"("default":0,"min":0,"max":100)", R"("default":101,"min":0,"max":100)", "metadata knobs[0].default"},
      {R"("name":"depth_indexed")", R"("name":"ring")", "metadata policy.name: expected 1 sizes of ring in 1 .. 65535"},
      {R"("name":"depth_indexed")", R"x("name":"ring(0)")x", "metadata policy.name: expected 1 sizes of ring in 1 .. 65535"},
      {R"("name":"depth_indexed")", R"("name":"sparse")", "metadata policy.name: expected a policy of last_exited, always_last, depth_indexed"},
      {R"("read":"d")", R"("read":"0")", "metadata policy.read: expected the plane that is written (d), but got 0"},
      {R"("write":"d","read":"d")", R"("write":"0","read":"0")", "metadata policy.write: expected d"},
      {R"("row_bytes":64)", R"("row_bytes":16)", "metadata bank.fields[4]: expected a field inside the slot of 16"},
      {R"("offset":4,)", R"("offset":5,)", "metadata bank.fields[1].offset: expected a multiple of the element size"},
      {R"("name":"acc")", R"("name":"h")", "expected names that are unique, but got a second"},
      {R"("field":"draw.n")", R"("field":"x")", "metadata draws[0].field: expected a field of the bank"},
      {R"("page_bytes":320)", R"("page_bytes":319)", "metadata pools[1].sites[0]: expected a site inside the page"},
      {R"("stage":"coda")", R"("stage":"core")", "expected one pool for each stage"},
      {R"({"name":"core",)", R"({"name":"cora",)", "metadata stages[1].name: expected one of prelude, core"},
      {R"("params":[])",
       R"("params":[{"name":"w","index":0,"count":2,"kind":"rows","dtype":"f32","rows":3,"cols":2,
          "sources":[{"name":"w.{}","indices":[0],"rows":3}]}])",
       "expected one index for each of the 2 tables"},
      {R"("params":[])",
       R"("params":[{"name":"w","index":1,"count":1,"kind":"rows","dtype":"f32","rows":3,"cols":2,
          "sources":[{"name":"w","rows":3}]}])",
       "a parameter for each table, but got none for table 0"},
      {R"("params":[])",
       R"("params":[{"name":"w","index":0,"count":1,"kind":"rows","dtype":"f32","rows":4,"cols":2,
          "sources":[{"name":"w","rows":3}]}])",
       "the sum of the rows of its sources (3), but got 4"},
      {R"("remarks":["one"]})", R"("remarks":["one"])", "expected JSON"},
  };
  for (auto &[from, to, part] : cases) {
    std::string message = parseWith(from, to);
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n  " << message;
    EXPECT_EQ(message.find("m.so: "), 0u) << message;
  }
}

/// Bytes changed at random: an Error or a struct, never a crash.
TEST(ModelInfo, DamagedTextNeverCrashes) {
  std::string good = text();
  uint64_t state = 5;
  for (int i = 0; i < 3000; ++i) {
    std::string json = good;
    for (int k = 0; k < 3; ++k) {
      state = mixKeys(state, uint64_t(i));
      json[state % json.size()] = "0129-\"{}[],:ex "[(state >> 32) % 15];
    }
    try {
      ModelInfo::parse(json, "m.so");
    } catch (const Error &) {
    }
  }
}

} // namespace
