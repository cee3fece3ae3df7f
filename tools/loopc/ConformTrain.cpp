// Training of a case, interpreted or compiled: losses, gradients, and weights after several steps.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/Interp/TensorParams.h"
#include "loopc/runtime/Optimizer.h"
#include "loopc/runtime/TrainStep.h"
#include <algorithm>
#include <cmath>

namespace loopc::driver {
namespace {

/// What one step of a case is given.
struct StepData {
  int64_t number = 0;
  CaseTensor tokens;
  std::optional<CaseTensor> labels;
  std::map<std::string, CaseTensor> draws, given;
  int64_t batch() const { return std::max<int64_t>(1, tokens.size('B')); }

  StepData(const CasePlan &plan, size_t step) : number(int64_t(step)), tokens(plan.tokens), labels(plan.labels) {
    for (const auto &[name, parts] : plan.draws)
      draws[name] = parts.at(0);
    given = plan.given;
    if (plan.tokensAt.empty())
      return;
    tokens = plan.tokensAt.at(step);
    if (!plan.labelsAt.empty())
      labels = plan.labelsAt.at(step);
    for (const auto &[name, all] : plan.drawsAt)
      draws[name] = all.at(step);
    for (const auto &[name, all] : plan.givenAt)
      given[name] = all.at(step);
  }

  /// What expressions of the words see: the number of the step from 0, and the numbers given for sequence `b`.
  words::Scope scope(const words::Scope &outer, int64_t b) const {
    words::Scope result = outer;
    result["step"] = number;
    for (const auto &[name, tensor] : given)
      result[name] = tensor.values.at(tensor.size('B') > 0 ? size_t(b) : 0);
    return result;
  }
};

/// Sequences with labels: given ones, or the tokens that follow (of which the last has none).
std::vector<interp::SourceChunk> sequencesOf(const StepData &data) {
  int64_t batch = data.batch(), length = int64_t(data.tokens.values.size()) / batch;
  int64_t used = data.labels ? length : length - 1;
  if (data.labels && data.labels->values.size() != data.tokens.values.size())
    failExpected(data.labels->name, "a label for every token", std::to_string(data.labels->values.size()) + " labels");
  std::vector<interp::SourceChunk> result(static_cast<size_t>(batch));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < used && data.tokens.values[size_t(b * length + s)] >= 0; ++s) { // a short one is padded
      result[size_t(b)].tokens.push_back(int32_t(data.tokens.values[size_t(b * length + s)]));
      result[size_t(b)].labels.push_back(int32_t(data.labels ? data.labels->values[size_t(b * length + s)]
                                                             : data.tokens.values[size_t(b * length + s + 1)]));
    }
  return result;
}

interp::SequenceConfig configOfSequence(const CasePlan &plan, const words::Table &table,
                                        const frontend::Program &program, const StepData &data, int64_t b,
                                        int64_t tokens) {
  interp::SequenceConfig config;
  config.exit = interp::ExitUse::Off;
  if (size_t(b) < plan.prefixes.size())
    config.prefix = plan.prefixes[size_t(b)];
  if (plan.window)
    config.window = int64_t(words::evaluateNumber(table, *plan.window->expr, data.scope(plan.window->scope, b)));
  for (const CasePlan::Setting &setting : plan.settings) {
    double value = words::evaluateNumber(table, *setting.expr, data.scope(setting.scope, b));
    bool count = false;
    for (const frontend::ProgramOption &option : program.options)
      count |= option.name == setting.name && option.isCount;
    if (count)
      config.counts[setting.name] = int64_t(value);
    else
      config.knobs[setting.name] = value;
  }
  for (const auto &[name, all] : data.draws) {
    ptrdiff_t size = ptrdiff_t(all.values.size()) / ptrdiff_t(data.batch());
    interp::GivenValues given;
    given.values.assign(all.values.begin() + size * b, all.values.begin() + size * (b + 1));
    config.draws[name] = std::move(given);
  }
  // Inputs with a default that nobody gave.
  for (const frontend::ProgramDraw &draw : program.draws)
    if (draw.law == frontend::DrawLaw::Constant && !draw.iteration && !config.draws.count(draw.name)) {
      int64_t size = draw.type.scope == frontend::ValueScope::Token ? tokens : 1;
      for (const frontend::ProgramAxis &axis : draw.type.axes)
        size *= axis.size;
      config.draws[draw.name].values.assign(size_t(size), float(draw.mean));
    }
  return config;
}

/// Weights by their published names: those of the file until they are trained.
class TrainedParams final : public interp::ParamProvider {
public:
  explicit TrainedParams(std::shared_ptr<const rt::TensorSource> source) : source(source), file(std::move(source)) {}
  bool read(const interp::TensorRequest &request, std::vector<float> &values, std::string &error) override {
    auto found = weights.find(request.name);
    if (found != weights.end()) {
      values.assign(found->second.begin(), found->second.end());
      return true;
    }
    if (!file.read(request, values, error))
      return false;
    weights[request.name].assign(values.begin(), values.end());
    return true;
  }
  /// All of them, for who does not ask one by one.
  void readAll(const frontend::Program &program) {
    for (const frontend::CheckpointTensor &tensor : program.checkpoints[0].tensors)
      if (const rt::TensorView *view = source->find(tensor.name)) {
        std::vector<float> values = rt::readF32(*view);
        weights[tensor.name].assign(values.begin(), values.end());
      }
  }
  Weights now(const frontend::Program &program) const {
    auto tensors = std::make_shared<rt::MemoryTensors>(source->describe());
    for (const frontend::CheckpointTensor &tensor : program.checkpoints[0].tensors)
      if (auto found = weights.find(tensor.name); found != weights.end() && !tensors->find(tensor.name))
        tensors->addF32(tensor.name, program.weights[tensor.weight].shape, std::vector<float>(found->second.begin(), found->second.end()));
    Weights result;
    result.tensors = tensors;
    return result;
  }
  std::map<std::string, std::vector<double>> weights;

private:
  std::shared_ptr<const rt::TensorSource> source;
  interp::TensorParams file;
};

/// The optimizers of a section at work.
class Updates {
public:
  Updates(const CasePlan &plan, const words::Table &table, const frontend::Program &program)
      : plan(plan), table(table), program(program), section(*sectionOf(plan, program)) {}

  void apply(const interp::Gradients &gradients, double norm, int64_t update, const StepData &data,
             std::map<std::string, std::vector<double>> &weights) {
    if (!section.missing.empty())
      failExpected("the `train` section", "numbers made of constants and `step`", "`" + section.missing + "`");
    double rate = section.schedule ? section.schedule->at(double(update)) : 1;
    for (const CasePlan::Setting &one : plan.rates)
      if (one.name == "schedule")
        rate = words::evaluateNumber(table, *one.expr, data.scope(one.scope, 0));
    double factor = section.clip ? rt::clipFactor(norm, section.clip->at(double(update))) : 1;
    for (const frontend::CheckpointTensor &tensor : program.checkpoints[0].tensors) {
      auto gradient = gradients.find(tensor.name);
      uint32_t group = section.groupOf[tensor.weight];
      if (gradient == gradients.end() || group == frontend::kNone)
        continue;
      std::vector<double> clipped = gradient->second, &weight = weights.at(tensor.name);
      for (double &value : clipped)
        value *= factor;
      const std::vector<int64_t> &shape = program.weights[tensor.weight].shape;
      int64_t rows = shape.size() == 2 ? shape[0] : 1;
      rt::OptimizerSettings settings = settingsOf(section.groups[group], update, data);
      settings.rate = rate;
      rt::optimize(kindOf(section.groups[group]), settings, rows, int64_t(weight.size()) / rows, weight.data(),
                   clipped.data(), states[tensor.name]);
    }
  }

private:
  static rt::OptimizerKind kindOf(const frontend::ProgramGroup &group) {
    std::optional<rt::OptimizerKind> kind = rt::optimizerNamed(group.optimizer);
    if (!kind)
      failExpected("the `train` section", "an optimizer that this version runs", "`" + group.optimizer + "`");
    return *kind;
  }

  /// Numbers of the case stand for those of the section: of all optimizers, or with its name before of one.
  rt::OptimizerSettings settingsOf(const frontend::ProgramGroup &group, int64_t update, const StepData &data) {
    rt::OptimizerSettings settings;
    for (const auto &[name, value] : group.settings) {
      double *to = settings.named(name);
      if (!to)
        failExpected("the `train` section", "a setting of " + group.optimizer, "`" + name + "`");
      *to = value.at(double(update));
    }
    for (const CasePlan::Setting &one : plan.rates) {
      bool own = one.name.rfind(group.optimizer + "_", 0) == 0;
      double *to = settings.named(own ? one.name.substr(group.optimizer.size() + 1) : one.name);
      if (to && (own || one.name != "decay" || *to != 0)) // a group without decay stays without
        *to = words::evaluateNumber(table, *one.expr, data.scope(one.scope, 0));
    }
    return settings;
  }

  const CasePlan &plan;
  const words::Table &table;
  const frontend::Program &program;
  const frontend::ProgramTraining &section;
  std::map<std::string, rt::OptimizerState<double>> states;
};

/// The compiled step.
void runStep(const std::string &name, CompileRequest request, const TargetOptions &target, const Weights &weights,
             const std::vector<interp::SourceChunk> &sequences, const std::vector<interp::SequenceConfig> &configs,
             double &loss, interp::Gradients &gradients) {
  request.makeStep(name);
  LoadedModel model = loadModel(request, target, weights);
  std::vector<rt::StepSequence> given;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const interp::SequenceConfig &config = configs[s];
    rt::StepSequence one;
    one.tokens = sequences[s].tokens;
    one.labels = sequences[s].labels;
    one.window = int32_t(config.window);
    one.prefix = config.prefix;
    for (const auto &[count, value] : config.counts)
      one.counts[count] = int32_t(value);
    for (const auto &[knob, value] : config.knobs)
      one.knobs[knob] = float(value);
    for (const auto &[draw, values] : config.draws)
      one.draws[draw].assign(values.values.begin(), values.values.end());
    given.push_back(std::move(one));
  }
  rt::TrainStep step(*model.executor);
  step.run(given);
  loss = 0;
  for (float one : step.losses())
    loss += one;
  loss /= double(std::max<size_t>(1, step.losses().size()));
  for (const auto &[tensor, values] : step.gradients())
    gradients[tensor].assign(values.begin(), values.end());
}

} // namespace

TensorResult compareElements(const CaseOutput &output, const std::vector<double> &got) {
  TensorResult result;
  result.tensor = output.name;
  result.atol = output.atol;
  result.rtol = output.rtol;
  result.status = "FAIL";
  const std::vector<double> &expected = output.expected.values;
  if (got.size() != expected.size()) {
    result.message = "expected " + std::to_string(expected.size()) + " elements, but got " + std::to_string(got.size());
    return result;
  }
  double worst = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    double error = std::fabs(got[i] - expected[i]),
           excess = error - (output.atol + output.rtol * std::fabs(expected[i]));
    ++result.compared;
    if (!(excess <= 0))
      ++result.wrong;
    if (!(error <= result.error))
      result.error = error;
    if (!(excess <= worst) && !(excess <= 0)) {
      worst = excess;
      result.message = "at " + std::to_string(i) + " expected " + std::to_string(expected[i]) + ", but got " +
                       std::to_string(got[i]);
    }
  }
  if (!result.wrong && result.compared)
    result.status = "pass";
  return result;
}

const frontend::ProgramTraining *sectionOf(const CasePlan &plan, const frontend::Program &program) {
  for (const frontend::ProgramTraining &one : program.trainings)
    if (plan.section.empty() || one.name == "train." + plan.section)
      return &one;
  return nullptr;
}

std::vector<TensorResult> runTraining(const CasePlan &plan, const words::Table &table, const SpecText &spec,
                                      const frontend::Program &program, TargetOptions target) {
  WeightOptions options;
  options.weights = plan.weights;
  Weights weights = openWeights(options);
  target.dtype = plan.dtype;
  CompileRequest request = makeRequest(program, spec, target, Weights());
  request.training = true;
  const bool interpreted = target.target == "interp";
  std::string error;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  if (!compilation)
    fail(error);
  TrainedParams params(weights.tensors);
  if (!interpreted)
    params.readAll(program);
  Updates updates(plan, table, program);
  std::vector<double> losses, norms;
  interp::Gradients gradients;
  const size_t steps = std::max<size_t>(1, plan.tokensAt.size());
  int64_t unused = 0; // steps before the first that changes the weights
  if (plan.updates)
    unused = int64_t(steps) - int64_t(words::evaluateNumber(table, *plan.updates->expr, plan.updates->scope));
  for (size_t step = 0; step < steps; ++step) {
    StepData data(plan, step);
    std::vector<interp::SourceChunk> sequences = sequencesOf(data);
    std::vector<interp::SequenceConfig> configs;
    for (size_t b = 0; b < sequences.size(); ++b)
      configs.push_back(configOfSequence(plan, table, program, data, int64_t(b), int64_t(sequences[b].tokens.size())));
    const std::string &name = sectionOf(plan, program)->name;
    if (!interpreted)
      runStep(name, request, target, params.now(program), sequences, configs, losses.emplace_back(), gradients);
    else if (!compilation->trainStep(name, params, sequences, configs, losses.emplace_back(), gradients, error))
      fail(error);
    double sum = 0;
    for (const auto &[name, values] : gradients)
      for (double value : values)
        sum += value * value;
    norms.push_back(std::sqrt(sum));
    if (!plan.tokensAt.empty() && int64_t(step) >= unused)
      updates.apply(gradients, norms.back(), int64_t(step) - unused + 1, data, params.weights);
  }
  std::vector<TensorResult> results;
  for (const CaseOutput &output : plan.outputs) {
    if (!output.unsupported.empty())
      continue;
    auto named = [&](const std::string &prefix, const std::map<std::string, std::vector<double>> &all) {
      auto found = all.find(output.name.substr(prefix.size()));
      results.push_back(compareElements(output, found == all.end() ? std::vector<double>() : found->second));
    };
    if (output.name.rfind("out.grad.", 0) == 0)
      named("out.grad.", gradients);
    else if (output.name.rfind("out.final.", 0) == 0)
      named("out.final.", params.weights);
    else
      results.push_back(compareElements(output, output.rule->value.text == "loss" ? losses : norms));
  }
  return results;
}

} // namespace loopc::driver
