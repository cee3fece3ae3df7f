// Conversion of stored elements and blocks to f32.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Quants.h"
#include <bit>
#include <cstring>

namespace loopc::rt {

float f16ToF32(uint16_t bits) {
  uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3FF;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7F800000 | mantissa << 13);
  if (exponent)
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = float(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

float bf16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

uint16_t f32ToBF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFF) > 0x7F800000)
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

uint16_t f32ToF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  bits &= 0x7FFFFFFF;
  if (bits > 0x7F800000)
    return uint16_t(sign | 0x7E00);
  if (bits >= 0x477FF000) // rounds to 65536 or more
    return uint16_t(sign | 0x7C00);
  if (bits < 0x38800000) // below 2^-14: a multiple of 2^-24, rounded by the f32 addition itself
    return uint16_t(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + 0.5f) - 0x3F000000));
  return uint16_t(sign | ((bits - 0x38000000 + 0xFFF + (bits >> 13 & 1)) >> 13));
}

namespace {

template <typename T> T load(const std::byte *at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float loadF16(const std::byte *at) { return f16ToF32(load<uint16_t>(at)); }

template <typename T> void convert(const std::byte *in, int64_t count, float *out) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = float(load<T>(in + i * int64_t(sizeof(T))));
}

/// Byte `i` of a block.
int at(const std::byte *block, int i) { return load<uint8_t>(block + i); }

/// 16 bytes of nibbles: elements 0..15 in the low halves, 16..31 in the upper ones.
void nibbles(const std::byte *bytes, int zero, int16_t *q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = int16_t((at(bytes, i) & 15) - zero);
    q[i + 16] = int16_t((at(bytes, i) >> 4) - zero);
  }
}

/// The fifth bits of 32 elements, then their nibbles.
void fiveBits(const std::byte *bytes, int zero, int16_t *q) {
  nibbles(bytes + 4, zero, q);
  auto high = load<uint32_t>(bytes);
  for (int i = 0; i < 32; ++i)
    q[i] = int16_t(q[i] + int(high >> i & 1) * 16);
}

/// Blocks of 256 with eight pairs of a scale and a minimum of six bits: `fifth` says whether 32 bytes of fifth bits,
/// one for each pair, stand before the nibbles. Of every 64 nibbles, the low halves of 32 bytes are the even pair.
/// The minimum is taken away, so it is kept with its sign turned.
void pairs(const std::byte *block, bool fifth, Quants &out) {
  out.m ^= 0x8000;
  out.groups = 8;
  const std::byte *six = block + 4, *high = block + 16, *low = block + (fifth ? 48 : 16);
  for (int pair = 0; pair < 8; ++pair) {
    bool first = pair < 4;
    int scale = first ? at(six, pair) & 63 : (at(six, pair + 4) & 15) | at(six, pair - 4) >> 6 << 4;
    int minimum = first ? at(six, pair + 4) & 63 : at(six, pair + 4) >> 4 | at(six, pair) >> 6 << 4;
    out.scale[pair] = int16_t(scale);
    out.minimum[pair] = int16_t(minimum);
    for (int i = 0; i < 32; ++i) {
      int q = at(low, pair / 2 * 32 + i) >> pair % 2 * 4 & 15;
      if (fifth)
        q |= (at(high, i) >> pair & 1) << 4;
      out.q[pair * 32 + i] = int16_t(q);
    }
  }
}

/// 128 bytes of low nibbles, 64 of upper pairs of bits, 16 scales of 8 bits, d. Of each half, byte l of the upper bits
/// serves elements l, l + 32, l + 64 and l + 96.
void sixBits(const std::byte *block, Quants &out) {
  out.groups = 16;
  for (int i = 0; i < 256; ++i) {
    int half = i / 128, quarter = i / 32 % 4, l = i % 32;
    int low = at(block, half * 64 + quarter % 2 * 32 + l) >> quarter / 2 * 4 & 15;
    int high = at(block, 128 + half * 32 + l) >> quarter * 2 & 3;
    out.q[i] = int16_t((low | high << 4) - 32);
    out.scale[i / 16] = load<int8_t>(block + 192 + i / 16);
  }
}

} // namespace

// Block layouts: ggml's block_q* (little-endian).
void unpackBlock(DType type, const std::byte *block, Quants &out) {
  out.size = int(blockElements(type));
  out.d = load<uint16_t>(block + (type == DType::Q6_K ? 208 : 0));
  out.hasMinimum = type == DType::Q4_1 || type == DType::Q5_1 || type == DType::Q4_K || type == DType::Q5_K;
  out.m = out.hasMinimum ? load<uint16_t>(block + 2) : 0;
  out.groups = 1;
  switch (type) {
  case DType::Q4_0:
    return nibbles(block + 2, 8, out.q);
  case DType::Q4_1:
    return nibbles(block + 4, 0, out.q);
  case DType::Q5_0:
    return fiveBits(block + 2, 16, out.q);
  case DType::Q5_1:
    return fiveBits(block + 4, 0, out.q);
  case DType::Q4_K:
    return pairs(block, false, out);
  case DType::Q5_K:
    return pairs(block, true, out);
  case DType::Q6_K:
    return sixBits(block, out);
  default: // Q8_0
    for (int i = 0; i < 32; ++i)
      out.q[i] = load<int8_t>(block + 2 + i);
  }
}

namespace {

void decode(DType type, const std::byte *block, float *out) {
  if (type == DType::Q8_K) { // an f32 scale, 256 quants, sums of 16 quants that only integer products read
    auto d = load<float>(block);
    for (int i = 0; i < 256; ++i)
      out[i] = d * float(load<int8_t>(block + 4 + i));
    return;
  }
  Quants quants;
  unpackBlock(type, block, quants);
  elementsOf(quants, out);
}

} // namespace

float elementToF32(DType type, const void *at) {
  auto *from = static_cast<const std::byte *>(at);
  switch (type) {
  case DType::BF16:
    return bf16ToF32(load<uint16_t>(from));
  case DType::F16:
    return loadF16(from);
  case DType::I32:
    return float(load<int32_t>(from));
  default:
    return load<float>(from);
  }
}

void readF32(const TensorView &tensor, int64_t rowBegin, int64_t rowEnd, float *out) {
  if (rowBegin < 0 || rowEnd < rowBegin || rowEnd > tensor.rows())
    throw Error(tensor.file, "tensor " + rt::quoted(tensor.name), "rows inside 0.." + std::to_string(tensor.rows()),
                std::to_string(rowBegin) + ".." + std::to_string(rowEnd));
  int64_t count = (rowEnd - rowBegin) * tensor.cols();
  if (count == 0)
    return;
  const std::byte *in = tensor.bytes.data() + size_t(rowBegin) * tensor.rowBytes();
  if (int64_t elements = blockElements(tensor.dtype); elements > 1) {
    for (int64_t i = 0; i < count; i += elements, in += blockBytes(tensor.dtype))
      decode(tensor.dtype, in, out + i);
    return;
  }
  switch (tensor.dtype) {
  case DType::F64:
    return convert<double>(in, count, out);
  case DType::F32:
    std::memcpy(out, in, size_t(count) * sizeof(float));
    return;
  case DType::F16:
    for (int64_t i = 0; i < count; ++i)
      out[i] = loadF16(in + 2 * i);
    return;
  case DType::BF16:
    for (int64_t i = 0; i < count; ++i)
      out[i] = bf16ToF32(load<uint16_t>(in + 2 * i));
    return;
  case DType::I64:
    return convert<int64_t>(in, count, out);
  case DType::I32:
    return convert<int32_t>(in, count, out);
  case DType::I16:
    return convert<int16_t>(in, count, out);
  case DType::I8:
    return convert<int8_t>(in, count, out);
  case DType::U8:
    return convert<uint8_t>(in, count, out);
  case DType::BOOL:
    for (int64_t i = 0; i < count; ++i)
      out[i] = load<uint8_t>(in + i) ? 1.0f : 0.0f;
    return;
  default: // a type of blocks
    return;
  }
}

std::vector<float> readF32(const TensorView &tensor) {
  std::vector<float> values(size_t(tensor.elements()));
  readF32(tensor, 0, tensor.rows(), values.data());
  return values;
}

std::vector<int64_t> readI64(const TensorView &tensor) {
  std::vector<int64_t> values(size_t(tensor.elements()));
  const std::byte *in = tensor.bytes.data();
  for (size_t i = 0; i < values.size(); ++i) {
    switch (tensor.dtype) {
    case DType::I64:
      values[i] = load<int64_t>(in + 8 * i);
      break;
    case DType::I32:
      values[i] = load<int32_t>(in + 4 * i);
      break;
    case DType::I16:
      values[i] = load<int16_t>(in + 2 * i);
      break;
    case DType::I8:
      values[i] = load<int8_t>(in + i);
      break;
    case DType::U8:
      values[i] = load<uint8_t>(in + i);
      break;
    case DType::BOOL:
      values[i] = load<uint8_t>(in + i) != 0;
      break;
    default:
      throw Error(tensor.file, "tensor " + rt::quoted(tensor.name), "integers", std::string(dtypeName(tensor.dtype)));
    }
  }
  return values;
}

} // namespace loopc::rt
