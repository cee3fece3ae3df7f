// The syntax tree of a spec: training, initial values and checkpoint maps.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_ASTTRAINING_H
#define LOOPC_FRONTEND_ASTTRAINING_H

#include "loopc/Frontend/ASTStatements.h"

namespace loopc::ast {

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

/// `init { … }`, inside or outside `train`; `init "untied" { … }`: from the weights of another model; statements inside: InitEntry
struct InitStmt : StmtNode<InitStmt, StmtKind::Init> {
  using StmtNode::StmtNode;
  std::optional<std::string> name;
  Block body;
};

/// `**.proj, head = normal(std = 0.02)`, `layers[i].diff.* = layers[i].attn.*`, `core.{i} = "layers.{i + P}.weight" when c`
struct InitEntryStmt : StmtNode<InitEntryStmt, StmtKind::InitEntry> {
  using StmtNode::StmtNode;
  std::vector<Selector> weights;
  ExprPtr value;                 // a distribution; or null and
  std::optional<Selector> copy;  // weights to copy
  ExprPtr when;
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

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_ASTTRAINING_H
