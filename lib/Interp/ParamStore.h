// Values of `loop.weight`s: read once from a provider, joined, rounded to their type, packed for `loop.linear`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_PARAMSTORE_H
#define LOOPC_LIB_INTERP_PARAMSTORE_H

#include "Kernels.h"
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Interp/Params.h"
#include <map>
#include <memory>

namespace loopc::interp {

/// The published name of entry `table` of a weight; empty for an absent one, with `error` set.
std::string publishedName(mlir::loop::WeightOp weight, int64_t table, std::string &error);

/// Row-major values of entry `table` of a weight, rounded to the weight's element type. Follows `tie` and `merged`.
bool readWeight(mlir::loop::WeightOp weight, int64_t table, ParamProvider &provider, std::vector<float> &values,
                std::string &error);

template <typename T> class ParamStore {
public:
  explicit ParamStore(ParamProvider &provider) : provider(provider) {}
  /// Null on failure, with `error` set.
  std::shared_ptr<std::vector<T>> raw(mlir::loop::WeightOp weight, int64_t table, std::string &error) {
    auto &entry = raws[{weight.getOperation(), table}];
    std::vector<float> values;
    if (!entry && readWeight(weight, table, provider, values, error))
      entry = std::make_shared<std::vector<T>>(values.begin(), values.end());
    return entry;
  }
  std::shared_ptr<Packed<T>> packed(mlir::loop::WeightOp weight, int64_t table, std::string &error) {
    auto &entry = packs[{weight.getOperation(), table}];
    std::vector<float> values;
    if (!entry && readWeight(weight, table, provider, values, error)) {
      llvm::ArrayRef<int64_t> shape = llvm::cast<mlir::RankedTensorType>(weight.getType()).getShape();
      entry = pack<T>(values.data(), shape.size() == 2 ? shape[0] : 1, shape.back());
    }
    return entry;
  }

private:
  using Key = std::pair<mlir::Operation *, int64_t>;
  ParamProvider &provider;
  std::map<Key, std::shared_ptr<std::vector<T>>> raws;
  std::map<Key, std::shared_ptr<Packed<T>>> packs;
};

} // namespace loopc::interp

#endif
