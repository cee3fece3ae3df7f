// Rendering of messages: carets under tabs and UTF-8, several labels, JSON of any bytes.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include <gtest/gtest.h>

#include <set>

using namespace loopc;
using namespace loopc::frontend::test;

namespace {

TEST(Diagnostics, OneMessage) {
  SourceText source("nanbeige.loop", "# a\nstack i < depth { x = x + attention@attn(x) }\n");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {30, 47}, "`attn` is made once")
      .label("one set of weights")
      .also({10, 11}, "over i")
      .note("a note")
      .help("write `attention@attn[i](x)`");
  EXPECT_EQ(renderText(engine), "error[L0101]: `attn` is made once\n"
                                " --> nanbeige.loop:2:27\n"
                                "2 | stack i < depth { x = x + attention@attn(x) }\n"
                                "  |                           ^^^^^^^^^^^^^^^^^ one set of weights\n"
                                "  |       - over i\n"
                                "  = note: a note\n"
                                "  = help: write `attention@attn[i](x)`\n"
                                "\n1 error\n");
}

TEST(Diagnostics, TabsAndLettersOfSeveralBytes) {
  SourceText source("t", "\tx = \"\xC3\xA9\" ?\n");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {10, 11}, "m");
  std::string text = renderText(engine);
  EXPECT_NE(text.find("1 |     x = \"\xC3\xA9\" ?\n  |             ^\n"), std::string::npos) << text;
}

TEST(Diagnostics, NothingSteersTheTerminal) {
  SourceText source("t\033[2J", "x = \033[31m \xFF\n");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0001, {4, 5}, "got \033");
  for (char c : renderText(engine))
    EXPECT_NE(c, '\033');
  EXPECT_NE(renderText(engine, /*colour=*/true).find("\033[1;31m"), std::string::npos);
}

TEST(Diagnostics, PlacesOutsideTheTextAreClamped) {
  SourceText source("t", "ab");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {100, 200}, "m").also({1, 0}, "n");
  EXPECT_NE(renderText(engine).find("t:1:3"), std::string::npos);
  SourceText none("t", "");
  DiagnosticEngine empty(none);
  empty.error(ErrorCode::L0101, {0, 0}, "m");
  EXPECT_NE(renderText(empty).find("t:1:1"), std::string::npos);
}

TEST(Diagnostics, LongLinesAreCut) {
  std::string line(5000, 'a');
  SourceText source("t", line);
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {4000, 4001}, "m");
  EXPECT_LT(renderText(engine).size(), 1000u);
}

TEST(Diagnostics, Json) {
  SourceText source("a\"b", "x\n\xFFy");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {2, 3}, "got \xFF\x01 \"q\"\n").label("here").help("h");
  EXPECT_EQ(renderJson(engine),
            "[\n  {\"severity\": \"error\", \"code\": \"L0101\", \"title\": \"unexpected word or sign\", "
            "\"message\": \"got \xEF\xBF\xBD\\u0001 \\\"q\\\"\\n\", \"file\": \"a\\\"b\", "
            "\"span\": {\"line\": 2, \"column\": 1, \"endLine\": 2, \"endColumn\": 2, \"begin\": 2, "
            "\"end\": 3, \"label\": \"here\"}, \"secondary\": [], \"notes\": [], \"help\": [\"h\"]}\n]\n");
  DiagnosticEngine none(source);
  EXPECT_EQ(renderJson(none), "[]\n");
}

TEST(Diagnostics, SourceOrderAndCount) {
  SourceText source("t", "ab");
  DiagnosticEngine engine(source);
  engine.error(ErrorCode::L0101, {1, 2}, "second");
  engine.error(ErrorCode::L0101, {0, 1}, "first");
  std::string text = renderText(engine);
  EXPECT_LT(text.find("first"), text.find("second"));
  EXPECT_NE(text.find("2 errors"), std::string::npos);
}

TEST(Diagnostics, ManyErrorsAreCountedNotKept) {
  SourceText source("t", "ab");
  DiagnosticEngine engine(source);
  for (int i = 0; i < 1000; ++i)
    engine.error(ErrorCode::L0101, {0, 1}, "m");
  EXPECT_EQ(engine.errorCount(), 1000u);
  EXPECT_EQ(engine.diagnostics().size(), DiagnosticEngine::maxKept);
}

TEST(Diagnostics, CodesAreUniqueAndOrderedByName) {
  std::set<std::string_view> names;
  for (ErrorCode code : allErrorCodes()) {
    EXPECT_TRUE(names.insert(codeName(code)).second) << codeName(code);
    EXPECT_FALSE(codeTitle(code).empty());
  }
}

} // namespace
