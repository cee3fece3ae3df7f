// Linears: exact small integers, equal bits for every number of rows, epilogues.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include "SoftTiles.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace loopc::test;

static std::string model(int k, int n, const std::string &type) {
  std::string K = std::to_string(k), N = std::to_string(n);
  std::string rows = "tensor<?x" + K + "xf32, #lane>", out = "tensor<?x" + N + "xf32, #lane>";
  std::string x = "%x";
  std::string cast;
  std::string in = rows;
  if (type != "f32") {
    in = "tensor<?x" + K + "x" + type + ", #lane>";
    cast = "    %xb = arith.truncf %x : " + rows + " to " + in + "\n";
    x = "%xb";
  }
  return "#lane = #loop.rows<lane>\n"
         "loop.model @m phase(lanes) {\n"
         "  loop.weight @w : tensor<" + N + "x" + K + "x" + type + ">\n"
         "  loop.weight @b : tensor<" + N + "xf32>\n"
         "  loop.bank @slot [#loop.field<\"x\" : tensor<" + K + "xf32>>]\n"
         "  loop.stage @head {\n"
         "  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):\n"
         "    %x = loop.load %b[\"x\"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> " + rows + "\n" + cast +
         "    %W = loop.param @w : tensor<" + N + "x" + K + "x" + type + ">\n"
         "    %B = loop.param @b : tensor<" + N + "xf32>\n"
         "    %y = loop.linear " + x + ", %W bias %B order(<chain>) : (" + in + ", tensor<" + N + "x" + K + "x" + type + ">, tensor<" + N +
         "xf32>) -> " + out + "\n"
         "    loop.return %b, %y : !loop.bank<@slot>, " + out + "\n  }\n}\n";
}

static void exact(int k, int n, const std::string &type, const How &how = {}) {
  auto compiled = compile(model(k, n, type), how);
  ASSERT_EQ(compiled->error, "") << taskForm(model(k, n, type));
  for (uint32_t workers : {1u, 3u}) {
    Machine machine(*compiled, 64, workers);
    std::vector<float> w(size_t(n) * k), b(n);
    for (size_t i = 0; i < w.size(); ++i)
      w[i] = float(int(i * 7 % 11) - 5);
    for (int i = 0; i < n; ++i)
      b[i] = float(i % 13);
    machine.set("w", w);
    machine.set("b", b);
    for (int m : {1, 2, 3, 5, 6, 7, 13, 17, 48, 50}) {
      std::vector<Lane> lanes(m);
      std::vector<std::vector<float>> x(m, std::vector<float>(k));
      for (int r = 0; r < m; ++r) {
        lanes[r].slot = m - 1 - r;
        for (int i = 0; i < k; ++i)
          x[r][i] = float((r * 3 + i) % 7 - 3);
        machine.setField("x", lanes[r].slot, x[r]);
      }
      ASSERT_EQ(machine.run("head", lanes), 0);
      for (int r = 0; r < m; ++r)
        for (int j = 0; j < n; ++j) {
          float want = b[j];
          for (int i = 0; i < k; ++i)
            want += w[size_t(j) * k + i] * x[r][i];
          ASSERT_EQ(machine.logits[size_t(r) * n + j], want) << "m " << m << " row " << r << " column " << j << " workers " << workers;
        }
    }
  }
}

TEST(Linear, exactF32) { exact(70, 45, "f32"); }
TEST(Linear, exactF32Wide) { exact(64, 288, "f32"); }
TEST(Linear, exactBF16) { exact(37, 160, "bf16"); }
TEST(Linear, exactF16) { exact(37, 160, "f16"); }
TEST(Linear, exactTiny) { exact(3, 1, "f32"); }
// The shapes of kernels for other registers; the compiler splits the vectors of this machine.
TEST(Linear, exactInKernelsOfOtherWidths) {
  exact(70, 45, "f32", {.vectorBits = 512});
  exact(37, 160, "bf16", {.vectorBits = 512});
  exact(37, 160, "f16", {.vectorBits = 512});
  exact(37, 45, "f16", {.vectorBits = 128});
  exact(70, 45, "f32", {.vectorBits = 128});
}

// Orders, computed here one fused multiply-add at a time.
static float chain(const std::vector<float> &x, const float *w) {
  float sum = 0;
  for (size_t i = 0; i < x.size(); ++i)
    sum = std::fmaf(x[i], w[i], sum);
  return sum;
}
static float amx32(const std::vector<float> &x, const float *w) {
  float sum = 0;
  for (size_t begin = 0; begin < x.size(); begin += 32) {
    float pair[2] = {};
    for (size_t i = begin; i < std::min(begin + 32, x.size()); ++i)
      pair[i % 2] = std::fmaf(x[i], w[i], pair[i % 2]);
    sum += pair[0] + pair[1];
  }
  return sum;
}

// Random data and every row count: a tile of rows, several tiles, more than are gathered at once; more than one block of k.
static void sameBits(const std::string &type, int k, const How &how = {}) {
  const int n = 160;
  auto compiled = compile(model(k, n, type), how);
  ASSERT_EQ(compiled->error, "");
  Machine machine(*compiled, 448, 2, 448);
  auto rounded = [&](float v) {
    if (type == "f32")
      return v;
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    std::memcpy(&v, &bits, 4);
    return v;
  };
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> w(n * k), b(n, 0.0f);
  for (float &v : w)
    v = rounded(normal(random) * std::exp2f(float(int(random() % 9)) - 4));
  machine.set("w", w);
  machine.set("b", b);
  const int most = 400;
  std::vector<std::vector<float>> x(most, std::vector<float>(k)), want(most, std::vector<float>(n));
  for (int r = 0; r < most; ++r) {
    for (float &v : x[r])
      v = normal(random);
    machine.setField("x", r, x[r]);
    for (float &v : x[r])
      v = rounded(v);
    for (int j = 0; j < n; ++j)
      want[r][j] = (how.bf16Order == "chain" ? chain : amx32)(x[r], &w[j * k]);
  }
  for (int m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 25, 48, 191, 193, 400}) {
    std::vector<Lane> lanes(m);
    for (int r = 0; r < m; ++r)
      lanes[r].slot = r;
    ASSERT_EQ(machine.run("head", lanes), 0);
    for (int r = 0; r < m; ++r)
      ASSERT_EQ(std::memcmp(&machine.logits[r * n], want[r].data(), n * 4), 0) << "m " << m << " row " << r;
  }
}
TEST(Linear, bitsDoNotDependOnTheRowCount) { sameBits("f32", 301); }
TEST(Linear, bitsDoNotDependOnTheRowCountBF16) { sameBits("bf16", 301); }
TEST(Linear, bitsDoNotDependOnTheRowCountInOtherWidths) {
  for (unsigned bits : {128u, 512u})
    for (const char *type : {"f32", "bf16"})
      sameBits(type, 133, {.vectorBits = bits});
}

// The order of tiles in vectors, and in tiles; k that fill whole tiles and k that do not.
TEST(Linear, orderOfTilesInVectors) {
  for (unsigned bits : {128u, 256u, 512u})
    for (int k : {3, 64, 301})
      sameBits("bf16", k, {.vectorBits = bits, .bf16Order = "amx32"});
}
TEST(Linear, orderOfTilesInTiles) {
  for (int k : {3, 64, 301}) {
    uint64_t before = softProducts;
    sameBits("bf16", k, {.vectorBits = 512, .bf16Order = "amx32", .softTiles = true});
    EXPECT_GT(softProducts, before);
  }
}
TEST(Linear, exactInTiles) { exact(37, 45, "bf16", {.vectorBits = 512, .bf16Order = "amx32", .softTiles = true}); }
