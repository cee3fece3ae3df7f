// Running stages on CPU threads.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/CpuExecutor.h"
#include <algorithm>
#include <chrono>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace loopc::rt {

namespace {

/// The clock that the code of an artefact reads.
uint64_t readClock() {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  uint64_t ticks;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return 0;
#endif
}

uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/// Linux gives tile registers on request only, and threads inherit the permission: ask before the team starts.
TeamOptions permitTiles(const ModelInfo &info, const TeamOptions &options) {
#if defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18;
  if (std::find(info.features.begin(), info.features.end(), "amx-tile") != info.features.end() &&
      syscall(SYS_arch_prctl, requestPermission, tileData) != 0)
    throw Error("", "AMX", "permission of the system to use tile registers", "a refusal");
#endif
  return options;
}

} // namespace

CpuExecutor::CpuExecutor(std::shared_ptr<const Artifact> a, std::shared_ptr<const PackedParams> p,
                         const TeamOptions &options)
    : artifact(std::move(a)), params(std::move(p)), team(permitTiles(artifact->info(), options)), table(params->abi()) {
  if (table.count != artifact->info().paramTables())
    throw Error(artifact->path(), "parameters", std::to_string(artifact->info().paramTables()) + " tables",
                std::to_string(table.count));
  for (const StageInfo &s : info().stages) {
    Times &mine = times[size_t(s.stage)];
    mine.phases = s.timedPhases;
    mine.lines.resize(s.timedPhases ? team.workers() * LOOPC_PROFILE_WORDS(s.timedPhases) / 16 : 0);
  }
}

CpuExecutor::~CpuExecutor() { release(); }

void CpuExecutor::release() {
  if (block)
    munmap(block, blockBytes);
  block = nullptr;
}

void CpuExecutor::bind(const EngineMemory &engine) {
  release();
  uint64_t arena = 0, perWorker = 0;
  for (const StageInfo &s : info().stages) {
    arena = std::max(arena, s.arenaRowBytes * engine.capacity + s.arenaBytes);
    perWorker = std::max(perWorker, s.scratchBytes + s.scratchRowBytes * engine.capacity);
  }
  // Workers on lines of their own, each buffer on a system page, so that no two share a line.
  arena = roundUp(arena + 64, 4096);
  perWorker = roundUp(perWorker + 64, 4096);
  blockBytes = arena + perWorker * team.workers();
  void *at = mmap(nullptr, blockBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw Error("", "scratch memory", "memory for " + std::to_string(blockBytes) + " bytes", "a refusal by the system");
  block = at;
  madvise(at, blockBytes, MADV_HUGEPAGE);
  memory = {};
  memory.bank = engine.bank;
  memory.bank_row_bytes = engine.bankRowBytes;
  std::copy(std::begin(engine.pools), std::end(engine.pools), std::begin(memory.pools));
  memory.arena = static_cast<uint8_t *>(at);
  memory.capacity = engine.capacity;
  scratch.resize(team.workers());
  for (uint32_t w = 0; w < team.workers(); ++w)
    scratch[w] = static_cast<uint8_t *>(at) + arena + w * perWorker;
  memory.scratch = scratch.data();
}

void CpuExecutor::run(Stage stage, loopc_call &call) {
  loopc_stage entry = artifact->stage(stage);
  if (!entry || !block)
    throw Error(artifact->path(), "stage " + std::string(stageName(stage)), "code and bound memory", "none");
  Times &mine = times[size_t(stage)];
  int32_t code = mine.phases ? runTimed(entry, stage, call, mine) : runAll(entry, call);
  if (code != 0)
    throw Error(artifact->path(), "stage " + std::string(stageName(stage)), "0",
                "stopped with " + std::to_string(code));
}

int32_t CpuExecutor::runAll(loopc_stage entry, loopc_call &call) {
  return team.run([&](uint32_t worker) { return entry(&call, &table, &memory, team.abi(), worker); });
}

int32_t CpuExecutor::runTimed(loopc_stage entry, Stage stage, loopc_call &call, Times &mine) {
  call.profile = mine.lines.front().words;
  std::vector<int32_t> before(call.iteration, call.iteration + call.lanes);
  auto begin = std::chrono::steady_clock::now();
  uint64_t ticks = readClock();
  int32_t code = runAll(entry, call);
  mine.ticks += readClock() - ticks;
  StageProfile &sums = mine.sums;
  sums.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  int32_t most = 0;
  double furthest = 0; // of the lanes of one sequence, which follow one another
  for (uint32_t i = 0; i < call.lanes; ++i) {
    int32_t ran = stage == Stage::Core ? call.iteration[i] - before[i] : 1;
    double attended = double(ran) * call.position[i];
    most = std::max(most, ran);
    sums.rows += ran;
    sums.history += attended;
    furthest = std::max(furthest, attended);
    if (i + 1 == call.lanes || call.sequence[i] != call.sequence[i + 1]) {
      sums.reach += furthest;
      furthest = 0;
    }
  }
  sums.calls += 1;
  sums.rounds += most;
  return code;
}

StageProfile CpuExecutor::profile(Stage stage) const {
  const Times &mine = times[size_t(stage)];
  StageProfile result = mine.sums;
  double tick = mine.ticks ? result.seconds / double(mine.ticks) : 0;
  for (uint32_t w = 0; w < team.workers() && mine.phases; ++w) {
    const uint64_t *words = mine.lines[w * LOOPC_PROFILE_WORDS(mine.phases) / 16].words;
    std::vector<double> work, wait;
    for (uint32_t phase = 0; phase < mine.phases; ++phase) {
      work.push_back(double(words[1 + 2 * phase]) * tick);
      wait.push_back(double(words[2 + 2 * phase]) * tick);
    }
    result.work.push_back(std::move(work));
    result.wait.push_back(std::move(wait));
  }
  return result;
}

void CpuExecutor::clearProfile() {
  for (Times &mine : times) {
    mine.ticks = 0;
    mine.sums = {};
    std::fill(mine.lines.begin(), mine.lines.end(), Line());
  }
}

} // namespace loopc::rt
