// Checking a spec: sections, globals, the model's statements, outputs, dead code.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/Parser.h"

#include <algorithm>

namespace loopc::frontend {
namespace sema {

void Elaborator::defer(const std::string &what, SourceRange range) {
  for (const DeferredConstruct &other : program.deferred)
    if (other.loc.begin == range.begin && other.what == what)
      return;
  program.deferred.push_back({what, loc(range)});
}

void Elaborator::collectGlobals() {
  std::map<std::string, SourceRange> taken;
  auto claim = [&](const Identifier &name) {
    if (name.empty())
      return false;
    auto [entry, fresh] = taken.try_emplace(name.text, name.range);
    if (!fresh)
      error(ErrorCode::L0202, name.range, "`" + name.text + "` is already the name of something here")
          .label("a second meaning")
          .also(entry->second, "the first")
          .help("choose another name");
    return fresh;
  };
  auto entries = [&](const Block &body, bool option) {
    for (const StmtPtr &stmt : body.statements) {
      if (const auto *entry = as<ConfigEntryStmt>(stmt)) {
        if (!claim(entry->name))
          continue;
        ConfigSlot &slot = slots[entry->name.text];
        slot.entry = entry;
        slot.option = option;
        slotOrder.push_back(entry->name.text);
        if (const auto *set = as<SetExpr>(entry->domain))
          for (const ExprPtr &element : set->elements)
            if (const auto *word = as<NameExpr>(element))
              words.insert(word->name);
      } else if (const auto *accident = as<AccidentStmt>(stmt)) {
        if (!claim(accident->name))
          continue;
        const bool on = std::find(input.accidents.begin(), input.accidents.end(), accident->name.text) != input.accidents.end();
        program.accidents.push_back({accident->name.text, accident->sentence, on});
      }
    }
  };
  for (const StmtPtr &stmt : spec.statements) {
    switch (stmt->kind) {
    case StmtKind::Model:
      program.model = as<ModelStmt>(stmt)->name.text;
      break;
    case StmtKind::Config:
      if (!configSection)
        configSection = as<ConfigStmt>(stmt);
      entries(as<ConfigStmt>(stmt)->body, false);
      break;
    case StmtKind::Options:
      entries(as<OptionsStmt>(stmt)->body, true);
      break;
    case StmtKind::Fn:
      if (claim(as<FnStmt>(stmt)->name))
        functions[as<FnStmt>(stmt)->name.text] = as<FnStmt>(stmt);
      break;
    case StmtKind::Share:
      if (claim(as<ShareStmt>(stmt)->name))
        shares[as<ShareStmt>(stmt)->name.text] = as<ShareStmt>(stmt);
      break;
    case StmtKind::Policy:
      if (claim(as<PolicyStmt>(stmt)->name))
        policies[as<PolicyStmt>(stmt)->name.text] = as<PolicyStmt>(stmt);
      break;
    case StmtKind::Checkpoint:
      checkpointSections.push_back(as<CheckpointStmt>(stmt));
      break;
    case StmtKind::Init:
      if (as<InitStmt>(stmt)->name)
        originSections.push_back(as<InitStmt>(stmt));
      break;
    case StmtKind::Train:
      trainSections.push_back(as<TrainStmt>(stmt));
      break;
    default:
      break;
    }
  }
  for (const std::string &name : input.accidents)
    if (std::none_of(program.accidents.begin(), program.accidents.end(), [&](const ProgramAccident &a) { return a.name == name; }))
      error(ErrorCode::L0707, {0, 0}, "`--accident " + name + "`: this model has no accident of that name");
}

void Elaborator::elaborateModel() {
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  regions.push_back(&program.body);
  elaborateStatements(spec.statements);
  keepCarries();
  finishOutputs();
  regions.pop_back();
}

void Elaborator::finishOutputs() {
  std::vector<Identifier> wanted = readouts;
  if (Binding *logits = lookup("logits");
      logits && std::none_of(wanted.begin(), wanted.end(), [](const Identifier &name) { return name.text == "logits"; }))
    wanted.insert(wanted.begin(), {"logits", logits->range});
  if (wanted.empty()) {
    if (!diags.hasErrors())
      error(ErrorCode::L0213, {0, 0}, "this spec has no output")
          .help("bind the values over the vocabulary to `logits`, or write `output name = …`");
    return;
  }
  for (const Identifier &name : wanted) {
    Binding *binding = lookup(name.text);
    if (!binding || binding->value.poison())
      continue;
    ValueId value = materialise(binding->value, name.range);
    if (value == kNone)
      continue;
    program.outputs.push_back(name.text);
    program.body.yields.push_back(value);
  }
}

/// Of a loop, the states that sections trace and that nothing reads: those of a section go together.
static void removeTraces(const Program &program, ProgramOp &op, const std::vector<bool> &used) {
  ProgramRegion &body = op.regions[0];
  const size_t lead = body.arguments.size() - op.results.size();
  auto section = [&](size_t k) {
    const std::string &name = program.values[body.arguments[lead + k]].name;
    return name.rfind("trace.", 0) == 0 ? name.substr(0, name.rfind('.')) : std::string();
  };
  std::set<std::string> read;
  for (size_t k = 0; k < op.results.size(); ++k)
    if (used[op.results[k]])
      read.insert(section(k));
  for (size_t k = op.results.size(); k-- > 0;)
    if (const std::string name = section(k); !name.empty() && !read.count(name)) {
      const auto at = static_cast<std::ptrdiff_t>(k);
      op.results.erase(op.results.begin() + at);
      op.operands.erase(op.operands.begin() + at);
      body.yields.erase(body.yields.begin() + at);
      body.arguments.erase(body.arguments.begin() + static_cast<std::ptrdiff_t>(lead) + at);
    }
}

/// Removes operations that nothing reads. Which weights exist was decided before: a weight stays although its read goes.
static void removeDead(const Program &program, ProgramRegion &region, std::vector<bool> &used) {
  auto mark = [&](ValueId value) {
    if (value != kNone)
      used[value] = true;
  };
  for (ValueId value : region.yields)
    mark(value);
  mark(region.exit);
  std::vector<ProgramOp> kept;
  for (size_t k = region.ops.size(); k-- > 0;) {
    ProgramOp &op = region.ops[k];
    const bool needed = op.kind == OpKind::Tap || op.kind == OpKind::Attend || op.kind == OpKind::Keep ||
                        std::any_of(op.results.begin(), op.results.end(), [&](ValueId v) { return used[v]; });
    if (!needed)
      continue;
    if (op.kind == OpKind::Loop)
      removeTraces(program, op, used);
    for (ProgramRegion &inner : op.regions)
      removeDead(program, inner, used);
    for (ValueId operand : op.operands)
      mark(operand);
    kept.push_back(std::move(op));
  }
  region.ops.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
}

/// Without gradients a value that stops them is what it stops, and a choice between equals is no choice.
static void forgetStops(ProgramRegion &region, std::vector<ValueId> &stands) {
  auto replace = [&](ValueId &value) {
    if (value != kNone)
      value = stands[value];
  };
  for (ProgramOp &op : region.ops) {
    for (ValueId &operand : op.operands)
      replace(operand);
    if (op.kind == OpKind::StopGradient)
      stands[op.results[0]] = op.operands[0];
    else if (op.kind == OpKind::Select && op.operands[1] == op.operands[2])
      stands[op.results[0]] = op.operands[1];
    for (ProgramRegion &inner : op.regions)
      forgetStops(inner, stands);
  }
  for (ValueId &value : region.yields)
    replace(value);
  replace(region.exit);
}

static void collectDeferred(const ProgramRegion &region, std::vector<DeferredConstruct> &deferred) {
  for (const ProgramOp &op : region.ops) {
    if (op.kind == OpKind::Deferred)
      deferred.push_back({op.name, op.loc});
    for (const ProgramRegion &inner : op.regions)
      collectDeferred(inner, deferred);
  }
}

void Elaborator::eliminateDeadOps() {
  std::vector<ValueId> stands(program.values.size());
  for (ValueId value = 0; value < stands.size(); ++value)
    stands[value] = value;
  forgetStops(program.body, stands);
  std::vector<bool> used(program.values.size(), false);
  removeDead(program, program.body, used);
  for (ProgramTraining &one : program.trainings) {
    used.assign(program.values.size(), false);
    removeDead(program, one.body, used);
  }
  collectDeferred(program.body, program.deferred);
}

std::optional<Program> Elaborator::run() {
  program.filename = diags.source().name();
  if (diags.hasErrors())
    return std::nullopt;
  collectGlobals();
  if (!diags.hasErrors())
    bindConfig();
  if (diags.hasErrors())
    return std::nullopt;
  elaborateModel();
  if (!input.exit.empty() && !exitsFound.count(input.exit)) {
    std::string list;
    for (const std::string &name : exitsFound)
      if (!name.empty())
        list += (list.empty() ? "" : ", ") + name;
    error(ErrorCode::L0707, {0, 0}, "expected an exit of this model" + (list.empty() ? std::string() : " (" + list + ")") + ", but got `" + input.exit + "`");
  }
  if (!diags.hasErrors()) {
    buildCheckpoints();
    buildOrigins();
  }
  if (!diags.hasErrors())
    for (const TrainStmt *section : trainSections) {
      elaborateTrain(*section);
      elaborateLoss(*section);
    }
  if (diags.hasErrors())
    return std::nullopt;
  eliminateDeadOps();
  return std::move(program);
}

} // namespace sema

std::optional<Program> elaborate(const ast::Spec &spec, const ConfigInput &input, DiagnosticEngine &diagnostics) {
  return sema::Elaborator(spec, input, diagnostics).run();
}

std::optional<Program> check(const SourceText &source, const ConfigInput &input, DiagnosticEngine &diagnostics) {
  const ast::Spec spec = parse(source, diagnostics);
  if (diagnostics.hasErrors())
    return std::nullopt;
  return elaborate(spec, input, diagnostics);
}

bool checkExecutable(const Program &program, DiagnosticEngine &diagnostics) {
  for (const DeferredConstruct &construct : program.deferred)
    diagnostics
        .error(ErrorCode::L0720, {construct.loc.begin, construct.loc.end},
               "this version checks " + construct.what + ", but does not execute it")
        .label("has no executable form");
  return program.deferred.empty();
}

} // namespace loopc::frontend
