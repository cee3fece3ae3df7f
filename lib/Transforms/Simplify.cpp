// loop-simplify: what the spec says in more ops than it takes.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Only rewrites that change no bit: a constant that is spread over features is a constant; a square is a product; a
// condition twice is a condition. The upstream canonicalizer is not used: it places constants directly in the model.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPSIMPLIFY
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

/// The constant that `value` holds in every element, or null.
DenseElementsAttr splatOf(Value value) {
  DenseElementsAttr attr;
  return matchPattern(value, m_Constant(&attr)) && attr.isSplat() ? attr : DenseElementsAttr();
}

/// What `op` is equal to, or null if it stays.
Value simpler(Operation *op, OpBuilder &b) {
  if (isa<BroadcastOp, ReshapeOp, SliceOp>(op))
    if (DenseElementsAttr splat = splatOf(op->getOperand(0)))
      return arith::ConstantOp::create(b, op->getLoc(),
                                       splat.resizeSplat(cast<ShapedType>(op->getResult(0).getType())));
  if (isa<ReshapeOp>(op) && op->getOperand(0).getType() == op->getResult(0).getType())
    return op->getOperand(0);
  if (auto power = dyn_cast<math::PowFOp>(op))
    if (DenseElementsAttr splat = splatOf(power.getRhs()); splat && splat.getSplatValue<APFloat>().isExactlyValue(2.0))
      return arith::MulFOp::create(b, op->getLoc(), power.getLhs(), power.getLhs());
  if (isa<arith::AndIOp, arith::OrIOp>(op) && op->getOperand(0) == op->getOperand(1))
    return op->getOperand(0);
  return {};
}

struct SimplifyPass : impl::LoopSimplifyBase<SimplifyPass> {
  using Base::Base;
  void runOnOperation() override {
    OpBuilder b(&getContext());
    SmallVector<Operation *> dead;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op->getNumResults() != 1)
        return;
      b.setInsertionPoint(op);
      if (Value value = simpler(op, b)) {
        op->getResult(0).replaceAllUsesWith(value);
        dead.push_back(op);
      }
    });
    for (Operation *op : llvm::reverse(dead))
      op->erase();
  }
};

} // namespace
} // namespace loopc
