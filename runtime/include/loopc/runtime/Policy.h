// A K/V policy as data: planes written, planes read, and what older tokens must have done (runtime.md §2).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include <cstdint>
#include <vector>

namespace loopc::rt {

/// What the entries of planes that an exited token never wrote become.
enum class Holes : uint8_t { Refuse, LastExited, AlwaysLast };

/// The policy of one artefact at one loop count. Generated code follows *logical* planes (the iteration, or 0 if it was
/// compiled for one plane); a logical plane d names the rows of *physical* plane physical[d]. So every map of iterations
/// to planes is a table, and kernels know nothing of it.
struct Policy {
  int32_t loops = 0;             ///< T
  uint32_t logicalPlanes = 0;    ///< planes of the row tables
  uint32_t physicalPlanes = 0;   ///< planes with rows of their own
  std::vector<uint32_t> physical; ///< [loops] plane that iteration d writes and reads
  /// [loops] iterations an older token must have completed before a query at iteration d may read it: all of them
  /// (`finished`) where the plane is written again later and the loop may end early.
  std::vector<int32_t> need;
  Holes holes = Holes::Refuse;
  static constexpr int32_t finished = -1;

  /// Logical plane that iteration `d` indexes.
  uint32_t logical(int32_t d) const { return logicalPlanes == 1 ? 0 : uint32_t(d); }
  /// max over d of need(d) - 1 - d; prefill of N tokens takes T + (N - 1) * lag iterations (runtime.md §0).
  int32_t lag() const;

  /// `leaving`: tokens may leave before iteration `loops`. Throws Error naming policy, what is missing and the nearest
  /// legal choice where the combination has no meaning (runtime.md §6).
  static Policy make(const PolicyInfo &info, int32_t loops, bool leaving);
};

} // namespace loopc::rt
