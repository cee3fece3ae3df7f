// The commands of loopc and what their command lines say.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace loopc::driver {

/// A spec and what binds its `config` and `options`.
struct SpecOptions {
  std::string spec;
  std::vector<std::string> set;       ///< NAME=VALUE
  std::vector<std::string> accidents; ///< names
  std::string exitTest;               ///< the named exit that is on
  std::string config;                 ///< a config.json or a directory that has one; empty: that of the weights
};

/// How a model is compiled and run.
struct TargetOptions {
  std::string target = "cpu"; ///< cpu or interp
  std::string dtype = "stored"; ///< of matrices: as the file has them, or a format of WeightFormats.def
  std::string kvDtype; ///< empty: as dtype
  std::string cpu = "native";
  std::string bf16Order;    ///< chain or amx32; empty: the CPU's
  std::string kv;           ///< a kv clause that replaces the spec's
  uint32_t threads = 0;     ///< 0: one for each CPU the process may use
  double maxMsPerToken = 0; ///< budget that chooses the default loop count; 0: none
  bool noCache = false;
  bool profile = false; ///< the code times its phases (`bench --profile`)
  bool leaving = false; ///< an exit is to end the iterations of a token (`--exit-mode leave`)
};

struct WeightOptions {
  std::string weights;
  std::optional<uint64_t> randomSeed;
};

struct CheckOptions {
  SpecOptions spec;
  std::string shapes; ///< a file of published shapes to compare with
  std::string diagnostics = "text";
};
struct FormatOptions {
  std::vector<std::string> files;
  bool check = false;
};
struct CompileCommandOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights;
  std::string output;
  std::string emit = "artifact";
  std::string sanitize;
  std::vector<std::string> observe;
  bool remarks = false, json = false;
};
struct ExplainOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights;
  std::optional<int> loops;
  uint64_t context = 1024;
  double bandwidth = 0, peak = 0; ///< bytes and FLOPs a second of the machine; 0: measured
  bool json = false;
};
struct RunOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights;
  std::string artifact; ///< a file of `compile`; empty: compile the spec
  std::string batch;    ///< a file of requests, one JSON object a line
  uint32_t slots = 16;  ///< requests of it that run at a time
  double kvMiB = 0;     ///< memory for K/V rows; 0: half of the machine's
  std::string prompt;
  std::string tokenizer;
  std::vector<int32_t> tokens;
  bool chat = false, json = false, stats = false, showLoops = false, ignoreStop = false;
  std::string system;
  std::optional<int> loops;
  std::vector<std::string> knobs; ///< --exit NAME=VALUE or VALUE
  std::string exitMode;
  int minLoops = 0;
  int count = 128;
  float temperature = 0, topP = 1, minP = 0, repeatPenalty = 1;
  int topK = 0;
  uint64_t seed = 0;
};
struct EvalOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights;
  std::string data, svg, loops, exitTap = "p";
  int sequence = 256;
  int64_t windows = 0; ///< 0: all
  bool json = false;
};
struct BenchOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights;
  std::string what = "decode";
  int batch = 1, context = 128, steps = 0;
  std::optional<int> loops, window;
  std::string profile; ///< `bench --profile`: a page to write, or `on` for the table alone
  bool json = false;
};
struct ConformOptions {
  SpecOptions spec;
  TargetOptions target;
  std::string directory, words;
  std::vector<std::string> cases, kinds;
  bool json = false, allowUnsupported = false;
};
struct VerifyOptions {
  SpecOptions spec;
  TargetOptions target;
  WeightOptions weights; ///< none: random ones
  uint64_t seed = 1;     ///< of requests, draws and random weights
  uint32_t requests = 5;
  std::optional<double> tolerance; ///< of compiled code against the interpreter, as a fraction of the largest logit
  bool json = false;
};
struct ImportOptions {
  std::string directory;
  std::string models; ///< directory of specs; empty: the installed one
  bool json = false;
};

struct InitOptions {
  SpecOptions spec;
  std::string from, as, out;
};

struct TrainOptions {
  SpecOptions spec;
  TargetOptions target;
  std::vector<std::string> data, valid;
  std::string tokenizer, out, from, section;
  int64_t steps = 0, sequence = 256, batch = 8, accumulate = 1, checkpointEvery = 100, keep = 2;
  std::optional<int> loops, window;
  std::vector<int> validLoops; ///< none: as trained
  int64_t validWindows = 16;
  uint64_t seed = 1;
};

int runCheck(const CheckOptions &options);
int runFormat(const FormatOptions &options);
int runCompile(const CompileCommandOptions &options);
int runExplain(const ExplainOptions &options);
int runRun(const RunOptions &options);
int runEval(const EvalOptions &options);
int runBench(const BenchOptions &options);
int runConform(const ConformOptions &options);
int runVerify(const VerifyOptions &options);
int runImport(const ImportOptions &options);
int runInit(const InitOptions &options);
int runTrain(const TrainOptions &options);

/// Parses the command line and runs the command it names. Returns the exit status.
int runCommandLine(int argc, const char *const *argv);

} // namespace loopc::driver
