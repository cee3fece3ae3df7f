// What sequences leave behind in SOURCE: keys and values by site, plane and position; depths; policies as functions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_SOURCEMEMORY_H
#define LOOPC_LIB_INTERP_SOURCEMEMORY_H

#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Interp/SourceInterp.h"
#include "loopc/runtime/KvMap.h"
#include <map>
#include <tuple>

namespace loopc::interp {

/// Keys and values of one plane by position.
template <typename T> struct PlaneRows {
  std::vector<T> k, v;
  std::vector<uint8_t> present;

  void put(size_t position, const T *key, size_t keySize, const T *value, size_t valueSize) {
    if (present.size() <= position) {
      present.resize(position + 1, 0);
      k.resize((position + 1) * keySize);
      v.resize((position + 1) * valueSize);
    }
    present[position] = 1;
    std::copy_n(key, keySize, k.begin() + position * keySize);
    std::copy_n(value, valueSize, v.begin() + position * valueSize);
  }
  bool has(size_t position) const { return position < present.size() && present[position]; }
};

/// A readout in the middle of the loop works beside the committed rows: context 0 is committed, t + 1 belongs to the
/// readout after iteration t.
struct PlaneKey {
  mlir::Operation *site;
  int64_t layer, context, plane;
  bool operator<(const PlaneKey &other) const {
    return std::tie(site, layer, context, plane) < std::tie(other.site, other.layer, other.context, other.plane);
  }
};

template <typename T> struct SourceSequence {
  SequenceConfig config;
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels; ///< of training
  std::map<PlaneKey, PlaneRows<T>> planes;
  /// Iterations completed by each position, for every loop that is not inside another (and context).
  std::map<std::pair<mlir::Operation *, int64_t>, std::vector<int32_t>> done;

  void truncate(size_t position) {
    tokens.resize(std::min(tokens.size(), position));
    for (auto &entry : planes)
      entry.second.present.resize(std::min(entry.second.present.size(), position));
    for (auto &entry : planes) {
      PlaneRows<T> &rows = entry.second;
      size_t kept = rows.present.size();
      if (kept == 0)
        rows.k.clear(), rows.v.clear();
    }
    for (auto &entry : done)
      entry.second.resize(std::min(entry.second.size(), position));
  }
};

enum class KeyUse : uint8_t { Read, Skip, Zero, Refuse };

/// Which iteration's row of an older token a query of iteration `d` sees, if that token has run `run` iterations
/// (the one in progress included): the newest in the plane of `d`. `planeOf(t)`: the plane that iteration t writes;
/// `hole`: some token in sight has not run `d`.
template <typename PlaneOf>
KeyUse rowRead(mlir::loop::KVAttr kv, int64_t d, int64_t run, bool hole, PlaneOf planeOf, int64_t &iteration) {
  using mlir::loop::Holes;
  bool last = kv.getHoles() == Holes::always_last || (hole && kv.getHoles() == Holes::last_if_hole);
  if (!last)
    for (iteration = run - 1; iteration >= 0; --iteration)
      if (planeOf(iteration) == planeOf(d))
        return KeyUse::Read;
  iteration = run - 1;
  switch (kv.getHoles()) {
  case Holes::refuse:
    return KeyUse::Refuse;
  case Holes::skip:
    return KeyUse::Skip;
  case Holes::zero:
    return KeyUse::Zero;
  case Holes::last_exited:
  case Holes::latest:
  case Holes::always_last:
  case Holes::last_if_hole:
    return run > 0 ? KeyUse::Read : KeyUse::Refuse;
  }
  return KeyUse::Refuse;
}

} // namespace loopc::interp

#endif
