// Measures read bandwidth and the rate of f32 arithmetic.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"
#include "Support.h"
#include <algorithm>
#include <atomic>
#include <cstring>
#include <sys/mman.h>
#include <thread>

namespace loopc::driver {
namespace {

/// Where results go so that the work for them is done.
std::atomic<uint64_t> sink{0};

template <typename Body> void onAll(uint32_t threads, const Body &body) {
  std::vector<std::thread> team;
  for (uint32_t t = 1; t < threads; ++t)
    team.emplace_back([&, t] { body(t); });
  body(0);
  for (std::thread &one : team)
    one.join();
}

/// Bytes per second that `threads` threads read from `bytes` of memory, best of several rounds.
double readBandwidth(uint64_t bytes, uint32_t threads) {
  bytes = std::clamp<uint64_t>(bytes, uint64_t(64) << 10, uint64_t(16) << 30);
  bytes = bytes / (64 * threads) * (64 * threads);
  void *memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 0;
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  uint64_t part = bytes / threads;
  onAll(threads, [&](uint32_t t) { std::memset(static_cast<char *>(memory) + t * part, int(t + 1), part); });
  // Rounds last at least some milliseconds, so that starting threads does not count.
  int repeats = int(std::max<uint64_t>(1, (uint64_t(256) << 20) / bytes));
  double best = 0;
  for (int round = 0; round < 5 && !interrupted(); ++round) {
    Timer timer;
    onAll(threads, [&](uint32_t t) {
      uint64_t sums[8] = {};
      for (int repeat = 0; repeat < repeats; ++repeat) {
        const uint64_t *words = reinterpret_cast<const uint64_t *>(static_cast<char *>(memory) + t * part);
        for (uint64_t i = 0; i + 8 <= part / 8; i += 8)
          for (int k = 0; k < 8; ++k)
            sums[k] += words[i + uint64_t(k)];
      }
      for (uint64_t sum : sums)
        sink += sum;
    });
    best = std::max(best, double(bytes) * repeats / timer.seconds());
  }
  ::munmap(memory, bytes);
  return best;
}

typedef float Vector4 __attribute__((vector_size(16)));
typedef float Vector8 __attribute__((vector_size(32)));
typedef float Vector16 __attribute__((vector_size(64)));

/// Chains of multiply-adds on vectors, enough of them to hide the latency.
constexpr int chains = 12;
constexpr long steps = 200000;
template <typename Vector> [[gnu::always_inline]] inline float multiplyAdds() {
  Vector sums[chains] = {}, factor = Vector{} + 0.999f, term = Vector{} + 0.001f;
  for (long i = 0; i < steps; ++i)
    for (Vector &sum : sums)
      sum = sum * factor + term;
  float result = 0;
  for (Vector &sum : sums)
    result += sum[0];
  return result;
}
#if defined(__x86_64__)
[[gnu::target("avx512f"), gnu::noinline]] float multiplyAdds512() { return multiplyAdds<Vector16>(); }
[[gnu::target("avx2,fma"), gnu::noinline]] float multiplyAdds256() { return multiplyAdds<Vector8>(); }
#endif

double arithmeticRate(uint32_t threads) {
  float (*body)() = multiplyAdds<Vector4>;
  double lanes = 4;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    body = multiplyAdds512;
    lanes = 16;
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    body = multiplyAdds256;
    lanes = 8;
  }
#endif
  constexpr int repeats = 10;
  double best = 0;
  for (int round = 0; round < 5 && !interrupted(); ++round) {
    Timer timer;
    onAll(threads, [&](uint32_t) {
      for (int repeat = 0; repeat < repeats; ++repeat)
        sink += uint64_t(body());
    });
    best = std::max(best, 2 * lanes * chains * steps * repeats * threads / timer.seconds());
  }
  return best;
}

} // namespace

Machine measureMachine(double bytes, double coreBytes, uint32_t threads) {
  Machine machine;
  machine.memory = readBandwidth(uint64_t(bytes), threads);
  machine.core = std::max(machine.memory, coreBytes > 0 ? readBandwidth(uint64_t(coreBytes), threads) : 0);
  machine.cache = std::max(machine.core, readBandwidth(uint64_t(128) << 10, threads));
  machine.peak = arithmeticRate(threads);
  return machine;
}

PhaseWork workOf(const codegen::PhaseCost &phase, const StageUse &use, const Machine &machine) {
  PhaseWork work;
  double calls = phase.times * use.calls, all = phase.rounds ? phase.times * use.rounds : calls;
  // Rows are counted in every iteration; a phase outside of the iterations sees those of a call.
  double part = phase.times * (phase.rounds ? 1 : use.calls / use.rounds);
  double rows = part * use.rows, history = part * use.reach * phase.historyBytes;
  double rowBytes = rows * (phase.rowBytes + phase.keptBytes), tables = rows * phase.tableBytes;
  work.times = all;
  work.bytes = all * phase.weightBytes + tables + rowBytes + history;
  work.flops = rows * phase.flops + part * use.history * phase.historyFlops;
  double first = std::min(calls, all);
  double reading = (first * phase.weightBytes + tables + history) / machine.memory +
                   (all - first) * phase.weightBytes / machine.core + rowBytes / machine.cache;
  work.seconds = std::max(reading, work.flops / machine.peak);
  return work;
}

double weightBytes(const codegen::PhaseTable &table, bool core) {
  double total = 0;
  for (const codegen::PhaseCost &phase : table.phases)
    if (phase.rounds == core)
      total += phase.times * phase.weightBytes;
  return total;
}

} // namespace loopc::driver
