// A looped model in exact integers modulo a prime, behind the C interface of stages, and its token-after-token oracle.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "../MessageOf.h"
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Laws.h"
#include <functional>
#include <string>
#include <vector>

namespace loopc::rt::fake {

using test::messageOf;
using test::refusalOf;

constexpr int64_t prime = 8191; ///< values are f32 integers below it, so every number is exact
constexpr uint32_t vocab = 7;
constexpr int layers = 2;

struct Shape {
  std::string policy = "depth_indexed", order = "free", holes, keep = "last";
  bool layerSteps = false; ///< the policy counts layers: a row holds one
  int maxLoops = 6;
  bool loop = true, coda = true, exit = true, draws = true;
};

/// Metadata of the model, through the real parser.
ModelInfo metadata(const Shape &shape);

/// Equations of one token; the executor and the oracle differ only in where rows come from.
struct Token {
  int64_t e = 0, h = 0, acc = 0, c = 0;
};
int64_t preludeKey(int64_t token, int64_t position, int64_t noise);
int64_t coreKey(const Token &t, int layer, int64_t d, int64_t limit);
int64_t valueOf(int64_t key);
/// Adds what one key contributes to a query at `position`.
void attend(int64_t &sum, int64_t position, int64_t at, int layer, int64_t key, int64_t value);
void preludeEnd(Token &t, int64_t token, int64_t position, int64_t noise, int64_t sum);
void coreLayerEnd(Token &t, int layer, int64_t d, int64_t sum);
/// True if the exit test fires after this iteration; `threshold` in percent.
bool coreEnd(Token &t, float threshold);
int64_t codaKey(const Token &t);
void codaEnd(Token &t, int64_t sum);
int64_t logit(const Token &t, int64_t v);

class FakeExecutor : public Executor {
public:
  explicit FakeExecutor(const Shape &shape) : model(metadata(shape)) {}
  const ModelInfo &info() const override { return model; }
  void bind(const EngineMemory &m) override { memory = m; }
  void run(Stage stage, loopc_call &call) override;

  uint64_t badReads = 0; ///< rows that are absent or hold no integer
  int failAt = -1;       ///< the n-th call from now throws

private:
  float *field(const loopc_call &c, uint32_t lane, const char *name);
  float *row(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int32_t position, int layer, int kv);
  void writeRow(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int layer, int64_t key);
  int64_t readRows(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int layer);
  int64_t number(const float *p);
  void core(loopc_call &c);

  ModelInfo model;
  EngineMemory memory;
};

/// What the oracle needs to know of a sequence.
struct Story {
  Shape shape;
  SequenceOptions options;
  int loops = 0;
  ExitMode exit = ExitMode::Off;
  float threshold = 0;
  Order order = Order::Free;
  std::vector<int32_t> tokens;
  std::vector<int> chunk;         ///< per position, order Chunk or Pass: what is given together
  std::vector<bool> everyIteration; ///< per position
  std::string describe() const;
};

struct Answer {
  std::vector<int> depth, executed;
  std::vector<std::vector<float>> logits;                       ///< [position][vocab]
  std::vector<std::vector<std::vector<float>>> iterationLogits; ///< [position][iteration][vocab]
  std::vector<std::vector<float>> states;                       ///< [position][iteration]: h
};

/// The step (iteration * layers + layer) of an older token (last iteration `last`, 0-based) whose row a query of `layer`
/// at iteration d sees.
int version(const Shape &shape, int loops, int d, int layer, int last);
/// Decodes token after token, keeping all versions of everything.
Answer decode(const Story &story);

/// Every map, hole rule and order that the fake model can take, as `shapeOf` reads them.
inline const std::vector<std::string> allPolicies = {"depth_indexed", "last_exited",          "always_last", "single",
                                              "ring(2)",       "ring(3)",              "stride(2)",   "stride(3)",
                                              "last(1)",       "last(2)",              "boundaries",
                                              "first_then_shared(2)", "first_then_shared(3)",
                                              "anchor(2, 2)", "layer ring(1)", "layer ring(3)", "layer ring(4)",
                                              "layer stride(2)", "layer stride(3)", "layer anchor(3, 4)",
                                              "layer last(3)", "layer boundaries", "first single",
                                              "pass first single", "pass single", "pass ring(2)", "pass stride(2)",
                                              "pass first_then_shared(2)", "pass last(1)", "pass boundaries",
                                              "pass layer ring(3)"};

/// "pass ring(2)": order pass. "layer ring(3)": the map counts layers. "first single": the first row is kept.
Shape shapeOf(std::string policy);
/// Whether an exit may end the iterations of a token under the policy.
bool mayLeave(const std::string &policy);

} // namespace loopc::rt::fake
