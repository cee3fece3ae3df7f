// Keyed random numbers: a value is a function of its key, never of the order of drawing.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace loopc::rt {

/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Stable 64-bit hash of a name (XXH64, seed 0).
uint64_t nameHash(std::string_view name);
/// Joins two keys into one (SplitMix64 finaliser of Steele, Lea, Flood 2014).
uint64_t mixKeys(uint64_t a, uint64_t b);

/// What a random number of the sampler is for; part of its key (design: acceptance rules).
enum class Purpose : uint32_t { Clock = 0, Draft1, Draft2, Accept1, Accept2, Residual };

/// Uniform in the open interval (0, 1), 52 bits: Philox with key = seed, counter = (position lo, hi, purpose, v).
double keyedUniform(uint64_t seed, uint64_t position, Purpose purpose, uint32_t v);

/// Law of a named draw or of a random weight.
struct Law {
  enum Kind : uint8_t { Normal, TruncatedNormal, Uniform, Constant } kind = Normal;
  double mean = 0; ///< Normal, TruncatedNormal
  double std = 1;
  double cut = 3; ///< TruncatedNormal: no value farther than cut*std from the mean
  double low = 0; ///< Uniform on [low, high)
  double high = 1;
  double value = 0; ///< Constant
};

/// Key of a named draw. `path` is nameHash of the draw's path in the model.
struct DrawKey {
  uint64_t seed = 0;
  uint64_t path = 0;
  uint64_t request = 0;
  uint32_t position = 0;
  uint32_t iteration = 0;
};

/// What random weights of a tensor are drawn from that names no law of its own: one row is a gain (around 1; a bias around
/// 0), several are a matrix that keeps the size of what it multiplies.
Law randomWeightLaw(std::string_view name, int64_t rows, int64_t cols);

/// out[i] = value of element `firstElement + i`. One Philox block (key = seed, path, request mixed; counter =
/// element/4, position, iteration) gives four 32-bit uniforms; normals are made by inversion (Wichura, AS 241, PPND7).
/// Any cut of a range into calls, on any threads, gives the same values.
void keyedDraw(const DrawKey &key, const Law &law, uint64_t firstElement, std::span<float> out);

/// Inverse of the standard normal distribution function, 0 < p < 1, about 7 digits.
double normalQuantile(double p);
/// Standard normal distribution function.
double normalCdf(double x);

} // namespace loopc::rt
