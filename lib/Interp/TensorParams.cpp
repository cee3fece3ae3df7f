// Published tensors in the row order of the model; seeded weights and draws.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Interp/TensorParams.h"

#include "loopc/runtime/Packing.h"
#include "loopc/runtime/Random.h"
#include <algorithm>
#include <cmath>

namespace loopc::interp {

static int64_t product(const std::vector<int64_t> &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// Moves stored rows to where the model has them.
static bool orderRows(const TensorRequest &request, std::vector<float> &values, std::string &error) {
  if (request.rowMap.empty())
    return true;
  int64_t rows = request.shape.empty() ? 1 : request.shape[0], block = request.rowBlock,
          cols = product(request.shape) / rows;
  if (request.rowMap != "adjacent_pairs" || block <= 0 || block % 2 || rows % block) {
    error = "tensor " + request.name + ": expected the row map adjacent_pairs with an even block that divides " +
            std::to_string(rows) + " rows, but got " + request.rowMap + " with " + std::to_string(block);
    return false;
  }
  std::vector<float> stored(values);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t j = row % block, from = row - j + (j < block / 2 ? 2 * j : 2 * (j - block / 2) + 1);
    std::copy_n(stored.begin() + from * cols, cols, values.begin() + row * cols);
  }
  return true;
}

bool TensorParams::read(const TensorRequest &request, std::vector<float> &values, std::string &error) {
  try {
    const rt::TensorView &tensor = source->get(request.name);
    // Axes of size 1 do not matter: a gate is published as [1, d] and used as [d].
    auto withoutOnes = [](std::vector<int64_t> shape) {
      std::erase(shape, 1);
      return shape;
    };
    if (withoutOnes(tensor.shape) != withoutOnes(request.shape))
      throw rt::Error(tensor.file, "tensor " + request.name, "shape " + rt::shapeText(request.shape),
                      rt::shapeText(tensor.shape));
    values = rt::readF32(tensor);
    for (size_t i = 0; i < values.size(); ++i)
      if (!std::isfinite(values[i]))
        throw rt::Error(tensor.file, "tensor " + request.name, "values that are finite",
                        std::to_string(values[i]) + " at element " + std::to_string(i));
  } catch (const rt::Error &failure) {
    error = failure.what();
    return false;
  }
  return orderRows(request, values, error);
}

bool RandomParams::read(const TensorRequest &request, std::vector<float> &values, std::string &error) {
  int64_t count = product(request.shape), cols = request.shape.empty() ? 1 : request.shape.back();
  rt::Law law = rt::randomWeightLaw(request.name, count / std::max<int64_t>(cols, 1), cols);
  values.resize(size_t(count));
  rt::keyedDraw({seed, rt::nameHash(request.name)}, law, 0, values);
  rt::roundToFormat(request.format, values);
  return orderRows(request, values, error);
}

DrawFunction keyedDraws(uint64_t seed) {
  return [seed](const DrawRequest &request, std::vector<float> &values) {
    rt::Law law;
    law.mean = request.mean;
    law.std = request.std;
    law.cut = request.cut;
    law.kind = request.law == "constant"           ? rt::Law::Constant
               : request.law == "uniform"          ? rt::Law::Uniform
               : request.law == "truncated_normal" ? rt::Law::TruncatedNormal
                                                   : rt::Law::Normal;
    law.value = law.low = request.mean;
    law.high = request.mean + request.std;
    rt::keyedDraw({seed, rt::nameHash(request.name), request.sequence, request.position, 0}, law, 0, values);
  };
}

} // namespace loopc::interp
