// What an artefact says about itself, as JSON (read by loopc::rt::ModelInfo).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_CODEGEN_METADATA_H
#define LOOPC_CODEGEN_METADATA_H

#include "loopc/CodeGen/Layout.h"
#include <string>
#include <algorithm>
#include <vector>

namespace loopc::codegen {

/// Memory that one call of a stage needs: arena = capacity * arenaRowBytes, scratch of a worker = scratchBytes +
/// capacity * scratchRowBytes, in bytes.
struct StageMemory {
  std::string name;
  int64_t arenaRowBytes = 0, scratchBytes = 0, scratchRowBytes = 0, syncs = 0;
  int64_t timedPhases = 0; ///< phases that are timed; 0: the code takes no time
  int64_t arenaBytes = 0;  ///< behind those for the rows
};

/// The machine that code is made for. `features` are LLVM's names of the features that are on, without a sign.
struct TargetDescription {
  std::string triple, cpu;
  std::vector<std::string> features;
  unsigned vectorBits = 256;
  unsigned registers = 16; ///< vector registers of that width
  bool amx32 = false;      ///< bf16 linears add in the order of tdpbf16ps

  bool has(llvm::StringRef feature) const { return std::find(features.begin(), features.end(), feature) != features.end(); }
};

struct MetadataOptions {
  std::string hash;        ///< identifies spec, configuration, options and compiler
  int64_t context = 0;     ///< most positions of a sequence; 0: no limit
};

/// Metadata of a model in LANES. Stages that `stages` does not name get no memory (the interpreter needs none).
std::string buildMetadata(mlir::loop::ModelOp model, const ModelLayout &layout, const TargetDescription &target,
                          llvm::ArrayRef<StageMemory> stages, const MetadataOptions &options);

} // namespace loopc::codegen
#endif
