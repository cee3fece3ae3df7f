// The interpreter as an executor that keeps what it interprets alive.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/Interp/LanesExecutor.h"
#include "loopc/Interp/TensorParams.h"
#include "loopc/runtime/Random.h"

namespace loopc::driver {
namespace {

/// The weights of another provider, each moved up or down by the last bits of an f32.
class NudgedParams final : public interp::ParamProvider {
public:
  NudgedParams(std::unique_ptr<interp::ParamProvider> exact, uint64_t key) : exact(std::move(exact)), key(key) {}
  bool read(const interp::TensorRequest &request, std::vector<float> &values, std::string &error) override {
    if (!exact->read(request, values, error))
      return false;
    uint64_t stream = rt::mixKeys(key, rt::nameHash(request.name));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= rt::mixKeys(stream, i) & 1 ? 1 + weightNudge : 1 - weightNudge;
    return true;
  }

private:
  std::unique_ptr<interp::ParamProvider> exact;
  uint64_t key;
};

class OwningExecutor : public rt::Executor {
public:
  OwningExecutor(const CompileRequest &request, const Weights &weights, std::optional<uint64_t> nudge) {
    std::string error, metadata;
    compilation = Compilation::create(request, error);
    if (!compilation || !compilation->lower(Form::Lanes, error) || !compilation->metadata(metadata, error))
      fail(error);
    rt::ModelInfo info = rt::ModelInfo::parse(metadata, request.program->filename);
    if (weights.tensors)
      params = std::make_unique<interp::TensorParams>(weights.tensors);
    else
      params = std::make_unique<interp::RandomParams>(*weights.seed);
    if (nudge)
      params = std::make_unique<NudgedParams>(std::move(params), *nudge);
    std::unique_ptr<interp::StageInterp> stages = compilation->interpreter(*params, interp::layoutOf(info), error);
    if (!stages)
      fail(error);
    inner = std::make_unique<interp::LanesExecutor>(std::move(info), std::move(stages));
  }
  const rt::ModelInfo &info() const override { return inner->info(); }
  void bind(const rt::EngineMemory &memory) override { inner->bind(memory); }
  void run(rt::Stage stage, loopc_call &call) override { inner->run(stage, call); }

private:
  std::unique_ptr<Compilation> compilation; ///< destroyed last
  std::unique_ptr<interp::ParamProvider> params;
  std::unique_ptr<interp::LanesExecutor> inner;
};

} // namespace

std::unique_ptr<rt::Executor> makeInterpExecutor(const CompileRequest &request, const Weights &weights, std::optional<uint64_t> nudge) {
  return std::make_unique<OwningExecutor>(request, weights, nudge);
}

} // namespace loopc::driver
