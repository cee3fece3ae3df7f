// The way of a LANES model through TASK and LLVM to an artefact.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Compile.h"
#include "loopc/CodeGen/Object.h"
#include "loopc/CodeGen/Passes.h"
#include "loopc/Dialect/Task/Task.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/Passes.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Target/TargetMachine.h"
#include <chrono>

using namespace mlir;
using namespace loopc::codegen;

void loopc::codegen::registerCodeGenDialects(DialectRegistry &registry) {
  registry.insert<loop::LoopDialect, task::TaskDialect, arith::ArithDialect, math::MathDialect, tensor::TensorDialect, scf::SCFDialect,
                  cf::ControlFlowDialect, func::FuncDialect, vector::VectorDialect, LLVM::LLVMDialect>();
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

namespace {

class Stopwatch {
public:
  explicit Stopwatch(double &seconds) : seconds(seconds), begin(std::chrono::steady_clock::now()) {}
  ~Stopwatch() { seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }

private:
  double &seconds;
  std::chrono::steady_clock::time_point begin;
};

/// One compilation, form by form.
class Compilation {
public:
  Compilation(ModuleOp module, const CompileOptions &options, CompileStats &stats, std::string &error)
      : module(module), options(options), stats(stats), error(error) {}

  LogicalResult prepare() {
    machine = createTargetMachine(options.cpu, stats.target, error);
    if (!machine)
      return failure();
    if (options.vectorBits)
      stats.target.vectorBits = options.vectorBits;
    if (options.vectorBits == 512)
      stats.target.registers = 32;
    if (!options.bf16Order.empty())
      stats.target.amx32 = options.bf16Order == "amx32";
    auto models = module.getOps<loop::ModelOp>();
    if (models.empty()) {
      error = "expected a module with a loop.model, but got none";
      return failure();
    }
    model = *models.begin();
    return success();
  }

  LogicalResult toTask() {
    Stopwatch timer(stats.formSeconds);
    PassManager passes(module.getContext());
    passes.addPass(createFormPhasesPass(options.step));
    if (options.fuse)
      passes.addPass(createFusePass());
    passes.addPass(createPlanMemoryPass());
    passes.addPass(createPlaceSyncsPass());
    passes.addPass(createTaskCheckPass());
    LogicalResult done = passes.run(module);
    stats.remarks = loopc::readRemarks(model);
    return done;
  }

  LogicalResult toLlvmDialect() {
    Stopwatch timer(stats.lowerSeconds);
    FailureOr<ModelLayout> layout = ModelLayout();
    if (options.step.empty())
      layout = ModelLayout::get(model);
    else
      layout = ModelLayout::getStep(model, cast<loop::ForwardOp>(SymbolTable::lookupSymbolIn(model, options.step)));
    if (failed(layout))
      return failure();
    PassManager lower(module.getContext());
    std::vector<std::string> features = stats.target.features;
    if (options.softenTiles)
      features.insert(features.end(), {"amx-tile", "amx-bf16"});
    // The counter of cycles is a constant clock on x86; ARM keeps its own from programs but has a clock beside it.
    bool arm = machine->getTargetTriple().isAArch64();
    lower.addPass(createTaskToCpuPass(CpuOptions{stats.target.vectorBits,
                                                 !options.profile ? "" : arm ? "llvm.readsteadycounter" : "llvm.readcyclecounter",
                                                 stats.target.registers, std::move(features), stats.target.amx32}));
    if (failed(lower.run(module)))
      return failure();
    SmallVector<StageMemory> memory;
    for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
      StringRef name = function.getSymName();
      if (!name.consume_front("loopc_stage_"))
        continue;
      auto number = [&](StringRef key) {
        auto attr = function->getAttrOfType<IntegerAttr>(key);
        return attr ? attr.getInt() : 0;
      };
      memory.push_back({name.str(), number("loopc.arena_row_bytes"), number("loopc.scratch_bytes"), number("loopc.scratch_row_bytes"),
                        number("loopc.syncs"), number("loopc.timed_phases"),
                        number("loopc.arena_bytes")});
      stages.push_back(name.str());
    }
    stats.metadata = buildMetadata(model, *layout, stats.target, memory, {options.hash, options.context});
    model.erase();
    PassManager passes(module.getContext());
    passes.addPass(createCanonicalizerPass());
    passes.addPass(createCSEPass());
    passes.addPass(createLowerMathPass());
    passes.addPass(createSCFToControlFlowPass());
    passes.addPass(createConvertVectorToLLVMPass());
    passes.addPass(createArithToLLVMConversionPass());
    passes.addPass(createConvertMathToLLVMPass());
    passes.addPass(createConvertControlFlowToLLVMPass());
    passes.addPass(createReconcileUnrealizedCastsPass());
    return passes.run(module);
  }

  LogicalResult toLlvm() {
    {
      Stopwatch timer(stats.lowerSeconds);
      llvmModule = translateModuleToLLVMIR(module, context);
    }
    if (!llvmModule) {
      error = "the program could not be translated to LLVM IR";
      return failure();
    }
    if (options.softenTiles)
      options.softenTiles(*llvmModule);
    addDescriptor(*llvmModule, stats.metadata, stages);
    Stopwatch timer(stats.optimizeSeconds);
    optimizeModule(*llvmModule, *machine);
    if (!options.sanitize.empty())
      reportAccesses(*llvmModule, options.sanitize);
    return success();
  }

  LogicalResult emit(bool assembly, SmallVectorImpl<char> &code) {
    Stopwatch timer(stats.emitSeconds);
    if (!emitCode(*llvmModule, *machine, assembly, code, error))
      return failure();
    stats.codeBytes = code.size() - std::min(code.size(), stats.metadata.size());
    return success();
  }

  ModuleOp module;
  const CompileOptions &options;
  CompileStats &stats;
  std::string &error;
  loop::ModelOp model;
  std::unique_ptr<llvm::TargetMachine> machine;
  SmallVector<std::string> stages;
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvmModule;
};

} // namespace

LogicalResult loopc::codegen::formTask(ModuleOp module, const CompileOptions &options, std::string &error) {
  CompileStats stats;
  Compilation compilation(module, options, stats, error);
  return success(succeeded(compilation.prepare()) && succeeded(compilation.toTask()));
}

LogicalResult loopc::codegen::compileToArtifact(ModuleOp module, const CompileOptions &options, StringRef path, CompileStats &stats,
                                                std::string &error) {
  Compilation compilation(module, options, stats, error);
  SmallVector<char, 0> object;
  if (failed(compilation.prepare()) || failed(compilation.toTask()) || failed(compilation.toLlvmDialect()) || failed(compilation.toLlvm()) ||
      failed(compilation.emit(false, object)))
    return failure();
  Stopwatch timer(stats.linkSeconds);
  return success(linkArtifact(object, path, error));
}

LogicalResult loopc::codegen::compileToForm(ModuleOp module, const CompileOptions &options, CodeForm form, std::string &text,
                                            CompileStats &stats, std::string &error) {
  Compilation compilation(module, options, stats, error);
  if (failed(compilation.prepare()) || failed(compilation.toTask()))
    return failure();
  llvm::raw_string_ostream stream(text);
  if (form == CodeForm::Task) {
    compilation.model.erase();
    module.print(stream);
    return success();
  }
  if (failed(compilation.toLlvmDialect()) || failed(compilation.toLlvm()))
    return failure();
  if (form == CodeForm::Llvm) {
    compilation.llvmModule->print(stream, nullptr);
    return success();
  }
  SmallVector<char, 0> code;
  if (failed(compilation.emit(form == CodeForm::Assembly, code)))
    return failure();
  stream.write(code.data(), code.size());
  return success();
}
