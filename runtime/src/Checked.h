// Sizes computed from untrusted numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/TensorFile.h"

namespace loopc::rt {

/// Bytes that a tensor of this dtype and shape occupies. Throws Error (at file and place) if a dimension is negative,
/// the product does not fit int64, or rows do not consist of whole blocks.
inline size_t storedSize(const TensorView &tensor, const std::string &file, const std::string &place) {
  int64_t product = 1;
  bool overflow = false, zero = false;
  for (int64_t dimension : tensor.shape) {
    if (dimension < 0)
      throw Error(file, place, "dimensions of 0 or more", "shape " + shapeText(tensor.shape));
    // Zero anywhere makes the tensor empty, but the other dimensions must still be multipliable: rows() is.
    zero |= dimension == 0;
    overflow |= __builtin_mul_overflow(product, dimension == 0 ? 1 : dimension, &product);
  }
  int64_t blocks = product / blockElements(tensor.dtype), bytes = 0;
  overflow |= __builtin_mul_overflow(blocks, blockBytes(tensor.dtype), &bytes);
  if (overflow)
    throw Error(file, place, "a tensor of fewer than 2^63 bytes", "shape " + shapeText(tensor.shape));
  if (tensor.cols() % blockElements(tensor.dtype))
    throw Error(file, place,
                "rows of a multiple of " + std::to_string(blockElements(tensor.dtype)) + " elements for " +
                    std::string(dtypeName(tensor.dtype)),
                "shape " + shapeText(tensor.shape));
  return zero ? 0 : size_t(bytes);
}

} // namespace loopc::rt
