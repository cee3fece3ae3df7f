// loopc explain: what a model costs, and what the compiler decided and why.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"
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

/// What one call of a stage costs for one token; of `core`, one iteration.
struct StageTotal {
  std::string name;
  double weightBytes = 0, flops = 0, historyFlops = 0, historyBytes = 0, keptBytes = 0, syncs = 0;
  double arenaRowBytes = 0, bufferRowBytes = 0;
};

std::vector<StageTotal> stageTotals(const codegen::PhaseTable &table) {
  std::vector<StageTotal> totals;
  for (const codegen::StageCost &stage : table.stages) {
    StageTotal total;
    total.name = stage.name;
    total.arenaRowBytes = stage.arenaRowBytes;
    total.bufferRowBytes = stage.bufferRowBytes;
    for (const codegen::PhaseCost &phase : table.phases) {
      if (phase.stage != stage.name)
        continue;
      total.weightBytes += phase.times * (phase.weightBytes + phase.tableBytes);
      total.flops += phase.times * phase.flops;
      total.historyFlops += phase.times * phase.historyFlops;
      total.historyBytes += phase.times * phase.historyBytes;
      total.keptBytes += phase.times * phase.keptBytes;
      total.syncs += phase.syncs;
    }
    totals.push_back(total);
  }
  return totals;
}

/// What a phase has to take in decoding one token, and which part of the token's time that is.
struct Predicted {
  const codegen::PhaseCost *cost;
  PhaseWork work;
  double share = 0;
};

std::vector<Predicted> predict(const codegen::PhaseTable &table, const Machine &machine, int loops, double context) {
  std::vector<Predicted> result;
  double all = 0;
  for (const codegen::PhaseCost &phase : table.phases) {
    double rounds = phase.stage == "core" ? loops : 1;
    result.push_back({&phase, workOf(phase, {1, rounds, rounds, rounds * context, rounds * context}, machine)});
    all += result.back().work.seconds;
  }
  for (Predicted &one : result)
    one.share = all > 0 ? one.work.seconds / all : 0;
  return result;
}

/// The machine as the options describe it; the rest is measured.
Machine machineOf(const ExplainOptions &options, const codegen::PhaseTable &table, int loops) {
  Machine machine;
  constexpr double enough = 256 << 20; // far beyond the caches: more memory is not read faster
  double core = std::min(enough, weightBytes(table, true));
  if (options.bandwidth == 0 || options.peak == 0)
    machine = measureMachine(std::min(enough, weightBytes(table, false) + core), loops > 1 ? core : 0,
                             workerCount(options.target));
  if (options.bandwidth > 0)
    machine.memory = machine.core = machine.cache = options.bandwidth;
  if (options.peak > 0)
    machine.peak = options.peak;
  return machine;
}

std::string milliseconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", seconds * 1e3);
  return text;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

/// Bytes that each map keeps for a token after `loops` iterations; maps with sizes at two planes each.
Json policySizes(double loopBytes, double otherBytes, int loops) {
  Json result = Json::array();
  auto add = [&](const std::string &name, auto planeOf) {
    int planes = 0;
    for (int d = 0; d < loops; ++d)
      planes = std::max(planes, planeOf(d, loops, 2, 2) + 1);
    result.push_back({{"policy", name}, {"planes", planes}, {"bytes_per_token", otherBytes + planes * loopBytes}});
  };
#define LOOPC_KV_MAP(NAME, SIZES, NEEDS_COUNT, PLANE)                                                                  \
  add(std::string(#NAME) + (SIZES == 0 ? "" : SIZES == 1 ? "(2)" : "(2, 2)"),                                          \
      [](int d, [[maybe_unused]] int T, [[maybe_unused]] int a, [[maybe_unused]] int b) {                              \
        return (void)d, PLANE;                                                                                         \
      });
#include "loopc/runtime/KvMaps.def"
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
  CompileRequest request = makeRequest(program, spec, options.target, weights);
  request.loops = options.loops.value_or(0);
  std::string error, metadata;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  codegen::PhaseTable table;
  if (!compilation || !compilation->costs(table, error) || !compilation->metadata(metadata, error))
    fail(error);
  std::vector<StageTotal> costs = stageTotals(table);
  rt::ModelInfo info = rt::ModelInfo::parse(metadata, spec.name);
  int loops = options.loops.value_or(info.count ? info.count->value : 1);

  Machine machine = machineOf(options, table, loops);
  std::vector<Predicted> predicted = predict(table, machine, loops, double(options.context));
  double seconds = 0;
  for (const Predicted &one : predicted)
    seconds += one.work.seconds;

  Json stages = Json::array(), phases = Json::array();
  double weightBytes = 0, flops = 0, kept = 0, loopKept = 0, history = 0;
  for (const Predicted &one : predicted)
    phases.push_back({{"stage", one.cost->stage},
                      {"name", one.cost->name},
                      {"what", one.cost->what},
                      {"times", one.work.times},
                      {"syncs", one.cost->syncs},
                      {"bytes", one.work.bytes},
                      {"flops", one.work.flops},
                      {"ms", one.work.seconds * 1e3},
                      {"share", one.share}});
  for (const StageTotal &cost : costs) {
    bool test = cost.name == "check" || cost.name == "decide"; // at most after every iteration
    double times = cost.name == "core" || test ? loops : 1;
    weightBytes += times * cost.weightBytes;
    flops += times * (cost.flops + cost.historyFlops * double(options.context));
    history += times * cost.historyBytes * double(options.context);
    if (!test) // a test writes rows of the readout
      (cost.name == "core" ? loopKept : kept) += cost.keptBytes;
    stages.push_back({{"stage", cost.name},
                      {"times", times},
                      {"weight_bytes", cost.weightBytes},
                      {"flops", cost.flops},
                      {"flops_per_earlier_position", cost.historyFlops},
                      {"kv_bytes_per_earlier_position", cost.historyBytes},
                      {"kv_bytes_kept", cost.keptBytes},
                      {"syncs", cost.syncs},
                      {"arena_bytes_per_row", cost.arenaRowBytes},
                      {"buffer_bytes_per_row", cost.bufferRowBytes}});
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
               {"dtype", request.dtypeText()},
               {"context", options.context},
               {"stages", stages},
               {"bandwidth", machine.memory},
               {"core_bandwidth", machine.core},
               {"peak_flops", machine.peak},
               {"ms_per_token", seconds * 1e3},
               {"phases", phases},
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
                     request.dtypeText() + "\n";
  if (info.count)
    text += "loop: " + std::to_string(loops) + " iterations (" + std::to_string(info.count->min) + " to " +
            std::to_string(info.count->max) + " without a new compile)\n";
  text +=
      "\nper token at context " + std::to_string(options.context) +
      "\n| stage | times | weights read | FLOPs | K/V written | K/V read |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const StageTotal &cost : costs)
    text += "| " + cost.name + (cost.name == "core" ? " (an iteration)" : "") + " | " +
            std::to_string(cost.name == "core" ? loops : 1) + " | " + bytesText(cost.weightBytes) + " | " +
            si(cost.flops + cost.historyFlops * double(options.context)) + " | " + bytesText(cost.keptBytes) + " | " +
            bytesText(cost.historyBytes * double(options.context)) + " |\n";
  text += "| all | | " + bytesText(weightBytes) + " | " + si(flops) + " | " + bytesText(kept + loops * loopKept) +
          " | " + bytesText(history) + " |\n";
  for (const StageTotal &cost : costs)
    if (cost.name == "core")
      text += "one more iteration: " + bytesText(cost.weightBytes) + " of weights, " +
              si(cost.flops + cost.historyFlops * double(options.context)) + " FLOPs, " + bytesText(cost.keptBytes) +
              " of keys and values a token\n";
  char roof[160];
  std::snprintf(roof, sizeof roof,
                "\nphases of a token at %.1f GB/s (%.1f GB/s for weights of an iteration again) and %.1f GFLOP/s\n",
                machine.memory / 1e9, machine.core / 1e9, machine.peak / 1e9);
  text += roof;
  text += "| stage | phase | times | bytes | FLOPs | ms | share |\n| --- | --- | --- | --- | --- | --- | --- |\n";
  for (const Predicted &one : predicted)
    text += "| " + one.cost->stage + " | " + one.cost->what + " | " + si(one.work.times) + " | " +
            bytesText(one.work.bytes) + " | " + si(one.work.flops) + " | " + milliseconds(one.work.seconds) + " | " +
            percent(one.share) + " |\n";
  text += "| all | | | | | " + milliseconds(seconds) + " | |\n";
  text += "\n| stage | syncs | arena of a row |\n| --- | --- | --- |\n";
  for (const StageTotal &cost : costs)
    text += "| " + cost.name + (cost.name == "core" ? " (an iteration)" : "") + " | " + si(cost.syncs) + " | " +
            bytesText(cost.arenaRowBytes) + " (buffers: " + bytesText(cost.bufferRowBytes) + ") |\n";
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
