// The lexer of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChatTemplateLexer.h"
#include "Utf8.h"

namespace loopc::rt {

namespace {

bool isBlank(char c) { return c == ' ' || c == '\t'; }
bool isSpace(char c) { return isBlank(c) || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

class Lexer {
public:
  Lexer(std::string_view source, const std::string &name) : source(source), name(name) {
    if (source.ends_with("\n"))
      this->source.remove_suffix(source.ends_with("\r\n") ? 2 : 1);
  }

  std::vector<TemplateToken> run() {
    while (at < source.size()) {
      size_t open = nextDelimiter();
      std::string_view text = source.substr(at, open - at);
      bool stripBefore = open + 2 < source.size() && source[open + 2] == '-';
      bool keepBefore = open + 2 < source.size() && source[open + 2] == '+';
      char kind = open < source.size() ? source[open + 1] : 0;
      emitText(text, stripBefore, kind && kind != '{' && !keepBefore);
      if (open >= source.size())
        break;
      moveTo(open);
      if (kind == '#')
        comment();
      else
        code(kind == '{');
    }
    push(TemplateToken::End, "");
    return std::move(tokens);
  }

private:
  [[noreturn]] void fail(const std::string &expected, const std::string &found) {
    throw Error(name, "line " + std::to_string(line) + ", column " + std::to_string(column), expected, found);
  }
  void moveTo(size_t target) {
    for (; at < target; ++at) {
      if (source[at] == '\n') {
        ++line;
        column = 1;
      } else {
        column += (static_cast<unsigned char>(source[at]) & 0xC0) != 0x80; // characters, not bytes
      }
    }
  }
  void push(TemplateToken::Kind kind, std::string text) { tokens.push_back({kind, std::move(text), line, column}); }

  size_t nextDelimiter() const {
    for (size_t i = at; i + 1 < source.size(); ++i)
      if (source[i] == '{' && (source[i + 1] == '{' || source[i + 1] == '%' || source[i + 1] == '#'))
        return i;
    return source.size();
  }

  /// `strip` drops all white space at the end, `lineStart` the blanks of a line that holds nothing else.
  void emitText(std::string_view text, bool strip, bool lineStart) {
    bool atLineStart = at == 0 || source[at - 1] == '\n';
    if (dropNewline && text.starts_with("\r\n"))
      text.remove_prefix(2), atLineStart = true;
    else if (dropNewline && text.starts_with("\n"))
      text.remove_prefix(1), atLineStart = true;
    if (stripNext)
      while (!text.empty() && isSpace(text.front())) {
        atLineStart = text.front() == '\n';
        text.remove_prefix(1);
      }
    dropNewline = stripNext = false;
    if (strip) {
      while (!text.empty() && isSpace(text.back()))
        text.remove_suffix(1);
    } else if (lineStart) {
      size_t end = text.size();
      while (end && isBlank(text[end - 1]))
        --end;
      if (end ? text[end - 1] == '\n' : atLineStart)
        text = text.substr(0, end);
    }
    if (!text.empty())
      push(TemplateToken::Text, std::string(text));
  }

  void comment() {
    size_t end = source.find("#}", at + 2);
    if (end == std::string_view::npos)
      fail("'#}' after '{#'", "the end of the template");
    stripNext = end > at + 2 && source[end - 1] == '-';
    dropNewline = true;
    moveTo(end + 2);
  }

  void code(bool print) {
    push(print ? TemplateToken::PrintBegin : TemplateToken::BlockBegin, "");
    uint32_t openLine = line, openColumn = column;
    moveTo(at + 2);
    if (at < source.size() && (source[at] == '-' || source[at] == '+'))
      moveTo(at + 1);
    std::string_view close = print ? "}}" : "%}";
    std::string brackets; // a '}' inside a dictionary does not close the tag
    while (true) {
      while (at < source.size() && isSpace(source[at]))
        moveTo(at + 1);
      if (at >= source.size()) {
        line = openLine, column = openColumn;
        fail("'" + std::string(close) + "' after '" + (print ? "{{" : "{%") + "'", "the end of the template");
      }
      std::string_view rest = source.substr(at);
      bool sign = (rest[0] == '-' || (rest[0] == '+' && !print)) && rest.substr(1).starts_with(close);
      if (brackets.empty() && (sign || rest.starts_with(close))) {
        push(print ? TemplateToken::PrintEnd : TemplateToken::BlockEnd, "");
        stripNext = sign && rest[0] == '-';
        dropNewline = !print && !(sign && rest[0] == '+');
        moveTo(at + close.size() + sign);
        return;
      }
      token(rest, brackets);
    }
  }

  void token(std::string_view rest, std::string &brackets) {
    char c = rest[0];
    if (isNameStart(c)) {
      size_t length = 1;
      while (length < rest.size() && (isNameStart(rest[length]) || isDigit(rest[length])))
        ++length;
      push(TemplateToken::Name, std::string(rest.substr(0, length)));
      return moveTo(at + length);
    }
    if (isDigit(c)) {
      size_t length = 1;
      bool real = false;
      while (length < rest.size() && isDigit(rest[length]))
        ++length;
      if (length + 1 < rest.size() && rest[length] == '.' && isDigit(rest[length + 1])) {
        real = true;
        ++length;
        while (length < rest.size() && isDigit(rest[length]))
          ++length;
      }
      push(real ? TemplateToken::Float : TemplateToken::Int, std::string(rest.substr(0, length)));
      return moveTo(at + length);
    }
    if (c == '\'' || c == '"')
      return string(c);
    for (const char *op : {"==", "!=", "<=", ">=", "//", "**"})
      if (rest.starts_with(op)) {
        push(TemplateToken::Operator, op);
        return moveTo(at + 2);
      }
    static constexpr std::string_view single = "+-*/%~|.,:()[]{}<>=";
    if (single.find(c) == std::string_view::npos)
      fail("a token of the template language", rt::quoted(rest.substr(0, 1)));
    if (c == '(' || c == '[' || c == '{')
      brackets += c;
    if (c == ')' || c == ']' || c == '}') {
      char open = c == ')' ? '(' : c == ']' ? '[' : '{';
      if (brackets.empty() || brackets.back() != open)
        fail("brackets in pairs", rt::quoted(rest.substr(0, 1)));
      brackets.pop_back();
    }
    push(TemplateToken::Operator, std::string(1, c));
    moveTo(at + 1);
  }

  /// Escapes of Python strings that templates use; others keep their backslash, as in Python.
  void string(char quote) {
    TemplateToken token{TemplateToken::String, "", line, column};
    size_t i = at + 1;
    while (i < source.size() && source[i] != quote) {
      if (source[i] != '\\' || i + 1 >= source.size()) {
        token.text += source[i++];
        continue;
      }
      char c = source[i + 1];
      i += 2;
      switch (c) {
      case 'n':
        token.text += '\n';
        break;
      case 't':
        token.text += '\t';
        break;
      case 'r':
        token.text += '\r';
        break;
      case '\\':
      case '\'':
      case '"':
        token.text += c;
        break;
      case '\n':
        break;
      case 'x':
      case 'u': {
        size_t digits = c == 'x' ? 2 : 4;
        uint32_t code = 0;
        for (size_t k = 0; k < digits; ++k, ++i) {
          char d = i < source.size() ? source[i] : '\0';
          int value = isDigit(d) ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : d >= 'A' && d <= 'F' ? d - 'A' + 10 : -1;
          if (value < 0)
            fail(std::to_string(digits) + " hexadecimal digits after \\" + c, rt::quoted(source.substr(i, 1)));
          code = code * 16 + uint32_t(value);
        }
        if (code >= 0xD800 && code < 0xE000)
          fail("a Unicode character", "a surrogate");
        appendUtf8(token.text, code);
        break;
      }
      default:
        token.text += '\\';
        token.text += c;
      }
    }
    if (i >= source.size())
      fail("the end of the string", "the end of the template");
    tokens.push_back(std::move(token));
    moveTo(i + 1);
  }

  std::string_view source;
  const std::string &name;
  size_t at = 0;
  uint32_t line = 1, column = 1;
  bool stripNext = false, dropNewline = false;
  std::vector<TemplateToken> tokens;
};

} // namespace

std::vector<TemplateToken> lexTemplate(std::string_view source, const std::string &name) {
  return Lexer(source, name).run();
}

} // namespace loopc::rt
