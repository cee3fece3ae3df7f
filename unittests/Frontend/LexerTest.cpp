// Tokens: numbers beside ranges and paths, strings, comments, bytes that are none.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include "loopc/Frontend/Lexer.h"

#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::frontend;

namespace {

std::vector<std::string> words(const std::string &text, unsigned expectedErrors = 0) {
  SourceText source("t", text);
  DiagnosticEngine engine(source);
  TokenList list = lex(source, engine);
  EXPECT_EQ(engine.errorCount(), expectedErrors) << renderText(engine);
  std::vector<std::string> result;
  for (const Token &token : list.tokens)
    if (token.kind != TokenKind::End)
      result.emplace_back(source.slice(token.range));
  return result;
}

using Words = std::vector<std::string>;

TEST(Lexer, NumbersEndBeforeRangesAndPaths) {
  EXPECT_EQ(words("1..16"), (Words{"1", "..", "16"}));
  EXPECT_EQ(words("0..=t"), (Words{"0", "..=", "t"}));
  EXPECT_EQ(words("mlp.0.weight"), (Words{"mlp", ".", "0", ".", "weight"}));
  EXPECT_EQ(words("1e-6 3E+4 1.5 20k 50%"), (Words{"1e-6", "3E+4", "1.5", "20k", "50%"}));
}

TEST(Lexer, LongSignsFirst) {
  EXPECT_EQ(words("a->b=>c==d!=e<=f>=g~h"),
            (Words{"a", "->", "b", "=>", "c", "==", "d", "!=", "e", "<=", "f", ">=", "g", "~", "h"}));
}

TEST(Lexer, CommentsAreKeptAside) {
  SourceText source("t", "x = 1 # one\n  # two  \n");
  DiagnosticEngine engine(source);
  TokenList list = lex(source, engine);
  ASSERT_EQ(list.comments.size(), 2u);
  EXPECT_FALSE(list.comments[0].ownLine);
  EXPECT_TRUE(list.comments[1].ownLine);
  EXPECT_EQ(source.slice(list.comments[1].range), "# two");
  EXPECT_EQ(list.tokens.size(), 4u);
}

TEST(Lexer, ByteOrderMarkAndCarriageReturns) {
  EXPECT_EQ(words("\xEF\xBB\xBFx = 1\r\ny"), (Words{"x", "=", "1", "y"}));
}

TEST(Lexer, BytesThatAreNoTokenAreReportedOncePerRun) {
  EXPECT_EQ(words("x \x01\x02\xFF y", 1), (Words{"x", "\x01\x02\xFF", "y"}));
  EXPECT_EQ(words("a && b", 1), (Words{"a", "&&", "b"}));
}

TEST(Lexer, EscapesRoundTrip) {
  EXPECT_EQ(unescape("\"a\\\"b\\\\c\\nd\\te\""), "a\"b\\c\nd\te");
  EXPECT_EQ(unescape(quote("a\"b\\c\nd\te")), "a\"b\\c\nd\te");
}

TEST(Lexer, StringsEndOnTheirLine) { words("x = \"abc\ny = 2", 1); }

} // namespace
