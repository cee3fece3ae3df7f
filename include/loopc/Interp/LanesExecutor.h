// Lets the engine run stages by interpreting them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_INTERP_LANESEXECUTOR_H
#define LOOPC_INTERP_LANESEXECUTOR_H

#include "loopc/Interp/StageInterp.h"
#include "loopc/runtime/Executor.h"

namespace loopc::interp {

/// Where fields, sites and knobs lie according to the metadata of the same module. Throws rt::Error for a field of a
/// type that stages do not have.
StageLayout layoutOf(const rt::ModelInfo &info);

/// `--target interp`:
///   StageInterp::create(lanesModel, params, layoutOf(info), error) -> LanesExecutor(info, that) -> rt::Engine.
class LanesExecutor final : public rt::Executor {
public:
  LanesExecutor(rt::ModelInfo info, std::unique_ptr<StageInterp> stages)
      : modelInfo(std::move(info)), stages(std::move(stages)) {}
  const rt::ModelInfo &info() const override { return modelInfo; }
  void bind(const rt::EngineMemory &memory) override;
  void run(rt::Stage stage, loopc_call &call) override;

private:
  rt::ModelInfo modelInfo;
  std::unique_ptr<StageInterp> stages;
  StageMemory memory;
};

} // namespace loopc::interp

#endif
