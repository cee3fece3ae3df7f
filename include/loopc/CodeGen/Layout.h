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
  bool transposed = false;            ///< panels of the transpose: [ceil(cols / 32)][rows][32]
  int64_t elements() const { return transposed ? (cols + 31) / 32 * 32 * rows : (panel ? (rows + 31) / 32 * 32 : rows) * cols; }
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

/// The gradient of a weight in a training step: `count` tables of [rows, cols], entries `index` … of loopc_step::gradient.
struct GradientSlot {
  std::string name;
  mlir::loop::WeightOp weight;
  int64_t index, count, rows, cols;
  llvm::SmallVector<int64_t> strides;
};

/// Row values that the caller of a training step gives, by number of loopc_step::given. What: label; limit and first, the
/// iterations below which and from which on a count's loop runs and is reversed; draw.
struct GivenSlot {
  std::string what, name; ///< name: of the count or the draw
  int64_t elements;
};

class ModelLayout {
public:
  /// Reads a model in LANES. Failure is reported at the op that cannot be laid out.
  static mlir::FailureOr<ModelLayout> get(mlir::loop::ModelOp model);
  /// That of a training step: a program of SOURCE with its reverse.
  static ModelLayout getStep(mlir::loop::ModelOp model, mlir::loop::ForwardOp step);

  const FieldSlot *field(llvm::StringRef name) const;
  const ParamSlot *param(llvm::StringRef weight, bool panel, bool transposed = false) const;
  const GradientSlot *gradient(llvm::StringRef weight) const;
  int64_t given(llvm::StringRef what, llvm::StringRef name) const;
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
  std::vector<GradientSlot> gradients;
  std::vector<GivenSlot> givens;
  bool step = false;

private:
  /// Parameters that `program` uses, in the order of the weights.
  void addParams(mlir::loop::ModelOp model, mlir::Operation *program);
};

/// The weight that has the values of `name`.
mlir::loop::WeightOp getUntied(mlir::Operation *from, mlir::FlatSymbolRefAttr name);
/// The parameter that is the matrix of a linear, or whose transpose is; null for a computed one.
mlir::loop::ParamOp getMatrix(mlir::Value weight, bool &transposed);

} // namespace loopc::codegen
#endif
