// loop-reverse against finite differences in f64, for each rule and for loops, stacks, branches and windows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Loaded.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace loopc::interp;

namespace {

/// Weights: @E [5 x 4] rows of tokens, @W [4 x 4], @V.{} two tables [4 x 4], @g [4], all given by their names.
const char *symbols = "loop.model @m phase(source) {\n loop.count @loops default 3 range 0, 8\n"
                      " loop.weight @E : tensor<5x4xf32>\n loop.weight @W : tensor<4x4xf32>\n loop.weight @g : tensor<4xf32>\n"
                      " loop.weight @\"V.{}\" : tensor<4x4xf32> tables [2] indices [0, 1]\n"
                      " loop.site @s kv heads 2 dim 2\n loop.site @z kv heads 1 dim 2\n";
const char *start = " loop.forward @train {\n %token = loop.token : tensor<i32>\n %label = loop.label : tensor<i32>\n"
                    " %E = loop.param @E : tensor<5x4xf32>\n %W = loop.param @W : tensor<4x4xf32>\n %g = loop.param @g : tensor<4xf32>\n"
                    " %x = loop.embed %token, %E : (tensor<i32>, tensor<5x4xf32>) -> tensor<4xf32>\n";
/// The loss of a result %y with 4 features: a sum that no symmetry makes constant.
const char *end = " %c = arith.constant dense<[0.7, -1.1, 0.4, 0.9]> : tensor<4xf32>\n %m = arith.mulf %y, %c : tensor<4xf32>\n"
                  " %n = arith.mulf %m, %y : tensor<4xf32>\n %o = arith.addf %m, %n : tensor<4xf32>\n"
                  " %r = loop.reduce sum %o over 0 : tensor<4xf32> -> tensor<f32>\n loop.return %r : tensor<f32>\n}}";

struct StepInput {
  int64_t loops = -1, window = -1;
  std::vector<std::vector<int32_t>> tokens = {{0, 3, 1}, {2, 3}};
  std::vector<std::vector<int32_t>> labels = {{1, -1, 2}, {0, 3}};
};

using Weights = std::map<std::string, std::vector<float>>;

Weights weights() {
  Weights result = {{"E", std::vector<float>(20)}, {"W", std::vector<float>(16)}, {"g", std::vector<float>(4)},
                    {"V.0", std::vector<float>(16)}, {"V.1", std::vector<float>(16)}};
  uint32_t state = 12345;
  for (auto &[name, values] : result)
    for (float &value : values) {
      state = state * 1664525u + 1013904223u;
      value = 0.3f + float(int32_t(state >> 16) - 32768) / 40000.0f;
    }
  return result;
}

/// The mean loss over the tokens, and what was accumulated.
double step(mlir::loop::ModelOp model, const Weights &given, const StepInput &run, Gradients *gradients = nullptr) {
  GivenParams params;
  params.tensors.insert(given.begin(), given.end());
  std::string error;
  auto interp = SourceInterp::create(model, params, Precision::F64, nullptr, error, "train");
  EXPECT_TRUE(interp) << error;
  std::vector<SourceChunk> chunks;
  for (uint32_t b = 0; b < run.tokens.size(); ++b) {
    SequenceConfig config;
    config.loops = run.loops;
    config.window = run.window;
    EXPECT_TRUE(interp->open(b, config, error)) << error;
    chunks.push_back({b, run.tokens[b], run.labels[b]});
  }
  std::vector<SourceResult> results;
  EXPECT_TRUE(interp->feed(chunks, {}, results, error)) << error;
  double sum = 0;
  size_t count = 0;
  for (const SourceResult &result : results)
    for (double loss : result.logits)
      sum += loss, ++count;
  if (gradients)
    *gradients = interp->gradients();
  return sum / double(count);
}

void reverse(Loaded &loaded) {
  mlir::PassManager passes(loaded.context.get());
  passes.addNestedPass<mlir::loop::ModelOp>(loopc::createLoopReverse());
  ASSERT_TRUE(succeeded(passes.run(*loaded.module)));
}

Gradients gradientsOf(const std::string &text, const StepInput &run = {}) {
  Loaded loaded(text);
  reverse(loaded);
  Gradients result;
  step(loaded.model, weights(), run, &result);
  return result;
}

/// Central differences at every element of every weight that the program names.
void check(const std::string &text, const StepInput &run = {}) {
  Loaded plain(text);
  Gradients got = gradientsOf(text, run);
  EXPECT_FALSE(got.empty());
  Weights given = weights();
  for (auto &[key, gradient] : got) {
    std::vector<float> &values = given[key];
    ASSERT_EQ(values.size(), gradient.size());
    for (size_t i = 0; i < values.size(); ++i) {
      auto slopeOf = [&](float h) {
        float old = values[i], up = old + h, down = old - h;
        values[i] = up;
        double above = step(plain.model, given, run);
        values[i] = down;
        double below = step(plain.model, given, run);
        values[i] = old;
        return (above - below) / (double(up) - double(down));
      };
      double slope = (4 * slopeOf(0x1p-11f) - slopeOf(0x1p-10f)) / 3;
      EXPECT_NEAR(gradient[i], slope, 2e-5 * (1 + std::fabs(slope))) << key << " " << i;
    }
  }
}

std::string program(const std::string &ops) { return std::string(symbols) + start + ops + end; }

const char *linear = " %y0 = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>\n";

struct Case {
  const char *name, *ops;
};
class Reverse : public ::testing::TestWithParam<Case> {};

TEST_P(Reverse, EqualsFiniteDifferences) { check(program(std::string(linear) + GetParam().ops)); }

#define UNARY(OP) Case{#OP, " %y = " #OP " %y0 : tensor<4xf32>\n"}
#define BINARY(OP) Case{#OP, " %y = " #OP " %y0, %g : tensor<4xf32>\n"}
/// Of a positive operand.
#define POSITIVE(OP) Case{#OP, " %e = math.exp %y0 : tensor<4xf32>\n %y = " #OP " %e : tensor<4xf32>\n"}
#define ACT(KIND) Case{"act_" #KIND, " %y = loop.act " #KIND " %y0 : tensor<4xf32>\n"}
INSTANTIATE_TEST_SUITE_P(
    Rules, Reverse,
    ::testing::Values(
        UNARY(arith.negf), UNARY(math.exp), UNARY(math.exp2), UNARY(math.expm1), UNARY(math.sin), UNARY(math.cos), UNARY(math.tanh),
        UNARY(math.erf), UNARY(math.absf), POSITIVE(math.log), POSITIVE(math.log2), POSITIVE(math.log1p), POSITIVE(math.sqrt),
        POSITIVE(math.rsqrt), BINARY(arith.addf), BINARY(arith.subf), BINARY(arith.mulf), BINARY(arith.divf),
        BINARY(arith.maximumf), BINARY(arith.minimumf), BINARY(arith.maxnumf), BINARY(arith.minnumf), ACT(relu), ACT(sigmoid),
        ACT(tanh), ACT(softplus), ACT(silu), ACT(gelu), ACT(gelu_tanh),
        Case{"power", " %e = math.exp %y0 : tensor<4xf32>\n %y = math.powf %e, %g : tensor<4xf32>\n"},
        Case{"select", " %q = arith.cmpf ogt, %y0, %g : tensor<4xf32>\n %y = arith.select %q, %y0, %g : tensor<4xi1>, tensor<4xf32>\n"},
        Case{"rms", " %y = loop.norm rms %y0, %g : tensor<4xf32> in eps(1.0e-3) : tensor<4xf32> -> tensor<4xf32>\n"},
        Case{"rms_heads", " %h = loop.reshape %y0 : tensor<4xf32> -> tensor<2x2xf32>\n"
                          " %k = loop.norm rms %h eps(1.0e-3) : tensor<2x2xf32> -> tensor<2x2xf32>\n"
                          " %y = loop.reshape %k : tensor<2x2xf32> -> tensor<4xf32>\n"},
        Case{"layer", " %y = loop.norm layer %y0, %g : tensor<4xf32> in eps(1.0e-3) : tensor<4xf32> -> tensor<4xf32>\n"},
        Case{"softmax", " %y = loop.softmax %y0 : tensor<4xf32>\n"},
        Case{"rope", " %y = loop.rope %y0 base(10.0) pairs(adjacent) : tensor<4xf32> -> tensor<4xf32>\n"},
        Case{"mean", " %a = loop.reduce mean %y0 over 0 : tensor<4xf32> -> tensor<f32>\n"
                     " %b = loop.broadcast %a dims [] : tensor<f32> -> tensor<4xf32>\n %y = arith.mulf %b, %g : tensor<4xf32>\n"},
        Case{"max", " %a = loop.reduce max %y0 over 0 : tensor<4xf32> -> tensor<f32>\n"
                    " %b = loop.broadcast %a dims [] : tensor<f32> -> tensor<4xf32>\n %y = arith.mulf %b, %g : tensor<4xf32>\n"},
        Case{"slice_concat", " %h = loop.reshape %y0 : tensor<4xf32> -> tensor<2x2xf32>\n"
                             " %a = loop.slice %h axis 0 from 1 : tensor<2x2xf32> -> tensor<1x2xf32>\n"
                             " %b = loop.slice %h axis 1 from 1 : tensor<2x2xf32> -> tensor<2x1xf32>\n"
                             " %d = loop.reshape %a : tensor<1x2xf32> -> tensor<2xf32>\n %e = loop.reshape %b : tensor<2x1xf32> -> tensor<2xf32>\n"
                             " %y = loop.concat %d, %e : tensor<2xf32>, tensor<2xf32> -> tensor<4xf32>\n"},
        Case{"bias", " %y = loop.linear %y0, %W bias %g : (tensor<4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<4xf32>\n"},
        Case{"one_output", " %a = loop.linear %y0, %g : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>\n"
                           " %b = loop.broadcast %a dims [] : tensor<f32> -> tensor<4xf32>\n %y = arith.mulf %b, %y0 : tensor<4xf32>\n"},
        Case{"computed_weight", " %U = arith.mulf %W, %W : tensor<4x4xf32>\n"
                                " %y = loop.linear %y0, %U : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>\n"},
        Case{"fold", " %a = loop.fold mean %y0 : tensor<4xf32>\n %b = loop.fold sum batch %x : tensor<4xf32>\n"
                     " %y = arith.mulf %a, %b : tensor<4xf32>\n"},
        Case{"fold_max", " %a = loop.fold max %y0 : tensor<4xf32>\n %b = loop.fold min batch %y0 : tensor<4xf32>\n"
                         " %y = arith.mulf %a, %b : tensor<4xf32>\n"},
        Case{"cross_entropy", " %a = loop.cross_entropy %y0, %label : (tensor<4xf32>, tensor<i32>) -> tensor<f32>\n"
                              " %b = loop.broadcast %a dims [] : tensor<f32> -> tensor<4xf32>\n %y = arith.mulf %b, %g : tensor<4xf32>\n"},
        Case{"attend", " %q = loop.reshape %y0 : tensor<4xf32> -> tensor<2x2xf32>\n %k = loop.reshape %x : tensor<4xf32> -> tensor<2x2xf32>\n"
                       " %a = loop.attend %q, %k, %q at @s scale(0.7) softcap(1.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>\n"
                       " %y = loop.reshape %a : tensor<2x2xf32> -> tensor<4xf32>\n"},
        Case{"attend_shared", " %q = loop.reshape %y0 : tensor<4xf32> -> tensor<2x2xf32>\n %h = loop.slice %x axis 0 from 1 : tensor<4xf32> -> tensor<2xf32>\n"
                              " %k = loop.reshape %h : tensor<2xf32> -> tensor<1x2xf32>\n"
                              " %a = loop.attend %q, %k, %k at @z scale(0.7) window(2) mask(whole) : tensor<2x2xf32>, tensor<1x2xf32>, tensor<1x2xf32> -> tensor<2x2xf32>\n"
                              " %y = loop.reshape %a : tensor<2x2xf32> -> tensor<4xf32>\n"},
        Case{"branch", " %i = arith.constant 1 : index\n %j = arith.constant 1 : index\n %q = arith.cmpi eq, %i, %j : index\n"
                       " %y = loop.where %q : i1 state(%y0 : tensor<4xf32>) {\n ^bb0(%s: tensor<4xf32>):\n %u = arith.mulf %s, %x : tensor<4xf32>\n"
                       " loop.yield %u : tensor<4xf32>\n } -> tensor<4xf32>\n"},
        Case{"branch_per_token", " %i = arith.constant dense<2> : tensor<i32>\n %q = arith.cmpi slt, %token, %i : tensor<i32>\n"
                                 " %y = loop.where %q : tensor<i1> state(%y0 : tensor<4xf32>) {\n ^bb0(%s: tensor<4xf32>):\n %u = arith.mulf %s, %x : tensor<4xf32>\n"
                                 " %v = loop.linear %u, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>\n"
                                 " loop.yield %v : tensor<4xf32>\n } -> tensor<4xf32>\n"}),
    [](const auto &info) {
      std::string name = info.param.name;
      for (char &c : name)
        c = c == '.' ? '_' : c;
      return name;
    });

/// One iteration of state %h, with a stack of two layers inside, attention, and %x as what comes from outside.
std::string body(const std::string &state, const std::string &result, const std::string &p) {
  return " %" + p + "a = loop.linear " + state + ", %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>\n %" + p +
         "b = arith.addf %" + p + "a, %x : tensor<4xf32>\n %" + p + "c = loop.stack @layers layers 2 state(%" + p +
         "b : tensor<4xf32>) {\n ^bb0(%l: index, %u: tensor<4xf32>):\n"
         "  %V = loop.param @\"V.{}\"[%l] : tensor<4x4xf32>\n  %v = loop.linear %u, %V : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>\n"
         "  %k = loop.reshape %v : tensor<4xf32> -> tensor<2x2xf32>\n"
         "  %w = loop.attend %k, %k, %k at @s scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>\n"
         "  %f = loop.reshape %w : tensor<2x2xf32> -> tensor<4xf32>\n  %i = arith.mulf %f, %x : tensor<4xf32>\n"
         "  %j = arith.addf %u, %i : tensor<4xf32>\n  loop.yield %j : tensor<4xf32>\n } -> tensor<4xf32>\n " +
         result + " = loop.norm rms %" + p + "c, %g : tensor<4xf32> in eps(1.0e-3) : tensor<4xf32> -> tensor<4xf32>\n";
}
std::string rolled(bool stop = false) {
  return program(" %y = loop.recur @core count @loops state(%x : tensor<4xf32>) kv(#loop.kv<depth_indexed>) {\n ^bb0(%t: index, %h0: tensor<4xf32>):\n" +
                 std::string(stop ? " %h = loop.stop_gradient %h0 : tensor<4xf32>\n" : " %h = loop.reshape %h0 : tensor<4xf32> -> tensor<4xf32>\n") +
                 body("%h", "%n", "") + " loop.yield %n : tensor<4xf32>\n } -> tensor<4xf32>\n");
}

TEST(ReverseLoop, EqualsFiniteDifferences) {
  for (int64_t loops : {1, 3}) {
    StepInput run;
    run.loops = loops;
    check(rolled(), run);
  }
}

TEST(ReverseLoop, NoIterationLeavesWhatIsOutside) {
  StepInput run;
  run.loops = 0;
  Gradients got = gradientsOf(rolled(), run);
  EXPECT_FALSE(got.count("W") || got.count("V.0")) << "nothing used them";
  EXPECT_EQ(got.at("g"), std::vector<double>(4, 0.0)); // read outside of the loop
  check(rolled(), run);
}

void equal(const Gradients &got, const Gradients &expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (auto &[key, values] : expected)
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(got.at(key)[i], values[i], 1e-12 * (1 + std::fabs(values[i]))) << key << " " << i;
}

/// Three iterations written one after the other; the site is one, which the reverse does not mind.
std::string unrolled(int64_t stopBefore) {
  std::string ops, state = "%x";
  for (int64_t t = 0; t < 3; ++t) {
    std::string p = "i" + std::to_string(t);
    if (t == stopBefore)
      ops += " %" + p + "s = loop.stop_gradient " + state + " : tensor<4xf32>\n", state = "%" + p + "s";
    ops += body(state, t == 2 ? "%y" : "%" + p + "n", p);
    state = "%" + p + "n";
  }
  return program(ops);
}

TEST(ReverseLoop, EqualsTheUnrolledOne) { equal(gradientsOf(rolled()), gradientsOf(unrolled(-1))); }

TEST(ReverseLoop, WindowStopsBeforeTheLastIterations) {
  for (int64_t window : {1, 2, 3, 5}) {
    StepInput run;
    run.window = window;
    Gradients got = gradientsOf(rolled(), run), expected = gradientsOf(unrolled(window < 3 ? 3 - window : -1));
    equal(got, expected);
  }
}

TEST(ReverseLoop, DetachedIterationsHaveNoPast) {
  StepInput run;
  run.window = 1;
  Gradients all = gradientsOf(rolled(true)), last = gradientsOf(rolled(true), run);
  equal(all, last); // nothing passes into the iterations before
}

TEST(ReverseRefuses, OpsWithoutARule) {
  Loaded loaded(program(std::string(linear) + " %y = math.cbrt %y0 : tensor<4xf32>\n"));
  std::string message;
  mlir::ScopedDiagnosticHandler handler(loaded.context.get(), [&](mlir::Diagnostic &d) { message = d.str(); });
  mlir::PassManager passes(loaded.context.get());
  passes.addNestedPass<mlir::loop::ModelOp>(loopc::createLoopReverse());
  EXPECT_TRUE(failed(passes.run(*loaded.module)));
  EXPECT_NE(message.find("expected an op with a reverse rule"), std::string::npos) << message;
}

} // namespace
