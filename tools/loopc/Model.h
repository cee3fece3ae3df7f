// From a command line to a model that runs: spec, config, weights, compilation, executor.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Commands.h"
#include "Compile.h"
#include "Support.h"
#include "loopc/Frontend/Program.h"
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Executor.h"
#include "loopc/runtime/TensorFile.h"
#include <memory>

namespace loopc::rt {
class PackedParams;
}

namespace loopc::driver {

/// The text of a spec; `name` is the path as given.
struct SpecText {
  std::string name, text;
};
SpecText readSpec(const std::string &path);

/// A published configuration and what messages call it. `json` is null if there is none.
struct Published {
  nlohmann::json json;
  std::string name;
  bool gguf = false;
  /// Most positions of a sequence that it names; 0: none.
  int64_t context() const;
};
/// `path`: a config.json or a directory. Throws Failure.
Published readConfig(const std::string &path);
/// config.json beside the weights, or the metadata of the GGUF file among them.
Published configOf(const rt::WeightSource &weights);

/// Checks the spec with its configuration. Prints every diagnostic on stderr and throws Reported if there are errors.
/// `ignoreUnknownKeys` is for configurations that were not made for this spec.
frontend::Program elaborateSpec(const SpecText &spec, const SpecOptions &options, const Published &published,
                                bool ignoreUnknownKeys = false);
/// The same, with the messages in the Failure instead of on stderr.
frontend::Program elaborateQuietly(const SpecText &spec, const SpecOptions &options, const Published &published);

/// Parses a kv clause. `origin` is what messages call it (`--kv`).
KvClause parseKvClause(const std::string &text, const std::string &origin);

/// What the phases of a request's programs cost. Throws Failure.
codegen::PhaseTable costTable(const CompileRequest &request);

/// How long the parts of loading took, seconds.
struct LoadTimes {
  double frontend = 0, compile = 0, weights = 0;
  bool cached = false;
  uint64_t artifactBytes = 0;
};

/// Weights for a model: a source of tensors, or a seed.
struct Weights {
  std::shared_ptr<const rt::WeightSource> file;
  std::shared_ptr<const rt::TensorSource> tensors; ///< `file`, or tensors in memory
  std::optional<uint64_t> seed;
  /// Format of the names in the file: "" as published, or "gguf".
  std::string checkpoint() const { return file && file->gguf() ? "gguf" : ""; }
};
Weights openWeights(const WeightOptions &options);
/// What a compilation needs beyond the program; of the weights, the names and types of the tensors.
CompileRequest makeRequest(const frontend::Program &program, const SpecText &spec, const TargetOptions &target,
                           const Weights &weights, const std::vector<std::string> &observe = {}, int64_t context = 0);
/// The configuration that was named, else the one beside the weights.
Published publishedFor(const SpecOptions &options, const Weights &weights);

/// A model ready to run.
struct LoadedModel {
  std::unique_ptr<rt::Executor> executor;
  std::shared_ptr<rt::PackedParams> params; ///< of compiled code with weights from tensors
  LoadTimes times;
  uint64_t weightBytes = 0; ///< packed, cpu only
  const rt::ModelInfo &info() const { return executor->info(); }
};

/// Compiles (or takes from the cache) and loads. Throws Failure or rt::Error.
LoadedModel loadModel(const CompileRequest &request, const TargetOptions &target, const Weights &weights);
/// Loads a file of `loopc compile`.
LoadedModel loadArtifact(const std::string &path, const TargetOptions &target, const Weights &weights);

/// Worker threads: the option, or the CPUs that the process may use.
uint32_t workerCount(const TargetOptions &target);

/// Executor that interprets the LANES form. `nudge`: key of a small change (by a factor of 1 ± weightNudge) of every weight,
/// which shows how far the model itself carries a change of the size of rounding.
std::unique_ptr<rt::Executor> makeInterpExecutor(const CompileRequest &request, const Weights &weights, std::optional<uint64_t> nudge = {});
constexpr float weightNudge = 0x1p-21f;

/// Reads token ids: the integers of a .safetensors, or a text through the tokenizer beside `weights`.
std::vector<int32_t> readTokens(const std::string &path, const WeightOptions &weights);

/// Directory of the compile cache: $LOOPC_CACHE, $XDG_CACHE_HOME/loopc or ~/.cache/loopc; empty if there is none.
std::string cacheDirectory();
/// Path of the artefact of `request` in the cache, made first if it is not there.
std::string cachedArtifact(const CompileRequest &request, const TargetOptions &target, LoadTimes &times);

} // namespace loopc::driver
