// Running stages on CPU threads.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/CpuExecutor.h"
#include <algorithm>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace loopc::rt {

namespace {

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
    : artifact(std::move(a)), params(std::move(p)), team(permitTiles(artifact->info(), options)),
      table(params->abi()) {
  if (table.count != artifact->info().paramTables())
    throw Error(artifact->path(), "parameters", std::to_string(artifact->info().paramTables()) + " tables",
                std::to_string(table.count));
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
    arena = std::max(arena, s.arenaRowBytes * engine.capacity);
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
  int32_t code = team.run([&](uint32_t worker) { return entry(&call, &table, &memory, team.abi(), worker); });
  if (code != 0)
    throw Error(artifact->path(), "stage " + std::string(stageName(stage)), "0", "stopped with " + std::to_string(code));
}

} // namespace loopc::rt
