// loopc run --batch: many requests through the lane scheduler.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Run.h"
#include "loopc/runtime/Generate.h"
#include <algorithm>
#include <cstdio>
#include <sstream>

namespace loopc::driver {
namespace {

/// A line of the file, over the options of the command line.
struct Line {
  RunOptions options;
  std::string place; ///< FILE:LINE
};

/// One value of a line. `expected` names what it has to be.
[[noreturn]] void wrong(const std::string &place, const std::string &key, const std::string &expected,
                        const nlohmann::json &value) {
  failExpected(place, expected + " for \"" + key + "\"",
               rt::quoted(value.dump(-1, ' ', true, Json::error_handler_t::replace)));
}

template <typename T>
T integer(const std::string &place, const std::string &key, const nlohmann::json &value, T low, T high) {
  bool fits = value.is_number_unsigned()
                  ? value.get<uint64_t>() <= uint64_t(high) && (low <= 0 || value.get<uint64_t>() >= uint64_t(low))
                  : value.is_number_integer() && low < 0 && value.get<int64_t>() >= int64_t(low);
  if (!fits)
    wrong(place, key, "an integer from " + std::to_string(low) + " to " + std::to_string(high), value);
  return value.get<T>();
}

float real(const std::string &place, const std::string &key, const nlohmann::json &value) {
  if (!value.is_number())
    wrong(place, key, "a number", value);
  return value.get<float>();
}

std::string text(const std::string &place, const std::string &key, const nlohmann::json &value) {
  if (!value.is_string())
    wrong(place, key, "a text", value);
  return value.get<std::string>();
}

bool flag(const std::string &place, const std::string &key, const nlohmann::json &value) {
  if (!value.is_boolean())
    wrong(place, key, "true or false", value);
  return value.get<bool>();
}

std::string number(const std::string &place, const std::string &key, const nlohmann::json &value) {
  real(place, key, value);
  return value.dump();
}

using Set = void (*)(RunOptions &, const std::string &place, const std::string &key, const nlohmann::json &value);
struct Key {
  const char *name;
  Set set;
};

/// All that a line may say.
constexpr Key keys[] = {
    {"prompt", [](RunOptions &o, const std::string &p, const std::string &k,
                  const nlohmann::json &v) { o.prompt = text(p, k, v); }},
    {"tokens",
     [](RunOptions &o, const std::string &p, const std::string &k, const nlohmann::json &v) {
       if (!v.is_array() || v.empty())
         wrong(p, k, "a list of token ids", v);
       for (const nlohmann::json &id : v)
         o.tokens.push_back(integer<int32_t>(p, k, id, 0, INT32_MAX));
     }},
    {"chat", [](RunOptions &o, const std::string &p, const std::string &k,
                const nlohmann::json &v) { o.chat = flag(p, k, v); }},
    {"system", [](RunOptions &o, const std::string &p, const std::string &k,
                  const nlohmann::json &v) { o.system = text(p, k, v); }},
    {"max_tokens", [](RunOptions &o, const std::string &p, const std::string &k,
                      const nlohmann::json &v) { o.count = integer(p, k, v, 0, 1 << 24); }},
    {"loops", [](RunOptions &o, const std::string &p, const std::string &k,
                 const nlohmann::json &v) { o.loops = integer(p, k, v, 0, INT32_MAX); }},
    {"min_loops", [](RunOptions &o, const std::string &p, const std::string &k,
                     const nlohmann::json &v) { o.minLoops = integer(p, k, v, 0, INT32_MAX); }},
    {"exit", // a threshold, "off", or options of the spec by name
     [](RunOptions &o, const std::string &p, const std::string &k, const nlohmann::json &v) {
       o.knobs.clear();
       if (v == "off")
         o.knobs = {"off"};
       else if (v.is_object())
         for (const auto &[name, value] : v.items())
           o.knobs.push_back(name + "=" + number(p, k + "." + name, value));
       else if (v.is_number())
         o.knobs = {number(p, k, v)};
       else
         wrong(p, k, "a threshold, \"off\" or an object of options", v);
     }},
    {"exit_mode",
     [](RunOptions &o, const std::string &p, const std::string &k, const nlohmann::json &v) {
       if (v != "leave" && v != "select" && v != "off")
         wrong(p, k, "\"leave\", \"select\" or \"off\"", v);
       o.exitMode = v.get<std::string>();
     }},
    {"temperature", [](RunOptions &o, const std::string &p, const std::string &k,
                       const nlohmann::json &v) { o.temperature = real(p, k, v); }},
    {"top_k", [](RunOptions &o, const std::string &p, const std::string &k,
                 const nlohmann::json &v) { o.topK = integer(p, k, v, 0, INT32_MAX); }},
    {"top_p", [](RunOptions &o, const std::string &p, const std::string &k,
                 const nlohmann::json &v) { o.topP = real(p, k, v); }},
    {"min_p", [](RunOptions &o, const std::string &p, const std::string &k,
                 const nlohmann::json &v) { o.minP = real(p, k, v); }},
    {"repeat_penalty", [](RunOptions &o, const std::string &p, const std::string &k,
                          const nlohmann::json &v) { o.repeatPenalty = real(p, k, v); }},
    {"seed", [](RunOptions &o, const std::string &p, const std::string &k,
                const nlohmann::json &v) { o.seed = integer<uint64_t>(p, k, v, 0, UINT64_MAX); }},
    {"ignore_eos", [](RunOptions &o, const std::string &p, const std::string &k,
                      const nlohmann::json &v) { o.ignoreStop = flag(p, k, v); }},
};

std::vector<Line> readLines(const RunOptions &defaults) {
  std::istringstream file(readFile(defaults.batch));
  std::vector<Line> lines;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    Line one{defaults, defaults.batch + ":" + std::to_string(number)};
    nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object())
      failExpected(one.place, "a JSON object", json.is_discarded() ? rt::quoted(line) : json.type_name());
    for (const auto &[key, value] : json.items()) {
      auto known = std::find_if(std::begin(keys), std::end(keys), [&](const Key &k) { return k.name == key; });
      if (known == std::end(keys)) {
        std::string names;
        for (const Key &k : keys)
          names += (names.empty() ? "" : ", ") + std::string(k.name);
        failExpected(one.place, "one of " + names, rt::quoted(key));
      }
      known->set(one.options, one.place, key, value);
    }
    if (one.options.prompt.empty() == one.options.tokens.empty())
      failExpected(one.place, "one of \"prompt\" and \"tokens\"", one.options.prompt.empty() ? "neither" : "both");
    lines.push_back(std::move(one));
  }
  if (lines.empty())
    failExpected(defaults.batch, "at least one request", "none");
  return lines;
}

const char *finishName(rt::Finish finish) {
  switch (finish) {
  case rt::Finish::Length:
    return "length";
  case rt::Finish::Stop:
    return "stop";
  case rt::Finish::Context:
    return "context";
  case rt::Finish::Caller:
    return "interrupt";
  case rt::Finish::Failed:
    return "error";
  }
  return "";
}

double meanOf(const std::vector<int32_t> &values) {
  double sum = 0;
  for (int32_t v : values)
    sum += v;
  return values.empty() ? 0 : sum / double(values.size());
}

} // namespace

int runBatch(const RunOptions &options, const LoadedModel &model, const rt::Tokenizer *tokenizer) {
  const rt::ModelInfo &info = model.info();
  std::vector<rt::GenerateRequest> requests;
  for (const Line &line : readLines(options)) {
    rt::GenerateRequest r;
    try {
      r.prompt = promptTokens(line.options, tokenizer, info);
      r.sequence = sequenceOptions(line.options, info);
      r.sampling = samplingParams(line.options);
    } catch (const std::exception &error) {
      std::string message = error.what();
      fail(line.place + ": " + message.substr(message.find_first_not_of('-')));
    }
    r.maxTokens = uint32_t(line.options.count);
    if (tokenizer && !line.options.ignoreStop)
      r.stop.assign(tokenizer->stopIds().begin(), tokenizer->stopIds().end());
    requests.push_back(std::move(r));
  }

  rt::EngineOptions engineOptions;
  engineOptions.kvBytes = uint64_t(options.kvMiB * 1048576);
  engineOptions.capacity = std::max(engineOptions.capacity, options.slots);
  rt::Engine engine(*model.executor, engineOptions);
  std::vector<std::string> ready(requests.size()); // results that wait for those before them
  size_t printed = 0, ended = 0, failed = 0, made = 0, read = 0;
  double loops = 0, told = 0;
  Timer timer;
  auto progress = [&] {
    std::fprintf(stderr, "loopc: %zu of %zu requests, %zu tokens made, %.1f tokens/s\n", ended, requests.size(), made,
                 double(made) / std::max(timer.seconds(), 1e-9));
  };
  rt::GenerateOptions run;
  run.atOnce = options.slots;
  run.onToken = [&](size_t, int32_t) {
    ++made;
    if (timer.seconds() - told > 1) {
      told = timer.seconds();
      progress();
    }
    return !interrupted();
  };
  run.onDone = [&](size_t index, const rt::Generated &g) {
    ++ended;
    // The state that gave a new token is that of the position before it.
    size_t prompt = requests[index].prompt.size();
    auto decided = [&](const std::vector<int32_t> &of) {
      return g.tokens.empty() ? std::vector<int32_t>()
                              : std::vector<int32_t>(of.begin() + ptrdiff_t(prompt) - 1, of.end());
    };
    std::vector<int32_t> depths = decided(g.depths), executed = decided(g.executed);
    Json json{{"index", index},
              {"token_ids", g.tokens},
              {"loops_per_token", depths},
              {"loops_run_per_token", executed},
              {"mean_loops", meanOf(depths)},
              {"finish", finishName(g.finish)}};
    if (tokenizer) {
      rt::StreamingDecoder decoder(*tokenizer, true);
      std::string text;
      for (size_t i = 0; i + (g.finish == rt::Finish::Stop) < g.tokens.size(); ++i)
        text += decoder.push(g.tokens[i]);
      json["text"] = text + decoder.finish();
    }
    if (g.finish == rt::Finish::Failed) {
      json["error"] = g.error;
      ++failed;
    }
    json["seconds"] = g.totalSeconds;
    loops += meanOf(depths) * double(depths.size());
    read += g.executed.size();
    ready[index] = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    for (; printed < ready.size() && !ready[printed].empty(); ++printed)
      print(std::exchange(ready[printed], {}));
  };
  rt::generate(engine, requests, run);
  progress();
  std::fprintf(stderr,
               "loopc: %zu tokens read, %.2f iterations per token made, %llu evictions, %llu tokens computed again\n",
               read, made ? loops / double(made) : 0, static_cast<unsigned long long>(engine.stats().evictions),
               static_cast<unsigned long long>(engine.stats().again));
  if (options.stats)
    std::fprintf(stderr, "%s\n", statsOf(engine).dump(1).c_str());
  if (failed)
    printError(std::to_string(failed) + " of " + std::to_string(requests.size()) +
               " requests failed, as their results say");
  return interrupted() ? Interrupted : failed ? Failed : Ok;
}

} // namespace loopc::driver
