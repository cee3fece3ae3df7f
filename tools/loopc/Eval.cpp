// loopc eval: loss by loop count, agreement of depths with the default one, exit distribution.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "Svg.h"
#include "loopc/runtime/Sampler.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unistd.h>

namespace loopc::driver {
namespace {

/// Sums over the positions that were measured.
struct Table {
  int first = 1, last = 1, usual = 1; ///< loop counts; the default one
  std::vector<double> loss, agreement;
  std::vector<double> exits; ///< probability of each of 1 .. usual
  double tokens = 0;
};

/// "A..B" or "N".
void parseRange(const std::string &text, int &first, int &last) {
  size_t dots = text.find("..");
  auto number = [&](const std::string &part) {
    if (part.empty() || part.size() > 6 || part.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError("--loops: expected A..B or a number, but got `" + text + "`");
    return std::stoi(part);
  };
  first = number(text.substr(0, dots));
  last = dots == std::string::npos ? first : number(text.substr(dots + 2));
  if (first < 1 || last < first)
    throw UsageError("--loops: expected a rising range from 1 on, but got `" + text + "`");
}

/// -log softmax(logits)[target].
double lossOf(const float *logits, size_t vocab, int32_t target) {
  float largest = *std::max_element(logits, logits + vocab);
  double sum = 0;
  for (size_t v = 0; v < vocab; ++v)
    sum += std::exp(double(logits[v] - largest));
  return std::log(sum) - double(logits[target] - largest);
}

/// Whether the body or anything else computes with the loop count; then every count needs a run of its own.
bool computesWithCount(const frontend::Program &program, const frontend::ProgramRegion &region,
                       std::vector<bool> &isCount) {
  for (const frontend::ProgramOp &op : region.ops) {
    if (op.kind == frontend::OpKind::Option && op.ref < program.options.size() && program.options[op.ref].isCount) {
      isCount[op.results[0]] = true;
      continue;
    }
    for (frontend::ValueId operand : op.operands)
      if (isCount[operand])
        return true;
    for (const frontend::ProgramRegion &inner : op.regions)
      if (computesWithCount(program, inner, isCount))
        return true;
  }
  return false;
}

class Evaluation {
public:
  Evaluation(const EvalOptions &options, rt::Executor &executor, bool separate)
      : options(options), info(executor.info()), engine(executor), separate(separate) {
    table.usual = info.count ? info.count->value : 1;
    if (options.loops.empty())
      table.last = std::max(table.usual, 1);
    else
      parseRange(options.loops, table.first, table.last);
    int least = info.count ? info.count->min : 1, most = info.count ? info.count->max : 1;
    if (table.first < least || table.last > most)
      failExpected("--loops", std::to_string(least) + " to " + std::to_string(most) + " iterations", options.loops);
    table.loss.assign(size_t(table.last - table.first + 1), 0);
    table.agreement = table.loss;
    if (info.field("obs." + options.exitTap) && info.count)
      table.exits.assign(size_t(table.usual), 0);
  }

  Table run(const std::vector<int32_t> &tokens) {
    int64_t length = options.sequence;
    int64_t windows = (int64_t(tokens.size()) - 1) / length;
    if (options.windows > 0)
      windows = std::min(windows, options.windows);
    if (windows < 1)
      failExpected(options.data, "at least " + std::to_string(length + 1) + " tokens", std::to_string(tokens.size()));
    for (int32_t token : tokens)
      if (uint32_t(token) >= info.vocab)
        failExpected(options.data, "ids below " + std::to_string(info.vocab), std::to_string(token));
    bool progress = ::isatty(2);
    for (int64_t w = 0; w < windows; ++w) {
      if (interrupted())
        throw Reported{Interrupted};
      window(tokens.data() + w * length);
      if (progress)
        std::fprintf(stderr, "\rwindow %lld of %lld", static_cast<long long>(w + 1), static_cast<long long>(windows));
    }
    if (progress)
      std::fprintf(stderr, "\r\033[K");
    table.tokens = double(windows * length);
    for (double &value : table.loss)
      value /= table.tokens;
    for (double &value : table.agreement)
      value /= table.tokens;
    for (double &value : table.exits)
      value /= table.tokens;
    return table;
  }

private:
  /// Positions for which the logits of all iterations fit into a quarter of a gigabyte.
  size_t pieceSize(int loops) const {
    if (info.contract.order != "free" || info.policy.order == "chunk")
      return size_t(options.sequence);
    size_t bytes = size_t(loops) * info.vocab * sizeof(float);
    return std::clamp<size_t>((size_t(1) << 28) / bytes, 1, size_t(options.sequence));
  }

  void window(const int32_t *tokens) {
    int most = std::max(table.last, separate ? 1 : table.usual);
    std::vector<std::vector<int32_t>> choice(size_t(most) + 1);
    if (!separate) {
      pass(tokens, most, true, choice);
    } else {
      for (int loops = table.first; loops <= table.last; ++loops)
        pass(tokens, loops, false, choice);
      if (table.usual < table.first || table.usual > table.last) {
        choice.resize(std::max(choice.size(), size_t(table.usual) + 1));
        pass(tokens, table.usual, false, choice);
      }
    }
    for (int loops = table.first; loops <= table.last; ++loops)
      for (int64_t i = 0; i < options.sequence; ++i)
        table.agreement[size_t(loops - table.first)] +=
            choice[size_t(loops)][size_t(i)] == choice[size_t(table.usual)][size_t(i)];
  }

  /// One reading of the window. `every`: readouts of all counts up to `loops`; else of `loops` alone.
  void pass(const int32_t *tokens, int loops, bool every, std::vector<std::vector<int32_t>> &choice) {
    rt::SequenceOptions sequence;
    if (info.count)
      sequence.loops = loops;
    sequence.exit = rt::ExitMode::Off;
    rt::SequenceId id = engine.open(sequence);
    rt::FeedOptions feed;
    feed.logits = rt::LogitsFor::All;
    feed.everyIteration = every && info.count;
    bool exits = !table.exits.empty() && (every || loops == table.usual);
    if (exits)
      feed.observe = {"obs." + options.exitTap};
    size_t piece = pieceSize(every ? loops : 1);
    for (size_t at = 0; at < size_t(options.sequence); at += piece) {
      size_t count = std::min(piece, size_t(options.sequence) - at);
      rt::FeedResult result = engine.feed(id, {tokens + at, count}, feed);
      for (size_t row = 0; row < count; ++row)
        for (int k = feed.everyIteration ? 1 : loops; k <= loops; ++k) {
          const float *logits = feed.everyIteration
                                    ? result.iterationLogits.data() + (row * size_t(loops) + size_t(k - 1)) * info.vocab
                                    : result.logits.data() + row * info.vocab;
          choice[size_t(k)].push_back(rt::Sampler::argmax({logits, info.vocab}));
          if (k >= table.first && k <= table.last)
            table.loss[size_t(k - table.first)] += lossOf(logits, info.vocab, tokens[at + row + 1]);
        }
      if (exits)
        addExits(result.observed.begin()->second, count, size_t(loops));
    }
    engine.close(id);
  }

  /// The last of the default number of iterations takes what the others leave.
  void addExits(const rt::Observation &seen, size_t rows, size_t loops) {
    for (size_t row = 0; row < rows; ++row) {
      double rest = 1;
      for (int k = 0; k + 1 < table.usual; ++k) {
        double p = seen.iterations[row * loops + size_t(k)];
        table.exits[size_t(k)] += p;
        rest -= p;
      }
      table.exits.back() += rest;
    }
  }

  const EvalOptions &options;
  const rt::ModelInfo &info;
  rt::Engine engine;
  bool separate;
  Table table;
};

std::string fixed(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

void printTable(const Table &table) {
  std::string text =
      "| loops | loss (nats) | perplexity | agrees with " + std::to_string(table.usual) +
      (table.exits.empty() ? " |\n| --- | --- | --- | --- |\n" : " | exits here |\n| --- | --- | --- | --- | --- |\n");
  for (int k = table.first; k <= table.last; ++k) {
    double loss = table.loss[size_t(k - table.first)];
    text += "| " + std::to_string(k) + " | " + fixed(loss, 4) + " | " + fixed(std::exp(loss), 2) + " | " +
            fixed(table.agreement[size_t(k - table.first)], 4) + " |";
    if (!table.exits.empty())
      text += " " + (k <= table.usual ? fixed(table.exits[size_t(k - 1)], 4) : std::string("-")) + " |";
    text += "\n";
  }
  print(text + fixed(table.tokens, 0) + " positions\n");
}

} // namespace

int runEval(const EvalOptions &options) {
  Weights weights = openWeights(options.weights);
  SpecText spec = readSpec(options.spec.spec);
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, weights));
  std::vector<int32_t> tokens = readTokens(options.data, options.weights);
  LoadedModel model = loadModel(makeRequest(program, spec, options.target, weights, {options.exitTap}),
                                options.target, weights);
  std::vector<bool> isCount(program.values.size(), false);
  bool separate = computesWithCount(program, program.body, isCount);
  Timer timer;
  Table table = Evaluation(options, *model.executor, separate).run(tokens);
  std::vector<int> counts;
  for (int k = table.first; k <= table.last; ++k)
    counts.push_back(k);
  if (!options.svg.empty())
    writeFileAtomically(options.svg, evalFigure(model.info().model, counts, table.loss, table.agreement, table.exits));
  if (!options.json) {
    printTable(table);
    std::fprintf(stderr, "loopc: compiled in %s%s, evaluated in %s\n", durationText(model.times.compile).c_str(),
                 model.times.cached ? " (cached)" : "", durationText(timer.seconds()).c_str());
    return Ok;
  }
  print(Json{{"loops", counts},
             {"loss", table.loss},
             {"agreement", table.agreement},
             {"exit_distribution", table.exits},
             {"default_loops", table.usual},
             {"positions", table.tokens},
             {"sequence", options.sequence},
             {"seconds", timer.seconds()}}
            .dump() +
        "\n");
  return Ok;
}

} // namespace loopc::driver
