// loop-plan-numerics: every rounding as an op.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "llvm/ADT/MapVector.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPPLANNUMERICS
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

bool isMatrixUse(OpOperand &use) { return isa<LinearOp, EmbedOp>(use.getOwner()) && use.getOperandNumber() == 1; }

struct PlanNumericsPass : impl::LoopPlanNumericsBase<PlanNumericsPass> {
  using Base::Base;

  Value rounded(OpBuilder &b, Value value, Type type, Location loc) {
    auto tensor = cast<RankedTensorType>(value.getType());
    if (tensor.getElementType() == type)
      return value;
    Type to = withElementType(tensor, type);
    if (tensor.getElementTypeBitWidth() < type.getIntOrFloatBitWidth())
      return arith::ExtFOp::create(b, loc, to, value);
    return arith::TruncFOp::create(b, loc, to, value);
  }

  /// Gives every matrix the element type `type` or, if it is null, the format that the file has or `format`. Tied
  /// weights share one set of values and are decided together.
  void storeMatrices(ModelOp model, Type type, StringRef format) {
    llvm::StringMap<SmallVector<ParamOp>> reads;
    model.walk([&](ParamOp param) {
      auto weight = lookup<WeightOp>(model, param.getWeightAttr());
      reads[weight.getTie() ? *weight.getTie() : weight.getSymName()].push_back(param);
    });
    llvm::StringMap<StringAttr> inFile;
    for (WeightOp weight : model.getBody().front().getOps<WeightOp>())
      inFile[weight.getSymName()] = weight.getFormatAttr();
    llvm::MapVector<StringRef, int64_t> stored;
    for (WeightOp weight : model.getBody().front().getOps<WeightOp>()) {
      auto tensor = cast<RankedTensorType>(weight.getType());
      StringRef owner = weight.getTie() ? *weight.getTie() : weight.getSymName();
      StringAttr wanted = type ? StringAttr() : format.empty() ? inFile.lookup(owner) : StringAttr::get(&getContext(), format);
      weight.removeFormatAttr();
      auto found = reads.find(owner);
      if (found == reads.end() || found->second.empty() || !tensor.getElementType().isF32() || tensor.getRank() == 0 ||
          (!type && (!wanted || tensor.getRank() != 2)))
        continue;
      bool matrix = false;
      Operation *other = nullptr;
      for (ParamOp param : found->second)
        for (OpOperand &use : param.getResult().getUses()) {
          if (isMatrixUse(use))
            matrix = true;
          else
            other = use.getOwner();
        }
      if (!matrix)
        continue;
      if (other) {
        addRemark(model, RemarkId::WeightKept, weight.getSymName(), other->getName().getStringRef());
        continue;
      }
      if (!type) {
        int64_t block = getWeightFormat(wanted)->block;
        if (tensor.getDimSize(1) % block) {
          addRemark(model, RemarkId::WeightUnblocked, weight.getSymName(), tensor.getDimSize(1), block, wanted.getValue());
          continue;
        }
        ++stored[wanted.getValue()];
        weight.setFormatAttr(wanted);
        continue;
      }
      ++stored[dtype.getValue()];
      weight.setType(withElementType(tensor, type));
      for (ParamOp param : found->second)
        if (param.getWeight() == weight.getSymName())
          param.getResult().setType(withElementType(tensor, type));
    }
    for (auto [name, count] : stored)
      addRemark(model, type ? RemarkId::WeightsRounded : RemarkId::WeightsStored, count, name);
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    Type type = getNumberType(&getContext(), dtype);
    bool blocks = !type && getWeightFormat(dtype);
    if (!type && !blocks) {
      emitPlanError(model, PlanError::L0613) << "expected dtype f32, bf16, f16 or a format of blocks, but got " << dtype;
      return signalPassFailure();
    }
    if (blocks)
      type = Float32Type::get(&getContext());
    storeMatrices(model, type.isF32() ? Type() : type, blocks ? StringRef(dtype) : StringRef());
    OpBuilder b(&getContext());
    llvm::DenseMap<std::pair<Block *, Value>, Value> kv;
    model.walk([&](Operation *op) {
      b.setInsertionPoint(op);
      if (auto linear = dyn_cast<LinearOp>(op); linear && !type.isF32()) {
        linear.getInputMutable().set(rounded(b, linear.getInput(), type, op->getLoc()));
        linear.getWeightMutable().set(rounded(b, linear.getWeight(), type, op->getLoc()));
      } else if (auto embed = dyn_cast<EmbedOp>(op)) {
        Type stored = cast<RankedTensorType>(embed.getTable().getType()).getElementType();
        auto result = cast<RankedTensorType>(embed.getResult().getType());
        if (stored == result.getElementType())
          return;
        embed.getResult().setType(withElementType(result, stored));
        b.setInsertionPointAfter(op);
        Value wide = rounded(b, embed.getResult(), result.getElementType(), op->getLoc());
        embed.getResult().replaceAllUsesExcept(wide, wide.getDefiningOp());
      } else if (auto attend = dyn_cast<AttendOp>(op)) {
        auto site = lookup<SiteOp>(model, attend.getSiteAttr());
        if (!site || !site.getPlan())
          return;
        for (OpOperand *row : {&attend.getKMutable(), &attend.getVMutable()}) {
          Value &kept = kv[{op->getBlock(), row->get()}]; // attends that share rows go on to share them
          if (!kept)
            kept = rounded(b, row->get(), site.getPlan()->getRows(), op->getLoc());
          row->set(kept);
        }
      }
    });
  }
};

} // namespace
} // namespace loopc
