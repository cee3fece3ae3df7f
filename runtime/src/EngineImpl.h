// State of the lane scheduler.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Laws.h"
#include "loopc/runtime/RowTables.h"
#include <algorithm>
#include <exception>
#include <functional>

namespace loopc::rt {

/// One token on its way through the stages.
struct Lane {
  uint32_t position = 0, slot = 0, chunk = 0;
  int32_t token = 0;
  int32_t done = 0;  ///< iterations completed
  int32_t depth = 0; ///< iterations in the state that the readout takes; 0: not decided
  bool prelude = false, exited = false, codaFinal = false;
  bool fired = false;    ///< `exited` of the ABI between calls
  bool snapshot = false; ///< the readout takes the snapshot slot
  bool left = false;     ///< the model's exit fired
  bool frozen = false;   ///< its outputs are taken already; it goes on with its group
  int32_t checked = 0;   ///< iterations at the last test; 0: none
  bool taken = false;    ///< in the core call being made
};

/// The tokens of one `enqueue`.
struct Job {
  FeedOptions options;
  FeedResult result;
  /// Row of the outputs of a position, -1 if it has none.
  int64_t rowOf(uint32_t position) const {
    int64_t row = int64_t(position) - int64_t(result.first) - int64_t(result.count - result.rows);
    return row < 0 ? -1 : row;
  }
};

/// Positions that were given together: what computing them again has to keep.
struct Feed {
  uint32_t first = 0, end = 0;
  uint32_t chunk = 0;
  bool everyIteration = false;
};

struct Sequence {
  Sequence(SequenceId id, const ModelInfo &info, KvPools &pools, Policy p)
      : id(id), policy(std::move(p)), tables(info, pools, policy) {}
  Sequence(const Sequence &) = delete;

  SequenceId id;
  Policy policy;
  RowTables tables;
  SequenceOptions options;
  ExitMode exit = ExitMode::Off;
  Order order = Order::Free;
  int32_t minLoops = 1, checkEvery = 1;
  std::vector<float> knobs;
  std::vector<int32_t> tokens; ///< final ones, then those of the job
  std::vector<int32_t> depths; ///< of positions whose results are known; its size is their number
  std::vector<int32_t> executed; ///< of the same positions
  std::vector<Feed> feeds;       ///< of all tokens
  uint32_t computed = 0;         ///< positions that have their rows: the known ones, unless rows were freed
  uint32_t settled = 0;          ///< of those, positions whose feed is complete
  bool held = false;             ///< preempted until `resume`
  bool waiting = false;          ///< rows were freed for others: runs again when there is room
  size_t compacted = 0;          ///< tokens when its own rows were freed to lie closer
  std::vector<uint8_t> swapped;  ///< rows outside the pools ...
  uint32_t swappedKeep = 0;      ///< ... of which those of this many positions still count
  std::vector<Lane> lanes;     ///< live, oldest first
  std::map<std::string, std::vector<uint8_t>> warm; ///< by state field: bytes that each final position left for the next
  uint32_t chunk = 0;          ///< number of the last chunk born (order chunk)
  std::optional<Job> job;
  std::exception_ptr failure;
  bool forgetExits = false; ///< FaultRecomputeFull

  uint32_t final() const { return computed; }
  uint32_t known() const { return uint32_t(depths.size()); }
  uint32_t born() const { return final() + uint32_t(lanes.size()); }
  uint32_t pending() const { return uint32_t(tokens.size()) - born(); }
  bool finished() const { return job && known() == tokens.size(); }
  bool hasRows() const { return computed > 0 || !lanes.empty(); }
  const Feed &feedOf(uint32_t position) const {
    return *std::prev(std::upper_bound(feeds.begin(), feeds.end(), position,
                                       [](uint32_t at, const Feed &f) { return at < f.first; }));
  }
  /// Positions that all tokens see, besides those before their own: the prompt, or the whole sequence.
  uint32_t seenByAll(const ModelInfo &info) const {
    if (info.contract.group == "whole")
      return uint32_t(tokens.size());
    return options.prefix || info.contract.group != "prompt" || feeds.empty() ? options.prefix : feeds.front().end;
  }
  bool everyIteration(const Lane &l) const { return feedOf(l.position).everyIteration; }
  /// Forgets positions >= `position`, lanes apart.
  void cut(uint32_t position);
  /// Given exit of a position: iterations, 0 if none.
  int32_t givenExit(uint32_t position) const {
    int32_t e = position < options.exitAfter.size() && !forgetExits ? options.exitAfter[position] : 0;
    return e > 0 && e <= policy.loops ? e : 0;
  }
  bool modelExit(const ModelInfo &info) const {
    return info.exit && exit != ExitMode::Off && options.exitAfter.empty() && !(job && job->options.noExit);
  }
  /// Iterations until the next test of the model's exit.
  int32_t untilTest(int32_t done) const {
    return done < minLoops ? minLoops - done : checkEvery - (done - minLoops) % checkEvery;
  }
  bool testDue(int32_t done) const { return done >= minLoops && (done - minLoops) % checkEvery == 0; }
};

/// A lane in a call, with the record it uses.
struct Member {
  Sequence *sequence;
  Lane *lane;
  uint32_t slot;
  int32_t readout = -1; ///< iteration of a readout on copies; -1: the real rows
};

struct Engine::Impl {
  Impl(Executor &executor, const EngineOptions &options);
  ~Impl();

  // EngineStep.cpp: one step, in this order.
  bool step(Sequence *only);
  std::vector<Sequence *> active(Sequence *only);
  uint32_t births(std::span<Sequence *const> set);
  void birth(Sequence &s);
  void prelude(std::span<Sequence *const> set);
  bool iterate(std::span<Sequence *const> set);
  uint32_t pick(std::span<Sequence *const> set);
  int32_t roundsFor(std::span<const Member> lanes, bool &keep);
  bool afterCore(const Member &m, int32_t rounds, bool keep, int32_t iteration, bool fired);
  void check(std::span<const Member> lanes, std::vector<uint8_t> &fired);
  void settle(const Member &m, bool fired);
  void leaveTogether(std::span<const Member> lanes);
  void leave(Sequence &s, Lane &l);
  void readouts(std::span<Sequence *const> set);
  void outputs(std::span<const Member> lanes);
  void retire(Sequence &s);

  // EngineOps.cpp: sequences that give up lanes and rows.
  void dropLanes(Sequence &s);
  void settleFeeds(Sequence &s);
  void abandon(Sequence &s);
  void evict(Sequence &s);
  /// Frees rows of the sequence that it returns (`s` itself where only older ones run); null if nobody has any.
  Sequence *makeRoom(Sequence &s);
  /// The same in the handler of what `s` met; if there is no room to make, `s` fails and the others go on.
  Sequence *giveWay(Sequence &s);
  /// K/V bytes of all tokens of a sequence that shares nothing.
  uint64_t bytesOf(const Sequence &s) const;
  bool admits(const Sequence &s) const;
  void bringBack(Sequence &s);

  // KvExport.cpp
  std::vector<uint8_t> pack(const Sequence &s) const;
  void unpack(Sequence &s, std::span<const uint8_t> bytes, bool own);

  // EngineCalls.cpp: building calls, copying values.
  void call(Stage stage, std::span<const Member> lanes, int32_t rounds, uint32_t flags);
  void laws(Stage stage, std::span<const Member> lanes, int32_t rounds);
  void head(std::span<const Member> lanes, const std::function<float *(const Member &)> &to);
  void iterationReadouts(std::span<const Member> lanes);
  void writeDraws(const Sequence &s, const Lane &l, bool iteration);
  void foldFields(std::span<const Member> lanes);
  void startWarm(const Sequence &s, const Lane &l);
  void keepWarm(Sequence &s, const Lane &l, uint32_t slot);
  enum class Moment { Prelude, Iteration, Final };
  void observe(const Sequence &s, const Lane &l, uint32_t slot, Moment moment, Job &job);
  uint8_t *slot(uint32_t index) { return bank + uint64_t(index) * info.bankRowBytes; }

  Sequence &find(SequenceId id);
  uint64_t random();
  uint32_t lanesLive() const;

  Executor &executor;
  const ModelInfo &info;
  EngineOptions options;
  KvBudget budget;
  KvPools pools;
  bool alone = false; ///< in this step one sequence runs and the others rest
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences;
  SequenceId nextId = 1;
  /// Slots [0, capacity) are lanes; + capacity: a copy for readouts; + 2 * capacity: the state at a selecting exit.
  uint8_t *bank = nullptr;
  uint64_t bankBytes = 0;
  std::vector<uint32_t> freeSlots;
  float *logits = nullptr; ///< [capacity, vocab] staging, rows aligned to 64 bytes
  uint64_t logitsStride = 0, logitsBytes = 0;
  EngineStats stats;
  uint64_t randomState;

  // Arrays of the call being made.
  struct Arrays {
    std::vector<int32_t> token, position, sequence, slot, limit, iteration;
    std::vector<uint8_t> exited;
    std::vector<loopc_sequence> records;
    std::vector<LawLane> lawLanes;
    std::vector<LawSequence> lawSequences;
  } arrays;
};

} // namespace loopc::rt
