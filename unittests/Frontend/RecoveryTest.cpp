// One message for each mistake, several a run, and the rest of the text still read.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::frontend::test;

namespace {

using Codes = std::vector<std::string>;

void expectHelp(const std::string &text, const std::string &code, const std::string &help) {
  Parsed parsed(text);
  EXPECT_EQ(parsed.codes(), Codes{code}) << text << parsed.messages();
  EXPECT_NE(parsed.messages().find(help), std::string::npos) << parsed.messages();
}

TEST(Recovery, SeveralErrorsARun) {
  Parsed parsed("model m\n"
                "config { heads = = 2;  kv = 3 }\n"
                "fn f(x: [d]) -> [d] {\n  y = x + * 2\n  z = f(a b)\n  x\n}\n"
                "y = f(1\nz = 3\n");
  EXPECT_EQ(parsed.codes(), (Codes{"L0101", "L0101", "L0101", "L0102"})) << parsed.messages();
  // What follows each mistake is there.
  EXPECT_NE(parsed.listing().find("entry kv = 3"), std::string::npos);
  EXPECT_NE(parsed.listing().find("  value x\n"), std::string::npos);
  EXPECT_NE(parsed.listing().find("bind z = 3"), std::string::npos);
}

TEST(Recovery, BodyOfABadHeaderIsRead) {
  Parsed parsed("loop t < , kv single {\n  h = = 1\n  k = 2\n}\n");
  EXPECT_EQ(parsed.codes(), (Codes{"L0101", "L0101"})) << parsed.messages();
  EXPECT_NE(parsed.listing().find("bind k = 2"), std::string::npos);
}

TEST(Recovery, UnclosedBlockEndsAtTheNextSection) {
  Parsed parsed("fn f(x) {\n  y = x\n\nfn g(x) = x\ntrain { loss 1 }\n");
  EXPECT_EQ(parsed.codes(), Codes{"L0102"}) << parsed.messages();
  EXPECT_NE(parsed.listing().find("fn g(x)"), std::string::npos);
  EXPECT_NE(parsed.listing().find("train"), std::string::npos);
}

TEST(Recovery, SurplusBrace) {
  Parsed parsed("x = 1\n}\ny = 2\n");
  EXPECT_EQ(parsed.codes(), Codes{"L0102"});
  EXPECT_NE(parsed.listing().find("bind y = 2"), std::string::npos);
}

TEST(Recovery, HabitsOfOtherLanguages) {
  expectHelp("fn f(x) {\n  return x\n}\n", "L0107", "the last line of a function is its value");
  expectHelp("let x = 1\n", "L0107", "a binding needs no word");
  expectHelp("for i in n { x = 1 }\n", "L0107", "`stack i < n { … }`");
  expectHelp("x += 1\n", "L0107", "`x = x + y`");
  expectHelp("x = y ** 2\n", "L0107", "`x ^ 2`");
  expectHelp("x = a && b\n", "L0001", "write `and`");
  expectHelp("x = 'a'\n", "L0001", "double quotes");
  expectHelp("// note\nx = 1\n", "L0107", "a comment starts with `#`");
  expectHelp("stat h = 1\n", "L0101", "did you mean `state`?");
  expectHelp("x = a < b < c\n", "L0109", "a < b and b < c");
}

TEST(Recovery, OlderFormsOfThisLanguage) {
  expectHelp("y = linear(x) -> [d] as q_proj\n", "L0104", "`linear@q_proj(x)`, not `linear(x) as q_proj`");
  expectHelp("y = norm: rms_norm(x, eps)\n", "L0104", "behind the operator");
  expectHelp("y = x[0:32]\n", "L0105", "`slice(x, 0, 32)`");
  expectHelp("y = x as [a, b]\n", "L0107", "`reshape(x) -> [a, b]`");
  expectHelp("loop t < n, prefill by_call { x = 1 }\n", "L0101", "`order token`");
  expectHelp("loop t < n, kv = single { x = 1 }\n", "L0101", "without `=`");
  expectHelp("train { optimize all by adamw() }\n", "L0101", "optimize all with");
  expectHelp("u ~ uniform() per batch\n", "L0101", "`per run`");
}

TEST(Recovery, StatementsInTheWrongPlace) {
  expectHelp("fn f(x) {\n  config { a = 1 }\n  x\n}\n", "L0106", "at the top of the model");
  expectHelp("backprop all\n", "L0106", "in `train`");
  expectHelp("config { accident a \"b\" }\n", "L0106", "in `options`");
  expectHelp("loop t < 2 { output x = 1 }\n", "L0106", "expected `output`");
}

TEST(Recovery, ValuesThatNothingUses) {
  expectHelp("fn f(x) {\n  x + 1\n  x\n}\n", "L0110", "a function's value is its last line");
  expectHelp("loop t < 2 {\n  t\n}\n", "L0110", "has no effect");
  expectHelp("x\n", "L0110", "`output y = …`");
}

TEST(Recovery, ReservedWordsAreNotNames) { expectHelp("state where = 1\n", "L0101", ""); }

TEST(Recovery, ClausesOnce) {
  expectHelp("loop t < 2, kv single, kv single { x = 1 }\n", "L0108", "the first one");
  expectHelp("config { a = 1 in 0..1 in 0..2 }\n", "L0108", "a second one");
}

} // namespace
