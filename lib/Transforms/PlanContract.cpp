// loop-plan-contract: which lanes may share a call, derived from the ops and the policy.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANCONTRACT
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

struct PlanContractPass : impl::LoopPlanContractBase<PlanContractPass> {
  using Base::Base;
  void runOnOperation() override {
    ModelOp model = getOperation();
    ForwardOp forward = getForward(model);
    if (!forward)
      return;
    Lag lag = Lag::none;
    Grain group = Grain::lane, couple = Grain::lane;
    CallOrder order = CallOrder::free;
    std::string why = "causal attention reads planes that only one iteration writes";
    if (RecurOp recur = getScheduledRecur(forward)) {
      if (KVAttr kv = recur.getKvAttr()) {
        if (kv.getMap() != KVMap::depth_indexed) {
          order = kv.getOrder();
          why = ("iterations of @" + recur.getName() + " write one plane, so a token waits for all older ones").str();
        }
        if (kv.getHoles() == Holes::always_last || kv.getHoles() == Holes::last_if_hole) {
          lag = Lag::end;
          why = "a token reads the last plane of older ones, so they must have left the loop";
        }
      }
      if (KVAttr kv = recur.getKvAttr(); kv && kv.getMap() == KVMap::recompute) {
        group = Grain::sequence;
        order = CallOrder::free;
        why = "nothing is kept between calls, so all tokens of a sequence run together";
      }
      if (ExitAttr exit = recur.getExitAttr(); exit && exit.getGrain() != Grain::lane) {
        couple = exit.getGrain();
        why += ("; exit " + exit.getName() + " leaves per " + stringifyGrain(couple)).str();
      }
      if (CheckOp check = getCheck(recur); check && attends(check)) {
        lag = Lag::end;
        why = "the exit reads a readout that attends, so older tokens must have left the loop";
      }
    }
    forward.walk([&](Operation *op) {
      if (auto fold = dyn_cast<FoldOp>(op); fold && !fold->getParentOfType<CheckOp>()) {
        group = Grain::sequence;
        why = "a reduction over the sequence depends on all its tokens, so they run together";
        if (fold.getBatch()) {
          couple = Grain::call;
          why = "a reduction over the batch depends on all its sequences, so they run together";
        }
      }
      auto attend = dyn_cast<AttendOp>(op);
      Mask mask = attend ? attend.getMask().value_or(Mask::causal) : Mask::causal;
      if (mask == Mask::whole && group != Grain::sequence) {
        group = Grain::sequence;
        why = "tokens see later ones, so all tokens of a sequence run together";
      } else if (mask == Mask::prefix && group == Grain::lane) {
        group = Grain::prompt;
        why = "tokens of the prompt see each other, so it is taken in by one call";
      }
    });
    RecallOp recall;
    forward.walk([&](RecallOp op) { return recall = op, WalkResult::interrupt(); });
    if (recall) {
      const bool leaveTogether = group == Grain::lane && couple != Grain::lane;
      if (group != Grain::lane || leaveTogether || order == CallOrder::pass || order == CallOrder::by_call) {
        std::string together = leaveTogether ? "an exit per " + stringifyGrain(couple).str() + ", which all its tokens take together"
                               : group == Grain::lane ? "order " + stringifyCallOrder(order).str()
                                                      : why;
        emitPlanError(recall, PlanError::L0616) << "expected tokens of a sequence one after the other, since a carry is read, but got " << together;
        return signalPassFailure();
      }
      lag = Lag::end; // so no run can ask for another order
      order = CallOrder::token;
      why = "a token reads the state that the one before it has left";
    }
    model.setContractAttr(ContractAttr::get(&getContext(), lag, group, order, couple));
    addRemark(model, RemarkId::ContractDerived, stringifyLag(lag), stringifyGrain(group), stringifyCallOrder(order),
              stringifyGrain(couple), why);
  }
};

} // namespace
} // namespace loopc
