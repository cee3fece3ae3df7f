// The two pipelines: SOURCE to PLANNED, PLANNED to LANES.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Transforms/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace loopc {
namespace {

/// Adds passes to a model's pipeline, each followed by the check of its form.
class ModelPipeline {
public:
  ModelPipeline(OpPassManager &pm, const PlanOptions &options) : pm(pm.nest<loop::ModelOp>()), check(options.check) {}
  void add(std::unique_ptr<Pass> pass) {
    pm.addPass(std::move(pass));
    if (check)
      pm.addPass(createLoopCheck());
  }

private:
  OpPassManager &pm;
  bool check;
};

struct PlanPipelineOptions : PassPipelineOptions<PlanPipelineOptions> {
  Option<int64_t> loops{*this, "loops", llvm::cl::desc("default loop count"), llvm::cl::init(0)};
  Option<double> maxMsPerToken{*this, "max-ms-per-token", llvm::cl::desc("budget of a decoded token"),
                               llvm::cl::init(0)};
  Option<std::string> policy{*this, "policy", llvm::cl::desc("K/V map"), llvm::cl::init("")};
  Option<std::string> holes{*this, "holes", llvm::cl::desc("rule for holes"), llvm::cl::init("")};
  Option<std::string> order{*this, "order", llvm::cl::desc("order of a prompt"), llvm::cl::init("")};
  Option<std::string> dtype{*this, "dtype", llvm::cl::desc("type of matrices"), llvm::cl::init("f32")};
  Option<std::string> kvDtype{*this, "kv-dtype", llvm::cl::desc("type of K/V rows"), llvm::cl::init("")};
  Option<bool> leaving{*this, "leaving", llvm::cl::desc("an exit ends the iterations of its lane"),
                       llvm::cl::init(false)};
  Option<bool> hoist{*this, "hoist", llvm::cl::desc("move invariants out of loops"), llvm::cl::init(true)};
  Option<bool> merge{*this, "merge", llvm::cl::desc("join linears of one input"), llvm::cl::init(true)};
  ListOption<std::string> observe{*this, "observe", llvm::cl::desc("taps to keep")};

  PlanOptions plan() const {
    PlanOptions out;
    out.loops = loops;
    out.maxMsPerToken = maxMsPerToken;
    out.policy = policy;
    out.holes = holes;
    out.order = order;
    out.dtype = dtype;
    out.kvDtype = kvDtype;
    out.leavingExit = leaving;
    out.hoist = hoist;
    out.mergeLinears = merge;
    out.observe.assign(observe.begin(), observe.end());
    return out;
  }
};

} // namespace

void buildPlanPipeline(OpPassManager &pm, const PlanOptions &options) {
  ModelPipeline model(pm, options);
  pm.nest<loop::ModelOp>().addPass(createLoopCheck());
  model.add(createLoopSimplify());
  model.add(createCSEPass());
  LoopPlanCountsOptions counts;
  counts.loops = options.loops;
  counts.maxMsPerToken = options.maxMsPerToken;
  counts.gigabytesPerSecond = options.gigabytesPerSecond;
  std::optional<loop::WeightFormat> format = loop::getWeightFormat(options.dtype);
  counts.weightBytes = format ? format->bytes : 4;
  model.add(createLoopPlanCounts(counts));
  LoopPlanKVOptions kv;
  kv.policy = options.policy;
  kv.size = options.policySizes[0];
  kv.period = options.policySizes[1];
  kv.unit = options.policyUnit;
  kv.keep = options.policyKeep;
  kv.codaOverwrites = options.policyCodaOverwrites;
  kv.holes = options.holes;
  kv.order = options.order;
  bool number = !format || format->block <= 2; // blocks are no type of K/V rows
  kv.rows = !options.kvDtype.empty() ? options.kvDtype : number ? options.dtype : "f32";
  kv.leaving = options.leavingExit;
  model.add(createLoopPlanKV(kv));
  model.add(createLoopPlanContract());
  if (options.hoist)
    model.add(createLoopHoist());
  LoopPlanNumericsOptions numerics;
  numerics.dtype = options.dtype;
  model.add(createLoopPlanNumerics(numerics));
  model.add(createCSEPass());
  model.add(createLoopPlanOrders());
  if (options.mergeLinears)
    model.add(createLoopMergeLinears());
  LoopCheckOptions complete;
  complete.phase = "planned";
  pm.nest<loop::ModelOp>().addPass(createLoopCheck(complete));
}

void buildLanesPipeline(OpPassManager &pm, const PlanOptions &options) {
  ModelPipeline model(pm, options);
  LoopToLanesOptions lanes;
  lanes.observe.assign(options.observe.begin(), options.observe.end());
  model.add(createLoopToLanes(lanes));
  model.add(createCSEPass());
  model.add(createLoopSplitStages());
  model.add(createCSEPass());
}

void registerLoopPassesAndPipelines() {
  registerLoopPasses();
  PassPipelineRegistration<PlanPipelineOptions>(
      "loop-plan", "SOURCE to PLANNED",
      [](OpPassManager &pm, const PlanPipelineOptions &options) { buildPlanPipeline(pm, options.plan()); });
  PassPipelineRegistration<PlanPipelineOptions>("loop-lanes", "SOURCE to LANES",
                                                [](OpPassManager &pm, const PlanPipelineOptions &options) {
                                                  buildPlanPipeline(pm, options.plan());
                                                  buildLanesPipeline(pm, options.plan());
                                                });
}

} // namespace loopc
