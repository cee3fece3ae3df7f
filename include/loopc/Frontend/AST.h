// The syntax tree of a spec: what was written, before any name is looked up.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_AST_H
#define LOOPC_FRONTEND_AST_H

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

//===----------------------------------------------------------------------===//
// Statements and sections
//===----------------------------------------------------------------------===//

enum class StmtKind {
  Model,
  Config,
  Options,
  ConfigEntry,
  Require,
  Accept,
  Accident,
  Sequence,
  Phases,
  Input,
  Fn,
  Share,
  Weight,
  State,
  Carry,
  Memory,
  View,
  Stack,
  Loop,
  Exit,
  If,
  Match,
  Where,
  Bind,
  Draw,
  Result,
  Output,
  Readout,
  Policy,
  Train,
  Backprop,
  Loss,
  Optimize,
  Freeze,
  Setting,
  Update,
  Init,
  InitEntry,
  Checkpoint,
  CheckpointEntry,
  Optimizer,
  Measure,
  Error,
};

struct Stmt {
  const StmtKind kind;
  SourceRange range; // without comments and without `;`
  uint16_t height = 1;
  virtual ~Stmt() = default;

protected:
  Stmt(StmtKind kind, SourceRange range) : kind(kind), range(range) {}
};

template <class Derived, StmtKind K> struct StmtNode : Stmt {
  static constexpr StmtKind nodeKind = K;
  explicit StmtNode(SourceRange range) : Stmt(K, range) {}
};

/// The node as a T, or null when it is another kind (or null).
template <class T, class Node> const T *as(const Node *node) {
  return node && node->kind == T::nodeKind ? static_cast<const T *>(node) : nullptr;
}
template <class T, class Node> const T *as(const std::unique_ptr<Node> &node) {
  return as<T>(static_cast<const Node *>(node.get()));
}

/// `model ouro`
struct ModelStmt : StmtNode<ModelStmt, StmtKind::Model> {
  using StmtNode::StmtNode;
  Identifier name;
};

/// `from "key" | "older.key" (word = "published", …)`
struct FromClause {
  SourceRange range;
  std::vector<std::string> keys; // tried in order
  std::vector<SourceRange> keyRanges;
  std::vector<std::pair<ExprPtr, ExprPtr>> words; // ours, published
};

/// `loops: int = 4 in 1..16 from "total_ut_steps"` in `config` or `options`
struct ConfigEntryStmt : StmtNode<ConfigEntryStmt, StmtKind::ConfigEntry> {
  using StmtNode::StmtNode;
  Identifier name;
  std::optional<TypeSyntax> type;
  ExprPtr value; // null: must be given
  ExprPtr domain; // RangeExpr or SetExpr, null: any
  std::optional<FromClause> from;
};

/// Statements inside: ConfigEntry, Require, Accept, Accident.
struct ConfigStmt : StmtNode<ConfigStmt, StmtKind::Config> {
  using StmtNode::StmtNode;
  Block body;
};
struct OptionsStmt : StmtNode<OptionsStmt, StmtKind::Options> {
  using StmtNode::StmtNode;
  Block body;
};

/// `require cond "why {value}"`
struct RequireStmt : StmtNode<RequireStmt, StmtKind::Require> {
  using StmtNode::StmtNode;
  ExprPtr condition;
  std::string why;
  SourceRange whyRange;
};

/// `accept "bias" = false, "block_size" any`
struct AcceptStmt : StmtNode<AcceptStmt, StmtKind::Accept> {
  using StmtNode::StmtNode;
  struct Entry {
    std::string key;
    SourceRange keyRange;
    ExprPtr value; // null: any value
  };
  std::vector<Entry> entries;
};

/// `accident name "sentence"`
struct AccidentStmt : StmtNode<AccidentStmt, StmtKind::Accident> {
  using StmtNode::StmtNode;
  Identifier name;
  std::string sentence;
};

/// `sequence exactly cells`: a fixed number of tokens
struct SequenceStmt : StmtNode<SequenceStmt, StmtKind::Sequence> {
  using StmtNode::StmtNode;
  ExprPtr length;
};

/// `phases differ "reason"`: prefill and decode are not the same function, by the author's choice
struct PhasesStmt : StmtNode<PhasesStmt, StmtKind::Phases> {
  using StmtNode::StmtNode;
  std::string reason;
};

/// `input x: [d] per sequence = e`
struct InputStmt : StmtNode<InputStmt, StmtKind::Input> {
  using StmtNode::StmtNode;
  Identifier name;
  TypeSyntax type;
  ExprPtr value; // default, or null
};

struct AxisParameter {
  Identifier name;
  bool pack = false; // `a..`
};

struct Parameter {
  Identifier name;
  std::optional<TypeSyntax> type; // without: a compile-time or index integer
  ExprPtr value;                  // default, or null
};

/// `fn f<a.., n>(x: [d], i: index) -> [d] { … }`, `fn f(x: [d]) -> [d] = e`, `share fn …`
struct FnStmt : StmtNode<FnStmt, StmtKind::Fn> {
  using StmtNode::StmtNode;
  bool shared = false;
  Identifier name;
  std::vector<AxisParameter> axes;
  std::vector<Parameter> params;
  std::vector<TypeSyntax> results; // empty: inferred
  bool expressionBody = false;     // `= e`: body holds one ResultStmt
  Block body;
};

/// `share f = fn(args)`, `share layers[n] = layer`
struct ShareStmt : StmtNode<ShareStmt, StmtKind::Share> {
  using StmtNode::StmtNode;
  Identifier name;
  std::vector<ExprPtr> counts; // `[n]`
  ExprPtr target;              // NameExpr or CallExpr
};

/// `weight A_log: [dr] init e no_decay`, `weight rho[t]: [d]`, `buffer bias: [experts]`
struct WeightStmt : StmtNode<WeightStmt, StmtKind::Weight> {
  using StmtNode::StmtNode;
  bool buffer = false; // no gradient; changed by rules in `train`
  Label label;         // the path and the indices over which it varies
  TypeSyntax type;
  ExprPtr init;                  // a distribution or value, or null
  std::vector<Identifier> tags;  // no_decay, frozen
  const Identifier &name() const { return label.segments.back().name; }
};

/// `state h = e`, `state h: [d] f32 per sequence = e`, `state z ~ normal() -> [d]`, `state s = e, warm z`
struct StateStmt : StmtNode<StateStmt, StmtKind::State> {
  using StmtNode::StmtNode;
  Identifier name;
  std::optional<TypeSyntax> type;
  ExprPtr value;
  bool draw = false; // `~`: value is a distribution call
  ScopeClause scope; // written after the value
  bool warm = false;
  ExprPtr warmValue; // null: the state itself
};

/// `carry S: [hd, hd] f32 = zeros restart new_document`, `carry fast[depth]: [d] = 0`
struct CarryStmt : StmtNode<CarryStmt, StmtKind::Carry> {
  using StmtNode::StmtNode;
  Identifier name;
  std::vector<ExprPtr> counts;
  std::optional<TypeSyntax> type;
  ExprPtr value;
  ExprPtr restart; // null: at the first token only
};

/// `memory cache`, `memory cache[depth]`
struct MemoryStmt : StmtNode<MemoryStmt, StmtKind::Memory> {
  using StmtNode::StmtNode;
  Identifier name;
  std::vector<ExprPtr> counts;
};

/// `view plain { … }`, `view draft block 32 { … }`, `view sleep every window tokens { … }`
struct ViewStmt : StmtNode<ViewStmt, StmtKind::View> {
  using StmtNode::StmtNode;
  enum class Mode { Plain, Block, Every };
  Identifier name;
  Mode mode = Mode::Plain;
  ExprPtr length; // null for Plain
  Block body;
};

/// `stack i < n { … }`, `stack i in a..b, unrolled { … }`
struct StackStmt : StmtNode<StackStmt, StmtKind::Stack> {
  using StmtNode::StmtNode;
  Identifier index;
  ExprPtr count;  // `i < n`
  ExprPtr domain; // `i in …`; one of the two is set
  bool unrolled = false;
  Block body;
};

/// `kv ring(2)`, `holes latest`, `order token`, `carry single`, `by anderson(5, mixing = 1)`
struct LoopClause {
  Identifier word; // kv, holes, order, carry, by
  ExprPtr value;   // NameExpr or CallExpr
  SourceRange range;
};

/// `loop t < loops, kv depth_indexed { … }`, `loop i, dt over steps { … }`, `loop i in a..b { … }`
struct LoopStmt : StmtNode<LoopStmt, StmtKind::Loop> {
  using StmtNode::StmtNode;
  Identifier index;
  Identifier element; // `dt`, empty otherwise
  ExprPtr count;      // `t < loops`
  ExprPtr domain;     // `in a..b`
  ExprPtr list;       // `over steps`; one of the three is set
  std::vector<LoopClause> clauses;
  Block body;
  /// The clause of that word, or null.
  const LoopClause *clause(std::string_view word) const {
    for (const LoopClause &c : clauses)
      if (c.word.text == word)
        return &c;
    return nullptr;
  }
};

/// `exit when c`, `exit hazard per sequence when c`
struct ExitStmt : StmtNode<ExitStmt, StmtKind::Exit> {
  using StmtNode::StmtNode;
  Identifier name; // empty: always on
  ScopeClause scope;
  ExprPtr condition;
};

struct IfStmt : StmtNode<IfStmt, StmtKind::If> {
  using StmtNode::StmtNode;
  ExprPtr condition;
  Block thenBlock;
  std::optional<Block> elseBlock; // `else if` is a block that holds one IfStmt
  bool elseIf = false;
};

struct MatchStmt : StmtNode<MatchStmt, StmtKind::Match> {
  using StmtNode::StmtNode;
  ExprPtr subject;
  std::vector<MatchArm> arms;
  SourceRange braces;
};

/// `where c { … }`: only the lanes with c execute
struct WhereStmt : StmtNode<WhereStmt, StmtKind::Where> {
  using StmtNode::StmtNode;
  ExprPtr condition;
  Block body;
};

struct BindTarget {
  Identifier name; // `_` drops the value
  std::vector<ExprPtr> indices; // `z[k] = e`
};

/// `x = e`, `q, k, v = e`, `z[k] = e`: a new name or a reassignment, sema decides which. Several targets take either
/// one value with several results or as many values.
struct BindStmt : StmtNode<BindStmt, StmtKind::Bind> {
  using StmtNode::StmtNode;
  std::vector<BindTarget> targets;
  std::vector<ExprPtr> values;
};

/// `x ~ normal(std = 1) -> [d] per sequence`, `loops ~ poisson(8) + 1`
struct DrawStmt : StmtNode<DrawStmt, StmtKind::Draw> {
  using StmtNode::StmtNode;
  std::vector<BindTarget> targets;
  ExprPtr distribution;
  ScopeClause scope;
};

/// The last expression of a block: its value.
struct ResultStmt : StmtNode<ResultStmt, StmtKind::Result> {
  using StmtNode::StmtNode;
  std::vector<ExprPtr> values; // several: `best, least, far`
};

/// `output logits = e`, `output logits`
struct OutputStmt : StmtNode<OutputStmt, StmtKind::Output> {
  using StmtNode::StmtNode;
  Identifier name;
  ExprPtr value; // null: the value of that name
};

/// `readout expected = e`: another output that a run may choose
struct ReadoutStmt : StmtNode<ReadoutStmt, StmtKind::Readout> {
  using StmtNode::StmtNode;
  Identifier name;
  ExprPtr value;
};

/// `policy merge(n) = x div n`: an integer function that maps layer-steps to planes
struct PolicyStmt : StmtNode<PolicyStmt, StmtKind::Policy> {
  using StmtNode::StmtNode;
  Identifier name;
  std::vector<Parameter> params;
  ExprPtr value;
};

//===----------------------------------------------------------------------===//
// Training and files
//===----------------------------------------------------------------------===//

/// A set of weights: a glob over paths (`core.*.moe`, `**.bias`, `{*}`) or a group word (all, rest, norms, matrices …).
struct Selector {
  std::string text;
  SourceRange range;
};

struct SelectorSet {
  std::vector<Selector> include;
  std::vector<Selector> except;
};

/// `train { … }`, `train stage1 { … }`: ordinary statements and the ones below
struct TrainStmt : StmtNode<TrainStmt, StmtKind::Train> {
  using StmtNode::StmtNode;
  Identifier name;
  Block body;
};

/// `backprop all`, `backprop last 4 of t`, `backprop implicit(…) of j`, `backprop when c`
struct BackpropStmt : StmtNode<BackpropStmt, StmtKind::Backprop> {
  using StmtNode::StmtNode;
  enum class Mode { All, Last, Implicit, When };
  Mode mode = Mode::All;
  ExprPtr value; // the count, the call of `implicit`, or the condition
  ExprPtr of;    // the loop's index or a path; null: the only loop
};

/// `loss = e` or `loss e`
struct LossStmt : StmtNode<LossStmt, StmtKind::Loss> {
  using StmtNode::StmtNode;
  ExprPtr value;
};

/// `optimize norms, **.bias except head.* where ndim >= 2 with adamw(lr = 3e-4)`
struct OptimizeStmt : StmtNode<OptimizeStmt, StmtKind::Optimize> {
  using StmtNode::StmtNode;
  SelectorSet weights;
  ExprPtr where; // null: all
  ExprPtr optimizer;
};

/// `freeze all except gate.*`
struct FreezeStmt : StmtNode<FreezeStmt, StmtKind::Freeze> {
  using StmtNode::StmtNode;
  SelectorSet weights;
};

/// `clip 1.0`, `schedule e`, `ema 0.999 of all except head.*`, `steps 20k`, `batch 128`, `refill`
struct SettingStmt : StmtNode<SettingStmt, StmtKind::Setting> {
  using StmtNode::StmtNode;
  Identifier word;
  ExprPtr value; // null for `refill`
  SelectorSet weights;
};

/// `update each segment { … }`, `update e`
struct UpdateStmt : StmtNode<UpdateStmt, StmtKind::Update> {
  using StmtNode::StmtNode;
  Identifier each;
  std::optional<Block> body;
  ExprPtr value;
  bool refill = false; // `} refill`
};

/// `init { … }`, inside or outside `train`; statements inside: InitEntry
struct InitStmt : StmtNode<InitStmt, StmtKind::Init> {
  using StmtNode::StmtNode;
  Block body;
};

/// `**.proj, head = normal(std = 0.02)`, `layers[i].diff.* = layers[i].attn.*`
struct InitEntryStmt : StmtNode<InitEntryStmt, StmtKind::InitEntry> {
  using StmtNode::StmtNode;
  std::vector<Selector> weights;
  ExprPtr value;                 // a distribution; or null and
  std::optional<Selector> copy;  // weights to copy
};

/// `checkpoint "authors" { … }`; statements inside: CheckpointEntry
struct CheckpointStmt : StmtNode<CheckpointStmt, StmtKind::Checkpoint> {
  using StmtNode::StmtNode;
  std::optional<std::string> name;
  Block body;
};

/// `"published.{i}.{rest}" = path.{i} when c for w in [q, k] optional`, `ignored "freqs_cis"`, `prefix "model."`,
/// `"lm_head.weight" duplicates wte.weight`
struct CheckpointEntryStmt : StmtNode<CheckpointEntryStmt, StmtKind::CheckpointEntry> {
  using StmtNode::StmtNode;
  enum class Form { Map, Duplicates, Ignored, Unused, Recomputed, Prefix };
  Form form = Form::Map;
  std::string published;
  SourceRange publishedRange;
  std::optional<Selector> target;
  std::vector<std::pair<Identifier, ExprPtr>> variables; // `for w in [q, k]`
  ExprPtr when;
  std::optional<TypeSyntax> shape; // `shape [*, 1, taps]`
  ExprPtr rows;                    // `rows adjacent_pairs(hd)`: the order of the rows in the file
  bool optional = false;
};

/// `optimizer sign_rows(lr, decay) { state m = 0;  w = … }`: an update rule per weight
struct OptimizerStmt : StmtNode<OptimizerStmt, StmtKind::Optimizer> {
  using StmtNode::StmtNode;
  Identifier name;
  std::vector<Parameter> params;
  Block body;
};

/// `measure { … }`: as `train`, without gradients
struct MeasureStmt : StmtNode<MeasureStmt, StmtKind::Measure> {
  using StmtNode::StmtNode;
  Identifier name;
  Block body;
};

/// Stands where a statement could not be read; a message was given.
struct ErrorStmt : StmtNode<ErrorStmt, StmtKind::Error> {
  using StmtNode::StmtNode;
};

/// A comment, from `#` to the end of its line. Comments are kept beside the tree; the formatter finds their place
/// from the ranges.
struct Comment {
  SourceRange range;
  bool ownLine = false; // nothing but space before it
};

/// One file.
struct Spec {
  std::vector<StmtPtr> statements;
  std::vector<Comment> comments;
};

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_AST_H
