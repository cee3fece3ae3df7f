// Listing of a syntax tree for tests: one statement a line, expressions in prefix form.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Frontend/Lexer.h"
#include "loopc/Frontend/Parser.h"

namespace loopc::frontend {

using namespace loopc::ast;

std::string_view operatorSpelling(BinaryOp op) {
  switch (op) {
  case BinaryOp::Add:
    return "+";
  case BinaryOp::Sub:
    return "-";
  case BinaryOp::Mul:
    return "*";
  case BinaryOp::Div:
    return "/";
  case BinaryOp::FloorDiv:
    return "div";
  case BinaryOp::Mod:
    return "mod";
  case BinaryOp::Pow:
    return "^";
  case BinaryOp::Eq:
    return "==";
  case BinaryOp::Ne:
    return "!=";
  case BinaryOp::Lt:
    return "<";
  case BinaryOp::Le:
    return "<=";
  case BinaryOp::Gt:
    return ">";
  case BinaryOp::Ge:
    return ">=";
  case BinaryOp::In:
    return "in";
  case BinaryOp::And:
    return "and";
  case BinaryOp::Or:
    return "or";
  }
  return "?";
}

namespace {

class Dumper {
public:
  std::string out;

  void statements(const std::vector<StmtPtr> &list) {
    for (const StmtPtr &s : list)
      statement(*s);
  }

private:
  //===--- Pieces ---===//
  static std::string list(const std::vector<ExprPtr> &items) {
    std::string text = "[";
    for (size_t i = 0; i < items.size(); ++i)
      text += (i ? ", " : "") + expr(items[i]);
    return text + "]";
  }

  static std::string scope(const ScopeClause &clause) {
    switch (clause.scope) {
    case Scope::Inferred:
      return "";
    case Scope::Token:
      return " per token";
    case Scope::Sequence:
      return " per sequence";
    case Scope::Run:
      return " per run";
    }
    return "";
  }

  static std::string type(const TypeSyntax &t) {
    std::string text;
    switch (t.form) {
    case TypeSyntax::Form::Shape:
      text = list(t.dims);
      break;
    case TypeSyntax::Form::Word:
      text = t.word.text + (t.args.empty() ? "" : list(t.args));
      break;
    case TypeSyntax::Form::List:
    case TypeSyntax::Form::Carry:
      text = t.word.text + "(" + (t.elements.empty() ? "" : type(t.elements.front())) + ")";
      break;
    }
    if (t.optional)
      text += "?";
    if (!t.dtype.empty())
      text += " " + t.dtype.text;
    return text + scope(t.scope);
  }

  static std::string types(const std::vector<TypeSyntax> &list) {
    std::string text;
    for (size_t i = 0; i < list.size(); ++i)
      text += (i ? ", " : " -> ") + type(list[i]);
    return text;
  }

  static std::string label(const Label &l) {
    if (l.self)
      return "self";
    std::string text;
    for (size_t i = 0; i < l.segments.size(); ++i)
      text += (i ? "." : "") + l.segments[i].name.text +
              (l.segments[i].indices.empty() ? "" : list(l.segments[i].indices));
    return text;
  }

  static std::string args(const std::vector<Argument> &list) {
    std::string text;
    for (const Argument &a : list)
      text += " " + (a.name.empty() ? "" : a.name.text + "=") + expr(a.value);
    return text;
  }

  static std::string targets(const std::vector<BindTarget> &list) {
    std::string text;
    for (size_t i = 0; i < list.size(); ++i)
      text += (i ? ", " : "") + list[i].name.text + (list[i].indices.empty() ? "" : Dumper::list(list[i].indices));
    return text;
  }

  static std::string params(const std::vector<Parameter> &list) {
    std::string text = "(";
    for (size_t i = 0; i < list.size(); ++i)
      text += (i ? ", " : "") + list[i].name.text + (list[i].type ? ": " + type(*list[i].type) : "") +
              (list[i].value ? " = " + expr(list[i].value) : "");
    return text + ")";
  }

  static std::string selectors(const std::vector<Selector> &list) {
    std::string text;
    for (size_t i = 0; i < list.size(); ++i)
      text += (i ? ", " : "") + list[i].text;
    return text;
  }

  static std::string selectors(const SelectorSet &set) {
    return selectors(set.include) + (set.except.empty() ? "" : " except " + selectors(set.except));
  }

  static std::string optional(std::string_view word, const ExprPtr &e) {
    return e ? (word.empty() ? "" : " " + std::string(word)) + " " + expr(e) : "";
  }

  static std::string inlineBlock(const Block &block) {
    Dumper inner;
    inner.statements(block.statements);
    std::string text = "{ ";
    for (char c : inner.out)
      text += c == '\n' ? ';' : c;
    return text + "}";
  }

  static std::string arms(const std::vector<MatchArm> &list) {
    std::string text;
    for (const MatchArm &arm : list)
      text += " (" + Dumper::list(arm.patterns) + " " + inlineBlock(arm.body) + ")";
    return text;
  }

  //===--- Expressions ---===//
  static std::string expr(const ExprPtr &e) { return e ? expr(*e) : "<none>"; }

  template <class T> static const T &cast(const Expr &e) { return static_cast<const T &>(e); }
  template <class T> static const T &cast(const Stmt &s) { return static_cast<const T &>(s); }

  static std::string expr(const Expr &node) {
    switch (node.kind) {
    case ExprKind::Number:
      return cast<NumberExpr>(node).spelling;
    case ExprKind::Bool:
      return cast<BoolExpr>(node).value ? "true" : "false";
    case ExprKind::String:
      return quote(cast<StringExpr>(node).value);
    case ExprKind::Name:
      return cast<NameExpr>(node).name;
    case ExprKind::Field:
      return "(." + cast<FieldExpr>(node).field.text + " " + expr(cast<FieldExpr>(node).base) + ")";
    case ExprKind::Call: {
      const auto &e = cast<CallExpr>(node);
      return "(call " + expr(e.callee) + (e.label ? "@" + label(*e.label) : "") + args(e.args) + types(e.results) + ")";
    }
    case ExprKind::Index: {
      const auto &e = cast<IndexExpr>(node);
      std::string text = "(at " + expr(e.base);
      for (const IndexEntry &entry : e.entries)
        text += " " + (entry.name.empty() ? "" : entry.name.text + "=") + expr(entry.value);
      return text + ")";
    }
    case ExprKind::Unary: {
      const auto &e = cast<UnaryExpr>(node);
      return std::string(e.op == UnaryOp::Minus ? "(neg " : "(not ") + expr(e.operand) + ")";
    }
    case ExprKind::Binary: {
      const auto &e = cast<BinaryExpr>(node);
      return "(" + std::string(operatorSpelling(e.op)) + " " + expr(e.lhs) + " " + expr(e.rhs) + ")";
    }
    case ExprKind::Range: {
      const auto &e = cast<RangeExpr>(node);
      return "(range " + expr(e.low) + (e.closed ? " ..= " : " .. ") + expr(e.high) + ")";
    }
    case ExprKind::Set:
      return "(set " + list(cast<SetExpr>(node).elements) + ")";
    case ExprKind::List:
      return list(cast<ListExpr>(node).elements);
    case ExprKind::Tuple:
      return "(tuple" + args(cast<TupleExpr>(node).elements) + ")";
    case ExprKind::If: {
      const auto &e = cast<IfExpr>(node);
      return "(if " + expr(e.condition) + " " + expr(e.thenValue) + " " + expr(e.elseValue) + ")";
    }
    case ExprKind::Match:
      return "(match " + expr(cast<MatchExpr>(node).subject) + arms(cast<MatchExpr>(node).arms) + ")";
    case ExprKind::Block:
      return inlineBlock(cast<BlockExpr>(node).block);
    case ExprKind::Reduce: {
      const auto &e = cast<ReduceExpr>(node);
      return "(reduce " + e.op.text + " " + list(e.axes) + optional("where", e.where) + " " + expr(e.body) +
             types(e.results) + ")";
    }
    case ExprKind::Over:
      return "(over " + expr(cast<OverExpr>(node).value) + " " + expr(cast<OverExpr>(node).axis) + ")";
    case ExprKind::Binder: {
      const auto &e = cast<BinderExpr>(node);
      return "(each " + e.variable.text + " " + expr(e.domain) + " " + expr(e.body) + ")";
    }
    case ExprKind::Cast:
      return "(as " + expr(cast<CastExpr>(node).operand) + " " + cast<CastExpr>(node).dtype.text + ")";
    case ExprKind::Ragged:
      return "*" + cast<RaggedExpr>(node).name;
    case ExprKind::Pack:
      return cast<PackExpr>(node).name + "..";
    case ExprKind::Error:
      return "<error>";
    }
    return "";
  }

  //===--- Statements ---===//
  void line(const std::string &text) { out += std::string(2 * depth, ' ') + text + "\n"; }

  void block(const Block &b) {
    ++depth;
    statements(b.statements);
    --depth;
  }

  void statement(const Stmt &node) {
    switch (node.kind) {
    case StmtKind::Model:
      return line("model " + cast<ModelStmt>(node).name.text);
    case StmtKind::Config:
      line("config");
      return block(cast<ConfigStmt>(node).body);
    case StmtKind::Options:
      line("options");
      return block(cast<OptionsStmt>(node).body);
    case StmtKind::ConfigEntry: {
      const auto &s = cast<ConfigEntryStmt>(node);
      std::string text = "entry " + s.name.text + (s.type ? ": " + type(*s.type) : "") + optional("=", s.value) +
                         optional("in", s.domain);
      if (s.from) {
        text += " from";
        for (const std::string &key : s.from->keys)
          text += " " + quote(key);
        for (const auto &[ours, published] : s.from->words)
          text += " (" + expr(ours) + " = " + expr(published) + ")";
      }
      return line(text);
    }
    case StmtKind::Require:
      return line("require " + expr(cast<RequireStmt>(node).condition) + " " + quote(cast<RequireStmt>(node).why));
    case StmtKind::Accept:
      for (const AcceptStmt::Entry &entry : cast<AcceptStmt>(node).entries)
        line("accept " + quote(entry.key) + " " + (entry.value ? expr(entry.value) : "any"));
      return;
    case StmtKind::Accident:
      return line("accident " + cast<AccidentStmt>(node).name.text + " " + quote(cast<AccidentStmt>(node).sentence));
    case StmtKind::Sequence:
      return line((cast<SequenceStmt>(node).atMost ? "sequence at most " : "sequence exactly ") + expr(cast<SequenceStmt>(node).length));
    case StmtKind::Phases:
      return line("phases differ " + quote(cast<PhasesStmt>(node).reason));
    case StmtKind::Input: {
      const auto &s = cast<InputStmt>(node);
      return line("input " + s.name.text + ": " + type(s.type) + optional("=", s.value));
    }
    case StmtKind::Fn: {
      const auto &s = cast<FnStmt>(node);
      std::string axes;
      for (const AxisParameter &a : s.axes)
        axes += " <" + a.name.text + (a.pack ? ".." : "") + ">";
      line((s.shared ? "share fn " : "fn ") + s.name.text + axes + params(s.params) + types(s.results));
      return block(s.body);
    }
    case StmtKind::Share: {
      const auto &s = cast<ShareStmt>(node);
      return line("share " + s.name.text + (s.counts.empty() ? "" : list(s.counts)) + " = " + expr(s.target));
    }
    case StmtKind::Weight: {
      const auto &s = cast<WeightStmt>(node);
      std::string text = (s.buffer ? "buffer " : "weight ") + label(s.label) + ": " + type(s.type) +
                         optional("init", s.init);
      for (const Identifier &tag : s.tags)
        text += " " + tag.text;
      return line(text);
    }
    case StmtKind::State: {
      const auto &s = cast<StateStmt>(node);
      return line("state " + s.name.text + (s.type ? ": " + type(*s.type) : "") + (s.draw ? " ~ " : " = ") +
                  expr(s.value) + scope(s.scope) + (s.warm ? " warm" : "") + optional("from", s.warmValue));
    }
    case StmtKind::Carry: {
      const auto &s = cast<CarryStmt>(node);
      return line("carry " + s.name.text + (s.counts.empty() ? "" : list(s.counts)) +
                  (s.type ? ": " + type(*s.type) : "") + optional("=", s.value) + optional("restart", s.restart));
    }
    case StmtKind::Memory:
      return line("memory " + cast<MemoryStmt>(node).name.text + list(cast<MemoryStmt>(node).counts));
    case StmtKind::View: {
      const auto &s = cast<ViewStmt>(node);
      line("view " + s.name.text +
           optional(s.mode == ViewStmt::Mode::Block ? "block" : "every", s.length));
      return block(s.body);
    }
    case StmtKind::Stack: {
      const auto &s = cast<StackStmt>(node);
      line("stack " + s.index.text + optional("<", s.count) + optional("in", s.domain) +
           (s.unrolled ? " unrolled" : ""));
      return block(s.body);
    }
    case StmtKind::Loop: {
      const auto &s = cast<LoopStmt>(node);
      std::string text = "loop " + s.index.text + (s.element.empty() ? "" : ", " + s.element.text) +
                         optional("<", s.count) + optional("in", s.domain) + optional("over", s.list);
      for (const LoopClause &clause : s.clauses)
        text += ", " + clause.word.text + " " + expr(clause.value);
      line(text);
      return block(s.body);
    }
    case StmtKind::Exit: {
      const auto &s = cast<ExitStmt>(node);
      return line("exit " + s.name.text + scope(s.scope) + " when " + expr(s.condition));
    }
    case StmtKind::If: {
      const auto &s = cast<IfStmt>(node);
      line("if " + expr(s.condition));
      block(s.thenBlock);
      if (s.elseBlock) {
        line("else");
        block(*s.elseBlock);
      }
      return;
    }
    case StmtKind::Match: {
      const auto &s = cast<MatchStmt>(node);
      line("match " + expr(s.subject));
      for (const MatchArm &arm : s.arms) {
        line("arm " + list(arm.patterns));
        block(arm.body);
      }
      return;
    }
    case StmtKind::Where:
      line("where " + expr(cast<WhereStmt>(node).condition));
      return block(cast<WhereStmt>(node).body);
    case StmtKind::Bind: {
      const auto &s = cast<BindStmt>(node);
      std::string text = "bind " + targets(s.targets) + " =";
      for (const ExprPtr &value : s.values)
        text += " " + expr(value);
      return line(text);
    }
    case StmtKind::Draw: {
      const auto &s = cast<DrawStmt>(node);
      return line("draw " + targets(s.targets) + " ~ " + expr(s.distribution) + scope(s.scope));
    }
    case StmtKind::Result: {
      std::string text = "value";
      for (const ExprPtr &value : cast<ResultStmt>(node).values)
        text += " " + expr(value);
      return line(text);
    }
    case StmtKind::Output:
      return line("output " + cast<OutputStmt>(node).name.text + optional("=", cast<OutputStmt>(node).value));
    case StmtKind::Readout:
      return line("readout " + cast<ReadoutStmt>(node).name.text + optional("=", cast<ReadoutStmt>(node).value));
    case StmtKind::Policy: {
      const auto &s = cast<PolicyStmt>(node);
      return line("policy " + s.name.text + params(s.params) + " = " + expr(s.value));
    }
    case StmtKind::Train:
      line("train " + cast<TrainStmt>(node).name.text);
      return block(cast<TrainStmt>(node).body);
    case StmtKind::Measure:
      line("measure " + cast<MeasureStmt>(node).name.text);
      return block(cast<MeasureStmt>(node).body);
    case StmtKind::Backprop: {
      const auto &s = cast<BackpropStmt>(node);
      static constexpr std::string_view modes[] = {"all", "last", "implicit", "when"};
      return line("backprop " + std::string(modes[static_cast<size_t>(s.mode)]) + optional("", s.value) +
                  optional("of", s.of));
    }
    case StmtKind::Loss:
      return line("loss " + expr(cast<LossStmt>(node).value));
    case StmtKind::Optimize: {
      const auto &s = cast<OptimizeStmt>(node);
      return line("optimize " + selectors(s.weights) + optional("where", s.where) + optional("with", s.optimizer));
    }
    case StmtKind::Freeze:
      return line("freeze " + selectors(cast<FreezeStmt>(node).weights));
    case StmtKind::Setting: {
      const auto &s = cast<SettingStmt>(node);
      return line("setting " + s.word.text + optional("", s.value) +
                  (s.weights.include.empty() ? "" : " of " + selectors(s.weights)));
    }
    case StmtKind::Update: {
      const auto &s = cast<UpdateStmt>(node);
      line("update" + (s.each.empty() ? "" : " each " + s.each.text) + optional("", s.value) +
           (s.refill ? " refill" : ""));
      if (s.body)
        block(*s.body);
      return;
    }
    case StmtKind::Init:
      line("init" + (cast<InitStmt>(node).name ? " " + quote(*cast<InitStmt>(node).name) : ""));
      return block(cast<InitStmt>(node).body);
    case StmtKind::InitEntry: {
      const auto &s = cast<InitEntryStmt>(node);
      return line("entry " + selectors(s.weights) + optional("=", s.value) + (s.copy ? " copies " + s.copy->text : "") + optional("when", s.when));
    }
    case StmtKind::Checkpoint:
      line("checkpoint" + (cast<CheckpointStmt>(node).name ? " " + quote(*cast<CheckpointStmt>(node).name) : ""));
      return block(cast<CheckpointStmt>(node).body);
    case StmtKind::CheckpointEntry: {
      const auto &s = cast<CheckpointEntryStmt>(node);
      static constexpr std::string_view forms[] = {"map", "duplicates", "ignored", "unused", "recomputed", "prefix"};
      std::string text = std::string(forms[static_cast<size_t>(s.form)]) + " " + quote(s.published) +
                         (s.target ? " " + s.target->text : "") + optional("rows", s.rows) + optional("when", s.when);
      for (const auto &[name, values] : s.variables)
        text += " for " + name.text + " in " + expr(values);
      return line(text + (s.shape ? " shape " + type(*s.shape) : "") + (s.optional ? " optional" : ""));
    }
    case StmtKind::Optimizer:
      line("optimizer " + cast<OptimizerStmt>(node).name.text + params(cast<OptimizerStmt>(node).params));
      return block(cast<OptimizerStmt>(node).body);
    case StmtKind::Error:
      return line("<error>");
    }
  }

  unsigned depth = 0;
};

} // namespace

std::string dump(const ast::Spec &spec) {
  Dumper dumper;
  dumper.statements(spec.statements);
  return std::move(dumper.out);
}

} // namespace loopc::frontend
