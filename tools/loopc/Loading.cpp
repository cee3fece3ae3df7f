// Loading a model: weights, executors, compiled files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/Frontend/Checkpoint.h"
#include "loopc/runtime/CpuExecutor.h"
#include <cstdio>
#include <sched.h>
#include <unistd.h>

namespace loopc::driver {

Weights openWeights(const WeightOptions &options) {
  Weights result;
  result.seed = options.randomSeed;
  if (!options.weights.empty()) {
    result.file = rt::WeightSource::open(options.weights);
    result.tensors = result.file;
  } else if (!result.seed) {
    throw UsageError("expected --weights PATH or --random-weights SEED, but got neither");
  }
  return result;
}

Published publishedFor(const SpecOptions &options, const Weights &weights) {
  if (!options.config.empty())
    return readConfig(options.config);
  return weights.file ? configOf(*weights.file) : Published();
}

uint32_t workerCount(const TargetOptions &target) {
  if (target.threads)
    return target.threads;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  return uint32_t(std::max(1, CPU_COUNT(&set)));
}

namespace {

LoadedModel loadFile(const std::string &path, const TargetOptions &target, const Weights &weights, LoadTimes times) {
  LoadedModel model;
  Timer timer;
  std::shared_ptr<const rt::Artifact> artifact = rt::Artifact::load(path);
  rt::PackOptions pack;
  pack.threads = workerCount(target);
  if (weights.tensors)
    model.params = rt::PackedParams::pack(artifact->info(), *weights.tensors, pack);
  std::shared_ptr<const rt::PackedParams> params = model.params ? model.params : rt::PackedParams::random(artifact->info(), *weights.seed, pack);
  rt::TeamOptions team;
  team.workers = workerCount(target);
  model.weightBytes = params->bytes();
  model.executor = std::make_unique<rt::CpuExecutor>(artifact, params, team);
  times.weights = timer.seconds();
  model.times = times;
  return model;
}

} // namespace

LoadedModel loadArtifact(const std::string &path, const TargetOptions &target, const Weights &weights) {
  return loadFile(path, target, weights, {});
}

/// Every tensor of the file belongs to the model in name and shape, and the model's are all there.
static void checkTensors(const CompileRequest &request, const Weights &weights) {
  const frontend::CheckpointMap *map = request.program->checkpoint(request.checkpoint);
  if (!weights.tensors || !map)
    return;
  std::vector<frontend::FileTensor> tensors;
  for (const rt::TensorView &tensor : weights.tensors->tensors())
    tensors.push_back({tensor.name, tensor.shape});
  frontend::CheckpointBinding binding = frontend::bindCheckpoint(*request.program, *map, tensors);
  if (binding.ok())
    return;
  constexpr size_t most = 8;
  std::string file = weights.tensors->tensors().empty() ? "weights" : weights.tensors->tensors()[0].file;
  std::string text = file + ": expected the tensors of " + request.program->filename + ", but got: ";
  for (size_t i = 0; i < binding.errors.size() && i < most; ++i)
    text += (i ? "; " : "") + binding.errors[i];
  if (binding.errors.size() > most)
    text += "; and " + std::to_string(binding.errors.size() - most) + " more";
  throw Failure(text);
}

codegen::PhaseTable costTable(const CompileRequest &request) {
  std::string error;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  codegen::PhaseTable table;
  if (!compilation || !compilation->costs(table, error))
    fail(error);
  return table;
}

LoadedModel loadModel(const CompileRequest &request, const TargetOptions &target, const Weights &weights) {
  checkTensors(request, weights);
  if (target.target == "interp") {
    LoadedModel model;
    Timer timer;
    model.executor = makeInterpExecutor(request, weights);
    model.times.compile = timer.seconds();
    return model;
  }
  LoadTimes times;
  std::string path = cachedArtifact(request, target, times);
  bool transient = target.noCache || path.compare(0, cacheDirectory().size(), cacheDirectory()) != 0;
  try {
    LoadedModel model = loadFile(path, target, weights, times);
    if (transient)
      ::unlink(path.c_str()); // stays mapped
    return model;
  } catch (...) {
    if (transient)
      ::unlink(path.c_str());
    throw;
  }
}

} // namespace loopc::driver
