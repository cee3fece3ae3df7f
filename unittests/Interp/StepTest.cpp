// A compiled training step against the interpreter in f64: loss and gradients for odd sizes; no bit depends on workers.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Compile.h"
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Interp/SourceInterp.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/runtime/CpuExecutor.h"
#include "loopc/runtime/Random.h"
#include "loopc/runtime/TrainStep.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "Loaded.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace loopc;

namespace {

/// Two layers of attention (four heads on two) and a gated block in a loop; tied embeddings, a norm, a bias.
const char *model = R"(loop.model @m phase(source) {
  loop.count @loops default 3 range 0, 5
  loop.site @s kv heads 2 dim 5
  loop.weight @E : tensor<37x33xf32>
  loop.weight @A : tensor<33x33xf32>
  loop.weight @"Q.{}" : tensor<40x33xf32> tables [2] indices [0, 1]
  loop.weight @"O.{}" : tensor<33x20xf32> tables [2] indices [0, 1]
  loop.weight @"b.{}" : tensor<33xf32> tables [2] indices [0, 1]
  loop.weight @g : tensor<33xf32>
  loop.forward @train {
    %token = loop.token : tensor<i32>
    %label = loop.label : tensor<i32>
    %E = loop.param @E : tensor<37x33xf32>
    %g = loop.param @g : tensor<33xf32>
    %x = loop.embed %token, %E : (tensor<i32>, tensor<37x33xf32>) -> tensor<33xf32>
    %h = loop.recur @core count @loops state(%x : tensor<33xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%t: index, %s: tensor<33xf32>):
      %A = loop.param @A : tensor<33x33xf32>
      %a0 = loop.linear %s, %A : (tensor<33xf32>, tensor<33x33xf32>) -> tensor<33xf32>
      %a = arith.addf %a0, %x : tensor<33xf32>
      %b = loop.stack @layers layers 2 state(%a : tensor<33xf32>) {
      ^bb0(%l: index, %u: tensor<33xf32>):
        %Q = loop.param @"Q.{}"[%l] : tensor<40x33xf32>
        %O = loop.param @"O.{}"[%l] : tensor<33x20xf32>
        %bias = loop.param @"b.{}"[%l] : tensor<33xf32>
        %n = loop.norm rms %u, %g : tensor<33xf32> in eps(1.0e-3) : tensor<33xf32> -> tensor<33xf32>
        %qkv = loop.linear %n, %Q : (tensor<33xf32>, tensor<40x33xf32>) -> tensor<40xf32>
        %rows = loop.reshape %qkv : tensor<40xf32> -> tensor<8x5xf32>
        %q = loop.slice %rows axis 0 from 0 : tensor<8x5xf32> -> tensor<4x5xf32>
        %k = loop.slice %rows axis 0 from 4 : tensor<8x5xf32> -> tensor<2x5xf32>
        %v = loop.slice %rows axis 0 from 6 : tensor<8x5xf32> -> tensor<2x5xf32>
        %o = loop.attend %q, %k, %v at @s scale(0.8)HOW : tensor<4x5xf32>, tensor<2x5xf32>, tensor<2x5xf32> -> tensor<4x5xf32>
        %f = loop.reshape %o : tensor<4x5xf32> -> tensor<20xf32>
        %p = loop.linear %f, %O bias %bias : (tensor<20xf32>, tensor<33x20xf32>, tensor<33xf32>) -> tensor<33xf32>
        %r = loop.act silu %p : tensor<33xf32>
        %w = arith.addf %u, %r : tensor<33xf32>
        loop.yield %w : tensor<33xf32>
      } -> tensor<33xf32>
      %c = loop.norm layer %b, %g : tensor<33xf32> in eps(1.0e-3) : tensor<33xf32> -> tensor<33xf32>
      loop.yield %c : tensor<33xf32>
    } -> tensor<33xf32>
    %z = loop.linear %h, %E : (tensor<33xf32>, tensor<37x33xf32>) -> tensor<37xf32>
    %loss = loop.cross_entropy %z, %label : (tensor<37xf32>, tensor<i32>) -> tensor<f32>
    loop.return %loss : tensor<f32>
  }
})";

std::string modelWith(const std::string &how) {
  std::string text = model;
  return text.replace(text.find("HOW"), 3, how);
}

struct Text {
  explicit Text(const std::string &text) {
    mlir::DialectRegistry registry;
    codegen::registerCodeGenDialects(registry);
    context = std::make_unique<mlir::MLIRContext>(registry);
    context->loadAllAvailableDialects();
    module = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
    mlir::PassManager passes(context.get());
    passes.addNestedPass<mlir::loop::ModelOp>(createLoopReverse());
    done = module && succeeded(passes.run(*module));
  }
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  bool done = false;
};

std::shared_ptr<const rt::Artifact> compile(const std::string &text, std::string &error) {
  Text parsed(text);
  std::string path = ::testing::TempDir() + "step-" + std::to_string(::getpid()) + ".so";
  codegen::CompileOptions options;
  options.step = "train";
  codegen::CompileStats stats;
  std::string first;
  mlir::ScopedDiagnosticHandler handler(parsed.context.get(), [&](mlir::Diagnostic &diagnostic) {
    if (first.empty())
      first = diagnostic.str();
    return mlir::success();
  });
  if (!parsed.done || failed(codegen::compileToArtifact(*parsed.module, options, path, stats, error))) {
    error += first;
    return nullptr;
  }
  auto artifact = rt::Artifact::load(path);
  ::unlink(path.c_str());
  return artifact;
}

std::vector<rt::StepSequence> sequences() {
  std::vector<rt::StepSequence> result;
  uint32_t state = 7;
  auto next = [&](uint32_t below) { return int32_t(((state = state * 1664525u + 1013904223u) >> 8) % below); };
  for (size_t length : {70u, 1u, 231u}) { // more rows than a chunk has
    rt::StepSequence one;
    for (size_t i = 0; i < length; ++i) {
      one.tokens.push_back(next(37));
      one.labels.push_back(i % 7 == 3 ? -1 : next(37));
    }
    result.push_back(one);
  }
  return result;
}

interp::Gradients interpret(const std::string &text, const rt::ModelInfo &info, const std::vector<rt::StepSequence> &given, double &loss) {
  Text parsed(text);
  GivenParams params;
  for (const rt::GradientInfo &weight : info.gradients) {
    for (uint64_t table = 0; table < weight.count; ++table) {
      std::string name = rt::sourceName(weight.source, table);
      std::vector<float> values(size_t(weight.rows * weight.cols));
      rt::keyedDraw({5, rt::nameHash(name)}, rt::randomWeightLaw(name, weight.rows, weight.cols), 0, values);
      params.tensors[name] = values;
    }
  }
  std::string error;
  auto interp = interp::SourceInterp::create(*parsed.module->getOps<mlir::loop::ModelOp>().begin(), params, interp::Precision::F64, nullptr, error, "train");
  EXPECT_TRUE(interp) << error;
  std::vector<interp::SourceChunk> chunks;
  for (uint32_t s = 0; s < given.size(); ++s) {
    interp::SequenceConfig config;
    for (auto &[count, value] : given[s].counts)
      config.counts[count] = value;
    config.window = given[s].window;
    config.prefix = given[s].prefix;
    EXPECT_TRUE(interp->open(s, config, error)) << error;
    chunks.push_back({s, given[s].tokens, given[s].labels});
  }
  std::vector<interp::SourceResult> results;
  EXPECT_TRUE(interp->feed(chunks, {}, results, error)) << error;
  double sum = 0;
  size_t count = 0;
  for (const interp::SourceResult &result : results)
    for (double one : result.logits)
      sum += one, ++count;
  loss = sum / double(count);
  return interp->gradients();
}

void check(const std::string &text, const std::vector<rt::StepSequence> &given) {
  std::string error;
  auto artifact = compile(text, error);
  ASSERT_TRUE(artifact) << error;
  auto params = rt::PackedParams::random(artifact->info(), 5);
  double expected;
  interp::Gradients exact = interpret(text, artifact->info(), given, expected);
  std::map<std::string, std::vector<float>> first;
  for (uint32_t workers : {1u, 2u, 3u}) {
    rt::TeamOptions team;
    team.workers = workers;
    rt::CpuExecutor executor(artifact, params, team);
    rt::TrainStep step(executor);
    step.run(given);
    double loss = 0;
    for (float one : step.losses())
      loss += one;
    EXPECT_NEAR(loss / double(step.losses().size()), expected, 1e-5);
    std::map<std::string, std::vector<float>> got = step.gradients();
    if (workers > 1) {
      for (auto &[name, values] : first)
        EXPECT_EQ(std::memcmp(values.data(), got.at(name).data(), values.size() * sizeof(float)), 0) << name << ", workers " << workers;
      continue;
    }
    first = got;
    for (auto &[name, values] : exact) {
      ASSERT_TRUE(got.count(name)) << name;
      double most = 0, worst = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        most = std::max(most, std::fabs(values[i]));
        worst = std::max(worst, std::fabs(values[i] - double(got[name][i])));
      }
      EXPECT_LE(worst, 2e-5 * most + 1e-9) << name << ": most " << most;
    }
  }
}

TEST(Step, EqualsTheInterpreter) { check(modelWith(""), sequences()); }

TEST(Step, CountsAndWindowsOfSequences) {
  std::vector<rt::StepSequence> given = sequences();
  given[0].counts["loops"] = 5;
  given[0].window = 2;
  given[1].counts["loops"] = 0;
  given[2].window = 4;
  check(modelWith(""), given);
}

TEST(Step, WindowAndCapOfAttention) { check(modelWith(" window(66) softcap(1.5)"), sequences()); }

TEST(Step, PrefixAndWholeAttention) {
  std::vector<rt::StepSequence> given = sequences();
  given[0].prefix = 9;
  given[2].prefix = 80;
  check(modelWith(" mask(prefix)"), given);
  check(modelWith(" mask(whole)"), given);
}

TEST(Step, KeysBeforeTheOwn) { check(modelWith(" before(2)"), sequences()); }

TEST(Step, RefusesWhatItIsNotGiven) {
  std::string error;
  auto artifact = compile(modelWith(""), error);
  ASSERT_TRUE(artifact) << error;
  rt::CpuExecutor executor(artifact, rt::PackedParams::random(artifact->info(), 5), {});
  rt::TrainStep step(executor);
  std::vector<rt::StepSequence> given = sequences();
  given[0].counts["loops"] = 6;
  EXPECT_THROW(step.run(given), rt::Error);
  given[0].counts.clear();
  given[2].labels.pop_back();
  EXPECT_THROW(step.run(given), rt::Error);
}

} // namespace
