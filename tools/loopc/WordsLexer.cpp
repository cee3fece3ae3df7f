// Tokens of words files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WordsLexer.h"
#include <cctype>
#include <cstdlib>

namespace loopc::words {

std::string describe(const Token &token) {
  switch (token.kind) {
  case Token::Kind::NewLine:
    return "the end of the line";
  case Token::Kind::End:
    return "the end of the file";
  case Token::Kind::Text:
    return "the text \"" + token.text + "\"";
  default:
    return "`" + token.text + "`";
  }
}

namespace {

class Lexer {
public:
  Lexer(const Table &table, const std::string &text) : table(table), text(text) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    while (true) {
      Token token = next();
      tokens.push_back(token);
      if (token.kind == Token::Kind::End)
        return tokens;
    }
  }

private:
  char at(size_t offset = 0) const { return position + offset < text.size() ? text[position + offset] : '\0'; }
  void advance() {
    if (text[position++] == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
  }

  Token next() {
    while (position < text.size() && (at() == ' ' || at() == '\t' || at() == '\r' || at() == '#')) {
      if (at() == '#')
        while (position < text.size() && at() != '\n')
          advance();
      else
        advance();
    }
    Token token;
    token.place = {line, column};
    if (position >= text.size())
      return token;
    size_t begin = position;
    char c = at();
    if (c == '\n') {
      advance();
      token.kind = Token::Kind::NewLine;
      return token;
    }
    if (c == '"') {
      advance();
      while (position < text.size() && at() != '"' && at() != '\n')
        advance();
      if (at() != '"')
        table.fail(token.place, "a closing quote on the same line", "the end of the line");
      token.kind = Token::Kind::Text;
      token.text = text.substr(begin + 1, position - begin - 1);
      advance();
      return token;
    }
    if (std::isdigit(static_cast<unsigned char>(c))) {
      const char *start = text.c_str() + position;
      char *end = nullptr;
      token.number = std::strtod(start, &end);
      // `0..` is the start of a trace, not the number `0.` and a dot.
      size_t length = size_t(end - start);
      for (size_t i = 0; i + 1 <= length; ++i)
        if (start[i] == '.' && start[i + 1] == '.') {
          length = i;
          token.number = std::strtod(std::string(start, i).c_str(), nullptr);
          break;
        }
      token.kind = Token::Kind::Number;
      token.text = std::string(start, length);
      for (size_t i = 0; i < length; ++i)
        advance();
      return token;
    }
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') {
      while (std::isalnum(static_cast<unsigned char>(at())) || at() == '_')
        advance();
      token.kind = Token::Kind::Name;
      token.text = text.substr(begin, position - begin);
      return token;
    }
    static const char *const puncts[] = {"->", "...", "..", "<=", ">=", "==", "!="};
    token.kind = Token::Kind::Punct;
    for (const char *punct : puncts)
      if (text.compare(position, std::char_traits<char>::length(punct), punct) == 0) {
        token.text = punct;
        for (size_t i = 0; punct[i]; ++i)
          advance();
        return token;
      }
    if (std::string("[](){},.=<>+-*/%:").find(c) == std::string::npos)
      table.fail(token.place, "a rule", "the byte " + std::to_string(unsigned(static_cast<unsigned char>(c))));
    token.text = std::string(1, c);
    advance();
    return token;
  }

  const Table &table;
  const std::string &text;
  size_t position = 0;
  unsigned line = 1, column = 1;
};

} // namespace

std::vector<Token> tokenize(const Table &table, const std::string &text) { return Lexer(table, text).run(); }

} // namespace loopc::words
