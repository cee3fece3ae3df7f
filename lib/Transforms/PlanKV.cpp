// loop-plan-kv: which plane each iteration writes and reads; refuses policies without a meaning.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A policy is two functions of the iteration d: write(d) and read(d). Planes belong to a site; sites outside the
// recurrence have one. The planes of a plan are those of the row tables. What a table names is the runtime's business:
// under `last_exited` the tables of deeper planes name the row of the exit, under `ring(k)` those of iterations k apart
// name one row. So the program reads and writes plane d and no policy but `single` (one table) shows in its code.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANKV
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

/// The policy as a spec writes it.
std::string describe(KVAttr kv) {
  std::string out = stringifyKVMap(kv.getMap()).str();
  if (kv.getSize())
    out += "(" + std::to_string(kv.getSize()) + ")";
  if (kv.getHoles() != Holes::refuse)
    out += ", holes " + stringifyHoles(kv.getHoles()).str();
  if (kv.getOrder() != CallOrder::free)
    out += ", order " + stringifyCallOrder(kv.getOrder()).str();
  return out;
}

struct PlanKVPass : impl::LoopPlanKVBase<PlanKVPass> {
  using Base::Base;

  /// The spec's policy with what was given for this run in its place.
  FailureOr<KVAttr> policyOf(RecurOp recur) {
    KVAttr spec = recur.getKvAttr();
    if (policy.empty() && holes.empty() && order.empty()) {
      if (!spec)
        return emitPlanError(recur, PlanError::L0601)
                   << "a loop that attends needs a kv policy: expected one of depth_indexed, single, "
                      "last_exited, but got none",
               failure();
      return spec;
    }
    KVMap map = spec ? spec.getMap() : KVMap::depth_indexed;
    int64_t parameter = spec ? spec.getSize() : 0;
    Holes rule = spec ? spec.getHoles() : Holes::refuse;
    CallOrder callOrder = spec ? spec.getOrder() : CallOrder::free;
    if (!policy.empty()) {
      rule = Holes::refuse;
      callOrder = CallOrder::free;
      parameter = size;
      if (policy == "last_exited" || policy == "always_last" || policy == "latest") {
        map = KVMap::depth_indexed;
        rule = *symbolizeHoles(policy);
      } else if (auto known = symbolizeKVMap(policy)) {
        map = *known;
      } else {
        return emitPlanError(recur, PlanError::L0611)
                   << "expected a kv policy depth_indexed, last_exited, always_last, single, ring, stride or "
                      "first_then_shared, but got "
                   << policy,
               failure();
      }
    }
    if (!holes.empty()) {
      auto known = symbolizeHoles(holes);
      if (!known)
        return emitPlanError(recur, PlanError::L0611)
                   << "expected a rule for holes refuse, last_exited, latest or always_last, but got " << holes,
               failure();
      rule = *known;
    }
    if (!order.empty()) {
      auto known = symbolizeCallOrder(order);
      if (!known)
        return emitPlanError(recur, PlanError::L0611) << "expected an order free, token or by_call, but got " << order,
               failure();
      callOrder = *known;
    }
    auto given = KVAttr::get(&getContext(), map, parameter, rule, callOrder);
    if (given != spec)
      addRemark(getOperation(), RemarkId::PolicyReplaced, recur.getName(), describe(given),
                spec ? describe(spec) : std::string("none"));
    return given;
  }

  LogicalResult check(RecurOp recur, KVAttr kv) {
    bool shared = kv.getMap() != KVMap::depth_indexed;
    if (shared && kv.getOrder() == CallOrder::free)
      return emitPlanError(recur, PlanError::L0602) << "policy " << describe(kv)
                                                    << " writes one plane in several iterations, so the order of the "
                                                       "prompt changes the result: expected order "
                                                    << "token or by_call, but got none";
    if (recur.getExit() && leaving && kv.getMap() == KVMap::depth_indexed && kv.getHoles() == Holes::refuse)
      return emitPlanError(recur, PlanError::L0603)
             << "exit leaves holes in planes deeper than the exit: expected a policy that defines them "
                "(last_exited, always_last, single), but got "
             << describe(kv);
    if (!shared && kv.getOrder() != CallOrder::free)
      return emitPlanError(recur, PlanError::L0614)
             << "expected no order where every iteration has a plane of its own, but got " << describe(kv);
    bool sized = kv.getMap() == KVMap::ring || kv.getMap() == KVMap::stride || kv.getMap() == KVMap::first_then_shared;
    if (sized != (kv.getSize() > 0))
      return emitPlanError(recur, PlanError::L0611)
             << "expected " << (sized ? "a size, as in ring(2)" : "no size") << ", but got " << describe(kv);
    bool rules = kv.getHoles() == Holes::refuse || kv.getHoles() == Holes::last_exited ||
                 kv.getHoles() == Holes::latest || kv.getHoles() == Holes::always_last;
    if (!rules || kv.getOrder() == CallOrder::pass)
      return emitPlanError(recur, PlanError::L0611) << "expected a rule for holes refuse, last_exited, latest or "
                                                       "always_last and an order token or by_call, but got "
                                                    << describe(kv);
    return success();
  }

  LogicalResult planSites(Operation *around, AffineMap write, AffineMap read, AffineMap planes, Type type,
                          int64_t &bytes) {
    ModelOp model = getOperation();
    WalkResult result = around->walk([&](AttendOp attend) {
      auto site = lookup<SiteOp>(model, attend.getSiteAttr());
      if (!site) {
        attend.emitOpError("expected the name of a loop.site, but got @") << attend.getSite();
        return WalkResult::interrupt();
      }
      if (!site.getPlan()) {
        int64_t tables = 1;
        for (int64_t table : site.getTables().value_or(ArrayRef<int64_t>()))
          tables *= table;
        bytes += tables * 2 * int64_t(site.getHeads()) * int64_t(site.getDim()) * type.getIntOrFloatBitWidth() / 8;
        site.setPlanAttr(SitePlanAttr::get(&getContext(), write, read, planes, type));
      }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    ForwardOp forward = getForward(model);
    if (!forward)
      return;
    MLIRContext *context = &getContext();
    Type type = rows == "bf16" ? Type(BFloat16Type::get(context)) : Type(Float32Type::get(context));
    if (rows != "bf16" && rows != "f32") {
      emitPlanError(model, PlanError::L0613) << "expected rows f32 or bf16, but got " << rows;
      return signalPassFailure();
    }
    AffineExpr d = getAffineDimExpr(0, context);
    AffineMap same = AffineMap::get(1, 0, d), first = AffineMap::get(1, 0, getAffineConstantExpr(0, context)),
              one = AffineMap::get(1, 0, getAffineConstantExpr(1, context));
    RecurOp recur = getScheduledRecur(forward);
    if (recur && attends(recur)) {
      FailureOr<KVAttr> kv = policyOf(recur);
      if (failed(kv) || failed(check(recur, *kv)))
        return signalPassFailure();
      bool single = kv->getMap() == KVMap::single;
      int64_t bytes = 0;
      if (failed(planSites(recur, single ? first : same, single ? first : same, single ? one : same, type, bytes)))
        return signalPassFailure();
      recur.setKvAttr(*kv);
      addRemark(model, RemarkId::PolicyChosen, recur.getName(), stringifyKVMap(kv->getMap()),
                stringifyHoles(kv->getHoles()), stringifyCallOrder(kv->getOrder()), bytes);
      if (recur.getExit() && kv->getHoles() == Holes::refuse && !single)
        addRemark(model, RemarkId::ExitSelects, recur.getExitAttr().getName(), describe(*kv));
    }
    int64_t bytes = 0;
    if (failed(planSites(forward, first, first, one, type, bytes)))
      return signalPassFailure();
    model.setPhase(Phase::planned);
  }
};

} // namespace
} // namespace loopc
