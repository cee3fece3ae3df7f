// A team of persistent worker threads with a barrier that spins, then parks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include "loopc/runtime/abi.h"
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace loopc::rt {

struct TeamOptions {
  uint32_t workers = 1; ///< the caller of `run` is worker 0
  bool pin = false;     ///< bind worker i to the i-th CPU the process may use
  /// Rounds of spinning before a worker parks; 0 parks at once. Negative: 2000, or 0 with more workers than CPUs.
  int32_t spin = -1;
};

/// Every worker of a run executes with flush-to-zero and denormals-are-zero set (denormals cost 10-100 times a normal
/// operation); the caller's mode is restored afterwards.
class Team {
public:
  explicit Team(const TeamOptions &options);
  ~Team();
  Team(const Team &) = delete;
  Team &operator=(const Team &) = delete;

  uint32_t workers() const { return count; }
  /// What generated code gets: `sync` is the barrier of this team.
  loopc_team *abi() { return &face.team; }

  /// Runs body(worker) on all workers and returns when all have returned. A nonzero value or an exception of one
  /// worker poisons the barrier, so the others return too. Returns the first nonzero value (lowest worker that did not
  /// stop because of the poison); rethrows the first exception.
  int32_t run(const std::function<int32_t(uint32_t worker)> &body);

  /// The barrier: returns 0 when every worker of the run has arrived, `poisoned` if the team is poisoned.
  int32_t sync(uint32_t worker);
  static constexpr int32_t poisoned = -1;

  /// See loopc_team::claim.
  uint32_t claim(uint32_t owner, uint32_t turn, uint32_t items);

private:
  /// One line each: a worker writes its own, the others read it.
  struct alignas(128) Line {
    std::atomic<uint64_t> value{0};
  };
  /// The C face with the way back to the team.
  struct Face {
    loopc_team team;
    Team *self;
  };
  static int32_t syncEntry(loopc_team *team, uint32_t worker, uint32_t id);
  static uint32_t claimEntry(loopc_team *team, uint32_t owner, uint32_t turn, uint32_t items);
  void workerLoop(uint32_t worker);
  void work(uint32_t worker);
  /// Waits until line >= target (or poison, if `heed`): spins, then parks on `wake`.
  bool await(const Line &line, uint64_t target, bool heed);
  /// Makes a value visible and wakes those who park.
  void publish(Line &line, uint64_t value);
  void wakeAll();

  Face face;
  uint32_t count;
  int32_t spin;
  std::unique_ptr<Line[]> arrived; ///< barriers of this run that each worker came to
  std::unique_ptr<Line[]> dealt;   ///< by owner: the turn (upper half) and how many of its items are taken
  std::unique_ptr<Line[]> done;    ///< runs finished by each worker
  Line job;                        ///< number of the current run
  alignas(128) std::atomic<uint32_t> parked{0};
  std::atomic<uint32_t> wake{0};
  alignas(128) std::atomic<bool> poison{false};
  std::atomic<bool> stop{false};
  const std::function<int32_t(uint32_t)> *body = nullptr;
  std::vector<int32_t> results;
  std::vector<std::exception_ptr> errors;
  std::vector<std::thread> threads;
};

} // namespace loopc::rt
