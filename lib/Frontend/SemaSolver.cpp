// Solvers of loops: `by anderson(…)` chooses the point of each iteration from the points and values of those before.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body is a map x -> f(x). Its state stands for the value: outside, in exits and traces it is f of the newest point.
// What the solver remembers are states of the loop like any other, so no later form knows of solvers. Anderson's:
//   solver.x, solver.f [slots, …]   the last points and their values; iteration j uses slot j mod slots
//   solver.gram [slots, slots]      products of the residuals f - x, summed over the features and, for a state per token,
//                                   over the sequence
// Anderson mixing (Anderson 1965; Walker and Ni 2011): x = sum over i of a_i (mixing f_i + (1 - mixing) x_i), where a
// minimises |sum of a_i (f_i - x_i)|^2 + ridge |a|^2 under sum of a_i = 1. The first two points are the start and its
// value. The system is small, so its elimination is written out over the slots; the loop itself stays rolled.
// Broyden's: SemaBroyden.cpp.

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

std::optional<Solver> Elaborator::solverOf(const LoopClause &by, const std::vector<std::string> &states) {
  Solver solver;
  const auto *call = as<CallExpr>(by.value);
  const auto *word = as<NameExpr>(call ? call->callee.get() : by.value.get());
  std::string name = word ? word->name : "";
  if (slots.count(name)) // a word of `config` names the solver
    if (Val value = configValue(name); value.is(Kind::Word))
      name = value.text;
  solver.range = by.range;
  static const std::map<std::string, Solver::Method> methods = {
      {"picard", Solver::Method::Picard}, {"anderson", Solver::Method::Anderson}, {"broyden", Solver::Method::Broyden}};
  auto method = methods.find(name);
  if (method == methods.end()) {
    error(ErrorCode::L0220, by.value->range, "expected a solver (picard, anderson, broyden), but got `" + (name.empty() ? sourceText(by.value->range) : name) + "`")
        .help("`by anderson(5)` mixes the last five points; `by picard` takes the value of the map as the next point");
    return std::nullopt;
  }
  solver.method = method->second;
  std::string of;
  solver.mixing = Val::ofFloat(1);
  solver.ridge = Val::ofFloat(1e-4);
  for (size_t k = 0; call && k < call->args.size(); ++k) {
    const Argument &argument = call->args[k];
    const std::string &label = argument.name.text;
    if (label == "of") {
      const auto *state = as<NameExpr>(argument.value);
      of = state ? state->name : "";
    } else if (label == "mixing" || label == "ridge") {
      Val value = evaluate(argument.value.get());
      if (value.poison())
        return std::nullopt;
      (label == "mixing" ? solver.mixing : solver.ridge) = value;
    } else if (label == "history" || (label.empty() && k == 0)) {
      std::optional<int64_t> slotCount = compileTimeInt(argument.value.get(), "a number of points");
      if (!slotCount)
        return std::nullopt;
      solver.slots = *slotCount;
    } else {
      error(ErrorCode::L0203, argument.value->range, "a solver has no parameter `" + sourceText(argument.value->range) + "`");
      return std::nullopt;
    }
  }
  // The system of Anderson's weights is written out; Broyden's steps are only added up.
  const int64_t most = solver.method == Solver::Method::Anderson ? 32 : 1024;
  if (solver.method != Solver::Method::Picard && (solver.slots < 1 || solver.slots > most)) {
    error(ErrorCode::L0206, by.range, "expected 1 to " + std::to_string(most) + " points to remember, but got " + std::to_string(solver.slots));
    return std::nullopt;
  }
  if (of.empty() && states.size() == 1)
    of = states[0];
  if (std::find(states.begin(), states.end(), of) == states.end()) {
    error(ErrorCode::L0214, by.range, "a solver moves one state, but this loop reassigns " + std::to_string(states.size()))
        .help("say which: `by anderson(5, of = y)`");
    return std::nullopt;
  }
  solver.state = of;
  return solver;
}

Val Elaborator::elementAt(ValueId of, const std::vector<int64_t> &index, SourceRange range) {
  for (size_t axis = 0; axis < index.size(); ++axis)
    of = sliceValue(of, axis, index[axis], {"1", 1}, range).ref;
  return Val::ofRuntime(reshape(of, {}, range));
}

Val Elaborator::counted(const ProgramAxis &axis, SourceRange range) {
  ProgramType type;
  type.scope = ValueScope::Run;
  type.axes = {axis};
  const ValueId value = constant(0, type, range);
  for (int64_t i = 0; i < axis.size; ++i)
    regions.back()->ops.back().ints.push_back(i);
  return Val::ofRuntime(value);
}

/// The weights of the filled slots (those below `count`) in the next point: solves (gram + ridge) w = 1, then w / sum w.
std::vector<Val> Elaborator::mixingWeights(const Solver &solver, const Val &count) {
  const SourceRange range = solver.range;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const size_t m = static_cast<size_t>(solver.slots);
  std::vector<Val> filled(m), pivot(m), w(m);
  std::vector<std::vector<Val>> left(m, std::vector<Val>(m)); // unit lower triangle
  const Val zero = Val::ofFloat(0), one = Val::ofFloat(1);
  for (size_t k = 0; k < m; ++k)
    filled[k] = op(Fn::Lt, Val::ofFloat(static_cast<double>(k)), count);
  for (size_t k = 0; k < m; ++k)
    for (size_t i = k; i < m; ++i) {
      Val entry = elementAt(solver.memory[2].argument, {static_cast<int64_t>(i), static_cast<int64_t>(k)}, range);
      if (i == k)
        entry = op(Fn::Add, entry, solver.ridge);
      for (size_t s = 0; s < k; ++s)
        entry = op(Fn::Sub, entry, op(Fn::Mul, op(Fn::Mul, left[i][s], left[k][s]), pivot[s]));
      if (i == k)
        pivot[k] = select(filled[k], entry, one, range);
      else // the later slot is filled only if the earlier one is
        left[i][k] = select(filled[i], op(Fn::Div, entry, pivot[k]), zero, range);
    }
  for (size_t k = 0; k < m; ++k) {
    w[k] = select(filled[k], one, zero, range);
    for (size_t s = 0; s < k; ++s)
      w[k] = op(Fn::Sub, w[k], op(Fn::Mul, left[k][s], w[s]));
  }
  Val sum = zero;
  for (size_t k = m; k-- > 0;) {
    w[k] = op(Fn::Div, w[k], pivot[k]);
    for (size_t s = k + 1; s < m; ++s)
      w[k] = op(Fn::Sub, w[k], op(Fn::Mul, left[s][k], w[s]));
    sum = op(Fn::Add, sum, w[k]);
  }
  // Without a finite answer the newest value alone counts.
  Val total = zero;
  for (Val &each : w) {
    each = op(Fn::Div, each, sum);
    total = op(Fn::Add, total, each);
  }
  const Val sound = op(Fn::Lt, unary(Fn::Abs, op(Fn::Sub, total, one), range), Val::ofFloat(0.5));
  for (size_t k = 0; k < m; ++k) {
    const Val newest = op(Fn::Eq, Val::ofFloat(static_cast<double>(k)), op(Fn::Sub, count, one));
    w[k] = select(sound, w[k], select(newest, one, zero, range), range);
  }
  return w;
}

/// At the start of the body: the state becomes the point of this iteration.
void Elaborator::beginSolve(Solver &solver, ValueId index) {
  Binding *binding = lookup(solver.state);
  if (solver.method == Solver::Method::Picard || !binding || !binding->value.is(Kind::Runtime))
    return;
  const ProgramType type = typeOf(binding->value.ref);
  if (type.element != ElementType::F32) {
    error(ErrorCode::L0207, solver.range, "expected a state of real numbers to solve for, but got " + show(type));
    solver.method = Solver::Method::Picard;
    return;
  }
  solver.slot = {"slot", solver.slots};
  solver.turn = Val::ofRuntime(cast(index, ElementType::F32, solver.range));
  solver.point = solver.method == Solver::Method::Anderson ? nextOfAnderson(solver, binding->value) : nextOfBroyden(solver, binding->value);
  binding->value = solver.point;
}

/// At its end: what the solver learns from the point and its value.
void Elaborator::endSolve(Solver &solver) {
  Binding *binding = lookup(solver.state);
  if (solver.method == Solver::Method::Picard || !binding || binding->value.poison() || solver.point.poison()) {
    solver.memory.clear();
    return;
  }
  solver.method == Solver::Method::Anderson ? keepForAnderson(solver, binding->value) : keepForBroyden(solver, binding->value);
}

Val Elaborator::putSlot(const Solver &solver, const Val &to, const Val &here, const Val &what) {
  const std::vector<ProgramAxis> axes = typeOf(to.ref).axes; // a copy: values are added
  const ValueId wide = broadcast(what.ref, axes, solver.range);
  return select(Val::ofRuntime(broadcast(here.ref, axes, solver.range)), Val::ofRuntime(wide), to, solver.range);
}

Val Elaborator::slotProducts(const Val &list, const Val &value, SourceRange range) {
  Val products = binary(Fn::Mul, list, value, range, range, range);
  if (products.poison())
    return products;
  std::vector<size_t> axes;
  for (size_t k = 1; k < typeOf(list.ref).axes.size(); ++k)
    axes.push_back(k);
  if (!axes.empty())
    products = reduceValue(Fn::Sum, products.ref, axes, range);
  if (typeOf(products.ref).scope == ValueScope::Token)
    products = foldValue(Fn::Sum, products.ref, ValueScope::Sequence, range);
  return products;
}

Val Elaborator::nextOfAnderson(Solver &solver, const Val &value) {
  const SourceRange range = solver.range;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const ProgramType type = typeOf(value.ref);
  ProgramType list = type, square = type;
  list.axes.insert(list.axes.begin(), solver.slot);
  square.axes = {{"other slot", solver.slots}, solver.slot};
  solver.memory = {{newValue(list, "solver.x")}, {newValue(list, "solver.f")}, {newValue(square, "solver.gram")}};
  std::vector<Val> weights = mixingWeights(solver, op(Fn::Min, solver.turn, Val::ofFloat(static_cast<double>(solver.slots))));
  Val mixed;
  for (size_t k = 0; k < weights.size(); ++k) {
    auto slotOf = [&](const Val &of) {
      return Val::ofRuntime(reshape(sliceValue(of.ref, 0, static_cast<int64_t>(k), {"1", 1}, range).ref, type.axes, range));
    };
    Val point = slotOf(remembered(solver, 1));
    if (!(solver.mixing.numeric() && solver.mixing.number() == 1))
      point = op(Fn::Add, op(Fn::Mul, solver.mixing, point), op(Fn::Mul, op(Fn::Sub, Val::ofFloat(1), solver.mixing), slotOf(remembered(solver, 0))));
    point = op(Fn::Mul, weights[k], point);
    mixed = k ? op(Fn::Add, mixed, point) : point;
  }
  return select(op(Fn::Lt, solver.turn, Val::ofFloat(2)), value, mixed, range);
}

/// Number of the slot of iteration `turn`.
Val Elaborator::slotOfTurn(const Solver &solver, const Val &turn) {
  const SourceRange range = solver.range;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const Val count = Val::ofFloat(static_cast<double>(solver.slots));
  const Val turns = unary(Fn::Floor, op(Fn::Div, turn, count), range);
  return op(Fn::Sub, turn, op(Fn::Mul, turns, count));
}

/// The point and its value take the slot of the oldest.
void Elaborator::keepForAnderson(Solver &solver, const Val &value) {
  const SourceRange range = solver.range;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const ProgramType square = typeOf(solver.memory[2].argument);
  const Val place = slotOfTurn(solver, solver.turn);
  const Val here = op(Fn::Eq, counted(solver.slot, range), place), there = op(Fn::Eq, counted(square.axes[0], range), place);
  const Val points = putSlot(solver, remembered(solver, 0), here, solver.point), values = putSlot(solver, remembered(solver, 1), here, value);
  const Val row = slotProducts(op(Fn::Sub, values, points), op(Fn::Sub, value, solver.point), range);
  const Val other = Val::ofRuntime(reshape(row.ref, {square.axes[0]}, range));
  const Val gram = putSlot(solver, putSlot(solver, remembered(solver, 2), here, other), there, row);
  solver.memory[0].yield = points.ref;
  solver.memory[1].yield = values.ref;
  solver.memory[2].yield = gram.ref;
}

} // namespace loopc::frontend::sema
