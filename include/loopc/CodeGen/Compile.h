// From a model in LANES to an artefact file, or to any of the forms on the way.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_CODEGEN_COMPILE_H
#define LOOPC_CODEGEN_COMPILE_H

#include "loopc/CodeGen/Metadata.h"
#include "loopc/Transforms/Remarks.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace llvm {
class Module;
}
namespace mlir {
class DialectRegistry;
}

namespace loopc::codegen {

struct CompileOptions {
  std::string cpu;     ///< LLVM's name; empty: this machine
  std::string hash;    ///< goes into the metadata
  int64_t context = 0; ///< goes into the metadata
  unsigned vectorBits = 0; ///< width of vectors; 0: that of the registers (others are for tests, results have the same bits)
  bool profile = false; ///< phases and waits are timed into loopc_call.profile
  std::string sanitize; ///< "address" or "thread": every access is reported to the sanitizer that the loading program is built with
  std::string bf16Order; ///< "chain" or "amx32", the order of sums in linears of bf16 rows and weights; empty: what the CPU is fast in
  /// For tests: replaces the intrinsics for tiles; with it code is made as for a CPU that has them.
  void (*softenTiles)(llvm::Module &) = nullptr;
  std::string step;    ///< the program of SOURCE that is compiled as a training step; empty: the stages of LANES
  bool fuse = true;    ///< false: every op a phase of its own kind; for tests, results have the same bits
};

/// Brings the one loop.model of `module` (LANES) to TASK; the model stays beside its programs.
mlir::LogicalResult formTask(mlir::ModuleOp module, const CompileOptions &options, std::string &error);

/// What compiling took, in seconds and bytes.
struct CompileStats {
  double formSeconds = 0, lowerSeconds = 0, optimizeSeconds = 0, emitSeconds = 0, linkSeconds = 0;
  size_t codeBytes = 0; ///< machine code and constants of the stages, without the metadata
  TargetDescription target;
  std::string metadata;
  std::vector<Remark> remarks; ///< of all passes up to TASK
};

enum class CodeForm { Task, Llvm, Assembly, Object };

/// Dialects and translations that code generation needs in the context.
void registerCodeGenDialects(mlir::DialectRegistry &registry);

/// Compiles the one loop.model of `module` (LANES; the module is used up) into the artefact `path`. Errors are
/// diagnostics at ops, or `error` for what has no place in the program.
mlir::LogicalResult compileToArtifact(mlir::ModuleOp module, const CompileOptions &options, llvm::StringRef path, CompileStats &stats,
                                      std::string &error);

/// The same up to a form, as text (Object: bytes).
mlir::LogicalResult compileToForm(mlir::ModuleOp module, const CompileOptions &options, CodeForm form, std::string &text, CompileStats &stats,
                                  std::string &error);

} // namespace loopc::codegen
#endif
