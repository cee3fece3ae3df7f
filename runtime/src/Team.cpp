// Worker threads and their barrier.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Team.h"
#include <algorithm>
#include <exception>
#include <pthread.h>
#include <sched.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace loopc::rt {

namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Sets flush-to-zero and denormals-are-zero for its life.
class FlushDenormals {
public:
#if defined(__x86_64__)
  FlushDenormals() : old(_mm_getcsr()) { _mm_setcsr(old | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(old); }

private:
  unsigned old;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(old));
    asm volatile("msr fpcr, %0" ::"r"(old | (uint64_t(1) << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(old)); }

private:
  uint64_t old;
#endif
};

/// CPUs this process may run on, in order.
std::vector<int> allowedCpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set))
        cpus.push_back(i);
  return cpus;
}

void pinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // A refusal leaves the thread where the system puts it: slower, never wrong.
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

} // namespace

Team::Team(const TeamOptions &options) : count(options.workers), spin(options.spin) {
  if (count < 1 || count > 1024)
    throw Error("", "threads", "1 .. 1024", std::to_string(count));
  std::vector<int> cpus = allowedCpus();
  if (spin < 0)
    spin = count <= std::max<size_t>(cpus.size(), 1) ? 2000 : 0;
  face.team.workers = count;
  face.team.reserved = 0;
  face.team.sync = &Team::syncEntry;
  face.team.claim = &Team::claimEntry;
  face.self = this;
  arrived = std::make_unique<Line[]>(count);
  dealt = std::make_unique<Line[]>(count);
  done = std::make_unique<Line[]>(count);
  results.resize(count);
  errors.resize(count);
  if (options.pin && !cpus.empty())
    pinTo(cpus[0]);
  for (uint32_t w = 1; w < count; ++w)
    threads.emplace_back([this, w, cpu = options.pin && !cpus.empty() ? cpus[w % cpus.size()] : -1] {
      if (cpu >= 0)
        pinTo(cpu);
      workerLoop(w);
    });
}

Team::~Team() {
  stop.store(true);
  publish(job, job.value.load() + 1);
  for (std::thread &t : threads)
    t.join();
}

int32_t Team::syncEntry(loopc_team *team, uint32_t worker, uint32_t id) {
  return reinterpret_cast<Face *>(team)->self->sync(worker); // team is the first member of Face
}

uint32_t Team::claimEntry(loopc_team *team, uint32_t owner, uint32_t turn, uint32_t items) {
  return reinterpret_cast<Face *>(team)->self->claim(owner, turn, items);
}

uint32_t Team::claim(uint32_t owner, uint32_t turn, uint32_t items) {
  // Relaxed: what items work on is ordered by the barriers. A later turn there says that all of this one were taken.
  std::atomic<uint64_t> &line = dealt[owner].value;
  uint64_t seen = line.load(std::memory_order_relaxed);
  while (true) {
    uint32_t at = uint32_t(seen >> 32), taken = at == turn ? uint32_t(seen) : 0;
    if (at > turn || taken >= items)
      return items;
    if (line.compare_exchange_weak(seen, uint64_t(turn) << 32 | (taken + 1), std::memory_order_relaxed))
      return taken;
  }
}

void Team::wakeAll() {
  if (parked.load(std::memory_order_seq_cst) == 0)
    return;
  wake.fetch_add(1, std::memory_order_seq_cst);
  wake.notify_all();
}

void Team::publish(Line &line, uint64_t value) {
  // seq_cst: either the waiter sees the value, or we see that it is parked.
  line.value.store(value, std::memory_order_seq_cst);
  wakeAll();
}

bool Team::await(const Line &line, uint64_t target, bool heed) {
  auto arrivedOrPoison = [&](std::memory_order order) {
    return line.value.load(order) >= target || (heed && poison.load(order));
  };
  for (int32_t i = 0; i < spin; ++i) {
    if (arrivedOrPoison(std::memory_order_acquire))
      return line.value.load(std::memory_order_acquire) >= target;
    pause();
  }
  while (!arrivedOrPoison(std::memory_order_acquire)) {
    parked.fetch_add(1, std::memory_order_seq_cst);
    uint32_t seen = wake.load(std::memory_order_seq_cst);
    if (!arrivedOrPoison(std::memory_order_seq_cst))
      wake.wait(seen, std::memory_order_seq_cst);
    parked.fetch_sub(1, std::memory_order_seq_cst);
  }
  return line.value.load(std::memory_order_acquire) >= target;
}

int32_t Team::sync(uint32_t worker) {
  if (count == 1)
    return 0;
  uint64_t target = arrived[worker].value.load(std::memory_order_relaxed) + 1;
  publish(arrived[worker], target);
  for (uint32_t w = 0; w < count; ++w)
    if (w != worker && !await(arrived[w], target, true))
      return poisoned;
  return 0;
}

void Team::work(uint32_t worker) {
  FlushDenormals mode;
  try {
    results[worker] = (*body)(worker);
  } catch (...) {
    errors[worker] = std::current_exception();
    results[worker] = poisoned;
  }
  if (results[worker] != 0) {
    poison.store(true, std::memory_order_seq_cst);
    wakeAll();
  }
}

void Team::workerLoop(uint32_t worker) {
  for (uint64_t run = 1;; ++run) {
    await(job, run, false);
    if (stop.load())
      return;
    work(worker);
    publish(done[worker], run);
  }
}

int32_t Team::run(const std::function<int32_t(uint32_t)> &newBody) {
  body = &newBody;
  std::fill(results.begin(), results.end(), 0);
  std::fill(errors.begin(), errors.end(), nullptr);
  // All workers have left the last run; one that was poisoned stopped them at different barriers.
  for (uint32_t w = 0; w < count; ++w) {
    arrived[w].value.store(0, std::memory_order_relaxed);
    dealt[w].value.store(0, std::memory_order_relaxed);
  }
  uint64_t number = job.value.load(std::memory_order_relaxed) + 1;
  if (count > 1)
    publish(job, number);
  else
    job.value.store(number, std::memory_order_relaxed);
  work(0);
  for (uint32_t w = 1; w < count; ++w)
    await(done[w], number, false);
  poison.store(false, std::memory_order_relaxed);
  for (std::exception_ptr &e : errors)
    if (e)
      std::rethrow_exception(e);
  for (int32_t r : results)
    if (r != 0 && r != poisoned)
      return r;
  for (int32_t r : results)
    if (r != 0)
      return r;
  return 0;
}

} // namespace loopc::rt
