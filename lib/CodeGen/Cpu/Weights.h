// Formats of packed weights: how the bytes of a panel become registers of f32.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_CPU_WEIGHTS_H
#define LOOPC_LIB_CODEGEN_CPU_WEIGHTS_H

#include "Emit.h"

namespace loopc::codegen {

/// One format. A panel is 32 output columns; along k it is a row of blocks (what shares scales), a block a row of units
/// (what one decoding gives). The last block is filled up: weights of +0, and the kernels read activations of +0 there.
///
/// A new format is a class here with its line in `weightFormat`, and its layout in runtime/src/Packing.cpp. Kernels
/// know nothing else about it: every product is fma(x[k], decoded weight, sum), k ascending, so the numbers are those of
/// a matrix that was widened to f32 before. `decode` must be exact in that sense: a function of the stored bits alone.
class WeightFormat {
public:
  virtual ~WeightFormat() = default;
  virtual llvm::StringRef name() const = 0;   ///< part of the names of kernels
  virtual int64_t block() const = 0;          ///< k of a block
  virtual int64_t blockBytes() const = 0;     ///< bytes of a block of 32 columns
  virtual int64_t unit() const { return block(); } ///< k of a unit; divides block()
  /// What all units of a block share for the columns [column, column + lanes): scales, minima. May be empty.
  virtual llvm::SmallVector<mlir::Value> open(Emit &, mlir::Value /*block*/, int64_t /*column*/) const { return {}; }
  /// unit() registers of lanes f32, k ascending: columns [column, column + lanes) of unit number `unit` (i64) of the
  /// block at address `block`.
  virtual llvm::SmallVector<mlir::Value> decode(Emit &e, mlir::Value block, mlir::Value unit, int64_t column,
                                                llvm::ArrayRef<mlir::Value> opened) const = 0;

  int64_t blocks(int64_t k) const { return (k + block() - 1) / block(); }
  int64_t panelBytes(int64_t k) const { return blocks(k) * blockBytes(); }
};

/// The format of a parameter with this element type.
const WeightFormat &weightFormat(mlir::Type element);

} // namespace loopc::codegen
#endif
