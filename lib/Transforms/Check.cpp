// loop-check: the invariants of the forms SOURCE and PLANNED, and that every op is legal in the form of its model.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checked here: S1, S2, S4 (what a body captures is typed alike, so only position ops need care), S6; P1 to P6. S3 and
// S5 are the ops' own verifiers. While the plan is being made (the model says `planned`, the pass was given no form)
// what is there must be right; what is missing is an error only for `loop-check{phase=planned}`.
#include "Check.h"
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "llvm/ADT/StringMap.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPCHECK
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

bool isTensorRearrangement(Operation *op) {
  return isa<tensor::FromElementsOp, tensor::SplatOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp,
             tensor::ExtractSliceOp, tensor::ConcatOp, tensor::ExtractOp>(op);
}

LogicalResult checkLegal(ModelOp model) {
  Phase phase = model.getPhase();
  WalkResult result = model.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op == model)
      return WalkResult::advance();
    if (auto known = dyn_cast<PhaseOpInterface>(op)) {
      if (known.getLegalPhases() & (1u << unsigned(phase)))
        return WalkResult::advance();
      op->emitOpError("expected an op of the form ") << stringifyPhase(phase) << ", but this op does not stand in it";
      return WalkResult::interrupt();
    }
    if (isElementFunction(op) || isa<arith::ConstantOp>(op) || isTensorRearrangement(op))
      return WalkResult::advance();
    op->emitOpError("expected an op of the loop dialect, an element function or a rearrangement of features, but got `")
        << op->getName() << "`";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

LogicalResult checkType(Operation *op, Type type) {
  if (type.isIndex() || type.isInteger(1) || type.isInteger(32) || type.isF32())
    return success();
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return op->emitOpError("expected a tensor or an index, but got ") << type;
  Type element = tensor.getElementType();
  if (!tensor.hasStaticShape() || tensor.getEncoding())
    return op->emitOpError("expected static feature axes and no rows, but got ") << type;
  if (!element.isF32() && !element.isF64() && !element.isBF16() && !element.isF16() && !element.isInteger(1) &&
      !element.isInteger(32))
    return op->emitOpError("expected elements f32, bf16, f16, i1 or i32, but got ") << element;
  return success();
}

LogicalResult checkProgram(ModelOp model, ForwardOp forward) {
  llvm::StringMap<AttendOp> owner;
  WalkResult result = forward.walk([&](Operation *op) {
    for (Type type : op->getResultTypes())
      if (failed(checkType(op, type)))
        return WalkResult::interrupt();
    for (Region &region : op->getRegions())
      for (Value argument : region.getArguments())
        if (failed(checkType(op, argument.getType())))
          return WalkResult::interrupt();
    auto attend = dyn_cast<AttendOp>(op);
    if (!attend)
      return WalkResult::advance();
    auto site = lookup<SiteOp>(model, attend.getSiteAttr());
    if (!site) {
      attend.emitOpError("expected the name of a loop.site, but got @") << attend.getSite();
      return WalkResult::interrupt();
    }
    size_t tables = site.getTables().value_or(ArrayRef<int64_t>()).size();
    if (attend.getIndex().size() != tables) {
      attend.emitOpError("expected ") << tables << " indices of site @" << attend.getSite() << ", but got "
                                      << attend.getIndex().size();
      return WalkResult::interrupt();
    }
    ArrayRef<int64_t> k = getFeatureShape(attend.getK().getType());
    if (k[0] != int64_t(site.getHeads()) || k[1] != int64_t(site.getDim())) {
      attend.emitOpError("expected keys [") << site.getHeads() << ", " << site.getDim() << "] of site @"
                                            << attend.getSite() << ", but got [" << k[0] << ", " << k[1] << "]";
      return WalkResult::interrupt();
    }
    if (attend->getParentOfType<CheckOp>())
      return WalkResult::advance(); // the readout's own site, met there again
    if (auto [entry, added] = owner.try_emplace(attend.getSite(), attend); !added) {
      AttendOp other = entry->second;
      if (other->getBlock() == attend->getBlock() && other.getK() == attend.getK() && other.getV() == attend.getV())
        return WalkResult::advance();
      InFlightDiagnostic diagnostic = attend.emitOpError("expected a site of its own, but @")
                                      << attend.getSite() << " is used twice";
      diagnostic.attachNote(entry->second.getLoc()) << "first used here";
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

LogicalResult checkComplete(ModelOp model, ForwardOp forward) {
  if (!model.getContract())
    return model.emitOpError("expected a contract, but got none");
  RecurOp scheduled;
  WalkResult result = forward.walk([&](Operation *op) {
    if (auto recur = dyn_cast<RecurOp>(op)) {
      if (!recur.getPlan()) {
        op->emitOpError("expected a plan, but got none");
        return WalkResult::interrupt();
      }
      if (recur.getPlan()->getPlace() == Place::scheduled) {
        if (scheduled || recur->getParentOp() != forward) {
          op->emitOpError("expected one scheduled recurrence, directly in the program, but this is another");
          return WalkResult::interrupt();
        }
        scheduled = recur;
      }
    }
    if (isa<LinearOp, NormOp, SoftmaxOp, ReduceOp, AttendOp>(op) && !op->hasAttr("order")) {
      op->emitOpError("expected an order, but got none");
      return WalkResult::interrupt();
    }
    if (auto linear = dyn_cast<LinearOp>(op)) {
      Type in = cast<RankedTensorType>(linear.getInput().getType()).getElementType();
      Type weight = cast<RankedTensorType>(linear.getWeight().getType()).getElementType();
      if (in != weight) {
        op->emitOpError("expected input and weight of one element type, but got ") << in << " and " << weight;
        return WalkResult::interrupt();
      }
    }
    if (auto attend = dyn_cast<AttendOp>(op)) {
      auto site = lookup<SiteOp>(model, attend.getSiteAttr());
      if (!site.getPlan()) {
        site.emitOpError("expected a plan, but got none");
        return WalkResult::interrupt();
      }
      for (Value row : {attend.getK(), attend.getV()})
        if (cast<RankedTensorType>(row.getType()).getElementType() != site.getPlan()->getRows()) {
          op->emitOpError("expected rows of ") << site.getPlan()->getRows() << " as the plan of @" << attend.getSite()
                                               << " says, but got " << row.getType();
          return WalkResult::interrupt();
        }
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

struct CheckPass : impl::LoopCheckBase<CheckPass> {
  using Base::Base;
  LogicalResult check(ModelOp model) {
    if (!phase.empty() && symbolizePhase(phase) != model.getPhase())
      return model.emitOpError("expected the form ")
             << phase.getValue() << ", but got " << stringifyPhase(model.getPhase());
    if (failed(checkLegal(model)))
      return failure();
    if (model.getPhase() == Phase::lanes)
      return checkLanes(model);
    ForwardOp forward = getForward(model);
    if (!forward)
      return model.emitOpError("expected a loop.forward, but got none");
    if (failed(checkProgram(model, forward)))
      return failure();
    return phase == "planned" ? checkComplete(model, forward) : success();
  }
  void runOnOperation() override {
    if (failed(check(getOperation())))
      signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
} // namespace loopc
