// Reading of good GGUF files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Gguf.h"
#include "Bytes.h"

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

std::shared_ptr<const GgufFile> parse(const GgufBuilder &builder) {
  return GgufFile::parse(MappedFile::fromBytes("x", builder.build()));
}

TEST(Gguf, EveryMetadataType) {
  GgufBuilder builder;
  builder.raw("u8", GgufType::U8, bytesOf(uint8_t(200)))
      .raw("i8", GgufType::I8, bytesOf(int8_t(-3)))
      .raw("u16", GgufType::U16, bytesOf(uint16_t(60000)))
      .raw("i16", GgufType::I16, bytesOf(int16_t(-300)))
      .u32("u32", 4000000000u)
      .raw("i32", GgufType::I32, bytesOf(int32_t(-70000)))
      .raw("f32", GgufType::F32, bytesOf(0.5f))
      .boolean("yes", true)
      .string("s", "héllo")
      .raw("u64", GgufType::U64, bytesOf(uint64_t(1) << 40))
      .raw("i64", GgufType::I64, bytesOf(-(int64_t(1) << 40)))
      .raw("f64", GgufType::F64, bytesOf(0.25))
      .strings("list", {"a", "", "c"})
      .array<int32_t>("ints", GgufType::I32, {-1, 2})
      .array<float>("reals", GgufType::F32, {0.5f, 2})
      .array<uint8_t>("none", GgufType::U8, {});
  auto file = parse(builder);
  const GgufMetadata &meta = file->meta();
  EXPECT_EQ(meta.keys().size(), 16u);
  EXPECT_EQ(meta.keys()[2], "u16");
  EXPECT_EQ(meta.u32("u8"), 200u);
  EXPECT_EQ(meta.i64("i8"), -3);
  EXPECT_EQ(meta.u32("u16"), 60000u);
  EXPECT_EQ(meta.i64("i16"), -300);
  EXPECT_EQ(meta.u32("u32"), 4000000000u);
  EXPECT_EQ(meta.i64("i32"), -70000);
  EXPECT_EQ(meta.real("f32"), 0.5);
  EXPECT_TRUE(meta.boolean("yes"));
  EXPECT_EQ(meta.text("s"), "héllo");
  EXPECT_EQ(meta.i64("u64"), int64_t(1) << 40);
  EXPECT_EQ(meta.i64("i64"), -(int64_t(1) << 40));
  EXPECT_EQ(meta.real("f64"), 0.25);
  EXPECT_EQ(meta.texts("list"), (std::vector<std::string>{"a", "", "c"}));
  EXPECT_EQ(meta.integers("ints"), (std::vector<int64_t>{-1, 2}));
  EXPECT_EQ(meta.reals("reals"), (std::vector<double>{0.5, 2}));
  EXPECT_TRUE(meta.integers("none").empty());
}

TEST(Gguf, TypedAccessNamesKeyAndTypes) {
  GgufBuilder builder;
  builder.u32("n", 1).string("s", "x").strings("list", {}).raw("big", GgufType::U64, bytesOf(UINT64_MAX));
  builder.raw("i", GgufType::I32, bytesOf(int32_t(-1)));
  auto file = parse(builder);
  const GgufMetadata &meta = file->meta();
  EXPECT_EQ(messageOf([&] { meta.u32("gone"); }), "x: expected a key 'gone' (an integer), but got none");
  EXPECT_EQ(messageOf([&] { meta.u32("s"); }), "x: key 's': expected an integer of 0..4294967295, but got string");
  EXPECT_EQ(messageOf([&] { meta.u32("i"); }), "x: key 'i': expected an integer of 0..4294967295, but got i32 -1");
  EXPECT_EQ(messageOf([&] { meta.i64("big"); }),
            "x: key 'big': expected an integer below 2^63, but got u64 18446744073709551615");
  EXPECT_EQ(messageOf([&] { meta.text("n"); }), "x: key 'n': expected a string, but got u32 1");
  EXPECT_EQ(messageOf([&] { meta.boolean("n"); }), "x: key 'n': expected bool, but got u32 1");
  EXPECT_EQ(messageOf([&] { meta.real("n"); }), "x: key 'n': expected f32 or f64, but got u32 1");
  EXPECT_EQ(messageOf([&] { meta.integers("list"); }),
            "x: key 'list': expected an array of integers, but got an array of string");
}

TEST(Gguf, TensorsAreRowMajorAndAligned) {
  std::string rows;
  for (int i = 0; i < 6; ++i)
    rows += bytesOf(float(i));
  GgufBuilder builder;
  builder.alignment = 64;
  builder.u32("general.alignment", 64).tensor("small", {1}, 0, bytesOf(9.0f)).tensor("t", {3, 2}, 0, rows);
  auto file = parse(builder);
  const TensorView &t = file->get("t");
  EXPECT_EQ(t.shape, (std::vector<int64_t>{2, 3}));
  std::vector<float> row(3);
  readF32(t, 1, 2, row.data());
  EXPECT_EQ(row, (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(readF32(file->get("small")), std::vector<float>{9});
}

TEST(Gguf, AFileWithoutTensorsMayEndBeforeTheAlignment) {
  GgufBuilder builder;
  builder.string("k", "v");
  std::string bytes = "GGUF" + bytesOf(uint32_t(3)) + bytesOf(uint64_t(0)) + bytesOf(uint64_t(1)) + builder.keys;
  EXPECT_EQ(GgufFile::parse(MappedFile::fromBytes("x", bytes))->meta().text("k"), "v");
}

} // namespace
