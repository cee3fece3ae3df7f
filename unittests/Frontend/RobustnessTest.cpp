// Any bytes are accepted: no crash, no endless loop, bounded recursion. Seeds are fixed.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include <gtest/gtest.h>

#include <random>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::frontend::test;

namespace {

/// Everything that a text can be put through.
void exercise(const std::string &text) {
  Parsed parsed(text);
  std::string listing = parsed.listing();
  EXPECT_EQ(listing.find("<error>") != std::string::npos && !parsed.engine.hasErrors(), false);
  renderText(parsed.engine, true);
  renderJson(parsed.engine);
  if (parsed.engine.hasErrors())
    return;
  std::string once = parsed.formatted();
  Parsed again(once);
  ASSERT_FALSE(again.engine.hasErrors()) << again.messages() << "\nfrom\n" << text << "\nlaid out\n" << once;
  ASSERT_EQ(again.listing(), listing) << text;
  ASSERT_EQ(again.formatted(), once) << text;
  ASSERT_EQ(again.spec.comments.size(), parsed.spec.comments.size()) << text;
}

TEST(Robustness, RandomBytes) {
  std::mt19937 random(20251122);
  for (int i = 0; i < 2000; ++i) {
    std::string text(random() % 200, ' ');
    for (char &c : text)
      c = static_cast<char>(random());
    exercise(text);
  }
}

TEST(Robustness, RandomTokens) {
  std::mt19937 random(7);
  static const char *words[] = {"(",    ")",     "[",     "]",      "{",     "}",    ",",     ";",    "\n",  "=",
                                "->",   "=>",    "..",    "..=",    "~",     "@",    ".",     "*",    "-",    "+",
                                "^",    "<",     "==",    ":",      "x",     "y",    "1",     "2.5",  "\"s\"", "if",
                                "then", "else",  "match", "over",   "where", "when", "in",    "as",   "f32",  "not",
                                "and",  "loop",  "stack", "state",  "train", "fn",   "share", "exit", "per",  "token",
                                "kv",   "loss",  "init",  "weight", "view",  "#c\n", "config", "from", "|",   "?"};
  for (int i = 0; i < 6000; ++i) {
    std::string text;
    for (unsigned n = random() % 40; n > 0; --n) {
      text += words[random() % std::size(words)];
      if (random() % 4)
        text += ' ';
    }
    exercise(text);
  }
}

TEST(Robustness, MutatedCorpus) {
  std::mt19937 random(42);
  std::vector<std::string> texts;
  for (const auto &path : corpus())
    texts.push_back(readFile(path));
  ASSERT_FALSE(texts.empty());
  for (int i = 0; i < 1500; ++i) {
    std::string text = texts[random() % texts.size()];
    for (unsigned n = 1 + random() % 4; n > 0 && !text.empty(); --n) {
      size_t at = random() % text.size();
      size_t length = std::min<size_t>(1 + random() % 30, text.size() - at);
      switch (random() % 5) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, text.substr(random() % text.size(), length));
        break;
      case 2:
        text[at] = static_cast<char>(random());
        break;
      case 3:
        text[at] = "(){}[],;\n=.@#\"-*"[random() % 16];
        break;
      default:
        text.resize(at);
      }
    }
    exercise(text);
  }
}

std::string repeat(const std::string &piece, size_t count) {
  std::string text;
  text.reserve(piece.size() * count);
  for (size_t i = 0; i < count; ++i)
    text += piece;
  return text;
}

TEST(Robustness, NestingIsBounded) {
  constexpr size_t many = 20000;
  for (const std::string &piece :
       {"(", "[", "f(", "x[", "-", "not ", "a ^ ", "a + ", "if a then ", "sum over d { ", "x = if a { ", "match a { b { ",
        "if a { ", "loop t < n { ", "a.", "a[1]", "f()", "x as f32 ", "list ", "else ", "f@a[", "1..", "if c {} else ",
        "view v { "})
    for (const char *prefix : {"x = ", "", "fn f(a: ", "init { ", "weight w: ", "checkpoint { \"a\" = "}) {
      Parsed parsed(prefix + repeat(piece, many));
      EXPECT_TRUE(parsed.engine.hasErrors()) << prefix << piece;
      parsed.listing();
      renderText(parsed.engine);
    }
  // Chains grow to the left without recursion of the parser; their trees are bounded too.
  for (const char *piece : {" + a", " - a", " * a", " and a", "[1]", ".a", "(a)", " as f32"}) {
    Parsed parsed("x = a" + repeat(piece, many) + "\n");
    EXPECT_EQ(parsed.codes(), std::vector<std::string>{"L0103"}) << piece;
  }
}

TEST(Robustness, OrdinaryNestingIsAccepted) {
  Parsed parsed("x = " + repeat("(", 60) + "a" + repeat(")", 60) + repeat(" + a", 150) + "\n");
  EXPECT_FALSE(parsed.engine.hasErrors()) << parsed.messages();
}

} // namespace
