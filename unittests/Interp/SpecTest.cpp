// The models of models/ at small sizes: the code the compiler makes of a page, run as SOURCE and as LANES.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Schedules.h"

#include "loopc/Frontend/Diagnostics.h"
#include "loopc/Frontend/Sema.h"
#include "loopc/MLIRGen/MLIRGen.h"
#include <algorithm>
#include <gtest/gtest.h>

using namespace loopc;

namespace {

using Sets = std::vector<std::pair<std::string, std::string>>;

/// The SOURCE form of models/NAME.loop as text.
std::string sourceText(const std::string &name, const Sets &sets) {
  SourceText page(name + ".loop", projectFile("models/" + name + ".loop"));
  DiagnosticEngine diagnostics(page);
  frontend::ConfigInput input;
  input.sets = sets;
  std::optional<frontend::Program> program = frontend::check(page, input, diagnostics);
  if (!program)
    throw std::runtime_error(renderText(diagnostics, false));
  Loaded empty("loop.model @empty phase(source) {\n}");
  mlir::OwningOpRef<mlir::ModuleOp> module = generateSource(*empty.context, *program);
  if (!module)
    throw std::runtime_error(name + " has no SOURCE form");
  std::string text;
  llvm::raw_string_ostream out(text);
  module->print(out);
  return text;
}

void compareSpec(const std::string &name, const Sets &sets, bool everyIteration, bool leaving = false,
                 PlanOptions plan = {}) {
  plan.leavingExit = leaving;
  if (leaving)
    plan.holes = "last_exited";
  Twins twins(sourceText(name, sets), plan);
  std::mt19937 random(11);
  std::vector<Request> requests(3);
  for (Request &request : requests) {
    request.tokens = randomTokens(random, 4 + random() % 8, int32_t(twins.executor->info().vocab));
    if (const auto &count = twins.executor->info().count)
      request.options.loops = std::clamp(1 + int32_t(random() % 4), int32_t(count->min), int32_t(count->max));
    if (twins.executor->info().contract.group == "prompt")
      request.options.prefix = uint32_t(1 + random() % request.tokens.size());
    if (leaving) {
      request.options.exit = rt::ExitMode::Leave;
      request.options.knobs["threshold"] = 0.7f;
    }
  }
  compare(twins, requests, 6, everyIteration);
}

const Sets llama = {{"vocab", "19"}, {"d", "24"}, {"layers", "4"}, {"heads", "3"}, {"kv", "1"}, {"ff", "20"}};

TEST(Specs, SmolLM2) { compareSpec("smollm2", llama, false); }

TEST(Specs, SmolLM2Looped) {
  Sets sets = llama;
  sets.insert(sets.end(), {{"prelude", "1"}, {"core", "2"}});
  compareSpec("smollm2_looped", sets, true);
}

TEST(Specs, Ouro) {
  Sets sets = {{"vocab", "19"}, {"d", "24"}, {"layers", "2"}, {"heads", "3"}, {"ff", "20"}};
  compareSpec("ouro", sets, true);
  compareSpec("ouro", sets, false, true);
}

TEST(Specs, Parcae) {
  for (const char *inject : {"diagonal", "linear", "add"})
    compareSpec("parcae",
                {{"vocab", "19"}, {"pad", "8"}, {"d", "36"}, {"heads", "3"}, {"ff", "20"}, {"inject", inject}}, true);
}

// Loops inside a loop, prefix masks; solvers with reductions over the sequence; masks over the whole sequence.
TEST(Specs, HrmText) {
  compareSpec("hrm_text", {{"vocab", "19"}, {"d", "16"}, {"heads", "2"}, {"total", "2"}, {"wide", "1"}, {"L", "2"}}, true);
}

TEST(Specs, Attractor) {
  Sets sets = {{"vocab", "19"}, {"multiple", "1"}, {"d", "16"}, {"heads", "2"}, {"ff", "20"}, {"backbone", "1"}, {"blocks", "1"}, {"history", "2"}};
  compareSpec("attractor", sets, false);
  sets.insert(sets.end(), {{"solver", "picard"}, {"ordered", "false"}});
  compareSpec("attractor", sets, true);
}

TEST(Specs, Trm) {
  Sets sets = {{"vocab", "19"}, {"d", "16"}, {"heads", "2"}, {"cells", "12"}, {"layers", "1"}, {"H", "2"}, {"L", "2"}, {"wide", "1"}, {"pdim", "0"}, {"given", "0"}};
  compareSpec("trm", sets, true);
  sets.push_back({"mixing", "true"});
  compareSpec("trm", sets, false);
}

// Rows of the first iteration, of all so far, of the token before; tokens that a branch leaves out; lists beside the rows.
const Sets reader = {{"vocab", "19"}, {"d", "16"}, {"heads", "2"}, {"kv", "1"}, {"hd", "8"}, {"ff", "20"}};

TEST(Specs, Plt) {
  Sets sets = reader;
  sets.insert(sets.end(), {{"layers", "2"}, {"near", "2"}, {"shifted", "true"}});
  compareSpec("plt", sets, true);
}

TEST(Specs, Tah) {
  Sets sets = reader;
  sets.insert(sets.end(), {{"layers", "2"}, {"low", "2"}, {"soft", "2"}, {"top", "3"}, {"looks", "[0, 1, 2]"}, {"dims", "[4, 6, 4]"}});
  compareSpec("tah", sets, true);
}

TEST(Specs, Mor) {
  for (const char *keys : {"recursion_wise", "first_shared"})
    for (const char *choice : {"threshold", "rank"}) {
      Sets sets = reader;
      sets.insert(sets.end(), {{"shared", "2"}, {"keys", keys}, {"choice", choice}});
      compareSpec("mor", sets, false);
    }
}

TEST(Specs, Moda) { compareSpec("moda", {{"vocab", "19"}}, false); }

TEST(Specs, Isodepth) {
  for (const char *inject : {"prelude_state", "additive", "passthrough", "hyperconnect"})
    compareSpec("isodepth",
                {{"vocab", "19"}, {"d", "24"}, {"heads", "3"}, {"prelude", "1"}, {"core", "2"}, {"coda", "1"}, {"inject", inject}},
                false);
}

/// Every map, token after token, so that cuts of a prompt do not show.
TEST(Specs, MapsOfPlanes) {
  struct Map {
    const char *name;
    int64_t size, period;
    const char *unit, *keep;
  };
  for (Map map : {Map{"ring", 2, 0, "", ""}, Map{"ring", 3, 0, "layer_step", ""}, Map{"stride", 3, 0, "layer_step", ""},
                  Map{"anchor", 1, 2, "", ""}, Map{"anchor", 3, 2, "layer_step", ""}, Map{"last", 2, 0, "", ""},
                  Map{"last", 3, 0, "layer_step", ""}, Map{"boundaries", 0, 0, "", ""}, Map{"single", 0, 0, "", "first"},
                  Map{"single", 0, 0, "", "mean"}}) {
    PlanOptions plan;
    plan.policy = map.name;
    plan.policySizes[0] = map.size;
    plan.policySizes[1] = map.period;
    plan.policyUnit = map.unit;
    plan.policyKeep = map.keep;
    plan.order = "token";
    SCOPED_TRACE(std::string(map.name) + " " + map.unit + " " + map.keep);
    compareSpec("parcae", {{"vocab", "19"}, {"pad", "8"}, {"d", "36"}, {"heads", "3"}, {"ff", "20"}}, false, false, plan);
  }
}

} // namespace
