// loop-plan-counts: who runs each recurrence, and how often by default.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANCOUNTS
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

/// Bytes of weights that one pass over the ops of a block reads for one token.
double bytesRead(Block &block, double elementBytes) {
  double bytes = 0;
  for (Operation &op : block) {
    if (auto param = dyn_cast<ParamOp>(op)) {
      auto type = cast<RankedTensorType>(param.getResult().getType());
      bool rowOnly =
          !param->use_empty() && llvm::all_of(param->getUsers(), [](Operation *user) { return isa<EmbedOp>(user); });
      bytes += double(rowOnly && type.getRank() ? type.getNumElements() / type.getDimSize(0) : type.getNumElements()) *
               elementBytes;
    }
    double times = isa<StackOp>(op) ? double(cast<StackOp>(op).getLayers()) : 1.0;
    if (isBodyOp(&op))
      bytes += times * bytesRead(op.getRegion(0).front(), elementBytes);
  }
  return bytes;
}

struct PlanCountsPass : impl::LoopPlanCountsBase<PlanCountsPass> {
  using Base::Base;

  LogicalResult planScheduled(RecurOp recur, CountOp count) {
    ModelOp model = getOperation();
    int64_t min = count.getMin(), max = count.getMax(), chosen = count.getValue();
    std::string why = "as the spec says";
    if (loops > 0) {
      if (loops < min || loops > max)
        return emitPlanError(recur, PlanError::L0612)
               << "expected a loop count in " << min << ".." << max << ", but got " << int64_t(loops);
      chosen = loops;
      why = "as given for this run";
    }
    if (loops <= 0 && maxMsPerToken > 0) {
      double perByte = 1e3 / (gigabytesPerSecond * 1e9);
      double inside = bytesRead(recur.getBody().front(), elementBytes()) * perByte;
      double all = bytesRead(getForward(model).getBody().front(), elementBytes()) * perByte;
      double outside = all - inside;
      int64_t fits = inside > 0 ? int64_t((maxMsPerToken - outside) / inside) : max;
      chosen = std::min(max, fits);
      if (fits < min || maxMsPerToken < outside) {
        chosen = min;
        addRemark(model, RemarkId::CountTooSlow, recur.getName(), format(maxMsPerToken), min,
                  format(outside + double(min) * inside));
      } else {
        addRemark(model, RemarkId::CountFitted, recur.getName(), chosen, format(maxMsPerToken),
                  format(outside + double(chosen) * inside), format(inside));
      }
    } else {
      addRemark(model, RemarkId::CountDefault, recur.getName(), chosen, min, max, why);
    }
    count.setValue(chosen);
    recur.setPlanAttr(RecurPlanAttr::get(&getContext(), Place::scheduled, chosen, min, max));
    return success();
  }

  double elementBytes() { return weightBytes; }
  static std::string format(double ms) { return llvm::formatv("{0:F3}", ms).str(); }

  void runOnOperation() override {
    ModelOp model = getOperation();
    ForwardOp forward = getForward(model);
    if (!forward)
      return;
    RecurOp scheduled = getScheduledRecur(forward);
    bool failed = false;
    forward.walk([&](RecurOp recur) {
      auto count = lookup<CountOp>(model, recur.getCountAttr());
      if (!count) {
        recur.emitOpError("expected the name of a loop.count, but got @") << recur.getCount();
        failed = true;
        return;
      }
      if (recur == scheduled) {
        failed |= mlir::failed(planScheduled(recur, count));
        return;
      }
      recur.setPlanAttr(
          RecurPlanAttr::get(&getContext(), Place::inlined, count.getValue(), count.getMin(), count.getMax()));
      addRemark(model, RemarkId::PlaceInline, recur.getName());
    });
    if (failed)
      return signalPassFailure();
    model.setPhase(Phase::planned);
  }
};

} // namespace
} // namespace loopc
