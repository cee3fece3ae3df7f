// loopc import: which spec fits a published folder, and the command that runs it.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/Frontend/Diagnostics.h"
#include "loopc/Frontend/Sema.h"
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <tuple>

namespace loopc::driver {
namespace {

struct Candidate {
  std::string spec, reason;
  bool fits = false;
  size_t matched = 0, missing = 0, extra = 0; ///< tensors of the checkpoint
};

std::vector<std::string> specsIn(const std::string &directory) {
  std::vector<std::string> result;
  std::error_code code;
  for (const auto &entry : std::filesystem::directory_iterator(directory, code))
    if (entry.path().extension() == ".loop")
      result.push_back(entry.path().string());
  if (code)
    failExpected(directory, "a directory of specs", code.message());
  std::sort(result.begin(), result.end());
  return result;
}

/// A spec fits when it takes the configuration without an error and finds its weights in the checkpoint.
Candidate consider(const std::string &path, const Published &published, const rt::WeightSource *weights) {
  Candidate result;
  result.spec = path;
  SourceText source(path, readFile(path));
  DiagnosticEngine diagnostics(source);
  frontend::ConfigInput input;
  input.published = published.json.is_null() ? nullptr : &published.json;
  input.publishedName = published.name;
  input.ignoreUnknownKeys = published.gguf;
  std::optional<frontend::Program> program = frontend::check(source, input, diagnostics);
  if (!program) {
    for (const Diagnostic &diagnostic : diagnostics.diagnostics())
      if (diagnostic.severity == Severity::Error) {
        result.reason = diagnostic.message;
        break;
      }
    return result;
  }
  const frontend::CheckpointMap *map = program->checkpoint(published.gguf ? "gguf" : "");
  if (!map) {
    result.reason = "it has no names for this kind of file";
    return result;
  }
  if (!weights) {
    result.fits = true;
    result.reason = "the configuration fits; no weights to compare";
    return result;
  }
  for (const frontend::CheckpointTensor &tensor : map->tensors) {
    if (weights->find(tensor.name))
      ++result.matched;
    else if (!tensor.optional && ++result.missing == 1)
      result.reason = "the checkpoint has no " + tensor.name;
  }
  result.extra = weights->tensors().size() - std::min(weights->tensors().size(), result.matched);
  result.fits = result.missing == 0;
  if (result.fits)
    result.reason = std::to_string(result.matched) + " tensors found, " + std::to_string(result.extra) + " not used";
  return result;
}

std::string modelsDirectory(const ImportOptions &options) {
  if (!options.models.empty())
    return options.models;
  if (const char *own = std::getenv("LOOPC_MODELS"))
    return own;
  return isDirectory("models") ? "models" : LOOPC_MODELS_DIR;
}

} // namespace

int runImport(const ImportOptions &options) {
  std::shared_ptr<const rt::WeightSource> weights;
  Published published;
  try {
    weights = rt::WeightSource::open(options.directory);
    published = configOf(*weights);
  } catch (const rt::Error &error) {
    if (!isDirectory(options.directory) || !isFile(options.directory + "/config.json"))
      throw;
    printWarning(std::string(error.what()) + "; only the configuration is compared");
    published = readConfig(options.directory);
  }
  if (published.json.is_null())
    failExpected(options.directory, "config.json beside the weights, or a .gguf", "neither");
  std::vector<Candidate> candidates;
  for (const std::string &path : specsIn(modelsDirectory(options)))
    candidates.push_back(consider(path, published, weights.get()));
  // Among specs that fit, the one that leaves the fewest tensors unused, then the plainest name.
  std::sort(candidates.begin(), candidates.end(), [](const Candidate &a, const Candidate &b) {
    if (a.fits != b.fits)
      return a.fits;
    return std::tuple(a.extra, a.spec.size(), a.spec) < std::tuple(b.extra, b.spec.size(), b.spec);
  });
  std::string said;
  for (const char *key : {"model_type", "_class_name", "general.architecture"})
    if (said.empty() && published.json.contains(key) && published.json[key].is_string())
      said = published.json[key];
  auto list = published.json.find("architectures");
  if (said.empty() && list != published.json.end() && list->is_array() && !list->empty() && (*list)[0].is_string())
    said = (*list)[0];
  bool found = !candidates.empty() && candidates[0].fits;
  std::string command;
  if (found)
    command = "loopc run " + candidates[0].spec + " --weights " + options.directory + " -p \"...\"";
  if (options.json) {
    Json list = Json::array();
    for (const Candidate &one : candidates)
      list.push_back({{"spec", one.spec},
                      {"fits", one.fits},
                      {"reason", one.reason},
                      {"tensors", one.matched},
                      {"missing", one.missing},
                      {"unused", one.extra}});
    print(Json{{"published_as", said},
               {"spec", found ? Json(candidates[0].spec) : Json()},
               {"command", command},
               {"candidates", list}}
              .dump(1) +
          "\n");
    return found ? Ok : Failed;
  }
  if (!said.empty())
    print(options.directory + " calls itself `" + said + "`\n");
  for (const Candidate &one : candidates)
    print(std::string(one.fits ? "  fits  " : "  no    ") + one.spec + ": " + one.reason + "\n");
  if (!found) {
    printError(options.directory + ": expected a checkpoint of one of " + std::to_string(candidates.size()) +
               " specs, but got another");
    return Failed;
  }
  print(command + "\n");
  return Ok;
}

} // namespace loopc::driver
