// Tokens of words files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Words.h"

namespace loopc::words {

struct Token {
  enum class Kind { Name, Number, Text, Punct, NewLine, End };
  Kind kind = Kind::End;
  std::string text;
  double number = 0;
  Place place;
};

/// For messages: `name`, the text "…", the end of the line.
std::string describe(const Token &token);

/// All tokens, the last one an End. Throws Error at bytes that begin no token.
std::vector<Token> tokenize(const Table &table, const std::string &text);

} // namespace loopc::words
