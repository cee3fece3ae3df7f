// Recurrences: `stack`, `loop` with its clauses, `exit`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

#include <algorithm>

namespace loopc::frontend {

StmtPtr Parser::parseStack(unsigned section) {
  auto node = start<StackStmt>();
  advance();
  node->index = expectName("the index of the stack");
  if (!failed) {
    if (accept(TokenKind::Less))
      node->count = parseExpr();
    else if (acceptWord("in"))
      node->domain = parseDomain();
    else
      failExpected("`<` and the number of copies, or `in a..b`");
  }
  if (!failed && accept(TokenKind::Comma)) {
    if (acceptWord("unrolled"))
      node->unrolled = true;
    else
      failExpected("`unrolled` or `{`");
  }
  node->body = parseBlock(section == SectionTop || section == SectionView ? SectionInner : section);
  return done(std::move(node));
}

StmtPtr Parser::parseLoop(unsigned section) {
  auto node = start<LoopStmt>();
  advance();
  node->index = expectName("the index of the loop");
  if (!failed && is(TokenKind::Comma)) {
    advance();
    node->element = expectName("a name for the entry of the list");
    if (!failed && !isWord("over"))
      failExpected("`over` and a list");
  }
  if (!failed) {
    if (accept(TokenKind::Less))
      node->count = parseExpr();
    else if (acceptWord("in"))
      node->domain = parseDomain();
    else if (acceptWord("over"))
      node->list = parseExpr();
    else
      failExpected("`<` and the number of iterations, `in a..b`, or `, x over list`");
  }
  parseLoopClauses(*node);
  node->body = parseBlock(section == SectionTop || section == SectionView ? SectionInner : section);
  return done(std::move(node));
}

/// `, kv ring(2), holes latest, order token, carry single, by anderson(5)`
void Parser::parseLoopClauses(LoopStmt &loop) {
  while (!failed && accept(TokenKind::Comma)) {
    LoopClause clause;
    clause.range = tok().range;
    static constexpr std::string_view words[] = {"kv", "holes", "order", "carry", "by"};
    if (std::none_of(std::begin(words), std::end(words), [&](std::string_view w) { return isWord(w); })) {
      Diagnostic &d = failExpected("one of `kv`, `holes`, `order`, `carry`, `by`");
      if (isWord("prefill"))
        d.help("the order of tokens and iterations is `order token`, `order pass` or `order by_call`");
      return;
    }
    clause.word = {std::string(spelling(tok())), tok().range};
    if (const LoopClause *earlier = loop.clause(clause.word.text)) {
      fail(ErrorCode::L0108, tok().range, "expected one `" + clause.word.text + "`, but got a second one")
          .also(earlier->range, "the first one");
      return;
    }
    advance();
    if (is(TokenKind::Equal)) {
      failExpected("a policy").help("write `" + clause.word.text + " name` without `=`");
      return;
    }
    clause.value = parsePostfix();
    clause.range = clause.range.to(previousEnd());
    loop.clauses.push_back(std::move(clause));
  }
}

StmtPtr Parser::parseExit() {
  auto node = start<ExitStmt>();
  advance();
  if (!isWord("when") && !isWord("per"))
    node->name = expectName("a name for this exit, `per` or `when`");
  node->scope = parseScope();
  if (!failed && !acceptWord("when"))
    failExpected("`when` and the condition");
  if (!failed)
    node->condition = parseExpr();
  return done(std::move(node));
}

} // namespace loopc::frontend
