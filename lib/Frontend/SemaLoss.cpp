// Training sections: the loss as a program behind the model's own.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

// The rest of a section, and a loss of other forms, is checked by its names only; its program does not exist.
void Elaborator::elaborateLoss(const TrainStmt &stmt) {
  const TrainLines lines(stmt);
  LossForm form;
  form.lines = lines.named;
  form.known = [&](const std::string &name) { return lookup(name) != nullptr || slots.count(name) || isWord(name); };
  form.summed = [&](const Expr &expr) { return traceSums.count(&expr) != 0; };
  const LossStmt *loss = lines.loss;
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
Val Elaborator::meanOfLabelled(const Expr *where, const Val &body, SourceRange range) {
  ProgramType id;
  id.element = ElementType::Int;
  Val counted = where ? evaluate(where)
                      : binary(Fn::Ge, Val::ofRuntime(emitValue(OpKind::Label, id, {}, range)), Val::ofInt(0), range,
                               range, range);
  Val weight = select(counted, Val::ofFloat(1), Val::ofFloat(0), range);
  Val terms = binary(Fn::Mul, body, weight, range, range, range);
  if (weight.poison() || terms.poison())
    return {};
  auto total = [&](const Val &value) {
    return foldValue(Fn::Sum, materialise(value, range), ValueScope::Run, range);
  };
  return binary(Fn::Div, total(terms), total(weight), range, range, range);
}

/// Operators that only training sections have; none: a name of other places.
std::optional<Val> Elaborator::lossOperator(const std::string &name, const CallExpr &call) {
  const SourceRange range = call.range;
  auto argument = [&](size_t k) { return evaluate(call.args[k].value.get()); };
  auto made = [&](Fn fn, const Val &a, const Val &b) {
    return a.poison() || b.poison() ? Val() : binary(fn, a, b, range, range, range);
  };
  if (name == "cross_entropy")
    return crossEntropy(call);
  if (name == "mean" && call.args.size() == 2)
    return meanOfLabelled(nullptr, argument(0), range);
  if (name == "stop_gradient") {
    const ValueId value = materialise(argument(0), range);
    return value == kNone ? Val() : Val::ofRuntime(emitValue(OpKind::StopGradient, typeOf(value), {value}, range));
  }
  if (name == "last") { // iteration of the loop around
    const ProgramLoop &loop = program.loops[loops.back().loop];
    Val count = Val::ofInt(loop.fixedCount);
    if (loop.countOption != kNone) {
      count = Val::make(Kind::Option);
      count.ref = loop.countOption;
    }
    return made(Fn::Sub, count, Val::ofInt(1));
  }
  if (name == "bce") { // of a probability and what it should be
    Val p = argument(0), wanted = argument(1);
    for (const Argument &a : call.args)
      if (a.name.text == "clamp") {
        const Val least = evaluate(a.value.get());
        p = made(Fn::Min, made(Fn::Max, p, least), made(Fn::Sub, Val::ofFloat(1), least));
      }
    auto log = [&](const Val &x) { return x.poison() ? Val() : unary(Fn::Log, x, range); };
    const Val yes = made(Fn::Mul, wanted, log(p)),
              no = made(Fn::Mul, made(Fn::Sub, Val::ofFloat(1), wanted), log(made(Fn::Sub, Val::ofFloat(1), p)));
    const Val sum = made(Fn::Add, yes, no);
    return sum.poison() ? Val() : unary(Fn::Neg, sum, range);
  }
  return std::nullopt;
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
