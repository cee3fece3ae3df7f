// Weights, optimizers and checkpoints of a training run.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TrainState.h"
#include "loopc/Frontend/Checkpoint.h"
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/Random.h"
#include "loopc/runtime/Safetensors.h"
#include <algorithm>
#include <cmath>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace loopc::driver {
namespace fs = std::filesystem;

void MasterWeights::take(const frontend::Program &program, const std::string &name, uint32_t weight, std::vector<float> values) {
  std::vector<float> &kept = owned[name] = std::move(values);
  add({name, rt::DType::F32, program.weights[weight].shape, std::as_bytes(std::span(kept)), description});
}

MasterWeights::MasterWeights(const frontend::Program &program, const rt::TensorSource &from) {
  description = from.describe();
  for (const frontend::CheckpointTensor &tensor : program.checkpoints.at(0).tensors) {
    if (owned.count(tensor.name) || (tensor.optional && !from.find(tensor.name)))
      continue;
    const rt::TensorView &view = from.get(tensor.name);
    if (!frontend::sameTensorShape(view.shape, program.weights[tensor.weight].shape))
      failExpected(view.file + ": tensor " + tensor.name, "shape " + rt::shapeText(program.weights[tensor.weight].shape), rt::shapeText(view.shape));
    take(program, tensor.name, tensor.weight, rt::readF32(view));
  }
}

MasterWeights::MasterWeights(const frontend::Program &program, const rt::ModelInfo &info, uint64_t seed) {
  description = "random weights";
  std::map<std::string, rt::Law> laws; // those that the page gives
  for (const rt::ParamInfo &param : info.params)
    for (uint64_t table = 0; param.init && table < param.count; ++table)
      for (const rt::ParamSourceInfo &source : param.sources)
        laws[rt::sourceName(source, table)] = *param.init;
  for (const frontend::CheckpointTensor &tensor : program.checkpoints.at(0).tensors) {
    if (owned.count(tensor.name))
      continue;
    const std::vector<int64_t> &shape = program.weights[tensor.weight].shape;
    int64_t count = 1, columns = shape.empty() ? 1 : shape.back();
    for (int64_t size : shape)
      count *= size;
    auto law = laws.find(tensor.name);
    std::vector<float> values(static_cast<size_t>(count));
    rt::keyedDraw({seed, rt::nameHash(tensor.name)},
                  law != laws.end() ? law->second : rt::randomWeightLaw(tensor.name, count / std::max<int64_t>(columns, 1), columns), 0, values);
    take(program, tensor.name, tensor.weight, std::move(values));
  }
}

TrainState::TrainState(const frontend::Program &program, const frontend::ProgramTraining &section, MasterWeights weights)
    : program(program), section(section), master(std::move(weights)) {
  if (!section.missing.empty())
    failExpected(program.filename + ": the `train` section", "numbers made of constants and `step`", "`" + section.missing + "`");
  rt::OptimizerSettings settings;
  for (const frontend::ProgramGroup &group : section.groups) {
    if (!rt::optimizerNamed(group.optimizer))
      failExpected(program.filename + ": the `train` section", "an optimizer that this version runs", "`" + group.optimizer + "`");
    for (const auto &[name, value] : group.settings)
      if (!settings.named(name))
        failExpected(program.filename + ": the `train` section", "a setting of " + group.optimizer, "`" + name + "`");
  }
}

double TrainState::apply(std::map<std::string, std::vector<float>> &gradients, int64_t update) {
  double sum = 0;
  for (const auto &[name, values] : gradients)
    for (float value : values)
      sum += double(value) * value;
  const double norm = std::sqrt(sum);
  if (!std::isfinite(norm)) {
    std::string first = "the gradients";
    for (const auto &[name, values] : gradients)
      if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
        first = "the gradient of " + name;
        break;
      }
    throw Failure("update " + std::to_string(update) + ": " + first + " is not finite; the checkpoint before it stays");
  }
  const float factor = section.clip ? float(rt::clipFactor(norm, section.clip->at(double(update)))) : 1;
  const double rate = section.schedule ? section.schedule->at(double(update)) : 1;
  std::set<std::string> done;
  for (const frontend::CheckpointTensor &tensor : program.checkpoints[0].tensors) {
    auto gradient = gradients.find(tensor.name);
    const uint32_t group = section.groupOf[tensor.weight];
    if (gradient == gradients.end() || group == frontend::kNone || !done.insert(tensor.name).second)
      continue;
    for (float &value : gradient->second)
      value *= factor;
    rt::OptimizerSettings settings;
    for (const auto &[name, value] : section.groups[group].settings)
      *settings.named(name) = value.at(double(update));
    settings.rate = rate;
    const std::vector<int64_t> &shape = program.weights[tensor.weight].shape;
    std::vector<float> &weight = master.values(tensor.name);
    const int64_t rows = shape.size() == 2 ? shape[0] : 1;
    rt::optimize(*rt::optimizerNamed(section.groups[group].optimizer), settings, rows, int64_t(weight.size()) / rows, weight.data(),
                 gradient->second.data(), states[tensor.name]);
  }
  return norm;
}

std::string checkpointPath(const std::string &directory, int64_t step) {
  std::string number = std::to_string(step);
  return directory + "/step-" + std::string(number.size() < 8 ? 8 - number.size() : 0, '0') + number;
}

std::vector<int64_t> checkpointsOf(const std::string &directory) {
  std::vector<int64_t> result;
  std::error_code code;
  for (const auto &entry : fs::directory_iterator(directory, code)) {
    std::string name = entry.path().filename();
    if (name.rfind("step-", 0) == 0 && name.size() > 5 && name.find_first_not_of("0123456789", 5) == std::string::npos)
      result.push_back(std::stoll(name.substr(5)));
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// What was written is on the disk before the rename that makes it visible.
static void sync(const std::string &path) {
  int file = ::open(path.c_str(), O_RDONLY);
  if (file < 0 || ::fsync(file) != 0) {
    if (file >= 0)
      ::close(file);
    throw Failure(path + ": the disk refused what was written");
  }
  ::close(file);
}

void TrainState::save(const std::string &directory, int64_t step, Json state, const std::map<std::string, std::string> &files) const {
  const std::string final = checkpointPath(directory, step), temporary = temporaryBeside(final);
  try {
    fs::create_directory(temporary);
    rt::writeSafetensors(temporary + "/model.safetensors", master, {{"format", "pt"}});
    rt::MemoryTensors moments("states of the optimizers");
    Json numbers = Json::object();
    for (const auto &[name, kept] : states) {
      numbers[name] = {{"steps", kept.steps}, {"norm", kept.norm}};
      if (!kept.first.empty())
        moments.addF32(name + ".first", {int64_t(kept.first.size())}, kept.first);
      if (!kept.second.empty())
        moments.addF32(name + ".second", {int64_t(kept.second.size())}, kept.second);
    }
    rt::writeSafetensors(temporary + "/optimizer.safetensors", moments);
    state["optimizer"] = numbers;
    writeFileAtomically(temporary + "/state.json", state.dump(1) + "\n");
    for (const auto &[name, text] : files) {
      writeFileAtomically(temporary + "/" + name, text);
      sync(temporary + "/" + name);
    }
    for (const char *name : {"/model.safetensors", "/optimizer.safetensors", "/state.json", ""})
      sync(temporary + name);
    fs::rename(temporary, final);
    sync(directory);
  } catch (const fs::filesystem_error &error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Failure(final + ": expected a directory that can be written, but got: " + error.code().message());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
}

Json TrainState::load(const std::string &checkpoint) {
  auto file = rt::SafetensorsFile::open(checkpoint + "/model.safetensors");
  master = MasterWeights(program, *file);
  Json state = Json::parse(readFile(checkpoint + "/state.json"));
  auto moments = rt::SafetensorsFile::open(checkpoint + "/optimizer.safetensors");
  states.clear();
  for (const auto &[name, numbers] : state.at("optimizer").items()) {
    rt::OptimizerState<float> &kept = states[name];
    kept.steps = numbers.at("steps");
    kept.norm = numbers.at("norm");
    if (const rt::TensorView *view = moments->find(name + ".first"))
      kept.first = rt::readF32(*view);
    if (const rt::TensorView *view = moments->find(name + ".second"))
      kept.second = rt::readF32(*view);
  }
  return state;
}

} // namespace loopc::driver
