// loopc bench: tokens per second, and which part of the memory's read bandwidth decoding uses.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <thread>

namespace loopc::driver {
namespace {

/// Bytes per second that `threads` threads read from `bytes` of memory, best of several rounds.
double readBandwidth(uint64_t bytes, uint32_t threads) {
  bytes = std::clamp<uint64_t>(bytes, uint64_t(1) << 20, uint64_t(16) << 30);
  bytes = bytes / (64 * threads) * (64 * threads);
  void *memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 0;
  ::madvise(memory, bytes, MADV_HUGEPAGE);
  uint64_t part = bytes / threads;
  auto onAll = [&](auto &&body) {
    std::vector<std::thread> team;
    for (uint32_t t = 1; t < threads; ++t)
      team.emplace_back([&, t] { body(t); });
    body(0);
    for (std::thread &one : team)
      one.join();
  };
  onAll([&](uint32_t t) { std::memset(static_cast<char *>(memory) + t * part, int(t + 1), part); });
  // Rounds last at least some milliseconds, so that starting threads does not count.
  int repeats = int(std::max<uint64_t>(1, (uint64_t(256) << 20) / bytes));
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int round = 0; round < 5 && !interrupted(); ++round) {
    Timer timer;
    onAll([&](uint32_t t) {
      uint64_t sums[8] = {};
      for (int repeat = 0; repeat < repeats; ++repeat) {
        const uint64_t *words = reinterpret_cast<const uint64_t *>(static_cast<char *>(memory) + t * part);
        for (uint64_t i = 0; i + 8 <= part / 8; i += 8)
          for (int k = 0; k < 8; ++k)
            sums[k] += words[i + uint64_t(k)];
      }
      for (uint64_t sum : sums)
        sink += sum;
    });
    best = std::max(best, double(bytes) * repeats / timer.seconds());
  }
  ::munmap(memory, bytes);
  return sink.load() == 1 ? 0 : best;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

/// Bytes that one step of decoding has to read: weights once a call, keys and values of every sequence.
struct StepBytes {
  double weights = 0, history = 0; ///< history: of one sequence and one earlier position
};

StepBytes stepBytes(const CompileRequest &request, int loops) {
  std::string error;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  std::vector<StageCost> costs;
  if (!compilation || !compilation->costs(costs, error))
    fail(error);
  StepBytes result;
  for (const StageCost &cost : costs) {
    double times = cost.name == "core" ? loops : 1;
    result.weights += times * cost.weightBytes;
    result.history += times * cost.historyBytes;
  }
  return result;
}

/// Ids spread over the vocabulary: the same in every run.
int32_t tokenAt(uint64_t sequence, uint64_t position, uint32_t vocab) {
  return int32_t(rt::mixKeys(sequence + 1, position + 1) % vocab);
}

struct Measured {
  std::vector<double> steps;               ///< seconds
  double tokensPerStep = 0, positions = 0; ///< positions: earlier positions a step sees, average
};

Measured measure(const BenchOptions &options, rt::Executor &executor) {
  const rt::ModelInfo &info = executor.info();
  rt::EngineOptions engineOptions;
  engineOptions.capacity = uint32_t(std::max(options.batch, 64));
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

} // namespace

int runBench(const BenchOptions &options) {
  Weights weights = openWeights(options.weights);
  SpecText spec = readSpec(options.spec.spec);
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, weights));
  CompileRequest request = makeRequest(program, spec, options.target, weights.checkpoint());
  LoadedModel model = loadModel(request, options.target, weights);
  const rt::ModelInfo &info = model.info();
  int loops = options.loops.value_or(info.count ? info.count->value : 1);
  uint32_t threads = workerCount(options.target);
  Measured measured = measure(options, *model.executor);
  if (measured.steps.empty())
    return Interrupted;
  double seconds = median(measured.steps);
  StepBytes bytes = stepBytes(request, loops);
  double perStep = bytes.weights + bytes.history * options.batch * measured.positions;
  double footprint = double(model.weightBytes) + bytes.history * options.batch * measured.positions;
  double bandwidth = readBandwidth(uint64_t(footprint), threads);
  double fraction = bandwidth > 0 ? perStep / seconds / bandwidth : 0;
  double rate = measured.tokensPerStep / seconds;
  if (options.json) {
    Json json{{"model", info.model},
              {"what", options.what},
              {"batch", options.batch},
              {"context", options.context},
              {"threads", threads},
              {"dtype", options.target.dtype},
              {"loops", loops},
              {"target", options.target.target},
              {"steps", measured.steps.size()},
              {"tokens_per_second", rate},
              {"ms_per_step", seconds * 1e3},
              {"ms_per_step_min", *std::min_element(measured.steps.begin(), measured.steps.end()) * 1e3},
              {"bytes_per_step", perStep},
              {"footprint_bytes", footprint},
              {"read_bandwidth", bandwidth},
              {"compile_seconds", model.times.compile},
              {"compile_cached", model.times.cached},
              {"weights_seconds", model.times.weights}};
    if (options.what == "decode")
      json["bandwidth_fraction"] = fraction;
    print(json.dump() + "\n");
    return Ok;
  }
  char text[400];
  std::snprintf(text, sizeof text,
                "%s %s: batch %d, context %d, %d iterations, %s, %u threads: %.2f ms a step, %.1f tokens/s",
                info.model.c_str(), options.what.c_str(), options.batch, options.context, loops,
                options.target.dtype.c_str(), threads, seconds * 1e3, rate);
  std::string line = text;
  if (options.what == "decode") {
    std::snprintf(text, sizeof text,
                  "; reads %s a step, %.0f %% of the %.1f GB/s that %u threads read at this footprint",
                  bytesText(perStep).c_str(), fraction * 100, bandwidth / 1e9, threads);
    line += text;
  }
  print(line + "\n");
  return Ok;
}

} // namespace loopc::driver
