// loopc train: updates of the weights by the step that the page's `train` section says.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TrainData.h"
#include "TrainState.h"
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/Random.h"
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <unistd.h>

namespace loopc::driver {
namespace {
namespace fs = std::filesystem;

/// What has to be the same for a run to go on.
Json identityOf(const TrainOptions &options, const std::string &hash) {
  return {{"program", hash},          {"data", options.data},   {"tokenizer", options.tokenizer},
          {"batch", options.batch},   {"accumulate", options.accumulate}, {"seq", options.sequence},
          {"section", options.section}, {"loops", options.loops ? Json(*options.loops) : Json()},       {"window", options.window ? Json(*options.window) : Json()},
          {"seed", options.seed},     {"from", options.from}};
}

/// The tokenizer and the configuration of the run.
std::map<std::string, std::string> filesBeside(const TrainOptions &options) {
  std::map<std::string, std::string> files;
  const std::string &path = options.tokenizer;
  if (path == "bytes")
    files["tokenizer.json"] = byteTokenizer();
  else if (isFile(path))
    files["tokenizer.json"] = readFile(path);
  else if (!path.empty())
    for (const char *name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"})
      if (isFile(path + "/" + name))
        files[name] = readFile(path + "/" + name);
  std::string config = options.spec.config.empty() ? options.from : options.spec.config;
  if (isDirectory(config))
    config += "/config.json";
  if (config.ends_with(".json") && isFile(config))
    files["config.json"] = readFile(config);
  return files;
}

/// `train NAME { … }`; without a name the first.
const frontend::ProgramTraining &sectionOf(const frontend::Program &program, const std::string &name) {
  std::string known;
  for (const frontend::ProgramTraining &one : program.trainings) {
    std::string own = one.name == "train" ? one.name : one.name.substr(one.name.find('.') + 1);
    if (name.empty() || own == name)
      return one;
    known += (known.empty() ? "" : ", ") + own;
  }
  throw UsageError("expected --section one of " + known + ", but got " + rt::quoted(name));
}

rt::Law lawOf(const frontend::ProgramDraw &draw) {
  rt::Law law;
  law.kind = draw.law == frontend::DrawLaw::Constant          ? rt::Law::Constant
             : draw.law == frontend::DrawLaw::Uniform         ? rt::Law::Uniform
             : draw.law == frontend::DrawLaw::TruncatedNormal ? rt::Law::TruncatedNormal
                                                              : rt::Law::Normal;
  law.mean = law.value = draw.mean;
  law.std = draw.std;
  law.cut = draw.cut;
  law.low = draw.low;
  law.high = draw.high;
  return law;
}

class Training {
public:
  Training(const TrainOptions &options, const frontend::Program &program, const std::string &hash, LoadedModel &model, TrainState &state, TrainData &data)
      : options(options), program(program), model(model), state(state), data(data), identity(identityOf(options, hash)), step(*model.executor) {}

  int run() {
    resume();
    std::optional<TrainData> valid;
    if (!options.valid.empty())
      valid.emplace(options.valid, options.tokenizer, model.info().vocab, options.sequence);
    metrics.open(metricsPath(), std::ios::app);
    if (!metrics)
      failExpected(metricsPath(), "a file that can be written", "a refusal");
    for (; done < options.steps; checkpoint(valid ? &*valid : nullptr)) {
      if (interrupted()) {
        if (saved != done)
          save();
        std::fprintf(stderr, "%sstopped after update %lld; the same command goes on from there\n", shows ? "\n" : "", static_cast<long long>(done));
        return Interrupted;
      }
      update();
    }
    if (shows)
      std::fputc('\n', stderr);
    std::string again = "loopc run " + options.spec.spec;
    for (const std::string &set : options.spec.set)
      again += " --set " + set;
    print("trained " + std::to_string(done) + " updates; to use it: " + again + " --weights " + checkpointPath(options.out, done) + " -p TEXT\n");
    return Ok;
  }

private:
  std::string metricsPath() const { return options.out + "/metrics.jsonl"; }

  void resume() {
    std::error_code code;
    fs::create_directories(options.out, code);
    if (code)
      failExpected(options.out, "a directory that can be made", code.message());
    for (const auto &entry : fs::directory_iterator(options.out, code)) // of a run that was killed while it wrote
      if (std::string name = entry.path().filename(); name.rfind("step-", 0) == 0 && name.find(".tmp") != std::string::npos)
        fs::remove_all(entry.path(), code);
    std::vector<int64_t> kept = checkpointsOf(options.out);
    if (kept.empty()) {
      if (isFile(metricsPath()))
        fs::remove(metricsPath(), code);
      return;
    }
    Json loaded = state.load(checkpointPath(options.out, kept.back()));
    if (loaded.at("run") != identity)
      failExpected(options.out, "a run of the same options: " + loaded.at("run").dump(), identity.dump());
    done = saved = loaded.at("step");
    model.params->repack(model.info(), state.weights(), packing());
    // What was measured after the checkpoint is measured again.
    std::ifstream before(metricsPath());
    std::string kept_lines;
    for (std::string line; std::getline(before, line);)
      if (Json entry = Json::parse(line, nullptr, false); !entry.is_discarded() && entry.value("step", int64_t(0)) <= done)
        kept_lines += line + "\n";
    writeFileAtomically(metricsPath(), kept_lines);
    std::fprintf(stderr, "goes on after update %lld\n", static_cast<long long>(done));
  }

  rt::PackOptions packing() const {
    rt::PackOptions pack;
    pack.threads = workerCount(options.target);
    return pack;
  }

  /// Counts and draws of a sample of the run.
  void prepare(rt::StepSequence &one, uint64_t number, std::optional<int> loops) const {
    one.window = options.window.value_or(-1);
    for (const rt::GivenInfo &given : model.info().given) {
      if (given.what == "limit" && loops)
        one.counts[given.name] = *loops;
      if (given.what != "draw")
        continue;
      rt::Law law;
      for (const frontend::ProgramDraw &draw : program.draws)
        if (draw.name == given.name)
          law = lawOf(draw);
      std::vector<float> &values = one.draws[given.name] = std::vector<float>(one.tokens.size() * size_t(given.elements));
      for (uint32_t position = 0; position < one.tokens.size(); ++position)
        rt::keyedDraw({options.seed, rt::nameHash(given.name), number, position, 0}, law, 0,
                      std::span(values).subspan(position * size_t(given.elements), size_t(given.elements)));
    }
  }

  double lossOf(std::span<const rt::StepSequence> sequences) {
    step.run(sequences);
    return std::accumulate(step.losses().begin(), step.losses().end(), 0.0) / double(std::max<size_t>(1, step.losses().size()));
  }

  void update() {
    Timer timer;
    double loss = 0;
    std::map<std::string, std::vector<float>> gradients;
    for (int64_t part = 0; part < options.accumulate; ++part) {
      std::vector<rt::StepSequence> sequences;
      for (int64_t b = 0; b < options.batch; ++b) {
        int64_t number = (done * options.accumulate + part) * options.batch + b;
        prepare(sequences.emplace_back(data.sample(options.seed, number)), uint64_t(number), options.loops);
      }
      loss += lossOf(sequences) / double(options.accumulate);
      std::map<std::string, std::vector<float>> own = step.gradients();
      const float share = 1 / float(options.accumulate);
      for (auto &[name, values] : own) {
        std::vector<float> &sum = gradients[name];
        sum.resize(values.size());
        for (size_t i = 0; i < values.size(); ++i)
          sum[i] += values[i] * share;
      }
    }
    double norm = state.apply(gradients, done + 1);
    model.params->repack(model.info(), state.weights(), packing());
    ++done;
    double tokens = double(options.batch * options.accumulate * options.sequence), seconds = timer.seconds();
    spent += seconds;
    ++timed;
    entry = {{"step", done}, {"loss", loss}, {"gradient_norm", norm}, {"tokens", double(done) * tokens}, {"tokens_per_second", tokens / seconds}};
    if (shows)
      std::fprintf(stderr, "\rupdate %lld of %lld, loss %.4f, %.0f tokens/s, %s left   ", static_cast<long long>(done), static_cast<long long>(options.steps), loss,
                   tokens / seconds, durationText(spent / double(timed) * double(options.steps - done)).c_str());
  }

  /// At its time: the loss of the other data, then the checkpoint; the metrics of the update in any case.
  void checkpoint(TrainData *valid) {
    const bool due = done % options.checkpointEvery == 0 || done == options.steps;
    if (due && valid) {
      std::vector<int> counts = options.validLoops;
      if (counts.empty())
        counts.push_back(options.loops.value_or(0));
      Json losses = Json::object();
      for (int count : counts) {
        double sum = 0;
        const int64_t windows = std::min(options.validWindows, valid->windows());
        for (int64_t w = 0; w < windows; ++w) {
          rt::StepSequence one = valid->window(w);
          prepare(one, uint64_t(w), count ? std::optional(count) : std::nullopt);
          sum += lossOf({&one, 1});
        }
        losses[count ? std::to_string(count) : "default"] = sum / double(windows);
      }
      entry["valid_loss"] = losses;
    }
    metrics << entry.dump() << "\n" << std::flush;
    if (!metrics)
      throw Failure(metricsPath() + ": expected room for the metrics, but the disk refused them; " +
                    (saved ? "checkpoint " + checkpointPath(options.out, saved) + " stays" : "there is no checkpoint yet"));
    if (due)
      save();
  }

  void save() {
    state.save(options.out, done, {{"step", done}, {"run", identity}}, files);
    saved = done;
    std::vector<int64_t> kept = checkpointsOf(options.out);
    std::error_code code;
    for (size_t i = 0; i + size_t(options.keep) < kept.size(); ++i)
      fs::remove_all(checkpointPath(options.out, kept[i]), code);
  }

  const TrainOptions &options;
  const frontend::Program &program;
  LoadedModel &model;
  TrainState &state;
  TrainData &data;
  Json identity, entry;
  std::map<std::string, std::string> files = filesBeside(options); ///< what `run` needs beside the weights
  rt::TrainStep step;
  std::ofstream metrics;
  int64_t done = 0, saved = 0, timed = 0;
  double spent = 0;
  const bool shows = isatty(STDERR_FILENO);
};

} // namespace

int runTrain(const TrainOptions &options) {
  SpecText spec = readSpec(options.spec.spec);
  Weights from;
  if (!options.from.empty())
    from = openWeights({options.from, {}});
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, from));
  if (program.trainings.empty())
    failExpected(options.spec.spec, "a `train` section whose loss this version runs", "none");
  const frontend::ProgramTraining &section = sectionOf(program, options.section);
  if (!section.drawn.empty() && !options.loops)
    failExpected("--loops", "a number of iterations, since draws of a training section (" + section.drawn + ") are not made by this version", "none");
  if (section.windowed && !options.window)
    failExpected("--window", "how many of the last iterations a gradient passes, since the `backprop` line of the section is not read by this version", "none");
  TargetOptions target = options.target;
  target.dtype = "f32";
  Weights none;
  CompileRequest request = makeRequest(program, spec, target, none);
  request.training = true;
  request.makeStep(section.name);
  TrainData data(options.data, options.tokenizer, program.vocab, options.sequence);
  Weights seeded;
  seeded.seed = options.seed;
  LoadedModel first = loadModel(request, target, seeded); // for the laws of its weights
  auto weights = std::make_shared<MasterWeights>(from.tensors ? MasterWeights(program, *from.tensors) : MasterWeights(program, first.info(), options.seed));
  Weights given;
  given.tensors = weights;
  LoadedModel model = loadModel(request, target, given);
  first = {};
  TrainState state(program, section, std::move(*weights));
  return Training(options, program, request.hash, model, state, data).run();
}

} // namespace loopc::driver
