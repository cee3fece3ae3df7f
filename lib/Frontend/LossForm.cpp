// What the lines of a training section may be made of.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "LossForm.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

TrainLines::TrainLines(const TrainStmt &section) {
  for (const StmtPtr &child : section.body.statements) {
    if (const auto *bind = as<BindStmt>(child); bind && bind->targets.size() == 1 && bind->values.size() == 1) {
      named[bind->targets[0].name.text] = bind->values[0].get();
      order.push_back(bind->targets[0].name.text);
      values.push_back(bind->values[0].get());
    }
    if (const auto *found = as<LossStmt>(child))
      loss = found;
  }
  if (loss)
    values.push_back(loss->value.get());
}

bool LossForm::isIteration(const Expr *expr) const {
  const auto *name = as<NameExpr>(expr);
  return name && !iteration.empty() && name->name == iteration;
}

bool LossForm::childrenRun(const Expr &expr) {
  bool all = true;
  ast::forEachChild(expr, [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
      all = all && runs(child);
  });
  return all;
}

bool LossForm::callRuns(const CallExpr &call) {
  static const std::map<std::string, size_t> operators = {
      {"cross_entropy", 2}, {"bce", 2}, {"stop_gradient", 1}, {"sigmoid", 1}, {"relu", 1}, {"exp", 1}, {"log", 1},
      {"sqrt", 1},          {"abs", 1}, {"tanh", 1},          {"softplus", 1}, {"max", 2}, {"min", 2}};
  const auto *callee = as<NameExpr>(call.callee);
  if (!callee)
    return false;
  if (callee->name == "last")
    return call.args.size() == 1 && isIteration(call.args[0].value.get());
  const bool tokens = call.args.size() == 2 && as<NameExpr>(call.args[1].value) &&
                      as<NameExpr>(call.args[1].value)->name == "tokens";
  if (callee->name == "mean")
    return tokens && iteration.empty() && runs(*call.args[0].value);
  auto found = operators.find(callee->name);
  const bool previous = callee->name == "prev" && !iteration.empty() && !call.args.empty() && call.args.size() <= 2;
  if (!previous && (found == operators.end() || call.args.size() < found->second))
    return false;
  return std::all_of(call.args.begin(), call.args.end(), [&](const Argument &a) {
    return (a.name.empty() || (callee->name == "bce" && a.name.text == "clamp")) && runs(*a.value);
  });
}

bool LossForm::runs(const Expr &expr) {
  if (summed && summed(expr))
    return true;
  if (const auto *name = as<NameExpr>(&expr)) {
    if (isIteration(name))
      return true;
    auto line = lines.find(name->name);
    if (line == lines.end())
      return name->name == "label" || name->name == "next_token" || known(name->name);
    return !needed.insert(name->name).second || runs(*line->second);
  }
  if (const auto *call = as<CallExpr>(&expr))
    return callRuns(*call);
  if (const auto *index = as<IndexExpr>(&expr))
    return index->entries.size() == 1 && isIteration(index->entries[0].value.get()) && runs(*index->base);
  if (const auto *reduce = as<ReduceExpr>(&expr)) {
    const auto *axis = reduce->axes.size() == 1 ? as<NameExpr>(reduce->axes[0]) : nullptr;
    return iteration.empty() && reduce->op.text == "mean" && axis && axis->name == "tokens" &&
           (!reduce->where || runs(*reduce->where)) && runs(*reduce->body);
  }
  return (expr.kind == ExprKind::Number || expr.kind == ExprKind::If || expr.kind == ExprKind::Unary ||
          expr.kind == ExprKind::Binary) &&
         childrenRun(expr);
}

bool LossForm::runsInIteration(const Expr &fold) {
  if (const auto *reduce = as<ReduceExpr>(&fold))
    return (!reduce->where || runs(*reduce->where)) && runs(*reduce->body);
  return runs(*as<OverExpr>(as<CallExpr>(&fold)->args[0].value)->value);
}

} // namespace loopc::frontend::sema
