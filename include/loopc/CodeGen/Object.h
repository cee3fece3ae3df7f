// From LLVM IR to an artefact file.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_CODEGEN_OBJECT_H
#define LOOPC_CODEGEN_OBJECT_H

#include "loopc/CodeGen/Metadata.h"
#include "llvm/ADT/SmallVector.h"
#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace loopc::codegen {

/// This machine (cpu empty), or the named CPU of the same architecture. Null and `error` for a name LLVM does not know.
std::unique_ptr<llvm::TargetMachine> createTargetMachine(llvm::StringRef cpu, TargetDescription &description, std::string &error);

/// Optimises `module` for the target. Layout and triple of the module are set here.
void optimizeModule(llvm::Module &module, llvm::TargetMachine &machine);

/// Reports each load and store of `module` to the runtime of AddressSanitizer ("address") or ThreadSanitizer ("thread").
void reportAccesses(llvm::Module &module, llvm::StringRef sanitizer);

/// Object code (or assembly text) of an optimised module. False and `error` on failure.
bool emitCode(llvm::Module &module, llvm::TargetMachine &machine, bool assembly, llvm::SmallVectorImpl<char> &code, std::string &error);

/// Adds the exported descriptor `loopc_artifact_v1` (abi.h) with the metadata and the stage functions, which are found
/// by name: `loopc_stage_<name>`.
void addDescriptor(llvm::Module &module, llvm::StringRef metadata, llvm::ArrayRef<std::string> stages);

/// Links one object into the sealed shared object `path`, written under a temporary name and renamed. `codeBytes` gets
/// the size of the object's code and data.
bool linkArtifact(llvm::ArrayRef<char> object, llvm::StringRef path, std::string &error);

} // namespace loopc::codegen
#endif
