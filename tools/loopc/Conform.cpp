// loopc conform: runs the cases of a folder and compares.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "Origin.h"
#include <algorithm>
#include <cstdio>

namespace loopc::driver {
namespace {

struct Totals {
  int passed = 0, failed = 0, unsupported = 0;
};

class Reporter {
public:
  explicit Reporter(bool json) : json(json) {}

  void tensor(const CaseFiles &files, const TensorResult &result) {
    ++(result.status == "pass" ? totals.passed : totals.failed);
    if (json) {
      Json entry{{"case", files.name},      {"kind", files.kind},          {"tensor", result.tensor},
                 {"status", result.status}, {"error", result.error},       {"atol", result.atol},
                 {"rtol", result.rtol},     {"compared", result.compared}, {"wrong", result.wrong}};
      if (!result.message.empty())
        entry["message"] = result.message;
      results.push_back(std::move(entry));
      return;
    }
    char line[320];
    std::snprintf(line, sizeof line, "%-4s %s %s  largest error %.3g, tolerance %.3g + %.3g |x|", result.status.c_str(),
                  files.name.c_str(), result.tensor.c_str(), result.error, result.atol, result.rtol);
    std::string text = line;
    if (result.status != "pass") {
      if (result.compared)
        text += "; " + std::to_string(result.wrong) + " of " + std::to_string(result.compared) + " wrong";
      text += "; " + result.message;
    }
    print(text + "\n");
  }

  void whole(const CaseFiles &files, const std::string &status, const std::string &message) {
    ++(status == "FAIL" ? totals.failed : totals.unsupported);
    if (json)
      results.push_back({{"case", files.name}, {"kind", files.kind}, {"status", status}, {"message", message}});
    else
      print((status == "FAIL" ? "FAIL " : "unsupported ") + files.name + "  " + message + "\n");
  }

  int finish(bool allowUnsupported) {
    if (json)
      print(Json{{"results", results},
                 {"passed", totals.passed},
                 {"failed", totals.failed},
                 {"unsupported", totals.unsupported}}
                .dump(1) +
            "\n");
    else
      print(std::to_string(totals.passed) + " passed, " + std::to_string(totals.failed) + " failed, " +
            std::to_string(totals.unsupported) + " unsupported\n");
    return totals.failed || (totals.unsupported && !allowUnsupported) ? Failed : Ok;
  }

private:
  bool json;
  Json results = Json::array();
  Totals totals;
};

/// Models that were loaded already: cases often differ in run-time options only.
class Models {
public:
  explicit Models(const TargetOptions &target) : target(target) {}

  struct Entry {
    frontend::Program program;
    Weights weights;
    LoadedModel model;
  };
  Entry &get(const CasePlan &plan, const SpecText &spec, frontend::Program program) {
    TargetOptions own = target;
    own.kv = plan.kv;
    own.dtype = plan.dtype;
    auto kept = std::make_unique<Entry>();
    kept->program = std::move(program);
    CompileRequest request;
    try {
      request = makeRequest(kept->program, spec, own, Weights(), plan.observe);
    } catch (const Failure &failure) {
      fail(std::string(failure.what()) + " (in the words' kv clause)");
    }
    std::string key = request.hash + " " + plan.weights + " " + plan.origin;
    if (!plan.overrides.empty())
      key += " " + std::to_string(++changed); // weights of its own
    auto found = entries.find(key);
    if (found != entries.end())
      return *found->second;
    if (entries.size() >= 8)
      entries.clear();
    WeightOptions file;
    file.weights = plan.weights;
    Weights weights;
    if (kept->program.weights.empty() && !isFile(plan.weights)) // a mechanism without parameters
      weights.tensors = std::make_shared<rt::MemoryTensors>(plan.weights);
    else
      weights = openWeights(file);
    if (!plan.origin.empty())
      weights.tensors = OriginWeights(kept->program, originOf(kept->program, plan.origin), weights.tensors).all();
    kept->weights = changedWeights(std::move(weights), plan);
    kept->model = loadModel(request, own, kept->weights);
    return *entries.emplace(key, std::move(kept)).first->second;
  }

private:
  /// The tensors of the file, but for those that the case gives.
  static Weights changedWeights(Weights weights, const CasePlan &plan) {
    if (plan.overrides.empty())
      return weights;
    auto tensors = std::make_shared<rt::MemoryTensors>(weights.tensors->describe());
    for (const auto &[name, tensor] : plan.overrides)
      weights.tensors->get(name); // refuses what the file does not have
    for (const rt::TensorView &view : weights.tensors->tensors()) {
      auto given = plan.overrides.find(view.name);
      std::vector<float> values =
          given == plan.overrides.end() ? rt::readF32(view)
                                        : std::vector<float>(given->second.values.begin(), given->second.values.end());
      tensors->addF32(view.name, view.shape, values);
    }
    weights.tensors = tensors;
    return weights;
  }

  TargetOptions target;
  std::map<std::string, std::unique_ptr<Entry>> entries;
  uint64_t changed = 0;
};

bool selected(const std::vector<std::string> &patterns, const std::string &name) {
  words::Scope ignored;
  return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const std::string &pattern) {
           return words::matchText(pattern, name, ignored);
         });
}

std::string wordsPath(const ConformOptions &options) {
  if (!options.words.empty())
    return options.words;
  std::string path = options.spec.spec;
  size_t dot = path.rfind('.'), slash = path.rfind('/');
  if (dot != std::string::npos && (slash == std::string::npos || dot > slash))
    path.resize(dot);
  return path + ".words";
}

} // namespace

int runConform(const ConformOptions &options) {
  SpecText spec = readSpec(options.spec.spec);
  std::string path = wordsPath(options);
  words::Table table = words::parse(path, readFile(path));
  std::vector<CaseFiles> cases = readCases(options.directory);
  Reporter reporter(options.json);
  Models models(options.target);
  bool any = false;
  for (const CaseFiles &files : cases) {
    if (!selected(options.cases, files.name) || !selected(options.kinds, files.kind))
      continue;
    any = true;
    if (interrupted())
      return Interrupted;
    if (std::string reason = table.skips(files.name); !reason.empty()) {
      reporter.whole(files, "unsupported", reason);
      continue;
    }
    static const std::set<std::string> kinds = {"forward", "decode", "exit", "carry", "restarts", "solve", "train-step", "train-run"};
    if (!kinds.count(files.kind) && !table.mentions(files.kind)) {
      reporter.whole(files, "unsupported", "cases of kind " + files.kind + " are not run by this version");
      continue;
    }
    const bool training = isTraining(files.kind);
    try {
      std::optional<frontend::Program> program;
      CasePlan plan;
      try {
        plan = planCase(files, table, options.directory, spec, options.spec, program);
      } catch (const Failure &failure) {
        if (!training)
          throw;
        plan.unsupported = failure.what(); // losses and terms that no words say yet
      }
      if (!plan.unsupported.empty()) {
        reporter.whole(files, "unsupported", plan.unsupported);
        continue;
      }
      if (training) {
        if (!sectionOf(plan, *program)) {
          reporter.whole(files, "unsupported", "the spec has no `train` section whose loss this version runs");
          continue;
        }
        for (const TensorResult &result : runTraining(plan, table, spec, *program, options.target))
          reporter.tensor(files, result);
        for (const CaseOutput &output : plan.outputs)
          if (!output.unsupported.empty())
            reporter.whole(files, "unsupported", output.name + ": " + output.unsupported);
        continue;
      }
      Models::Entry &model = models.get(plan, spec, std::move(*program));
      CaseRuns runs = runCase(plan, table, *model.model.executor);
      for (const CaseOutput &output : plan.outputs)
        if (output.unsupported.empty() && isOfWeights(output.rule->value))
          reporter.tensor(files, compareWeights(output, table, *model.weights.tensors));
        else if (output.unsupported.empty())
          reporter.tensor(files, compareOutput(output, table, runs, plan.cuts));
        else
          reporter.whole(files, "unsupported", output.name + ": " + output.unsupported);
    } catch (const Reported &) {
      reporter.whole(files, "FAIL", "the spec has errors");
    } catch (const std::exception &error) {
      reporter.whole(files, "FAIL", error.what());
    }
  }
  if (!any)
    failExpected(options.directory, "a case of that name and kind", "none among " + std::to_string(cases.size()));
  return reporter.finish(options.allowUnsupported);
}

} // namespace loopc::driver
