// Policies as tables.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Policy.h"
#include <algorithm>

namespace loopc::rt {

int32_t Policy::lag() const {
  int32_t lag = 0;
  for (int32_t d = 0; d < loops; ++d)
    lag = std::max(lag, (need[size_t(d)] == finished ? loops : need[size_t(d)]) - 1 - d);
  return lag;
}

int32_t Policy::source(int32_t s, int32_t done) const {
  if (done < 1)
    return -1;
  int32_t layer = s % steps, end = done * steps;
  if (keep != Keep::Last)
    return layer; // the row of iteration 0, which takes the mean where that is kept
  auto newest = [&](int32_t step) {
    int32_t t = end - 1;
    while (t >= 0 && kept[size_t(t)] != kept[size_t(step)])
      --t;
    return t;
  };
  int32_t exit = end - steps + layer; // this layer in the last iteration
  if (holes == Holes::AlwaysLast)
    return newest(exit);
  int32_t found = newest(s);
  return found < 0 && holes == Holes::LastExited ? newest(exit) : found;
}

Policy Policy::make(const PolicyInfo &info, int32_t T, bool leaving, bool pass) {
  Policy p;
  p.loops = T;
  p.steps = info.steps;
  p.keep = info.keep;
  p.pass = pass;
  p.flight = pass || p.keep != Keep::Last;
  p.holes = info.holes == "last_exited"    ? Holes::LastExited
            : info.holes == "always_last"  ? Holes::AlwaysLast
            : info.holes == "last_if_hole" ? Holes::LastIfHole
            : info.holes == "skip"         ? Holes::Skip
            : info.holes == "zero"         ? Holes::Zero
                                           : Holes::Refuse;
  auto refuse = [&](const std::string &expected, const std::string &found) {
    throw Error("", "policy " + info.name, expected, found);
  };
  if (leaving && kvMaps[size_t(info.map)].needsCount)
    refuse("a fixed number of iterations, since plane of an iteration depends on it; nearest legal: an exit that "
           "selects",
           "an exit that leaves");
  if (leaving && p.holes == Holes::Refuse && p.keep == Keep::Last)
    refuse("a rule for planes deeper than an exit (last_exited, always_last, skip) or an exit that selects",
           "an exit that leaves iterations of " + std::to_string(T) + " without rows");
  if (p.flight && info.planeZero)
    refuse("an artefact with rows for each iteration", "one plane in all iterations");
  int32_t all = T * p.steps;
  p.logicalPlanes = info.planeZero ? 1 : uint32_t(std::max(all, 1));
  std::vector<int64_t> names; // of planes, in the order of their first write
  for (int32_t s = 0; s < all; ++s) {
    int64_t name = planeOfStep(info.map, info.sizes[0], info.sizes[1], s, all);
    auto at = std::find(names.begin(), names.end(), name);
    p.kept.push_back(uint32_t(at - names.begin()));
    if (at == names.end())
      names.push_back(name);
  }
  p.keptPlanes = uint32_t(names.size());
  if (info.codaOverwrites)
    for (int32_t d = 0; d < T; ++d)
      p.overwritten.push_back(int32_t(std::max<int64_t>(-1, names[p.kept[size_t(d)]] - T)));
  std::vector<int32_t> lastWrite(names.size());
  for (int32_t s = 0; s < all; ++s)
    lastWrite[p.kept[size_t(s)]] = s;
  for (int32_t d = 0; d < T; ++d) {
    int32_t need = d + 1;
    bool early = p.keep != Keep::Last || p.holes == Holes::AlwaysLast || p.holes == Holes::LastIfHole;
    for (int32_t s = d * p.steps; s < (d + 1) * p.steps; ++s) {
      // All rows of a layer are written before any is read, so an older token may write its last version in the same
      // call, but not in a later layer of it.
      int32_t last = lastWrite[p.kept[size_t(s)]];
      need = std::max(need, last / p.steps + 1 + (last % p.steps > s % p.steps));
      // A plane that is written again later is final only when the token has left, if it may leave early.
      early |= leaving && last / p.steps > d;
    }
    p.need.push_back(early || need > T ? finished : need);
  }
  return p;
}

} // namespace loopc::rt
