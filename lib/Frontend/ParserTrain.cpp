// Training, initial values and weight files: `train`, `init`, `checkpoint`, `optimizer`, `measure`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

namespace loopc::frontend {

StmtPtr Parser::parseTrain() {
  auto node = start<TrainStmt>();
  advance();
  if (isName())
    node->name = expectName("a name or `{`");
  node->body = parseBlock(SectionTrain);
  return done(std::move(node));
}

StmtPtr Parser::parseMeasure() {
  auto node = start<MeasureStmt>();
  advance();
  if (isName())
    node->name = expectName("a name or `{`");
  node->body = parseBlock(SectionMeasure);
  return done(std::move(node));
}

StmtPtr Parser::parseOptimizer() {
  auto node = start<OptimizerStmt>();
  advance();
  node->name = expectName("the name of the optimizer");
  if (!failed)
    node->params = parseParameters();
  node->body = parseBlock(SectionOptimizer);
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Sets of weights
//===----------------------------------------------------------------------===//

/// A glob: tokens without space between them; space is allowed inside `[ ]` and `{ }`.
Selector Parser::parseSelector() {
  Selector selector;
  selector.range = tok().range;
  std::vector<TokenKind> open;
  bool first = true;
  while (!is(TokenKind::End)) {
    const Token &token = tok();
    if (token.newlineBefore && !first)
      break;
    bool touches = first || token.range.begin == tokens[position - 1].range.end;
    if (open.empty() && !touches)
      break;
    switch (token.kind) {
    case TokenKind::Word:
    case TokenKind::Number:
    case TokenKind::Dot:
    case TokenKind::Star:
    case TokenKind::Minus:
      break;
    case TokenKind::LeftBrace:
      open.push_back(TokenKind::RightBrace);
      break;
    case TokenKind::LeftBracket:
      if (first)
        goto end;
      open.push_back(TokenKind::RightBracket);
      break;
    case TokenKind::RightBrace:
    case TokenKind::RightBracket:
      if (open.empty() || open.back() != token.kind)
        goto end;
      open.pop_back();
      break;
    case TokenKind::Plus:
    case TokenKind::Comma:
      if (open.empty())
        goto end;
      break;
    default:
      goto end;
    }
    advance();
    first = false;
  }
end:
  if (first)
    failExpected("a set of weights such as `all`, `norms` or `layers.*.attn.*`");
  else if (!open.empty())
    failExpected(describe(open.back()));
  selector.range = selector.range.to(previousEnd());
  selector.text = source.slice(selector.range);
  return selector;
}

SelectorSet Parser::parseSelectorSet() {
  SelectorSet set;
  do
    set.include.push_back(parseSelector());
  while (!failed && accept(TokenKind::Comma));
  if (!failed && acceptWord("except"))
    do
      set.except.push_back(parseSelector());
    while (!failed && accept(TokenKind::Comma));
  return set;
}

//===----------------------------------------------------------------------===//
// Statements of `train`
//===----------------------------------------------------------------------===//

StmtPtr Parser::parseBackprop() {
  auto node = start<BackpropStmt>();
  advance();
  if (acceptWord("all")) {
    return done(std::move(node));
  }
  if (acceptWord("last")) {
    node->mode = BackpropStmt::Mode::Last;
    node->value = parseExpr();
  } else if (isWord("implicit")) {
    node->mode = BackpropStmt::Mode::Implicit;
    node->value = parsePostfix();
  } else if (acceptWord("when")) {
    node->mode = BackpropStmt::Mode::When;
    node->value = parseExpr();
    return done(std::move(node));
  } else {
    failExpected("`all`, `last k`, `implicit(…)` or `when c`");
  }
  if (!failed && isWord("of") && !atLineEnd()) {
    advance();
    node->of = parsePostfix();
  }
  return done(std::move(node));
}

StmtPtr Parser::parseLoss() {
  auto node = start<LossStmt>();
  advance();
  accept(TokenKind::Equal);
  node->value = parseExpr();
  return done(std::move(node));
}

StmtPtr Parser::parseOptimize() {
  auto node = start<OptimizeStmt>();
  advance();
  node->weights = parseSelectorSet();
  if (!failed && acceptWord("where"))
    node->where = parseExpr();
  if (!failed && !acceptWord("with")) {
    Diagnostic &d = failExpected("`with` and the optimizer");
    if (isWord("by"))
      d.help("write `optimize all with adamw(lr = 3e-4)`");
  }
  if (!failed)
    node->optimizer = parseExpr();
  return done(std::move(node));
}

StmtPtr Parser::parseFreeze() {
  auto node = start<FreezeStmt>();
  advance();
  node->weights = parseSelectorSet();
  return done(std::move(node));
}

StmtPtr Parser::parseSetting() {
  auto node = start<SettingStmt>();
  node->word = {std::string(spelling(tok())), tok().range};
  advance();
  if (node->word.text == "refill")
    return done(std::move(node));
  node->value = parseExpr();
  if (!failed && node->word.text == "ema" && isWord("of") && !atLineEnd()) {
    advance();
    node->weights = parseSelectorSet();
  }
  return done(std::move(node));
}

StmtPtr Parser::parseUpdate(unsigned section) {
  auto node = start<UpdateStmt>();
  advance();
  if (isWord("each") && isName(1)) {
    advance();
    node->each = expectName("the index of a loop");
    node->body = parseBlock(section);
    if (!failed && isWord("refill") && !atLineEnd()) {
      advance();
      node->refill = true;
    }
    return done(std::move(node));
  }
  node->value = parseExpr();
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Initial values
//===----------------------------------------------------------------------===//

StmtPtr Parser::parseInit() {
  auto node = start<InitStmt>();
  advance();
  if (is(TokenKind::String)) {
    node->name = unescape(spelling(tok()));
    advance();
  }
  node->body = parseBlock(SectionInit);
  return done(std::move(node));
}

StmtPtr Parser::parseInitEntry() {
  auto node = start<InitEntryStmt>();
  do
    node->weights.push_back(parseSelector());
  while (!failed && accept(TokenKind::Comma));
  if (failed || !expect(TokenKind::Equal, "and a distribution, a value or the weights to copy"))
    return done(std::move(node));

  // A path with `*`, `{` or a dot copies weights; everything else is a value.
  bool copies = is(TokenKind::Star) || is(TokenKind::LeftBrace);
  if (isName()) {
    unsigned ahead = 1;
    int depth = 0;
    bool path = false;
    for (;; ++ahead) {
      const Token &token = tok(ahead);
      if (depth == 0 && token.range.begin != tok(ahead - 1).range.end)
        break;
      if (token.kind == TokenKind::End || token.newlineBefore)
        break;
      if (token.kind == TokenKind::LeftBracket || token.kind == TokenKind::LeftBrace)
        ++depth;
      else if (token.kind == TokenKind::RightBracket || (token.kind == TokenKind::RightBrace && depth > 0))
        --depth;
      else if (depth == 0 && token.kind == TokenKind::Dot)
        path = true;
      else if (depth == 0 && token.kind != TokenKind::Word && token.kind != TokenKind::Star &&
               token.kind != TokenKind::Number)
        break;
    }
    copies = path && tok(ahead).kind != TokenKind::LeftParen;
  }
  if (copies) {
    node->copy = parseSelector();
  } else {
    mode.starEndsLine = true;
    node->value = parseExpr();
    mode.starEndsLine = false;
  }
  if (!failed && isWord("when") && !atLineEnd()) {
    advance();
    node->when = parseExpr();
  }
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Weight files
//===----------------------------------------------------------------------===//

StmtPtr Parser::parseCheckpoint() {
  auto node = start<CheckpointStmt>();
  advance();
  if (is(TokenKind::String)) {
    node->name = unescape(spelling(tok()));
    advance();
  } else if (isName()) {
    failExpected("a name in double quotes or `{`");
  }
  node->body = parseBlock(SectionCheckpoint);
  return done(std::move(node));
}

StmtPtr Parser::parseCheckpointEntry() {
  using Form = CheckpointEntryStmt::Form;
  auto node = start<CheckpointEntryStmt>();
  static constexpr std::pair<std::string_view, Form> words[] = {{"ignored", Form::Ignored},
                                                                {"unused", Form::Unused},
                                                                {"recomputed", Form::Recomputed},
                                                                {"prefix", Form::Prefix}};
  for (const auto &[word, form] : words)
    if (node->form == Form::Map && acceptWord(word))
      node->form = form;
  if (node->form == Form::Prefix)
    node->optional = acceptWord("optional");
  node->published = expectString("a published name in double quotes", &node->publishedRange);
  if (!failed && node->form == Form::Map) {
    if (acceptWord("duplicates"))
      node->form = Form::Duplicates;
    else if (!accept(TokenKind::Equal)) {
      Diagnostic &d = failExpected("`=` and the path of a weight, or `duplicates`");
      if (isWord("ignored") || isWord("unused") || isWord("recomputed"))
        d.help("the word stands first: `" + std::string(spelling(tok())) + " \"name\"`");
    }
    if (!failed)
      node->target = parseSelector();
  } else if (!failed && node->form == Form::Unused && accept(TokenKind::Equal)) {
    node->target = parseSelector();
  }
  while (!failed && !atStatementEnd()) {
    if (acceptWord("optional")) {
      node->optional = true;
    } else if (isWord("when") && !node->when) {
      advance();
      node->when = parseExpr();
    } else if (isWord("shape") && !node->shape) {
      advance();
      TypeSyntax type;
      type.range = tok().range;
      type.dims = parseDimensions();
      type.range = type.range.to(previousEnd());
      node->shape = std::move(type);
    } else if (isWord("rows") && !node->rows) {
      advance();
      node->rows = parseUnary();
    } else if (isWord("for") && node->variables.empty()) {
      advance();
      do {
        Identifier name = expectName("a name");
        if (failed)
          break;
        if (!acceptWord("in")) {
          failExpected("`in` and a list");
          break;
        }
        node->variables.emplace_back(std::move(name), parseUnary());
      } while (!failed && accept(TokenKind::Comma));
    } else {
      failExpected("`when`, `for`, `rows`, `shape`, `optional` or the end of the line");
    }
  }
  return done(std::move(node));
}

} // namespace loopc::frontend
