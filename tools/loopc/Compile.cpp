// The compiler behind one door: passes, code generation and interpreter over one MLIR module.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Compile.h"
#include "loopc/CodeGen/Compile.h"
#include "loopc/CodeGen/Metadata.h"
#include "loopc/CodeGen/Object.h"
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/MLIRGen/MLIRGen.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include <set>

using namespace mlir;

namespace loopc::driver {
namespace {

/// "FILE:LINE:COLUMN: ", or nothing for a place that has none.
std::string placeOf(Location location) {
  if (auto place = location->findInstanceOf<FileLineColLoc>())
    return (place.getFilename().strref() + ":" + Twine(place.getLine()) + ":" + Twine(place.getColumn()) + ": ").str();
  return "";
}

class ModuleCompilation : public Compilation {
public:
  explicit ModuleCompilation(const CompileRequest &request)
      : request(request), registry(makeRegistry()), context(registry, MLIRContext::Threading::DISABLED),
        handler(&context, [this](Diagnostic &diagnostic) { return collect(diagnostic); }) {
    context.loadAllAvailableDialects();
    context.printOpOnDiagnostic(false); // a user reads messages, not the operation they are about
  }

  bool start(std::string &error) {
    module = generateSource(context, *request.program, request.checkpoint, request.training);
    if (!module)
      return failed(error, "expected a model that SOURCE can say, but got none");
    findModel().walk([&](loop::WeightOp weight) { noteFormat(weight); });
    return true;
  }

  bool lower(Form wanted, std::string &error) override {
    while (form < wanted) {
      if (form >= Form::Lanes)
        return lowerCode(wanted, error);
      PassManager passes(&context);
      PlanOptions options = planOptions();
      if (form == Form::Source)
        buildPlanPipeline(passes, options);
      else
        buildLanesPipeline(passes, options);
      bool done = succeeded(passes.run(*module));
      if (auto model = findModel())
        keepRemarks(readRemarks(model));
      if (!done)
        return failed(error, "expected a model that can be compiled, but a pass failed");
      form = Form(int(form) + 1);
    }
    return true;
  }

  bool emit(std::string &text, std::string &error) override {
    if (form > Form::Lanes) {
      text = code;
      return true;
    }
    llvm::raw_string_ostream stream(text);
    OpPrintingFlags flags;
    module->print(stream, flags);
    return true;
  }

  std::vector<CompileRemark> remarks() override { return kept; }

  bool costs(codegen::PhaseTable &table, std::string &error) override {
    if (request.step.empty() ? !lower(Form::Lanes, error) : !reverse(error))
      return false;
    OwningOpRef<ModuleOp> copy = module->clone();
    std::string message;
    if (mlir::failed(codegen::formTask(*copy, codeOptions(), message)))
      return failed(error, message);
    table = codegen::phaseCosts(*copy);
    keepRemarks(readRemarks(*copy->getOps<loop::ModelOp>().begin()));
    return true;
  }

  bool metadata(std::string &json, std::string &error) override {
    FailureOr<codegen::ModelLayout> layout = codegen::ModelLayout::get(findModel());
    if (mlir::failed(layout))
      return failed(error, "expected a model that can be laid out, but got another");
    codegen::TargetDescription target;
    target.triple = "interpreter";
    json = codegen::buildMetadata(findModel(), *layout, target, {}, {request.hash, request.context});
    return true;
  }

  std::unique_ptr<interp::StageInterp> interpreter(interp::ParamProvider &params, const interp::StageLayout &layout,
                                                   std::string &error) override {
    return interp::StageInterp::create(findModel(), params, layout, error);
  }

  bool trainStep(const std::string &name, interp::ParamProvider &params, std::vector<interp::SourceChunk> sequences,
                 const std::vector<interp::SequenceConfig> &configs, double &loss, interp::Gradients &gradients,
                 std::string &error) override {
    if (!reverse(error))
      return false;
    auto machine = interp::SourceInterp::create(findModel(), params, interp::Precision::F64, nullptr, error, name);
    if (!machine)
      return false;
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].sequence = uint32_t(i);
      if (!machine->open(uint32_t(i), configs[i], error))
        return false;
    }
    std::vector<interp::SourceResult> results;
    interp::SourceFeed options;
    options.taps = false;
    if (!machine->feed(sequences, options, results, error))
      return false;
    double sum = 0;
    size_t tokens = 0;
    for (const interp::SourceResult &result : results)
      for (double one : result.logits)
        sum += one, ++tokens;
    loss = sum / double(tokens);
    gradients = machine->gradients();
    return true;
  }

  bool writeArtifact(const std::string &path, CompileTimes &times, std::string &error) override {
    if (request.step.empty() ? !lower(Form::Lanes, error) : !reverse(error))
      return false;
    codegen::CompileStats stats;
    std::string message;
    if (mlir::failed(codegen::compileToArtifact(*module, codeOptions(), path, stats, message)))
      return failed(error, message);
    keepRemarks(stats.remarks);
    times = {stats.formSeconds, stats.lowerSeconds, stats.optimizeSeconds,
             stats.emitSeconds, stats.linkSeconds,  stats.codeBytes};
    return true;
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    codegen::registerCodeGenDialects(registry);
    return registry;
  }

  LogicalResult collect(Diagnostic &diagnostic) {
    std::string text = placeOf(diagnostic.getLocation()) + diagnostic.str();
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error && messages.empty()) {
      messages = text;
      for (Diagnostic &note : diagnostic.getNotes())
        messages += "; " + note.str();
    }
    return success();
  }

  /// Sets `error` to the first diagnostic, or to `otherwise`.
  bool failed(std::string &error, const std::string &otherwise) {
    error = messages.empty() ? otherwise : messages;
    messages.clear();
    return false;
  }

  /// The format that all tables of a matrix have in the file, or one that holds all of theirs.
  void noteFormat(loop::WeightOp weight) {
    if (weight.getTie() || cast<RankedTensorType>(weight.getType()).getRank() != 2)
      return;
    StringRef name = weight.getSource() ? *weight.getSource() : weight.getSymName();
    size_t holes = name.count("{}");
    ArrayRef<int64_t> indices = weight.getIndices().value_or(ArrayRef<int64_t>());
    std::set<std::string> formats;
    for (size_t table = 0; holes && table < indices.size() / holes; ++table) {
      std::string filled = name.str();
      for (int64_t index : indices.slice(table * holes, holes))
        filled.replace(filled.find("{}"), 2, std::to_string(index));
      if (indices[table * holes] >= 0)
        formats.insert(storedAs(filled));
    }
    if (!holes)
      formats.insert(storedAs(name.str()));
    bool mix = llvm::all_of(formats, [](const std::string &one) { return one == "q4_k" || one == "q5_k" || one == "q6_k"; });
    if (formats.size() == 1 && !formats.begin()->empty())
      weight.setFormat(*formats.begin());
    else if (mix && !formats.empty())
      weight.setFormat("k_mix");
  }
  std::string storedAs(const std::string &tensor) const {
    auto found = request.stored.find(tensor);
    return found == request.stored.end() ? "" : found->second;
  }

  bool reverse(std::string &error) {
    if (reversed)
      return true;
    PassManager passes(&context);
    passes.addNestedPass<loop::ModelOp>(createLoopReverse());
    reversed = succeeded(passes.run(*module));
    return reversed || failed(error, "expected a loss with a reverse, but a pass failed");
  }

  loop::ModelOp findModel() {
    auto models = module->getOps<loop::ModelOp>();
    return models.empty() ? loop::ModelOp() : *models.begin();
  }

  void keepRemarks(const std::vector<Remark> &remarks) {
    kept.clear();
    for (const Remark &remark : remarks)
      kept.push_back({remark.name, remark.pass, remarkKindName(remark.kind).str(), remark.text});
  }

  PlanOptions planOptions() const {
    PlanOptions options;
    options.loops = request.loops;
    options.maxMsPerToken = request.maxMsPerToken;
    options.policy = request.kv.map;
    std::copy(std::begin(request.kv.sizes), std::end(request.kv.sizes), options.policySizes);
    options.policyUnit = request.kv.unit;
    options.policyKeep = request.kv.keep;
    options.policyCodaOverwrites = request.kv.codaOverwrites;
    options.holes = request.kv.holes;
    options.order = request.kv.order;
    options.leavingExit = request.leaving;
    options.dtype = request.dtype;
    options.kvDtype = request.kvDtype;
    options.observe = request.observe;
    return options;
  }

  codegen::CompileOptions codeOptions() const {
    codegen::CompileOptions options;
    options.cpu = request.cpu == "native" ? "" : request.cpu;
    options.bf16Order = request.bf16Order;
    options.hash = request.hash;
    options.context = request.context;
    options.profile = request.profile;
    options.sanitize = request.sanitize;
    options.step = request.step;
    return options;
  }

  bool lowerCode(Form wanted, std::string &error) {
    codegen::CodeForm codeForm = wanted == Form::Task   ? codegen::CodeForm::Task
                                 : wanted == Form::Llvm ? codegen::CodeForm::Llvm
                                 : wanted == Form::Asm  ? codegen::CodeForm::Assembly
                                                        : codegen::CodeForm::Object;
    codegen::CompileStats stats;
    std::string message;
    if (mlir::failed(codegen::compileToForm(*module, codeOptions(), codeForm, code, stats, message)))
      return failed(error, message);
    keepRemarks(stats.remarks);
    form = wanted;
    return true;
  }

  CompileRequest request;
  DialectRegistry registry;
  MLIRContext context;
  ScopedDiagnosticHandler handler;
  OwningOpRef<ModuleOp> module;
  bool reversed = false; ///< training programs have their gradients
  Form form = Form::Source;
  std::string messages, code;
  std::vector<CompileRemark> kept;
};

} // namespace

std::unique_ptr<Compilation> Compilation::create(const CompileRequest &request, std::string &error) {
  auto compilation = std::make_unique<ModuleCompilation>(request);
  if (!compilation->start(error))
    return nullptr;
  return compilation;
}

std::string targetText(const std::string &cpu) {
  codegen::TargetDescription target;
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine =
      codegen::createTargetMachine(cpu == "native" ? "" : cpu, target, error);
  std::string text = target.triple + " " + target.cpu;
  for (const std::string &feature : target.features)
    text += " " + feature;
  return machine ? text : cpu;
}

} // namespace loopc::driver
