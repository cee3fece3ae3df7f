// Counts bytes and operations over the stages of a LANES model.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Costs.h"
#include "loopc/Dialect/Loop/Loop.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc::driver {
namespace {

double bytesOf(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape())
    return 0;
  return double(tensor.getNumElements()) * tensor.getElementTypeBitWidth() / 8;
}

/// Elements of one row of a value with rows.
double featuresOf(Value value) {
  auto tensor = cast<RankedTensorType>(value.getType());
  double count = 1;
  for (int64_t size : tensor.getShape())
    if (!ShapedType::isDynamic(size))
      count *= double(size);
  return count;
}

class Counter {
public:
  Counter(ModelOp model, StageCost &cost) : model(model), cost(cost) {}

  void block(Block &body, double times) {
    for (Operation &op : body) {
      if (auto param = dyn_cast<ParamOp>(op))
        weight(param, times);
      else if (auto linear = dyn_cast<LinearOp>(op))
        cost.flops += 2 * times * double(cast<RankedTensorType>(linear.getWeight().getType()).getNumElements());
      else if (auto attend = dyn_cast<KVAttendOp>(op))
        attention(attend, times);
      else if (auto append = dyn_cast<KVAppendOp>(op))
        cost.keptBytes += times * rowBytes(append);
      double inside = times;
      if (auto stack = dyn_cast<StackOp>(op))
        inside *= double(stack.getLayers());
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          block(inner, inside);
    }
  }

private:
  void weight(ParamOp param, double times) {
    auto type = dyn_cast<RankedTensorType>(param.getResult().getType());
    if (!type)
      return;
    bool rowOnly =
        !param->use_empty() && llvm::all_of(param->getUsers(), [](Operation *user) { return isa<EmbedOp>(user); });
    cost.weightBytes += times * bytesOf(type) / (rowOnly && type.getRank() ? double(type.getDimSize(0)) : 1.0);
  }

  /// Bytes of one key row and one value row of a site.
  double rowBytes(KVAppendOp append) {
    auto bits = [](Value value) { return cast<RankedTensorType>(value.getType()).getElementTypeBitWidth() / 8.0; };
    double bytes = featuresOf(append.getK()) * bits(append.getK()) + featuresOf(append.getV()) * bits(append.getV());
    kept[append.getSite()] = bytes;
    return bytes;
  }

  void attention(KVAttendOp attend, double times) {
    cost.historyFlops += times * (2 * featuresOf(attend.getQ()) + 2 * featuresOf(attend.getResult()));
    cost.historyBytes += times * kept.lookup(attend.getSite());
  }

  ModelOp model;
  StageCost &cost;
  llvm::StringMap<double> kept;
};

} // namespace

std::vector<StageCost> stageCosts(ModelOp model) {
  std::vector<StageCost> result;
  for (StageOp stage : model.getOps<StageOp>()) {
    StageCost cost;
    cost.name = stage.getSymName().str();
    Counter(model, cost).block(stage.getBody().front(), 1);
    result.push_back(cost);
  }
  return result;
}

} // namespace loopc::driver
