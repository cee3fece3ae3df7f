// What the constructs of the language are as trees.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::frontend::test;

namespace {

/// The tree of one expression.
std::string value(const std::string &text) {
  std::string listing = listingOf("x = " + text + "\n");
  std::string prefix = "bind x = ";
  return listing.substr(0, prefix.size()) == prefix ? listing.substr(prefix.size(), listing.size() - prefix.size() - 1)
                                                    : listing;
}

TEST(Parser, Precedence) {
  EXPECT_EQ(value("a + b * c"), "(+ a (* b c))");
  EXPECT_EQ(value("a - b - c"), "(- (- a b) c)");
  EXPECT_EQ(value("-a ^ 2"), "(neg (^ a 2))");
  EXPECT_EQ(value("2 ^ 3 ^ 2"), "(^ 2 (^ 3 2))");
  EXPECT_EQ(value("2 ^ -x"), "(^ 2 (neg x))");
  EXPECT_EQ(value("a div b mod c"), "(mod (div a b) c)");
  EXPECT_EQ(value("not a == b and c or d"), "(or (and (not (== a b)) c) d)");
  EXPECT_EQ(value("a + x as f32"), "(+ a (as x f32))");
  EXPECT_EQ(value("(a + x) as f32"), "(as (+ a x) f32)");
  EXPECT_EQ(value("i in {1, 2} and b"), "(and (in i (set [1, 2])) b)");
  EXPECT_EQ(value("i in 1..n - 1"), "(in i (range 1 .. (- n 1)))");
}

TEST(Parser, NumbersHaveExactValues) {
  Parsed parsed("a = 20k\nb = 50%\nc = 1e-6\nd = 9007199254740993\n");
  ASSERT_FALSE(parsed.engine.hasErrors()) << parsed.messages();
  auto number = [&](size_t i) {
    return ast::as<ast::NumberExpr>(ast::as<ast::BindStmt>(parsed.spec.statements[i])->values[0]);
  };
  EXPECT_EQ(number(0)->integer, 20000);
  EXPECT_EQ(number(1)->value, 0.5);
  EXPECT_FALSE(number(1)->integer.has_value());
  EXPECT_EQ(number(2)->value, 1e-6);
  EXPECT_EQ(number(3)->integer, 9007199254740993);
}

TEST(Parser, CallsLabelsAndResults) {
  EXPECT_EQ(value("rope(linear@q_proj(x) -> [heads, hd], theta)"),
            "(call rope (call linear@q_proj x -> [heads, hd]) theta)");
  EXPECT_EQ(value("layer@model.layers[P + i].attn(x)"), "(call layer@model.layers[(+ P i)].attn x)");
  EXPECT_EQ(value("linear@mlp.0.1(x)"), "(call linear@mlp.0.1 x)");
  EXPECT_EQ(value("linear@self(x, tied = wte.weight)"), "(call linear@self x tied=(.weight wte))");
  EXPECT_EQ(value("layers[i](x, cache[i])"), "(call (at layers i) x (at cache i))");
  EXPECT_EQ(value("linear(x) -> []"), "(call linear x -> [])");
  EXPECT_EQ(listingOf("q, k = linear@qk(x) -> [h, e], [h, e]\n"),
            "bind q, k = (call linear@qk x -> [h, e], [h, e])\n");
  EXPECT_EQ(listingOf("q, k = rope(q), rope(k)\n"), "bind q, k = (call rope q) (call rope k)\n");
  EXPECT_EQ(value("f(x, where = c, over = 5)"), "(call f x where=c over=5)");
}

TEST(Parser, Traces) {
  EXPECT_EQ(value("v[t = k]"), "(at v t=k)");
  EXPECT_EQ(value("k[..=t]"), "(at k (range <none> ..= t))");
  EXPECT_EQ(value("k[i = ..i]"), "(at k i=(range <none> .. i))");
  EXPECT_EQ(value("h[-1]"), "(at h (neg 1))");
  EXPECT_EQ(value("slice(x, 0..32)"), "(call slice x (range 0 .. 32))");
}

TEST(Parser, Reductions) {
  EXPECT_EQ(value("sum over d { x * y }"), "(reduce sum [d] (* x y))");
  EXPECT_EQ(value("norm over sequence, d where c { f - y }"), "(reduce norm [sequence, d] where c (- f y))");
  EXPECT_EQ(value("entropy(q[t] over t)"), "(call entropy (over (at q t) t))");
  EXPECT_EQ(value("f(p over t, a, b)"), "(call f (over p t) a b)");
  EXPECT_EQ(value("f(norm over a, b { x }, c)"), "(call f (reduce norm [a, b] x) c)");
  EXPECT_EQ(value("sum(e in s => g[e] * expert@experts[e](h))"),
            "(call sum (each e s (* (at g e) (call expert@experts[e] h))))");
  EXPECT_EQ(value("sum over * { w }"), "(reduce sum [*] w)");
}

TEST(Parser, Choices) {
  EXPECT_EQ(value("if c then a else if d then b else e"), "(if c a (if d b e))");
  EXPECT_EQ(value("if c { a } else { b }"), "(if c { value a;} { value b;})");
  EXPECT_EQ(value("match kind { one { a }  two, three { b }  else { c } }"),
            "(match kind ([one] { value a;}) ([two, three] { value b;}) ([] { value c;}))");
}

TEST(Parser, LinesEndStatements) {
  // A line goes on in brackets, behind an operator, and before one that cannot begin a value.
  EXPECT_EQ(listingOf("x = f(a,\n  b)\n"), "bind x = (call f a b)\n");
  EXPECT_EQ(listingOf("x = a +\n  b\n"), "bind x = (+ a b)\n");
  EXPECT_EQ(listingOf("x = a\n  + b\n"), "bind x = (+ a b)\n");
  EXPECT_EQ(listingOf("x = if c then a\n  else b\n"), "bind x = (if c a b)\n");
  EXPECT_EQ(listingOf("fn f(x) {\n  y = a\n  -b\n}\n"), "fn f(x)\n  bind y = a\n  value (neg b)\n");
  EXPECT_EQ(listingOf("fn f(x) {\n  y = a\n  (b)\n}\n"), "fn f(x)\n  bind y = a\n  value b\n");
  EXPECT_EQ(listingOf("a = 1;  b = 2\n"), "bind a = 1\nbind b = 2\n");
}

TEST(Parser, ConfigEntries) {
  EXPECT_EQ(listingOf("config {\n  kind = two in {one, two} from \"k\" | \"old.k\" (one = \"ONE\", none = 1.0)\n"
                      "  rows = if given == 0 then 1 else given in 1..16\n  looks: list int = [0, 7]\n"
                      "  cap: float? = none\n  accept \"bias\" = false, \"name\" any\n  require d > 0 \"why\"\n}\n"),
            "config\n"
            "  entry kind = two in (set [one, two]) from \"k\" \"old.k\" (one = \"ONE\") (none = 1.0)\n"
            "  entry rows = (if (== given 0) 1 given) in (range 1 .. 16)\n"
            "  entry looks: list(int) = [0, 7]\n"
            "  entry cap: float? = none\n"
            "  accept \"bias\" false\n"
            "  accept \"name\" any\n"
            "  require (> d 0) \"why\"\n");
}

TEST(Parser, Recurrences) {
  EXPECT_EQ(listingOf("loop t < loops, kv ring(2), holes latest, order token { h = f(h) }\n"),
            "loop t < loops, kv (call ring 2), holes latest, order token\n  bind h = (call f h)\n");
  EXPECT_EQ(listingOf("loop i, dt over steps { x = dt }\n"), "loop i, dt over steps\n  bind x = dt\n");
  EXPECT_EQ(listingOf("loop j < most, by anderson(5, mixing = 1) { exit per sequence when r < tol }\n"),
            "loop j < most, by (call anderson 5 mixing=1)\n  exit  per sequence when (< r tol)\n");
  EXPECT_EQ(listingOf("stack i in 1..n, unrolled { x = i }\n"),
            "stack i in (range 1 .. n) unrolled\n  bind x = i\n");
  EXPECT_EQ(listingOf("loop t < n { exit hazard when p > 1 }\n"), "loop t < n\n  exit hazard when (> p 1)\n");
}

TEST(Parser, Declarations) {
  EXPECT_EQ(listingOf("state z ~ normal() -> [d] per sequence\nstate s: [d] f32 per run = 0, warm z\n"),
            "state z ~ (call normal -> [d]) per sequence\nstate s: [d] f32 per run = 0 warm from z\n");
  EXPECT_EQ(listingOf("carry S: [h, d] f32 = 0 restart fresh\ncarry fast[n]: [d] = 0\n"),
            "carry S: [h, d] f32 = 0 restart fresh\ncarry fast[n]: [d] = 0\n");
  EXPECT_EQ(listingOf("weight hyper[t].emb: [d] init normal(0.02) no_decay\nbuffer b: []\n"),
            "weight hyper[t].emb: [d] init (call normal 0.02) no_decay\nbuffer b: []\n");
  EXPECT_EQ(listingOf("share f = net\nshare layers[n] = layer(2)\nshare fn g(x: [d]) = x\n"),
            "share f = net\nshare layers[n] = (call layer 2)\nshare fn g(x: [d])\n  value x\n");
  EXPECT_EQ(listingOf("fn f<a.., n>(x: [a..], F: carry [d], i: index, k = 3) -> [n], [] { x }\n"),
            "fn f <a..> <n>(x: [a..], F: carry([d]), i: index, k = 3) -> [n], []\n  value x\n");
  EXPECT_EQ(listingOf("view draft block 32 { output y = x }\nview s every w tokens { output y = x }\n"),
            "view draft block 32\n  output y = x\nview s every w\n  output y = x\n");
  EXPECT_EQ(listingOf("input puzzle: id(n) per sequence\nmemory c[n]\nsequence exactly cells\n"),
            "input puzzle: id[n] per sequence\nmemory c[n]\nsequence exactly cells\n");
  EXPECT_EQ(listingOf("sequence at most 4 * n\n"), "sequence at most (* 4 n)\n");
  EXPECT_EQ(listingOf("policy merge(n) = x div n\nreadout e = y\noutput logits\n"),
            "policy merge(n) = (div x n)\nreadout e = y\noutput logits\n");
}

TEST(Parser, Training) {
  EXPECT_EQ(listingOf("train a {\n  loops ~ poisson(8) + 1 per sequence\n  backprop last 4 of t\n"
                      "  loss mean over tokens { ce }\n  optimize norms, **.bias except head.* where ndim >= 2 with adamw(lr = 1)\n"
                      "  freeze all except gate.{*}\n  ema 0.999 of all except e\n  update each s { l } refill\n}\n"),
            "train a\n  draw loops ~ (+ (call poisson 8) 1) per sequence\n  backprop last 4 of t\n"
            "  loss (reduce mean [tokens] ce)\n"
            "  optimize norms, **.bias except head.* where (>= ndim 2) with (call adamw lr=1)\n"
            "  freeze all except gate.{*}\n  setting ema 0.999 of all except e\n  update each s refill\n    value l\n");
  EXPECT_EQ(listingOf("init {\n  w = zeros\n  **.proj, head = normal(std = 0.02)\n  layers[i].diff.* = layers[i].attn.*\n}\n"),
            "init\n  entry w = zeros\n  entry **.proj, head = (call normal std=0.02)\n"
            "  entry layers[i].diff.* copies layers[i].attn.*\n");
  EXPECT_EQ(listingOf("checkpoint \"a\" {\n  \"m.{i}.{rest}\" = l.{i - 1}.{rest} when c for w in [q, k] optional\n"
                      "  \"h\" duplicates wte.weight\n  ignored \"f\"\n  prefix optional \"p.\"\n}\n"),
            "checkpoint \"a\"\n  map \"m.{i}.{rest}\" l.{i - 1}.{rest} when c for w in [q, k] optional\n"
            "  duplicates \"h\" wte.weight\n  ignored \"f\"\n  prefix \"p.\" optional\n");
}

TEST(Parser, WordsOfStatementsAreNamesElsewhere) {
  EXPECT_EQ(listingOf("kv = heads\nstate = view + loop\norder, first = f(memory, carry)\n"),
            "bind kv = heads\nbind state = (+ view loop)\nbind order, first = (call f memory carry)\n");
}

TEST(Parser, CorpusHasNoErrors) {
  ASSERT_GE(corpus().size(), 11u);
  for (const auto &path : corpus()) {
    Parsed parsed(readFile(path), path.filename().string());
    EXPECT_FALSE(parsed.engine.hasErrors()) << parsed.messages();
    EXPECT_EQ(parsed.listing().find("<error>"), std::string::npos) << path;
  }
}

TEST(Parser, RangesCoverTheText) {
  Parsed parsed("x = f(a) + (b)\n");
  const auto *bind = ast::as<ast::BindStmt>(parsed.spec.statements[0]);
  EXPECT_EQ(parsed.source.slice(bind->range), "x = f(a) + (b)");
  EXPECT_EQ(parsed.source.slice(bind->values[0]->range), "f(a) + (b)");
  const auto *sum = ast::as<ast::BinaryExpr>(bind->values[0]);
  EXPECT_EQ(parsed.source.slice(sum->rhs->range), "(b)");
  EXPECT_EQ(parsed.source.slice(ast::as<ast::CallExpr>(sum->lhs)->argsRange), "(a)");
}

} // namespace
