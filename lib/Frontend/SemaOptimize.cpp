// Training sections: which optimizer a weight gets, with numbers that may depend on the step.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend {

double StepExpr::at(double step) const {
  std::vector<double> x;
  for (const StepExpr &arg : args)
    x.push_back(arg.at(step));
  switch (op) {
  case Op::Number:
    return number;
  case Op::Step:
    return step;
#define LOOPC_STEP_OP(NAME, ARGS, SPELLING, VALUE)                                                                     \
  case Op::NAME:                                                                                                       \
    return VALUE;
#include "loopc/Frontend/StepOps.def"
  }
  return 0;
}

namespace sema {
namespace {

struct Lines {
  std::map<std::string, const Expr *> named;
  std::function<std::optional<double>(const std::string &)> constant;
  std::string missing; ///< what has no value here

  StepExpr number(double value) { return {StepExpr::Op::Number, value, {}}; }

  StepExpr apply(const std::string &spelling, std::vector<StepExpr> args) {
#define LOOPC_STEP_OP(NAME, ARGS, SPELLING, VALUE)                                                                     \
  if (spelling == SPELLING && args.size() == ARGS)                                                                     \
    return {StepExpr::Op::NAME, 0, std::move(args)};
#include "loopc/Frontend/StepOps.def"
    missing = spelling;
    return {};
  }

  StepExpr read(const Expr &expr) {
    if (const auto *literal = as<NumberExpr>(&expr))
      return number(literal->value);
    if (const auto *flag = as<BoolExpr>(&expr))
      return number(flag->value);
    if (const auto *name = as<NameExpr>(&expr)) {
      if (auto line = named.find(name->name); line != named.end())
        return read(*line->second);
      if (name->name == "step")
        return {StepExpr::Op::Step, 0, {}};
      std::optional<double> value = constant(name->name);
      if (!value)
        missing = name->name;
      return number(value.value_or(0));
    }
    if (const auto *unary = as<UnaryExpr>(&expr); unary && unary->op == UnaryOp::Minus)
      return apply("-", {number(0), read(*unary->operand)});
    if (const auto *binary = as<BinaryExpr>(&expr)) {
      static const char *spellings[] = {"+", "-", "*", "/", "//", "%", "^", "==", "!=", "<", "<=", ">", ">="};
      size_t op = size_t(binary->op);
      return apply(op < std::size(spellings) ? spellings[op] : "and", {read(*binary->lhs), read(*binary->rhs)});
    }
    const auto *call = as<CallExpr>(&expr);
    const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
    if (!callee) {
      missing = "an expression of another form";
      return {};
    }
    std::vector<StepExpr> args;
    for (const Argument &arg : call->args)
      args.push_back(read(*arg.value));
    return apply(callee->name, std::move(args));
  }
};

} // namespace

void Elaborator::elaborateUpdate(const TrainStmt &stmt, ProgramTraining &made) {
  Lines lines;
  double ndim = 0;
  lines.constant = [&](const std::string &name) -> std::optional<double> {
    if (name == "ndim")
      return ndim;
    const Binding *found = lookup(name);
    const Val value = found ? found->value : slots.count(name) ? configValue(name) : Val{};
    return value.numeric() ? std::optional<double>(value.number()) : std::nullopt;
  };
  for (const StmtPtr &child : stmt.body.statements)
    if (const auto *bind = as<BindStmt>(child); bind && bind->targets.size() == 1 && bind->values.size() == 1)
      lines.named[bind->targets[0].name.text] = bind->values[0].get();
  auto matches = [&](const SelectorSet &set, const ProgramWeight &weight) {
    auto one = [&](const Selector &selector) { return selectorMatches(selector.text, weight, ""); };
    return std::any_of(set.include.begin(), set.include.end(), one) &&
           std::none_of(set.except.begin(), set.except.end(), one);
  };
  for (const StmtPtr &child : stmt.body.statements) {
    const auto *draw = as<DrawStmt>(child);
    const auto *law = draw ? as<CallExpr>(draw->distribution) : nullptr;
    const auto *name = law ? as<NameExpr>(law->callee) : nullptr;
    if (draw && !(name && name->name == "fixed"))
      made.drawn += (made.drawn.empty() ? "" : ", ") + sourceText(draw->range);
    if (const auto *backprop = as<BackpropStmt>(child))
      made.windowed |= backprop->mode != BackpropStmt::Mode::All;
  }
  made.groupOf.assign(program.weights.size(), kNone);
  std::vector<bool> taken(program.weights.size(), false);
  for (const StmtPtr &child : stmt.body.statements)
    if (const auto *freeze = as<FreezeStmt>(child))
      for (size_t w = 0; w < taken.size(); ++w)
        taken[w] = taken[w] || matches(freeze->weights, program.weights[w]);
  for (const StmtPtr &child : stmt.body.statements) {
    if (const auto *setting = as<SettingStmt>(child); setting && setting->value) {
      if (setting->word.text == "clip")
        made.clip = lines.read(*setting->value);
      if (setting->word.text == "schedule")
        made.schedule = lines.read(*setting->value);
    }
    const auto *optimize = as<OptimizeStmt>(child);
    const auto *call = optimize ? as<CallExpr>(optimize->optimizer) : nullptr;
    const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
    if (!callee)
      continue;
    ProgramGroup group;
    group.optimizer = callee->name;
    for (const Argument &arg : call->args) {
      std::string name = arg.name.empty() ? "lr" : arg.name.text;
      if (const auto *pair = as<TupleExpr>(arg.value); pair && name == "betas" && pair->elements.size() == 2)
        for (int i : {0, 1})
          group.settings[i ? "beta2" : "beta1"] = lines.read(*pair->elements[size_t(i)].value);
      else if (const auto *word = as<NameExpr>(arg.value);
               word && name == "polar" && (word->name == "quintic" || word->name == "express5"))
        group.settings["quintic"] = lines.number(word->name == "quintic");
      else
        group.settings[name] = lines.read(*arg.value);
    }
    for (size_t w = 0; w < taken.size(); ++w) {
      ndim = double(program.weights[w].shape.size());
      if (taken[w] || !matches(optimize->weights, program.weights[w]) ||
          (optimize->where && lines.read(*optimize->where).at(0) == 0))
        continue;
      taken[w] = true;
      made.groupOf[w] = uint32_t(made.groups.size());
    }
    made.groups.push_back(std::move(group));
  }
  made.missing = lines.missing;
}

} // namespace sema
} // namespace loopc::frontend
