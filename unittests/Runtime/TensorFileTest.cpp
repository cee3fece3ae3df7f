// Conversion of every element type, and rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/TensorFile.h"
#include "Bytes.h"
#include <bit>
#include <cmath>

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

std::vector<float> convert(DType type, std::vector<int64_t> shape, const std::string &bytes) {
  MemoryTensors source("memory");
  auto *data = reinterpret_cast<const std::byte *>(bytes.data());
  source.add("t", type, std::move(shape), {data, data + bytes.size()});
  return readF32(source.get("t"));
}

/// The definition of IEEE binary16, by powers of two.
double half(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double value = exponent == 31  ? (mantissa ? NAN : INFINITY)
                 : exponent == 0 ? std::ldexp(mantissa, -24)
                                 : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -value : value;
}

TEST(TensorFile, EveryHalfConvertsExactlyAndBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    float value = f16ToF32(uint16_t(bits));
    double wanted = half(uint16_t(bits));
    if (std::isnan(wanted)) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(value))));
      continue;
    }
    EXPECT_EQ(double(value), wanted);
    EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0);
    EXPECT_EQ(f32ToF16(value), bits);
  }
}

TEST(TensorFile, RoundingToHalfIsToNearestEven) {
  // Between any two neighbours: the middle goes to the even one, what is beside it to the nearer one.
  for (uint32_t bits = 0; bits < 0x7BFF; ++bits) {
    float low = f16ToF32(uint16_t(bits)), high = f16ToF32(uint16_t(bits + 1)), middle = (low + high) / 2;
    EXPECT_EQ(f32ToF16(middle), bits + (bits & 1));
    EXPECT_EQ(f32ToF16(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(f32ToF16(std::nextafter(middle, INFINITY)), bits + 1);
  }
  EXPECT_EQ(f32ToF16(65519.996f), 0x7BFF);
  EXPECT_EQ(f32ToF16(65520.0f), 0x7C00);
  EXPECT_EQ(f32ToF16(-INFINITY), 0xFC00);
}

TEST(TensorFile, RoundingToBF16IsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7F7F; ++bits) {
    auto middle = std::bit_cast<float>(bits << 16 | 0x8000);
    EXPECT_EQ(f32ToBF16(bf16ToF32(uint16_t(bits))), bits);
    EXPECT_EQ(f32ToBF16(middle), bits + (bits & 1));
    EXPECT_EQ(f32ToBF16(std::nextafter(middle, 0.0f)), bits);
    EXPECT_EQ(f32ToBF16(std::nextafter(middle, INFINITY)), bits + 1);
  }
  EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBF16(std::bit_cast<float>(0x7F800001u)))));
}

TEST(TensorFile, PlainTypes) {
  EXPECT_EQ(convert(DType::F64, {2}, bytesOf(0.5) + bytesOf(-3.0)), (std::vector<float>{0.5f, -3}));
  EXPECT_EQ(convert(DType::F16, {1}, bytesOf(uint16_t(0xC000))), std::vector<float>{-2});
  EXPECT_EQ(convert(DType::BF16, {1}, bytesOf(uint16_t(0x3FC0))), std::vector<float>{1.5f});
  EXPECT_EQ(convert(DType::I64, {1}, bytesOf(int64_t(-5))), std::vector<float>{-5});
  EXPECT_EQ(convert(DType::I32, {1}, bytesOf(int32_t(-5))), std::vector<float>{-5});
  EXPECT_EQ(convert(DType::I16, {1}, bytesOf(int16_t(-5))), std::vector<float>{-5});
  EXPECT_EQ(convert(DType::I8, {1}, bytesOf(int8_t(-5))), std::vector<float>{-5});
  EXPECT_EQ(convert(DType::U8, {1}, bytesOf(uint8_t(250))), std::vector<float>{250});
  EXPECT_EQ(convert(DType::BOOL, {2}, std::string("\0\x05", 2)), (std::vector<float>{0, 1}));
}

// d = 0.1 as a half is not a short fraction, so a fused multiply-add would show.
const uint16_t d16 = f32ToF16(0.1f), m16 = f32ToF16(-0.7f);

std::string nibbles() {
  std::string bytes;
  for (int j = 0; j < 16; ++j)
    bytes += char(j | (15 - j) << 4);
  return bytes;
}

TEST(TensorFile, BlocksOfQ8_0) {
  std::string block = bytesOf(d16);
  for (int i = 0; i < 32; ++i)
    block += char(int8_t(i * 8 - 128));
  std::vector<float> values = convert(DType::Q8_0, {32}, block);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(values[size_t(i)], f16ToF32(d16) * float(i * 8 - 128));
}

TEST(TensorFile, BlocksOfQ4_0) {
  std::vector<float> values = convert(DType::Q4_0, {32}, bytesOf(d16) + nibbles());
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[size_t(i)], f16ToF32(d16) * float(i - 8));
    EXPECT_EQ(values[size_t(i) + 16], f16ToF32(d16) * float(15 - i - 8));
  }
}

TEST(TensorFile, BlocksOfQ4_1) {
  std::vector<float> values = convert(DType::Q4_1, {32}, bytesOf(d16) + bytesOf(m16) + nibbles());
  for (int i = 0; i < 16; ++i) {
    volatile float low = f16ToF32(d16) * float(i), high = f16ToF32(d16) * float(15 - i);
    EXPECT_EQ(values[size_t(i)], low + f16ToF32(m16));
    EXPECT_EQ(values[size_t(i) + 16], high + f16ToF32(m16));
  }
}

TEST(TensorFile, RowsOfBlocks) {
  std::string bytes;
  for (int block = 0; block < 6; ++block)
    bytes += bytesOf(f32ToF16(1.0f)) + std::string(32, char(block));
  MemoryTensors source("memory");
  auto *data = reinterpret_cast<const std::byte *>(bytes.data());
  source.add("t", DType::Q8_0, {3, 64}, {data, data + bytes.size()});
  const TensorView &t = source.get("t");
  EXPECT_EQ(t.rowBytes(), 68u);
  EXPECT_EQ(t.row(2).data(), t.bytes.data() + 136);
  std::vector<float> rows(128);
  readF32(t, 1, 3, rows.data());
  EXPECT_EQ(rows[0], 2);
  EXPECT_EQ(rows[32], 3);
  EXPECT_EQ(rows[127], 5);
  EXPECT_EQ(messageOf([&] { readF32(t, 1, 4, rows.data()); }),
            "memory: tensor 't': expected rows inside 0..3, but got 1..4");
  EXPECT_EQ(messageOf([&] { readF32(t, -1, 0, rows.data()); }),
            "memory: tensor 't': expected rows inside 0..3, but got -1..0");
  EXPECT_EQ(messageOf([&] { readI64(t); }), "memory: tensor 't': expected integers, but got Q8_0");
  EXPECT_EQ(messageOf([&] { source.add("u", DType::F32, {2}, {}); }),
            "memory: tensor 'u': expected 8 bytes, but got 0");
}

} // namespace
