// The rules of the language: names of weights, scopes, shapes, regions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "SemaFixture.h"

#include <gtest/gtest.h>
#include <set>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::test;

namespace {

const std::string head = R"(model m
config { vocab = 11 from "vocab_size"; d = 8 from "hidden"; heads = 2; hd = d / heads; n = 3; kind = a in {a, b} }
options { loops = 2 in 1..4; bar = 0.5 }
)";

TEST(Names, ABindingNamesTheCallThatItAloneBinds) {
  Checked c(head + "x = embed@wte(token, vocab) -> [d]\ny = silu(linear(x) -> [n])\nlogits = linear@head(y, bias) -> [vocab]");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_TRUE(c.weight("wte.weight"));
  EXPECT_TRUE(c.weight("y.weight"));
  ASSERT_TRUE(c.weight("head.bias"));
  EXPECT_EQ(c.weight("head.bias")->shape, std::vector<int64_t>{11});
  EXPECT_EQ(c.weight("head.bias")->role, WeightRole::Bias);
}

TEST(Names, TwoCallsOrAReassignmentNeedLabels) {
  EXPECT_EQ(Checked(head + "x = embed(token, vocab) -> [d]\nx = linear(x) -> [d]\nlogits = linear@h(x) -> [vocab]").code(), "L0302");
  EXPECT_EQ(Checked(head + "logits = linear(embed(token, vocab) -> [d]) -> [vocab]").code(), "L0302");
}

TEST(Names, PublishedNumbersMayBeSumsOfProducts) {
  const std::string body = "state h = embed@wte(token, vocab) -> [d]\nloop t < loops { stack i < n { h = linear@a[i].b[t](h) -> [d] } }\n"
                           "logits = linear@head(h) -> [vocab]\ncheckpoint { \"l{REPLACE}.w\" = a.{i}.b.{t}.weight }";
  auto named = [&](std::string sum) { return Checked(head + std::string(body).replace(body.find("REPLACE"), 7, sum)); };
  Checked c = named("t * n + i");
  ASSERT_TRUE(c.program) << c.messages();
  std::set<std::string> names;
  for (const CheckpointTensor &tensor : c.program->checkpoint("")->tensors)
    names.insert(tensor.name);
  for (int k = 0; k < 12; ++k)
    EXPECT_TRUE(names.count("l" + std::to_string(k) + ".w")) << k;
  for (const char *wrong : {"t * i", "t n + i", "t * n +", "* t"}) {
    Checked bad = named(wrong);
    bool taken = false;
    if (bad.program)
      for (const CheckpointTensor &tensor : bad.program->checkpoint("")->tensors)
        taken |= tensor.name == "l0.w";
    EXPECT_FALSE(taken) << wrong;
  }
}

TEST(Names, WeightsAreMadeFromThoseOfAnotherModel) {
  const std::string body = "state h = embed@wte(token, vocab) -> [d]\nloop t < loops { stack i < n { h = (linear@a[i](h) -> [d]) + (linear@b[i](h) -> [d]) } }\n"
                           "logits = linear@head(h) -> [vocab]\ninit \"plain\" { LINE }";
  auto made = [&](const std::string &line) { return Checked(head + std::string(body).replace(body.find("LINE"), 4, line)); };
  Checked c = made("a.{i} = mean(\"l.{i + c * n}.w\", c = 2) - 0.5 * \"l.{2 * i div 3}.w\";  b.{i} = left(\"l.{i}.w\", 3) when n > 1;  b.{i} = 1");
  ASSERT_TRUE(c.program) << c.messages();
  ASSERT_EQ(c.program->origins.size(), 1u);
  const ProgramOrigin &origin = c.program->origins[0];
  EXPECT_EQ(origin.name, "plain");
  EXPECT_EQ(origin.lines.size(), size_t(2 * c.weight("a.{0}.weight")->entries())); // neither of the embedding nor of the head
  for (const ProgramOrigin::Line &line : origin.lines)
    if (c.program->weights[line.weight].path == "a.{0}.weight" && line.entry == 2) {
      const MadeTensor &mean = line.value.parts.at(0), &scaled = line.value.parts.at(1);
      EXPECT_EQ(line.value.op, MadeTensor::Op::Subtract);
      EXPECT_EQ(mean.parts.at(1).name, "l." + std::to_string(2 + c.weight("a.{0}.weight")->entries()) + ".w");
      EXPECT_EQ(scaled.op, MadeTensor::Op::Scale);
      EXPECT_EQ(scaled.parts.at(0).name, "l.1.w");
    }
  for (const char *wrong : {"a.{i} = \"l.{k}.w\"", "a.{i} = left(\"l.{i}.w\", 0)", "a.{i} = \"l\" * \"m\"", "a.{i} = normal(1.0)", "a.{i} = mean(\"l\", c = 0)",
                            "a.{i} = b.{i}", "a.{i} = \"l.{i div 0}.w\""})
    EXPECT_EQ(made(wrong).code(), "L0331") << wrong;
}

TEST(Values, IotaCountsAlongOneAxis) {
  Checked c(head + "x = (embed@wte(token, vocab) -> [d]) * iota([d])\nlogits = linear@h(x) -> [vocab]");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(Checked(head + "x = embed@wte(token, vocab) -> [d]\ny = x + sum(iota([n, d]))\nlogits = linear@h(y) -> [vocab]").code(), "L0205");
}

TEST(Names, SelfAddsNoSegment) {
  Checked c(head + "share fn out(x: [d]) -> [vocab] = linear@self(x) -> [vocab]\nx = embed(token, vocab) -> [d]\nlogits = out(x) + out(2 * x)");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_TRUE(c.weight("out.weight"));
  EXPECT_EQ(c.program->weights.size(), 2u);
}

TEST(Names, IndicesInLabelsSayOverWhatWeightsVary) {
  Checked c(head + R"(state h = embed@wte(token, vocab) -> [d]
loop t < loops {
  stack i < n { h = h + (linear@delta[t].layer[i](h) -> [d]) + (linear@layers[2 * i + 1](h) -> [d]) }
}
logits = linear@head(h) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  const ProgramWeight *delta = c.weight("delta.{0}.layer.{1}.weight");
  ASSERT_TRUE(delta);
  EXPECT_EQ(delta->tables[0].size, 4) << "the upper end of the count's range";
  EXPECT_TRUE(delta->tables[0].iteration);
  EXPECT_EQ(delta->tables[1].size, 3);
  const ProgramWeight *layers = c.weight("layers.{0}.weight");
  ASSERT_TRUE(layers);
  EXPECT_EQ(layers->present, (std::vector<bool>{false, true, false, true, false, true}));
}

TEST(Names, ConditionsOnAnIndexDecideWhichEntriesExist) {
  Checked c(head + R"(state h = embed@wte(token, vocab) -> [d]
stack i < 4 {
  if i mod 2 == 1 { h = linear@odd[i](h) -> [d] } else { h = h + (linear@even[i](h) -> [d]) }
  if i < 10 { h = 2 * h }
}
logits = linear@head(h) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(c.weight("odd.{0}.weight")->present, (std::vector<bool>{false, true, false, true}));
  EXPECT_EQ(c.weight("even.{0}.weight")->present, (std::vector<bool>{true, false, true}));
  // The condition that always holds is no branch.
  const std::string listing = printProgram(*c.program);
  size_t branches = 0;
  for (size_t at = listing.find(" if("); at != std::string::npos; at = listing.find(" if(", at + 1))
    ++branches;
  EXPECT_EQ(branches, 2u) << listing;
}

TEST(Names, WhatAStackRepeatsNeedsItsIndex) {
  Checked c(head + "state h = embed@wte(token, vocab) -> [d]\nstack i < n { h = linear@w(h) -> [d] }\nlogits = linear@head(h) -> [vocab]");
  ASSERT_FALSE(c.program);
  EXPECT_EQ(c.code(), "L0310");
  EXPECT_NE(c.messages().find("`linear@w[i](…)`"), std::string::npos) << c.messages();
  Checked shared(head + "share w = layer\nfn layer(x: [d]) -> [d] = linear@a(x) -> [d]\nstate h = embed@wte(token, vocab) -> [d]\n"
                        "stack i < n { h = w(h) }\nlogits = linear@head(w(h)) -> [vocab]");
  ASSERT_TRUE(shared.program) << shared.messages();
  EXPECT_TRUE(shared.weight("w.a.weight"));
}

TEST(Names, OnePathIsMadeOnce) {
  EXPECT_EQ(Checked(head + "x = embed@w(token, vocab) -> [d]\ny = linear@a(x) -> [d]\nz = linear@a(y) -> [d]\nlogits = linear@h(z) -> [vocab]").code(), "L0301");
  EXPECT_EQ(Checked(head + "x = embed@w(token, vocab) -> [d]\ny = linear@a(x) -> [d]\nz = linear@a(y) -> [n]\nlogits = linear@h(z) -> [vocab]").code(), "L0305");
}

TEST(Names, TablesOverALoopNeedAnEnd) {
  Checked c("model m\nconfig { vocab = 5; d = 4 }\noptions { loops = 2 in 1.. }\nstate h = embed@e(token, vocab) -> [d]\n"
            "loop t < loops { h = linear@w[t](h) -> [d] }\nlogits = linear@o(h) -> [vocab]");
  EXPECT_EQ(c.code(), "L0312") << c.messages();
}

TEST(Shapes, AnAxisIsItsName) {
  Checked c("model m\nconfig { vocab = 5; d = 4; dr = d }\nx = embed@e(token, vocab) -> [d]\ny = linear@w(x) -> [dr]\nlogits = linear@o(x + y) -> [vocab]");
  EXPECT_EQ(c.code(), "L0204");
  EXPECT_NE(c.messages().find("d and dr are both 4 here, but an axis is its name"), std::string::npos) << c.messages();
  EXPECT_TRUE(Checked("model m\nconfig { vocab = 5; d = 4; dr = d }\nx = embed@e(token, vocab) -> [d]\ny = linear@w(x) -> [dr]\n"
                      "logits = linear@o(x + (reshape(y) -> [d])) -> [vocab]")
                  .program);
}

TEST(Shapes, SizesHaveANormalForm) {
  EXPECT_TRUE(Checked(head + "x = embed@e(token, vocab) -> [2 * d]\ny = linear@w(x) -> [d + d]\nlogits = linear@o(x + y) -> [vocab]").program);
  EXPECT_TRUE(Checked(head + "x = embed@e(token, vocab) -> [d / heads]\ny = linear@w(x) -> [d * heads / (heads * heads)]\nlogits = linear@o(x + y) -> [vocab]").program);
}

TEST(Shapes, AxisParametersAreBoundByArguments) {
  Checked c(head + R"(fn twice<w>(x: [w], m: axis) -> [w] = linear@b(relu(linear@a(x) -> [m])) -> [w]
fn flat<a.., b..>(x: [a..]) -> [b..] = linear@self(x) -> [b..]
x = embed@e(token, vocab) -> [heads, hd]
y = flat@down(x) -> [d]
z = flat@up(twice@t(y, 5)) -> [heads, hd]
logits = linear@o(z) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(c.weight("t.a.weight")->shape, (std::vector<int64_t>{5, 8}));
  EXPECT_EQ(c.weight("up.weight")->shape, (std::vector<int64_t>{8, 8}));
}

TEST(Shapes, SeveralResultsAreOneFusedWeight) {
  Checked c(head + R"(x = embed@e(token, vocab) -> [d]
q, k, v = linear@qkv(x) -> [3, heads, hd]
a, b = linear@ab(x, q) -> [n], [d]
logits = linear@o(a, b, v, k) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(c.weight("qkv.weight")->shape, (std::vector<int64_t>{24, 8}));
  EXPECT_EQ(c.weight("ab.weight")->shape, (std::vector<int64_t>{11, 16}));
}

TEST(Loops, OnlyStatesAreCarried) {
  Checked c(head + "x = embed@e(token, vocab) -> [d]\nloop t < loops { x = linear@w(x) -> [d] }\nlogits = linear@o(x) -> [vocab]");
  EXPECT_EQ(c.code(), "L0214") << c.messages();
}

TEST(Loops, WhatTheBodyLeavesAloneIsInvariant) {
  Checked c(head + R"(e = embed@e(token, vocab) -> [d]
state h = e
state other = e
loop t < loops { h = h + (linear@w(e) -> [d]); if kind == b { other = h } }
logits = linear@o(h + other) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(c.program->loops[0].states, std::vector<std::string>{"h"});
}

TEST(Loops, PrevIsOneMoreState) {
  Checked c(head + R"(state h = embed@e(token, vocab) -> [d]
loop t < loops {
  old = prev(size, 0.0)
  h = linear@w(h) -> [d]
  size = norm(h)
  exit when size - old < bar
}
logits = linear@o(h) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_EQ(c.program->loops[0].states, (std::vector<std::string>{"h", "prev.size"}));
  EXPECT_TRUE(c.program->loops[0].hasExit);
  EXPECT_TRUE(c.program->deferred.empty());
}

TEST(Loops, AnExitMayReadWhatComesAfterTheLoop) {
  Checked c(head + R"(state h = embed@e(token, vocab) -> [d]
loop t < loops {
  h = linear@w(h) -> [d]
  exit when max(p) > bar
}
h = 2 * h
p = softmax(linear@o(h) -> [vocab])
output p)");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_TRUE(c.program->loops[0].exitReadsReadout);
  EXPECT_EQ(c.program->weights.size(), 3u) << "the readout's weights are made once";
  EXPECT_EQ(c.program->loops[0].states, std::vector<std::string>{"h"});
}

TEST(Config, SourcesRangesAndOrigins) {
  const nlohmann::json published = {{"hidden", 16}, {"vocab_size", 7}, {"architectures", {"X"}}, {"bos_token_id", 1}};
  Checked c(head + "x = embed@e(token, vocab) -> [d]\nlogits = linear@o(x) -> [vocab]", &published, {{"n", "9"}, {"kind", "b"}});
  ASSERT_TRUE(c.program) << c.messages();
  std::map<std::string, std::pair<std::string, std::string>> bound;
  for (const ProgramConfigEntry &entry : c.program->config)
    bound[entry.name] = {entry.value, entry.origin};
  EXPECT_EQ(bound["d"], (std::pair<std::string, std::string>{"16", "hidden"}));
  EXPECT_EQ(bound["hd"], (std::pair<std::string, std::string>{"8", "default"}));
  EXPECT_EQ(bound["n"], (std::pair<std::string, std::string>{"9", "--set"}));
  EXPECT_EQ(bound["kind"], (std::pair<std::string, std::string>{"b", "--set"}));
}

TEST(Config, Refusals) {
  const std::string body = "x = embed@e(token, vocab) -> [d]\nlogits = linear@o(x) -> [vocab]";
  const nlohmann::json unknown = {{"hiden", 16}};
  Checked c(head + body, &unknown);
  EXPECT_EQ(c.code(), "L0701");
  EXPECT_NE(c.messages().find("\"hidden\""), std::string::npos) << c.messages();
  const nlohmann::json word = {{"hidden", "wide"}};
  EXPECT_EQ(Checked(head + body, &word).code(), "L0704");
  EXPECT_EQ(Checked(head + body, nullptr, {{"heds", "2"}}).code(), "L0707");
  EXPECT_EQ(Checked(head + body, nullptr, {{"kind", "c"}}).code(), "L0708");
  EXPECT_EQ(Checked(head + body, nullptr, {{"loops", "5"}}).code(), "L0703");
  EXPECT_EQ(Checked(head + body, nullptr, {}, {"quirk"}).code(), "L0707");
  EXPECT_EQ(Checked("model m\nconfig { a = b; b = a + 1 }").code(), "L0709");
}

TEST(Config, NullAndAcceptedObjectsAreNotUnknown) {
  const std::string text = "model m\nconfig { vocab = 11; d = 8; accept \"extras\" any }\nx = embed@e(token, vocab) -> [d]\nlogits = linear@o(x) -> [vocab]";
  const nlohmann::json covered = {{"unused", nullptr}, {"extras", {{"a", 1}, {"b", {{"c", true}}}}}};
  EXPECT_TRUE(Checked(text, &covered).program) << Checked(text, &covered).messages();
  const nlohmann::json unknown = {{"more", {{"a", 1}}}};
  EXPECT_EQ(Checked(text, &unknown).code(), "L0701");
}

TEST(Config, HostileValuesGiveMessages) {
  const std::string body = "x = embed@e(token, vocab) -> [d]\nlogits = linear@o(x) -> [vocab]";
  for (const char *text : {"1e400", "-5", "0", "9223372036854775807", "[1,2]", "{}", "\"\"", "true", "1.5", "nan"})
    for (const char *name : {"d", "n", "heads", "kind", "loops", "bar"}) {
      Checked c(head + body, nullptr, {{name, text}});
      EXPECT_TRUE(c.program || !c.messages().empty()) << name << "=" << text;
    }
}

TEST(Limits, RecursionAndBlowUpAreMessages) {
  EXPECT_EQ(Checked("model m\nconfig { vocab = 3; d = 2 }\nfn f(x: [d]) -> [d] = g(x)\nfn g(x: [d]) -> [d] = f(x)\n"
                    "x = embed@e(token, vocab) -> [d]\nlogits = f(x)")
                .code(),
            "L0212");
  std::string text = "model m\nconfig { vocab = 3; d = 2 }\nfn f0(x: [d]) -> [d] = x + x\n";
  for (int k = 1; k < 40; ++k)
    text += "fn f" + std::to_string(k) + "(x: [d]) -> [d] = f" + std::to_string(k - 1) + "(x) + f" + std::to_string(k - 1) + "(x)\n";
  EXPECT_EQ(Checked(text + "x = embed@e(token, vocab) -> [d]\nlogits = f39(x)").code(), "L0212");
}

TEST(Executable, WhatIsOnlyCheckedIsRefusedWithItsPlace) {
  Checked c(head + R"(state h = embed@e(token, vocab) -> [d]
loop t < loops { h = linear@w(h) -> [d]; exit per sequence when any over sequence { norm(h) < bar } }
logits = linear@o(h) -> [vocab])");
  ASSERT_TRUE(c.program) << c.messages();
  EXPECT_FALSE(checkExecutable(*c.program, c.diagnostics));
  EXPECT_EQ(c.code(), "L0720");
}

TEST(KvMaps, SizesUnitAndKeepAreChecked) {
  auto loop = [](const std::string &kv) {
    return Checked(head + R"(fn block(x: [d]) -> [d] {
  q = linear@q(x) -> [heads, hd]
  k = linear@k(x) -> [heads, hd]
  v = linear@v(x) -> [heads, hd]
  x + (linear@o(attend(q, k, v, causal)) -> [d])
}
state h = embed@e(token, vocab) -> [d]
loop t < loops, kv )" + kv + R"( { h = block@core(h) }
logits = linear@head(h) -> [vocab])");
  };
  for (const char *right : {"ring(2), order token", "anchor(3, 2), order pass", "last(2), order by_call", "boundaries, order token",
                            "ring(3, unit = layer_step), order by_call", "single(keep = mean), order pass",
                            "last(1, coda = overwrites), order by_call"}) {
    Checked c = loop(right);
    EXPECT_TRUE(c.program) << right << c.messages();
  }
  Checked anchor = loop("anchor(n, 2, unit = layer_step), order token");
  ASSERT_TRUE(anchor.program) << anchor.messages();
  const KvPolicy &kv = anchor.program->loops[0].kv;
  EXPECT_EQ(kv.map, "anchor");
  EXPECT_EQ(kv.sizes[0], 3);
  EXPECT_EQ(kv.sizes[1], 2);
  EXPECT_EQ(kv.unit, "layer_step");
  for (const char *wrong : {"ring, order token", "ring(0), order token", "ring(2, 3), order token", "anchor(2), order token",
                            "boundaries(2), order token", "ring(2, unit = layers), order token", "ring(2, keep = mean), order token",
                            "single(keep = middle), order token", "ring(2, coda = overwrites), order token", "rings(2), order token"})
    EXPECT_EQ(loop(wrong).code(), "L0411") << wrong;
  for (const char *unordered : {"anchor(3, 2)", "last(2)", "boundaries", "single(keep = first)"})
    EXPECT_EQ(loop(unordered).code(), "L0415") << unordered;
}

TEST(Attend, KeepIsABoundOfTheProduct) {
  auto kept = [](const std::string &keep) {
    return Checked(head + R"(state h = embed@e(token, vocab) -> [d]
q = linear@q(h) -> [heads, hd]
bound = linear@bound(h) -> [heads]
logits = linear@o(attend(q, q, q, causal, keep = )" +
                   keep + R"()) -> [vocab])");
  };
  for (const char *right : {"dot >= bound", "dot >= 0", "dot >= norm(q, hd)", "dot >= -1.5 * bound"}) {
    Checked c = kept(right);
    ASSERT_TRUE(c.program) << right << c.messages();
    EXPECT_TRUE(c.program->sites.back().keep);
  }
  for (const char *wrong : {"dot > 0", "bound >= dot", "0.5", "bound >= 0"})
    EXPECT_EQ(kept(wrong).code(), "L0410") << wrong;
  EXPECT_EQ(kept("dot >= h").code(), "L0218");
}

} // namespace
