// Statements: blocks, recurrences, conditions, bindings.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

#include <algorithm>

namespace loopc::frontend {

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

template <class One> void Parser::parseStatements(std::vector<StmtPtr> &out, bool nested, One one) {
  const unsigned depth = braces;
  while (true) {
    while (accept(TokenKind::Semicolon)) {
    }
    if (is(TokenKind::End))
      return;
    if (is(TokenKind::RightBrace)) {
      if (nested)
        return;
      diagnostics.error(ErrorCode::L0102, tok().range, "expected a statement, but got `}`").label("closes nothing");
      advance();
      continue;
    }
    if (nested && startsSection())
      return; // the block was not closed; its owner says so
    size_t before = position;
    statementStart = position;
    SourceRange begin = tok().range;
    failed = false;
    StmtPtr statement = one();
    if (!failed && !atStatementEnd())
      failExpected("the end of the statement");
    if (failed) {
      if (position == before)
        advance();
      synchronize(depth);
      statement = startAt<ErrorStmt>(begin);
      statement->range.end = std::max(begin.end, previousEnd().end);
      failed = false;
    }
    out.push_back(std::move(statement));
  }
}

/// `{ … }`. If the statement already failed, its body is still read: the rest of the line up to `{` is skipped.
Block Parser::parseBlock(unsigned section) {
  Nesting guard(*this);
  Block block;
  if (failed) {
    while (!is(TokenKind::End) && !is(TokenKind::LeftBrace) && !is(TokenKind::RightBrace) &&
           !is(TokenKind::Semicolon) && !tok().newlineBefore)
      advance();
    if (!is(TokenKind::LeftBrace))
      return block;
    failed = false;
  }
  block.range = tok().range;
  if (tooDeep() || !expect(TokenKind::LeftBrace, "and a block"))
    return block;
  SourceRange open = block.range;
  LineMode lines(*this, /*linesMatter=*/true);
  parseStatements(block.statements, /*nested=*/true, [&]() -> StmtPtr {
    switch (section) {
    case SectionConfig:
    case SectionOptions:
      return parseConfigStatement(section);
    case SectionInit:
      return parseInitEntry();
    case SectionCheckpoint:
      return parseCheckpointEntry();
    default:
      return parseStatement(section);
    }
  });
  if (!accept(TokenKind::RightBrace))
    fail(ErrorCode::L0102, previousEnd(),
         "expected `}`, but got " +
             (is(TokenKind::End) ? std::string(describe(TokenKind::End)) : "`" + std::string(spelling(tok())) + "`"))
        .also(open, "opened here");
  block.range = block.range.to(previousEnd());
  bool valueAllowed = (section & (SectionFunction | SectionTrain)) != 0;
  checkValuesLast(block, valueAllowed || section == SectionTop);
  return block;
}

/// A value means something only as the last line of a function, an arm or an update.
void Parser::checkValuesLast(const Block &block, bool valueAllowed) {
  for (size_t i = 0; i < block.statements.size(); ++i) {
    const Stmt &s = *block.statements[i];
    if (s.kind != StmtKind::Result || (valueAllowed && i + 1 == block.statements.size()))
      continue;
    Diagnostic &d =
        diagnostics.error(ErrorCode::L0110, s.range, "expected a statement, but got a value that nothing uses");
    d.label("has no effect").help("bind it to a name (`y = …`), or remove it; a function's value is its last line");
  }
}

std::vector<StmtPtr> Parser::parseAll() {
  std::vector<StmtPtr> statements;
  parseStatements(statements, /*nested=*/false, [this] { return parseStatement(SectionTop); });
  return statements;
}

//===----------------------------------------------------------------------===//
// One statement
//===----------------------------------------------------------------------===//

namespace {

/// Words that begin statements, what may follow them, and where they are allowed.
enum class Follow {
  Name,  // a name on the same line
  Brace, // `{`, or a name or string and `{`
  Value, // anything that begins a value
};

struct Keyword {
  std::string_view word;
  Follow follow;
  unsigned sections;
};

constexpr unsigned anywhere = ~0u;
constexpr unsigned learning = SectionTrain | SectionMeasure;

constexpr Keyword keywords[] = {
    {"model", Follow::Name, SectionTop},
    {"config", Follow::Brace, SectionTop},
    {"options", Follow::Brace, SectionTop},
    {"require", Follow::Value, SectionTop},
    {"accept", Follow::Value, 0},
    {"accident", Follow::Name, 0},
    {"sequence", Follow::Name, SectionTop},
    {"phases", Follow::Name, SectionTop},
    {"input", Follow::Name, SectionTop | learning},
    {"fn", Follow::Name, SectionTop},
    {"share", Follow::Name, SectionTop},
    {"weight", Follow::Name, SectionProgram},
    {"buffer", Follow::Name, SectionProgram},
    {"state", Follow::Name, anywhere},
    {"carry", Follow::Name, SectionProgram},
    {"memory", Follow::Name, SectionTop},
    {"view", Follow::Name, SectionTop},
    {"stack", Follow::Name, SectionProgram | learning},
    {"loop", Follow::Name, SectionProgram | learning},
    {"exit", Follow::Name, SectionProgram},
    {"output", Follow::Name, SectionTop | SectionView},
    {"readout", Follow::Name, SectionTop | SectionView},
    {"policy", Follow::Name, SectionTop},
    {"train", Follow::Brace, SectionTop},
    {"measure", Follow::Brace, SectionTop},
    {"optimizer", Follow::Name, SectionTop},
    {"init", Follow::Brace, SectionTop | SectionTrain},
    {"checkpoint", Follow::Brace, SectionTop},
    {"backprop", Follow::Name, SectionTrain},
    {"loss", Follow::Value, SectionTrain},
    {"optimize", Follow::Value, SectionTrain},
    {"freeze", Follow::Value, SectionTrain},
    {"clip", Follow::Value, SectionTrain},
    {"schedule", Follow::Value, SectionTrain},
    {"ema", Follow::Value, SectionTrain},
    {"steps", Follow::Value, SectionTrain},
    {"batch", Follow::Value, SectionTrain},
    {"update", Follow::Value, SectionTrain},
};

const Keyword *keywordOf(std::string_view word) {
  for (const Keyword &k : keywords)
    if (k.word == word)
      return &k;
  return nullptr;
}

} // namespace

/// A word of the table is a name where what follows could not follow the keyword: `view = 3`, `state.x`, `loss, p = …`.
bool Parser::startsKeywordStatement(std::string_view word) const {
  const Keyword *keyword = keywordOf(word);
  if (!keyword)
    return false;
  const Token &next = tok(1);
  if (keyword->follow == Follow::Brace && next.kind == TokenKind::LeftBrace)
    return true;
  if (next.newlineBefore)
    return false;
  switch (keyword->follow) {
  case Follow::Name:
    return next.kind == TokenKind::Word && (!isReserved(spelling(next)) || spelling(next) == "when");
  case Follow::Brace:
    return isName(1) || next.kind == TokenKind::String;
  case Follow::Value:
    switch (next.kind) {
    case TokenKind::Number:
    case TokenKind::String:
    case TokenKind::LeftParen:
    case TokenKind::Minus:
      return true;
    case TokenKind::Star:
    case TokenKind::LeftBrace:
      return word == "optimize" || word == "freeze";
    case TokenKind::Word: {
      std::string_view text = spelling(next);
      return !isReserved(text) || text == "if" || text == "not" || text == "match" || text == "true" || text == "false";
    }
    default:
      return false;
    }
  }
  return false;
}

void Parser::checkSection(std::string_view word, unsigned section, unsigned allowed) {
  if (section & allowed)
    return;
  std::string where;
  if (allowed == 0)
    where = word == "accept" ? "in `config`" : "in `options`";
  else if (allowed == SectionOptions)
    where = "in `options`";
  else if (allowed == SectionTop)
    where = "at the top of the model";
  else if ((allowed & SectionProgram) == 0)
    where = "in `train`";
  else
    where = (allowed & SectionFunction) ? "in the model" : "at the top of the model or in a view";
  // The statement itself is still read: its text may be right.
  diagnostics.error(ErrorCode::L0106, tok().range,
                    "expected `" + std::string(word) + "` " + where + ", but got it in another place");
}

StmtPtr Parser::parseStatement(unsigned section) {
  Nesting guard(*this);
  if (tooDeep())
    return startAt<ErrorStmt>(tok().range);
  if (is(TokenKind::Word)) {
    std::string_view word = spelling(tok());
    if (word == "if")
      return parseIf(section);
    if (word == "match")
      return parseMatch(section);
    if (word == "where")
      return parseWhere(section);
    if (startsKeywordStatement(word)) {
      const Keyword *keyword = keywordOf(word);
      checkSection(word, section, keyword->sections);
      return parseKeywordStatement(section, word);
    }
    if (section == SectionTrain && word == "refill")
      return parseSetting();
    if (section == SectionTrain && word == "loss" && tok(1).kind == TokenKind::Equal)
      return parseLoss();
  }
  return parseSimpleStatement(section);
}

StmtPtr Parser::parseKeywordStatement(unsigned section, std::string_view word) {
  switch (word[0]) {
  case 'a':
    return word == "accept" ? parseAccept() : parseAccident();
  case 'b':
    return word == "buffer" ? parseWeight(/*buffer=*/true) : word == "backprop" ? parseBackprop() : parseSetting();
  case 'c':
    return word == "config"       ? parseConfig()
           : word == "carry"      ? parseCarry()
           : word == "checkpoint" ? parseCheckpoint()
                                  : parseSetting();
  case 'e':
    return word == "exit" ? parseExit() : parseSetting();
  case 'f':
    return word == "fn" ? parseFn(/*shared=*/false, tok().range) : parseFreeze();
  case 'i':
    return word == "input" ? parseInput() : parseInit();
  case 'l':
    return word == "loop" ? parseLoop(section) : parseLoss();
  case 'm':
    return word == "model" ? parseModel() : word == "memory" ? parseMemory() : parseMeasure();
  case 'o':
    return word == "options"     ? parseOptions()
           : word == "output"    ? parseNamedValue<OutputStmt>(/*valueNeeded=*/false)
           : word == "optimizer" ? parseOptimizer()
                                 : parseOptimize();
  case 'p':
    return word == "policy" ? parsePolicy() : parsePhases();
  case 'r':
    return word == "require" ? parseRequire() : parseNamedValue<ReadoutStmt>(/*valueNeeded=*/true);
  case 's':
    return word == "share"      ? parseShare()
           : word == "state"    ? parseState()
           : word == "stack"    ? parseStack(section)
           : word == "sequence" ? parseSequence()
                                : parseSetting();
  case 't':
    return parseTrain();
  case 'u':
    return parseUpdate(section);
  case 'v':
    return parseView();
  default:
    return parseWeight(/*buffer=*/false);
  }
}

template <class T> StmtPtr Parser::parseNamedValue(bool valueNeeded) {
  auto node = start<T>();
  advance();
  node->name = expectName("a name");
  if (!failed && (valueNeeded || is(TokenKind::Equal)) && expect(TokenKind::Equal, "and a value"))
    node->value = parseExpr();
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Bindings and values
//===----------------------------------------------------------------------===//

bool Parser::toTarget(ExprPtr expression, BindTarget &target) {
  if (const auto *name = as<NameExpr>(expression); name && !name->parenthesized) {
    target.name = {name->name, name->range};
    return true;
  }
  if (auto *index = const_cast<IndexExpr *>(as<IndexExpr>(expression))) {
    const auto *name = as<NameExpr>(index->base);
    bool plain = name != nullptr;
    for (const IndexEntry &entry : index->entries)
      plain &= entry.name.empty() && entry.value->kind != ExprKind::Range;
    if (plain) {
      target.name = {name->name, name->range};
      for (IndexEntry &entry : index->entries)
        target.indices.push_back(std::move(entry.value));
      return true;
    }
  }
  Diagnostic &d = fail(ErrorCode::L0101, expression->range, "expected a name before `" +
                                                                std::string(spelling(tok())) + "`, but got a value");
  if (expression->kind == ExprKind::Tuple || expression->parenthesized)
    d.help("several names need no parentheses: `a, b = f(x)`");
  return false;
}

StmtPtr Parser::parseSimpleStatement(unsigned section) {
  SourceRange begin = tok().range;
  if (is(TokenKind::Word) && isName(1) && !tok(1).newlineBefore) {
    // Two words in a row are no value; say what is known about the first.
    static constexpr std::pair<std::string_view, std::string_view> habits[] = {
        {"return", "the last line of a function is its value; remove `return`"},
        {"let", "a binding needs no word: `x = …`"},
        {"var", "a binding needs no word: `x = …`"},
        {"const", "a binding needs no word: `x = …`; sizes belong to `config`"},
        {"def", "a function is written `fn f(x: [d]) -> [d] { … }`"},
        {"for", "repetition is `stack i < n { … }` (weights of its own for each i) or `loop t < n { … }` (the same weights)"},
        {"while", "repetition is `loop t < most { … exit when c }`"},
        {"class", "a function owns the weights of the operators in it: `fn layer(x: [d]) -> [d] { … }`"},
        {"import", "a spec is one page; nothing is imported"},
        {"param", "a parameter is written `weight w: [d]`"},
    };
    for (const auto &[word, help] : habits)
      if (isWord(word)) {
        fail(ErrorCode::L0107, begin, "expected a statement, but got `" + std::string(word) + "`")
            .help(std::string(help));
        return startAt<ErrorStmt>(begin);
      }
    std::string_view word = spelling(tok());
    if (section != SectionTrain || !isWord("refill"))
      for (const Keyword &k : keywords) {
        // One letter wrong or missing in a keyword of four letters and more.
        size_t n = std::min(k.word.size(), word.size());
        size_t same = 0, tail = 0;
        while (same < n && k.word[same] == word[same])
          ++same;
        while (tail < n - same && k.word[k.word.size() - 1 - tail] == word[word.size() - 1 - tail])
          ++tail;
        if (k.word.size() >= 4 && std::max(k.word.size(), word.size()) - same - tail <= 1 && k.word != word) {
          fail(ErrorCode::L0101, begin, "expected a statement, but got `" + std::string(word) + "`")
              .help("did you mean `" + std::string(k.word) + "`?");
          return startAt<ErrorStmt>(begin);
        }
      }
  }
  if (isWord("return") || isWord("else") || isWord("then")) {
    bool isReturn = isWord("return");
    if (isReturn && tok(1).kind != TokenKind::Equal && tok(1).kind != TokenKind::Comma) {
      fail(ErrorCode::L0107, begin, "expected a statement, but got `return`")
          .help("the last line of a function is its value; remove `return`");
      return startAt<ErrorStmt>(begin);
    }
    if (!isReturn) {
      failExpected("a statement").help("`else` follows the `}` of an `if`");
      return startAt<ErrorStmt>(begin);
    }
  }

  std::vector<ExprPtr> values;
  do
    values.push_back(parseExpr());
  while (!failed && accept(TokenKind::Comma));
  if (failed)
    return startAt<ErrorStmt>(begin);

  if (!is(TokenKind::Equal) && !is(TokenKind::Tilde)) {
    auto node = startAt<ResultStmt>(begin);
    node->values = std::move(values);
    if (section == SectionTop && braces == 0 && atStatementEnd())
      diagnostics
          .error(ErrorCode::L0110, node->values.front()->range,
                 "expected a statement, but got a value that nothing uses")
          .label("has no effect")
          .help("bind it to a name: `y = …`, or give it out: `output y = …`");
    return done(std::move(node));
  }

  bool draw = is(TokenKind::Tilde);
  std::vector<BindTarget> targets;
  for (ExprPtr &value : values) {
    targets.emplace_back();
    if (!toTarget(std::move(value), targets.back()))
      return startAt<ErrorStmt>(begin);
  }
  advance();
  mode.severalResults = targets.size() > 1;
  if (draw) {
    auto node = startAt<DrawStmt>(begin);
    node->targets = std::move(targets);
    node->distribution = parseExpr();
    mode.severalResults = false;
    node->scope = parseScope();
    return done(std::move(node));
  }
  auto node = startAt<BindStmt>(begin);
  node->targets = std::move(targets);
  do
    node->values.push_back(parseExpr());
  while (!failed && accept(TokenKind::Comma));
  mode.severalResults = false;
  if (!failed && node->values.size() != 1 && node->values.size() != node->targets.size())
    fail(ErrorCode::L0101, node->values.front()->range.to(node->values.back()->range),
         "expected one value or " + std::to_string(node->targets.size()) + ", one for each name, but got " +
             std::to_string(node->values.size()));
  if (!failed && is(TokenKind::Equal))
    failExpected("the end of the statement").help("one binding stands on one line: `a = e`");
  return done(std::move(node));
}

//===----------------------------------------------------------------------===//
// Conditions
//===----------------------------------------------------------------------===//

StmtPtr Parser::parseIf(unsigned section) {
  auto node = start<IfStmt>();
  advance();
  node->condition = parseExpr();
  if (!failed && isWord("then")) { // a value
    auto value = startAt<IfExpr>(node->range);
    value->condition = std::move(node->condition);
    auto result = startAt<ResultStmt>(node->range);
    result->values.push_back(parseIfArms(std::move(value)));
    return done(std::move(result));
  }
  node->thenBlock = parseBlock(section);
  if (!failed && isWord("else")) {
    advance();
    if (isWord("if")) {
      node->elseIf = true;
      Block block;
      block.range = tok().range;
      block.statements.push_back(parseStatement(section));
      block.range = block.range.to(previousEnd());
      node->elseBlock = std::move(block);
    } else {
      node->elseBlock = parseBlock(section);
    }
  }
  return done(std::move(node));
}

StmtPtr Parser::parseMatch(unsigned section) {
  auto node = start<MatchStmt>();
  advance();
  node->subject = parseExpr();
  node->braces = tok().range;
  node->arms = parseMatchArms(section);
  node->braces = node->braces.to(previousEnd());
  return done(std::move(node));
}

StmtPtr Parser::parseWhere(unsigned section) {
  auto node = start<WhereStmt>();
  advance();
  node->condition = parseExpr();
  node->body = parseBlock(section == SectionTop || section == SectionView ? SectionInner : section);
  return done(std::move(node));
}

} // namespace loopc::frontend
