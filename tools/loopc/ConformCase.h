// One conformance case: what its files say, what the words make of it, and what running it gave.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Model.h"
#include "Words.h"
#include "loopc/runtime/Safetensors.h"
#include <map>
#include <optional>

namespace loopc::driver {

/// CASE.json and CASE.safetensors.
struct CaseFiles {
  std::string name, path, kind;
  nlohmann::json json;
  std::shared_ptr<const rt::SafetensorsFile> tensors;
  words::CaseFacts facts;
};

/// A tensor of a case as numbers, with the axes that the words give it.
struct CaseTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<double> values;
  bool integer = false;
  std::vector<words::Axis> layout;
  int64_t size(char letter) const; ///< -1 if it has no such axis
};

/// A value of one sequence: [rows, steps, features]. rows 1: the same for every position.
struct SequenceValue {
  int64_t rows = 0, steps = 1, features = 1;
  bool padded = false;      ///< -1 beyond the steps
  bool byGenerated = false; ///< rows are generated tokens, not positions
  std::vector<double> data;
  double at(int64_t row, int64_t step, int64_t feature) const {
    if (padded && step >= steps)
      return -1;
    return data[size_t(((rows == 1 ? 0 : row) * steps + (steps == 1 ? 0 : step)) * features + feature)];
  }
};

/// An expected tensor and how to compute it.
struct CaseOutput {
  std::string name; ///< with `out.`
  const words::Rule *rule = nullptr;
  words::Scope scope;
  CaseTensor expected;
  double atol = 0, rtol = 0;
  std::string unsupported; ///< reason; the tensor is not compared
};

/// Taps of layers that are executed one after the other; in the loop, in every iteration.
struct LayerTaps {
  bool looped = false;
  std::vector<std::string> taps;
};

/// What the words make of a case.
struct CasePlan {
  std::string unsupported; ///< reason; the case is not run
  nlohmann::json config;
  std::string configName, weights;
  SpecOptions spec; ///< sets of config entries, accidents
  std::string kv, dtype = "f32";
  std::string warm; ///< value from which the warm states of later calls start
  std::vector<std::string> warmStates;
  rt::ExitMode exits = rt::ExitMode::Off;
  rt::PrefillOrder order = rt::PrefillOrder::Declared;
  std::string each; ///< name of the list of axis N; empty: one run
  std::vector<nlohmann::json> eachValues;
  struct Setting {
    std::string name;
    const words::Expr *expr;
    words::Scope scope;
  };
  std::vector<Setting> settings; ///< run-time options and the loop count
  struct Use {
    const words::Expr *expr = nullptr;
    words::Scope scope;
  };
  std::optional<Use> exitAfter, minLoops, checkEvery;
  bool together = false, lastCheck = false, untested = false;
  std::optional<CaseTensor> labels;
  std::string section;        ///< of training: the name of the section; none: the first whose loss runs
  std::optional<Use> window;  ///< of training: the last iterations that a gradient passes; none: all
  std::optional<Use> updates; ///< of a training run: the last steps, which change the weights; none: all
  std::vector<Setting> rates; ///< of a training run: numbers in place of those of the section's optimizers
  std::optional<int64_t> prompt, generate;
  std::set<int32_t> stop;
  int64_t draftLoops = 0, draftTokens = 0;   ///< greedy self-speculation
  std::string draftView;                     ///< input that is 1 for the tokens of a draft, which has no loops of its own then
  int32_t draftMask = 0;                     ///< id of the tokens that such a draft fills in
  std::map<std::string, CaseTensor> overrides; ///< weights instead of those of the file
  std::string origin;                          ///< section of the spec that makes the weights from those of the file
  std::vector<int64_t> calls, callLoops, callBack; ///< by call: tokens, iterations, positions taken back before it
  std::map<int64_t, CaseTensor> tokensOf;          ///< of single sequences: their prompts
  int64_t again = -1;                              ///< at the end positions from here on are taken back and fed again
  int64_t lead = 0;                                ///< positions before the given tokens
  int64_t restarts = 1;                            ///< sequences that every given one stands for
  int64_t loops = 0;                               ///< iterations whatever the settings say
  bool carries = false;                            ///< rows that leave are replaced; segments are what follows
  std::vector<CaseTensor> tokensAt, labelsAt;      ///< by segment or step
  std::map<std::string, std::vector<CaseTensor>> givenAt; ///< by step: numbers of sequences that settings name
  std::map<std::string, std::vector<CaseTensor>> drawsAt;
  std::set<std::string> declared, iterated;        ///< draws of the spec; those with a value for each iteration
  std::vector<int64_t> cuts, prefixes;             ///< by sequence: where it begins along axis J; positions seen by all
  CaseTensor tokens, tokensAgain;                  ///< the second: after positions were taken back
  std::optional<CaseTensor> mask, exits_;
  const words::Expr *exitTensorExpr = nullptr;
  std::map<std::string, std::vector<CaseTensor>> draws; ///< parts: the prompt or all, after the prompt, again
  std::map<std::string, CaseTensor> given;              ///< by the names of values of the loop
  std::vector<CaseOutput> outputs;
  std::vector<std::string> observe; ///< names of values that are no states
  std::set<std::string> names;      ///< all names of values that outputs use
  bool everyIteration = false;
  std::map<std::string, std::vector<LayerTaps>> layers; ///< by name: its taps in every layer that binds it
  words::Scope scope; ///< config entries, for arithmetic
};

/// Reads every case of a folder. Files that are no cases (no `kind`) are left out. Throws Failure.
std::vector<CaseFiles> readCases(const std::string &directory);
/// Translates a case. `spec` is elaborated with the case's configuration to learn its names; the program of the final
/// configuration is put into `program`. Throws words::Error or Failure for words it does not know.
CasePlan planCase(const CaseFiles &files, const words::Table &table, const std::string &directory, const SpecText &spec,
                  const SpecOptions &base, std::optional<frontend::Program> &program);

/// Values of one run of one sequence.
struct SequenceRun {
  int64_t positions = 0, pad = 0, prompt = 0, loops = 0, vocab = 0;
  int64_t lead = 0;  ///< positions before the given tokens
  std::vector<int64_t> steps, left;              ///< of a carry, by segment: iterations of the sequence, 1 where it left
  std::vector<std::vector<double>> tokensAt, labelsAt; ///< by segment
  int64_t end = INT64_MAX; ///< columns behind are padding
  int64_t again = 0; ///< rows before the first position that was fed again
  bool back = false; ///< positions were taken back
  std::vector<int32_t> tokens; ///< prompt, then generated
  std::vector<int32_t> drafts, corrections; ///< by round of speculation: draft tokens, what the verifier added
  std::vector<int64_t> accepted;            ///< by round: drafts that stand
  std::vector<int32_t> newTokens;
  words::Scope scope; ///< the loop count and the element of axis N of this run
  std::vector<float> logits, iterationLogits;
  std::vector<int32_t> depth;
  std::vector<int32_t> executed; ///< of the positions that are there at the end
  std::vector<int32_t> ran;      ///< iterations of every token fed
  std::vector<uint8_t> fired;
  std::vector<int64_t> call; ///< of every token fed: its call
  std::vector<double> labels;
  int64_t minLoops = 1, checkEvery = 1, untested = 0; ///< of tests; the first rows without
  std::map<std::string, rt::Observation> observed;
  std::map<std::string, std::vector<LayerTaps>> layers;
  int64_t restarts = 1;               ///< runs of the same sequence that stand together
  std::shared_ptr<SequenceRun> ahead; ///< of a carry: by segment, the segment that would have followed with the same data
  SequenceValue keys, values, planes, present;
};

/// Continues `run` (its prompt is in `verifier`) by at least `generate` tokens: `plan.draftTokens` of them are drafted
/// with `plan.draftLoops` iterations or in one call by `plan.draftView`, checked together, and kept as far as both
/// agree.
void speculate(rt::Engine &engine, rt::SequenceId verifier, rt::SequenceOptions options, const CasePlan &plan,
               int64_t generate, SequenceRun &run);

/// `plan.tokens` as [B, S] whatever way they were given; -1 behind the shorter sequences.
void gatherTokens(CasePlan &plan, const std::string &file);
void placeTokens(CasePlan &plan);
/// Where all that is read are draws: tokens of any id.
void inventTokens(CasePlan &plan);
/// The case from segment `first` on: tokens and draws given for it and, of draws of iterations, for those behind it.
CasePlan fromSegment(const CasePlan &plan, size_t first, int64_t loops);

/// All runs of a case: [runs][sequences].
struct CaseRuns {
  std::vector<std::vector<SequenceRun>> forced, generated;
};
CaseRuns runCase(const CasePlan &plan, const words::Table &table, rt::Executor &executor);

struct TensorResult {
  std::string tensor, status; ///< pass, FAIL
  double error = 0, atol = 0, rtol = 0;
  int64_t compared = 0, wrong = 0;
  std::string message; ///< place of the largest excess
};
/// `cuts`: see CasePlan.
TensorResult compareOutput(const CaseOutput &output, const words::Table &table, const CaseRuns &runs,
                           const std::vector<int64_t> &cuts);
inline bool isTraining(const std::string &kind) { return kind == "train-step" || kind == "train-run"; }
/// The section that a case trains by; null: its loss does not run.
const frontend::ProgramTraining *sectionOf(const CasePlan &plan, const frontend::Program &program);
/// Training of a case: its losses with the gradients, or with the weights at its end.
std::vector<TensorResult> runTraining(const CasePlan &plan, const words::Table &table, const SpecText &spec,
                                      const frontend::Program &program, TargetOptions target);
/// `weight("NAME")` or a product of two: of the weights, not of a run.
bool isOfWeights(const words::Expr &value);
TensorResult compareWeights(const CaseOutput &output, const words::Table &table, const rt::TensorSource &weights);
/// Compares the elements of `got` with those of `output`, whatever their axes.
TensorResult compareElements(const CaseOutput &output, const std::vector<double> &got);
/// Value of an `out` expression for one sequence.
SequenceValue evaluateOutput(const words::Table &table, const words::Expr &expr, const words::Scope &scope,
                             const SequenceRun &run);

/// `stablemax_loss`, `accuracy`, `exact` of logits and labels, `bce` of a logit and a target, `agrees` of a logit and a flag.
SequenceValue lossValue(const std::string &name, const SequenceValue &a, const SequenceValue &b);

/// Functions that look at all restarts of a sequence: `movement`, `ranked`, `settled`, `restarts_count`.
bool isOfRestarts(const words::Expr &expr);
/// Their value from the traces of the logits; one entry for each sequence, of a count one in all.
std::vector<SequenceValue> ofRestarts(const words::Table &table, const words::Expr &expr, const words::Scope &scope,
                                      const std::vector<SequenceValue> &logits, const std::vector<SequenceRun> &runs);

/// The name of the tap behind `layer(stack, index, NAME)` or `turn(loop, index, NAME)`.
std::string layerTap(const words::Table &table, const words::Expr &expr, const words::Scope &scope);
/// What they name: a value, or the tap of another.
std::string layerName(const words::Table &table, const words::Expr &expr, const words::Scope &scope);
std::string layerTap(int64_t stack, int64_t index, const std::string &name);
/// The arm of an `if` whose condition is a constant.
const words::Expr &chosen(const words::Table &table, const words::Expr &expr, const words::Scope &scope);
/// Whether an expression is one of these.
inline bool isLayer(const words::Expr &expr) {
  return expr.kind == words::Expr::Kind::Call && (expr.text == "layer" || expr.text == "turn");
}
/// The name under which a value of the model is read from the bank: a state's own field, or `obs.NAME`.
std::string bankField(const rt::ModelInfo &info, const std::string &name);

} // namespace loopc::driver
