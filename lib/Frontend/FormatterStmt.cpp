// Canonical layout of statements and sections.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FormatterImpl.h"

namespace loopc::frontend {

namespace {
template <class T> const T &cast(const Stmt &s) { return static_cast<const T &>(s); }
} // namespace

Formatter::Doc Formatter::params(const std::vector<Parameter> &list) {
  std::vector<Doc> items;
  for (const Parameter &p : list) {
    std::vector<Doc> parts = {text(p.name.text)};
    if (p.type) {
      parts.push_back(text(": "));
      parts.push_back(type(*p.type));
    }
    if (p.value) {
      parts.push_back(text(" = "));
      parts.push_back(expr(p.value));
    }
    items.push_back(layout.concat(parts));
  }
  return listed("(", items, ")");
}

Formatter::Doc Formatter::selectors(const std::vector<Selector> &list) {
  std::vector<Doc> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i) {
      parts.push_back(text(","));
      parts.push_back(layout.line());
    }
    // Space inside `{ }` and `[ ]` is kept, but a tab or the like is not.
    std::string s = list[i].text;
    for (char &c : s)
      if (c == '\t' || c == '\r')
        c = ' ';
    parts.push_back(text(s));
  }
  return layout.group(layout.nest(4, layout.concat(parts)));
}

Formatter::Doc Formatter::selectors(const SelectorSet &set) {
  Doc include = selectors(set.include);
  return set.except.empty() ? include : cat({include, text(" except "), selectors(set.except)});
}

Formatter::Doc Formatter::targets(const std::vector<BindTarget> &list) {
  std::vector<Doc> parts;
  for (size_t i = 0; i < list.size(); ++i) {
    parts.push_back(text((i ? ", " : "") + list[i].name.text));
    if (!list[i].indices.empty())
      parts.push_back(exprs("[", list[i].indices, "]"));
  }
  return layout.concat(parts);
}

Formatter::Doc Formatter::configEntry(const ConfigEntryStmt &s) {
  std::vector<Doc> parts = {text(s.name.text)};
  if (s.type) {
    parts.push_back(text(": "));
    parts.push_back(type(*s.type));
  }
  if (s.value) {
    parts.push_back(layout.column());
    parts.push_back(text("= "));
    parts.push_back(expr(s.value));
  }
  if (s.domain) {
    parts.push_back(text(" in "));
    parts.push_back(expr(s.domain));
  }
  if (s.from) {
    parts.push_back(layout.column());
    parts.push_back(text("from "));
    for (size_t i = 0; i < s.from->keys.size(); ++i)
      parts.push_back(text((i ? " | " : "") + quote(s.from->keys[i])));
    if (!s.from->words.empty()) {
      std::vector<Doc> words;
      for (const auto &[ours, published] : s.from->words)
        words.push_back(cat({expr(ours), text(" = "), expr(published)}));
      parts.push_back(text(" "));
      parts.push_back(listed("(", words, ")"));
    }
  }
  return layout.concat(parts);
}

Formatter::Doc Formatter::fn(const FnStmt &s) {
  std::vector<Doc> parts = {text(s.shared ? "share fn " : "fn "), text(s.name.text)};
  if (!s.axes.empty()) {
    std::vector<Doc> axes;
    for (const AxisParameter &a : s.axes)
      axes.push_back(text(a.name.text + (a.pack ? ".." : "")));
    parts.push_back(listed("<", axes, ">"));
  }
  parts.push_back(params(s.params));
  parts.push_back(results(s.results));
  if (s.expressionBody) {
    parts.push_back(text(" = "));
    parts.push_back(expr(cast<ResultStmt>(*s.body.statements.front()).values.front()));
  } else {
    parts.push_back(text(" "));
    parts.push_back(block(s.body));
  }
  return layout.concat(parts);
}

Formatter::Doc Formatter::ifStatement(const IfStmt &s) {
  std::vector<Doc> parts = {text("if "), expr(s.condition), text(" ")};
  parts.push_back(block(s.thenBlock));
  if (s.elseBlock) {
    parts.push_back(text(" else "));
    if (s.elseIf) {
      hoist(s.elseBlock->range.begin);
      parts.push_back(statement(*s.elseBlock->statements.front()));
    } else {
      parts.push_back(block(*s.elseBlock));
    }
  }
  return layout.concat(parts);
}

Formatter::Doc Formatter::loop(const LoopStmt &s) {
  std::vector<Doc> parts = {text("loop " + s.index.text)};
  if (!s.element.empty())
    parts.push_back(text(", " + s.element.text));
  parts.push_back(clause("<", s.count));
  parts.push_back(clause("in", s.domain));
  parts.push_back(clause("over", s.list));
  std::vector<Doc> clauses;
  for (const LoopClause &c : s.clauses) {
    clauses.push_back(text(","));
    clauses.push_back(layout.line());
    clauses.push_back(text(c.word.text + " "));
    clauses.push_back(expr(c.value));
  }
  parts.push_back(layout.group(layout.nest(4, layout.concat(clauses))));
  parts.push_back(text(" "));
  parts.push_back(block(s.body));
  return layout.concat(parts);
}

Formatter::Doc Formatter::statement(const Stmt &node) {
  switch (node.kind) {
  case StmtKind::Model:
    return text("model " + cast<ModelStmt>(node).name.text);
  case StmtKind::Config:
    return cat({text("config "), block(cast<ConfigStmt>(node).body)});
  case StmtKind::Options:
    return cat({text("options "), block(cast<OptionsStmt>(node).body)});
  case StmtKind::ConfigEntry:
    return configEntry(cast<ConfigEntryStmt>(node));
  case StmtKind::Require: {
    const auto &s = cast<RequireStmt>(node);
    return layout.group(cat({text("require "), expr(s.condition),
                             layout.nest(2, cat({layout.line(), text(quote(s.why))}))}));
  }
  case StmtKind::Accept: {
    std::vector<Doc> parts;
    for (const AcceptStmt::Entry &entry : cast<AcceptStmt>(node).entries) {
      if (!parts.empty()) {
        parts.push_back(text(","));
        parts.push_back(layout.line());
      }
      parts.push_back(text(quote(entry.key)));
      parts.push_back(entry.value ? cat({text(" = "), expr(entry.value)}) : text(" any"));
    }
    return cat({text("accept "), layout.group(layout.nest(7, layout.concat(parts)))});
  }
  case StmtKind::Accident:
    return text("accident " + cast<AccidentStmt>(node).name.text + " " + quote(cast<AccidentStmt>(node).sentence));
  case StmtKind::Sequence:
    return cat({text(cast<SequenceStmt>(node).atMost ? "sequence at most " : "sequence exactly "), expr(cast<SequenceStmt>(node).length)});
  case StmtKind::Phases:
    return text("phases differ " + quote(cast<PhasesStmt>(node).reason));
  case StmtKind::Input: {
    const auto &s = cast<InputStmt>(node);
    return cat({text("input " + s.name.text + ": "), type(s.type), clause("=", s.value)});
  }
  case StmtKind::Fn:
    return fn(cast<FnStmt>(node));
  case StmtKind::Share: {
    const auto &s = cast<ShareStmt>(node);
    Doc counts = s.counts.empty() ? layout.empty() : exprs("[", s.counts, "]");
    return cat({text("share " + s.name.text), counts, text(" = "), expr(s.target)});
  }
  case StmtKind::Weight: {
    const auto &s = cast<WeightStmt>(node);
    std::vector<Doc> parts = {text(s.buffer ? "buffer " : "weight "), label(s.label), text(": "), type(s.type)};
    parts.push_back(clause("init", s.init));
    for (const Identifier &tag : s.tags)
      parts.push_back(text(" " + tag.text));
    return layout.concat(parts);
  }
  case StmtKind::State: {
    const auto &s = cast<StateStmt>(node);
    std::vector<Doc> parts = {text("state " + s.name.text)};
    if (s.type) {
      parts.push_back(text(": "));
      parts.push_back(type(*s.type));
    }
    parts.push_back(clause(s.draw ? "~" : "=", s.value));
    parts.push_back(scope(s.scope));
    if (s.warm)
      parts.push_back(text(", warm"));
    if (s.warmValue) {
      parts.push_back(text(" "));
      parts.push_back(expr(s.warmValue));
    }
    return layout.concat(parts);
  }
  case StmtKind::Carry: {
    const auto &s = cast<CarryStmt>(node);
    std::vector<Doc> parts = {text("carry " + s.name.text)};
    if (!s.counts.empty())
      parts.push_back(exprs("[", s.counts, "]"));
    if (s.type) {
      parts.push_back(text(": "));
      parts.push_back(type(*s.type));
    }
    parts.push_back(clause("=", s.value));
    parts.push_back(clause("restart", s.restart));
    return layout.concat(parts);
  }
  case StmtKind::Memory: {
    const auto &s = cast<MemoryStmt>(node);
    return cat({text("memory " + s.name.text), s.counts.empty() ? layout.empty() : exprs("[", s.counts, "]")});
  }
  case StmtKind::View: {
    const auto &s = cast<ViewStmt>(node);
    std::vector<Doc> parts = {text("view " + s.name.text)};
    parts.push_back(clause(s.mode == ViewStmt::Mode::Block ? "block" : "every", s.length));
    if (s.mode == ViewStmt::Mode::Every)
      parts.push_back(text(" tokens"));
    parts.push_back(text(" "));
    parts.push_back(block(s.body));
    return layout.concat(parts);
  }
  case StmtKind::Stack: {
    const auto &s = cast<StackStmt>(node);
    std::vector<Doc> parts = {text("stack " + s.index.text), clause("<", s.count), clause("in", s.domain),
                              text(s.unrolled ? ", unrolled " : " ")};
    parts.push_back(block(s.body));
    return layout.concat(parts);
  }
  case StmtKind::Loop:
    return loop(cast<LoopStmt>(node));
  case StmtKind::Exit: {
    const auto &s = cast<ExitStmt>(node);
    return cat({text(s.name.empty() ? "exit" : "exit " + s.name.text), scope(s.scope), clause("when", s.condition)});
  }
  case StmtKind::If:
    return ifStatement(cast<IfStmt>(node));
  case StmtKind::Match: {
    const auto &s = cast<MatchStmt>(node);
    return cat({text("match "), expr(s.subject), text(" "), arms(s.arms, s.braces)});
  }
  case StmtKind::Where: {
    const auto &s = cast<WhereStmt>(node);
    return cat({text("where "), expr(s.condition), text(" "), block(s.body)});
  }
  case StmtKind::Bind: {
    const auto &s = cast<BindStmt>(node);
    std::vector<Doc> parts = {targets(s.targets), text(" = ")};
    for (size_t i = 0; i < s.values.size(); ++i) {
      if (i) {
        parts.push_back(text(","));
        parts.push_back(layout.line());
      }
      parts.push_back(expr(s.values[i]));
    }
    return parts.size() == 3 ? layout.concat(parts) : layout.group(layout.nest(2, layout.concat(parts)));
  }
  case StmtKind::Draw: {
    const auto &s = cast<DrawStmt>(node);
    return cat({targets(s.targets), text(" ~ "), expr(s.distribution), scope(s.scope)});
  }
  case StmtKind::Result: {
    std::vector<Doc> parts;
    for (const ExprPtr &value : cast<ResultStmt>(node).values) {
      if (!parts.empty()) {
        parts.push_back(text(","));
        parts.push_back(layout.line());
      }
      parts.push_back(expr(value));
    }
    return parts.size() == 1 ? parts.front() : layout.group(layout.nest(2, layout.concat(parts)));
  }
  case StmtKind::Output: {
    const auto &s = cast<OutputStmt>(node);
    return cat({text("output " + s.name.text), clause("=", s.value)});
  }
  case StmtKind::Readout: {
    const auto &s = cast<ReadoutStmt>(node);
    return cat({text("readout " + s.name.text), clause("=", s.value)});
  }
  case StmtKind::Policy: {
    const auto &s = cast<PolicyStmt>(node);
    return cat({text("policy " + s.name.text), s.params.empty() ? layout.empty() : params(s.params),
                clause("=", s.value)});
  }
  case StmtKind::Error:
    return layout.empty();
  default:
    return trainStatement(node);
  }
}

Formatter::Doc Formatter::trainStatement(const Stmt &node) {
  switch (node.kind) {
  case StmtKind::Train: {
    const auto &s = cast<TrainStmt>(node);
    return cat({text(s.name.empty() ? "train " : "train " + s.name.text + " "), block(s.body)});
  }
  case StmtKind::Measure: {
    const auto &s = cast<MeasureStmt>(node);
    return cat({text(s.name.empty() ? "measure " : "measure " + s.name.text + " "), block(s.body)});
  }
  case StmtKind::Backprop: {
    const auto &s = cast<BackpropStmt>(node);
    switch (s.mode) {
    case BackpropStmt::Mode::All:
      return text("backprop all");
    case BackpropStmt::Mode::Last:
      return cat({text("backprop last "), expr(s.value), clause("of", s.of)});
    case BackpropStmt::Mode::Implicit:
      return cat({text("backprop "), expr(s.value), clause("of", s.of)});
    case BackpropStmt::Mode::When:
      return cat({text("backprop when "), expr(s.value)});
    }
    return layout.empty();
  }
  case StmtKind::Loss:
    return cat({text("loss = "), expr(cast<LossStmt>(node).value)});
  case StmtKind::Optimize: {
    const auto &s = cast<OptimizeStmt>(node);
    Doc weights = selectors(s.weights);
    Doc where = clause("where", s.where);
    return cat({text("optimize "), weights, where, text(" with "), expr(s.optimizer)});
  }
  case StmtKind::Freeze:
    return cat({text("freeze "), selectors(cast<FreezeStmt>(node).weights)});
  case StmtKind::Setting: {
    const auto &s = cast<SettingStmt>(node);
    if (!s.value)
      return text(s.word.text);
    Doc value = expr(s.value);
    Doc of = s.weights.include.empty() ? layout.empty() : cat({text(" of "), selectors(s.weights)});
    return cat({text(s.word.text + " "), value, of});
  }
  case StmtKind::Update: {
    const auto &s = cast<UpdateStmt>(node);
    if (!s.body)
      return cat({text("update "), expr(s.value)});
    return cat({text("update each " + s.each.text + " "), block(*s.body), text(s.refill ? " refill" : "")});
  }
  case StmtKind::Init:
    return cat({text(cast<InitStmt>(node).name ? "init " + quote(*cast<InitStmt>(node).name) + " " : "init "), block(cast<InitStmt>(node).body)});
  case StmtKind::InitEntry: {
    const auto &s = cast<InitEntryStmt>(node);
    Doc weights = selectors(s.weights);
    Doc value = s.copy ? selectors(std::vector<Selector>{*s.copy}) : expr(s.value);
    return cat({weights, layout.column(), text("= "), value, clause("when", s.when)});
  }
  case StmtKind::Checkpoint: {
    const auto &s = cast<CheckpointStmt>(node);
    return cat({text(s.name ? "checkpoint " + quote(*s.name) + " " : "checkpoint "), block(s.body)});
  }
  case StmtKind::CheckpointEntry:
    return checkpointEntry(cast<CheckpointEntryStmt>(node));
  case StmtKind::Optimizer: {
    const auto &s = cast<OptimizerStmt>(node);
    return cat({text("optimizer " + s.name.text), params(s.params), text(" "), block(s.body)});
  }
  default:
    return layout.empty();
  }
}

Formatter::Doc Formatter::checkpointEntry(const CheckpointEntryStmt &s) {
  using Form = CheckpointEntryStmt::Form;
  std::vector<Doc> parts;
  switch (s.form) {
  case Form::Map:
  case Form::Duplicates:
    break;
  case Form::Ignored:
    parts.push_back(text("ignored "));
    break;
  case Form::Unused:
    parts.push_back(text("unused "));
    break;
  case Form::Recomputed:
    parts.push_back(text("recomputed "));
    break;
  case Form::Prefix:
    parts.push_back(text(s.optional ? "prefix optional " : "prefix "));
    break;
  }
  parts.push_back(text(quote(s.published)));
  if (s.target) {
    parts.push_back(layout.column());
    parts.push_back(text(s.form == Form::Duplicates ? "duplicates " : "= "));
    parts.push_back(selectors(std::vector<Selector>{*s.target}));
  }
  parts.push_back(clause("rows", s.rows));
  parts.push_back(clause("when", s.when));
  for (size_t i = 0; i < s.variables.size(); ++i) {
    parts.push_back(text((i ? ", " : " for ") + s.variables[i].first.text + " in "));
    parts.push_back(expr(s.variables[i].second));
  }
  if (s.shape) {
    parts.push_back(text(" shape "));
    parts.push_back(type(*s.shape));
  }
  if (s.optional && s.form != Form::Prefix)
    parts.push_back(text(" optional"));
  return layout.concat(parts);
}

} // namespace loopc::frontend
