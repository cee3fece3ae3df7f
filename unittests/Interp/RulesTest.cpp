// One rule at a time on values computed by hand.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Loaded.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace loopc::interp;

namespace {

/// Runs a program whose body is `ops`; %x : tensor<4xf32> is 1 2 -3 4 and %i the token's id. `result` names the value
/// returned, of type `type`.
std::vector<double> run(const std::string &ops, const std::string &result, const std::string &type,
                        std::vector<int32_t> tokens = {2}, const std::string &symbols = "",
                        Precision precision = Precision::F64) {
  Loaded loaded("loop.model @m phase(source) {\n loop.weight @w : tensor<2x4xf32>\n loop.weight @v : tensor<4xf32>\n"
                " loop.weight @\"t.{}\" : tensor<4xf32> tables [3] indices [5, -1, 7]\n" +
                symbols +
                "loop.forward @main {\n %i = loop.token : tensor<i32>\n"
                " %x = arith.constant dense<[1.0, 2.0, -3.0, 4.0]> : tensor<4xf32>\n" +
                ops + "\n loop.return " + result + " : " + type + "\n}}");
  GivenParams params;
  params.tensors["w"] = {1, 2, 3, 4, -1, 0.5, 0, 2};
  params.tensors["v"] = {1, 10, 100, 1000};
  params.tensors["t.5"] = {5, 5, 5, 5};
  params.tensors["t.7"] = {7, 7, 7, 7};
  std::string error;
  auto interp = SourceInterp::create(loaded.model, params, precision, nullptr, error);
  std::vector<SourceResult> results;
  EXPECT_TRUE(interp && interp->open(0, {}, error) && interp->feed({{0, tokens}}, {}, results, error)) << error;
  return error.empty() ? results[0].logits : std::vector<double>();
}
using Numbers = std::vector<double>;

void near(const Numbers &got, const Numbers &expected, double tolerance = 1e-12) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], tolerance) << i;
}

TEST(Rules, Linear) {
  EXPECT_EQ(run("%w = loop.param @w : tensor<2x4xf32>\n"
                "%y = loop.linear %x, %w : (tensor<4xf32>, tensor<2x4xf32>) -> tensor<2xf32>",
                "%y", "tensor<2xf32>"),
            (Numbers{1 + 4 - 9 + 16, -1 + 1 + 8}));
  EXPECT_EQ(run("%w = loop.param @v : tensor<4xf32>\n%b = arith.constant dense<0.5> : tensor<f32>\n"
                "%y = loop.linear %x, %w bias %b : (tensor<4xf32>, tensor<4xf32>, tensor<f32>) -> tensor<f32>",
                "%y", "tensor<f32>"),
            (Numbers{1 + 20 - 300 + 4000 + 0.5}));
}

TEST(Rules, LinearOfAComputedWeight) {
  EXPECT_EQ(run("%w = loop.param @v : tensor<4xf32>\n%w2 = arith.addf %w, %w : tensor<4xf32>\n"
                "%y = loop.linear %x, %w2 : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>",
                "%y", "tensor<f32>"),
            (Numbers{2 * 3721}));
}

TEST(Rules, Norms) {
  double rms = std::sqrt(30.0 / 4 + 0.5);
  near(run("%g = loop.param @v : tensor<4xf32>\n"
           "%y = loop.norm rms %x, %g : tensor<4xf32> in eps(0.5) : tensor<4xf32> -> tensor<4xf32>",
           "%y", "tensor<4xf32>"),
       {1 / rms, 20 / rms, -300 / rms, 4000 / rms}, 1e-9);
  double deviation = std::sqrt((0 + 1 + 16 + 9) / 4.0);
  near(run("%y = loop.norm layer %x eps(0.0) : tensor<4xf32> -> tensor<4xf32>", "%y", "tensor<4xf32>"),
       {0, 1 / deviation, -4 / deviation, 3 / deviation});
}

TEST(Rules, Activations) {
  auto act = [](const std::string &kind) {
    return run("%y = loop.act " + kind + " %x : tensor<4xf32>", "%y", "tensor<4xf32>");
  };
  auto of = [](double (*f)(double)) { return Numbers{f(1), f(2), f(-3), f(4)}; };
  near(act("silu"), of([](double x) { return x / (1 + std::exp(-x)); }));
  near(act("sigmoid"), of([](double x) { return 1 / (1 + std::exp(-x)); }));
  near(act("gelu"), of([](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }));
  near(act("gelu_tanh"), {0.841191990608, 1.954597694087, -0.003637392082, 3.999929754}, 1e-9);
  near(act("relu"), {1, 2, 0, 4});
  near(act("softplus"), of([](double x) { return std::log(1 + std::exp(x)); }));
  near(act("tanh"), of([](double x) { return std::tanh(x); }));
}

TEST(Rules, SoftmaxAndReductions) {
  double total = std::exp(1) + std::exp(2) + std::exp(-3) + std::exp(4);
  near(run("%y = loop.softmax %x : tensor<4xf32>", "%y", "tensor<4xf32>"),
       {std::exp(1) / total, std::exp(2) / total, std::exp(-3) / total, std::exp(4) / total});
  auto reduce = [](const std::string &kind, int axis) {
    return run("%m = loop.reshape %x : tensor<4xf32> -> tensor<2x2xf32>\n%y = loop.reduce " + kind + " %m over " +
                   std::to_string(axis) + " : tensor<2x2xf32> -> tensor<2xf32>",
               "%y", "tensor<2xf32>");
  };
  EXPECT_EQ(reduce("sum", 0), (Numbers{-2, 6}));
  EXPECT_EQ(reduce("sum", 1), (Numbers{3, 1}));
  EXPECT_EQ(reduce("max", 1), (Numbers{2, 4}));
  EXPECT_EQ(reduce("min", 0), (Numbers{-3, 2}));
  EXPECT_EQ(reduce("mean", 1), (Numbers{1.5, 0.5}));
}

TEST(Rules, Rope) {
  std::string ops = "%m = loop.reshape %x : tensor<4xf32> -> tensor<1x4xf32>\n"
                    "%y = loop.rope %m base(1.0e2) pairs(PAIRS) : tensor<1x4xf32> -> tensor<1x4xf32>";
  auto with = [&](const std::string &pairs) {
    std::string text = ops;
    text.replace(text.find("PAIRS"), 5, pairs);
    Numbers all = run(text, "%y", "tensor<1x4xf32>", {0, 0, 0});
    return Numbers(all.end() - 4, all.end()); // position 2: angles 2 and 2 / 10
  };
  double c0 = std::cos(2), s0 = std::sin(2), c1 = std::cos(0.2), s1 = std::sin(0.2);
  near(with("halves"), {1 * c0 + 3 * s0, 2 * c1 - 4 * s1, -3 * c0 + 1 * s0, 4 * c1 + 2 * s1});
  near(with("adjacent"), {1 * c0 - 2 * s0, 2 * c0 + 1 * s0, -3 * c1 - 4 * s1, 4 * c1 - 3 * s1});
}

TEST(Rules, Shapes) {
  EXPECT_EQ(run("%y = loop.slice %x axis 0 from 1 : tensor<4xf32> -> tensor<2xf32>", "%y", "tensor<2xf32>"),
            (Numbers{2, -3}));
  EXPECT_EQ(run("%m = loop.reshape %x : tensor<4xf32> -> tensor<2x2xf32>\n"
                "%y = loop.slice %m axis 1 from 1 : tensor<2x2xf32> -> tensor<2x1xf32>",
                "%y", "tensor<2x1xf32>"),
            (Numbers{2, 4}));
  EXPECT_EQ(run("%m = loop.reshape %x : tensor<4xf32> -> tensor<2x2xf32>\n"
                "%y = loop.concat %m, %m : tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x4xf32>",
                "%y", "tensor<2x4xf32>"),
            (Numbers{1, 2, 1, 2, -3, 4, -3, 4}));
  EXPECT_EQ(run("%p = loop.slice %x axis 0 from 2 : tensor<4xf32> -> tensor<2xf32>\n"
                "%y = loop.broadcast %p dims [0] : tensor<2xf32> -> tensor<2x3xf32>",
                "%y", "tensor<2x3xf32>"),
            (Numbers{-3, -3, -3, 4, 4, 4}));
  EXPECT_EQ(run("%p = loop.slice %x axis 0 from 2 : tensor<4xf32> -> tensor<2xf32>\n"
                "%y = loop.broadcast %p dims [1] : tensor<2xf32> -> tensor<3x2xf32>",
                "%y", "tensor<3x2xf32>"),
            (Numbers{-3, 4, -3, 4, -3, 4}));
}

TEST(Rules, ColumnsAndIntegers) {
  EXPECT_EQ(run("%p = loop.position : tensor<i32>\n%s = arith.muli %p, %i : tensor<i32>\n"
                "%y = arith.sitofp %s : tensor<i32> to tensor<f32>",
                "%y", "tensor<f32>", {5, 6, 7}),
            (Numbers{0, 6, 14}));
  EXPECT_EQ(run("%c = arith.constant dense<3> : tensor<i32>\n%b = arith.cmpi slt, %i, %c : tensor<i32>\n"
                "%one = arith.constant dense<1.0> : tensor<f32>\n%two = arith.constant dense<2.0> : tensor<f32>\n"
                "%y = arith.select %b, %one, %two : tensor<i1>, tensor<f32>",
                "%y", "tensor<f32>", {2, 3}),
            (Numbers{1, 2}));
}

TEST(Rules, Casts) {
  // 1 + 2^-8 lies between two bf16 numbers and goes to the even one; 1 + 3 * 2^-8 likewise, upwards.
  EXPECT_EQ(run("%c = arith.constant dense<[1.00390625, 1.01171875]> : tensor<2xf32>\n"
                "%b = arith.truncf %c : tensor<2xf32> to tensor<2xbf16>\n%y = arith.extf %b : tensor<2xbf16> to "
                "tensor<2xf32>",
                "%y", "tensor<2xf32>", {0}, "", Precision::F32),
            (Numbers{1, 1.015625}));
}

TEST(Rules, StackAndTables) {
  // Entry 1 is absent and only read under a condition on the layer.
  EXPECT_EQ(run("%r = loop.stack @s layers 3 state(%x : tensor<4xf32>) {\n^bb0(%l: index, %a: tensor<4xf32>):\n"
                "  %one = arith.constant 1 : index\n  %has = arith.cmpi ne, %l, %one : index\n"
                "  %z = loop.where %has : i1 state(%a : tensor<4xf32>) {\n  ^bb0(%b: tensor<4xf32>):\n"
                "    %t = loop.param @\"t.{}\"[%l] : tensor<4xf32>\n    %u = arith.addf %b, %t : tensor<4xf32>\n"
                "    loop.yield %u : tensor<4xf32>\n  } -> tensor<4xf32>\n  loop.yield %z : tensor<4xf32>\n} -> "
                "tensor<4xf32>",
                "%r", "tensor<4xf32>"),
            (Numbers{13, 14, 9, 16}));
}

TEST(Rules, WherePerToken) {
  EXPECT_EQ(run("%c = arith.constant dense<3> : tensor<i32>\n%b = arith.cmpi slt, %i, %c : tensor<i32>\n"
                "%r = loop.where %b : tensor<i1> state(%x : tensor<4xf32>) {\n^bb0(%a: tensor<4xf32>):\n"
                "  %u = arith.addf %a, %a : tensor<4xf32>\n  loop.yield %u : tensor<4xf32>\n} -> tensor<4xf32>",
                "%r", "tensor<4xf32>", {2, 3}),
            (Numbers{2, 4, -6, 8, 1, 2, -3, 4}));
}

TEST(Rules, AttendOverEarlierTokens) {
  // Scores are 0 everywhere, so that each token sees the mean of the values up to its own; the window keeps two.
  std::string ops =
      "%f = arith.sitofp %i : tensor<i32> to tensor<f32>\n%v = loop.reshape %f : tensor<f32> -> tensor<1x1xf32>\n"
      "%z = arith.constant dense<0.0> : tensor<2x1xf32>\n%k = arith.constant dense<0.0> : tensor<1x1xf32>\n"
      "%y = loop.attend %z, %k, %v at @a scale(1.0) WINDOW : tensor<2x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>"
      " -> tensor<2x1xf32>";
  auto with = [&](const std::string &window) {
    std::string text = ops;
    return run(text.replace(text.find("WINDOW"), 6, window), "%y", "tensor<2x1xf32>", {2, 4, 9},
               "loop.site @a kv heads 1 dim 1\n");
  };
  near(with(""), {2, 2, 3, 3, 5, 5});
  near(with("window(2)"), {2, 2, 3, 3, 6.5, 6.5});
  near(with("mask(whole)"), {5, 5, 5, 5, 5, 5});
  near(with("mask(prefix)"), {5, 5, 5, 5, 5, 5}); // the first feed is the prompt
}

TEST(Rules, FoldsOverTheSequence) {
  auto with = [](const std::string &kind) {
    return run("%f = arith.sitofp %i : tensor<i32> to tensor<f32>\n%y = loop.fold " + kind + " %f : tensor<f32>", "%y",
               "tensor<f32>", {5, 9, 7});
  };
  EXPECT_EQ(with("sum"), (Numbers{21, 21, 21}));
  EXPECT_EQ(with("mean"), (Numbers{7, 7, 7}));
  EXPECT_EQ(with("max batch"), (Numbers{9, 9, 9}));
  EXPECT_EQ(with("min"), (Numbers{5, 5, 5}));
  EXPECT_EQ(with("first"), (Numbers{5, 5, 5}));
  EXPECT_EQ(with("last"), (Numbers{7, 7, 7}));
}

TEST(RuleErrors, AreLocated) {
  Loaded loaded("loop.model @m phase(source) {\n loop.weight @E : tensor<3x1xf32>\nloop.forward @main {\n"
                " %i = loop.token : tensor<i32>\n %E = loop.param @E : tensor<3x1xf32>\n"
                " %y = loop.embed %i, %E : (tensor<i32>, tensor<3x1xf32>) -> tensor<1xf32>\n"
                " loop.return %y : tensor<1xf32>\n}}");
  GivenParams params;
  params.tensors["E"] = {1, 2, 3};
  std::string error;
  auto interp = SourceInterp::create(loaded.model, params, Precision::F32, nullptr, error);
  std::vector<SourceResult> results;
  ASSERT_TRUE(interp && interp->open(0, {}, error)) << error;
  EXPECT_FALSE(interp->feed({{0, {1, 3}}}, {}, results, error));
  EXPECT_NE(error.find(":6:7): loop.embed: expected an index below 3, but got 3"), std::string::npos) << error;
  error.clear();
  EXPECT_TRUE(interp->feed({{0, {1, 2}}}, {}, results, error)) << "a failed call leaves nothing behind";
  EXPECT_EQ(results[0].first, 0u);
  EXPECT_EQ(results[0].logits, (Numbers{2, 3}));
}

} // namespace
