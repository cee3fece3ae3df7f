// A training step of a case: its loss and gradients, in the interpreter or compiled.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "loopc/Interp/TensorParams.h"
#include "loopc/runtime/TrainStep.h"
#include <algorithm>
#include <cmath>

namespace loopc::driver {
namespace {

/// Sequences with labels: given ones, or the tokens that follow (of which the last has none).
std::vector<interp::SourceChunk> sequencesOf(const CasePlan &plan) {
  int64_t batch = std::max<int64_t>(1, plan.tokens.size('B')), length = int64_t(plan.tokens.values.size()) / batch;
  int64_t used = plan.labels ? length : length - 1;
  if (plan.labels && plan.labels->values.size() != plan.tokens.values.size())
    failExpected(plan.labels->name, "a label for every token", std::to_string(plan.labels->values.size()) + " labels");
  std::vector<interp::SourceChunk> result(static_cast<size_t>(batch));
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t s = 0; s < used; ++s) {
      result[size_t(b)].tokens.push_back(int32_t(plan.tokens.values[size_t(b * length + s)]));
      result[size_t(b)].labels.push_back(int32_t(plan.labels ? plan.labels->values[size_t(b * length + s)]
                                                             : plan.tokens.values[size_t(b * length + s + 1)]));
    }
  return result;
}

interp::SequenceConfig configOfSequence(const CasePlan &plan, const words::Table &table,
                                        const frontend::Program &program, int64_t b, int64_t batch) {
  interp::SequenceConfig config;
  config.exit = interp::ExitUse::Off;
  config.window = plan.window;
  for (const CasePlan::Setting &setting : plan.settings) {
    double value = words::evaluateNumber(table, *setting.expr, setting.scope);
    bool count = false;
    for (const frontend::ProgramOption &option : program.options)
      count |= option.name == setting.name && option.isCount;
    if (count)
      config.counts[setting.name] = int64_t(value);
    else
      config.knobs[setting.name] = value;
  }
  for (const auto &[name, parts] : plan.draws) {
    const std::vector<double> &all = parts.at(0).values;
    size_t size = all.size() / size_t(batch);
    interp::GivenValues given;
    given.values.assign(all.begin() + int64_t(size) * b, all.begin() + int64_t(size) * (b + 1));
    config.draws[name] = std::move(given);
  }
  return config;
}

void interpretStep(const std::string &name, const CompileRequest &request, const Weights &weights,
                   std::vector<interp::SourceChunk> sequences, const std::vector<interp::SequenceConfig> &configs,
                   double &loss, interp::Gradients &gradients) {
  std::string error;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  if (!compilation)
    fail(error);
  interp::TensorParams params(weights.tensors);
  if (!compilation->trainStep(name, params, std::move(sequences), configs, loss, gradients, error))
    fail(error);
}

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

std::vector<TensorResult> runTrainStep(const CasePlan &plan, const words::Table &table, const SpecText &spec,
                                       const frontend::Program &program, TargetOptions target) {
  WeightOptions options;
  options.weights = plan.weights;
  Weights weights = openWeights(options);
  target.dtype = plan.dtype;
  CompileRequest request = makeRequest(program, spec, target, Weights());
  request.training = true;
  std::vector<interp::SourceChunk> sequences = sequencesOf(plan);
  std::vector<interp::SequenceConfig> configs;
  for (size_t b = 0; b < sequences.size(); ++b)
    configs.push_back(configOfSequence(plan, table, program, int64_t(b), int64_t(sequences.size())));
  double loss = 0;
  interp::Gradients gradients;
  if (target.target == "interp")
    interpretStep(program.trainings[0].name, request, weights, std::move(sequences), configs, loss, gradients);
  else
    runStep(program.trainings[0].name, request, target, weights, sequences, configs, loss, gradients);
  std::vector<TensorResult> results;
  for (const CaseOutput &output : plan.outputs) {
    if (!output.unsupported.empty())
      continue;
    const std::string prefix = "out.grad.";
    auto found =
        output.name.rfind(prefix, 0) == 0 ? gradients.find(output.name.substr(prefix.size())) : gradients.end();
    if (output.name.rfind(prefix, 0) != 0)
      results.push_back(compareElements(output, {loss}));
    else
      results.push_back(compareElements(output, found == gradients.end() ? std::vector<double>() : found->second));
  }
  return results;
}

} // namespace loopc::driver
