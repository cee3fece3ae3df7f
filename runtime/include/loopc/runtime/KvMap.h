// Where K/V rows of an iteration are kept: the maps of KvMaps.def as functions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// C++17 and without dependencies: the compiler reads it too.
#pragma once
#include <cstdint>
#include <string_view>

namespace loopc::rt {

enum class KvMap : uint8_t {
#define LOOPC_KV_MAP(NAME, SIZES, NEEDS_COUNT, PLANE) NAME,
#include "loopc/runtime/KvMaps.def"
};

struct KvMapInfo {
  std::string_view name;
  int sizes;       ///< numbers in parentheses: ring(k), anchor(n, k)
  bool needsCount; ///< the plane depends on the loop count
};

inline constexpr KvMapInfo kvMaps[] = {
#define LOOPC_KV_MAP(NAME, SIZES, NEEDS_COUNT, PLANE) {#NAME, SIZES, NEEDS_COUNT},
#include "loopc/runtime/KvMaps.def"
};

/// Index into kvMaps, which is also the value of KvMap; -1 if there is no such map.
constexpr int findKvMap(std::string_view name) {
  int index = 0;
  for (const KvMapInfo &map : kvMaps) {
    if (map.name == name)
      return index;
    ++index;
  }
  return -1;
}

/// Plane of step `d` of `T`.
constexpr int64_t planeOfStep(KvMap map, int64_t a, int64_t b, int64_t d, int64_t T) {
  (void)b;
  switch (map) {
#define LOOPC_KV_MAP(NAME, SIZES, NEEDS_COUNT, PLANE)                                                                  \
  case KvMap::NAME:                                                                                                    \
    return PLANE;
#include "loopc/runtime/KvMaps.def"
  }
  (void)T;
  return d;
}

} // namespace loopc::rt
