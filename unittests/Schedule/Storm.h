// A random life of many requests over one engine and compiled code, compared with decoding each of them alone.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Compiled.h"
#include <map>
#include <random>

namespace loopc::rt::test {

/// What a sequence was fed, enough to decode it again alone.
struct Story {
  SequenceOptions options;
  std::vector<int32_t> tokens;
  std::vector<uint32_t> piece; ///< order chunk: number of the call that a position belongs to
  std::vector<bool> everyIteration;
  void cut(size_t positions);
};

/// Decodes stories one token (order chunk: one chunk) after another on one worker and keeps what that gave.
class Alone {
public:
  explicit Alone(const Model &model);
  struct Answer {
    std::vector<int32_t> depth, executed;
    std::vector<float> logits;          ///< [position][vocab]
    std::vector<float> iterationLogits; ///< [position][loops][vocab], zero where not asked
  };
  /// Of all tokens of the story. `key` names the client: a story that goes on is not decoded from the start.
  const Answer &decode(uint32_t key, const Story &story);
  void forget(uint32_t key);
  Engine &engine() { return *alone; }
  SequenceId sequence(uint32_t key) const { return known.at(key).id; }

private:
  struct Known {
    SequenceId id;
    Story story;
    Answer answer;
  };
  const Model &model;
  std::unique_ptr<CpuExecutor> executor;
  std::unique_ptr<Engine> alone;
  std::map<uint32_t, Known> known;
};

class Storm {
public:
  /// `workers` 0: chosen by the seed. `faults`: Fault bits; the comparison is then expected to fail.
  Storm(const Model &model, uint64_t seed, uint32_t faults = 0, uint32_t workers = 0);
  /// Returns the first difference, broken invariant or leak; empty if there is none.
  std::string run(int actions);

private:
  struct Client {
    uint32_t key = 0; ///< of Alone
    Story story;
    Sampler sampler{SamplingParams{}};
    bool busy = false, held = false;
    FeedOptions feed;
    std::vector<float> last; ///< logits after the last token, if they are known
  };
  using Clients = std::map<SequenceId, Client>;

  uint64_t below(uint64_t n) { return rng() % n; }
  void act();
  void open();
  void feed(SequenceId id, Client &c);
  void copy(SequenceId from, SequenceId to, bool fresh);
  void fail(SequenceId id);
  void collect();
  void check(SequenceId id, Client &c, const FeedResult &r);
  void checkRows(SequenceId id, Client &c);
  void differ(SequenceId id, const std::string &what, uint64_t position);

  const Model &model;
  std::mt19937_64 rng;
  bool chunked;
  std::unique_ptr<CpuExecutor> executor;
  std::unique_ptr<Engine> engine;
  Alone alone;
  Clients clients;
  uint32_t nextKey = 0, nextPiece = 0;
  uint32_t capacity = 0;
  std::string problem;
};

} // namespace loopc::rt::test
