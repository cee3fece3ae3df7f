// Types as written: axes, words, results of calls.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

namespace loopc::frontend {

/// `[a, 4 * d, *, b..]`
std::vector<ExprPtr> Parser::parseDimensions() {
  std::vector<ExprPtr> dims;
  SourceRange open = tok().range;
  if (!expect(TokenKind::LeftBracket, "and axes") || tooDeep())
    return dims;
  LineMode lines(*this, /*linesMatter=*/false);
  while (!failed && !is(TokenKind::RightBracket)) {
    if (is(TokenKind::Star)) {
      dims.push_back(parseAxis());
    } else if (isName() && tok(1).kind == TokenKind::Range) {
      auto pack = start<PackExpr>();
      pack->name = spelling(tok());
      advance();
      advance();
      dims.push_back(done(std::move(pack)));
    } else {
      dims.push_back(parseExpr());
    }
    if (!accept(TokenKind::Comma))
      break;
  }
  expectClose(TokenKind::RightBracket, open);
  return dims;
}

TypeSyntax Parser::parseType() {
  Nesting guard(*this);
  TypeSyntax type;
  type.range = tok().range;
  if (tooDeep())
    return type;
  auto dtypeHere = [&] {
    for (std::string_view dtype : {"f64", "f32", "f16", "bf16", "i64", "i32"})
      if (isWord(dtype) && !atLineEnd())
        return true;
    return false;
  };
  if (is(TokenKind::LeftBracket)) {
    type.dims = parseDimensions();
  } else if ((isWord("list") || isWord("carry")) &&
             (isName(1) || tok(1).kind == TokenKind::LeftBracket) && !tok(1).newlineBefore) {
    type.form = isWord("list") ? TypeSyntax::Form::List : TypeSyntax::Form::Carry;
    type.word = {std::string(spelling(tok())), tok().range};
    advance();
    type.elements.push_back(parseType());
    type.range = type.range.to(previousEnd());
    return type;
  } else if (isName()) {
    type.form = TypeSyntax::Form::Word;
    type.word = {std::string(spelling(tok())), tok().range};
    advance();
    if (is(TokenKind::LeftParen) && !atLineEnd()) {
      SourceRange open = tok().range;
      advance();
      LineMode lines(*this, /*linesMatter=*/false);
      while (!failed && !is(TokenKind::RightParen)) {
        type.args.push_back(parseExpr());
        if (!accept(TokenKind::Comma))
          break;
      }
      expectClose(TokenKind::RightParen, open);
    }
  } else {
    failExpected("a type: axes such as `[heads, hd]`, or a word such as `flag`, `int`, `id(vocab)`");
  }
  if (!failed && accept(TokenKind::Question))
    type.optional = true;
  if (!failed && type.form == TypeSyntax::Form::Shape && dtypeHere()) {
    type.dtype = {std::string(spelling(tok())), tok().range};
    advance();
  }
  type.scope = parseScope();
  type.range = type.range.to(previousEnd());
  return type;
}

/// Behind a call or the parameters of a function: `-> [a]`, and with `several` also `-> [a], [b]` or `-> ([a], [b])`.
std::vector<TypeSyntax> Parser::parseResultTypes(bool several) {
  std::vector<TypeSyntax> types;
  advance();
  auto one = [&] {
    // The scope and the type of the numbers follow from the operands, so that only axes stand here.
    TypeSyntax type;
    type.range = tok().range;
    if (!is(TokenKind::LeftBracket)) {
      failExpected("axes in brackets after `->`");
      return;
    }
    type.dims = parseDimensions();
    type.range = type.range.to(previousEnd());
    types.push_back(std::move(type));
  };
  if (several && is(TokenKind::LeftParen)) {
    SourceRange open = tok().range;
    advance();
    LineMode lines(*this, /*linesMatter=*/false);
    do
      one();
    while (!failed && accept(TokenKind::Comma));
    expectClose(TokenKind::RightParen, open);
    return types;
  }
  one();
  while (!failed && several && is(TokenKind::Comma) && tok(1).kind == TokenKind::LeftBracket) {
    advance();
    one();
  }
  return types;
}

} // namespace loopc::frontend
