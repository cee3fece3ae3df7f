// The syntax tree of a spec: sections and statements.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_ASTSTATEMENTS_H
#define LOOPC_FRONTEND_ASTSTATEMENTS_H

#include "loopc/Frontend/ASTExpressions.h"

namespace loopc::ast {

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

/// `sequence exactly cells`: a fixed number of tokens; `sequence at most n`: the longest that the page can say
struct SequenceStmt : StmtNode<SequenceStmt, StmtKind::Sequence> {
  using StmtNode::StmtNode;
  bool atMost = false;
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

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_ASTSTATEMENTS_H
