// The command line: names, help and limits of every option.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "Support.h"
#include "loopc/runtime/Error.h"
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>

namespace loopc::driver {
namespace {

void addSpec(CLI::App &app, SpecOptions &options, bool required = true) {
  CLI::Option *spec = app.add_option("spec", options.spec, "The model, a .loop file")->type_name("SPEC");
  if (required)
    spec->required();
  app.add_option("--set", options.set, "Set an entry of `config` or the default of an option")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->take_all();
  app.add_option("--accident", options.accidents, "Switch on a published quirk that the spec declares")
      ->type_name("NAME")
      ->expected(1)
      ->take_all();
  app.add_option("--test", options.exitTest, "Turn on a named exit of the spec")->type_name("NAME");
  app.add_option("--config", options.config, "A published config.json, or a directory that has one")->type_name("PATH");
}

void addCompile(CLI::App &app, TargetOptions &options) {
  std::vector<std::string> formats{"stored"};
#define LOOPC_WEIGHT_FORMAT(name, dtype, k, bytes) formats.push_back(#name);
#include "loopc/runtime/WeightFormats.def"
  app.add_option("--dtype", options.dtype,
                 "Type of matrices; `stored`: as in the file, computed in f32; blocks (q8_0, ...) for random weights")
      ->check(CLI::IsMember(formats))
      ->capture_default_str();
  app.add_option("--kv-dtype", options.kvDtype, "Type of kept keys and values (default: as --dtype)")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  app.add_option("--cpu", options.cpu, "CPU to generate code for, `native` for this one")->capture_default_str();
  app.add_option("--bf16-order", options.bf16Order,
                 "Order of sums in bf16 linears: `amx32` gives the bits of CPUs with tiles (default: what the CPU is fast in)")
      ->check(CLI::IsMember({"chain", "amx32"}));
  app.add_option("--kv", options.kv, "How planes are kept: \"map, holes rule, order o\"")->type_name("CLAUSE");
  app.add_option("--max-ms-per-token", options.maxMsPerToken,
                 "Choose the default loop count by a budget of decode time")
      ->check(CLI::PositiveNumber);
}

void addRunning(CLI::App &app, TargetOptions &options) {
  addCompile(app, options);
  app.add_option("--target", options.target, "Who runs the model")
      ->check(CLI::IsMember({"cpu", "interp"}))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Worker threads (default: one for each CPU)")
      ->check(CLI::Range(1, 1024));
  app.add_flag("--no-cache", options.noCache, "Compile anew, and leave nothing behind");
}

void addWeights(CLI::App &app, WeightOptions &options) {
  CLI::Option *weights =
      app.add_option("--weights", options.weights, "A directory, a .safetensors or a .gguf file")->type_name("PATH");
  app.add_option("--random-weights", options.randomSeed, "Seeded random weights instead of a file")
      ->type_name("SEED")
      ->excludes(weights);
}

void addLoops(CLI::App &app, std::optional<int> &loops) {
  app.add_option("--loops", loops, "Iterations of the model's loop (default: the spec's)")->type_name("N");
}

struct Program {
  CLI::App app{"loopc: a compiler for looped language models", "loopc"};
  std::function<int()> command;
  CheckOptions check;
  FormatOptions format;
  CompileCommandOptions compile;
  ExplainOptions explain;
  RunOptions run;
  EvalOptions eval;
  BenchOptions bench;
  ConformOptions conform;
  VerifyOptions verify;
  ImportOptions import;
  InitOptions init;
  TrainOptions train;

  CLI::App &add(const char *name, const char *help, std::function<int()> body) {
    CLI::App *sub = app.add_subcommand(name, help);
    sub->callback([this, body] { command = body; });
    return *sub;
  }

  Program() {
    app.require_subcommand(1);
    app.set_version_flag("--version", versionText());
    app.get_formatter()->column_width(34);
    addCheckFormat();
    addCompileExplain();
    addRun();
    addMeasures();
    addTrain();
  }

  void addCheckFormat() {
    CLI::App &c = add("check", "Read a spec and report every mistake in it", [this] { return runCheck(check); });
    addSpec(c, check.spec);
    c.add_option("--shapes", check.shapes, "Compare the weights' names and shapes with a published list")
        ->type_name("FILE");
    c.add_option("--diagnostics", check.diagnostics, "Form of the messages")
        ->check(CLI::IsMember({"text", "json"}))
        ->capture_default_str();
    CLI::App &f = add("fmt", "Bring specs into the canonical layout", [this] { return runFormat(format); });
    f.add_option("files", format.files, "Specs")->required()->type_name("FILES");
    f.add_flag("--check", format.check, "Change nothing; fail if a file would change");
  }

  void addTrain() {
    CLI::App &t = add("train", "Train a model as its section `train` says; the same command with the same --out goes on", [this] { return runTrain(train); });
    addSpec(t, train.spec);
    t.add_option("--data", train.data, "Texts, JSON lines with `text`, or .bin files of token ids (u16, above 65,536 ids u32)")->required()->type_name("PATH");
    t.add_option("--tokenizer", train.tokenizer, "A tokenizer.json, its directory, or `bytes`: ids are the bytes of the text")->type_name("PATH");
    t.add_option("--out", train.out, "Directory of the run: metrics.jsonl and checkpoints")->required()->type_name("DIR");
    t.add_option("--steps", train.steps, "Updates of the weights in all")->required()->check(CLI::PositiveNumber);
    t.add_option("--batch", train.batch, "Sequences computed at a time")->check(CLI::Range(1, 65536))->capture_default_str();
    t.add_option("--accumulate", train.accumulate, "Batches of one update")->check(CLI::Range(1, 65536))->capture_default_str();
    t.add_option("--seq", train.sequence, "Tokens of a sequence")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    t.add_option("--from", train.from, "Weights to begin with (default: random ones)")->type_name("PATH");
    t.add_option("--seed", train.seed, "Key of the first weights, of the order of the data and of draws")->capture_default_str();
    t.add_option("--section", train.section, "The section `train NAME` (default: the first)")->type_name("NAME");
    addLoops(t, train.loops);
    t.add_option("--window", train.window, "The last iterations that a gradient passes (default: all)")->check(CLI::PositiveNumber)->type_name("K");
    t.add_option("--checkpoint-every", train.checkpointEvery, "Updates between checkpoints")->check(CLI::PositiveNumber)->capture_default_str();
    t.add_option("--keep", train.keep, "Checkpoints that stay")->check(CLI::Range(1, 1000))->capture_default_str();
    t.add_option("--valid", train.valid, "Data of which the loss is measured at every checkpoint")->type_name("PATH");
    t.add_option("--valid-loops", train.validLoops, "Loop counts of that loss")->delimiter(',')->type_name("N,N");
    t.add_option("--valid-windows", train.validWindows, "Sequences of that data")->check(CLI::PositiveNumber)->capture_default_str();
    t.add_option("--threads", train.target.threads, "Worker threads (default: one for each CPU)")->check(CLI::Range(1, 1024));
    t.add_flag("--no-cache", train.target.noCache, "Compile anew, and leave nothing behind");
  }

  void addCompileExplain() {
    CLI::App &c =
        add("compile", "Compile a spec to one file, or print one of its forms", [this] { return runCompile(compile); });
    addSpec(c, compile.spec);
    c.add_option("-o,--output", compile.output, "File to write (default for a text: stdout)")->type_name("OUT");
    c.add_option("--weights", compile.weights.weights, "Where config.json or GGUF metadata is read from")
        ->type_name("PATH");
    addCompile(c, compile.target);
    c.add_option("--emit", compile.emit, "What to write")
        ->check(CLI::IsMember({"program", "source", "planned", "lanes", "task", "llvm", "asm", "obj", "artifact"}))
        ->capture_default_str();
    c.add_option("--observe", compile.observe, "Keep a named value for inspection (`*`: all)")
        ->type_name("NAME")
        ->expected(1)
        ->take_all();
    c.add_option("--sanitize", compile.sanitize, "Report every access to the sanitizer of the program that loads the artefact")
        ->check(CLI::IsMember({"address", "thread"}));
    c.add_flag("--remarks", compile.remarks, "Print every decision on stderr");
    c.add_flag("--json", compile.json, "Print seconds and bytes of an artefact as JSON");
    CLI::App &e =
        add("explain", "Say what a model costs and what the compiler decided", [this] { return runExplain(explain); });
    addSpec(e, explain.spec);
    e.add_option("--weights", explain.weights.weights, "Where config.json or GGUF metadata is read from")
        ->type_name("PATH");
    addCompile(e, explain.target);
    addLoops(e, explain.loops);
    e.add_option("--context", explain.context, "Positions for which K/V sizes are given")->capture_default_str();
    e.add_option("--bandwidth", explain.bandwidth, "Bytes a second that the machine reads (default: measured here)")
        ->check(CLI::PositiveNumber);
    e.add_option("--peak", explain.peak, "FLOPs a second that the machine can do (default: measured here)")
        ->check(CLI::PositiveNumber);
    e.add_flag("--json", explain.json, "Print JSON");
  }

  void addRun() {
    CLI::App &c = add("run", "Generate text", [this] { return runRun(run); });
    addSpec(c, run.spec, false);
    addWeights(c, run.weights);
    addRunning(c, run.target);
    addLoops(c, run.loops);
    c.add_option("--artifact", run.artifact, "Run a file of `loopc compile` instead of a spec")->type_name("FILE");
    c.add_option("-p,--prompt", run.prompt, "Text to continue (`-`: read stdin)")->type_name("TEXT");
    c.add_option("--tokens", run.tokens, "Token ids to continue")->delimiter(',')->type_name("IDS");
    c.add_option("--batch", run.batch, "Requests to run together, one JSON object a line; results likewise, in their order")
        ->type_name("FILE");
    c.add_option("--slots", run.slots, "Requests of --batch that run at a time")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    c.add_option("--kv-memory", run.kvMiB, "MiB for keys and values (default: half of the machine's memory)")
        ->check(CLI::Range(1e-3, 1e9));
    c.add_option("--tokenizer", run.tokenizer, "A tokenizer.json, its directory or a .gguf (default: the weights')")
        ->type_name("PATH");
    c.add_option("-n,--count", run.count, "Tokens to generate at most")
        ->check(CLI::Range(0, 1 << 24))
        ->capture_default_str();
    c.add_option("--exit", run.knobs, "A run-time option of the spec, as NAME=VALUE; VALUE alone: the exit threshold; off: all loops, whatever the exit says")
        ->type_name("[NAME=]VALUE|off")
        ->expected(1)
        ->take_all();
    c.add_option("--exit-mode", run.exitMode, "What an exit does: stop (leave) or only choose the readout (select)")
        ->check(CLI::IsMember({"leave", "select", "off"}));
    c.add_option("--min-loops", run.minLoops, "Iterations before an exit may act")->check(CLI::NonNegativeNumber);
    c.add_flag("--chat", run.chat, "Put the prompt into the model's chat template");
    c.add_option("--system", run.system, "System message, with --chat")->type_name("TEXT");
    c.add_option("--temperature", run.temperature, "0: the most likely token")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    c.add_option("--top-k", run.topK, "Keep the K most likely (0: all)")->check(CLI::NonNegativeNumber);
    c.add_option("--top-p", run.topP, "Keep the smallest set of that probability")->check(CLI::Range(0.0, 1.0));
    c.add_option("--min-p", run.minP, "Keep those of at least that part of the largest")->check(CLI::Range(0.0, 1.0));
    c.add_option("--repeat-penalty", run.repeatPenalty, "Penalty of tokens that occurred")->check(CLI::PositiveNumber);
    c.add_option("--seed", run.seed, "Key of all random choices")->capture_default_str();
    c.add_flag("--ignore-eos", run.ignoreStop, "Go on after a stop token");
    c.add_flag("--show-loops", run.showLoops, "Print the iterations of every token");
    c.add_flag("--stats", run.stats, "Print what the scheduler did");
    c.add_flag("--json", run.json, "Print one JSON object instead of text");
  }

  void addMeasures() {
    CLI::App &e =
        add("eval", "Loss by loop count, agreement of depths, exit distribution", [this] { return runEval(eval); });
    addSpec(e, eval.spec);
    addWeights(e, eval.weights);
    addRunning(e, eval.target);
    e.add_option("--data", eval.data, "Token ids: .safetensors, or a text for the tokenizer")
        ->required()
        ->type_name("FILE");
    e.add_option("--seq", eval.sequence, "Positions of a window")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    e.add_option("--loops", eval.loops, "Loop counts, as 1..8")->type_name("A..B");
    e.add_option("--windows", eval.windows, "Windows to use (default: all)")->check(CLI::NonNegativeNumber);
    e.add_option("--exit-tap", eval.exitTap, "The value of the loop that is the probability of an exit")
        ->capture_default_str();
    e.add_option("--svg", eval.svg, "Also write a figure")->type_name("FILE");
    e.add_flag("--json", eval.json, "Print JSON");

    CLI::App &b = add("bench", "Measure decoding, reading of prompts, or training steps", [this] { return runBench(bench); });
    addSpec(b, bench.spec);
    addWeights(b, bench.weights);
    addRunning(b, bench.target);
    addLoops(b, bench.loops);
    b.add_option("--what", bench.what, "What to measure")
        ->check(CLI::IsMember({"decode", "prefill", "train"}))
        ->capture_default_str();
    b.add_option("--window", bench.window, "Of a training step, the last iterations that a gradient passes (default: all)")
        ->check(CLI::NonNegativeNumber);
    b.add_option("--batch", bench.batch, "Sequences")->check(CLI::Range(1, 4096))->capture_default_str();
    b.add_option("--context", bench.context, "Positions before the first step; of a prompt, its length")
        ->check(CLI::Range(1, 1 << 22))
        ->capture_default_str();
    b.add_option("--steps", bench.steps, "Steps to measure (default: about two seconds)")
        ->check(CLI::NonNegativeNumber);
    b.add_flag("--profile{on}", bench.profile,
               "Time each phase and worker beside its bytes, FLOPs and roofline; --profile=FILE.html also writes a page");
    b.add_flag("--json", bench.json, "Print JSON");

    CLI::App &c = add("conform", "Compare with published vectors", [this] { return runConform(conform); });
    addSpec(c, conform.spec);
    c.add_option("directory", conform.directory, "Folder of cases")->required()->type_name("DIR");
    c.add_option("--words", conform.words, "Table that translates the cases (default: SPEC with .words)")
        ->type_name("FILE");
    c.add_option("--case", conform.cases, "Only cases of this name (`*` matches anything)")
        ->type_name("NAME")
        ->delimiter(',');
    c.add_option("--kind", conform.kinds, "Only cases of these kinds")->delimiter(',')->type_name("KINDS");
    addRunning(c, conform.target);
    c.add_flag("--allow-unsupported", conform.allowUnsupported, "Cases that cannot run do not fail the command");
    c.add_flag("--json", conform.json, "Print JSON");

    CLI::App &v = add("verify", "Compare compiled code with the interpreter, and schedules with each other, on random requests",
                      [this] { return runVerify(verify); });
    addSpec(v, verify.spec);
    addWeights(v, verify.weights);
    addCompile(v, verify.target);
    v.add_option("--threads", verify.target.threads, "Worker threads (default: one for each CPU)")->check(CLI::Range(1, 1024));
    v.add_flag("--no-cache", verify.target.noCache, "Compile anew, and leave nothing behind");
    v.add_option("--seed", verify.seed, "Key of requests, draws and random weights")->capture_default_str();
    v.add_option("--requests", verify.requests, "Requests to compare")->check(CLI::Range(1, 4096))->capture_default_str();
    v.add_option("--tolerance", verify.tolerance, "Largest difference to the interpreter, as a fraction of the largest logit (default: 0.01, bf16 and f16 0.1, more where the last bits of the weights move the model itself further)")
        ->check(CLI::NonNegativeNumber);
    v.add_flag("--json", verify.json, "Print JSON");

    CLI::App &i = add("import", "Say which spec fits a published folder, and the command that runs it",
                      [this] { return runImport(import); });
    i.add_option("directory", import.directory, "Folder with config.json, or a .gguf")->required()->type_name("DIR");
    i.add_option("--models", import.models, "Directory of specs")->type_name("DIR");
    i.add_flag("--json", import.json, "Print JSON");
    CLI::App &n = add("init", "Make the weights of a model from those of another, as its section `init \"name\"` says", [this] { return runInit(init); });
    addSpec(n, init.spec);
    n.add_option("--from", init.from, "Weights of the other model: a directory, a .safetensors or a .gguf file")->required()->type_name("PATH");
    n.add_option("--as", init.as, "The section (default: the only one)")->type_name("NAME");
    n.add_option("-o,--out", init.out, "The .safetensors file to write")->required()->type_name("FILE");
  }
};

} // namespace

int runCommandLine(int argc, const char *const *argv) {
  Program program;
  if (argc > 1 && *argv[1] != '-') {
    std::string names;
    bool known = false;
    for (const CLI::App *command : program.app.get_subcommands([](const CLI::App *) { return true; })) {
      known |= command->get_name() == argv[1];
      names += (names.empty() ? "" : ", ") + command->get_name();
    }
    if (!known) {
      printError("expected one of " + names + ", but got " + rt::quoted(argv[1]));
      return Usage;
    }
  }
  try {
    program.app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    if (error.get_exit_code() == 0)
      return program.app.exit(error);
    printError(std::string(error.what()) + " (see `loopc --help`)");
    return Usage;
  }
  return guarded(program.command);
}

} // namespace loopc::driver
