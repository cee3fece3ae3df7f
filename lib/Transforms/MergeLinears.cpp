// loop-merge-linears: joins linears of one input into one.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every output of a linear is a sum of its own, so joining rows of several matrices changes no bit; it makes one product
// with more columns to share among workers, and the input is read once.
#include "Program.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "llvm/ADT/MapVector.h"

namespace loopc {
#define GEN_PASS_DEF_LOOPMERGELINEARS
#include "loopc/Transforms/Passes.h.inc"
} // namespace loopc

using namespace mlir;
using namespace mlir::loop;

namespace loopc {
namespace {

struct MergeLinearsPass : impl::LoopMergeLinearsBase<MergeLinearsPass> {
  using Base::Base;

  llvm::StringMap<unsigned> readers; ///< loop.param ops of each weight; a tied weight counts for its owner too

  bool canMerge(LinearOp linear) {
    auto param = linear.getWeight().getDefiningOp<ParamOp>();
    if (!param || linear.getBias() || !param->hasOneUse() || cast<RankedTensorType>(param.getResult().getType()).getRank() != 2)
      return false;
    auto weight = lookup<WeightOp>(getOperation(), param.getWeightAttr());
    return weight && !weight.getTie() && !weight.getMerged() && readers.lookup(weight.getSymName()) == 1;
  }

  /// Why `linear` cannot join `first`; empty if it can.
  StringRef difference(LinearOp first, LinearOp linear) {
    auto a = first.getWeight().getDefiningOp<ParamOp>(), b = linear.getWeight().getDefiningOp<ParamOp>();
    auto wa = lookup<WeightOp>(getOperation(), a.getWeightAttr()), wb = lookup<WeightOp>(getOperation(), b.getWeightAttr());
    if (first.getOrderAttr() != linear.getOrderAttr())
      return "their orders differ";
    if (wa.getTables() != wb.getTables() || a.getIndex() != b.getIndex())
      return "their weights vary over other indices";
    if (cast<RankedTensorType>(wa.getType()).getElementType() != cast<RankedTensorType>(wb.getType()).getElementType())
      return "their weights have other element types";
    return "";
  }

  void merge(ArrayRef<LinearOp> group) {
    ModelOp model = getOperation();
    LinearOp first = group.front();
    Location loc = first.getLoc();
    std::string name;
    int64_t rows = 0;
    SmallVector<Attribute> parts;
    WeightOp last;
    for (LinearOp linear : group) {
      auto param = linear.getWeight().getDefiningOp<ParamOp>();
      name += (name.empty() ? "" : "+") + param.getWeight().str();
      parts.push_back(param.getWeightAttr());
      rows += cast<RankedTensorType>(param.getResult().getType()).getDimSize(0);
      auto weight = lookup<WeightOp>(model, param.getWeightAttr());
      if (!last || last->isBeforeInBlock(weight))
        last = weight;
    }
    auto firstParam = first.getWeight().getDefiningOp<ParamOp>();
    auto firstType = cast<RankedTensorType>(firstParam.getResult().getType());
    auto type = RankedTensorType::get({rows, firstType.getDimSize(1)}, firstType.getElementType());
    OpBuilder b(&getContext());
    b.setInsertionPointAfter(last);
    WeightOp::create(b, loc, b.getStringAttr(name), TypeAttr::get(type), last.getTablesAttr(), StringAttr(), DenseI64ArrayAttr(),
                     StringAttr(), IntegerAttr(), FlatSymbolRefAttr(), b.getArrayAttr(parts));
    b.setInsertionPoint(first);
    Value weight = ParamOp::create(b, loc, type, FlatSymbolRefAttr::get(&getContext(), name), firstParam.getIndex());
    auto result = cast<RankedTensorType>(first.getResult().getType());
    Value joined = LinearOp::create(b, loc, RankedTensorType::get({rows}, result.getElementType()), first.getInput(), weight, Value(),
                                    first.getOrderAttr());
    int64_t begin = 0;
    for (LinearOp linear : group) {
      Value part = SliceOp::create(b, linear.getLoc(), linear.getResult().getType(), joined, 0, begin);
      begin += cast<RankedTensorType>(linear.getResult().getType()).getDimSize(0);
      linear.getResult().replaceAllUsesWith(part);
    }
    for (LinearOp linear : group) {
      auto param = linear.getWeight().getDefiningOp<ParamOp>();
      linear.erase();
      param.erase();
    }
    addRemark(model, RemarkId::LinearsMerged, group.size(), name, rows);
  }

  void mergeIn(Block &block) {
    llvm::MapVector<Value, SmallVector<LinearOp>> byInput;
    for (LinearOp linear : block.getOps<LinearOp>())
      if (canMerge(linear))
        byInput[linear.getInput()].push_back(linear);
    for (auto &[input, linears] : byInput) {
      if (linears.size() < 2)
        continue;
      SmallVector<LinearOp> group = {linears.front()};
      StringRef why;
      for (LinearOp linear : llvm::drop_begin(linears)) {
        StringRef differs = difference(linears.front(), linear);
        if (differs.empty())
          group.push_back(linear);
        else
          why = differs;
      }
      if (!why.empty())
        addRemark(getOperation(), RemarkId::LinearsKept, linears.size() - group.size(), why);
      // The indices of the first are there where the first is; the others' are the same values.
      if (group.size() > 1)
        merge(group);
    }
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    ForwardOp forward = getForward(model);
    if (!forward)
      return;
    forward.walk([&](ParamOp param) {
      ++readers[param.getWeight()];
      if (auto weight = lookup<WeightOp>(model, param.getWeightAttr()); weight && weight.getTie())
        ++readers[*weight.getTie()];
    });
    SmallVector<Block *> blocks;
    forward.walk([&](Block *block) { blocks.push_back(block); });
    for (Block *block : blocks)
      mergeIn(*block);
  }
};

} // namespace
} // namespace loopc
