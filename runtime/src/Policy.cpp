// Policies as tables.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Policy.h"
#include <algorithm>

namespace loopc::rt {

namespace {

/// Physical plane that iteration d of T writes and reads (kv-and-schedules.md §1).
uint32_t planeOf(const PolicyInfo &info, int32_t d, int32_t T) {
  int32_t k = info.parameter;
  if (info.map == "single")
    return 0;
  if (info.map == "ring")
    return uint32_t(d % k);
  if (info.map == "stride")
    return uint32_t(d / k);
  if (info.map == "first_then_shared")
    return uint32_t(std::min(d, k - 1));
  if (info.map == "last")
    return d < T - k ? 0 : uint32_t(T > k ? d - (T - k) + 1 : d);
  if (info.map == "boundaries")
    return d == T - 1 ? (T > 1 ? 1u : 0u) : 0u;
  return uint32_t(d); // depth_indexed
}

} // namespace

int32_t Policy::lag() const {
  int32_t lag = 0;
  for (int32_t d = 0; d < loops; ++d)
    lag = std::max(lag, (need[size_t(d)] == finished ? loops : need[size_t(d)]) - 1 - d);
  return lag;
}

Policy Policy::make(const PolicyInfo &info, int32_t T, bool leaving) {
  Policy p;
  p.loops = T;
  p.holes = info.holes == "last_exited"   ? Holes::LastExited
            : info.holes == "always_last" ? Holes::AlwaysLast
                                          : Holes::Refuse;
  auto refuse = [&](const std::string &expected, const std::string &found) {
    throw Error("", "policy " + info.name, expected, found);
  };
  if (leaving && (info.map == "last" || info.map == "boundaries"))
    refuse("a fixed number of iterations, since plane of an iteration depends on it; nearest legal: an exit that "
           "selects",
           "an exit that leaves");
  if (leaving && p.holes == Holes::Refuse)
    refuse("a rule for planes deeper than an exit (last_exited, always_last) or an exit that selects",
           "an exit that leaves iterations of " + std::to_string(T) + " without rows");
  p.physical.resize(size_t(T));
  p.need.resize(size_t(T));
  for (int32_t d = 0; d < T; ++d) {
    p.physical[size_t(d)] = planeOf(info, d, T);
    p.physicalPlanes = std::max(p.physicalPlanes, p.physical[size_t(d)] + 1);
  }
  p.logicalPlanes = info.planeZero ? 1 : uint32_t(std::max(T, 1));
  for (int32_t d = 0; d < T; ++d) {
    int32_t last = d;
    for (int32_t t = 0; t < T; ++t)
      if (p.physical[size_t(t)] == p.physical[size_t(d)])
        last = std::max(last, t);
    // A plane that is written again later is final only when the token has left, if it may leave early; the same
    // where every plane comes to stand for the last row.
    bool early = leaving && last > d;
    p.need[size_t(d)] = early || (p.holes == Holes::AlwaysLast) ? finished : last + 1;
  }
  return p;
}

} // namespace loopc::rt
