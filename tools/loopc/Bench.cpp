// loopc bench: tokens per second, and which part of the memory's read bandwidth decoding uses.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"
#include "Model.h"
#include "Profile.h"
#include "loopc/runtime/CpuExecutor.h"
#include "loopc/runtime/TrainStep.h"
#include <algorithm>
#include <cstdio>
#include <numeric>

namespace loopc::driver {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Ids spread over the vocabulary: the same in every run.
int32_t tokenAt(uint64_t sequence, uint64_t position, uint32_t vocab) {
  return int32_t(rt::mixKeys(sequence + 1, position + 1) % vocab);
}

struct Measured {
  std::vector<double> steps;               ///< seconds
  double tokensPerStep = 0, positions = 0; ///< positions: earlier positions a step sees, average
};

/// `counted` is called before the first step that counts.
Measured measure(const BenchOptions &options, rt::Executor &executor, const std::function<void()> &counted) {
  const rt::ModelInfo &info = executor.info();
  rt::EngineOptions engineOptions;
  engineOptions.capacity = std::max(engineOptions.capacity, uint32_t(options.batch));
  rt::SequenceOptions sequence;
  sequence.exit = rt::ExitMode::Off;
  if (options.loops)
    sequence.loops = *options.loops;
  Measured result;
  auto promptOf = [&](int b) {
    std::vector<int32_t> prompt;
    for (int i = 0; i < options.context; ++i)
      prompt.push_back(tokenAt(uint64_t(b), uint64_t(i), info.vocab));
    return prompt;
  };
  rt::Engine engine(executor, engineOptions);
  auto finish = [&](const std::vector<rt::SequenceId> &ids) {
    for (rt::SequenceId id : ids)
      while (!engine.take(id))
        engine.step();
  };
  Timer all;
  double budget = 2.0;
  if (options.what == "prefill") {
    result.tokensPerStep = double(options.batch) * options.context;
    result.positions = double(options.context) / 2;
    for (int step = 0; (options.steps ? step < options.steps + 1 : step < 4 || all.seconds() < budget) && step < 200 &&
                       !interrupted();
         ++step) {
      std::vector<rt::SequenceId> ids;
      for (int b = 0; b < options.batch; ++b)
        ids.push_back(engine.open(sequence));
      if (step == 1)
        counted();
      Timer timer;
      for (int b = 0; b < options.batch; ++b)
        engine.enqueue(ids[size_t(b)], promptOf(b));
      finish(ids);
      if (step) // the first touches fresh memory
        result.steps.push_back(timer.seconds());
      for (rt::SequenceId id : ids)
        engine.close(id);
    }
    return result;
  }
  std::vector<rt::SequenceId> ids;
  for (int b = 0; b < options.batch; ++b) {
    ids.push_back(engine.open(sequence));
    rt::FeedOptions quiet;
    quiet.logits = rt::LogitsFor::None;
    engine.feed(ids.back(), promptOf(b), quiet);
  }
  result.tokensPerStep = options.batch;
  all = Timer();
  int step = 0;
  for (; (options.steps ? step < options.steps + 2 : step < 10 || all.seconds() < budget) && step < 10000 &&
         !interrupted();
       ++step) {
    if (step == 2)
      counted();
    Timer timer;
    for (int b = 0; b < options.batch; ++b) {
      int32_t token = tokenAt(uint64_t(b), uint64_t(options.context + step), info.vocab);
      engine.enqueue(ids[size_t(b)], std::vector<int32_t>{token});
    }
    finish(ids);
    if (step > 1)
      result.steps.push_back(timer.seconds());
  }
  result.positions = options.context + double(step + 1) / 2;
  return result;
}

/// Steps of training over sequences of `context` tokens, without an optimizer.
Measured measureTraining(const BenchOptions &options, rt::Executor &executor, const std::function<void()> &counted) {
  const rt::ModelInfo &info = executor.info();
  std::vector<rt::StepSequence> sequences(static_cast<size_t>(options.batch));
  for (int b = 0; b < options.batch; ++b) {
    rt::StepSequence &one = sequences[size_t(b)];
    for (int i = 0; i <= options.context; ++i) {
      one.tokens.push_back(tokenAt(uint64_t(b), uint64_t(i), info.vocab));
      one.labels.push_back(one.tokens.back());
    }
    one.tokens.pop_back();
    one.labels.erase(one.labels.begin());
    one.window = options.window.value_or(-1);
    for (const rt::GivenInfo &given : info.given) {
      if (given.what == "limit" && options.loops)
        one.counts[given.name] = *options.loops;
      if (given.what == "draw")
        rt::keyedDraw({1, rt::nameHash(given.name), uint64_t(b)}, rt::Law(), 0,
                      one.draws[given.name] = std::vector<float>(size_t(options.context) * size_t(given.elements)));
    }
  }
  Measured result;
  result.tokensPerStep = double(options.batch) * options.context;
  result.positions = double(options.context) / 2;
  rt::TrainStep train(executor);
  Timer all;
  for (int step = 0;
       (options.steps ? step < options.steps + 1 : step < 4 || all.seconds() < 2) && step < 200 && !interrupted();
       ++step) {
    if (step == 1)
      counted();
    Timer timer;
    train.run(sequences);
    if (step) // the first touches fresh memory
      result.steps.push_back(timer.seconds());
  }
  return result;
}

/// What a step of decoding, or a prompt in one call, has to read and to do at least.
struct Floor {
  Machine machine;
  double footprint = 0; ///< bytes that are touched
  double bytes = 0;     ///< weights, tables, keys and values read
  double seconds = 0;
};

Floor floorOf(const codegen::PhaseTable &table, const BenchOptions &options, const Measured &measured,
              double packedBytes, int loops, uint32_t threads) {
  Floor floor;
  bool prefill = options.what != "decode";
  auto useOf = [&](const codegen::PhaseCost &phase) {
    double rounds = phase.rounds ? loops : 1;
    double rows = prefill && phase.stage != "head" ? measured.tokensPerStep : options.batch;
    double reach = options.batch * rounds * (prefill ? options.context : measured.positions);
    return StageUse{1, rounds, rows * rounds, rows * rounds * measured.positions, reach};
  };
  double history = 0;
  for (const codegen::PhaseCost &phase : table.phases) {
    StageUse use = useOf(phase);
    history += phase.times * use.reach * phase.historyBytes;
    floor.bytes += phase.times * (use.rounds * phase.weightBytes + use.rows * phase.tableBytes);
  }
  floor.bytes += history;
  floor.footprint = packedBytes + history;
  floor.machine = measureMachine(floor.footprint, loops > 1 ? weightBytes(table, true) : 0, threads);
  for (const codegen::PhaseCost &phase : table.phases)
    floor.seconds += workOf(phase, useOf(phase), floor.machine).seconds;
  return floor;
}

/// The profile of the steps that counted; of an executor that runs compiled code.
Profile profileOf(const rt::CpuExecutor &executor, const codegen::PhaseTable &table, const Machine &machine,
                  const Measured &measured) {
  Profile profile;
  profile.machine = machine;
  double steps = double(measured.steps.size());
  profile.step = std::accumulate(measured.steps.begin(), measured.steps.end(), 0.0) / steps;
  for (size_t s = 0; s < rt::stageCount; ++s) {
    rt::StageProfile stage = executor.profile(rt::Stage(s));
    if (stage.calls == 0)
      continue;
    StageUse use{stage.calls / steps, stage.rounds / steps, stage.rows / steps, stage.history / steps,
                 stage.reach / steps};
    size_t number = 0;
    for (const codegen::PhaseCost &phase : table.phases) {
      if (phase.stage != rt::stageName(rt::Stage(s)))
        continue;
      ProfileRow row{&phase, workOf(phase, use, machine), {}, {}};
      for (size_t worker = 0; worker < stage.work.size(); ++worker) {
        row.busy.push_back(stage.work[worker][number] / steps);
        row.waited.push_back(stage.wait[worker][number] / steps);
      }
      ++number;
      profile.rows.push_back(std::move(row));
    }
  }
  return profile;
}

Json jsonOf(const BenchOptions &options, const LoadedModel &model, const Measured &measured, const Floor &floor,
            const std::string &dtype, int loops) {
  double seconds = median(measured.steps);
  Json json{{"model", model.info().model},
            {"what", options.what},
            {"batch", options.batch},
            {"context", options.context},
            {"threads", workerCount(options.target)},
            {"dtype", dtype},
            {"loops", loops},
            {"target", options.target.target},
            {"steps", measured.steps.size()},
            {"tokens_per_second", measured.tokensPerStep / seconds},
            {"ms_per_step", seconds * 1e3},
            {"ms_per_step_min", *std::min_element(measured.steps.begin(), measured.steps.end()) * 1e3},
            {"bytes_per_step", floor.bytes},
            {"footprint_bytes", floor.footprint},
            {"read_bandwidth", floor.machine.memory},
            {"core_bandwidth", floor.machine.core},
            {"peak_flops", floor.machine.peak},
            {"roofline_ms", floor.seconds * 1e3},
            {"roofline_fraction", floor.seconds / seconds},
            {"compile_seconds", model.times.compile},
            {"compile_cached", model.times.cached},
            {"weights_seconds", model.times.weights}};
  if (options.what == "decode")
    json["bandwidth_fraction"] = floor.bytes / seconds / floor.machine.memory;
  return json;
}

std::string lineOf(const BenchOptions &options, const rt::ModelInfo &info, const Measured &measured, const Floor &floor,
                   const std::string &dtype, int loops) {
  double seconds = median(measured.steps);
  uint32_t threads = workerCount(options.target);
  char text[600];
  std::snprintf(text, sizeof text,
                "%s %s: batch %d, context %d, %d iterations, %s, %u threads: %.2f ms a step, %.1f tokens/s",
                info.model.c_str(), options.what.c_str(), options.batch, options.context, loops, dtype.c_str(), threads,
                seconds * 1e3, measured.tokensPerStep / seconds);
  std::string line = text;
  if (options.what == "decode") {
    std::snprintf(text, sizeof text,
                  "; reads %s a step, %.0f %% of the %.1f GB/s that %u threads read at this footprint",
                  bytesText(floor.bytes).c_str(), 100 * floor.bytes / seconds / floor.machine.memory,
                  floor.machine.memory / 1e9, threads);
    line += text;
  }
  std::snprintf(text, sizeof text, "; %.0f %% of its roofline, %.2f ms", 100 * floor.seconds / seconds,
                floor.seconds * 1e3);
  return line + text;
}

} // namespace

int runBench(const BenchOptions &options) {
  bool profiled = !options.profile.empty();
  if (profiled && options.target.target != "cpu")
    throw UsageError("expected --target cpu for --profile, but got " + options.target.target);
  Weights weights = openWeights(options.weights);
  SpecText spec = readSpec(options.spec.spec);
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, weights));
  TargetOptions target = options.target;
  target.profile = profiled;
  CompileRequest request = makeRequest(program, spec, target, weights);
  bool training = options.what == "train";
  if (training && program.trainings.empty())
    failExpected(options.spec.spec, "a `train` section whose loss this version runs", "none");
  if (training)
    request.makeStep(program.trainings[0].name);
  LoadedModel model = loadModel(request, target, weights);
  auto *timed = profiled ? dynamic_cast<rt::CpuExecutor *>(model.executor.get()) : nullptr;
  int loops = options.loops.value_or(model.info().count ? model.info().count->value : 1);
  for (const rt::GivenInfo &given : model.info().given)
    if (given.what == "limit" && !options.loops)
      loops = std::max(loops, given.value);
  auto counted = [&] {
    if (timed)
      timed->clearProfile();
  };
  Measured measured =
      training ? measureTraining(options, *model.executor, counted) : measure(options, *model.executor, counted);
  if (measured.steps.empty())
    return Interrupted;
  codegen::PhaseTable table = costTable(request);
  Floor floor = floorOf(table, options, measured, double(model.weightBytes), loops, workerCount(target));
  std::string line = lineOf(options, model.info(), measured, floor, request.dtypeText(), loops);
  Json json = jsonOf(options, model, measured, floor, request.dtypeText(), loops);
  if (timed) {
    Profile profile = profileOf(*timed, table, floor.machine, measured);
    profile.title = line;
    json["profile"] = profileJson(profile);
    if (options.profile != "on")
      writeFileAtomically(options.profile, profilePage(profile));
    line += "\n\n" + profileText(profile);
  }
  print(options.json ? json.dump() + "\n" : line + "\n");
  return Ok;
}

} // namespace loopc::driver
