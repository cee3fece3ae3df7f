// Blocks of quantised elements: their values, their place in a panel, and how random weights come to them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Quants.h"
#include "loopc/runtime/abi.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace loopc::rt {

namespace {

struct QuantFormat {
  int size, bits, group;
  bool minimum, sign;
  int levels; ///< bits that the file has
};

QuantFormat formatOf(DType type) {
  int levels = type == DType::Q5_0 || type == DType::Q5_1 || type == DType::Q5_K ? 5 : type == DType::Q6_K ? 6 : 0;
  switch (type) {
#define LOOPC_QUANT_FORMAT(name, dtype, k, bits, group, minimum, sign)                                                 \
  case DType::dtype:                                                                                                   \
    return {k, bits, group, minimum != 0, sign != 0, levels ? levels : bits};
#include "loopc/runtime/WeightFormats.def"
  default:
    return {};
  }
}

} // namespace

// A product of two scales and a quant has 11 + 7 + 5 bits at most, one of a scale and a quant 11 + 8.
void elementsOf(const Quants &quants, float *out) {
  int group = quants.size / quants.groups;
  float d = f16ToF32(quants.d), m = f16ToF32(quants.m);
  for (int g = 0; g < quants.groups; ++g) {
    float step = quants.groups > 1 ? d * float(quants.scale[g]) : d;
    float offset = quants.groups > 1 ? m * float(quants.minimum[g]) : m;
    for (int i = g * group; i < (g + 1) * group; ++i)
      out[i] = quants.hasMinimum ? step * float(quants.q[i]) + offset : step * float(quants.q[i]);
  }
}

void regroup(Quants &quants) {
  int copies = 16 / quants.groups;
  for (int g = 15; g >= 0; --g) {
    quants.scale[g] = quants.scale[g / copies];
    quants.minimum[g] = quants.hasMinimum ? quants.minimum[g / copies] : int16_t(0);
  }
  if (!quants.hasMinimum)
    quants.m = 0x8000; // adding -0 changes nothing, not even the sign of a zero
  quants.groups = 16;
  quants.hasMinimum = true;
}

void quantiseBlock(DType type, const float *values, Quants &out) {
  QuantFormat format = formatOf(type);
  out.size = format.size;
  out.groups = format.size / format.group;
  out.hasMinimum = format.minimum;
  int low = format.sign ? -(1 << (format.levels - 1)) : 0, high = low + (1 << format.levels) - 1;
  float steps[16], offsets[16] = {}, step = 0, offset = 0;
  for (int g = 0; g < out.groups; ++g) {
    auto [least, most] = std::minmax_element(values + g * format.group, values + (g + 1) * format.group);
    if (format.minimum)
      offsets[g] = out.groups > 1 ? std::min(*least, 0.0f) : *least;
    steps[g] = format.minimum ? (*most - offsets[g]) / float(high) : std::max(-*least, *most) / float(high);
    step = std::max(step, steps[g]);
    offset = std::min(offset, offsets[g]);
  }
  int scales = out.groups > 1 ? format.sign ? 127 : 63 : 1;
  out.d = f32ToF16(step / float(scales));
  out.m = f32ToF16(out.groups > 1 ? offset / float(scales) : offsets[0]);
  float d = f16ToF32(out.d), m = f16ToF32(out.m);
  auto nearest = [](float value, float unit) { return unit != 0 ? int(std::lrintf(value / unit)) : 0; };
  for (int g = 0; g < out.groups; ++g) {
    out.scale[g] = int16_t(std::clamp(nearest(steps[g], d), 0, scales));
    out.minimum[g] = int16_t(std::clamp(nearest(offsets[g], m), 0, scales));
    float own = out.groups > 1 ? d * float(out.scale[g]) : d, from = out.groups > 1 ? m * float(out.minimum[g]) : m;
    for (int i = g * format.group; i < (g + 1) * format.group; ++i)
      out.q[i] = int16_t(std::clamp(nearest(values[i] - from, own), low, high));
  }
}

void storePanelBlock(DType type, const Quants *columns, std::byte *out) {
  constexpr int width = int(LOOPC_PANEL);
  QuantFormat format = formatOf(type);
  auto each = [&](auto &&value) { // one number of every column
    using T = decltype(value(columns[0]));
    for (int j = 0; j < width; ++j, out += sizeof(T)) {
      T number = value(columns[j]);
      std::memcpy(out, &number, sizeof(T));
    }
  };
  each([](const Quants &c) { return c.d; });
  if (format.minimum)
    each([](const Quants &c) { return c.m; });
  for (int g = 0; format.size > format.group && g < format.size / format.group; ++g) {
    each([&](const Quants &c) { return uint8_t(c.scale[g]); });
    if (format.minimum)
      each([&](const Quants &c) { return uint8_t(c.minimum[g]); });
  }
  int zero = format.sign ? 8 : 0;
  for (int k = 0; k < format.size; k += 8 / format.bits)
    each([&](const Quants &c) {
      return uint8_t(format.bits == 8 ? c.q[k] : ((c.q[k] + zero) & 15) | (c.q[k + 1] & 15) << 4);
    });
}

} // namespace loopc::rt
