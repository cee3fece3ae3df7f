// The syntax tree of a spec: types, labels and expressions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_ASTEXPRESSIONS_H
#define LOOPC_FRONTEND_ASTEXPRESSIONS_H

#include "loopc/Frontend/SourceText.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace loopc::ast {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using StmtPtr = std::unique_ptr<Stmt>;

struct Identifier {
  std::string text;
  SourceRange range;
  bool empty() const { return text.empty(); }
};

/// How far a value varies. Inferred where it was not written.
enum class Scope { Inferred, Token, Sequence, Run };

struct ScopeClause {
  Scope scope = Scope::Inferred;
  SourceRange range; // of `per sequence`; empty when inferred
};

//===----------------------------------------------------------------------===//
// Types as written: `[heads, hd] f32 per sequence`, `flag`, `id(vocab)`, `list int`, `float?`, `carry [d]`
//===----------------------------------------------------------------------===//

struct TypeSyntax {
  enum class Form {
    Shape, // `[a, b]`, `[]`: dims
    Word,  // `flag`, `int`, `float`, `index`, `axis`, `memory`, `id(vocab)`: word, args
    List,  // `list T`: element
    Carry, // `carry [d]`: element; a place that the caller owns
  };
  Form form = Form::Shape;
  SourceRange range;
  std::vector<ExprPtr> dims; // also RaggedExpr and PackExpr
  Identifier word;
  std::vector<ExprPtr> args;
  std::vector<TypeSyntax> elements; // one for List and Carry
  Identifier dtype;                 // `f32` …, empty when the run decides
  bool optional = false;            // `float?`
  ScopeClause scope;
};

//===----------------------------------------------------------------------===//
// Labels: `@q_proj`, `@model.layers[i]`, `@self`
//===----------------------------------------------------------------------===//

struct LabelSegment {
  Identifier name; // may be a number, as in `mlp.0`
  std::vector<ExprPtr> indices;
};

struct Label {
  std::vector<LabelSegment> segments;
  bool self = false; // `@self`: adds no segment
  SourceRange range; // with the `@`
};

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

enum class ExprKind {
  Number,
  Bool,
  String,
  Name,
  Field,
  Call,
  Index,
  Unary,
  Binary,
  Range,
  Set,
  List,
  Tuple,
  If,
  Match,
  Block,
  Reduce,
  Over,
  Binder,
  Cast,
  Ragged,
  Pack,
  Error,
};

struct Expr {
  const ExprKind kind;
  SourceRange range;
  bool parenthesized = false; // `range` then includes the parentheses
  uint16_t height = 1;        // nodes on the longest path to a leaf; at most frontend::maxNesting
  virtual ~Expr() = default;

protected:
  Expr(ExprKind kind, SourceRange range) : kind(kind), range(range) {}
};

/// CRTP base: gives every node its kind, so that `as<T>(node)` needs no dynamic_cast.
template <class Derived, ExprKind K> struct ExprNode : Expr {
  static constexpr ExprKind nodeKind = K;
  explicit ExprNode(SourceRange range) : Expr(K, range) {}
};

struct NumberExpr : ExprNode<NumberExpr, ExprKind::Number> {
  using ExprNode::ExprNode;
  double value = 0;                // `20k` is 20000, `50%` is 0.5
  std::optional<int64_t> integer;  // set when written without fraction, exponent or `%` and it fits
  bool percent = false;
  std::string spelling;
};

struct BoolExpr : ExprNode<BoolExpr, ExprKind::Bool> {
  using ExprNode::ExprNode;
  bool value = false;
};

struct StringExpr : ExprNode<StringExpr, ExprKind::String> {
  using ExprNode::ExprNode;
  std::string value; // escapes resolved
};

/// `x`, `loops`, and the words `none`, `causal`, …: sema decides what a name is.
struct NameExpr : ExprNode<NameExpr, ExprKind::Name> {
  using ExprNode::ExprNode;
  std::string name;
};

/// `draft.logits`, `betas.0`
struct FieldExpr : ExprNode<FieldExpr, ExprKind::Field> {
  using ExprNode::ExprNode;
  ExprPtr base;
  Identifier field;
};

struct Argument {
  Identifier name; // empty: positional
  ExprPtr value;
};

/// `linear@q_proj(x) -> [heads, hd]`, `layers[i](x)`, `attend(q, k, v, causal)`, `f@label[i].x(y)`
struct CallExpr : ExprNode<CallExpr, ExprKind::Call> {
  using ExprNode::ExprNode;
  ExprPtr callee; // NameExpr, FieldExpr or IndexExpr
  std::optional<Label> label;
  std::vector<Argument> args;
  std::vector<TypeSyntax> results; // the types after `->`
  SourceRange argsRange;           // with the parentheses
};

/// One entry of a trace: `t = k` or `k`.
struct IndexEntry {
  Identifier name; // the loop, empty in the short form
  ExprPtr value;   // may be a RangeExpr
};

/// `v[t = k]`, `v[k]`, `k[..=t]`, `k[i = ..i]`: over iterations, copies or a binder, never over features.
struct IndexExpr : ExprNode<IndexExpr, ExprKind::Index> {
  using ExprNode::ExprNode;
  ExprPtr base;
  std::vector<IndexEntry> entries;
};

enum class UnaryOp { Minus, Not };

struct UnaryExpr : ExprNode<UnaryExpr, ExprKind::Unary> {
  using ExprNode::ExprNode;
  UnaryOp op = UnaryOp::Minus;
  ExprPtr operand;
};

enum class BinaryOp { Add, Sub, Mul, Div, FloorDiv, Mod, Pow, Eq, Ne, Lt, Le, Gt, Ge, In, And, Or };

struct BinaryExpr : ExprNode<BinaryExpr, ExprKind::Binary> {
  using ExprNode::ExprNode;
  BinaryOp op = BinaryOp::Add;
  SourceRange opRange;
  ExprPtr lhs, rhs;
};

/// `a..b` (half open), `a..=b` (closed), `..b`, `a..`. In `in 1..16` of an option both ends belong to the range.
struct RangeExpr : ExprNode<RangeExpr, ExprKind::Range> {
  using ExprNode::ExprNode;
  ExprPtr low, high; // null where open
  bool closed = false;
};

/// `{a, b}` after `in`
struct SetExpr : ExprNode<SetExpr, ExprKind::Set> {
  using ExprNode::ExprNode;
  std::vector<ExprPtr> elements;
};

struct ListExpr : ExprNode<ListExpr, ExprKind::List> {
  using ExprNode::ExprNode;
  std::vector<ExprPtr> elements;
};

/// `(a, b)`, `(embed = 0.3, head = 0.004)`
struct TupleExpr : ExprNode<TupleExpr, ExprKind::Tuple> {
  using ExprNode::ExprNode;
  std::vector<Argument> elements;
};

/// `if c then a else b`; with `if c { … } else { … }` the arms are BlockExprs.
struct IfExpr : ExprNode<IfExpr, ExprKind::If> {
  using ExprNode::ExprNode;
  ExprPtr condition, thenValue, elseValue; // elseValue is never null
};

struct Block {
  std::vector<StmtPtr> statements;
  SourceRange range; // with the braces
};

struct MatchArm {
  std::vector<ExprPtr> patterns; // words, numbers, strings; empty: the `else` arm
  Block body;
  SourceRange range;
};

struct MatchExpr : ExprNode<MatchExpr, ExprKind::Match> {
  using ExprNode::ExprNode;
  ExprPtr subject;
  std::vector<MatchArm> arms;
  SourceRange braces;
};

/// The arm of an `if` written with braces as a value: its last statement is a ResultStmt.
struct BlockExpr : ExprNode<BlockExpr, ExprKind::Block> {
  using ExprNode::ExprNode;
  Block block;
};

/// `sum over t where c { e }`, `softmax over passes { e }`
struct ReduceExpr : ExprNode<ReduceExpr, ExprKind::Reduce> {
  using ExprNode::ExprNode;
  Identifier op;
  std::vector<ExprPtr> axes;
  ExprPtr where; // null: all
  ExprPtr body;
  std::vector<TypeSyntax> results; // `top_k over vocab { z } -> [top], [top]`
};

/// `q[t] over t` as an argument: the values of q along t.
struct OverExpr : ExprNode<OverExpr, ExprKind::Over> {
  using ExprNode::ExprNode;
  ExprPtr value;
  ExprPtr axis;
};

/// `e in s => body` as the argument of `sum`, `mean`, …
struct BinderExpr : ExprNode<BinderExpr, ExprKind::Binder> {
  using ExprNode::ExprNode;
  Identifier variable;
  ExprPtr domain;
  ExprPtr body;
};

/// `e as f32`
struct CastExpr : ExprNode<CastExpr, ExprKind::Cast> {
  using ExprNode::ExprNode;
  ExprPtr operand;
  Identifier dtype;
};

/// The axis `*` or `*a`
struct RaggedExpr : ExprNode<RaggedExpr, ExprKind::Ragged> {
  using ExprNode::ExprNode;
  std::string name; // empty for `*`
};

/// `a..` as a dimension: an axis parameter that stands for several axes
struct PackExpr : ExprNode<PackExpr, ExprKind::Pack> {
  using ExprNode::ExprNode;
  std::string name;
};

/// Stands where an expression could not be read; a message was given.
struct ErrorExpr : ExprNode<ErrorExpr, ExprKind::Error> {
  using ExprNode::ExprNode;
};

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_ASTEXPRESSIONS_H
