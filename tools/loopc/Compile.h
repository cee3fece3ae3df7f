// The compiler behind one door: from a checked model to IR text, metadata, an interpreter or an artefact.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The header is C++17 and names no MLIR type, so that the rest of the program is built without MLIR headers.
#pragma once
#include "loopc/CodeGen/PhaseCosts.h"
#include "loopc/Frontend/Program.h"
#include "loopc/Interp/Params.h"
#include "loopc/Interp/SourceInterp.h"
#include "loopc/Interp/StageInterp.h"
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace loopc::driver {

/// `--kv "map(sizes, unit = u, keep = k, coda = overwrites), holes rule, order o"`; empty parts: as the spec says.
struct KvClause {
  std::string map;
  int64_t sizes[2] = {0, 0};
  std::string unit, keep, holes, order;
  bool codaOverwrites = false;
};

struct CompileRequest {
  const frontend::Program *program = nullptr; ///< outlives the compilation
  std::string checkpoint;                     ///< format of the weight files: "" as published, "gguf"
  int64_t loops = 0;                          ///< default count; 0: the spec's
  double maxMsPerToken = 0;
  KvClause kv;
  bool leaving = false; ///< an exit ends the iterations of its lane
  int64_t context = 0;  ///< most positions of a sequence; 0: no limit
  std::string dtype = "f32", kvDtype;
  std::map<std::string, std::string> stored; ///< formats that tensors of the file keep (WeightFormats.def); others: f32
  /// For messages and records.
  std::string dtypeText() const { return stored.empty() ? dtype : "stored"; }
  std::string cpu = "native";
  std::string bf16Order; ///< codegen::CompileOptions
  std::vector<std::string> observe;
  bool profile = false; ///< the code times its phases
  bool training = false; ///< the programs of the losses too
  std::string step;      ///< the artefact is the training step of this loss; empty: the model that runs
  void makeStep(const std::string &loss) {
    training = true;
    step = loss;
    hash += "-" + loss;
  }
  std::string sanitize; ///< sanitizer that the code reports its accesses to
  std::string hash;     ///< of everything that decides the result; recorded in the metadata
};

enum class Form { Source, Planned, Lanes, Task, Llvm, Asm, Object };

struct CompileRemark {
  std::string name, pass, kind, text;
};

/// Seconds and bytes of compiling to an artefact.
struct CompileTimes {
  double form = 0, lower = 0, optimize = 0, emit = 0, link = 0;
  uint64_t codeBytes = 0;
};

/// One model on its way through the forms. Every member returns false (or nullptr) and sets `error` to a message that
/// reads `expected …, but got …`, with the place in the spec where there is one.
class Compilation {
public:
  virtual ~Compilation() = default;
  static std::unique_ptr<Compilation> create(const CompileRequest &request, std::string &error);

  /// Goes on to `form`; forms are passed in order and never left backwards.
  virtual bool lower(Form form, std::string &error) = 0;
  /// Text of the current form; Object gives the bytes of an object file.
  virtual bool emit(std::string &text, std::string &error) = 0;
  /// Decisions so far.
  virtual std::vector<CompileRemark> remarks() = 0;
  /// Costs of the phases that the LANES form (lowers to it) becomes.
  virtual bool costs(codegen::PhaseTable &table, std::string &error) = 0;
  /// Metadata JSON of the artefact (see ModelInfo.h).
  virtual bool metadata(std::string &json, std::string &error) = 0;
  /// Interprets the LANES form. The provider and the compilation outlive the interpreter.
  virtual std::unique_ptr<interp::StageInterp> interpreter(interp::ParamProvider &params,
                                                           const interp::StageLayout &layout, std::string &error) = 0;
  /// One step of the program `name` (of a `train` section) over whole sequences, interpreted in SOURCE: the loss and the
  /// gradient of every weight it uses. Sequence i is configured by configs[i].
  virtual bool trainStep(const std::string &name, interp::ParamProvider &params, std::vector<interp::SourceChunk> sequences,
                         const std::vector<interp::SequenceConfig> &configs, double &loss, interp::Gradients &gradients,
                         std::string &error) = 0;
  /// Writes the sealed shared object to `path`.
  virtual bool writeArtifact(const std::string &path, CompileTimes &times, std::string &error) = 0;
};

/// Text that names this compiler's version and the CPU features of `cpu`; part of the key of the compile cache.
std::string targetText(const std::string &cpu);

} // namespace loopc::driver
