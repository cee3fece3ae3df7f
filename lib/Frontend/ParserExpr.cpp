// Expressions: operators, calls, traces.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

namespace loopc::frontend {

namespace {

struct Infix {
  BinaryOp op;
  int level;
};

/// or 1, and 2, comparisons and `in` 4, + - 5, * / div mod 6. `not` stands between `and` and the comparisons.
constexpr int levelNot = 3, levelCompare = 4, levelSum = 5;

std::optional<Infix> infixOf(const Token &token, std::string_view text) {
  switch (token.kind) {
  case TokenKind::EqualEqual:
    return Infix{BinaryOp::Eq, levelCompare};
  case TokenKind::NotEqual:
    return Infix{BinaryOp::Ne, levelCompare};
  case TokenKind::Less:
    return Infix{BinaryOp::Lt, levelCompare};
  case TokenKind::LessEqual:
    return Infix{BinaryOp::Le, levelCompare};
  case TokenKind::Greater:
    return Infix{BinaryOp::Gt, levelCompare};
  case TokenKind::GreaterEqual:
    return Infix{BinaryOp::Ge, levelCompare};
  case TokenKind::Plus:
    return Infix{BinaryOp::Add, levelSum};
  case TokenKind::Minus:
    return Infix{BinaryOp::Sub, levelSum};
  case TokenKind::Star:
    return Infix{BinaryOp::Mul, 6};
  case TokenKind::Slash:
    return Infix{BinaryOp::Div, 6};
  case TokenKind::Word:
    if (text == "or")
      return Infix{BinaryOp::Or, 1};
    if (text == "and")
      return Infix{BinaryOp::And, 2};
    if (text == "in")
      return Infix{BinaryOp::In, levelCompare};
    if (text == "div")
      return Infix{BinaryOp::FloorDiv, 6};
    if (text == "mod")
      return Infix{BinaryOp::Mod, 6};
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

} // namespace

ExprPtr Parser::errorExpr() { return startAt<ErrorExpr>(tok().range); }

ExprPtr Parser::parseBinary(int minimum) {
  Nesting guard(*this);
  if (tooDeep())
    return errorExpr();

  ExprPtr lhs;
  if (minimum <= levelNot && isWord("not")) {
    auto node = start<UnaryExpr>();
    advance();
    node->op = UnaryOp::Not;
    node->operand = parseBinary(levelNot);
    lhs = done(std::move(node));
  } else {
    lhs = parseUnary();
  }

  bool compared = false;
  while (!failed) {
    const Token &token = tok();
    std::optional<Infix> infix = infixOf(token, spelling(token));
    if (!infix || infix->level < minimum || (infix->op == BinaryOp::In && mode.noIn))
      break;
    // A line may begin with an operator, except with `-` (which may be a sign) and `*` where selectors stand.
    if (atLineEnd() && (token.kind == TokenKind::Minus || (token.kind == TokenKind::Star && mode.starEndsLine)))
      break;
    if (infix->level == levelCompare) {
      if (compared) {
        fail(ErrorCode::L0109, token.range, "expected one comparison, but got a second one")
            .help("write `a < b and b < c`");
        break;
      }
      compared = true;
    }
    auto node = startAt<BinaryExpr>(lhs->range);
    node->op = infix->op;
    node->opRange = token.range;
    node->lhs = std::move(lhs);
    advance();
    node->rhs = infix->op == BinaryOp::In ? parseDomain() : parseBinary(infix->level + 1);
    lhs = done(std::move(node));
  }
  return lhs;
}

/// What stands after `in`: a range, a set `{a, b}`, or a value.
ExprPtr Parser::parseDomain() {
  if (!is(TokenKind::LeftBrace))
    return parseRange();
  auto node = start<SetExpr>();
  SourceRange open = tok().range;
  advance();
  {
    LineMode lines(*this, /*linesMatter=*/false);
    while (!failed && !is(TokenKind::RightBrace)) {
      node->elements.push_back(parseExpr());
      if (!accept(TokenKind::Comma))
        break;
    }
    if (!is(TokenKind::RightBrace))
      expectClose(TokenKind::RightBrace, open);
    else
      advance();
  }
  return done(std::move(node));
}

ExprPtr Parser::parseRange() {
  Nesting guard(*this);
  if (tooDeep())
    return errorExpr();
  SourceRange begin = tok().range;
  ExprPtr low;
  if (!is(TokenKind::Range) && !is(TokenKind::RangeClosed)) {
    low = parseBinary(levelSum);
    begin = low->range;
    if ((!is(TokenKind::Range) && !is(TokenKind::RangeClosed)) || atLineEnd())
      return low;
  }
  return parseRangeFrom(std::move(low), begin);
}

/// At `..` or `..=`, behind the low end (null where it is open).
ExprPtr Parser::parseRangeFrom(ExprPtr low, SourceRange begin) {
  auto node = startAt<RangeExpr>(begin);
  node->low = std::move(low);
  node->closed = is(TokenKind::RangeClosed);
  advance();
  bool open = atStatementEnd() || is(TokenKind::RightBracket) || is(TokenKind::RightParen) || is(TokenKind::Comma) ||
              is(TokenKind::LeftBrace) || is(TokenKind::FatArrow) || isWord("from") || isWord("then") || isWord("where");
  if (!open)
    node->high = parseBinary(levelSum);
  else if (node->closed)
    failExpected("the last value of the closed range");
  return done(std::move(node));
}

ExprPtr Parser::parseUnary() {
  Nesting guard(*this);
  if (tooDeep())
    return errorExpr();
  ExprPtr result;
  if (is(TokenKind::Minus)) {
    auto node = start<UnaryExpr>();
    advance();
    node->operand = parseUnary();
    return done(std::move(node));
  }
  result = parsePower();
  while (!failed && isWord("as") && !atLineEnd()) {
    static constexpr std::string_view dtypes[] = {"f64", "f32", "f16", "bf16", "i64", "i32", "int", "bool"};
    bool isType = false;
    for (std::string_view dtype : dtypes)
      isType |= spelling(tok(1)) == dtype;
    if (!isType) {
      if (tok(1).kind == TokenKind::LeftBracket)
        fail(ErrorCode::L0107, tok().range.to(tok(1).range), "expected a type such as `f32` after `as`, but got `[`")
            .help("other axes of the same values are `reshape(x) -> [a, b]`");
      else
        fail(ErrorCode::L0104, tok().range, "expected a type such as `f32` after `as`, but got `" +
                                                std::string(spelling(tok(1))) + "`")
            .help("a label stands behind the operator: `linear@" + std::string(isName(1) ? spelling(tok(1)) : "name") +
                  "(x)`, not `linear(x) as " + std::string(isName(1) ? spelling(tok(1)) : "name") + "`");
      break;
    }
    auto node = startAt<CastExpr>(result->range);
    node->operand = std::move(result);
    advance();
    node->dtype = {std::string(spelling(tok())), tok().range};
    advance();
    result = done(std::move(node));
  }
  return result;
}

ExprPtr Parser::parsePower() {
  ExprPtr base = parsePostfix();
  if (failed || !is(TokenKind::Caret))
    return base;
  auto node = startAt<BinaryExpr>(base->range);
  node->op = BinaryOp::Pow;
  node->opRange = tok().range;
  node->lhs = std::move(base);
  advance();
  node->rhs = parseUnary(); // to the right: 2 ^ 3 ^ 2 is 2 ^ 9
  return done(std::move(node));
}

ExprPtr Parser::parsePostfix() {
  ExprPtr e = parsePrimary();
  while (!failed && !atLineEnd()) {
    if (is(TokenKind::At)) {
      Label label = parseLabel();
      if (failed)
        break;
      if (!is(TokenKind::LeftParen)) {
        failExpected("`(` and the arguments after the label");
        break;
      }
      e = parseCall(std::move(e), std::move(label));
    } else if (is(TokenKind::LeftParen)) {
      if (e->kind == ExprKind::Number || e->kind == ExprKind::String || e->kind == ExprKind::Bool) {
        fail(ErrorCode::L0101, tok().range, "expected an operator, but got `(`").help("a product needs `*`");
        break;
      }
      e = parseCall(std::move(e), std::nullopt);
    } else if (is(TokenKind::LeftBracket)) {
      e = parseIndex(std::move(e));
    } else if (is(TokenKind::Dot)) {
      e = parseField(std::move(e));
    } else {
      break;
    }
  }
  if (!failed && is(TokenKind::Arrow) && e->kind != ExprKind::Call && e->kind != ExprKind::Reduce && !e->parenthesized)
    failExpected("a call before `->`");
  return e;
}

ExprPtr Parser::parseCall(ExprPtr callee, std::optional<Label> label) {
  Nesting guard(*this);
  auto node = startAt<CallExpr>(callee->range);
  node->callee = std::move(callee);
  node->label = std::move(label);
  SourceRange open = tok().range;
  advance();
  node->args = parseArguments(TokenKind::RightParen, open);
  node->argsRange = open.to(previousEnd());
  if (!failed && is(TokenKind::Arrow))
    node->results = parseResultTypes(mode.severalResults);
  return done(std::move(node));
}

std::vector<Argument> Parser::parseArguments(TokenKind close, SourceRange open) {
  std::vector<Argument> args;
  if (tooDeep())
    return args;
  LineMode lines(*this, /*linesMatter=*/false);
  while (!failed && !is(close)) {
    Argument arg;
    // Any word may name an argument: `over = 300`, `where = c`.
    if (is(TokenKind::Word) && tok(1).kind == TokenKind::Equal) {
      arg.name = {std::string(spelling(tok())), tok().range};
      advance();
      advance();
    }
    bool openRange = is(TokenKind::Range) || is(TokenKind::RangeClosed);
    arg.value = openRange ? parseRange() : parseExpr();
    if (!failed && !openRange && (is(TokenKind::Range) || is(TokenKind::RangeClosed))) {
      SourceRange begin = arg.value->range;
      arg.value = parseRangeFrom(std::move(arg.value), begin);
    }
    if (!failed && is(TokenKind::FatArrow)) {
      auto *in = const_cast<BinaryExpr *>(as<BinaryExpr>(arg.value));
      const NameExpr *variable = in && in->op == BinaryOp::In ? as<NameExpr>(in->lhs) : nullptr;
      if (!variable) {
        failExpected("`name in subset` before `=>`");
        break;
      }
      auto binder = startAt<BinderExpr>(in->range);
      binder->variable = {variable->name, variable->range};
      binder->domain = std::move(in->rhs);
      advance();
      binder->body = parseExpr();
      arg.value = done(std::move(binder));
    } else if (!failed && isWord("over")) {
      auto node = startAt<OverExpr>(arg.value->range);
      advance();
      node->value = std::move(arg.value);
      node->axis = parseAxis();
      arg.value = done(std::move(node));
    }
    args.push_back(std::move(arg));
    if (!accept(TokenKind::Comma))
      break;
  }
  expectClose(close, open);
  return args;
}

ExprPtr Parser::parseIndex(ExprPtr base) {
  Nesting guard(*this);
  auto node = startAt<IndexExpr>(base->range);
  node->base = std::move(base);
  SourceRange open = tok().range;
  advance();
  if (!tooDeep()) {
    LineMode lines(*this, /*linesMatter=*/false);
    while (!failed && !is(TokenKind::RightBracket)) {
      IndexEntry entry;
      if (is(TokenKind::Word) && tok(1).kind == TokenKind::Equal) {
        entry.name = expectName("the index of a loop");
        advance();
      }
      if (is(TokenKind::Colon)) {
        fail(ErrorCode::L0105, open.to(tok().range), "expected an iteration in the brackets, but got `:`")
            .help("brackets read iterations; a part of an axis is `slice(x, 0, 32)`");
        break;
      }
      entry.value = parseRange();
      if (!failed && is(TokenKind::Colon)) {
        fail(ErrorCode::L0105, open.to(tok().range), "expected `]` or `,`, but got `:`")
            .help("brackets read iterations (`h[t = 2]`, `k[0..=t]`); a part of an axis is `slice(x, 0, 32)`");
        break;
      }
      node->entries.push_back(std::move(entry));
      if (!accept(TokenKind::Comma))
        break;
    }
    if (!failed && node->entries.empty())
      failExpected("an iteration in the brackets");
    expectClose(TokenKind::RightBracket, open);
  }
  return done(std::move(node));
}

ExprPtr Parser::parseField(ExprPtr base) {
  auto node = startAt<FieldExpr>(base->range);
  node->base = std::move(base);
  advance();
  if (is(TokenKind::Number)) {
    node->field = {std::string(spelling(tok())), tok().range};
    for (char c : node->field.text)
      if (c < '0' || c > '9') {
        failExpected("a field, by name or number");
        return done(std::move(node));
      }
    advance();
  } else {
    node->field = expectName("the name of a field");
  }
  return done(std::move(node));
}

/// The axis of a reduction: a name (also `sequence`, `batch`, `tokens`, a loop's index), a path, or `*`.
ExprPtr Parser::parseAxis() {
  if (is(TokenKind::Star)) {
    auto node = start<RaggedExpr>();
    advance();
    if (isName() && tokens[position - 1].range.end == tok().range.begin) {
      node->name = spelling(tok());
      advance();
    }
    return done(std::move(node));
  }
  auto node = start<NameExpr>();
  node->name = expectName("the name of an axis or of a loop's index").text;
  ExprPtr e = done(std::move(node));
  while (!failed && is(TokenKind::Dot) && !atLineEnd())
    e = parseField(std::move(e));
  return e;
}

} // namespace loopc::frontend
