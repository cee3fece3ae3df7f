// Turns a syntax tree into a layout document, with the comments put back.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_FORMATTERIMPL_H
#define LOOPC_LIB_FRONTEND_FORMATTERIMPL_H

#include "Layout.h"

#include "loopc/Frontend/Formatter.h"
#include "loopc/Frontend/Lexer.h"
#include "loopc/Frontend/Parser.h"

#include <initializer_list>

namespace loopc::frontend {

using namespace loopc::ast;

class Formatter {
public:
  Formatter(const ast::Spec &spec, const SourceText &source) : spec(spec), source(source) {}

  std::string run(unsigned width);

private:
  using Doc = Layout::Doc;

  //===--- Blocks and comments (Formatter.cpp) ---===//
  Doc statements(const std::vector<StmtPtr> &list, uint32_t end);
  Doc block(const Block &b);
  /// One thing of a list that stands on lines of its own: a statement or an arm.
  struct Item {
    SourceRange range;
    const Stmt *stmt = nullptr;
    const MatchArm *arm = nullptr;
  };
  Doc items(const std::vector<Item> &list, uint32_t end);
  Doc braced(const std::vector<Item> &list, SourceRange braces);
  Doc arms(const std::vector<MatchArm> &list, SourceRange braces);
  Doc item(const Item &i) { return i.stmt ? statement(*i.stmt) : arm(*i.arm); }
  Doc arm(const MatchArm &a);
  unsigned lineOf(uint32_t offset) const { return source.position(offset).line; }
  bool hasCommentBefore(uint32_t offset) const {
    return nextComment < spec.comments.size() && spec.comments[nextComment].range.begin < offset;
  }
  std::string_view takeComment() { return source.slice(spec.comments[nextComment++].range); }
  /// Comments inside a header have no line of their own there: they go above the statement.
  void hoist(uint32_t offset) {
    while (hasCommentBefore(offset))
      hoisted.push_back(takeComment());
  }

  //===--- Statements (FormatterStmt.cpp) ---===//
  Doc statement(const Stmt &node);
  Doc trainStatement(const Stmt &node);
  Doc configEntry(const ConfigEntryStmt &s);
  Doc fn(const FnStmt &s);
  Doc ifStatement(const IfStmt &s);
  Doc loop(const LoopStmt &s);
  Doc checkpointEntry(const CheckpointEntryStmt &s);
  Doc params(const std::vector<Parameter> &list);
  Doc selectors(const std::vector<Selector> &list);
  Doc selectors(const SelectorSet &set);
  Doc targets(const std::vector<BindTarget> &list);

  //===--- Expressions and types (FormatterExpr.cpp) ---===//
  Doc expr(const Expr &e);
  Doc expr(const ExprPtr &e) { return e ? expr(*e) : layout.empty(); }
  Doc bareExpr(const Expr &e);
  Doc binary(const BinaryExpr &e);
  Doc listed(std::string_view open, const std::vector<Doc> &items, std::string_view close);
  Doc exprs(std::string_view open, const std::vector<ExprPtr> &list, std::string_view close);
  Doc args(const std::vector<Argument> &list);
  Doc label(const Label &l);
  Doc type(const TypeSyntax &t);
  Doc results(const std::vector<TypeSyntax> &types);
  Doc scope(const ScopeClause &clause);
  Doc blockValue(const Expr &e);

  Doc text(std::string_view s) { return layout.text(s); }
  Doc cat(std::initializer_list<Doc> parts) { return layout.concat(parts); }
  /// " word value", or nothing.
  Doc clause(std::string_view word, const ExprPtr &value) {
    return value ? cat({text(" "), text(word), text(" "), expr(value)}) : layout.empty();
  }

  const ast::Spec &spec;
  const SourceText &source;
  Layout layout;
  size_t nextComment = 0;
  std::vector<std::string_view> hoisted;
};

} // namespace loopc::frontend

#endif // LOOPC_LIB_FRONTEND_FORMATTERIMPL_H
