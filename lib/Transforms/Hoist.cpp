// loop-hoist: moves what does not change out of recurrences and stacks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Inner bodies first, so that an op may leave several. An op leaves if it works (a linear, a norm, an activation) and
// all that it reads is defined outside. An element function leaves only if it replaces a value that would else be
// carried: otherwise it would trade a few operations for another field in every lane's slot. What is made of weights
// and constants alone always leaves: it is evaluated once a call and takes no field. Weights, constants, columns and
// options move only along with an op that reads them.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPHOIST
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

/// Ops whose result every stage can have for nothing, or that only rearrange.
bool isCheap(Operation *op) {
  return isa<ParamOp, TokenOp, PositionOp, KnobValueOp, CountValueOp, NoiseOp, ReshapeOp, BroadcastOp, SliceOp,
             ConcatOp, StopGradientOp, arith::ConstantOp>(op) ||
         !isa<RankedTensorType>(op->getResult(0).getType());
}

bool isWork(Operation *op) { return isa<LinearOp, NormOp, ActOp, SoftmaxOp, ReduceOp, EmbedOp, RopeOp>(op); }

int64_t flops(Operation *op) {
  if (auto linear = dyn_cast<LinearOp>(op))
    return 2 * cast<RankedTensorType>(linear.getWeight().getType()).getNumElements();
  if (auto norm = dyn_cast<NormOp>(op))
    return 4 * getFeatureCount(norm.getInput().getType());
  if (isa<ReduceOp, SoftmaxOp>(op))
    return getFeatureCount(op->getOperand(0).getType());
  return isCheap(op) ? 0 : getFeatureCount(op->getResult(0).getType());
}

struct HoistPass : impl::LoopHoistBase<HoistPass> {
  using Base::Base;

  /// True if `op` may leave the body: it has no effect and reads only values of outside or of `leaving`.
  static bool mayLeave(Operation *op, Region &body, const llvm::SetVector<Operation *> &invariant) {
    if (op->getNumResults() != 1 || op->getNumRegions() || !isPure(op) || isa<NoiseOp>(op))
      return false;
    return llvm::all_of(op->getOperands(), [&](Value operand) {
      return !body.isAncestor(operand.getParentRegion()) ||
             (operand.getDefiningOp() && invariant.contains(operand.getDefiningOp()));
    });
  }

  void hoistFrom(Operation *around) {
    Region &body = around->getRegion(0);
    ModelOp model = getOperation();
    ParameterValues parameters;
    llvm::SetVector<Operation *> invariant, leaving;
    for (Operation &op : body.front())
      if (mayLeave(&op, body, invariant))
        invariant.insert(&op);
    // Reading `value` in the body ends once the ops that leave have left; being observed is no reading, so that the
    // program does not depend on what is observed.
    auto replaced = [&](Value value, Operation *reader) {
      Operation *made = value.getDefiningOp();
      if (!made || isCheap(made) || parameters.contains(value) ||
          (body.isAncestor(value.getParentRegion()) && !leaving.contains(made)))
        return false;
      return llvm::all_of(value.getUsers(), [&](Operation *user) {
        return user == reader || leaving.contains(user) || isa<TapOp>(user) ||
               !body.isAncestor(user->getParentRegion());
      });
    };
    for (Operation *op : invariant) {
      if (isCheap(op))
        continue;
      if (isWork(op) || parameters.contains(op->getResult(0)) || getFeatureCount(op->getResult(0).getType()) == 1 ||
          llvm::any_of(op->getOperands(), [&](Value operand) { return replaced(operand, op); }))
        leaving.insert(op);
    }
    if (leaving.empty())
      return;
    StringRef name = llvm::TypeSwitch<Operation *, StringRef>(around)
                         .Case([](RecurOp recur) { return recur.getName(); })
                         .Case([](StackOp stack) { return stack.getName(); });
    for (Operation *op : leaving) {
      if (parameters.contains(op->getResult(0)))
        addRemark(model, RemarkId::HoistedParameters, op->getName().getStringRef(), name);
      else
        addRemark(model, RemarkId::Hoisted, op->getName().getStringRef(), name, flops(op));
    }
    // Cheap ops that a leaving one reads go with it, in the order of the body.
    for (Operation *op : llvm::reverse(invariant))
      if (leaving.contains(op))
        for (Value operand : op->getOperands())
          if (Operation *made = operand.getDefiningOp(); made && invariant.contains(made))
            leaving.insert(made);
    for (Operation *op : invariant)
      if (leaving.contains(op))
        op->moveBefore(around);
  }

  void runOnOperation() override {
    ForwardOp forward = getForward(getOperation());
    if (!forward)
      return;
    SmallVector<Operation *> bodies;
    forward.walk([&](Operation *op) {
      if (isa<RecurOp, StackOp>(op))
        bodies.push_back(op); // post-order: inner ones first
    });
    for (Operation *op : bodies)
      hoistFrom(op);
  }
};

} // namespace
} // namespace loopc
