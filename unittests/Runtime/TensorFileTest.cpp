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

// Bit 4 of elements 0, 5, 16 and 31.
const uint32_t fifth = 1u | 1u << 5 | 1u << 16 | 1u << 31;
int withFifth(int element, int low) { return low + (fifth >> element & 1 ? 16 : 0); }

TEST(TensorFile, BlocksOfQ5) {
  std::vector<float> zero = convert(DType::Q5_0, {32}, bytesOf(d16) + bytesOf(fifth) + nibbles());
  std::vector<float> one = convert(DType::Q5_1, {32}, bytesOf(d16) + bytesOf(m16) + bytesOf(fifth) + nibbles());
  for (int i = 0; i < 32; ++i) {
    int q = withFifth(i, i < 16 ? i : 31 - i);
    EXPECT_EQ(zero[size_t(i)], f16ToF32(d16) * float(q - 16)) << i;
    EXPECT_EQ(one[size_t(i)], f16ToF32(d16) * float(q) + f16ToF32(m16)) << i;
  }
}

// Scales and minimums 1 + 8 j and 63 - 5 j (j of 0..7): six bits, the upper two of j >= 4 stand in the bytes of j - 4.
int scaleOf(int j) { return 1 + 8 * j; }
int minimumOf(int j) { return 63 - 5 * j; }
std::string sixBits() {
  std::string bytes;
  for (int j = 0; j < 4; ++j)
    bytes += char(scaleOf(j) | scaleOf(j + 4) >> 4 << 6);
  for (int j = 0; j < 4; ++j)
    bytes += char(minimumOf(j) | minimumOf(j + 4) >> 4 << 6);
  for (int j = 4; j < 8; ++j)
    bytes += char((scaleOf(j) & 15) | (minimumOf(j) & 15) << 4);
  return bytes;
}

TEST(TensorFile, BlocksOfQ4KAndQ5K) {
  std::string low, high;
  for (int i = 0; i < 128; ++i)
    low += char(i % 16 | (i / 32 * 3) << 4); // even pairs: i % 16, odd pairs: 0, 3, 6, 9
  for (int i = 0; i < 32; ++i)
    high += char(1 << i % 8);
  std::string head = bytesOf(d16) + bytesOf(m16) + sixBits();
  std::vector<float> four = convert(DType::Q4_K, {256}, head + low), five = convert(DType::Q5_K, {256}, head + high + low);
  for (int i = 0; i < 256; ++i) {
    int pair = i / 32, q = pair % 2 ? pair / 2 * 3 : i % 16, bit = i % 32 % 8 == pair ? 16 : 0;
    float d = f16ToF32(d16) * float(scaleOf(pair)), m = f16ToF32(m16) * float(minimumOf(pair));
    EXPECT_EQ(four[size_t(i)], d * float(q) - m) << i;
    EXPECT_EQ(five[size_t(i)], d * float(q + bit) - m) << i;
  }
}

TEST(TensorFile, BlocksOfQ6KAndQ8K) {
  std::string low(128, '\0'), high(64, '\0'), scales, eight;
  auto quant = [](int i) { return i * 5 % 64; };
  for (int i = 0; i < 256; ++i) {
    int half = i / 128, quarter = i / 32 % 4, l = i % 32, q = quant(i);
    low[size_t(half * 64 + quarter % 2 * 32 + l)] |= char((q & 15) << quarter / 2 * 4);
    high[size_t(half * 32 + l)] |= char(q >> 4 << quarter * 2);
    eight += char(int8_t(i - 128));
  }
  for (int j = 0; j < 16; ++j)
    scales += char(int8_t(j * 17 - 128));
  std::vector<float> six = convert(DType::Q6_K, {256}, low + high + scales + bytesOf(d16));
  std::vector<float> wide = convert(DType::Q8_K, {256}, bytesOf(0.1f) + eight + std::string(32, '\x7f'));
  for (int i = 0; i < 256; ++i) {
    EXPECT_EQ(six[size_t(i)], f16ToF32(d16) * float(i / 16 * 17 - 128) * float(quant(i) - 32)) << i;
    EXPECT_EQ(wide[size_t(i)], 0.1f * float(i - 128)) << i;
  }
}

// Two blocks of any bytes in each format; the hashes of the values are those of the Python package gguf 0.19.
TEST(TensorFile, BlocksAsThePublishedReaderGivesThem) {
  struct Expected {
    DType type;
    uint64_t hash;
  };
  const Expected all[] = {
      {DType::Q4_0, 0xad98723371f50825u}, {DType::Q4_1, 0x27c51c69753e6c25u}, {DType::Q5_0, 0x5abb77d59f647825u},
      {DType::Q5_1, 0x334666f8d9baf425u}, {DType::Q8_0, 0x7d3ad9665d5f2c25u}, {DType::Q4_K, 0xc5e63837f7080a05u},
      {DType::Q5_K, 0x51ba5d91614e36ddu}, {DType::Q6_K, 0x776c5faf92f74eb9u},
  };
  for (const Expected &expected : all) {
    auto size = size_t(blockBytes(expected.type));
    std::string bytes;
    for (size_t i = 0; i < 2 * size; ++i)
      bytes += char((i * i * 7 + i * 37 + 11) % 251);
    for (size_t block : {size_t(0), size}) {
      if (expected.type == DType::Q6_K) {
        bytes.replace(block + 208, 2, bytesOf(uint16_t(0x2a66)));
        continue;
      }
      bytes.replace(block, 2, bytesOf(uint16_t(0x2a66)));
      if (expected.type != DType::Q4_0 && expected.type != DType::Q5_0 && expected.type != DType::Q8_0)
        bytes.replace(block + 2, 2, bytesOf(uint16_t(0xb001)));
    }
    uint64_t hash = 14695981039346656037u;
    for (float value : convert(expected.type, {2 * blockElements(expected.type)}, bytes))
      hash = (hash ^ std::bit_cast<uint32_t>(value)) * 1099511628211u;
    EXPECT_EQ(hash, expected.hash) << dtypeName(expected.type);
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
