// Layout: canonical, idempotent, and without loss of trees or comments.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::frontend::test;

namespace {

std::string laidOut(const std::string &text, unsigned width = 120) {
  Parsed parsed(text);
  EXPECT_FALSE(parsed.engine.hasErrors()) << parsed.messages();
  return parsed.formatted(width);
}

void expectStable(const std::string &text, const std::string &name, unsigned width) {
  Parsed first(text, name);
  ASSERT_FALSE(first.engine.hasErrors()) << first.messages();
  std::string once = first.formatted(width);
  Parsed second(once, name + " (laid out)");
  ASSERT_FALSE(second.engine.hasErrors()) << second.messages() << once;
  EXPECT_EQ(second.listing(), first.listing()) << name;
  EXPECT_TRUE(second.formatted(width) == once) << name << " at width " << width;
  EXPECT_EQ(second.spec.comments.size(), first.spec.comments.size()) << name;
}

TEST(Formatter, CorpusIsStableAtEveryWidth) {
  for (const auto &path : corpus())
    for (unsigned width : {1u, 20u, 60u, 120u, 1000u})
      expectStable(readFile(path), path.filename().string(), width);
}

TEST(Formatter, TheModelsOfTheProjectAreLaidOut) {
  size_t count = 0;
  for (const auto &path : corpus())
    if (path.parent_path().filename() == "models") {
      ++count;
      std::string text = readFile(path);
      EXPECT_TRUE(laidOut(text) == text) << path << " is not as `loopc fmt` writes it";
    }
  EXPECT_GE(count, 1u);
}

TEST(Formatter, SpaceIsCanonical) {
  EXPECT_EQ(laidOut("x=f( a,b )+c[ t=k ]*-d^2\n\n\n\ny   =   1;z=2\n"),
            "x = f(a, b) + c[t = k] * -d ^ 2\n\ny = 1;  z = 2\n");
  EXPECT_EQ(laidOut("loop t<n,kv single{h=f(h)}"), "loop t < n, kv single { h = f(h) }\n");
}

TEST(Formatter, ColumnsOfConfig) {
  EXPECT_EQ(laidOut("config {\n  d = 8 from \"hidden\" # width\n  layers=24 in 1..64 from \"n\"\n  hd = d / 2\n}\n"),
            "config {\n"
            "  d      = 8           from \"hidden\"  # width\n"
            "  layers = 24 in 1..64 from \"n\"\n"
            "  hd     = d / 2\n"
            "}\n");
}

TEST(Formatter, CommentsStay) {
  EXPECT_EQ(laidOut("# head\n\nfn f(x) { # opens\n  # inside\n  x # value\n  # last\n} # closes\n# end\n"),
            "# head\n\nfn f(x) {  # opens\n  # inside\n  x  # value\n  # last\n}  # closes\n# end\n");
  // A comment inside an expression goes above its statement.
  EXPECT_EQ(laidOut("x = f(a, # first\n      b)\n"), "# first\nx = f(a, b)\n");
  EXPECT_EQ(laidOut("if c { a = 1 }\n# why\nelse { a = 2 }\n"), "# why\nif c { a = 1 } else { a = 2 }\n");
}

TEST(Formatter, LongLinesBreakWhereTheLanguageAllows) {
  EXPECT_EQ(laidOut("value = first_operand + second_operand - third_operand\n", 30),
            "value = first_operand\n  + second_operand -\n  third_operand\n");
  EXPECT_EQ(laidOut("value = function(first_argument, second = argument)\n", 30),
            "value = function(\n  first_argument,\n  second = argument\n)\n");
  EXPECT_EQ(laidOut("value = if condition then one_value else other_value\n", 40),
            "value = if condition then one_value\n  else other_value\n");
  EXPECT_EQ(laidOut("a = 1;  b = 2;  c = 3\n", 12), "a = 1\nb = 2\nc = 3\n");
}

TEST(Formatter, EmptyTexts) {
  EXPECT_EQ(laidOut(""), "");
  EXPECT_EQ(laidOut("\n\n  \n"), "");
  EXPECT_EQ(laidOut("# only\n"), "# only\n");
  EXPECT_EQ(laidOut("config {\n}\n"), "config { }\n");
}

} // namespace
