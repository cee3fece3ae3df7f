// The two pipelines: SOURCE to PLANNED, PLANNED to LANES.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Transforms/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace loopc {

void buildPlanPipeline(OpPassManager &pm, const PlanOptions &options) {}

void buildLanesPipeline(OpPassManager &pm, const PlanOptions &options) {
  OpPassManager &model = pm.nest<loop::ModelOp>();
  LoopToLanesOptions lanes;
  lanes.observe.assign(options.observe.begin(), options.observe.end());
  model.addPass(createLoopToLanes(lanes));
  model.addPass(createCSEPass());
  model.addPass(createLoopSplitStages());
  model.addPass(createCSEPass());
}

void registerLoopPassesAndPipelines() {
  registerLoopToLanes();
  registerLoopSplitStages();
}

} // namespace loopc
