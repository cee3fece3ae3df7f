// loop-plan-kv: which plane each iteration writes and reads; refuses policies without a meaning.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A policy is two functions of the iteration d: write(d) and read(d). Planes belong to a site; sites outside the
// recurrence have one. The planes of a plan are those of the row tables. What a table names is the runtime's business:
// under `last_exited` the tables of deeper planes name the row of the exit, under `ring(k)` those of iterations k apart
// name one row. So the program reads and writes plane d and no policy but `single` (one table) shows in its code, or,
// where the policy counts layers, plane d * (layers of an iteration) + layer, whose rows hold one layer.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "loopc/runtime/KvMap.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANKV
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

constexpr rt::KvMapInfo infoOf(KVMap map) { return rt::kvMaps[static_cast<size_t>(map)]; }
#define LOOPC_KV_MAP(NAME, SIZES, NEEDS_COUNT, PLANE)                                                                   \
  static_assert(static_cast<int>(KVMap::NAME) == static_cast<int>(rt::KvMap::NAME));
#include "loopc/runtime/KvMaps.def"

std::string knownMaps() {
  std::string known;
  for (const rt::KvMapInfo &map : rt::kvMaps)
    known += (known.empty() ? "" : ", ") + std::string(map.name) +
             (map.sizes == 0 ? "" : map.sizes == 1 ? "(k)" : "(n, k)");
  return known;
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
    int64_t first = spec ? spec.getSize() : 0, second = spec ? spec.getPeriod() : 0;
    KVUnit counts = spec ? spec.getUnit() : KVUnit::recurrence;
    KVKeep kept = spec ? spec.getKeep() : KVKeep::last;
    bool overwrites = spec && spec.getCodaOverwrites();
    Holes rule = spec ? spec.getHoles() : Holes::refuse;
    CallOrder callOrder = spec ? spec.getOrder() : CallOrder::free;
    if (!policy.empty()) {
      rule = Holes::refuse;
      callOrder = CallOrder::free;
      first = size;
      second = period;
      auto knownUnit = symbolizeKVUnit(unit.empty() ? "recurrence" : unit.getValue());
      auto knownKeep = symbolizeKVKeep(keep.empty() ? "last" : keep.getValue());
      if (!knownUnit || !knownKeep)
        return emitPlanError(recur, PlanError::L0611)
                   << "expected unit recurrence or layer_step and keep last, first or mean, but got "
                   << (knownUnit ? keep : unit),
               failure();
      counts = *knownUnit;
      kept = *knownKeep;
      overwrites = codaOverwrites;
      if (policy == "last_exited" || policy == "always_last" || policy == "latest") {
        map = KVMap::depth_indexed;
        rule = *symbolizeHoles(policy);
      } else if (auto known = symbolizeKVMap(policy)) {
        map = *known;
      } else {
        return emitPlanError(recur, PlanError::L0611)
                   << "expected a kv policy last_exited, always_last, " << knownMaps() << ", but got "
                   << policy,
               failure();
      }
    }
    if (!holes.empty()) {
      auto known = symbolizeHoles(holes);
      if (!known)
        return emitPlanError(recur, PlanError::L0611)
                   << "expected a rule for holes refuse, last_exited, latest, always_last, last_if_hole, skip or zero, "
                      "but got " << holes,
               failure();
      rule = *known;
    }
    if (!order.empty()) {
      auto known = symbolizeCallOrder(order);
      if (!known)
        return emitPlanError(recur, PlanError::L0611) << "expected an order free, token, pass or by_call, but got " << order,
               failure();
      callOrder = *known;
    }
    auto given = KVAttr::get(&getContext(), map, first, second, counts, kept, overwrites, rule, callOrder);
    if (given != spec)
      addRemark(getOperation(), RemarkId::PolicyReplaced, recur.getName(), given.describe(),
                spec ? spec.describe() : std::string("none"));
    return given;
  }

  LogicalResult check(RecurOp recur, KVAttr kv) {
    rt::KvMapInfo map = infoOf(kv.getMap());
    if (kv.shares() && kv.getOrder() == CallOrder::free)
      return emitPlanError(recur, PlanError::L0602) << "policy " << kv.describe()
                                                    << " writes one plane in several iterations, so the order of the "
                                                       "prompt changes the result: expected order "
                                                    << "token, pass or by_call, but got none";
    if (recur.getExit() && leaving && kv.getMap() == KVMap::depth_indexed && kv.getHoles() == Holes::refuse)
      return emitPlanError(recur, PlanError::L0603)
             << "exit leaves holes in planes deeper than the exit: expected a policy that defines them "
                "(last_exited, always_last, single), but got "
             << kv.describe();
    if (recur.getExit() && leaving && map.needsCount)
      return emitPlanError(recur, PlanError::L0604)
             << kv.describe() << " needs the loop count when it writes a plane: expected a fixed count or an exit that "
                                 "only selects, but got an exit that leaves";
    if (!kv.shares() && kv.getOrder() != CallOrder::free)
      return emitPlanError(recur, PlanError::L0614)
             << "expected no order where every iteration has a plane of its own, but got " << kv.describe();
    if (map.sizes != (kv.getSize() > 0) + (kv.getPeriod() > 0))
      return emitPlanError(recur, PlanError::L0611)
             << "expected " << (map.sizes == 0 ? "no size" : map.sizes == 1 ? "a size, as in ring(2)" : "two sizes, as in anchor(8, 1)")
             << ", but got " << kv.describe();
    if (kv.getKeep() != KVKeep::last && (kv.getMap() != KVMap::single || kv.getUnit() != KVUnit::recurrence))
      return emitPlanError(recur, PlanError::L0611)
             << "expected `keep` for the one plane of single, but got " << kv.describe();
    if (kv.getCodaOverwrites() &&
        (!map.needsCount || kv.getUnit() != KVUnit::recurrence || kv.getOrder() == CallOrder::pass))
      return emitPlanError(recur, PlanError::L0611)
             << "expected `coda = overwrites` with last or boundaries of iterations and an order token or by_call, but got "
             << kv.describe();
    bool nested = recur.getBody().front().walk([](RecurOp inner) { return attends(inner) ? WalkResult::interrupt() : WalkResult::advance(); }).wasInterrupted();
    if (nested && kv.shares())
      return emitPlanError(recur, PlanError::L0611)
             << "expected depth_indexed or recompute for a loop with a loop inside that attends, but got " << kv.describe();
    return success();
  }

  /// Planes of a site in the recurrence.
  FailureOr<SitePlanAttr> planOf(Operation *op, SiteOp site, KVAttr kv, Type type, SiteOp &shape) {
    MLIRContext *context = &getContext();
    auto attend = dyn_cast<AttendOp>(op);
    bool first = attend && attend.getFirst(), upto = attend && attend.getUpto();
    bool apart = kv.getMap() == KVMap::depth_indexed &&
                 (kv.getHoles() == Holes::refuse || kv.getHoles() == Holes::skip ||
                  (first && kv.getHoles() != Holes::always_last && kv.getHoles() != Holes::last_if_hole));
    if ((first || upto) && op->getParentOfType<RecurOp>() && !apart)
      return emitPlanError(op, PlanError::L0615)
                 << "expected a plane for every iteration, since rows of " << (first ? "the first" : "each")
                 << " are read, but got " << kv.describe(),
             failure();
    AffineExpr d = getAffineDimExpr(0, context), zero = getAffineConstantExpr(0, context), plane = d, planes = d;
    if (kv.onePlane()) {
      plane = zero;
      planes = getAffineConstantExpr(1, context);
    }
    if (kv.getUnit() == KVUnit::recurrence) {
      AffineMap map = AffineMap::get(1, 0, plane);
      return SitePlanAttr::get(context, map, map, AffineMap::get(1, 0, planes), type);
    }
    std::optional<LayerStep> step = attend ? getLayerStep(attend) : std::nullopt;
    if (!step)
      return emitPlanError(op, PlanError::L0611)
                 << "expected layers in the order of site @" << site.getSymName()
                 << ", since the policy counts them, but got layers under a condition or in another order",
             failure();
    if (shape && (shape.getHeads() != site.getHeads() || shape.getDim() != site.getDim()))
      return emitPlanError(op, PlanError::L0611)
                 << "expected keys [" << shape.getHeads() << ", " << shape.getDim() << "] as @" << shape.getSymName()
                 << " has, since layers share planes, but got [" << site.getHeads() << ", " << site.getDim() << "]",
             failure();
    shape = site;
    AffineMap map = AffineMap::get(2, 0, d * step->count + step->first + getAffineDimExpr(1, context) * step->stride);
    return SitePlanAttr::get(context, map, map, AffineMap::get(1, 0, planes * step->count), type);
  }

  LogicalResult planSites(Operation *around, KVAttr kv, Type type, int64_t &bytes) {
    ModelOp model = getOperation();
    SiteOp shape;
    WalkResult result = around->walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (!isa<AttendOp, KeepOp>(op) || (op->getParentOfType<CheckOp>() && isa<RecurOp>(around)))
        return WalkResult::advance(); // the latter: a site of the readout
      auto name = op->getAttrOfType<FlatSymbolRefAttr>("site");
      auto site = lookup<SiteOp>(model, name);
      if (!site) {
        op->emitOpError("expected the name of a loop.site, but got ") << name;
        return WalkResult::interrupt();
      }
      if (site.getPlan())
        return WalkResult::advance();
      int64_t tables = 1;
      for (int64_t table : site.getTables().value_or(ArrayRef<int64_t>()))
        tables *= table;
      int64_t width = type.getIntOrFloatBitWidth() / 8;
      if (site.getState()) {
        if (kv.getKeep() != KVKeep::last || (kv.shares() && !kv.onePlane())) {
          emitPlanError(op, PlanError::L0611) << "expected states kept depth_indexed or single, but got " << kv.describe();
          return WalkResult::interrupt();
        }
        // Half of the elements in the bytes of the key, half in those of the value, in f32 whatever type rows have.
        site.setDim(llvm::divideCeil(int64_t(site.getDim()), 2) * 4 / width);
      }
      bytes += tables * 2 * int64_t(site.getHeads()) * int64_t(site.getDim()) * width;
      FailureOr<SitePlanAttr> plan = planOf(op, site, kv, type, shape);
      if (failed(plan))
        return WalkResult::interrupt();
      site.setPlanAttr(*plan);
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
    Type type = getNumberType(context, rows);
    if (!type) {
      emitPlanError(model, PlanError::L0613) << "expected rows f32, bf16 or f16, but got " << rows;
      return signalPassFailure();
    }
    RecurOp recur = getScheduledRecur(forward);
    if (recur && attends(recur)) {
      FailureOr<KVAttr> kv = policyOf(recur);
      if (failed(kv) || failed(check(recur, *kv)))
        return signalPassFailure();
      int64_t bytes = 0;
      if (failed(planSites(recur, *kv, type, bytes)))
        return signalPassFailure();
      recur.setKvAttr(*kv);
      addRemark(model, RemarkId::PolicyChosen, recur.getName(), stringifyKVMap(kv->getMap()),
                stringifyHoles(kv->getHoles()), stringifyCallOrder(kv->getOrder()), bytes);
      if (recur.getExit() && kv->getHoles() == Holes::refuse && kv->getMap() != KVMap::single)
        addRemark(model, RemarkId::ExitSelects, recur.getExitAttr().getName(), kv->describe());
    }
    int64_t bytes = 0;
    auto one = KVAttr::get(context, KVMap::single, 0, 0, KVUnit::recurrence, KVKeep::last, false, Holes::refuse, CallOrder::free);
    if (failed(planSites(forward, one, type, bytes)))
      return signalPassFailure();
    model.setPhase(Phase::planned);
  }
};

} // namespace
} // namespace loopc
