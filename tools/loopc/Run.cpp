// loopc run: generates text, streamed.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Run.h"
#include "loopc/runtime/ChatTemplate.h"
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <iterator>

namespace loopc::driver {
namespace {

/// Where the tokenizer is: as told, else beside the weights.
std::shared_ptr<const rt::Tokenizer> openTokenizer(const RunOptions &options) {
  if (!options.tokenizer.empty())
    return rt::Tokenizer::open(options.tokenizer);
  std::string path = options.weights.weights;
  if (path.empty())
    return nullptr;
  if (!isDirectory(path) && !(path.size() > 5 && path.compare(path.size() - 5, 5, ".gguf") == 0)) {
    size_t slash = path.rfind('/');
    path = slash == std::string::npos ? "." : path.substr(0, slash);
  }
  if (isDirectory(path) && !isFile(path + "/tokenizer.json"))
    return nullptr;
  return rt::Tokenizer::open(path);
}

} // namespace

rt::SequenceOptions sequenceOptions(const RunOptions &options, const rt::ModelInfo &info) {
  rt::SequenceOptions result;
  if (options.loops) {
    if (!info.count)
      failExpected("--loops", "a model with a loop", info.model + ", which has none");
    if (*options.loops < info.count->min || *options.loops > info.count->max)
      failExpected("--loops",
                   std::to_string(info.count->min) + " to " + std::to_string(info.count->max) + " iterations",
                   std::to_string(*options.loops));
    result.loops = *options.loops;
  }
  result.seed = options.seed;
  result.minLoops = options.minLoops;
  for (const std::string &entry : options.knobs) {
    if (entry == "off") {
      result.exit = rt::ExitMode::Off;
      continue;
    }
    size_t equals = entry.find('=');
    std::string name = equals == std::string::npos ? "threshold" : entry.substr(0, equals);
    std::string text = equals == std::string::npos ? entry : entry.substr(equals + 1);
    char *end = nullptr;
    float value = std::strtof(text.c_str(), &end);
    if (text.empty() || *end)
      throw UsageError("--exit " + name + ": expected a number, but got `" + text + "`");
    auto knob =
        std::find_if(info.knobs.begin(), info.knobs.end(), [&](const rt::KnobInfo &one) { return one.name == name; });
    if (knob == info.knobs.end()) {
      std::string list;
      for (const rt::KnobInfo &one : info.knobs)
        list += (list.empty() ? "" : ", ") + one.name;
      failExpected("--exit",
                   "a run-time option of " + info.model + (list.empty() ? " (it has none)" : " (" + list + ")"),
                   "`" + name + "`");
    }
    result.knobs[name] = value;
  }
  if (options.exitMode == "leave")
    result.exit = rt::ExitMode::Leave;
  else if (options.exitMode == "select")
    result.exit = rt::ExitMode::Select;
  else if (options.exitMode == "off")
    result.exit = rt::ExitMode::Off;
  return result;
}

rt::SamplingParams samplingParams(const RunOptions &options) {
  rt::SamplingParams sampling;
  sampling.temperature = options.temperature;
  sampling.topK = options.topK;
  sampling.topP = options.topP;
  sampling.minP = options.minP;
  sampling.repetitionPenalty = options.repeatPenalty;
  sampling.seed = options.seed;
  sampling.check();
  return sampling;
}

namespace {

std::string promptText(const RunOptions &options, const rt::Tokenizer &tokenizer) {
  if (!options.chat)
    return options.prompt;
  if (!tokenizer.chatTemplate())
    failExpected("--chat", "a tokenizer with a chat template", "none");
  std::vector<rt::ChatMessage> messages;
  if (!options.system.empty())
    messages.push_back({"system", options.system});
  messages.push_back({"user", options.prompt});
  auto tokenText = [&](std::optional<int32_t> id) { return id ? std::string(tokenizer.tokenBytes(*id)) : ""; };
  return rt::ChatTemplate::parse(*tokenizer.chatTemplate())
      .apply(messages, true, tokenText(tokenizer.bosId()), tokenText(tokenizer.eosId()));
}

} // namespace

std::vector<int32_t> promptTokens(const RunOptions &options, const rt::Tokenizer *tokenizer, const rt::ModelInfo &info) {
  std::vector<int32_t> prompt = options.tokens;
  if (prompt.empty()) {
    if (!tokenizer)
      failExpected(options.weights.weights.empty() ? "-p" : options.weights.weights,
                   "a tokenizer (--tokenizer PATH) for the prompt", "none");
    prompt = tokenizer->encode(promptText(options, *tokenizer));
    if (prompt.empty())
      failExpected("-p", "at least one token", "an empty prompt");
    if (uint32_t(tokenizer->vocabSize()) > info.vocab)
      failExpected("tokenizer", "at most " + std::to_string(info.vocab) + " tokens, as the model has",
                   std::to_string(tokenizer->vocabSize()));
  }
  for (int32_t token : prompt)
    if (token < 0 || uint32_t(token) >= info.vocab)
      failExpected("--tokens", "ids from 0 to " + std::to_string(info.vocab - 1), std::to_string(token));
  if (info.context && prompt.size() > info.context)
    failExpected("prompt", "at most " + std::to_string(info.context) + " tokens, the model's context",
                 std::to_string(prompt.size()));
  return prompt;
}

namespace {

struct Timing {
  double prefill = 0, decode = 0;
};

void printTimes(const LoadedModel &model, size_t prompt, size_t made, const Timing &timing, const RunOptions &options) {
  std::string line = "loopc: ";
  if (options.artifact.empty())
    line += "compiled in " + durationText(model.times.compile) + (model.times.cached ? " (cached)" : "") + ", ";
  line += "weights in " + durationText(model.times.weights) + "; " + std::to_string(prompt) + " tokens read in " +
          durationText(timing.prefill) + "; " + std::to_string(made) + " made";
  if (made > 1 && timing.decode > 0) {
    char rate[64];
    std::snprintf(rate, sizeof rate, ", %.1f tokens/s", double(made - 1) / timing.decode);
    line += rate;
  }
  std::fprintf(stderr, "%s\n", line.c_str());
}

} // namespace

Json statsOf(const rt::Engine &engine) {
  const rt::EngineStats &stats = engine.stats();
  Json calls = Json::object(), lanes = Json::object(), seconds = Json::object();
  for (size_t stage = 0; stage < rt::stageCount; ++stage) {
    calls[std::string(rt::stageName(rt::Stage(stage)))] = stats.calls[stage];
    lanes[std::string(rt::stageName(rt::Stage(stage)))] = stats.laneCalls[stage];
    seconds[std::string(rt::stageName(rt::Stage(stage)))] = stats.seconds[stage];
  }
  return {{"calls", calls},
          {"lanes", lanes},
          {"seconds", seconds},
          {"rounds", stats.rounds},
          {"lane_iterations", stats.laneIterations},
          {"tokens", stats.tokens},
          {"tokens_again", stats.again},
          {"evictions", stats.evictions}};
}

int runRun(const RunOptions &given) {
  RunOptions options = given;
  if (options.spec.spec.empty() == options.artifact.empty())
    throw UsageError("expected a SPEC or --artifact FILE, but got " +
                     std::string(options.artifact.empty() ? "neither" : "both"));
  int inputs = !options.prompt.empty() + !options.tokens.empty() + !options.batch.empty();
  if (inputs != 1)
    throw UsageError("expected one of -p TEXT, --tokens IDS and --batch FILE, but got " +
                     std::string(inputs == 0 ? "none" : std::to_string(inputs)));
  rt::SamplingParams sampling = samplingParams(options);
  if (options.prompt == "-") {
    options.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    if (options.prompt.empty())
      failExpected("-p", "a prompt on stdin", "nothing");
  }

  Timer all;
  Weights weights = openWeights(options.weights);
  std::shared_ptr<const rt::Tokenizer> tokenizer = openTokenizer(options);
  if (!options.prompt.empty() && !tokenizer)
    failExpected(options.weights.weights.empty() ? "-p" : options.weights.weights,
                 "a tokenizer (--tokenizer PATH) for the prompt", "none");
  LoadedModel model;
  frontend::Program program;
  if (options.artifact.empty()) {
    SpecText spec = readSpec(options.spec.spec);
    Published published = publishedFor(options.spec, weights);
    program = elaborateSpec(spec, options.spec, published);
    TargetOptions target = options.target;
    target.leaving = options.exitMode == "leave";
    model =
        loadModel(makeRequest(program, spec, target, weights, {}, published.context()), target, weights);
  } else {
    model = loadArtifact(options.artifact, options.target, weights);
  }
  const rt::ModelInfo &info = model.info();

  if (!options.batch.empty())
    return runBatch(options, model, tokenizer.get());
  std::vector<int32_t> prompt = promptTokens(options, tokenizer.get(), info);
  rt::EngineOptions engineOptions;
  engineOptions.kvBytes = uint64_t(options.kvMiB * 1048576);
  rt::Engine engine(*model.executor, engineOptions);
  rt::SequenceId id = engine.open(sequenceOptions(options, info));
  rt::Sampler sampler(sampling);
  std::optional<rt::StreamingDecoder> decoder;
  if (tokenizer)
    decoder.emplace(*tokenizer, true);
  std::vector<int32_t> made, executed, depths;
  std::string text, finish = "length";
  Timing timing;
  Timer clock;
  bool stream = !options.json;
  rt::FeedResult result = engine.feed(id, prompt);
  timing.prefill = clock.seconds();
  clock = Timer();
  int status = Ok;
  while (int(made.size()) < options.count) {
    if (interrupted()) {
      status = Interrupted;
      finish = "interrupt";
      break;
    }
    std::vector<int32_t> history(engine.tokens(id).begin(), engine.tokens(id).end());
    int32_t token = sampler.sample(result.row(result.rows - 1), history, history.size());
    made.push_back(token);
    executed.push_back(result.executed.back());
    depths.push_back(result.depth.back());
    bool stop =
        tokenizer && !options.ignoreStop &&
        std::find(tokenizer->stopIds().begin(), tokenizer->stopIds().end(), token) != tokenizer->stopIds().end();
    std::string piece = stop ? "" : decoder ? decoder->push(token) : std::to_string(token) + " ";
    text += piece;
    if (stream) {
      if (options.showLoops && !stop)
        piece += "[" + std::to_string(depths.back()) + "]";
      print(piece);
    }
    if (stop) {
      finish = "stop";
      break;
    }
    if (int(made.size()) == options.count)
      break;
    if (info.context && history.size() + 1 >= info.context) {
      finish = "context";
      break;
    }
    result = engine.feed(id, {&token, 1});
  }
  timing.decode = clock.seconds();
  if (decoder && finish != "stop") {
    std::string rest = decoder->finish();
    text += rest;
    if (stream)
      print(rest);
  }
  if (stream)
    print("\n");
  if (options.json) {
    Json json{{"prompt_token_ids", prompt},
              {"token_ids", made},
              {"loops_per_token", depths},
              {"loops_run_per_token", executed},
              {"finish", finish}};
    if (tokenizer)
      json["text"] = text;
    json["compile_seconds"] = model.times.compile;
    json["compile_cached"] = model.times.cached;
    json["weights_seconds"] = model.times.weights;
    json["prefill_seconds"] = timing.prefill;
    json["decode_seconds"] = timing.decode;
    json["total_seconds"] = all.seconds();
    json["artifact_bytes"] = model.times.artifactBytes;
    if (options.stats)
      json["stats"] = statsOf(engine);
    print(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return status;
  }
  printTimes(model, prompt.size(), made.size(), timing, options);
  if (options.showLoops && !depths.empty()) {
    double sum = 0;
    for (int32_t depth : depths)
      sum += depth;
    std::fprintf(stderr, "loopc: %.2f iterations per token read out\n", sum / double(depths.size()));
  }
  if (options.stats)
    std::fprintf(stderr, "%s\n", statsOf(engine).dump(1).c_str());
  return status;
}

} // namespace loopc::driver
