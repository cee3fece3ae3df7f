// The parser's look-ahead, messages and recovery.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

namespace loopc::frontend {

//===----------------------------------------------------------------------===//
// Tokens
//===----------------------------------------------------------------------===//

void Parser::advance() {
  if (is(TokenKind::LeftBrace))
    ++braces;
  else if (is(TokenKind::RightBrace) && braces > 0)
    --braces;
  if (!is(TokenKind::End))
    ++position;
}

bool Parser::accept(TokenKind kind) {
  if (!is(kind))
    return false;
  advance();
  return true;
}

bool Parser::acceptWord(std::string_view word) {
  if (!isWord(word))
    return false;
  advance();
  return true;
}

std::string Parser::found() const {
  const Token &token = tok();
  if (token.kind == TokenKind::End)
    return "the end of the text";
  if (atLineEnd())
    return "the end of the line";
  if (token.kind == TokenKind::String)
    return "a string";
  std::string_view text = spelling(token);
  return "`" + std::string(text.substr(0, 40)) + (text.size() > 40 ? "…`" : "`");
}

/// The place just behind the last token that was read.
SourceRange Parser::previousEnd() const {
  if (position == 0)
    return {0, 0};
  uint32_t end = tokens[position - 1].range.end;
  return {end, end};
}

bool Parser::expect(TokenKind kind, std::string_view what) {
  if (accept(kind))
    return true;
  std::string text(describe(kind));
  if (!what.empty())
    (text += ' ') += what;
  failExpected(text);
  return false;
}

bool Parser::expectClose(TokenKind kind, SourceRange open) {
  if (accept(kind))
    return true;
  if (failed)
    return false;
  bool ended = is(TokenKind::End) || is(TokenKind::RightBrace);
  std::string partner(describe(kind));
  Diagnostic &d = fail(ended || tok().newlineBefore ? ErrorCode::L0102 : ErrorCode::L0101,
                       ended ? previousEnd() : tok().range,
                       "expected " + std::string(kind == TokenKind::RightBrace ? "" : "`,` or ") + partner +
                           ", but got " + found());
  d.also(open, "opened here");
  habitHelp(d);
  return false;
}

Identifier Parser::expectName(std::string_view what) {
  Identifier id;
  id.range = tok().range;
  if (is(TokenKind::Word) && !atLineEnd()) {
    if (isReserved(spelling(tok()))) {
      fail(ErrorCode::L0101, tok().range,
           "expected " + std::string(what) + ", but got `" + std::string(spelling(tok())) + "`")
          .help("this word is reserved; choose another name");
      return id;
    }
    id.text = spelling(tok());
    advance();
    return id;
  }
  failExpected(what);
  return id;
}

//===----------------------------------------------------------------------===//
// Messages
//===----------------------------------------------------------------------===//

Diagnostic &Parser::fail(ErrorCode code, SourceRange range, std::string message) {
  if (failed)
    return ignored = Diagnostic();
  failed = true;
  // The lexer has spoken about this place.
  if (is(TokenKind::Unknown) || (position > 0 && tokens[position - 1].kind == TokenKind::Unknown))
    return ignored = Diagnostic();
  return diagnostics.error(code, range, std::move(message));
}

Diagnostic &Parser::failExpected(std::string_view what) {
  SourceRange range = is(TokenKind::End) || atLineEnd() ? previousEnd() : tok().range;
  Diagnostic &d = fail(ErrorCode::L0101, range, "expected " + std::string(what) + ", but got " + found());
  habitHelp(d);
  return d;
}

/// Adds what the next token, a habit from another language or from an older form of this one, is called here.
void Parser::habitHelp(Diagnostic &d) {
  if (isWord("as")) {
    d.code = ErrorCode::L0104;
    d.help("a label stands behind the operator: `linear@q_proj(x)`, not `linear(x) as q_proj`");
  } else if (is(TokenKind::Colon) && !atLineEnd()) {
    d.code = ErrorCode::L0104;
    d.help("a label stands behind the operator: `rms_norm@norm(x, eps)`, not `norm: rms_norm(x, eps)`");
  } else if (is(TokenKind::Equal) && position > 0) {
    switch (tokens[position - 1].kind) {
    case TokenKind::Plus:
    case TokenKind::Minus:
    case TokenKind::Star:
    case TokenKind::Slash:
      d.code = ErrorCode::L0107;
      d.help("write the sum out: `x = x + y`");
      break;
    default:
      break;
    }
  } else if (is(TokenKind::Star) && position > 0 && tokens[position - 1].kind == TokenKind::Star) {
    d.code = ErrorCode::L0107;
    d.help("a power is written `x ^ 2`");
  } else if (is(TokenKind::Question)) {
    d.code = ErrorCode::L0107;
    d.help("a choice is written `if c then a else b`");
  } else if (is(TokenKind::Arrow)) {
    d.help("`->` gives the axes that a call makes; `zeros([d])` or a type makes a constant of these axes");
  } else if (isWord("from") && !atLineEnd()) {
    d.help("`from \"key\"` belongs to entries of `config` and `options`");
  }
}

void Parser::checkHeight(uint16_t height, SourceRange range) {
  if (height > maxNesting)
    fail(ErrorCode::L0103, {range.begin, range.begin + 1},
         "expected at most " + std::to_string(maxNesting) + " levels of nesting, but got more")
        .help("give parts of it names of their own");
}

bool Parser::tooDeep() {
  if (nesting <= 3 * maxNesting) // one level of the text takes up to three calls
    return false;
  checkHeight(maxNesting + 1, tok().range);
  return true;
}

//===----------------------------------------------------------------------===//
// Recovery
//===----------------------------------------------------------------------===//

/// Whether the next token begins a section in the first column: the text before it is over, whatever is open.
bool Parser::startsSection() const {
  if (!unclosed || !is(TokenKind::Word) || !tok().newlineBefore || source.position(tok().range.begin).column != 1)
    return false;
  for (std::string_view word : {"model", "config", "options", "fn", "share", "train", "checkpoint", "optimizer",
                                "measure", "view", "init"})
    if (spelling(tok()) == word)
      return isName(1) || tok(1).kind == TokenKind::LeftBrace || tok(1).kind == TokenKind::String;
  return false;
}

/// Skips to where the next statement of the block with that many open braces may begin.
void Parser::synchronize(unsigned depth) {
  while (!is(TokenKind::End) && !startsSection()) {
    if (braces <= depth && (tok().newlineBefore || is(TokenKind::Semicolon) || is(TokenKind::RightBrace)))
      break;
    advance();
  }
  mode = {};
}

ast::Spec parse(const SourceText &source, DiagnosticEngine &diagnostics) {
  TokenList list = lex(source, diagnostics);
  ast::Spec spec;
  spec.statements = Parser(source, diagnostics, list.tokens).parseAll();
  spec.comments = std::move(list.comments);
  return spec;
}

} // namespace loopc::frontend
