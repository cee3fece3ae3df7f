// An executor that interprets the LANES form on the engine's own memory.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/runtime/Packing.h"
#include <cstring>
#include <unordered_map>

namespace loopc::driver {
namespace {

interp::Element elementOf(rt::DType type) {
  switch (type) {
  case rt::DType::BF16:
    return interp::Element::BF16;
  case rt::DType::I32:
    return interp::Element::I32;
  default:
    return interp::Element::F32;
  }
}

interp::StageLayout layoutOf(const rt::ModelInfo &info) {
  interp::StageLayout layout;
  for (const rt::FieldInfo &field : info.fields)
    layout.fields[field.name] = {field.offset, elementOf(field.dtype)};
  for (size_t pool = 0; pool < info.pools.size(); ++pool)
    for (const rt::SiteInfo &site : info.pools[pool].sites)
      layout.sites[site.name] = {uint32_t(pool), site.offset, elementOf(info.pools[pool].dtype)};
  for (size_t knob = 0; knob < info.knobs.size(); ++knob)
    layout.knobs[info.knobs[knob].name] = uint32_t(knob);
  return layout;
}

/// Weights of a file, or seeded values: the same numbers that PackedParams gives generated code.
class Params : public interp::ParamProvider {
public:
  Params(const rt::ModelInfo &info, const Weights &weights) : weights(weights) {
    for (const rt::ParamInfo &param : info.params)
      for (const rt::ParamSourceInfo &source : param.sources)
        for (uint64_t table = 0; table < param.count; ++table)
          laws.emplace(rt::sourceName(source, table), &param);
  }

  bool read(const interp::TensorRequest &request, std::vector<float> &values, std::string &error) override {
    try {
      int64_t count = 1;
      for (int64_t size : request.shape)
        count *= size;
      std::vector<float> stored;
      if (weights.tensors) {
        const rt::TensorView &view = weights.tensors->get(request.name);
        if (!sameShape(view.shape, request.shape)) {
          error = rt::Error(view.file, "tensor " + view.name, "shape " + rt::shapeText(request.shape),
                            rt::shapeText(view.shape)).what();
          return false;
        }
        stored = rt::readF32(view);
      } else {
        stored.resize(size_t(count));
        auto law = laws.find(request.name);
        if (law == laws.end()) {
          error = "tensor " + request.name + ": expected a parameter of the model, but got none";
          return false;
        }
        rt::keyedDraw({*weights.seed, rt::nameHash(request.name)}, rt::randomLaw(*law->second, request.name), 0,
                      stored);
      }
      if (request.rowMap.empty()) {
        values = std::move(stored);
        return true;
      }
      return permute(request, stored, values, error);
    } catch (const std::exception &failure) {
      error = failure.what();
      return false;
    }
  }

private:
  static bool sameShape(const std::vector<int64_t> &stored, const std::vector<int64_t> &wanted) {
    auto strip = [](const std::vector<int64_t> &shape) {
      std::vector<int64_t> result;
      for (int64_t size : shape)
        if (size != 1)
          result.push_back(size);
      return result;
    };
    return strip(stored) == strip(wanted);
  }

  static bool permute(const interp::TensorRequest &request, const std::vector<float> &stored,
                      std::vector<float> &values, std::string &error) {
    if (request.rowMap != "adjacent_pairs" || request.shape.empty() || request.rowBlock < 2 ||
        request.shape[0] % request.rowBlock) {
      error = "tensor " + request.name + ": expected the row map adjacent_pairs with whole blocks, but got `" +
              request.rowMap + "`";
      return false;
    }
    int64_t rows = request.shape[0], cols = rows ? int64_t(stored.size()) / rows : 0, half = request.rowBlock / 2;
    values.resize(stored.size());
    for (int64_t row = 0; row < rows; ++row) {
      int64_t block = row / request.rowBlock * request.rowBlock, within = row % request.rowBlock;
      int64_t from = block + (within < half ? 2 * within : 2 * (within - half) + 1);
      std::memcpy(values.data() + row * cols, stored.data() + from * cols, size_t(cols) * sizeof(float));
    }
    return true;
  }

  Weights weights;
  std::unordered_map<std::string, const rt::ParamInfo *> laws;
};

class InterpExecutor : public rt::Executor {
public:
  InterpExecutor(const CompileRequest &request, const Weights &weights) {
    std::string error, metadata;
    compilation = Compilation::create(request, error);
    if (!compilation || !compilation->lower(Form::Lanes, error) || !compilation->metadata(metadata, error))
      fail(error);
    model = rt::ModelInfo::parse(metadata, request.program->filename);
    params = std::make_unique<Params>(model, weights);
    stages = compilation->interpreter(*params, layoutOf(model), error);
    if (!stages)
      fail(error);
  }

  const rt::ModelInfo &info() const override { return model; }

  void bind(const rt::EngineMemory &engine) override {
    memory.bank = engine.bank;
    memory.bankRowBytes = engine.bankRowBytes;
    for (size_t i = 0; i < LOOPC_MAX_POOLS; ++i)
      memory.pools[i] = engine.pools[i];
  }

  void run(rt::Stage stage, loopc_call &call) override {
    std::string error;
    if (!stages->run(std::string(rt::stageName(stage)), call, memory, error))
      throw rt::Error(error);
  }

private:
  std::unique_ptr<Compilation> compilation;
  rt::ModelInfo model;
  std::unique_ptr<Params> params;
  std::unique_ptr<interp::StageInterp> stages; ///< destroyed before what it refers to
  interp::StageMemory memory;
};

} // namespace

std::unique_ptr<rt::Executor> makeInterpExecutor(const CompileRequest &request, const Weights &weights) {
  return std::make_unique<InterpExecutor>(request, weights);
}

} // namespace loopc::driver
