// loop-merge-linears: joins linears of one input into one.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every output of a linear is a sum of its own, so joining rows of several matrices changes no bit; it makes one
// product with more columns to share among workers, and the input is read once.
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

  /// Linears of one input that could be one.
  struct Group {
    SmallVector<LinearOp> linears;
    std::string name; ///< of the joined weight
  };

  llvm::StringMap<unsigned> readers; ///< loop.param ops of each weight; a tied weight counts for its owner too

  bool canMerge(LinearOp linear) {
    auto param = linear.getWeight().getDefiningOp<ParamOp>();
    if (!param || linear.getBias() || !param->hasOneUse() ||
        cast<RankedTensorType>(param.getResult().getType()).getRank() != 2)
      return false;
    auto weight = lookup<WeightOp>(getOperation(), param.getWeightAttr());
    return weight && !weight.getTie() && !weight.getMerged();
  }

  /// Why `linear` cannot join `first`; empty if it can.
  StringRef difference(LinearOp first, LinearOp linear) {
    auto a = first.getWeight().getDefiningOp<ParamOp>(), b = linear.getWeight().getDefiningOp<ParamOp>();
    auto wa = lookup<WeightOp>(getOperation(), a.getWeightAttr()),
         wb = lookup<WeightOp>(getOperation(), b.getWeightAttr());
    if (first.getOrderAttr() != linear.getOrderAttr())
      return "their orders differ";
    if (wa.getTables() != wb.getTables() || a.getIndex() != b.getIndex())
      return "their weights vary over other indices";
    if (cast<RankedTensorType>(wa.getType()).getElementType() != cast<RankedTensorType>(wb.getType()).getElementType())
      return "their weights have other element types";
    if (wa.getFormatAttr() != wb.getFormatAttr())
      return "their weights are stored in other formats";
    return "";
  }

  static ParamOp paramOf(LinearOp linear) { return linear.getWeight().getDefiningOp<ParamOp>(); }

  WeightOp joinWeights(const Group &group, RankedTensorType type) {
    ModelOp model = getOperation();
    SmallVector<Attribute> parts;
    WeightOp last;
    for (LinearOp linear : group.linears) {
      parts.push_back(paramOf(linear).getWeightAttr());
      auto weight = lookup<WeightOp>(model, paramOf(linear).getWeightAttr());
      if (!last || last->isBeforeInBlock(weight))
        last = weight;
    }
    OpBuilder b(&getContext());
    b.setInsertionPointAfter(last);
    addRemark(model, RemarkId::LinearsMerged, group.linears.size(), group.name, type.getDimSize(0));
    return WeightOp::create(b, last.getLoc(), b.getStringAttr(group.name), TypeAttr::get(type), last.getTablesAttr(),
                            StringAttr(), DenseI64ArrayAttr(), StringAttr(), IntegerAttr(), FlatSymbolRefAttr(),
                            b.getArrayAttr(parts), last.getFormatAttr());
  }

  void merge(const Group &group) {
    LinearOp first = group.linears.front();
    int64_t rows = 0;
    for (LinearOp linear : group.linears)
      rows += cast<RankedTensorType>(linear.getWeight().getType()).getDimSize(0);
    auto part = cast<RankedTensorType>(first.getWeight().getType());
    auto type = RankedTensorType::get({rows, part.getDimSize(1)}, part.getElementType());
    auto name = FlatSymbolRefAttr::get(&getContext(), group.name);
    if (!lookup<WeightOp>(getOperation(), name))
      joinWeights(group, type);
    OpBuilder b(first);
    Value weight = ParamOp::create(b, first.getLoc(), type, name, paramOf(first).getIndex());
    Type element = cast<RankedTensorType>(first.getResult().getType()).getElementType();
    Value joined = LinearOp::create(b, first.getLoc(), RankedTensorType::get({rows}, element), first.getInput(), weight,
                                    Value(), first.getOrderAttr());
    int64_t begin = 0;
    for (LinearOp linear : group.linears) {
      Value slice = SliceOp::create(b, linear.getLoc(), linear.getResult().getType(), joined, 0, begin);
      begin += cast<RankedTensorType>(linear.getResult().getType()).getDimSize(0);
      linear.getResult().replaceAllUsesWith(slice);
    }
    for (LinearOp linear : group.linears) {
      ParamOp param = paramOf(linear);
      linear.erase();
      param.erase();
    }
  }

  /// Groups of one block; the indices of a group's first weight are there where its first linear is, and they are those
  /// of the others.
  void collect(Block &block, SmallVectorImpl<Group> &groups) {
    llvm::MapVector<Value, SmallVector<LinearOp>> byInput;
    for (LinearOp linear : block.getOps<LinearOp>())
      if (canMerge(linear))
        byInput[linear.getInput()].push_back(linear);
    for (auto &[input, linears] : byInput) {
      if (linears.size() < 2)
        continue;
      SmallVector<Group> alike;
      StringRef why;
      for (LinearOp linear : linears) {
        auto joins = [&](Group &group) {
          StringRef differs = difference(group.linears.front(), linear);
          why = differs.empty() ? why : differs;
          return differs.empty();
        };
        auto found = llvm::find_if(alike, joins);
        Group &group = found == alike.end() ? alike.emplace_back() : *found;
        group.linears.push_back(linear);
        group.name += (group.name.empty() ? "" : "+") + paramOf(linear).getWeight().str();
      }
      size_t alone = llvm::count_if(alike, [](const Group &group) { return group.linears.size() == 1; });
      if (alone)
        addRemark(getOperation(), RemarkId::LinearsKept, alone, why);
      for (Group &group : alike)
        if (group.linears.size() > 1)
          groups.push_back(std::move(group));
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
    SmallVector<Group> groups;
    forward.walk([&](Block *block) { collect(*block, groups); });
    llvm::StringMap<unsigned> same;
    for (const Group &group : groups)
      ++same[group.name];
    // A weight that is also read alone, or in another company, would be stored twice.
    for (const Group &group : groups) {
      bool only = llvm::all_of(group.linears, [&](LinearOp linear) {
        return readers.lookup(paramOf(linear).getWeight()) == same[group.name];
      });
      if (only)
        merge(group);
      else
        addRemark(model, RemarkId::LinearsKept, group.linears.size(), "one of their weights is read elsewhere");
    }
  }
};

} // namespace
} // namespace loopc
