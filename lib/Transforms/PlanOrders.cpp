// loop-plan-orders: the order of every reduction on the target.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Orders are constants of the artefact: they depend on nothing that a call could change (rows, workers, chunks), which
// is why bits do not depend on the schedule.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANORDERS
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

struct PlanOrdersPass : impl::LoopPlanOrdersBase<PlanOrdersPass> {
  using Base::Base;
  void runOnOperation() override {
    ModelOp model = getOperation();
    MLIRContext *context = &getContext();
    auto chain = OrderAttr::get(context, OrderKind::chain, 0, 0);
    auto panels = OrderAttr::get(context, OrderKind::panel, panel, 0);
    auto blocks = OrderAttr::get(context, OrderKind::keys, keys, split);
    int64_t linears = 0, norms = 0, attending = 0;
    model.walk([&](Operation *op) {
      if (auto linear = dyn_cast<LinearOp>(op)) {
        linear.setOrderAttr(chain);
        ++linears;
      } else if (auto norm = dyn_cast<NormOp>(op)) {
        norm.setOrderAttr(panels);
        ++norms;
      } else if (auto softmax = dyn_cast<SoftmaxOp>(op)) {
        softmax.setOrderAttr(panels);
      } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
        reduce.setOrderAttr(panels);
      } else if (auto attend = dyn_cast<AttendOp>(op)) {
        attend.setOrderAttr(blocks);
        ++attending;
      }
    });
    addRemark(model, RemarkId::OrdersChosen, linears, norms, int64_t(panel), attending, int64_t(keys), int64_t(split));
  }
};

} // namespace
} // namespace loopc
