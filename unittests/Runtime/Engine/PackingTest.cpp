// Packed weights: layouts, sources, refusals.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../MessageOf.h"
#include "loopc/runtime/Packing.h"
#include <cmath>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>

using namespace loopc::rt;
using loopc::rt::test::messageOf;
using loopc::rt::test::refusalOf;

namespace {

std::vector<float> numbers(size_t n, float start) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i)
    v[i] = start + float(i);
  return v;
}

ModelInfo infoWith(std::vector<ParamInfo> params) {
  ModelInfo m;
  m.params = std::move(params);
  return m;
}

ParamInfo param(PackKind kind, DType dtype, int64_t rows, int64_t cols, std::vector<ParamSourceInfo> sources,
                uint64_t count = 1) {
  ParamInfo p;
  p.name = "p";
  p.count = count;
  p.kind = kind;
  p.dtype = dtype;
  p.rows = rows;
  p.cols = cols;
  p.sources = std::move(sources);
  return p;
}

TEST(Packing, PanelsOfMergedSourcesForEachTable) {
  MemoryTensors t("test");
  for (int layer : {0, 2}) {
    t.addF32("l." + std::to_string(layer) + ".q", {40, 3}, numbers(120, float(layer * 1000)));
    t.addF32("l." + std::to_string(layer) + ".k", {5, 3}, numbers(15, float(layer * 1000 + 500)));
  }
  ModelInfo m = infoWith({param(PackKind::Panel, DType::F32, 45, 3,
                                {{"l.{}.q", {0, -1, 2}, 40, {}}, {"l.{}.k", {0, -1, 2}, 5, {}}}, 3)});
  auto packed = PackedParams::pack(m, t);
  EXPECT_TRUE(packed->unused().empty());
  for (int table : {0, 2}) {
    auto *p = static_cast<const float *>(packed->abi().data[table]);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 64, 0u);
    for (int n = 0; n < 64; ++n)
      for (int k = 0; k < 3; ++k) {
        float want = n < 40   ? float(table * 1000 + n * 3 + k)
                     : n < 45 ? float(table * 1000 + 500 + (n - 40) * 3 + k)
                              : 0;
        EXPECT_EQ(p[(n / 32 * 3 + k) * 32 + n % 32], want);
      }
  }
  auto *absent = static_cast<const float *>(packed->abi().data[1]);
  for (int i = 0; i < 64 * 3; ++i)
    EXPECT_EQ(absent[i], 0);
}

TEST(Packing, LargeTablesOnSeveralThreads) {
  MemoryTensors t("test");
  int64_t rows = 700, cols = 601, pairs = (cols + 1) / 2;
  std::vector<float> v(size_t(rows * cols));
  for (size_t i = 0; i < v.size(); ++i)
    v[i] = float(i % 4099);
  t.addF32("w", {rows, cols}, v);
  for (uint32_t threads : {1u, 2u, 5u}) {
    auto packed = PackedParams::pack(infoWith({param(PackKind::Panel, DType::BF16, rows, cols, {{"w", {}, rows, {}}})}),
                                     t, {.threads = threads});
    auto *p = static_cast<const uint16_t *>(packed->abi().data[0]);
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t k = 0; k < cols; ++k)
        ASSERT_EQ(p[((n / 32 * pairs + k / 2) * 32 + n % 32) * 2 + (1 - k % 2)], f32ToBF16(v[size_t(n * cols + k)]));
  }
}

TEST(Packing, HalvesRoundedToNearestEven) {
  MemoryTensors t("test");
  t.addF32("w", {2, 3}, std::vector<float>{1, 2049, 0.1f, -2051, 65519, 0x1p-25f});
  for (PackKind kind : {PackKind::Rows, PackKind::Panel}) {
    auto packed = PackedParams::pack(infoWith({param(kind, DType::F16, 2, 3, {{"w", {}, 2, {}}})}), t);
    auto *p = static_cast<const uint16_t *>(packed->abi().data[0]);
    const float want[2][3] = {{1, 2048, 0.0999755859375f}, {-2052, 65504, 0}};
    for (int row = 0; row < 2; ++row)
      for (int k = 0; k < 3; ++k)
        EXPECT_EQ(f16ToF32(p[kind == PackKind::Rows ? row * 3 + k : k * 32 + row]), want[row][k]);
  }
  t.addF32("big", {1, 1}, std::vector<float>{65520});
  try {
    PackedParams::pack(infoWith({param(PackKind::Rows, DType::F16, 1, 1, {{"big", {}, 1, {}}})}), t);
    FAIL();
  } catch (const Error &error) {
    EXPECT_NE(std::string(error.what()).find("finite in F16, but got 65520"), std::string::npos) << error.what();
  }
}

TEST(Packing, BlocksAreTakenAsTheyAre) {
  MemoryTensors t("test");
  std::vector<std::byte> bytes(3 * 34);
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = std::byte(i * 5);
  for (size_t row = 0; row < 3; ++row)
    bytes[row * 34 + 1] = std::byte(0x3c);
  t.add("w", DType::Q8_0, {3, 32}, bytes);
  ParamInfo p = param(PackKind::Panel, DType::Q8_0, 2, 32, {{"w", {}, 2, {2, 0}}});
  p.stored = true;
  auto packed = PackedParams::pack(infoWith({p}), t);
  ASSERT_EQ(packed->bytes(), 17u * 64u);
  auto *q = static_cast<const std::byte *>(packed->abi().data[0]);
  for (size_t column = 0; column < 2; ++column) {
    const std::byte *row = &bytes[column ? 0 : 2 * 34];
    EXPECT_EQ(std::memcmp(q + 2 * column, row, 2), 0);
    for (size_t k = 0; k < 32; ++k)
      EXPECT_EQ(q[64 + k * 32 + column], row[2 + k]);
  }
  auto message = [&](const ParamInfo &one) -> std::string {
    try {
      PackedParams::pack(infoWith({one}), t);
      return "";
    } catch (const Error &error) {
      return error.what();
    }
  };
  t.addF32("f", {2, 32}, std::vector<float>(64));
  p.sources[0] = {"f", {}, 2, {}};
  EXPECT_NE(message(p).find("tensor f: expected values of type Q8_0, as in the file that the model was compiled for, but got F32"),
            std::string::npos) << message(p);
  bytes[34 + 1] = std::byte(0x7c);
  bytes[34] = std::byte(0);
  t.add("infinite", DType::Q8_0, {3, 32}, bytes);
  p.sources[0] = {"infinite", {}, 2, {0, 1}};
  EXPECT_NE(message(p).find("tensor infinite: expected scales that are finite, but got inf at row 1, block 0"), std::string::npos) << message(p);
}

// Random weights in blocks are near the numbers that they stand for, and those of the interpreter.
TEST(Packing, RandomBlocks) {
  for (DType type : {DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0, DType::Q4_K, DType::Q5_K, DType::Q6_K}) {
    std::vector<float> values(512), rounded;
    keyedDraw({1, 2}, {}, 0, values);
    rounded = values;
    roundToFormat(weightFormatName(type), rounded);
    double error = 0;
    for (size_t i = 0; i < values.size(); ++i)
      error += std::abs(double(values[i]) - double(rounded[i])) / double(values.size());
    EXPECT_LT(error, type == DType::Q8_0 ? 0.01 : 0.15) << dtypeName(type);
    EXPECT_GT(error, 0);
  }
}

TEST(Packing, RowMapAndShapes) {
  MemoryTensors t("test");
  t.addF32("w", {2, 2, 3}, numbers(12, 0)); // as [4, 3]
  t.addF32("v", {6}, numbers(6, 0));        // as [1, 6] or [6, 1]
  auto packed = PackedParams::pack(
      infoWith({param(PackKind::Rows, DType::F32, 3, 3, {{"w", {}, 3, {3, 0, 0}}})}), t);
  auto *p = static_cast<const float *>(packed->abi().data[0]);
  EXPECT_EQ(std::vector<float>(p, p + 9), (std::vector<float>{9, 10, 11, 0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(packed->unused(), std::vector<std::string>{"v"});
  PackedParams::pack(infoWith({param(PackKind::Rows, DType::F32, 1, 6, {{"v", {}, 1, {}}})}), t);
  PackedParams::pack(infoWith({param(PackKind::Rows, DType::F32, 6, 1, {{"v", {}, 6, {}}})}), t);
}

TEST(Packing, RefusesByName) {
  MemoryTensors t("test");
  t.addF32("w", {4, 3}, numbers(12, 0));
  std::vector<float> bad = numbers(12, 0);
  bad[7] = NAN;
  t.addF32("nan", {4, 3}, bad);
  bad[7] = 3.4e38f;
  t.addF32("big", {4, 3}, bad);
  auto pack = [&](ParamInfo p, PackOptions o = {}) {
    return refusalOf([&] { PackedParams::pack(infoWith({std::move(p)}), t, o); });
  };
  auto has = [](const std::string &message, const std::string &part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  has(pack(param(PackKind::Rows, DType::F32, 3, 4, {{"w", {}, 3, {}}})), "expected shape [3, 4], but got [4, 3]");
  has(pack(param(PackKind::Rows, DType::F32, 1, 3, {{"w", {}, 1, {4}}})), "shape [5, 3] or more rows, but got [4, 3]");
  has(pack(param(PackKind::Rows, DType::F32, 4, 3, {{"missing", {}, 4, {}}})), "missing");
  has(pack(param(PackKind::Rows, DType::F32, 4, 3, {{"nan", {}, 4, {}}})), "tensor nan: expected values that are finite");
  has(pack(param(PackKind::Panel, DType::F32, 4, 3, {{"nan", {}, 4, {}}})), "at row 2, column 1");
  EXPECT_EQ(pack(param(PackKind::Rows, DType::F32, 4, 3, {{"big", {}, 4, {}}})), "");
  has(pack(param(PackKind::Rows, DType::BF16, 4, 3, {{"big", {}, 4, {}}})), "finite in BF16");
  has(pack(param(PackKind::Rows, DType::F32, 4, 3, {{"w", {}, 4, {}}}), {.refuseUnused = true}),
      "expected a parameter of the model that takes it, but got none");
  has(pack(param(PackKind::Rows, DType::F32, 8, 3, {{"{}", {-1}, 4, {}}, {"w", {}, 4, {}}})), "1 of 2");
}

TEST(Packing, RandomValuesDependOnNameAndElementOnly) {
  ModelInfo rows = infoWith({param(PackKind::Rows, DType::F32, 70, 9, {{"w", {}, 70, {}}})});
  ModelInfo panel = infoWith({param(PackKind::Panel, DType::F32, 70, 9, {{"w", {}, 70, {}}})});
  auto a = PackedParams::random(rows, 3), b = PackedParams::random(panel, 3, {.threads = 1}),
       c = PackedParams::random(rows, 4);
  auto *pa = static_cast<const float *>(a->abi().data[0]), *pb = static_cast<const float *>(b->abi().data[0]),
       *pc = static_cast<const float *>(c->abi().data[0]);
  int same = 0;
  for (int n = 0; n < 70; ++n)
    for (int k = 0; k < 9; ++k) {
      EXPECT_EQ(pa[n * 9 + k], pb[(n / 32 * 9 + k) * 32 + n % 32]);
      same += pa[n * 9 + k] == pc[n * 9 + k];
    }
  EXPECT_LT(same, 5);
}

} // namespace
