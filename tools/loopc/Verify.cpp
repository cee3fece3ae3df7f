// loopc verify: compiled code beside the interpreter, and beside itself under other schedules, on random requests.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/runtime/Policy.h"
#include "loopc/runtime/Random.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>

namespace loopc::driver {
namespace {

/// A sequence: its options and tokens, of which the first `prompt` are given together and the others one by one.
struct Request {
  rt::SequenceOptions options;
  std::vector<int32_t> tokens;
  size_t prompt = 0;
};

/// What a request gave, by position.
struct Answer {
  std::vector<float> logits;
  std::vector<int32_t> depth;
};

/// Largest difference by request and position, as a fraction of the largest logit that a model may show (infinite: its depth may differ too).
using Allowance = std::vector<std::vector<double>>;
/// Makes the interpreter of the same model with weights changed in their last bits.
using Nudged = std::function<std::unique_ptr<rt::Executor>(uint64_t key)>;

struct Difference {
  double error = 0; ///< largest, as a fraction of the largest logit of the position
  size_t request = 0, position = 0;
  std::string what; ///< empty: none that counts
};

class Verification {
public:
  Verification(const VerifyOptions &options, rt::Executor &compiled, rt::Executor &interpreted, Nudged nudged)
      : options(options), compiled(compiled), interpreted(interpreted), nudged(std::move(nudged)), info(compiled.info()) {
    tolerance = options.tolerance ? *options.tolerance : options.target.dtype == "bf16" || options.target.dtype == "f16" ? 0.1 : 1e-2;
    for (uint64_t i = 0; i < options.requests; ++i)
      requests.push_back(requestOf(i));
  }

  int run() {
    std::vector<Answer> alone = runAlone(compiled), expected = runAlone(interpreted);
    Json report{{"spec", options.spec.spec}, {"seed", options.seed}, {"requests", requests.size()}, {"tolerance", tolerance}};
    Allowance usual = evenly(expected, tolerance), exact = evenly(expected, 0);
    Difference found = compare(expected, alone, usual);
    size_t sensitive = 0;
    if (!found.what.empty() && !options.tolerance)
      found = compare(expected, alone, loosen(usual, expected, sensitive));
    bool fine = judge("compiled code and interpreter", found, report["interpreter"]);
    if (sensitive) {
      report["interpreter"]["sensitive_positions"] = sensitive;
      if (!options.json)
        print("note sensitive: at " + std::to_string(sensitive) + " positions a change of the last bits of the weights moves the model itself more than the tolerance\n");
    }
    fine &= judge("requests alone and together", compare(alone, runTogether(), exact), report["together"]);
    if ((info.policy.order == "free" || info.policy.order == "token") && !wholeSequences())
      fine &= judge("prompts whole and in pieces", compare(alone, runInPieces(), exact), report["pieces"]);
    report["passed"] = fine;
    if (options.json)
      print(report.dump(1) + "\n");
    return fine ? Ok : Failed;
  }

private:
  /// A prompt is computed as one: there is nothing to cut.
  bool wholeSequences() const { return info.contract.group != "lane" || info.contract.couple != "lane"; }

  uint64_t draw(uint64_t request, uint64_t number, uint64_t below) const {
    return rt::mixKeys(rt::mixKeys(options.seed, request), number) % below;
  }

  Request requestOf(uint64_t i) const {
    Request request;
    uint64_t n = 0;
    auto random = [&](uint64_t below) { return draw(i, n++, below); };
    request.prompt = 1 + random(17);
    for (size_t t = 0; t < request.prompt + 3; ++t)
      request.tokens.push_back(int32_t(random(uint64_t(std::max<int64_t>(1, info.vocab)))));
    if (info.count) {
      int32_t least = std::max(1, info.count->min), most = std::min(info.count->max, least + 5);
      request.options.loops = least + int32_t(random(uint64_t(most - least + 1)));
    }
    request.options.seed = options.seed;
    request.options.request = i;
    return request;
  }

  rt::EngineOptions room(uint32_t capacity) const { return {.capacity = capacity, .kvBytes = uint64_t(1) << 28}; }

  static void add(Answer &answer, const rt::FeedResult &result) {
    answer.logits.insert(answer.logits.end(), result.logits.begin(), result.logits.end());
    answer.depth.insert(answer.depth.end(), result.depth.begin(), result.depth.end());
  }

  /// The calls of a request: its prompt in pieces of at most `piece` tokens, then one token at a time.
  static void feed(rt::Engine &engine, rt::SequenceId id, const Request &request, size_t piece, Answer &answer) {
    for (size_t begin = 0; begin < request.tokens.size();) {
      size_t count = begin < request.prompt ? std::min(piece, request.prompt - begin) : 1;
      add(answer, engine.feed(id, std::span(request.tokens).subspan(begin, count), {.logits = rt::LogitsFor::All}));
      begin += count;
    }
  }

  std::vector<Answer> runAlone(rt::Executor &executor) const {
    std::vector<Answer> answers;
    for (const Request &request : requests) {
      rt::Engine engine(executor, room(64));
      feed(engine, engine.open(request.options), request, request.prompt, answers.emplace_back());
    }
    return answers;
  }

  std::vector<Answer> runInPieces() const {
    std::vector<Answer> answers;
    for (const Request &request : requests) {
      rt::Engine engine(compiled, room(5));
      feed(engine, engine.open(request.options), request, 1 + request.prompt / 3, answers.emplace_back());
    }
    return answers;
  }

  std::vector<Answer> runTogether() const {
    rt::Engine engine(compiled, room(64));
    std::vector<Answer> answers(requests.size());
    std::vector<rt::SequenceId> ids;
    std::vector<size_t> fed;
    for (const Request &request : requests) {
      ids.push_back(engine.open(request.options));
      fed.push_back(request.prompt);
      engine.enqueue(ids.back(), std::span(request.tokens).first(request.prompt), {.logits = rt::LogitsFor::All});
    }
    for (bool moved = true; moved;) {
      moved = engine.step();
      for (size_t i = 0; i < ids.size(); ++i)
        if (std::optional<rt::FeedResult> result = engine.take(ids[i])) {
          add(answers[i], *result);
          if (fed[i] < requests[i].tokens.size()) {
            engine.enqueue(ids[i], std::span(requests[i].tokens).subspan(fed[i]++, 1), {.logits = rt::LogitsFor::All});
            moved = true;
          }
        }
    }
    return answers;
  }

  Allowance evenly(const std::vector<Answer> &answers, double allowed) const {
    Allowance all;
    for (const Answer &answer : answers)
      all.emplace_back(answer.depth.size(), allowed);
    return all;
  }

  /// How two answers differ at a position.
  struct Distance {
    double error = 0; ///< as a fraction of the largest logit of the first
    bool depth = false, number = false, bits = false;
  };
  Distance distance(const Answer &first, const Answer &second, size_t p) const {
    size_t width = size_t(info.vocab);
    const float *a = first.logits.data() + p * width, *b = second.logits.data() + p * width;
    Distance d{.depth = first.depth[p] != second.depth[p], .bits = std::memcmp(a, b, width * sizeof(float)) != 0};
    double largest = 1e-30;
    for (size_t v = 0; v < width; ++v) {
      bool number = std::isfinite(a[v]) && std::isfinite(b[v]);
      d.number |= !number && std::memcmp(&a[v], &b[v], sizeof(float)) != 0 && !(std::isnan(a[v]) && std::isnan(b[v]));
      if (number)
        largest = std::max(largest, std::abs(double(a[v]))), d.error = std::max(d.error, std::abs(double(a[v]) - double(b[v])));
    }
    d.error /= largest;
    return d;
  }

  /// Allows what the model itself makes of changes of the size of rounding: a recurrence may amplify them without bound, and a comparison
  /// on the edge may fall on either side. Counts the positions at which that is more than was allowed. States carry a difference on to the
  /// later tokens of a request (and, where tokens see later ones, back).
  Allowance loosen(Allowance allowed, const std::vector<Answer> &expected, size_t &sensitive) const {
    constexpr uint64_t samples = 8;
    constexpr double margin = 4; // of the largest of the samples
    Allowance response = evenly(expected, 0);
    for (uint64_t key = 0; key < samples; ++key) {
      std::vector<Answer> answers = runAlone(*nudged(key));
      for (size_t i = 0; i < expected.size(); ++i)
        for (size_t p = 0; p < expected[i].depth.size() && answers[i].logits.size() == expected[i].logits.size(); ++p) {
          Distance d = distance(expected[i], answers[i], p);
          response[i][p] = std::max(response[i][p], d.depth || d.number ? INFINITY : d.error);
        }
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      double before = wholeSequences() && !response[i].empty() ? *std::max_element(response[i].begin(), response[i].end()) : 0;
      for (size_t p = 0; p < response[i].size(); ++p) {
        before = std::max(before, response[i][p]);
        sensitive += margin * before > allowed[i][p];
        allowed[i][p] = std::max(allowed[i][p], margin * before);
      }
    }
    return allowed;
  }

  Difference compare(const std::vector<Answer> &expected, const std::vector<Answer> &found, const Allowance &allowed) const {
    Difference worst;
    auto report = [&](size_t i, size_t p, const std::string &what) {
      if (worst.what.empty())
        worst.request = i, worst.position = p, worst.what = what;
    };
    for (size_t i = 0; i < expected.size(); ++i) {
      if (found[i].logits.size() != expected[i].logits.size()) {
        report(i, 0, "positions are missing");
        continue;
      }
      for (size_t p = 0; p < expected[i].depth.size(); ++p) {
        double most = allowed[i][p];
        Distance d = distance(expected[i], found[i], p);
        if (d.depth && std::isfinite(most))
          report(i, p, "depth " + std::to_string(expected[i].depth[p]) + " became " + std::to_string(found[i].depth[p]));
        if (d.number && std::isfinite(most))
          report(i, p, "one is no number where the other is");
        else if (most == 0 ? d.bits : d.error > most)
          report(i, p, most == 0 ? "bits differ" : "logits differ");
        worst.error = std::max(worst.error, d.error);
      }
    }
    return worst;
  }

  bool judge(const std::string &what, const Difference &found, Json &entry) const {
    bool fine = found.what.empty();
    entry = {{"passed", fine}, {"largest_error", found.error}};
    if (!fine) {
      entry["message"] = found.what;
      entry["request"] = found.request;
      entry["position"] = found.position;
      entry["prompt"] = requests[found.request].prompt;
      entry["loops"] = requests[found.request].options.loops;
    }
    if (options.json)
      return fine;
    char line[160];
    std::snprintf(line, sizeof line, "%s %s: largest difference %.3g of the largest logit", fine ? "pass" : "FAIL", what.c_str(), found.error);
    std::string text = line;
    if (!fine)
      text += "; request " + std::to_string(found.request) + " (prompt of " + std::to_string(requests[found.request].prompt) + ", " +
              std::to_string(requests[found.request].options.loops) + " iterations), position " + std::to_string(found.position) + ": " + found.what;
    print(text + "\n");
    return fine;
  }

  const VerifyOptions &options;
  rt::Executor &compiled, &interpreted;
  Nudged nudged;
  const rt::ModelInfo &info;
  double tolerance;
  std::vector<Request> requests;
};

} // namespace

int runVerify(const VerifyOptions &options) {
  WeightOptions given = options.weights;
  if (given.weights.empty() && !given.randomSeed)
    given.randomSeed = options.seed;
  Weights weights = openWeights(given);
  SpecText spec = readSpec(options.spec.spec);
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, weights));
  TargetOptions target = options.target;
  LoadedModel compiled = loadModel(makeRequest(program, spec, target, weights), target, weights);
  target.target = "interp";
  CompileRequest request = makeRequest(program, spec, target, weights);
  std::unique_ptr<rt::Executor> interpreted = makeInterpExecutor(request, weights);
  Nudged nudged = [&](uint64_t key) { return makeInterpExecutor(request, weights, key); };
  return Verification(options, *compiled.executor, *interpreted, nudged).run();
}

} // namespace loopc::driver
