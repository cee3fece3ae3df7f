// Training sections: the loss as a program behind the model's own.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

namespace {

/// What a loss may be made of in this version. A name that a line of the section gives a value stands for that line.
struct LossForm {
  std::map<std::string, const Expr *> lines;
  std::set<std::string> needed;
  std::function<bool(const std::string &)> known;

  bool runs(const Expr &expr) {
    if (const auto *name = as<NameExpr>(&expr)) {
      auto line = lines.find(name->name);
      if (line == lines.end())
        return name->name == "label" || name->name == "next_token" || known(name->name);
      return !needed.insert(name->name).second || runs(*line->second);
    }
    if (const auto *call = as<CallExpr>(&expr)) {
      const auto *callee = as<NameExpr>(call->callee);
      return callee && callee->name == "cross_entropy" && call->args.size() == 2 &&
             std::all_of(call->args.begin(), call->args.end(),
                         [&](const Argument &a) { return a.name.empty() && runs(*a.value); });
    }
    if (const auto *reduce = as<ReduceExpr>(&expr)) {
      const auto *axis = reduce->axes.size() == 1 ? as<NameExpr>(reduce->axes[0]) : nullptr;
      return reduce->op.text == "mean" && axis && axis->name == "tokens" && (!reduce->where || runs(*reduce->where)) &&
             runs(*reduce->body);
    }
    if (expr.kind != ExprKind::Number && expr.kind != ExprKind::If && expr.kind != ExprKind::Unary &&
        expr.kind != ExprKind::Binary)
      return false;
    bool all = true;
    ast::forEachChild(expr, [&](const auto &child) {
      if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
        all = all && runs(child);
    });
    return all;
  }
};

} // namespace

// The rest of a section, and a loss of other forms, is checked by its names only; its program does not exist.
void Elaborator::elaborateLoss(const TrainStmt &stmt) {
  LossForm form;
  form.known = [&](const std::string &name) { return lookup(name) != nullptr || slots.count(name) || isWord(name); };
  const LossStmt *loss = nullptr;
  for (const StmtPtr &child : stmt.body.statements) {
    if (const auto *bind = as<BindStmt>(child); bind && bind->targets.size() == 1 && bind->values.size() == 1)
      form.lines[bind->targets[0].name.text] = bind->values[0].get();
    if (const auto *found = as<LossStmt>(child))
      loss = found;
  }
  if (!loss || !form.runs(*loss->value))
    return;
  ProgramTraining made;
  made.name = stmt.name.empty() ? "train" : "train." + stmt.name.text;
  made.body = program.body;
  made.body.yields.clear();
  environments.back().scopes.emplace_back();
  regions.push_back(&made.body);
  training = true;
  for (const StmtPtr &child : stmt.body.statements)
    if (const auto *bind = as<BindStmt>(child);
        bind && bind->targets.size() == 1 && form.needed.count(bind->targets[0].name.text))
      elaborateStmt(*child);
  ValueId value = materialise(evaluate(loss->value.get()), loss->value->range);
  training = false;
  regions.pop_back();
  environments.back().scopes.pop_back();
  if (value == kNone)
    return;
  if (!typeOf(value).axes.empty()) {
    error(ErrorCode::L0204, loss->value->range,
          "expected a number as loss, but got a value with axes " + show(typeOf(value)));
    return;
  }
  made.body.yields.push_back(value);
  elaborateUpdate(stmt, made);
  program.trainings.push_back(std::move(made));
}

/// Tokens without a label are no part of a loss.
Val Elaborator::meanOfLabelled(const ReduceExpr &expr, const Val &body) {
  ProgramType id;
  id.element = ElementType::Int;
  Val counted = expr.where ? evaluate(expr.where.get())
                           : binary(Fn::Ge, Val::ofRuntime(emitValue(OpKind::Label, id, {}, expr.range)), Val::ofInt(0),
                                    expr.range, expr.range, expr.range);
  Val weight = select(counted, Val::ofFloat(1), Val::ofFloat(0), expr.range);
  if (weight.poison())
    return {};
  auto total = [&](const Val &value) {
    return foldValue(Fn::Sum, materialise(value, expr.range), ValueScope::Run, expr.range);
  };
  Val terms = binary(Fn::Mul, body, weight, expr.range, expr.range, expr.range);
  return binary(Fn::Div, total(terms), total(weight), expr.range, expr.range, expr.range);
}

Val Elaborator::crossEntropy(const CallExpr &call) {
  ValueId logits = materialise(evaluate(call.args[0].value.get()), call.args[0].value->range);
  ValueId label = materialise(evaluate(call.args[1].value.get()), call.args[1].value->range);
  if (logits == kNone || label == kNone || !toFloat(logits, call.range))
    return {};
  ProgramType type = typeOf(logits);
  if (type.axes.size() != 1) {
    error(ErrorCode::L0205, call.range, "expected logits over one axis, but got " + show(type));
    return {};
  }
  type.axes.clear();
  return Val::ofRuntime(emitValue(OpKind::CrossEntropy, type, {logits, label}, call.range));
}

} // namespace loopc::frontend::sema
