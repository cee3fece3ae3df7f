// What a rule of reverse mode works with: the adjoints found so far, and short ways to write their arithmetic.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_TRANSFORMS_ADJOINTS_H
#define LOOPC_LIB_TRANSFORMS_ADJOINTS_H

#include "loopc/Dialect/Loop/Loop.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/MapVector.h"

namespace mlir::loop {

/// Adjoints of the values that one block reads, as sums of terms built at its end. An adjoint is one token's: what all
/// tokens share (a weight) gets the sum over the tokens where it is accumulated.
class Adjoints {
public:
  Adjoints(OpBuilder builder, Location loc) : builder(builder), loc(loc) {}

  OpBuilder builder;
  Location loc;

  /// The adjoint so far; null if nothing has come.
  Value of(Value primal) const { return sums.lookup(primal); }
  Value orZero(Value primal);
  /// One more term. Values without a derivative (whole numbers, constants) take none.
  void add(Value primal, Value term);
  /// Adds what the ops that `block` holds now, from the last to the first, pass on.
  LogicalResult reverse(Block &block);
  /// Values from outside of `block` that have an adjoint, in the order in which it came.
  SmallVector<Value> outside(Block &block) const;

  Value number(Type type, double value);
  Value stretch(Value value, Type type, ArrayRef<int64_t> dims) {
    return value.getType() == type ? value
                                   : BroadcastOp::create(builder, loc, type, value, builder.getDenseI64ArrayAttr(dims));
  }
  /// The sum over the feature axes that are not in `dims`, which are ascending.
  Value collapse(Value value, ArrayRef<int64_t> dims);
  Value reduce(ReduceKind kind, Value value, int64_t axis);
  Value reshape(Value value, Type type) {
    return value.getType() == type ? value : ReshapeOp::create(builder, loc, type, value);
  }

private:
  llvm::MapVector<Value, Value> sums;
};

/// Tensors of real numbers have a derivative.
bool isDifferentiable(Value value);

/// Arithmetic of values of one type, as a rule is written on paper.
struct Term {
  Adjoints *in;
  Value value;
};
template <typename Op> Term combine(Term a, Term b) {
  return {a.in, Op::create(a.in->builder, a.in->loc, a.value, b.value)};
}
inline Term like(Term a, double number) { return {a.in, a.in->number(a.value.getType(), number)}; }
inline Term operator+(Term a, Term b) { return combine<arith::AddFOp>(a, b); }
inline Term operator-(Term a, Term b) { return combine<arith::SubFOp>(a, b); }
inline Term operator*(Term a, Term b) { return combine<arith::MulFOp>(a, b); }
inline Term operator/(Term a, Term b) { return combine<arith::DivFOp>(a, b); }
inline Term operator+(Term a, double b) { return a + like(a, b); }
inline Term operator*(Term a, double b) { return a * like(a, b); }
inline Term operator-(double a, Term b) { return like(b, a) - b; }
inline Term operator-(Term a) { return {a.in, arith::NegFOp::create(a.in->builder, a.in->loc, a.value)}; }

void registerReverseRules(DialectRegistry &registry);

} // namespace mlir::loop

#endif
