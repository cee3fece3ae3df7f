// Row ops in generated code: element functions, norms, softmax, reductions, rope, views, fused feed-forward blocks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <random>

using namespace loopc::test;

namespace {
// A stage with fields "x" (and "y" for the result) and the given body, in which R(shape) is a row type.
std::string model(const std::string &in, const std::string &out, const std::string &weights, const std::string &body) {
  auto row = [](const std::string &shape) { return "tensor<?x" + shape + (shape.empty() ? "" : "x") + "f32, #lane>"; };
  std::string text = "#lane = #loop.rows<lane>\nloop.model @m phase(lanes) {\n" + weights + "  loop.bank @slot [#loop.field<\"x\" : tensor<" + in +
                     "xf32>>, #loop.field<\"y\" : tensor<" + out + "xf32>>]\n  loop.stage @prelude {\n"
                     "  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):\n    %x = loop.load %b[\"x\"] at %L : !loop.bank<@slot>, "
                     "!loop.lanes<lane> -> " + row(in) + "\n" + body + "    %b1 = loop.store %y to %b[\"y\"] at %L : " + row(out) +
                     ", !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>\n    loop.return %b1 : !loop.bank<@slot>\n  }\n}\n";
  // T<…> is short for a row type.
  for (size_t at; (at = text.find("T<")) != std::string::npos;) {
    size_t end = text.find('>', at);
    text = text.substr(0, at) + row(text.substr(at + 2, end - at - 2)) + text.substr(end + 1);
  }
  return text;
}

std::vector<float> run(const std::string &text, const std::vector<float> &x, std::function<void(Machine &)> set = nullptr, int position = 0) {
  auto compiled = compile(text);
  EXPECT_EQ(compiled->error, "") << text;
  if (!compiled->error.empty())
    return {};
  Machine machine(*compiled, 8, 2);
  if (set)
    set(machine);
  std::vector<Lane> lanes(3);
  for (int i = 0; i < 3; ++i) {
    lanes[i].slot = i;
    lanes[i].position = position;
    machine.setField("x", i, x);
  }
  EXPECT_EQ(machine.run("prelude", lanes), 0);
  EXPECT_EQ(machine.field("y", 0), machine.field("y", 2));
  return machine.field("y", 1);
}

std::vector<float> ramp(int n, float from, float to) {
  std::vector<float> v(n);
  for (int i = 0; i < n; ++i)
    v[i] = from + (to - from) * float(i) / float(n - 1);
  return v;
}

void function(const std::string &op, float from, float to, double (*want)(double), double relative) {
  std::vector<float> x = ramp(77, from, to);
  std::vector<float> y = run(model("77", "77", "", "    %y = " + op + " : T<77>\n"), x);
  ASSERT_EQ(y.size(), x.size());
  for (size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(y[i], want(x[i]), relative * std::abs(want(x[i])) + 1e-7) << op << " of " << x[i];
}
} // namespace

TEST(Rows, functions) {
  function("math.exp %x", -80, 80, [](double x) { return std::exp(x); }, 3e-7);
  function("math.log %x", 0.01f, 50, [](double x) { return std::log(x); }, 3e-7);
  function("math.rsqrt %x", 0.01f, 50, [](double x) { return 1 / std::sqrt(x); }, 3e-7);
  function("loop.act silu %x", -20, 20, [](double x) { return x / (1 + std::exp(-x)); }, 5e-7);
  function("loop.act sigmoid %x", -20, 20, [](double x) { return 1 / (1 + std::exp(-x)); }, 5e-7);
  function("loop.act gelu %x", -3, 6, [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }, 2e-5);
  function("loop.act softplus %x", -15, 30, [](double x) { return std::log1p(std::exp(x)); }, 5e-7);
  function("loop.act tanh %x", -9, 9, [](double x) { return std::tanh(x); }, 1e-6);
}

TEST(Rows, norms) {
  std::vector<float> x = ramp(70, -2, 3), gain = ramp(70, 0.5f, 2);
  double mean = 0, squares = 0, variance = 0;
  for (float v : x) {
    mean += v / 70.0;
    squares += double(v) * v / 70.0;
  }
  for (float v : x)
    variance += (v - mean) * (v - mean) / 70.0;
  std::string weight = "  loop.weight @g : tensor<70xf32>\n", param = "    %g = loop.param @g : tensor<70xf32>\n";
  for (bool layer : {false, true}) {
    auto y = run(model("70", "70", weight, param + "    %y = loop.norm " + (layer ? "layer" : "rms") +
                                               " %x, %g : tensor<70xf32> in eps(1.0e-5) : T<70> -> T<70>\n"),
                 x, [&](Machine &m) { m.set("g", gain); });
    ASSERT_EQ(y.size(), 70u);
    for (int i = 0; i < 70; ++i)
      EXPECT_NEAR(y[i], (layer ? (x[i] - mean) / std::sqrt(variance + 1e-5) : x[i] / std::sqrt(squares + 1e-5)) * gain[i], 2e-6);
  }
}

TEST(Rows, softmaxAndReductions) {
  std::vector<float> x = ramp(3 * 40, -4, 5);
  auto y = run(model("3x40", "3x40", "", "    %y = loop.softmax %x : T<3x40>\n"), x);
  ASSERT_EQ(y.size(), 120u);
  for (int r = 0; r < 3; ++r) {
    double sum = 0;
    for (int i = 0; i < 40; ++i)
      sum += std::exp(double(x[r * 40 + i]));
    for (int i = 0; i < 40; ++i)
      EXPECT_NEAR(y[r * 40 + i], std::exp(double(x[r * 40 + i])) / sum, 1e-6);
  }
  std::vector<float> exact(120);
  for (int i = 0; i < 120; ++i)
    exact[i] = float(i * 7 % 23);
  auto rows = run(model("3x40", "3", "", "    %y = loop.reduce sum %x over 1 : T<3x40> -> T<3>\n"), exact);
  auto columns = run(model("3x40", "40", "", "    %y = loop.reduce max %x over 0 : T<3x40> -> T<40>\n"), exact);
  ASSERT_EQ(rows.size(), 3u);
  for (int r = 0; r < 3; ++r) {
    float sum = 0;
    for (int i = 0; i < 40; ++i)
      sum += exact[r * 40 + i];
    EXPECT_EQ(rows[r], sum);
  }
  for (int i = 0; i < 40; ++i)
    EXPECT_EQ(columns[i], std::max({exact[i], exact[40 + i], exact[80 + i]}));
}

TEST(Rows, rope) {
  for (std::string pairs : {"halves", "adjacent"})
    for (int position : {0, 1, 4095}) {
      std::vector<float> x = ramp(2 * 12, -1, 1);
      auto y = run(model("2x12", "2x12", "", "    %y = loop.rope %x at %L in !loop.lanes<lane> base(1.0e4) pairs(" + pairs + ") : T<2x12> -> T<2x12>\n"),
                   x, nullptr, position);
      ASSERT_EQ(y.size(), 24u);
      for (int h = 0; h < 2; ++h)
        for (int i = 0; i < 6; ++i) {
          float angle = float(position) * float(std::pow(1e4, -2.0 * i / 12));
          int a = h * 12 + (pairs == "halves" ? i : 2 * i), b = h * 12 + (pairs == "halves" ? i + 6 : 2 * i + 1);
          EXPECT_NEAR(y[a], x[a] * std::cos(double(angle)) - x[b] * std::sin(double(angle)), 1e-6) << pairs << " " << position << " " << i;
          EXPECT_NEAR(y[b], x[b] * std::cos(double(angle)) + x[a] * std::sin(double(angle)), 1e-6);
        }
    }
}

// Slices, reshapes, broadcasts and concatenation are views and copies.
TEST(Rows, views) {
  std::string body = "    %s = loop.slice %x axis 0 from 2 : T<8> -> T<4>\n    %m = loop.reshape %s : T<4> -> T<2x2>\n"
                     "    %h = loop.slice %x axis 0 from 6 : T<8> -> T<2>\n    %w = loop.broadcast %h dims [0] : T<2> -> T<2x2>\n"
                     "    %p = arith.mulf %m, %w : T<2x2>\n    %f = loop.reshape %p : T<2x2> -> T<4>\n    %y = loop.concat %f, %h : T<4>, T<2> -> T<6>\n";
  auto y = run(model("8", "6", "", body), {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_EQ(y, (std::vector<float>{21, 28, 40, 48, 7, 8}));
}

// A select whose condition is a scalar of the program (a layer index) keeps one of two rows whole.
TEST(Rows, uniformSelect) {
  std::string body = "    %y = loop.stack @s layers 3 state(%x : T<5>) {\n    ^bb0(%l: index, %h: T<5>):\n"
                     "      %one = arith.constant 1 : index\n      %is = arith.cmpi eq, %l, %one : index\n"
                     "      %twice = arith.addf %h, %h : T<5>\n      %n = arith.select %is, %twice, %h : T<5>\n"
                     "      loop.yield %n : T<5>\n    } -> T<5>\n";
  EXPECT_EQ(run(model("5", "5", "", body), {1, 2, 3, 4, 5}), (std::vector<float>{2, 4, 6, 8, 10}));
}

// gate and up in one matrix: both sums of a column meet in the epilogue, and the residual is added in place.
TEST(Rows, feedForwardIsFused) {
  std::string weights = "  loop.weight @gu : tensor<128x8xf32>\n  loop.weight @down : tensor<8x64xf32>\n";
  std::string body = "    %W = loop.param @gu : tensor<128x8xf32>\n"
                     "    %f = loop.linear %x, %W order(<chain>) : (T<8>, tensor<128x8xf32>) -> T<128>\n"
                     "    %g = loop.slice %f axis 0 from 0 : T<128> -> T<64>\n    %u = loop.slice %f axis 0 from 64 : T<128> -> T<64>\n"
                     "    %a = loop.act relu %g : T<64>\n    %h = arith.mulf %a, %u : T<64>\n    %D = loop.param @down : tensor<8x64xf32>\n"
                     "    %d = loop.linear %h, %D order(<chain>) : (T<64>, tensor<8x64xf32>) -> T<8>\n    %y = arith.addf %x, %d : T<8>\n";
  std::string text = model("8", "8", weights, body), task = taskForm(text);
  EXPECT_NE(task.find("groups 2"), std::string::npos) << task;
  size_t phases = 0;
  for (size_t at = 0; (at = task.find("task.phase", at)) != std::string::npos; ++at)
    ++phases;
  EXPECT_EQ(phases, 2u) << task;
  std::vector<float> gu(128 * 8), down(8 * 64), x = {1, -2, 3, 0, 2, -1, 1, 2};
  for (size_t i = 0; i < gu.size(); ++i)
    gu[i] = float(int(i * 5 % 7) - 3);
  for (size_t i = 0; i < down.size(); ++i)
    down[i] = float(int(i * 3 % 5) - 2);
  auto y = run(text, x, [&](Machine &m) {
    m.set("gu", gu);
    m.set("down", down);
  });
  ASSERT_EQ(y.size(), 8u);
  for (int j = 0; j < 8; ++j) {
    float want = x[j];
    for (int c = 0; c < 64; ++c) {
      float g = 0, u = 0;
      for (int i = 0; i < 8; ++i) {
        g += gu[c * 8 + i] * x[i];
        u += gu[(64 + c) * 8 + i] * x[i];
      }
      want += down[j * 64 + c] * std::max(g, 0.0f) * u;
    }
    EXPECT_EQ(y[j], want);
  }
}
