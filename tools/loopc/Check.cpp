// loopc check and loopc fmt: specs as texts.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "Words.h"
#include "loopc/Frontend/Diagnostics.h"
#include "loopc/Frontend/Formatter.h"
#include "loopc/Frontend/Parser.h"
#include "loopc/Frontend/Sema.h"
#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace loopc::driver {
namespace {

/// Compares the weights of a model with published names and shapes. Returns the number of differences.
int compareShapes(const frontend::Program &program, const nlohmann::json &list, const std::string &path) {
  if (!list.is_object())
    failExpected(path, "an object of tensor names and shapes", list.type_name());
  int differences = 0;
  const frontend::CheckpointMap &map = program.checkpoints.at(0);
  std::vector<std::string> seen;
  for (const frontend::CheckpointTensor &tensor : map.tensors) {
    const frontend::ProgramWeight &weight = program.weights[tensor.weight];
    seen.push_back(tensor.name);
    auto found = list.find(tensor.name);
    if (found == list.end()) {
      if (!tensor.optional) {
        printError(path + ": " + tensor.name + ": expected shape " + rt::shapeText(weight.shape) +
                   ", but got no entry");
        ++differences;
      }
      continue;
    }
    auto plain = [](std::vector<int64_t> shape) {
      shape.erase(std::remove(shape.begin(), shape.end(), 1), shape.end());
      return shape;
    };
    const nlohmann::json &entry = found->is_object() && found->contains("shape") ? (*found)["shape"] : *found;
    std::vector<int64_t> shape;
    if (entry.is_array())
      for (const auto &size : entry)
        shape.push_back(size.is_number_integer() ? size.get<int64_t>() : -1);
    if (!entry.is_array() || plain(shape) != plain(weight.shape)) {
      printError(path + ": " + tensor.name + ": expected shape " + rt::shapeText(weight.shape) + ", but got " +
                 entry.dump());
      ++differences;
    }
  }
  std::sort(seen.begin(), seen.end());
  for (const auto &[name, shape] : list.items())
    if ((shape.is_array() || (shape.is_object() && shape.contains("shape"))) &&
        !std::binary_search(seen.begin(), seen.end(), name)) {
      bool ignored = std::any_of(map.ignored.begin(), map.ignored.end(), [&](const frontend::CheckpointIgnored &one) {
        words::Scope captures;
        return words::matchText(one.pattern, name, captures);
      });
      if (ignored)
        continue;
      printError(path + ": " + name + ": expected a weight of the spec, but got " + shape.dump());
      ++differences;
    }
  return differences;
}

/// A list of tensors, or several models with `config` and `parameters` each.
int checkShapes(const SpecText &spec, const SpecOptions &options, const frontend::Program &program,
                const std::string &path) {
  nlohmann::json json = parseJson(readFile(path), path);
  int differences = 0;
  bool several = false;
  if (json.is_object())
    for (const auto &[name, entry] : json.items())
      if (entry.is_object() && entry.contains("config") && entry.contains("parameters")) {
        several = true;
        std::string place = path + ": " + name;
        frontend::Program own = elaborateSpec(spec, options, {entry["config"], place, false});
        int found = compareShapes(own, entry["parameters"], place);
        print(place + ": " + std::to_string(entry["parameters"].size()) + " tensors, " + std::to_string(found) +
              " differences\n");
        differences += found;
      }
  return several ? differences : compareShapes(program, json, path);
}

} // namespace

int runCheck(const CheckOptions &options) {
  SpecText spec = readSpec(options.spec.spec);
  Published published;
  if (!options.spec.config.empty())
    published = readConfig(options.spec.config);
  SourceText source(spec.name, spec.text);
  DiagnosticEngine diagnostics(source);
  frontend::ConfigInput input;
  if (!published.json.is_null()) {
    input.published = &published.json;
    input.publishedName = published.name;
    input.ignoreUnknownKeys = published.gguf;
  }
  for (const std::string &entry : options.spec.set) {
    size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--set: expected NAME=VALUE, but got `" + entry + "`");
    input.sets.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  input.accidents = options.spec.accidents;
  input.exit = options.spec.exitTest;
  std::optional<frontend::Program> program = frontend::check(source, input, diagnostics);
  if (options.diagnostics == "json")
    print(renderJson(diagnostics) + "\n");
  else if (!diagnostics.diagnostics().empty())
    std::fputs(renderText(diagnostics, ::isatty(2)).c_str(), stderr);
  if (!program || diagnostics.hasErrors())
    return Failed;
  if (!options.shapes.empty())
    return checkShapes(spec, options.spec, *program, options.shapes) ? Failed : Ok;
  if (options.diagnostics == "json")
    return Ok;
  double parameters = 0;
  for (const frontend::ProgramWeight &weight : program->weights) {
    double size = 1;
    for (int64_t axis : weight.shape)
      size *= double(axis);
    int64_t present = 0;
    for (bool one : weight.present)
      present += one;
    parameters += size * double(present);
  }
  print(spec.name + ": model " + program->model + ", " + countText(parameters) + " parameters in " +
        std::to_string(program->weights.size()) + " weights, no errors\n");
  for (const frontend::DeferredConstruct &construct : program->deferred)
    printWarning(spec.name + ":" + std::to_string(construct.loc.line) + ":" + std::to_string(construct.loc.column) +
                 ": " + construct.what + " is checked but not executed by this version");
  return Ok;
}

int runFormat(const FormatOptions &options) {
  int status = Ok;
  for (const std::string &path : options.files) {
    SourceText source(path, readFile(path));
    DiagnosticEngine diagnostics(source);
    ast::Spec spec = frontend::parse(source, diagnostics);
    if (diagnostics.hasErrors()) {
      std::fputs(renderText(diagnostics, ::isatty(2)).c_str(), stderr);
      status = Failed;
      continue;
    }
    std::string text = frontend::format(spec, source);
    if (text == source.text())
      continue;
    if (options.check) {
      printError(path + ": expected the canonical layout, but got another (run `loopc fmt " + path + "`)");
      status = Failed;
    } else {
      writeFileAtomically(path, text);
    }
  }
  return status;
}

} // namespace loopc::driver
