// Visits the direct children of a syntax node, in the order of the text.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_ASTVISIT_H
#define LOOPC_FRONTEND_ASTVISIT_H

#include "loopc/Frontend/AST.h"

namespace loopc::ast {

namespace detail {

template <class F> void visit(const ExprPtr &e, F &f) {
  if (e)
    f(*e);
}
template <class F> void visit(const StmtPtr &s, F &f) {
  if (s)
    f(*s);
}
template <class F> void visit(const std::vector<ExprPtr> &list, F &f) {
  for (const ExprPtr &e : list)
    visit(e, f);
}
template <class F> void visit(const Block &block, F &f) {
  for (const StmtPtr &s : block.statements)
    visit(s, f);
}
template <class F> void visit(const TypeSyntax &type, F &f) {
  visit(type.dims, f);
  visit(type.args, f);
  for (const TypeSyntax &element : type.elements)
    visit(element, f);
}
template <class F> void visit(const std::vector<TypeSyntax> &types, F &f) {
  for (const TypeSyntax &type : types)
    visit(type, f);
}
template <class F> void visit(const Label &label, F &f) {
  for (const LabelSegment &segment : label.segments)
    visit(segment.indices, f);
}
template <class F> void visit(const std::vector<Argument> &args, F &f) {
  for (const Argument &a : args)
    visit(a.value, f);
}
template <class F> void visit(const std::vector<Parameter> &params, F &f) {
  for (const Parameter &p : params) {
    if (p.type)
      visit(*p.type, f);
    visit(p.value, f);
  }
}
template <class F> void visit(const std::vector<MatchArm> &arms, F &f) {
  for (const MatchArm &arm : arms) {
    visit(arm.patterns, f);
    visit(arm.body, f);
  }
}
template <class F> void visit(const std::vector<BindTarget> &targets, F &f) {
  for (const BindTarget &t : targets)
    visit(t.indices, f);
}

template <class T, class F> void visit(const std::optional<T> &part, F &f) {
  if (part)
    visit(*part, f);
}

template <class Node> const Node &cast(const Expr &e) { return static_cast<const Node &>(e); }
template <class Node> const Node &cast(const Stmt &s) { return static_cast<const Node &>(s); }

} // namespace detail

/// Calls `f(const Expr &)` and `f(const Stmt &)` for every direct child, those in types and labels included.
template <class F> void forEachChild(const Expr &expr, F &&f) {
  using namespace detail;
  auto all = [&](const auto &...parts) { (visit(parts, f), ...); };
  switch (expr.kind) {
  case ExprKind::Number:
  case ExprKind::Bool:
  case ExprKind::String:
  case ExprKind::Name:
  case ExprKind::Ragged:
  case ExprKind::Pack:
  case ExprKind::Error:
    return;
  case ExprKind::Field:
    return all(cast<FieldExpr>(expr).base);
  case ExprKind::Call: {
    const auto &e = cast<CallExpr>(expr);
    return all(e.callee, e.label, e.args, e.results);
  }
  case ExprKind::Index: {
    const auto &e = cast<IndexExpr>(expr);
    visit(e.base, f);
    for (const IndexEntry &entry : e.entries)
      visit(entry.value, f);
    return;
  }
  case ExprKind::Unary:
    return all(cast<UnaryExpr>(expr).operand);
  case ExprKind::Binary: {
    const auto &e = cast<BinaryExpr>(expr);
    return all(e.lhs, e.rhs);
  }
  case ExprKind::Range: {
    const auto &e = cast<RangeExpr>(expr);
    return all(e.low, e.high);
  }
  case ExprKind::Set:
    return all(cast<SetExpr>(expr).elements);
  case ExprKind::List:
    return all(cast<ListExpr>(expr).elements);
  case ExprKind::Tuple:
    return all(cast<TupleExpr>(expr).elements);
  case ExprKind::If: {
    const auto &e = cast<IfExpr>(expr);
    return all(e.condition, e.thenValue, e.elseValue);
  }
  case ExprKind::Match: {
    const auto &e = cast<MatchExpr>(expr);
    return all(e.subject, e.arms);
  }
  case ExprKind::Block:
    return all(cast<BlockExpr>(expr).block);
  case ExprKind::Reduce: {
    const auto &e = cast<ReduceExpr>(expr);
    return all(e.axes, e.where, e.body, e.results);
  }
  case ExprKind::Over: {
    const auto &e = cast<OverExpr>(expr);
    return all(e.value, e.axis);
  }
  case ExprKind::Binder: {
    const auto &e = cast<BinderExpr>(expr);
    return all(e.domain, e.body);
  }
  case ExprKind::Cast:
    return all(cast<CastExpr>(expr).operand);
  }
}

template <class F> void forEachChild(const Stmt &stmt, F &&f) {
  using namespace detail;
  auto all = [&](const auto &...parts) { (visit(parts, f), ...); };
  switch (stmt.kind) {
  case StmtKind::Model:
  case StmtKind::Accident:
  case StmtKind::Phases:
  case StmtKind::Freeze:
  case StmtKind::Error:
    return;
  case StmtKind::Config:
    return all(cast<ConfigStmt>(stmt).body);
  case StmtKind::Options:
    return all(cast<OptionsStmt>(stmt).body);
  case StmtKind::ConfigEntry: {
    const auto &s = cast<ConfigEntryStmt>(stmt);
    all(s.type, s.value, s.domain);
    if (s.from)
      for (const auto &[ours, published] : s.from->words)
        all(ours, published);
    return;
  }
  case StmtKind::Require:
    return all(cast<RequireStmt>(stmt).condition);
  case StmtKind::Accept:
    for (const AcceptStmt::Entry &entry : cast<AcceptStmt>(stmt).entries)
      visit(entry.value, f);
    return;
  case StmtKind::Sequence:
    return all(cast<SequenceStmt>(stmt).length);
  case StmtKind::Input: {
    const auto &s = cast<InputStmt>(stmt);
    return all(s.type, s.value);
  }
  case StmtKind::Fn: {
    const auto &s = cast<FnStmt>(stmt);
    return all(s.params, s.results, s.body);
  }
  case StmtKind::Share: {
    const auto &s = cast<ShareStmt>(stmt);
    return all(s.counts, s.target);
  }
  case StmtKind::Weight: {
    const auto &s = cast<WeightStmt>(stmt);
    return all(s.label, s.type, s.init);
  }
  case StmtKind::State: {
    const auto &s = cast<StateStmt>(stmt);
    return all(s.type, s.value, s.warmValue);
  }
  case StmtKind::Carry: {
    const auto &s = cast<CarryStmt>(stmt);
    return all(s.counts, s.type, s.value, s.restart);
  }
  case StmtKind::Memory:
    return all(cast<MemoryStmt>(stmt).counts);
  case StmtKind::View: {
    const auto &s = cast<ViewStmt>(stmt);
    return all(s.length, s.body);
  }
  case StmtKind::Stack: {
    const auto &s = cast<StackStmt>(stmt);
    return all(s.count, s.domain, s.body);
  }
  case StmtKind::Loop: {
    const auto &s = cast<LoopStmt>(stmt);
    all(s.count, s.domain, s.list);
    for (const LoopClause &clause : s.clauses)
      visit(clause.value, f);
    return all(s.body);
  }
  case StmtKind::Exit:
    return all(cast<ExitStmt>(stmt).condition);
  case StmtKind::If: {
    const auto &s = cast<IfStmt>(stmt);
    return all(s.condition, s.thenBlock, s.elseBlock);
  }
  case StmtKind::Match: {
    const auto &s = cast<MatchStmt>(stmt);
    return all(s.subject, s.arms);
  }
  case StmtKind::Where: {
    const auto &s = cast<WhereStmt>(stmt);
    return all(s.condition, s.body);
  }
  case StmtKind::Bind: {
    const auto &s = cast<BindStmt>(stmt);
    return all(s.targets, s.values);
  }
  case StmtKind::Draw: {
    const auto &s = cast<DrawStmt>(stmt);
    return all(s.targets, s.distribution);
  }
  case StmtKind::Result:
    return all(cast<ResultStmt>(stmt).values);
  case StmtKind::Output:
    return all(cast<OutputStmt>(stmt).value);
  case StmtKind::Readout:
    return all(cast<ReadoutStmt>(stmt).value);
  case StmtKind::Policy: {
    const auto &s = cast<PolicyStmt>(stmt);
    return all(s.params, s.value);
  }
  case StmtKind::Train:
    return all(cast<TrainStmt>(stmt).body);
  case StmtKind::Backprop: {
    const auto &s = cast<BackpropStmt>(stmt);
    return all(s.value, s.of);
  }
  case StmtKind::Loss:
    return all(cast<LossStmt>(stmt).value);
  case StmtKind::Optimize: {
    const auto &s = cast<OptimizeStmt>(stmt);
    return all(s.where, s.optimizer);
  }
  case StmtKind::Setting:
    return all(cast<SettingStmt>(stmt).value);
  case StmtKind::Update: {
    const auto &s = cast<UpdateStmt>(stmt);
    return all(s.body, s.value);
  }
  case StmtKind::Init:
    return all(cast<InitStmt>(stmt).body);
  case StmtKind::InitEntry:
    return all(cast<InitEntryStmt>(stmt).value, cast<InitEntryStmt>(stmt).when);
  case StmtKind::Checkpoint:
    return all(cast<CheckpointStmt>(stmt).body);
  case StmtKind::CheckpointEntry: {
    const auto &s = cast<CheckpointEntryStmt>(stmt);
    for (const auto &[name, values] : s.variables)
      visit(values, f);
    return all(s.when, s.shape, s.rows);
  }
  case StmtKind::Optimizer: {
    const auto &s = cast<OptimizerStmt>(stmt);
    return all(s.params, s.body);
  }
  case StmtKind::Measure:
    return all(cast<MeasureStmt>(stmt).body);
  }
}

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_ASTVISIT_H
