// Keyed random numbers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Random.h"
#include <algorithm>
#include <cmath>
#include <xxhash.h>

namespace loopc::rt {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t low = uint64_t(0xD2511F53) * c[0], high = uint64_t(0xCD9E8D57) * c[2];
    c = {uint32_t(high >> 32) ^ c[1] ^ key[0], uint32_t(high), uint32_t(low >> 32) ^ c[3] ^ key[1], uint32_t(low)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

uint64_t nameHash(std::string_view name) { return XXH64(name.data(), name.size(), 0); }

uint64_t mixKeys(uint64_t a, uint64_t b) {
  auto finish = [](uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  };
  return finish(finish(a + 0x9E3779B97F4A7C15) + b + 0x9E3779B97F4A7C15);
}

static std::array<uint32_t, 2> words(uint64_t key) { return {uint32_t(key), uint32_t(key >> 32)}; }

double keyedUniform(uint64_t seed, uint64_t position, Purpose purpose, uint32_t v) {
  auto block = philox4x32({uint32_t(position), uint32_t(position >> 32), uint32_t(purpose), v}, words(seed));
  uint64_t bits = uint64_t(block[1]) << 32 | block[0];
  // The half keeps both ends out: ln 0 and ln 1 = 0 (which would tie) never occur.
  return (double(bits >> 12) + 0.5) * 0x1p-52;
}

double normalCdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }

/// Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988), PPND7.
double normalQuantile(double p) {
  double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    double r = 0.180625 - q * q;
    return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
           (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
  }
  double r = std::sqrt(-std::log(q < 0 ? p : 1 - p)), x;
  if (r <= 5) {
    r -= 1.6;
    x = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
        ((0.12021132975 * r + 0.73700164250) * r + 1.0);
  } else {
    r -= 5;
    x = (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) /
        ((0.012258202635 * r + 0.24197894225) * r + 1.0);
  }
  return q < 0 ? -x : x;
}

namespace {

/// Fills `out` with f(u), u uniform in (0, 1) with 32 bits.
template <typename F> void fill(const DrawKey &key, uint64_t first, std::span<float> out, F f) {
  auto seed = words(mixKeys(mixKeys(key.seed, key.path), key.request));
  for (size_t i = 0; i < out.size();) {
    uint64_t element = first + i, index = element / 4;
    auto block = philox4x32({uint32_t(index), uint32_t(index >> 32), key.position, key.iteration}, seed);
    for (unsigned lane = element % 4; lane < 4 && i < out.size(); ++lane, ++i)
      out[i] = f((double(block[lane]) + 0.5) * 0x1p-32);
  }
}

} // namespace

Law randomWeightLaw(std::string_view name, int64_t rows, int64_t cols) {
  bool vector = rows <= 1;
  Law law;
  law.mean = vector && name.find("bias") == name.npos ? 1 : 0;
  law.std = vector ? 0.02 : 1 / std::sqrt(double(cols));
  return law;
}

void keyedDraw(const DrawKey &key, const Law &law, uint64_t firstElement, std::span<float> out) {
  switch (law.kind) {
  case Law::Constant:
    std::fill(out.begin(), out.end(), float(law.value));
    return;
  case Law::Uniform:
    return fill(key, firstElement, out, [&](double u) {
      // Rounding to f32 may reach `high`, which does not belong to the interval.
      float value = float(law.low + (law.high - law.low) * u);
      return value < float(law.high) ? value : std::max(float(law.low), std::nextafter(float(law.high), float(law.low)));
    });
  case Law::Normal:
    return fill(key, firstElement, out, [&](double u) { return float(law.mean + law.std * normalQuantile(u)); });
  case Law::TruncatedNormal: {
    double low = normalCdf(-law.cut), width = 1 - 2 * low;
    return fill(key, firstElement, out, [&](double u) {
      return float(law.mean + law.std * std::clamp(normalQuantile(low + width * u), -law.cut, law.cut));
    });
  }
  }
}

} // namespace loopc::rt
