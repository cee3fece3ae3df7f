// LLVM IR to object code, and object code to a sealed shared object, in process.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Object.h"
#include "loopc/runtime/abi.h"

#include "llvm/Analysis/LoopAnalysisManager.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Process.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/xxhash.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"
#include <cstring>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace loopc::codegen;

/// Linux lends tile registers on request only; where it does not, this machine has none.
static bool tilesPermitted() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long requestPermission = 0x1023, tileData = 18; // arch_prctl(2), ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, requestPermission, tileData) == 0;
#else
  return false;
#endif
}

std::unique_ptr<llvm::TargetMachine> loopc::codegen::createTargetMachine(llvm::StringRef cpu, TargetDescription &description,
                                                                        std::string &error) {
  llvm::InitializeAllTargetInfos();
  llvm::InitializeAllTargets();
  llvm::InitializeAllTargetMCs();
  llvm::InitializeAllAsmPrinters();
  llvm::InitializeAllAsmParsers();
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  bool host = cpu.empty() || cpu == "host";
  auto knows = [&] {
    std::unique_ptr<llvm::MCSubtargetInfo> info(target->createMCSubtargetInfo(triple, "", ""));
    return info && info->isCPUStringValid(cpu);
  };
  // A name of the other architecture says which one is meant.
  if (!host && !knows())
    for (const char *other : {"x86_64", "aarch64"}) {
      llvm::Triple changed(triple);
      changed.setArchName(other);
      std::string ignored;
      const llvm::Target *found = llvm::TargetRegistry::lookupTarget(changed, ignored);
      std::swap(triple, changed);
      std::swap(target, found);
      if (target && knows())
        break;
      std::swap(triple, changed);
      std::swap(target, found);
    }
  // Of this machine the features count, never the name: virtual machines hide it.
  std::string features;
  description.features.clear();
  if (host)
    for (const auto &[name, present] : llvm::sys::getHostCPUFeatures()) {
      bool on = present && (!name.starts_with("amx") || tilesPermitted());
      features += (features.empty() ? "" : ",") + std::string(on ? "+" : "-") + name.str();
      if (on)
        description.features.push_back(name.str());
    }
  std::string name = host ? "x86-64" : cpu.str();
  if (triple.getArch() != llvm::Triple::x86_64 && host)
    name = llvm::sys::getHostCPUName().str();
  std::unique_ptr<llvm::MCSubtargetInfo> info(target->createMCSubtargetInfo(triple, name, features));
  if (!info || !info->isCPUStringValid(name)) {
    error = "expected the name of a CPU that LLVM knows for " + triple.str() + ", but got " + name;
    return nullptr;
  }
  if (description.features.empty())
    for (const llvm::SubtargetFeatureKV &feature : info->getEnabledProcessorFeatures())
      description.features.push_back(feature.Key);
  // Every sum of products is a chain of fused multiply-adds: without the instruction each would be a library call.
  if (triple.getArch() == llvm::Triple::x86_64 && !description.has("fma")) {
    error = "expected a CPU with fused multiply-add (x86-64-v3 or later), but got " + name;
    return nullptr;
  }
  description.triple = triple.str();
  description.cpu = name;
  description.vectorBits = description.has("avx512f") ? 512 : description.has("avx2") ? 256 : 128;
  description.amx32 = description.has("amx-bf16") && description.has("amx-tile") && description.has("avx512f");
  description.registers = description.has("avx512f") || triple.isAArch64() ? 32 : 16;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict; // a fused multiply-add stands where it is written, nowhere else
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, name, features, options, llvm::Reloc::PIC_,
                                                                          std::nullopt, llvm::CodeGenOptLevel::Default));
}

void loopc::codegen::optimizeModule(llvm::Module &module, llvm::TargetMachine &machine) {
  module.setDataLayout(machine.createDataLayout());
  module.setTargetTriple(machine.getTargetTriple());
  llvm::StringRef features = machine.getTargetFeatureString();
  bool host = machine.getTargetCPU() == "x86-64"; // this machine: its name decides the order of instructions only
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", machine.getTargetCPU());
    function.addFnAttr("tune-cpu", host ? llvm::sys::getHostCPUName() : machine.getTargetCPU());
    if (!features.empty())
      function.addFnAttr("target-features", features);
    if (machine.getTargetTriple().isX86() && machine.getMCSubtargetInfo()->checkFeatures("+avx512f"))
      function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.addFnAttr("no-builtins"); // no loop becomes a call of the C library
  }
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graph;
  llvm::ModuleAnalysisManager modules;
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = false; // loops that should be vectors are vectors already
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false; // code stays as small as the program is
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graph);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graph, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(module, modules);
}

void loopc::codegen::reportAccesses(llvm::Module &module, llvm::StringRef sanitizer) {
  // Whole ranges, since LLVM's own instrumentation for threads leaves out accesses of more than 16 bytes: all of our vectors.
  llvm::LLVMContext &context = module.getContext();
  llvm::IntegerType *i64 = llvm::Type::getInt64Ty(context);
  llvm::PointerType *pointer = llvm::PointerType::get(context, 0);
  bool thread = sanitizer == "thread";
  auto declare = [&](llvm::StringRef name) {
    return module.getOrInsertFunction(name, llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, i64}, false));
  };
  llvm::FunctionCallee read = declare(thread ? "__tsan_read_range" : "__asan_loadN");
  llvm::FunctionCallee write = declare(thread ? "__tsan_write_range" : "__asan_storeN");
  const llvm::DataLayout &layout = module.getDataLayout();
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function)) {
      auto report = [&](llvm::FunctionCallee callee, llvm::Value *address, llvm::Value *bytes) {
        if (!llvm::isa<llvm::AllocaInst>(llvm::getUnderlyingObject(address)))
          llvm::CallInst::Create(callee, {address, bytes}, "", instruction.getIterator());
      };
      auto size = [&](llvm::Type *type) { return llvm::ConstantInt::get(i64, layout.getTypeStoreSize(type)); };
      if (auto *load = llvm::dyn_cast<llvm::LoadInst>(&instruction)) {
        report(read, load->getPointerOperand(), size(load->getType()));
      } else if (auto *store = llvm::dyn_cast<llvm::StoreInst>(&instruction)) {
        report(write, store->getPointerOperand(), size(store->getValueOperand()->getType()));
      } else if (auto *move = llvm::dyn_cast<llvm::MemTransferInst>(&instruction)) {
        report(read, move->getRawSource(), move->getLength());
        report(write, move->getRawDest(), move->getLength());
      } else if (auto *fill = llvm::dyn_cast<llvm::MemSetInst>(&instruction)) {
        report(write, fill->getRawDest(), fill->getLength());
      }
    }
}

bool loopc::codegen::emitCode(llvm::Module &module, llvm::TargetMachine &machine, bool assembly, llvm::SmallVectorImpl<char> &code,
                              std::string &error) {
  llvm::raw_svector_ostream stream(code);
  llvm::legacy::PassManager passes;
  auto kind = assembly ? llvm::CodeGenFileType::AssemblyFile : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(passes, stream, nullptr, kind)) {
    error = "the target cannot write this kind of file";
    return false;
  }
  passes.run(module);
  return true;
}

void loopc::codegen::addDescriptor(llvm::Module &module, llvm::StringRef metadata, llvm::ArrayRef<std::string> stages) {
  llvm::LLVMContext &context = module.getContext();
  llvm::Type *i32 = llvm::Type::getInt32Ty(context), *i64 = llvm::Type::getInt64Ty(context);
  llvm::PointerType *pointer = llvm::PointerType::get(context, 0);
  auto text = [&](llvm::StringRef value, bool zero) {
    llvm::Constant *data = llvm::ConstantDataArray::getString(context, value, zero);
    auto *global = new llvm::GlobalVariable(module, data->getType(), true, llvm::GlobalValue::PrivateLinkage, data);
    return static_cast<llvm::Constant *>(global);
  };
  // loopc_stage_entry {name, run}
  llvm::StructType *entryType = llvm::StructType::get(context, {pointer, pointer});
  llvm::SmallVector<llvm::Constant *> entries;
  for (const std::string &stage : stages) {
    llvm::Function *function = module.getFunction("loopc_stage_" + stage);
    function->setVisibility(llvm::GlobalValue::HiddenVisibility);
    entries.push_back(llvm::ConstantStruct::get(entryType, {text(stage, true), function}));
  }
  auto *tableType = llvm::ArrayType::get(entryType, entries.size());
  auto *table = new llvm::GlobalVariable(module, tableType, true, llvm::GlobalValue::PrivateLinkage,
                                         llvm::ConstantArray::get(tableType, entries));
  // loopc_artifact
  llvm::StructType *type = llvm::StructType::get(context, {i32, i32, i32, i32, pointer, i64, i64, pointer, i32, i32});
  auto number = [&](llvm::Type *kind, uint64_t value) { return llvm::ConstantInt::get(kind, value); };
  uint64_t hash = llvm::xxh3_64bits(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(metadata.data()), metadata.size()));
  static_assert(sizeof(loopc_artifact) == 56, "the descriptor below is written field by field");
  new llvm::GlobalVariable(
      module, type, true, llvm::GlobalValue::ExternalLinkage,
      llvm::ConstantStruct::get(type, {number(i32, sizeof(loopc_artifact)), number(i32, LOOPC_ABI_VERSION), number(i32, LOOPC_SCHEMA_VERSION),
                                       number(i32, LOOPC_PACK_VERSION), text(metadata, false), number(i64, metadata.size()), number(i64, hash),
                                       table, number(i32, entries.size()), number(i32, 0)}),
      "loopc_artifact_v1");
}

/// The linker: beside LLVM's own programs (LOOPC_LLVM_TOOLS, from the build), else on PATH.
static llvm::ErrorOr<std::string> findLinker() {
  llvm::StringRef places[] = {LOOPC_LLVM_TOOLS};
  if (auto found = llvm::sys::findProgramByName("ld.lld", places))
    return found;
  for (llvm::StringRef name : {"ld.lld-22", "ld.lld"})
    if (auto found = llvm::sys::findProgramByName(name))
      return found;
  return std::make_error_code(std::errc::no_such_file_or_directory);
}

bool loopc::codegen::linkArtifact(llvm::ArrayRef<char> object, llvm::StringRef path, std::string &error) {
  auto fail = [&](const llvm::Twine &message) {
    error = message.str();
    return false;
  };
  auto linker = findLinker();
  if (!linker)
    return fail("expected the linker ld.lld (Debian package lld-22), but found none");
  llvm::SmallString<128> input, output;
  int descriptor;
  if (auto code = llvm::sys::fs::createTemporaryFile("loopc", "o", descriptor, input))
    return fail("no temporary file: " + code.message());
  {
    llvm::raw_fd_ostream stream(descriptor, true);
    stream.write(object.data(), object.size());
  }
  llvm::SmallString<128> pattern(path);
  pattern += ".%%%%%%";
  if (auto code = llvm::sys::fs::createUniqueFile(pattern, descriptor, output)) {
    llvm::sys::fs::remove(input);
    return fail(path + ": expected a place to write, but got: " + code.message());
  }
  llvm::sys::Process::SafelyCloseFileDescriptor(descriptor);
  llvm::StringRef arguments[] = {*linker, "-shared", "--gc-sections", "--build-id=none", "-z", "noexecstack", "-z", "now", "-o", output, input};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt, {}, 60, 0, &message);
  llvm::sys::fs::remove(input);
  auto give = [&](const llvm::Twine &text) {
    llvm::sys::fs::remove(output);
    return fail(text);
  };
  if (status != 0)
    return give("ld.lld ended with " + llvm::Twine(status) + " " + message);

  // The trailer of loopc::rt::ArtifactTrailer: the loader checks it before the system maps any code.
  auto buffer = llvm::MemoryBuffer::getFile(output, false, false);
  if (!buffer)
    return give("cannot read back " + output + ": " + buffer.getError().message());
  llvm::StringRef bytes = (*buffer)->getBuffer();
  struct {
    char magic[8];
    uint32_t abi, schema;
    uint64_t bytes, hash;
  } trailer = {{'l', 'o', 'o', 'p', 'c', 'E', 'L', 'F'}, LOOPC_ABI_VERSION, LOOPC_SCHEMA_VERSION, bytes.size(),
               llvm::xxh3_64bits(llvm::ArrayRef(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()))};
  buffer->reset();
  std::error_code code;
  {
    llvm::raw_fd_ostream stream(output, code, llvm::sys::fs::OF_Append);
    stream.write(reinterpret_cast<const char *>(&trailer), sizeof trailer);
    stream.flush();
    if (!code && stream.has_error()) {
      code = stream.error();
      stream.clear_error();
    }
  }
  if (!code)
    code = llvm::sys::fs::setPermissions(output, llvm::sys::fs::all_read | llvm::sys::fs::owner_write | llvm::sys::fs::all_exe);
  if (!code)
    code = llvm::sys::fs::rename(output, path);
  if (code)
    return give(path + ": expected to write the artefact, but got: " + code.message());
  return true;
}
