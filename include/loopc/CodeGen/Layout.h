// Where things of a LANES model are: bank fields, parameter tables, K/V pages, knobs. One definition for the metadata,
// the code generator and the interpreter path.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_CODEGEN_LAYOUT_H
#define LOOPC_CODEGEN_LAYOUT_H

#include "loopc/Dialect/Loop/Loop.h"
#include "llvm/ADT/StringMap.h"

namespace loopc::codegen {

/// A value of a state bank slot; offset in bytes.
struct FieldSlot {
  std::string name;
  mlir::RankedTensorType type; ///< of one lane
  int64_t offset;
};

/// A parameter: `count` tables of [rows, cols], entries `index` … of loopc_params::data. Panel: packed
/// [ceil(rows / 32)][cols][32]; else row-major.
struct ParamSlot {
  std::string name;
  mlir::loop::WeightOp weight;
  bool panel;
  int64_t index, count, rows, cols;
  mlir::Type element;
  llvm::SmallVector<int64_t> strides; ///< entries per step of each table index
  mlir::StringAttr format;            ///< of panels; null: that of `element`
  int64_t elements() const { return (panel ? (rows + 31) / 32 * 32 : rows) * cols; }
};

/// A site; offset in elements from the start of a page, strides in layers per step of each table index.
struct SiteSlot {
  std::string name;
  mlir::loop::SiteOp site;
  int64_t pool, offset, layers;
  llvm::SmallVector<int64_t> strides;
};

struct PoolSlot {
  std::string stage;
  llvm::SmallVector<std::string> sites;
  int64_t pageBytes = 0;
  mlir::Type element;
  bool perIteration = false;
};

class ModelLayout {
public:
  /// Reads a model in LANES. Failure is reported at the op that cannot be laid out.
  static mlir::FailureOr<ModelLayout> get(mlir::loop::ModelOp model);

  const FieldSlot *field(llvm::StringRef name) const;
  const ParamSlot *param(llvm::StringRef weight, bool panel) const;
  const SiteSlot *site(llvm::StringRef name) const;
  /// Index of the pool of a stage, -1 if it has no sites.
  int64_t poolOf(llvm::StringRef stage) const;
  int64_t knob(llvm::StringRef name) const;

  llvm::SmallVector<FieldSlot> fields;
  int64_t bankRowBytes = 0;
  std::vector<ParamSlot> params;
  std::vector<SiteSlot> sites;
  std::vector<PoolSlot> pools;
  llvm::SmallVector<mlir::loop::KnobOp> knobs;
};

} // namespace loopc::codegen
#endif
