// Conversion of stored elements and blocks to f32.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/TensorFile.h"
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

// Block layouts: ggml's block_q8_0, block_q4_0, block_q4_1 (32 elements, little-endian).
void q8_0(const std::byte *block, float *out) {
  float d = loadF16(block);
  for (int i = 0; i < 32; ++i)
    out[i] = d * float(load<int8_t>(block + 2 + i));
}

void q4_0(const std::byte *block, float *out) {
  float d = loadF16(block);
  for (int i = 0; i < 16; ++i) {
    auto byte = load<uint8_t>(block + 2 + i);
    out[i] = d * float(int(byte & 15) - 8);
    out[i + 16] = d * float(int(byte >> 4) - 8);
  }
}

void q4_1(const std::byte *block, float *out) {
  float d = loadF16(block), m = loadF16(block + 2);
  for (int i = 0; i < 16; ++i) {
    auto byte = load<uint8_t>(block + 4 + i);
    // Two roundings: a fused multiply-add would give other bits than the format's definition.
    float low = d * float(byte & 15), high = d * float(byte >> 4);
    out[i] = low + m;
    out[i + 16] = high + m;
  }
}

void blocks(const std::byte *in, int64_t count, DType type, float *out, void (*one)(const std::byte *, float *)) {
  for (int64_t i = 0; i < count; i += 32, in += blockBytes(type))
    one(in, out + i);
}

} // namespace

void readF32(const TensorView &tensor, int64_t rowBegin, int64_t rowEnd, float *out) {
  if (rowBegin < 0 || rowEnd < rowBegin || rowEnd > tensor.rows())
    throw Error(tensor.file, "tensor " + rt::quoted(tensor.name), "rows inside 0.." + std::to_string(tensor.rows()),
                std::to_string(rowBegin) + ".." + std::to_string(rowEnd));
  int64_t count = (rowEnd - rowBegin) * tensor.cols();
  if (count == 0)
    return;
  const std::byte *in = tensor.bytes.data() + size_t(rowBegin) * tensor.rowBytes();
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
  case DType::Q4_0:
    return blocks(in, count, tensor.dtype, out, q4_0);
  case DType::Q4_1:
    return blocks(in, count, tensor.dtype, out, q4_1);
  case DType::Q8_0:
    return blocks(in, count, tensor.dtype, out, q8_0);
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
