// Tokens: words, numbers, strings, signs; comments are set aside.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Frontend/Lexer.h"

#include <algorithm>

namespace loopc::frontend {

namespace {

bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\r'; }

struct Sign {
  std::string_view spelling;
  TokenKind kind;
};

constexpr Sign signs[] = {
#define LOOPC_SIGN(name, spelling) {spelling, TokenKind::name},
#include "loopc/Frontend/Tokens.def"
};

/// What people write in other languages, and what it is here.
struct Habit {
  std::string_view bytes;
  std::string_view help;
};

constexpr Habit habits[] = {
    {"&&", "write `and`"},
    {"||", "write `or`"},
    {"&", "write `and`"},
    {"!", "write `not`"},
    {"%", "write `mod` for the remainder; `%` belongs to a number, as in `50%`"},
    {"'", "strings stand in double quotes"},
    {"`", "names need no quotes"},
    {"\xE2\x80\x9C", "strings stand in straight double quotes"}, // left curved quote
    {"\xE2\x80\x9D", "strings stand in straight double quotes"}, // right curved quote
    {"\xC3\x97", "write `*`"},                                  // multiplication sign
    {"\xC2\xB7", "write `*`"},                                  // middle dot
    {"\xE2\x88\x92", "write `-`"},                              // minus sign
    {"\xE2\x86\x92", "write `->`"},                             // arrow
    {"\xE2\x89\xA4", "write `<=`"},                             // less or equal
    {"\xE2\x89\xA5", "write `>=`"},                             // greater or equal
    {"\xE2\x89\xA0", "write `!=`"},                             // not equal
};

class Lexer {
public:
  Lexer(const SourceText &source, DiagnosticEngine &diagnostics)
      : text(source.text()), size(source.size()), diagnostics(diagnostics) {}

  TokenList run() {
    if (text.substr(0, 3) == "\xEF\xBB\xBF") // byte order mark
      at = 3;
    while (at < size)
      next();
    push(TokenKind::End, size);
    return std::move(result);
  }

private:
  char peek(uint32_t ahead = 0) const { return at + ahead < size ? text[at + ahead] : '\0'; }
  bool startsWith(std::string_view prefix) const { return text.substr(at, prefix.size()) == prefix; }

  void push(TokenKind kind, uint32_t begin) {
    result.tokens.push_back({kind, newline, {begin, at}});
    newline = false;
    lineHasToken = true;
  }

  void next() {
    char c = peek();
    if (c == '\n') {
      newline = true;
      lineHasToken = false;
      ++at;
    } else if (isSpace(c)) {
      ++at;
    } else if (c == '#') {
      comment();
    } else if (isLetter(c)) {
      uint32_t begin = at;
      while (at < size && (isLetter(peek()) || isDigit(peek())))
        ++at;
      push(TokenKind::Word, begin);
    } else if (isDigit(c)) {
      number();
    } else if (c == '"') {
      string();
    } else if (startsWith("//")) {
      uint32_t begin = at;
      skipLine();
      diagnostics.error(ErrorCode::L0107, {begin, begin + 2}, "expected a statement, but got `//`")
          .help("a comment starts with `#`");
    } else {
      sign();
    }
  }

  void skipLine() {
    while (at < size && peek() != '\n')
      ++at;
  }

  void comment() {
    uint32_t begin = at;
    skipLine();
    uint32_t end = at;
    while (end > begin && isSpace(text[end - 1]))
      --end;
    result.comments.push_back({{begin, end}, !lineHasToken});
  }

  void number() {
    uint32_t begin = at;
    auto digits = [&] {
      while (isDigit(peek()))
        ++at;
    };
    digits();
    if (peek() == '.' && isDigit(peek(1))) { // `1..16` is a range and `mlp.0.weight` a path
      ++at;
      digits();
    }
    if ((peek() == 'e' || peek() == 'E') &&
        (isDigit(peek(1)) || ((peek(1) == '-' || peek(1) == '+') && isDigit(peek(2))))) {
      at += 2;
      digits();
    }
    if (peek() == 'k' || peek() == '%')
      ++at;
    if (isLetter(peek()) || isDigit(peek())) {
      while (isLetter(peek()) || isDigit(peek()))
        ++at;
      diagnostics
          .error(ErrorCode::L0003, {begin, at},
                 "expected a number, but got `" + std::string(text.substr(begin, at - begin)) + "`")
          .help("numbers are written `12`, `0.5`, `1e-6`, `20k` (20000) or `50%` (0.5); a product needs `*`");
    }
    push(TokenKind::Number, begin);
  }

  void string() {
    uint32_t begin = at++;
    while (true) {
      if (at >= size || peek() == '\n') {
        diagnostics.error(ErrorCode::L0002, {begin, at}, "expected `\"` before the end of the line, but got none")
            .label("the string starts here")
            .help("a string ends on its own line; a double quote inside is written `\\\"`");
        break;
      }
      char c = peek();
      if (c == '"') {
        ++at;
        break;
      }
      if (c == '\\' && at + 1 < size && peek(1) != '\n') {
        char escaped = peek(1);
        if (escaped != '"' && escaped != '\\' && escaped != 'n' && escaped != 't')
          diagnostics
              .error(ErrorCode::L0004, {at, at + 2},
                     "expected one of the escapes `\\\"`, `\\\\`, `\\n`, `\\t`, but got `" +
                         std::string(text.substr(at, 2)) + "`")
              .help("a backslash itself is written `\\\\`");
        at += 2;
        continue;
      }
      ++at;
    }
    push(TokenKind::String, begin);
  }

  void sign() {
    for (const Sign &s : signs)
      if (startsWith(s.spelling) && !startsWith("||")) {
        uint32_t begin = at;
        at += static_cast<uint32_t>(s.spelling.size());
        push(s.kind, begin);
        return;
      }
    unknown();
  }

  bool startsToken(char c) const {
    if (isLetter(c) || isDigit(c) || isSpace(c) || c == '\n' || c == '#' || c == '"')
      return true;
    for (const Sign &s : signs)
      if (c == s.spelling[0] && c != '!')
        return true;
    return false;
  }

  void unknown() {
    uint32_t begin = at;
    std::string_view help;
    for (const Habit &h : habits)
      if (startsWith(h.bytes)) {
        help = h.help;
        at += static_cast<uint32_t>(h.bytes.size());
        if (h.bytes == "'") // the whole of `'word'`
          if (size_t close = text.find_first_of("'\n", at); close != std::string_view::npos && text[close] == '\'')
            at = static_cast<uint32_t>(close) + 1;
        break;
      }
    if (help.empty())
      do
        ++at;
      while (at < size && !startsToken(peek()));
    Diagnostic &d = diagnostics.error(ErrorCode::L0001, {begin, at},
                                      "expected a word, number, string or sign, but got `" +
                                          std::string(text.substr(begin, std::min<uint32_t>(at - begin, 32))) + "`");
    if (!help.empty())
      d.help(std::string(help));
    push(TokenKind::Unknown, begin);
  }

  std::string_view text;
  uint32_t size;
  DiagnosticEngine &diagnostics;
  uint32_t at = 0;
  bool newline = false;
  bool lineHasToken = false;
  TokenList result;
};

} // namespace

TokenList lex(const SourceText &source, DiagnosticEngine &diagnostics) { return Lexer(source, diagnostics).run(); }

std::string_view describe(TokenKind kind) {
  switch (kind) {
  case TokenKind::End:
    return "the end of the text";
  case TokenKind::Word:
    return "a word";
  case TokenKind::Number:
    return "a number";
  case TokenKind::String:
    return "a string";
  case TokenKind::Unknown:
    return "something else";
#define LOOPC_SIGN(name, spelling)                                                                                     \
  case TokenKind::name:                                                                                                \
    return "`" spelling "`";
#include "loopc/Frontend/Tokens.def"
  }
  return "a token";
}

bool isReserved(std::string_view word) {
  static constexpr std::string_view words[] = {
#define LOOPC_RESERVED(spelling) spelling,
#include "loopc/Frontend/Tokens.def"
  };
  for (std::string_view w : words)
    if (w == word)
      return true;
  return false;
}

std::string unescape(std::string_view token) {
  std::string out;
  if (!token.empty() && token.front() == '"')
    token.remove_prefix(1);
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '"')
      break;
    if (token[i] != '\\' || i + 1 == token.size()) {
      out += token[i];
      continue;
    }
    char c = token[++i];
    out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return out;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else
      out += c;
  }
  return out + '"';
}

} // namespace loopc::frontend
