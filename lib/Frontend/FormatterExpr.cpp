// Canonical layout of expressions and types.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FormatterImpl.h"

namespace loopc::frontend {

Formatter::Doc Formatter::expr(const Expr &e) {
  if (!e.parenthesized)
    return bareExpr(e);
  return layout.group(
      cat({text("("), layout.nest(2, cat({layout.line(""), bareExpr(e)})), layout.line(""), text(")")}));
}

/// `open a, b close`, broken at all commas or at none.
Formatter::Doc Formatter::listed(std::string_view open, const std::vector<Doc> &items, std::string_view close) {
  if (items.empty())
    return cat({text(open), text(close)});
  std::vector<Doc> inner = {layout.line("")};
  for (size_t i = 0; i < items.size(); ++i) {
    inner.push_back(items[i]);
    if (i + 1 < items.size()) {
      inner.push_back(text(","));
      inner.push_back(layout.line());
    }
  }
  return layout.group(cat({text(open), layout.nest(2, layout.concat(inner)), layout.line(""), text(close)}));
}

Formatter::Doc Formatter::exprs(std::string_view open, const std::vector<ExprPtr> &list, std::string_view close) {
  std::vector<Doc> items;
  for (const ExprPtr &e : list)
    items.push_back(expr(e));
  return listed(open, items, close);
}

Formatter::Doc Formatter::args(const std::vector<Argument> &list) {
  std::vector<Doc> items;
  for (const Argument &a : list)
    items.push_back(a.name.empty() ? expr(a.value) : cat({text(a.name.text), text(" = "), expr(a.value)}));
  return listed("(", items, ")");
}

Formatter::Doc Formatter::label(const Label &l) {
  if (l.self)
    return text("self");
  std::vector<Doc> parts;
  for (size_t i = 0; i < l.segments.size(); ++i) {
    if (i)
      parts.push_back(text("."));
    parts.push_back(text(l.segments[i].name.text));
    if (!l.segments[i].indices.empty())
      parts.push_back(exprs("[", l.segments[i].indices, "]"));
  }
  return layout.concat(parts);
}

Formatter::Doc Formatter::scope(const ScopeClause &clause) {
  switch (clause.scope) {
  case Scope::Inferred:
    return layout.empty();
  case Scope::Token:
    return text(" per token");
  case Scope::Sequence:
    return text(" per sequence");
  case Scope::Run:
    return text(" per run");
  }
  return layout.empty();
}

Formatter::Doc Formatter::type(const TypeSyntax &t) {
  std::vector<Doc> parts;
  switch (t.form) {
  case TypeSyntax::Form::Shape:
    parts.push_back(exprs("[", t.dims, "]"));
    break;
  case TypeSyntax::Form::Word:
    parts.push_back(text(t.word.text));
    if (!t.args.empty())
      parts.push_back(exprs("(", t.args, ")"));
    break;
  case TypeSyntax::Form::List:
  case TypeSyntax::Form::Carry:
    parts.push_back(text(t.word.text + " "));
    for (const TypeSyntax &element : t.elements)
      parts.push_back(type(element));
    break;
  }
  if (t.optional)
    parts.push_back(text("?"));
  if (!t.dtype.empty())
    parts.push_back(text(" " + t.dtype.text));
  parts.push_back(scope(t.scope));
  return layout.concat(parts);
}

Formatter::Doc Formatter::results(const std::vector<TypeSyntax> &types) {
  std::vector<Doc> parts;
  for (size_t i = 0; i < types.size(); ++i) {
    parts.push_back(text(i ? ", " : " -> "));
    parts.push_back(type(types[i]));
  }
  return layout.concat(parts);
}

/// An operator begins a line, except `-`, which would begin a value there, and `*`, which would begin a selector.
Formatter::Doc Formatter::binary(const BinaryExpr &e) {
  std::string op(operatorSpelling(e.op));
  bool endsLine = e.op == BinaryOp::Sub || e.op == BinaryOp::Mul;
  Doc lhs = expr(e.lhs), rhs = expr(e.rhs);
  Doc tail = endsLine ? cat({text(" " + op), layout.line(), rhs}) : cat({layout.line(), text(op + " "), rhs});
  // The left operand was indented by its own group, if it is one of a chain.
  return layout.group(cat({lhs, layout.nest(2, tail)}));
}

/// The arm of `if c { … } else { … }`
Formatter::Doc Formatter::blockValue(const Expr &e) {
  return e.kind == ExprKind::Block ? block(static_cast<const BlockExpr &>(e).block) : expr(e);
}

Formatter::Doc Formatter::bareExpr(const Expr &node) {
  switch (node.kind) {
  case ExprKind::Number:
    return text(static_cast<const NumberExpr &>(node).spelling);
  case ExprKind::Bool:
    return text(static_cast<const BoolExpr &>(node).value ? "true" : "false");
  case ExprKind::String:
    return text(quote(static_cast<const StringExpr &>(node).value));
  case ExprKind::Name:
    return text(static_cast<const NameExpr &>(node).name);
  case ExprKind::Field: {
    const auto &e = static_cast<const FieldExpr &>(node);
    return cat({expr(e.base), text("." + e.field.text)});
  }
  case ExprKind::Call: {
    const auto &e = static_cast<const CallExpr &>(node);
    Doc callee = expr(e.callee);
    if (e.label)
      callee = cat({callee, text("@"), label(*e.label)});
    return cat({callee, args(e.args), results(e.results)});
  }
  case ExprKind::Index: {
    const auto &e = static_cast<const IndexExpr &>(node);
    std::vector<Doc> entries;
    for (const IndexEntry &entry : e.entries)
      entries.push_back(entry.name.empty() ? expr(entry.value)
                                           : cat({text(entry.name.text), text(" = "), expr(entry.value)}));
    return cat({expr(e.base), listed("[", entries, "]")});
  }
  case ExprKind::Unary: {
    const auto &e = static_cast<const UnaryExpr &>(node);
    return cat({text(e.op == UnaryOp::Minus ? "-" : "not "), expr(e.operand)});
  }
  case ExprKind::Binary:
    return binary(static_cast<const BinaryExpr &>(node));
  case ExprKind::Range: {
    const auto &e = static_cast<const RangeExpr &>(node);
    return cat({expr(e.low), text(e.closed ? "..=" : ".."), expr(e.high)});
  }
  case ExprKind::Set:
    return exprs("{", static_cast<const SetExpr &>(node).elements, "}");
  case ExprKind::List:
    return exprs("[", static_cast<const ListExpr &>(node).elements, "]");
  case ExprKind::Tuple: {
    const auto &e = static_cast<const TupleExpr &>(node);
    if (e.elements.size() == 1 && e.elements.front().name.empty())
      return cat({text("("), expr(e.elements.front().value), text(",)")});
    return args(e.elements);
  }
  case ExprKind::If: {
    const auto &e = static_cast<const IfExpr &>(node);
    bool braces = e.thenValue->kind == ExprKind::Block;
    Doc head = cat({text("if "), expr(e.condition), text(braces ? " " : " then "), blockValue(*e.thenValue)});
    Doc tail = cat({text("else "), blockValue(*e.elseValue)});
    if (braces)
      return cat({head, text(" "), tail});
    return layout.group(cat({head, layout.nest(2, cat({layout.line(), tail}))}));
  }
  case ExprKind::Match: {
    const auto &e = static_cast<const MatchExpr &>(node);
    Doc subject = expr(e.subject);
    return cat({text("match "), subject, text(" "), arms(e.arms, e.braces)});
  }
  case ExprKind::Block:
    return block(static_cast<const BlockExpr &>(node).block);
  case ExprKind::Reduce: {
    const auto &e = static_cast<const ReduceExpr &>(node);
    std::vector<Doc> parts = {text(e.op.text), text(" over ")};
    for (size_t i = 0; i < e.axes.size(); ++i) {
      if (i)
        parts.push_back(text(", "));
      parts.push_back(expr(e.axes[i]));
    }
    parts.push_back(clause("where", e.where));
    parts.push_back(text(" "));
    Doc body = expr(e.body);
    parts.push_back(
        layout.group(cat({text("{"), layout.nest(2, cat({layout.line(), body})), layout.line(), text("}")})));
    parts.push_back(results(e.results));
    return layout.concat(parts);
  }
  case ExprKind::Over: {
    const auto &e = static_cast<const OverExpr &>(node);
    Doc value = expr(e.value);
    return cat({value, text(" over "), expr(e.axis)});
  }
  case ExprKind::Binder: {
    const auto &e = static_cast<const BinderExpr &>(node);
    Doc domain = expr(e.domain);
    return cat({text(e.variable.text), text(" in "), domain, text(" =>"),
                layout.group(layout.nest(2, cat({layout.line(), expr(e.body)})))});
  }
  case ExprKind::Cast: {
    const auto &e = static_cast<const CastExpr &>(node);
    return cat({expr(e.operand), text(" as " + e.dtype.text)});
  }
  case ExprKind::Ragged:
    return text("*" + static_cast<const RaggedExpr &>(node).name);
  case ExprKind::Pack:
    return text(static_cast<const PackExpr &>(node).name + "..");
  case ExprKind::Error:
    return layout.empty();
  }
  return layout.empty();
}

} // namespace loopc::frontend
