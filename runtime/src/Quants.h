// Blocks of quantised elements, taken apart.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/TensorFile.h"

namespace loopc::rt {

/// A block: element i is step * q[i] + offset, where step is d or d * scale[group], and offset is nothing, m or
/// m * minimum[group].
struct Quants {
  int size = 32;         ///< elements
  uint16_t d = 0, m = 0; ///< f16
  int groups = 1;        ///< more than one: scale (and minimum) count
  bool hasMinimum = false;
  int16_t scale[16] = {}, minimum[16] = {};
  int16_t q[256] = {};
};

/// Takes a block apart. `type`: a quantised one of WeightFormats.def.
void unpackBlock(DType type, const std::byte *block, Quants &out);
/// The same block with scales for 16 elements each, and a minimum.
void regroup(Quants &quants);
/// The elements; with one rounding at most, because products of scales and quants are exact in f32.
void elementsOf(const Quants &quants, float *out);
/// A block near `values`.
void quantiseBlock(DType type, const float *values, Quants &out);
/// Blocks of 32 columns as one block of a panel.
void storePanelBlock(DType type, const Quants *columns, std::byte *out);

} // namespace loopc::rt
