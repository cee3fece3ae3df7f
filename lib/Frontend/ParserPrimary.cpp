// Expressions without operators: names, numbers, lists, `if`, `match`, reductions, labels.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

#include <charconv>
#include <cmath>

namespace loopc::frontend {

ExprPtr Parser::parsePrimary() {
  Nesting guard(*this);
  if (tooDeep())
    return errorExpr();
  switch (tok().kind) {
  case TokenKind::Number:
    return parseNumber();
  case TokenKind::String: {
    auto node = start<StringExpr>();
    node->value = unescape(spelling(tok()));
    advance();
    return done(std::move(node));
  }
  case TokenKind::LeftParen:
    return parseParenthesized();
  case TokenKind::LeftBracket:
    return parseList();
  case TokenKind::Word:
    if (isWord("true") || isWord("false")) {
      auto node = start<BoolExpr>();
      node->value = isWord("true");
      advance();
      return done(std::move(node));
    }
    if (isWord("if"))
      return parseIfExpr();
    if (isWord("match"))
      return parseMatchExpr();
    if (!isReserved(spelling(tok())))
      return parseNameOrReduce();
    break;
  case TokenKind::LeftBrace:
    if (!failed)
      failExpected("a value").help("a list is written `[a, b]`; a set `{a, b}` stands only behind `in`");
    return errorExpr();
  default:
    break;
  }
  failExpected("a value");
  return errorExpr();
}

ExprPtr Parser::parseNumber() {
  auto node = start<NumberExpr>();
  std::string text(spelling(tok()));
  node->spelling = text;
  double scale = 1;
  if (text.back() == 'k' || text.back() == '%') {
    node->percent = text.back() == '%';
    scale = node->percent ? 0.01 : 1000;
    text.pop_back();
  }
  bool plain = text.find_first_not_of("0123456789") == std::string::npos;
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) {
    // Too small is zero; too large has no value.
    value = text.find("e-") != std::string::npos || text.find("E-") != std::string::npos ? 0 : HUGE_VAL;
  }
  node->value = node->percent ? value / 100 : value * scale;
  if (plain && !node->percent) {
    int64_t integer = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), integer);
    int64_t factor = static_cast<int64_t>(scale);
    if (parsed.ec == std::errc() && integer <= INT64_MAX / factor)
      node->integer = integer * factor;
    else if (!failed)
      diagnostics.error(ErrorCode::L0003, tok().range, "expected an integer below 2^63, but got `" + node->spelling + "`")
          .help("a number of this size is written with an exponent: `1e20`");
  }
  if (!std::isfinite(node->value))
    diagnostics
        .error(ErrorCode::L0003, tok().range, "expected a finite number, but got `" + node->spelling + "`")
        .help("the largest number is about 1.8e308");
  advance();
  return done(std::move(node));
}

ExprPtr Parser::parseParenthesized() {
  SourceRange open = tok().range;
  advance();
  bool named = is(TokenKind::Word) && tok(1).kind == TokenKind::Equal;
  std::vector<Argument> elements = parseArguments(TokenKind::RightParen, open);
  bool trailingComma = position >= 2 && tokens[position - 2].kind == TokenKind::Comma;
  if (elements.size() == 1 && !named && !trailingComma) {
    ExprPtr inner = std::move(elements.front().value);
    if (inner->kind != ExprKind::Error) {
      inner->parenthesized = true;
      inner->range = open.to(previousEnd());
    }
    return inner;
  }
  auto node = startAt<TupleExpr>(open);
  node->elements = std::move(elements);
  if (!failed && node->elements.empty())
    fail(ErrorCode::L0101, open.to(previousEnd()), "expected a value in the parentheses, but got none");
  return done(std::move(node));
}

ExprPtr Parser::parseList() {
  auto node = start<ListExpr>();
  SourceRange open = tok().range;
  advance();
  LineMode lines(*this, /*linesMatter=*/false);
  while (!failed && !is(TokenKind::RightBracket)) {
    node->elements.push_back(parseExpr());
    if (!accept(TokenKind::Comma))
      break;
  }
  expectClose(TokenKind::RightBracket, open);
  return done(std::move(node));
}

/// The arm of an `if` in braces, as a value.
ExprPtr Parser::parseBracedValue() {
  auto node = start<BlockExpr>();
  node->block = parseBlock(SectionFunction);
  if (!failed && (node->block.statements.empty() || node->block.statements.back()->kind != StmtKind::Result))
    if (node->block.statements.empty() || (node->block.statements.back()->kind != StmtKind::If &&
                                           node->block.statements.back()->kind != StmtKind::Match &&
                                           node->block.statements.back()->kind != StmtKind::Error))
      fail(ErrorCode::L0101, {node->block.range.end, node->block.range.end},
           "expected a value as the last line of this arm, but got none");
  return done(std::move(node));
}

ExprPtr Parser::parseIfExpr() {
  auto node = start<IfExpr>();
  advance();
  {
    bool saved = mode.noIn;
    mode.noIn = false;
    node->condition = parseExpr();
    mode.noIn = saved;
  }
  return parseIfArms(std::move(node));
}

/// Behind the condition: `then a else b` or `{ a } else { b }`.
ExprPtr Parser::parseIfArms(std::unique_ptr<IfExpr> node) {
  if (!failed && is(TokenKind::LeftBrace)) {
    node->thenValue = parseBracedValue();
  } else {
    if (!failed && !acceptWord("then"))
      failExpected("`then`");
    node->thenValue = failed ? errorExpr() : parseExpr();
  }
  if (!failed && !acceptWord("else"))
    failExpected("`else`").help("a value needs both arms: `if c then a else b`");
  if (failed)
    node->elseValue = errorExpr();
  else if (is(TokenKind::LeftBrace))
    node->elseValue = parseBracedValue();
  else
    node->elseValue = parseExpr();
  return done(std::move(node));
}

ExprPtr Parser::parseMatchExpr() {
  auto node = start<MatchExpr>();
  advance();
  {
    bool saved = mode.noIn;
    mode.noIn = false;
    node->subject = parseExpr();
    mode.noIn = saved;
  }
  node->braces = tok().range;
  node->arms = parseMatchArms(SectionFunction);
  node->braces = node->braces.to(previousEnd());
  return done(std::move(node));
}

std::vector<MatchArm> Parser::parseMatchArms(unsigned section) {
  std::vector<MatchArm> arms;
  SourceRange open = tok().range;
  if (!expect(TokenKind::LeftBrace, "and the arms of `match`"))
    return arms;
  LineMode lines(*this, /*linesMatter=*/true);
  while (!failed && !is(TokenKind::RightBrace)) {
    if (accept(TokenKind::Semicolon))
      continue;
    if (is(TokenKind::End))
      break;
    MatchArm arm;
    arm.range = tok().range;
    if (!acceptWord("else"))
      do {
        bool negative = is(TokenKind::Minus);
        if (!negative && !isName() && !isWord("true") && !isWord("false") && !is(TokenKind::Number) &&
            !is(TokenKind::String)) {
          failExpected("a word, a number or a string as the pattern of an arm");
          break;
        }
        arm.patterns.push_back(negative ? parseUnary() : parsePrimary());
      } while (!failed && accept(TokenKind::Comma));
    if (failed)
      break;
    if (is(TokenKind::FatArrow)) {
      failExpected("`{` after the pattern").help("an arm is written `word { value }`");
      break;
    }
    arm.body = parseBlock(section);
    arm.range = arm.range.to(previousEnd());
    arms.push_back(std::move(arm));
  }
  if (!failed && arms.empty())
    failExpected("an arm of `match`");
  expectClose(TokenKind::RightBrace, open);
  return arms;
}

ExprPtr Parser::parseNameOrReduce() {
  auto node = start<NameExpr>();
  node->name = spelling(tok());
  advance();
  ExprPtr name = done(std::move(node));
  if (isWord("over") && !atLineEnd())
    return parseReduceOrOver(std::move(name));
  return name;
}

/// `sum over a, b where c { e }`, or `p over t` as an argument.
ExprPtr Parser::parseReduceOrOver(ExprPtr name) {
  advance();
  std::vector<ExprPtr> axes;
  axes.push_back(parseAxis());
  size_t afterFirst = position;
  while (!failed && is(TokenKind::Comma) && (isName(1) || tok(1).kind == TokenKind::Star)) {
    advance();
    axes.push_back(parseAxis());
  }
  if (failed)
    return name;
  if (!is(TokenKind::LeftBrace) && !isWord("where")) {
    if (mode.brackets == 0) {
      failExpected("`where` or `{` and what the reduction is taken of").help("for example `sum over d { x * y }`");
      return name;
    }
    // An argument: the axis ends at the first comma.
    position = afterFirst;
    auto node = startAt<OverExpr>(name->range);
    node->value = std::move(name);
    node->axis = std::move(axes.front());
    return done(std::move(node));
  }
  auto node = startAt<ReduceExpr>(name->range);
  node->op = {as<NameExpr>(name)->name, name->range};
  node->axes = std::move(axes);
  if (acceptWord("where")) {
    bool saved = mode.noIn;
    mode.noIn = false;
    node->where = parseExpr();
    mode.noIn = saved;
  }
  SourceRange open = tok().range;
  if (failed || !expect(TokenKind::LeftBrace, "and what the reduction is taken of")) {
    node->body = errorExpr();
    return done(std::move(node));
  }
  {
    LineMode lines(*this, /*linesMatter=*/false);
    node->body = parseExpr();
    if (!failed && !is(TokenKind::RightBrace))
      failExpected("an operator or `}`").also(open, "opened here");
    if (!failed)
      advance();
  }
  if (!failed && is(TokenKind::Arrow))
    node->results = parseResultTypes(mode.severalResults);
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Labels
//===----------------------------------------------------------------------===//

/// `@model.layers[i].attn`, `@self`
Label Parser::parseLabel() {
  SourceRange begin = tok().range;
  advance();
  if (is(TokenKind::Minus) || !(is(TokenKind::Word) || is(TokenKind::Number)) || tok().newlineBefore) {
    if (!failed)
      failExpected("a label after `@`").help("a label is a path such as `@q_proj` or `@model.layers[i]`");
    return {};
  }
  Label label;
  if (isWord("self") && tok(1).kind != TokenKind::Dot && tok(1).kind != TokenKind::LeftBracket) {
    label.self = true;
    advance();
  } else {
    label = parsePath();
  }
  label.range = begin.to(previousEnd());
  return label;
}

/// Segments with indices. A number may be a segment (`mlp.0`); the lexer reads `0.1` as one number.
Label Parser::parsePath() {
  Nesting guard(*this);
  Label path;
  path.range = tok().range;
  do {
    if (is(TokenKind::Number)) {
      std::string_view text = spelling(tok());
      if (text.find_first_not_of("0123456789.") != std::string_view::npos) {
        failExpected("a name or a whole number in the path");
        break;
      }
      uint32_t offset = tok().range.begin;
      for (size_t from = 0; from <= text.size();) {
        size_t dot = std::min(text.find('.', from), text.size());
        uint32_t at = offset + static_cast<uint32_t>(from);
        path.segments.push_back({{std::string(text.substr(from, dot - from)),
                                  {at, offset + static_cast<uint32_t>(dot)}}, {}});
        from = dot + 1;
      }
      advance();
    } else if (is(TokenKind::Word) && !tok().newlineBefore) { // also reserved words: a path is no expression
      path.segments.push_back({{std::string(spelling(tok())), tok().range}, {}});
      advance();
    } else {
      failExpected("a name in the path");
      break;
    }
    if (is(TokenKind::LeftBracket) && !atLineEnd() && !tooDeep()) {
      SourceRange open = tok().range;
      advance();
      LineMode lines(*this, /*linesMatter=*/false);
      while (!failed && !is(TokenKind::RightBracket)) {
        path.segments.back().indices.push_back(parseExpr());
        if (!accept(TokenKind::Comma))
          break;
      }
      if (!failed && path.segments.back().indices.empty())
        failExpected("the index over which the weights vary");
      expectClose(TokenKind::RightBracket, open);
    }
  } while (!failed && !atLineEnd() && accept(TokenKind::Dot));
  path.range = path.range.to(previousEnd());
  return path;
}

} // namespace loopc::frontend
