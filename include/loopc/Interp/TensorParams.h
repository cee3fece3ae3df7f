// Weights of an interpreter from checkpoint files, or seeded.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_INTERP_TENSORPARAMS_H
#define LOOPC_INTERP_TENSORPARAMS_H

#include "loopc/Interp/Params.h"
#include "loopc/Interp/SourceInterp.h"
#include "loopc/runtime/TensorFile.h"
#include <memory>

namespace loopc::interp {

/// Reads tensors by their published names. The source must outlive it if given by reference.
class TensorParams final : public ParamProvider {
public:
  explicit TensorParams(std::shared_ptr<const rt::TensorSource> source) : source(std::move(source)) {}
  bool read(const TensorRequest &request, std::vector<float> &values, std::string &error) override;

private:
  std::shared_ptr<const rt::TensorSource> source;
};

/// Seeded values: element i of tensor NAME depends on (seed, NAME, i) alone, the same numbers as
/// rt::PackedParams::random where a parameter names no law of its own.
class RandomParams final : public ParamProvider {
public:
  explicit RandomParams(uint64_t seed) : seed(seed) {}
  bool read(const TensorRequest &request, std::vector<float> &values, std::string &error) override;

private:
  uint64_t seed;
};

/// Draws as the engine makes them: keyed by (seed, name, request, position); `request` is the sequence's number.
DrawFunction keyedDraws(uint64_t seed);

} // namespace loopc::interp

#endif
