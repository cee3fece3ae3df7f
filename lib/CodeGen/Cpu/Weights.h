// Formats of packed weights: how the bytes of a panel become registers of f32.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_CPU_WEIGHTS_H
#define LOOPC_LIB_CODEGEN_CPU_WEIGHTS_H

#include "Emit.h"
#include "loopc/Dialect/Task/Task.h"

namespace loopc::codegen {

/// One format. A panel is 32 output columns; along k it is a row of blocks, a block a row of groups (what shares
/// scales), a group a row of units (what one decoding gives). The last block is filled up: weights of +0, and the kernels
/// read activations of +0 there.
///
/// A new format is a line of WeightFormats.def with its layout, and, if it is no format of blocks, a class here. Kernels
/// know nothing else about it: every product is fma(x[k], decoded weight, sum), k ascending, so the numbers are those of
/// a matrix that was widened to f32 before. `decode` must be exact in that sense: a function of the stored bits alone.
class WeightFormat {
public:
  WeightFormat(llvm::StringRef name, int64_t k, int64_t bytes) : formatName(name), k(k), bytes(bytes) {}
  virtual ~WeightFormat() = default;
  llvm::StringRef name() const { return formatName; } ///< part of the names of kernels
  int64_t block() const { return k; }                 ///< k of a block
  int64_t blockBytes() const { return bytes; }        ///< bytes of a block of 32 columns
  virtual int64_t group() const { return block(); }   ///< k of a group; divides block()
  virtual int64_t unit() const { return group(); }    ///< k of a unit; divides group()
  /// What all units of a block share for the columns [column, column + lanes): scales, minimums. May be empty.
  virtual llvm::SmallVector<mlir::Value> open(Emit &, mlir::Value /*block*/, mlir::Value /*column*/) const { return {}; }
  /// What all units of a group share, from what the block shares.
  virtual llvm::SmallVector<mlir::Value> openGroup(Emit &, mlir::Value /*block*/, mlir::Value /*group*/, mlir::Value /*column*/,
                                                   llvm::ArrayRef<mlir::Value> opened) const {
    return llvm::SmallVector<mlir::Value>(opened);
  }
  /// unit() registers of lanes f32, k ascending: columns [column, column + lanes) of unit number `unit` of the block at
  /// address `block`.
  virtual llvm::SmallVector<mlir::Value> decode(Emit &e, mlir::Value block, mlir::Value unit, mlir::Value column,
                                                llvm::ArrayRef<mlir::Value> shared) const = 0;

  int64_t blocks(int64_t k) const { return (k + block() - 1) / block(); }
  int64_t panelBytes(int64_t k) const { return blocks(k) * blockBytes(); }

private:
  llvm::StringRef formatName;
  int64_t k, bytes;
};

/// The format of panels: the one it names, else that of its element type.
const WeightFormat &weightFormat(mlir::task::ParamOp panels);
const WeightFormat &weightFormat(llvm::StringRef name);

} // namespace loopc::codegen
#endif
