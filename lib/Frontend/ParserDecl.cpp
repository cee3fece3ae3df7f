// Declarations: config, functions, weights, states, views, and types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

namespace loopc::frontend {

std::string Parser::expectString(std::string_view what, SourceRange *range) {
  if (range)
    *range = tok().range;
  if (!is(TokenKind::String) || atLineEnd()) {
    failExpected(what);
    return {};
  }
  std::string value = unescape(spelling(tok()));
  advance();
  return value;
}

StmtPtr Parser::parseModel() {
  auto node = start<ModelStmt>();
  advance();
  node->name = expectName("the name of the model");
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Config and options
//===----------------------------------------------------------------------===//

StmtPtr Parser::parseConfig() {
  auto node = start<ConfigStmt>();
  advance();
  node->body = parseBlock(SectionConfig);
  return done(std::move(node));
}

StmtPtr Parser::parseOptions() {
  auto node = start<OptionsStmt>();
  advance();
  node->body = parseBlock(SectionOptions);
  return done(std::move(node));
}

StmtPtr Parser::parseConfigStatement(unsigned section) {
  bool entry = tok(1).kind == TokenKind::Equal || tok(1).kind == TokenKind::Colon;
  if (!entry && isWord("require"))
    return parseRequire();
  if (!entry && isWord("accept"))
    return parseAccept();
  if (!entry && isWord("accident")) {
    checkSection("accident", section, SectionOptions);
    return parseAccident();
  }
  return parseConfigEntry();
}

StmtPtr Parser::parseConfigEntry() {
  auto node = start<ConfigEntryStmt>();
  node->name = expectName("the name of an entry");
  if (!failed && accept(TokenKind::Colon))
    node->type = parseType();
  // `in` and `from` follow the value; in any order, each once.
  if (!failed && accept(TokenKind::Equal)) {
    mode.noIn = true;
    node->value = parseExpr();
    mode.noIn = false;
  }
  while (!failed && !atStatementEnd()) {
    if (isWord("in")) {
      if (node->domain)
        fail(ErrorCode::L0108, tok().range, "expected one range, but got a second one");
      advance();
      node->domain = parseDomain();
    } else if (isWord("from")) {
      if (node->from)
        fail(ErrorCode::L0108, tok().range, "expected one `from`, but got a second one")
            .help("older keys follow after `|`: `from \"key\" | \"older_key\"`");
      node->from = parseFrom();
    } else if (isWord("as")) {
      fail(ErrorCode::L0107, tok().range, "expected the end of the entry, but got `as`")
          .help("published words stand in parentheses: `from \"key\" (ours = \"published\")`");
    } else {
      failExpected("`in`, `from` or the end of the entry");
    }
  }
  if (!failed && !node->value && !node->type && !node->from)
    fail(ErrorCode::L0101, previousEnd(), "expected `=` and a value, a type or `from \"key\"`, but got none");
  return done(std::move(node));
}

std::optional<FromClause> Parser::parseFrom() {
  FromClause from;
  from.range = tok().range;
  advance();
  do {
    SourceRange range;
    from.keys.push_back(expectString("a published key in double quotes", &range));
    from.keyRanges.push_back(range);
  } while (!failed && accept(TokenKind::Bar));
  if (!failed && is(TokenKind::LeftParen) && !atLineEnd()) {
    SourceRange open = tok().range;
    advance();
    LineMode lines(*this, /*linesMatter=*/false);
    while (!failed && !is(TokenKind::RightParen)) {
      ExprPtr ours = parseUnary();
      if (failed || !expect(TokenKind::Equal, "and the published value"))
        break;
      ExprPtr published = parseUnary();
      from.words.emplace_back(std::move(ours), std::move(published));
      if (!accept(TokenKind::Comma))
        break;
    }
    expectClose(TokenKind::RightParen, open);
  }
  from.range = from.range.to(previousEnd());
  return from;
}

StmtPtr Parser::parseRequire() {
  auto node = start<RequireStmt>();
  advance();
  node->condition = parseExpr();
  if (!failed)
    accept(TokenKind::Comma);
  // The reason may stand on the next line.
  node->whyRange = tok().range;
  if (!failed && is(TokenKind::String)) {
    node->why = unescape(spelling(tok()));
    advance();
  } else {
    failExpected("the reason in double quotes");
  }
  return done(std::move(node));
}

StmtPtr Parser::parseAccept() {
  auto node = start<AcceptStmt>();
  advance();
  do {
    AcceptStmt::Entry entry;
    entry.keyRange = tok().range;
    if (!is(TokenKind::String)) { // after a comma it may stand on the next line
      failExpected("a published key in double quotes");
      break;
    }
    entry.key = unescape(spelling(tok()));
    advance();
    if (!acceptWord("any")) {
      if (!expect(TokenKind::Equal, "and the accepted value, or `any`"))
        break;
      entry.value = parseExpr();
    }
    node->entries.push_back(std::move(entry));
  } while (!failed && accept(TokenKind::Comma));
  return done(std::move(node));
}

StmtPtr Parser::parseAccident() {
  auto node = start<AccidentStmt>();
  advance();
  node->name = expectName("the name of the accident");
  if (!failed)
    node->sentence = expectString("a sentence in double quotes that reports print");
  return done(std::move(node));
}

StmtPtr Parser::parseSequence() {
  auto node = start<SequenceStmt>();
  advance();
  node->atMost = acceptWord("at");
  if (!acceptWord(node->atMost ? "most" : "exactly"))
    failExpected(node->atMost ? "`most` and the number of tokens" : "`exactly` or `at most` and the number of tokens");
  if (!failed)
    node->length = parseExpr();
  return done(std::move(node));
}

StmtPtr Parser::parsePhases() {
  auto node = start<PhasesStmt>();
  advance();
  if (!acceptWord("differ"))
    failExpected("`differ` and the reason");
  if (!failed)
    node->reason = expectString("the reason in double quotes");
  return done(std::move(node));
}

StmtPtr Parser::parseInput() {
  auto node = start<InputStmt>();
  advance();
  node->name = expectName("the name of the input");
  if (!failed && expect(TokenKind::Colon, "and the type of the input"))
    node->type = parseType();
  if (!failed && accept(TokenKind::Equal))
    node->value = parseExpr();
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Functions and instances
//===----------------------------------------------------------------------===//

std::vector<Parameter> Parser::parseParameters() {
  std::vector<Parameter> params;
  SourceRange open = tok().range;
  if (!expect(TokenKind::LeftParen, "and the parameters"))
    return params;
  LineMode lines(*this, /*linesMatter=*/false);
  while (!failed && !is(TokenKind::RightParen)) {
    Parameter p;
    p.name = expectName("the name of a parameter");
    if (!failed && accept(TokenKind::Colon))
      p.type = parseType();
    if (!failed && accept(TokenKind::Equal))
      p.value = parseExpr();
    params.push_back(std::move(p));
    if (!accept(TokenKind::Comma))
      break;
  }
  expectClose(TokenKind::RightParen, open);
  return params;
}

/// Behind `fn`; `begin` is the range of `share` or `fn`.
StmtPtr Parser::parseFn(bool shared, SourceRange begin) {
  auto node = startAt<FnStmt>(begin);
  advance();
  node->shared = shared;
  node->name = expectName("the name of the function");
  if (!failed && is(TokenKind::Less)) {
    SourceRange open = tok().range;
    advance();
    LineMode lines(*this, /*linesMatter=*/false);
    do {
      AxisParameter axis;
      axis.name = expectName("the name of an axis parameter");
      axis.pack = !failed && accept(TokenKind::Range);
      node->axes.push_back(std::move(axis));
    } while (!failed && accept(TokenKind::Comma));
    expectClose(TokenKind::Greater, open);
  }
  if (!failed)
    node->params = parseParameters();
  if (!failed && is(TokenKind::Arrow))
    node->results = parseResultTypes(/*several=*/true);
  if (!failed && accept(TokenKind::Equal)) {
    node->expressionBody = true;
    auto result = start<ResultStmt>();
    result->values.push_back(parseExpr());
    node->body.range = result->values.back()->range;
    node->body.statements.push_back(done(std::move(result)));
    return done(std::move(node));
  }
  if (!failed && !is(TokenKind::LeftBrace))
    failExpected("`{` and the body, or `=` and a value");
  node->body = parseBlock(SectionFunction);
  return done(std::move(node));
}

std::vector<ExprPtr> Parser::parseCounts() {
  std::vector<ExprPtr> counts;
  if (failed || !is(TokenKind::LeftBracket) || atLineEnd() || tooDeep())
    return counts;
  SourceRange open = tok().range;
  advance();
  LineMode lines(*this, /*linesMatter=*/false);
  while (!failed && !is(TokenKind::RightBracket)) {
    counts.push_back(parseExpr());
    if (!accept(TokenKind::Comma))
      break;
  }
  if (!failed && counts.empty())
    failExpected("a number of copies");
  expectClose(TokenKind::RightBracket, open);
  return counts;
}

StmtPtr Parser::parseShare() {
  SourceRange begin = tok().range;
  if (isWord("fn", 1) && isName(2)) {
    advance();
    return parseFn(/*shared=*/true, begin);
  }
  auto node = start<ShareStmt>();
  advance();
  node->name = expectName("the name of the instance, or `fn`");
  node->counts = parseCounts();
  if (!failed && expect(TokenKind::Equal, "and the function of which this is an instance"))
    node->target = parseExpr();
  return done(std::move(node));
}

StmtPtr Parser::parseWeight(bool buffer) {
  auto node = start<WeightStmt>();
  advance();
  node->buffer = buffer;
  node->label = parsePath();
  if (!failed && expect(TokenKind::Colon, "and the axes of the weight"))
    node->type = parseType();
  while (!failed && !atStatementEnd()) {
    if (!isName()) {
      failExpected("`init`, a tag or the end of the statement");
      break;
    }
    if (isWord("init")) {
      if (node->init)
        fail(ErrorCode::L0108, tok().range, "expected one `init`, but got a second one");
      advance();
      node->init = parseExpr();
      continue;
    }
    if (!isWord("no_decay") && !isWord("frozen")) {
      failExpected("`init`, `no_decay`, `frozen` or the end of the statement");
      break;
    }
    node->tags.push_back({std::string(spelling(tok())), tok().range});
    advance();
  }
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// What is kept: states, carries, memories, views
//===----------------------------------------------------------------------===//

ScopeClause Parser::parseScope() {
  ScopeClause clause;
  if (failed || !isWord("per") || atLineEnd())
    return clause;
  clause.range = tok().range;
  advance();
  if (acceptWord("token"))
    clause.scope = Scope::Token;
  else if (acceptWord("sequence"))
    clause.scope = Scope::Sequence;
  else if (acceptWord("run"))
    clause.scope = Scope::Run;
  else {
    Diagnostic &d = failExpected("`token`, `sequence` or `run` after `per`");
    if (isWord("batch"))
      d.help("one value for all sequences is `per run`");
    else if (isWord("row"))
      d.help("one value for each sequence is `per sequence`");
  }
  clause.range = clause.range.to(previousEnd());
  return clause;
}

StmtPtr Parser::parseState() {
  auto node = start<StateStmt>();
  advance();
  node->name = expectName("the name of the state");
  if (!failed && accept(TokenKind::Colon))
    node->type = parseType();
  if (!failed) {
    if (accept(TokenKind::Tilde))
      node->draw = true;
    else if (!accept(TokenKind::Equal))
      failExpected("`=` and the value before the first iteration, or `~` and a distribution");
  }
  if (!failed)
    node->value = parseExpr();
  node->scope = parseScope();
  if (!failed && (is(TokenKind::Comma) || (isWord("warm") && !atLineEnd()))) {
    accept(TokenKind::Comma);
    if (!acceptWord("warm"))
      failExpected("`warm` or the end of the statement");
    node->warm = true;
    if (!failed && !atStatementEnd())
      node->warmValue = parseExpr();
  }
  return done(std::move(node));
}

StmtPtr Parser::parseCarry() {
  auto node = start<CarryStmt>();
  advance();
  node->name = expectName("the name of the carry");
  node->counts = parseCounts();
  if (!failed && accept(TokenKind::Colon))
    node->type = parseType();
  if (!failed && expect(TokenKind::Equal, "and the value before the first token"))
    node->value = parseExpr();
  if (!failed && isWord("restart") && !atLineEnd()) {
    advance();
    node->restart = parseExpr();
  }
  return done(std::move(node));
}

StmtPtr Parser::parseMemory() {
  auto node = start<MemoryStmt>();
  advance();
  node->name = expectName("the name of the memory");
  node->counts = parseCounts();
  return done(std::move(node));
}

StmtPtr Parser::parseView() {
  auto node = start<ViewStmt>();
  advance();
  node->name = expectName("the name of the view");
  if (!failed && isWord("block")) {
    advance();
    node->mode = ViewStmt::Mode::Block;
    node->length = parseExpr();
  } else if (!failed && isWord("every")) {
    advance();
    node->mode = ViewStmt::Mode::Every;
    node->length = parseExpr();
    if (!failed && !acceptWord("tokens"))
      failExpected("`tokens`");
  }
  if (!failed && !is(TokenKind::LeftBrace))
    failExpected("`block n`, `every n tokens` or `{`");
  node->body = parseBlock(SectionView);
  return done(std::move(node));
}

StmtPtr Parser::parsePolicy() {
  auto node = start<PolicyStmt>();
  advance();
  node->name = expectName("the name of the policy");
  if (!failed && is(TokenKind::LeftParen))
    node->params = parseParameters();
  if (!failed && expect(TokenKind::Equal, "and the plane as an integer expression"))
    node->value = parseExpr();
  return done(std::move(node));
}

} // namespace loopc::frontend
