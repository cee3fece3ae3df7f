// loopc explain: what a model costs, and what the compiler decided and why.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include <algorithm>
#include <cstdio>

namespace loopc::driver {
namespace {

std::string si(double value) {
  static const char *const units[] = {"", " K", " M", " G", " T"};
  size_t unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.2f%s" : "%.0f%s", value, units[unit]);
  return text;
}

double parametersOf(const frontend::Program &program) {
  double total = 0;
  for (const frontend::ProgramWeight &weight : program.weights) {
    double size = 1;
    for (int64_t axis : weight.shape)
      size *= double(axis);
    total += size * double(std::count(weight.present.begin(), weight.present.end(), true));
  }
  return total;
}

/// Bytes that each policy of this version keeps for a token.
Json policySizes(double loopBytes, double otherBytes, int loops) {
  Json result = Json::array();
  auto add = [&](const std::string &name, double planes) {
    result.push_back({{"policy", name}, {"planes", planes}, {"bytes_per_token", otherBytes + planes * loopBytes}});
  };
  add("depth_indexed", loops);
  add("depth_indexed, holes last_exited", loops);
  add("single, order token | by_call", 1);
  return result;
}

} // namespace

int runExplain(const ExplainOptions &options) {
  Weights weights;
  if (!options.weights.weights.empty())
    weights = openWeights(options.weights);
  SpecText spec = readSpec(options.spec.spec);
  Published published = publishedFor(options.spec, weights);
  frontend::Program program = elaborateSpec(spec, options.spec, published);
  CompileRequest request = makeRequest(program, spec, options.target, weights.checkpoint());
  request.loops = options.loops.value_or(0);
  std::string error, metadata;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  std::vector<StageCost> costs;
  if (!compilation || !compilation->costs(costs, error) || !compilation->metadata(metadata, error))
    fail(error);
  rt::ModelInfo info = rt::ModelInfo::parse(metadata, spec.name);
  int loops = options.loops.value_or(info.count ? info.count->value : 1);

  Json stages = Json::array();
  double weightBytes = 0, flops = 0, kept = 0, loopKept = 0, history = 0;
  for (const StageCost &cost : costs) {
    double times = cost.name == "core" ? loops : 1;
    weightBytes += times * cost.weightBytes;
    flops += times * (cost.flops + cost.historyFlops * double(options.context));
    history += times * cost.historyBytes * double(options.context);
    (cost.name == "core" ? loopKept : kept) += cost.keptBytes;
    stages.push_back({{"stage", cost.name},
                      {"times", times},
                      {"weight_bytes", cost.weightBytes},
                      {"flops", cost.flops},
                      {"flops_per_earlier_position", cost.historyFlops},
                      {"kv_bytes_per_earlier_position", cost.historyBytes},
                      {"kv_bytes_kept", cost.keptBytes}});
  }
  Json policies = policySizes(loopKept, kept, loops);
  Json remarks = Json::array();
  for (const CompileRemark &remark : compilation->remarks())
    remarks.push_back({{"pass", remark.pass}, {"kind", remark.kind}, {"name", remark.name}, {"text", remark.text}});
  if (options.json) {
    Json config = Json::object();
    for (const frontend::ProgramConfigEntry &entry : program.config)
      config[entry.name] = {{"value", entry.value}, {"origin", entry.origin}};
    print(Json{{"model", info.model},
               {"parameters", parametersOf(program)},
               {"config", config},
               {"loops", loops},
               {"dtype", request.dtype},
               {"context", options.context},
               {"stages", stages},
               {"weight_bytes_per_token", weightBytes},
               {"flops_per_token", flops},
               {"kv_bytes_read_per_token", history},
               {"policy", {{"name", info.policy.name}, {"holes", info.policy.holes}, {"order", info.policy.order}}},
               {"policies", policies},
               {"remarks", remarks}}
              .dump(1) +
          "\n");
    return Ok;
  }
  std::string text = "model " + info.model + ": " + countText(parametersOf(program)) + " parameters, matrices in " +
                     request.dtype + "\n";
  if (info.count)
    text += "loop: " + std::to_string(loops) + " iterations (" + std::to_string(info.count->min) + " to " +
            std::to_string(info.count->max) + " without a new compile)\n";
  text +=
      "\nper token at context " + std::to_string(options.context) +
      "\n| stage | times | weights read | FLOPs | K/V written | K/V read |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const StageCost &cost : costs)
    text += "| " + cost.name + (cost.name == "core" ? " (an iteration)" : "") + " | " +
            std::to_string(cost.name == "core" ? loops : 1) + " | " + bytesText(cost.weightBytes) + " | " +
            si(cost.flops + cost.historyFlops * double(options.context)) + " | " + bytesText(cost.keptBytes) + " | " +
            bytesText(cost.historyBytes * double(options.context)) + " |\n";
  text += "| all | | " + bytesText(weightBytes) + " | " + si(flops) + " | " + bytesText(kept + loops * loopKept) +
          " | " + bytesText(history) + " |\n";
  for (const StageCost &cost : costs)
    if (cost.name == "core")
      text += "one more iteration: " + bytesText(cost.weightBytes) + " of weights, " +
              si(cost.flops + cost.historyFlops * double(options.context)) + " FLOPs, " + bytesText(cost.keptBytes) +
              " of keys and values a token\n";
  if (info.count) {
    text += "\nkeys and values kept, " + std::to_string(loops) + " iterations\n| policy | planes | a token | context " +
            std::to_string(options.context) + " |\n| --- | --- | --- | --- |\n";
    for (const Json &policy : policies)
      text += "| " + policy["policy"].get<std::string>() + " | " + std::to_string(int(policy["planes"].get<double>())) +
              " | " + bytesText(policy["bytes_per_token"]) + " | " +
              bytesText(policy["bytes_per_token"].get<double>() * double(options.context)) + " |\n";
    text += "chosen: " + info.policy.name + ", holes " + info.policy.holes + ", order " + info.policy.order + "\n";
  }
  text += "\ndecisions\n";
  for (const CompileRemark &remark : compilation->remarks())
    text += "- " + remark.pass + " (" + remark.kind + "): " + remark.text + "\n";
  print(text);
  return Ok;
}

} // namespace loopc::driver
