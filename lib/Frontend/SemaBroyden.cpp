// Broyden's method for loops: `by broyden(…)` moves along an estimate of the inverse Jacobian of f(x) - x.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The "good" method (Broyden 1965) with a limited memory: the estimate B starts as -1 and gains one term u v of rank
// one in every iteration but the first, g being f(x) - x:
//   v = dx B,  u = (dx - B dg) / (v dg),  B += u v,  the next point is x - B g
// States of the loop:
//   solver.x, solver.g, solver.step   the point before, its residual, the step from there
//   solver.u, solver.v [slots, …]     the terms; that of iteration j takes slot (j - 1) mod slots
// Products are sums over the features and, for a state per token, over the sequence: every sequence has an estimate of
// its own.

#include "Elaborator.h"

namespace loopc::frontend::sema {

namespace {
enum { Point, Residual, Step, Left, Right };
}

Val Elaborator::nextOfBroyden(Solver &solver, const Val &value) {
  const SourceRange range = solver.range;
  const ProgramType type = typeOf(value.ref);
  ProgramType list = type;
  list.axes.insert(list.axes.begin(), solver.slot);
  solver.memory = {{newValue(type, "solver.x")},
                   {newValue(type, "solver.g")},
                   {newValue(type, "solver.step")},
                   {newValue(list, "solver.u")},
                   {newValue(list, "solver.v")}};
  const Val moved = binary(Fn::Add, remembered(solver, Point), remembered(solver, Step), range, range, range);
  return select(binary(Fn::Lt, solver.turn, Val::ofFloat(1), range, range, range), value, moved, range);
}

void Elaborator::keepForBroyden(Solver &solver, const Val &value) {
  const SourceRange range = solver.range;
  auto op = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  // Sum over the slots of an entry of `to` times the product of that of `from` with x, less x: B x or x B.
  auto estimate = [&](const Val &to, const Val &from, const Val &x) {
    const Val terms = op(Fn::Mul, to, slotProducts(from, x, range));
    if (terms.poison())
      return Val();
    return op(Fn::Sub, reduceValue(Fn::Sum, terms.ref, {0}, range), x);
  };
  const Val u = remembered(solver, Left), v = remembered(solver, Right);
  const Val residual = op(Fn::Sub, value, solver.point);
  const Val dx = op(Fn::Sub, solver.point, remembered(solver, Point)),
            dg = op(Fn::Sub, residual, remembered(solver, Residual));
  const Val row = estimate(v, u, dx);
  Val along = op(Fn::Mul, row, dg);
  if (along.poison())
    return; // told already
  std::vector<size_t> axes;
  for (size_t k = 0; k < typeOf(along.ref).axes.size(); ++k)
    axes.push_back(k);
  if (!axes.empty())
    along = reduceValue(Fn::Sum, along.ref, axes, range);
  if (typeOf(along.ref).scope == ValueScope::Token)
    along = foldValue(Fn::Sum, along.ref, ValueScope::Sequence, range);
  const Val column = op(Fn::Div, op(Fn::Sub, dx, estimate(u, v, dg)), along);
  auto finite = [&](const Val &x) { // a row that moves no more has no direction
    return select(op(Fn::Lt, unary(Fn::Abs, x, range), Val::ofFloat(3e38)), x, Val::ofFloat(0), range);
  };
  const Val before = op(Fn::Sub, solver.turn, Val::ofFloat(1));
  const Val here = op(Fn::Eq, counted(solver.slot, range), slotOfTurn(solver, before));
  const Val first = op(Fn::Lt, before, Val::ofFloat(0)), none = Val::ofFloat(0);
  const Val us = putSlot(solver, u, here, select(first, none, finite(column), range));
  const Val vs = putSlot(solver, v, here, select(first, none, finite(row), range));
  const Val step = op(Fn::Sub, none, estimate(us, vs, residual));
  solver.memory[Point].yield = solver.point.ref;
  solver.memory[Residual].yield = residual.ref;
  solver.memory[Step].yield = step.ref;
  solver.memory[Left].yield = us.ref;
  solver.memory[Right].yield = vs.ref;
}

} // namespace loopc::frontend::sema
