// The meaning of a model: interprets its SOURCE or PLANNED form, token by token, with nothing forgotten.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All tokens of a chunk (of one or several sequences) go through the program in lockstep, op by op, one obvious rule
// per op. Keys and values are kept per (site, layer, plane, position); a token that has exited is a frozen row: it
// keeps its states and writes no keys. A rule computes each row alone, so no number depends on which other rows are
// there.
#ifndef LOOPC_INTERP_SOURCEINTERP_H
#define LOOPC_INTERP_SOURCEINTERP_H

#include "loopc/Interp/Params.h"
#include <functional>
#include <map>
#include <memory>

namespace mlir::loop {
class ModelOp;
}

namespace loopc::interp {

/// The type in which everything is computed.
enum class Precision : uint8_t { F32, F64 };

/// What an exit does. Default: Leave if the policy of the loop says what stands for missing planes, else Select.
/// Select runs all iterations; the readout takes the state at the exit.
enum class ExitUse : uint8_t { Default, Off, Leave, Select };

/// Values of a draw by position: position p has values[(p - first) * elements …].
struct GivenValues {
  uint32_t first = 0;
  std::vector<double> values;
};

struct SequenceConfig {
  int64_t loops = -1;                    ///< count of the scheduled loop; -1: the model's default
  std::map<std::string, int64_t> counts; ///< other counts by name
  std::map<std::string, double> knobs;
  ExitUse exit = ExitUse::Default;
  int64_t minLoops = 0;   ///< iterations before an exit may act; 0: the model's
  int64_t checkEvery = 0; ///< then at every n-th iteration; 0: the model's
  /// Given exits: position p exits after exitAfter[p] iterations; 0 or no entry: it runs them all. If not empty, the
  /// model's own test is not used.
  std::vector<int32_t> exitAfter;
  std::map<std::string, GivenValues> draws;
  uint32_t prefix = 0; ///< positions below are seen by all
  /// In training, the last iterations of the scheduled loop that a gradient passes; -1: all.
  int64_t window = -1;
};

/// A draw that was not given.
struct DrawRequest {
  std::string name, law; ///< law: constant, normal, truncated_normal, uniform, standardised_normal
  double mean = 0, std = 1, cut = 0;
  uint32_t sequence = 0, position = 0, iteration = 0;
};
using DrawFunction = std::function<void(const DrawRequest &, std::vector<float> &values)>;

/// Tokens of one sequence to append.
struct SourceChunk {
  uint32_t sequence = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels; ///< of training: what each token is to predict
};

struct SourceFeed {
  /// Also evaluate what follows the loop with the state after every iteration, as if the loop ended there. Keys that
  /// this leaves behind are seen by later readouts of the same iteration only.
  bool everyIteration = false;
  bool taps = true;
};

/// By the published names of the weights; row-major.
using Gradients = std::map<std::string, std::vector<double>>;

/// A tapped value, or a state of the scheduled loop under its name, row-major.
struct TapValues {
  std::vector<int64_t> shape;
  std::vector<double> outside;    ///< [tokens, shape] by the last execution outside the scheduled loop; may be empty
  std::vector<double> iterations; ///< [tokens, loops, shape] of the last execution in each iteration (or after it)
};

struct SourceResult {
  uint32_t first = 0, count = 0, vocab = 0, loops = 0;
  std::vector<double> logits;          ///< [count, vocab]
  std::vector<double> iterationLogits; ///< [count, loops, vocab], zero where not run; empty unless asked
  std::vector<int32_t> depth;          ///< [count] iterations completed in the state that the readout took
  std::vector<int32_t> executed;       ///< [count] iterations run
  std::map<std::string, TapValues> taps;
};

class SourceInterp {
public:
  virtual ~SourceInterp() = default;

  /// The model and the provider must outlive the interpreter. `program`: which one it runs; empty: the first.
  static std::unique_ptr<SourceInterp> create(mlir::loop::ModelOp model, ParamProvider &params, Precision precision,
                                              DrawFunction draw, std::string &error,
                                              const std::string &program = "");

  /// Returns false and sets `error` for counts out of range and unknown names.
  virtual bool open(uint32_t sequence, const SequenceConfig &config, std::string &error) = 0;
  virtual void close(uint32_t sequence) = 0;
  /// Appends the chunks, all tokens in lockstep (`order token`: one token of each sequence after the other).
  virtual bool feed(const std::vector<SourceChunk> &chunks, const SourceFeed &options,
                    std::vector<SourceResult> &results, std::string &error) = 0;
  /// Drops positions >= `position`.
  virtual void rollback(uint32_t sequence, uint32_t position) = 0;
  /// What the last feed of a training program has accumulated; its logits are the loss.
  virtual Gradients gradients() = 0;
};

} // namespace loopc::interp

#endif
