// Attention in generated code: grouped heads, many key blocks, windows, soft caps, missing rows, bf16 rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <random>

using namespace loopc::test;
namespace rt = loopc::rt;

namespace {
struct Shape {
  int heads, keyHeads, dim;
  std::string rows = "f32", extra;
  bool least = false; ///< every head has a least product
};

std::string model(const Shape &s) {
  auto n = [](int v) { return std::to_string(v); };
  std::string q = n(s.heads) + "x" + n(s.dim), k = n(s.keyHeads) + "x" + n(s.dim);
  std::string rowsOf = ", #lane>", kType = "tensor<?x" + k + "xf32" + rowsOf, kRow = "tensor<?x" + k + "x" + s.rows + rowsOf;
  std::string qType = "tensor<?x" + q + "xf32" + rowsOf;
  std::string load = " at %L : !loop.bank<@slot>, !loop.lanes<lane> -> ";
  std::string casts, key = "%k", value = "%v", field, loaded, least, lType = "tensor<?x" + n(s.heads) + "xf32" + rowsOf;
  if (s.least) {
    field = ", #loop.field<\"l\" : tensor<" + n(s.heads) + "xf32>>";
    loaded = "    %l = loop.load %b[\"l\"]" + load + lType + "\n";
    least = " least(%l : " + lType + ")";
  }
  if (s.rows != "f32") {
    casts = "    %kb = arith.truncf %k : " + kType + " to " + kRow + "\n    %vb = arith.truncf %v : " + kType + " to " + kRow + "\n";
    key = "%kb";
    value = "%vb";
  }
  return "#lane = #loop.rows<lane>\n"
         "loop.model @m phase(lanes) {\n"
         "  loop.site @a kv heads " + n(s.keyHeads) + " dim " + n(s.dim) +
         " plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows " + s.rows + ">) stage @prelude\n"
         "  loop.bank @slot [#loop.field<\"q\" : tensor<" + q + "xf32>>, #loop.field<\"k\" : tensor<" + k + "xf32>>, #loop.field<\"v\" : tensor<" +
         k + "xf32>>, #loop.field<\"o\" : tensor<" + q + "xf32>>" + field + "]\n"
         "  loop.stage @prelude {\n"
         "  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>, %c: !loop.cache<@prelude>):\n"
         "    %q = loop.load %b[\"q\"]" + load + qType + "\n    %k = loop.load %b[\"k\"]" + load + kType + "\n    %v = loop.load %b[\"v\"]" + load +
         kType + "\n" + loaded + casts + "    %c1 = loop.kv.append " + key + ", " + value + " to %c at @a lanes %L : " + kRow + ", " + kRow +
         ", !loop.cache<@prelude>, !loop.lanes<lane> -> !loop.cache<@prelude>\n"
         "    %o = loop.kv.attend %q in %c1 at @a lanes %L scale(0.25) " + s.extra + least + " order(<keys, 64, 512>) : " + qType +
         ", !loop.cache<@prelude>, !loop.lanes<lane> -> " + qType + "\n"
         "    %b1 = loop.store %o to %b[\"o\"] at %L : " + qType + ", !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>\n"
         "    loop.return %b1, %c1 : !loop.bank<@slot>, !loop.cache<@prelude>\n  }\n}\n";
}

float rounded(float value, const std::string &type) {
  return type == "f32" ? value : type == "bf16" ? rt::bf16ToF32(rt::f32ToBF16(value)) : rt::f16ToF32(rt::f32ToF16(value));
}

void check(const Shape &s, int positions, int window = 0, double cap = 0, int missing = -1) {
  auto compiled = compile(model(s));
  ASSERT_EQ(compiled->error, "") << model(s);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> q, k, v;
  std::map<int, std::vector<float>> first;
  auto fill = [&](int n) {
    std::vector<float> x(n);
    for (float &e : x)
      e = normal(random);
    return x;
  };
  auto leastOf = [&](int p) { // position 16 finds no key
    std::vector<float> result;
    for (int h = 0; h < s.heads; ++h)
      result.push_back(p == 16 ? 1e9f : float(h) - 0.3f);
    return result;
  };
  for (int p = 0; p < positions; ++p) {
    q.push_back(fill(s.heads * s.dim));
    k.push_back(fill(s.keyHeads * s.dim));
    v.push_back(fill(s.keyHeads * s.dim));
  }
  for (int chunk : {positions, 7, 1}) {
    Machine machine(*compiled, positions, 2, positions, positions / 16 + 1);
    machine.sequences(1, 1, positions);
    for (int i = 0; i < positions; ++i) // rows in another order than positions
      machine.rows[0][i] = (i * 7 + 3) % positions;
    if (missing >= 0)
      machine.rows[0][missing] = -1;
    for (int p = 0; p < positions; ++p) {
      machine.setField("q", p, q[p]);
      machine.setField("k", p, k[p]);
      machine.setField("v", p, v[p]);
      if (s.least)
        machine.setField("l", p, leastOf(p));
    }
    for (int begin = 0; begin < positions; begin += chunk) {
      std::vector<Lane> lanes;
      for (int p = begin; p < std::min(positions, begin + chunk); ++p) {
        Lane lane;
        lane.position = lane.slot = p;
        lanes.push_back(lane);
      }
      ASSERT_EQ(machine.run("prelude", lanes), 0);
    }
    for (int p : {0, 1, 15, 16, 63, 64, 65, positions / 2, positions - 1}) {
      if (p >= positions)
        continue;
      std::vector<float> got = machine.field("o", p);
      if (chunk == positions)
        first[p] = got;
      else
        ASSERT_EQ(first[p], got) << "position " << p << " depends on the cut";
      for (int h = 0; h < s.heads; ++h) {
        int kh = h / (s.heads / s.keyHeads);
        double sum = 0, top = -1e30;
        std::vector<double> want(s.dim), scores(p + 1, -1e30);
        for (int pass = 0; pass < 2; ++pass)
          for (int j = window ? std::max(0, p + 1 - window) : 0; j <= p; ++j) {
            if (j == missing || (pass == 1 && scores[j] == -1e30))
              continue;
            if (pass == 0) {
              double dot = 0;
              for (int i = 0; i < s.dim; ++i)
                dot += double(q[p][h * s.dim + i]) * rounded(k[j][kh * s.dim + i], s.rows);
              if (s.least && dot < double(leastOf(p)[h]))
                continue;
              scores[j] = dot * 0.25;
              if (cap > 0)
                scores[j] = cap * std::tanh(scores[j] / cap);
              top = std::max(top, scores[j]);
            } else {
              double w = std::exp(scores[j] - top);
              sum += w;
              for (int i = 0; i < s.dim; ++i)
                want[i] += w * rounded(v[j][kh * s.dim + i], s.rows);
            }
          }
        for (int i = 0; i < s.dim; ++i)
          ASSERT_NEAR(got[h * s.dim + i], sum > 0 ? want[i] / sum : 0.0, 1e-5) << "position " << p << " head " << h << " element " << i;
      }
    }
  }
}
} // namespace

TEST(Attend, manyBlocks) { check({2, 1, 64}, 1200); }
TEST(Attend, groupedHeads) { check({6, 2, 24}, 130); }
TEST(Attend, smallHeads) { check({2, 2, 2}, 40); }
TEST(Attend, window) { check({2, 2, 16, "f32", "window(70)"}, 300, 70); }
TEST(Attend, softCap) { check({2, 2, 16, "f32", "softcap(1.5)"}, 90, 0, 1.5); }
TEST(Attend, bf16Rows) { check({4, 2, 40, "bf16"}, 150); }
TEST(Attend, bf16RowsOfManyBlocks) { check({3, 3, 128, "bf16"}, 600); }
TEST(Attend, f16Rows) { check({4, 2, 40, "f16"}, 150); }
TEST(Attend, f16RowsOfOddLength) { check({1, 1, 7, "f16"}, 75); }
TEST(Attend, leastProduct) { check({4, 2, 40, "f32", "", true}, 600); }
TEST(Attend, leastProductOfBf16Rows) { check({3, 1, 16, "bf16", "window(70) softcap(1.5)", true}, 300, 70, 1.5); }
TEST(Attend, positionWithoutARow) { check({1, 1, 8}, 80, 0, 0, 0); }
