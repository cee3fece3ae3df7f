// Where an interpreter gets the values of weights from.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_INTERP_PARAMS_H
#define LOOPC_INTERP_PARAMS_H

#include <cstdint>
#include <string>
#include <vector>

namespace loopc::interp {

/// One tensor of a checkpoint, as the model wants it.
struct TensorRequest {
  std::string name;           ///< the published name, table index filled in
  std::vector<int64_t> shape; ///< of the model; the file may have extra axes of size 1
  std::string rowMap;   ///< "" or "adjacent_pairs": stored rows 2j and 2j + 1 of each block are rows j and j + block/2
  int64_t rowBlock = 0; ///< period of the row map
  std::string format;   ///< how the model keeps the values (WeightFormats.def); "" and those of numbers: any f32
};

/// Gives weights as f32, row-major, rows in the order of the model.
class ParamProvider {
public:
  virtual ~ParamProvider() = default;
  /// Sets `values` to product(shape) numbers. On failure returns false and sets `error` (expected …, but got …).
  virtual bool read(const TensorRequest &request, std::vector<float> &values, std::string &error) = 0;
};

} // namespace loopc::interp

#endif
