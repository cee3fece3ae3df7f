// A compiled artefact: a shared object checked before and after it is mapped.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include "loopc/runtime/abi.h"
#include <memory>
#include <string>

namespace loopc::rt {

/// Last bytes of an artefact file, after all that the shared object itself has (loaders ignore them). Checked before
/// the system maps any code.
struct ArtifactTrailer {
  char magic[8];       ///< "loopcELF"
  uint32_t abi, schema;
  uint64_t bytes;      ///< size of the file without the trailer
  uint64_t hash;       ///< XXH3 64 of those bytes
};

/// Appends the trailer to the shared object at `path` (which has none yet). Throws Error.
void sealArtifact(const std::string &path);

/// Throws Error (file, both values) unless `path` is a sealed shared object of this machine's kind: ELF header, section
/// and program tables inside the file, trailer, versions, hash.
void checkArtifactFile(const std::string &path);

/// Throws Error naming the first feature (LLVM name) the CPU of this machine lacks.
void checkCpuFeatures(const ModelInfo &info, const std::string &file);

/// A loaded artefact. The shared object stays mapped as long as this lives.
class Artifact {
public:
  /// Checks the file, maps it, checks versions, metadata hash, metadata and CPU features. Throws Error.
  static std::shared_ptr<const Artifact> load(const std::string &path);
  ~Artifact();
  Artifact(const Artifact &) = delete;
  Artifact &operator=(const Artifact &) = delete;

  const ModelInfo &info() const { return model; }
  const std::string &path() const { return file; }
  /// Entry of a stage; nullptr if the artefact has none.
  loopc_stage stage(Stage s) const { return entries[size_t(s)]; }

private:
  Artifact() = default;
  std::string file;
  void *handle = nullptr;
  ModelInfo model;
  loopc_stage entries[stageCount] = {};
};

} // namespace loopc::rt
