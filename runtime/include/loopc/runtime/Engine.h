// The lane scheduler: sequences in, stage calls out (design: runtime.md §1-§5).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Executor.h"
#include "loopc/runtime/KvPool.h"
#include "loopc/runtime/Policy.h"
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace loopc::rt {

using SequenceId = uint32_t;

/// Default: the mode the metadata names, else Leave if the policy defines holes, else Select. Off: exits are ignored.
enum class ExitMode : uint8_t { Default, Off, Leave, Select };
/// Declared: the order of the metadata. Token: a token finishes before the next begins. Chunk: the tokens of a chunk
/// take each iteration together and older chunks are finished (`order by_call`: the cut is an input of the function).
/// Causal: the numbers of Token, with tokens as close behind each other as what they read allows.
enum class PrefillOrder : uint8_t { Declared, Token, Chunk, Causal };

struct EngineOptions {
  uint32_t capacity = 256;   ///< most lanes of a call
  uint64_t kvBytes = 0;      ///< K/V memory of all pools together; 0: half of the memory of the machine
  Poison poison = Poison::Off;
  /// When K/V memory runs out: rows of idle, then of the youngest sequences are freed and computed again later. Else the
  /// request that needs them fails.
  bool evict = true;
  /// checkInvariants after every step.
#ifdef NDEBUG
  bool check = false;
#else
  bool check = true;
#endif
  bool shuffle = false;      ///< tests: pick a random legal subset of the ready lanes in each call
  bool stall = false;        ///< tests: the oldest lane of a sequence runs only if no other lane can
  uint64_t shuffleSeed = 0;
  uint32_t faults = 0;       ///< tests: known mistakes to make on purpose, see Fault
};

/// Known mistakes (runtime.md §9) as switches: a comparison with token-after-token decoding must notice each.
enum Fault : uint32_t {
  FaultNeedShared = 1,   ///< pitfall 1: need(d) = d + 1 for planes that several iterations write
  FaultParentOnly = 2,   ///< pitfall 2: only the next older lane is asked
  FaultNoAlias = 4,      ///< pitfall 3: deeper planes of an exited token stay empty
  FaultForkShares = 8,   ///< pitfall 5: a fork keeps writing rows it shares
  FaultRecomputeFull = 16, ///< pitfall 6: positions computed again forget their given exit
  FaultSkipCoda = 32,      ///< pitfall 16: positions without a readout take no coda step
  FaultStaleRows = 64,     ///< rollback leaves the rows of what it drops
  FaultDrawBySlot = 128,   ///< a draw depends on where a token runs, not on its position
  FaultPartialChunk = 256, ///< a part of a chunk becomes final and the rest may begin again
  FaultAll = 511,
};

/// Values of a draw given by position instead of drawn: value of position p is values[(p - first) * elements ...]; of
/// a draw for each iteration all of a position's values, loops * elements, follow each other.
struct GivenDraw {
  uint32_t first = 0;
  std::vector<float> values = {};
  bool operator==(const GivenDraw &) const = default;
};

struct SequenceOptions {
  int32_t loops = -1;   ///< iterations; -1: the default of the model
  uint64_t seed = 0;    ///< key of the draws ...
  uint64_t request = 0; ///< ... with this number of the request and the position
  std::map<std::string, float> knobs = {};
  ExitMode exit = ExitMode::Default;
  int32_t minLoops = 0;   ///< iterations before an exit may act; 0: the model's
  int32_t checkEvery = 0; ///< then at every n-th iteration; 0: the model's
  /// Given exits: position p exits after exitAfter[p] iterations (1 .. loops); 0 or no entry: runs them all. If not
  /// empty, the model's own test is not used. Leave or Select says what an exit does.
  std::vector<int32_t> exitAfter = {};
  std::map<std::string, GivenDraw> draws = {};
  /// Warm starts: state field -> field of the token before. After the first feed a token's state starts from what that
  /// field held after the final readout of the last final token; such tokens are taken one at a time.
  std::map<std::string, std::string> warm = {};
  /// Sequences of one number > 0 advance together and leave only when a test of each has fired; the logits of each are
  /// those of its own exit, all rows those of the last iteration (as published for batches of Huginn).
  uint32_t group = 0;
  /// Where no test fired, the readout takes the state of the last test instead of the last iteration (as published).
  bool lastCheck = false;
  PrefillOrder order = PrefillOrder::Declared;
  uint32_t prefix = 0; ///< models with a prefix mask: positions below are seen by all; 0: those of the first feed
  bool operator==(const SequenceOptions &) const = default;
};

enum class LogitsFor : uint8_t { None, Last, All };

struct FeedOptions {
  /// Tokens per piece: 0 takes as many as fit (order free), one (token) or all of them (chunk).
  uint32_t chunk = 0;
  LogitsFor logits = LogitsFor::Last;
  /// Also logits after every iteration, as if the loop ended there: coda and head run on a copy of the state, with
  /// coda rows of their own (one plane per iteration, seen by later readouts of that iteration).
  bool everyIteration = false;
  /// Iterations of these tokens (at most those of the sequence, whose exits must be ones that leave); 0: as usual.
  int32_t loops = 0;
  bool noExit = false; ///< the model's exit is not tested for these tokens
  /// Values of draws for these tokens, instead of the sequence's from here on (`first` is not used).
  std::map<std::string, GivenDraw> draws = {};
  /// Bank fields to copy out (see Observation), of the positions that have logits; All for LogitsFor::None.
  std::vector<std::string> observe = {};
};

/// Values of one bank field, f32, row-major; `shape` is the value of one lane.
struct Observation {
  std::vector<int64_t> shape;
  std::vector<float> prelude;    ///< [rows, shape] after the prelude
  std::vector<float> iterations; ///< [rows, loops, shape] after each iteration; zero where not executed
  std::vector<float> final;      ///< [rows, shape] after coda and head of the final readout
};

/// What one `feed` gave. `rows` = positions with outputs: the last `rows` of `count`.
struct FeedResult {
  uint32_t first = 0, count = 0; ///< positions fed: first .. first + count - 1
  uint32_t rows = 0, vocab = 0, loops = 0;
  std::vector<float> logits;          ///< [rows, vocab]; empty for LogitsFor::None
  std::vector<float> iterationLogits; ///< [rows, loops, vocab], zero where not executed; empty unless asked
  std::vector<int32_t> depth;         ///< [count] iterations completed in the state that the readout took
  std::vector<uint8_t> fired;         ///< [count] 1 where the model's exit fired
  std::vector<int32_t> executed;      ///< [count] iterations run
  std::map<std::string, Observation> observed;
  std::span<const float> row(uint32_t r) const { return {logits.data() + size_t(r) * vocab, vocab}; }
};

/// What becomes of the rows of a sequence that is preempted: they stay, move to memory outside the pools, or go and are
/// computed again.
enum class Preempt : uint8_t { Keep, Swap, Free };

/// Counters since the engine was made.
struct EngineStats {
  uint64_t calls[stageCount] = {};          ///< stage calls
  uint64_t laneCalls[stageCount] = {};      ///< lanes summed over calls
  double seconds[stageCount] = {};          ///< inside calls
  uint64_t rounds = 0;                      ///< iterations summed over core calls
  uint64_t laneIterations = 0;              ///< iterations completed, summed over lanes
  uint64_t tokens = 0;                      ///< positions that became final
  uint64_t again = 0;                       ///< positions computed again after their rows were freed
  uint64_t evictions = 0;                   ///< sequences whose rows were freed for others
  uint64_t peakPages[LOOPC_MAX_POOLS] = {}; ///< most pages in use
};

/// Keys or values of positions of one (pool, site, layer, plane): [positions, heads, dim].
struct KvBlock {
  int64_t positions = 0, heads = 0, dim = 0;
  std::vector<float> values;
};

/// Runs many sequences over one executor. One thread; deterministic: results of a sequence do not depend on the other
/// sequences, on how they share calls, or (for policies of order free) on how the tokens were cut.
/// Every member may throw Error; a sequence whose call failed loses the tokens that were not final and can be used on.
class Engine {
public:
  Engine(Executor &executor, const EngineOptions &options = {});
  ~Engine();
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;

  const ModelInfo &info() const;
  /// Most lanes of a call.
  uint32_t capacity() const;

  /// Refuses loop counts, knobs, exits and orders that the model or its policy does not allow.
  SequenceId open(const SequenceOptions &options = {});
  void close(SequenceId id);

  /// Appends tokens and runs until all of them are final. Other sequences do not advance.
  FeedResult feed(SequenceId id, std::span<const int32_t> tokens, const FeedOptions &options = {});

  /// The same in two halves, for many sequences at once: `enqueue` for each, `step` until `take` gives a result.
  void enqueue(SequenceId id, std::span<const int32_t> tokens, const FeedOptions &options = {});
  /// Births and one call of each stage at most, mixing sequences and iterations. False if there was nothing to do.
  bool step();
  bool ready(SequenceId id) const;
  std::optional<FeedResult> take(SequenceId id);

  /// Drops positions >= `position` (and whatever is in flight).
  void rollback(SequenceId id, uint32_t position);
  /// A sequence with the final positions of `id` (options, tokens, shared rows); what is in flight is not copied. One
  /// that is never fed is a checkpoint.
  SequenceId fork(SequenceId id);
  /// Makes `id` what `from` is, as `fork` would; both have the options and loop count of one `open`, or are refused.
  void restore(SequenceId id, SequenceId from);
  /// Drops the tokens that are not final and their results.
  void cancel(SequenceId id);

  /// Takes the slots of a sequence; it does not run until `resume`. Nothing of its results changes.
  void preempt(SequenceId id, Preempt how = Preempt::Keep);
  void resume(SequenceId id);

  /// Tokens, exits and K/V rows of the final positions as bytes: a header that says what they belong to, rows, checksum.
  std::vector<uint8_t> exportRows(SequenceId id) const;
  /// Gives an empty sequence what another one exported. Everything the header says has to agree with this model and with
  /// the options the sequence was opened with; throws Error naming the first field that does not, with both values.
  void importRows(SequenceId id, std::span<const uint8_t> bytes);

  /// Tokens appended, final or not; number of final positions.
  std::span<const int32_t> tokens(SequenceId id) const;
  uint32_t length(SequenceId id) const;
  /// Iterations in the state of each final position (see FeedResult::depth).
  std::span<const int32_t> depths(SequenceId id) const;
  int32_t loops(SequenceId id) const;
  /// Which planes iterations write, and what stands for those that they did not.
  const Policy &policy(SequenceId id) const;

  /// Keys (kv = 0) or values (kv = 1) as the generated code sees them in `plane`, positions [first, last).
  KvBlock readKv(SequenceId id, Stage stage, size_t site, int64_t layer, int kv, uint32_t plane, uint32_t first,
                 uint32_t last) const;
  /// Row id of (pool of `stage`, plane, position), -1 if there is none.
  int32_t rowOf(SequenceId id, Stage stage, uint32_t plane, uint32_t position) const;

  const EngineStats &stats() const;
  const KvPool &pool(size_t index) const;
  uint32_t slotsInUse() const;
  /// Throws Error naming the first broken invariant (references, pages, slots, order and causality of lanes).
  void checkInvariants() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace loopc::rt
