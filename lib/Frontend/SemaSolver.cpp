// Solvers of loops: `by anderson(…)` chooses the point of each iteration from the points and values of those before.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The body is a map x -> f(x). Its state stands for the value: outside, in exits and traces it is f of the newest point.
// What the solver remembers are states of the loop like any other, so no later form knows of solvers:
//   solver.x, solver.f [slots, …]   the last points and their values; iteration j uses slot j mod slots
//   solver.gram [slots, slots]      products of the residuals f - x, summed over the features and, for a state per token,
//                                   over the sequence
// Anderson mixing (Anderson 1965; Walker and Ni 2011): x = sum over i of a_i (mixing f_i + (1 - mixing) x_i), where a
// minimises |sum of a_i (f_i - x_i)|^2 + ridge |a|^2 under sum of a_i = 1. The first two points are the start and its
// value. The system is small, so its elimination is written out over the slots; the loop itself stays rolled.

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
  solver.mixes = name == "anderson";
  if (!solver.mixes && name != "picard") {
    error(ErrorCode::L0220, by.value->range, "expected a solver (picard, anderson), but got `" + (name.empty() ? sourceText(by.value->range) : name) + "`")
        .help("`by anderson(5)` mixes the last five points; `by picard` takes the value of the map as the next point");
    return std::nullopt;
  }
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
  if (solver.mixes && (solver.slots < 1 || solver.slots > 32)) {
    error(ErrorCode::L0206, by.range, "expected 1 to 32 points to mix, but got " + std::to_string(solver.slots));
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
      Val entry = elementAt(solver.gram, {static_cast<int64_t>(i), static_cast<int64_t>(k)}, range);
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
  const SourceRange range = solver.range;
  Binding *binding = lookup(solver.state);
  if (!solver.mixes || !binding || !binding->value.is(Kind::Runtime))
    return;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const Val value = binding->value;
  const ProgramType type = typeOf(value.ref);
  if (type.element != ElementType::F32) {
    error(ErrorCode::L0207, range, "expected a state of real numbers to solve for, but got " + show(type));
    solver.mixes = false;
    return;
  }
  solver.slot = {"slot", solver.slots};
  ProgramType list = type, square = type;
  list.axes.insert(list.axes.begin(), solver.slot);
  square.axes = {{"other slot", solver.slots}, solver.slot};
  solver.points = newValue(list, "solver.x");
  solver.values = newValue(list, "solver.f");
  solver.gram = newValue(square, "solver.gram");
  solver.turn = Val::ofRuntime(cast(index, ElementType::F32, range));
  std::vector<Val> weights = mixingWeights(solver, op(Fn::Min, solver.turn, Val::ofFloat(static_cast<double>(solver.slots))));
  Val mixed;
  for (size_t k = 0; k < weights.size(); ++k) {
    auto slotOf = [&](ValueId of) {
      return Val::ofRuntime(reshape(sliceValue(of, 0, static_cast<int64_t>(k), {"1", 1}, range).ref, type.axes, range));
    };
    Val point = slotOf(solver.values);
    if (!(solver.mixing.numeric() && solver.mixing.number() == 1))
      point = op(Fn::Add, op(Fn::Mul, solver.mixing, point), op(Fn::Mul, op(Fn::Sub, Val::ofFloat(1), solver.mixing), slotOf(solver.points)));
    point = op(Fn::Mul, weights[k], point);
    mixed = k ? op(Fn::Add, mixed, point) : point;
  }
  solver.point = select(op(Fn::Lt, solver.turn, Val::ofFloat(2)), value, mixed, range);
  binding->value = solver.point;
}

/// At its end: the point and its value take the slot of the oldest.
void Elaborator::endSolve(Solver &solver) {
  const SourceRange range = solver.range;
  Binding *binding = lookup(solver.state);
  if (!solver.mixes || !binding || binding->value.poison() || solver.point.poison())
    return;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  const ProgramType list = typeOf(solver.points), type = typeOf(solver.point.ref);
  ProgramType square = typeOf(solver.gram);
  const Val count = Val::ofFloat(static_cast<double>(solver.slots));
  const Val turns = unary(Fn::Floor, op(Fn::Div, solver.turn, count), range);
  const Val place = op(Fn::Sub, solver.turn, op(Fn::Mul, turns, count));
  const Val here = op(Fn::Eq, counted(solver.slot, range), place), there = op(Fn::Eq, counted(square.axes[0], range), place);
  auto put = [&](ValueId to, const Val &what) {
    const ValueId wide = broadcast(what.ref, list.axes, range);
    return select(Val::ofRuntime(broadcast(here.ref, list.axes, range)), Val::ofRuntime(wide), Val::ofRuntime(to), range);
  };
  const Val points = put(solver.points, solver.point), values = put(solver.values, binding->value);
  const Val residual = op(Fn::Sub, binding->value, solver.point);
  Val row = op(Fn::Mul, op(Fn::Sub, values, points), residual);
  std::vector<size_t> axes;
  for (size_t k = 1; k < list.axes.size(); ++k)
    axes.push_back(k);
  if (!axes.empty())
    row = reduceValue(Fn::Sum, row.ref, axes, range);
  if (type.scope == ValueScope::Token)
    row = foldValue(Fn::Sum, row.ref, ValueScope::Sequence, range);
  const ValueId other = reshape(row.ref, {square.axes[0]}, range);
  auto widened = [&](ValueId value) { return Val::ofRuntime(broadcast(value, square.axes, range)); };
  Val gram = select(widened(here.ref), widened(other), Val::ofRuntime(solver.gram), range);
  gram = select(widened(there.ref), widened(row.ref), gram, range);
  solver.yields = {points.ref, values.ref, gram.ref};
}

} // namespace loopc::frontend::sema
