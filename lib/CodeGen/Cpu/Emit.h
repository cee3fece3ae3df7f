// A thin layer over OpBuilder for address arithmetic, loads, stores, loops and fixed-order reductions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_CPU_EMIT_H
#define LOOPC_LIB_CODEGEN_CPU_EMIT_H

#include "loopc/CodeGen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace loopc::codegen {

struct Emit {
  mlir::OpBuilder b;
  mlir::Location loc;
  unsigned vectorBits;
  unsigned registers; ///< vector registers
  llvm::ArrayRef<std::string> features;
  bool amx32; ///< the order of linears of bf16 rows and weights (CpuOptions)

  Emit(mlir::OpBuilder builder, mlir::Location loc, const CpuOptions &target)
      : b(builder), loc(loc), vectorBits(target.vectorBits), registers(target.registers), features(target.features), amx32(target.amx32) {}

  bool has(llvm::StringRef feature) const { return llvm::is_contained(features, feature.str()); }

  /// f32 elements of a register.
  int64_t lanes() const { return vectorBits / 32; }

  // Types.
  mlir::Type ptrType() { return mlir::LLVM::LLVMPointerType::get(b.getContext()); }
  mlir::Type i64() { return b.getI64Type(); }
  mlir::Type i32() { return b.getI32Type(); }
  mlir::Type f32() { return b.getF32Type(); }
  mlir::VectorType vec(int64_t n, mlir::Type element) { return mlir::VectorType::get({n}, element); }
  mlir::VectorType vecF32(int64_t n) { return vec(n, f32()); }

  // Scalars of type i64.
  mlir::Value c(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, value, 64); }
  mlir::Value c32(int64_t value) { return mlir::arith::ConstantIntOp::create(b, loc, value, 32); }
  mlir::Value add(mlir::Value l, mlir::Value r) { return mlir::arith::AddIOp::create(b, loc, l, r); }
  mlir::Value add(mlir::Value l, int64_t r) { return r ? add(l, c(r)) : l; }
  mlir::Value sub(mlir::Value l, mlir::Value r) { return mlir::arith::SubIOp::create(b, loc, l, r); }
  mlir::Value mul(mlir::Value l, mlir::Value r) { return mlir::arith::MulIOp::create(b, loc, l, r); }
  mlir::Value mul(mlir::Value l, int64_t r) { return r == 1 ? l : mul(l, c(r)); }
  mlir::Value div(mlir::Value l, mlir::Value r) { return mlir::arith::DivUIOp::create(b, loc, l, r); }
  mlir::Value div(mlir::Value l, int64_t r) { return r == 1 ? l : div(l, c(r)); }
  mlir::Value rem(mlir::Value l, int64_t r) { return mlir::arith::RemUIOp::create(b, loc, l, c(r)); }
  mlir::Value min(mlir::Value l, mlir::Value r) { return mlir::arith::MinSIOp::create(b, loc, l, r); }
  mlir::Value max(mlir::Value l, mlir::Value r) { return mlir::arith::MaxSIOp::create(b, loc, l, r); }
  mlir::Value cmp(mlir::arith::CmpIPredicate p, mlir::Value l, mlir::Value r) { return mlir::arith::CmpIOp::create(b, loc, p, l, r); }
  mlir::Value select(mlir::Value condition, mlir::Value l, mlir::Value r) {
    return mlir::arith::SelectOp::create(b, loc, condition, l, r);
  }
  mlir::Value widen(mlir::Value i32Value) { return mlir::arith::ExtSIOp::create(b, loc, i64(), i32Value); }
  mlir::Value widenU(mlir::Value i32Value) { return mlir::arith::ExtUIOp::create(b, loc, i64(), i32Value); }

  // Memory: byte addresses; alignment is that of the element unless given.
  mlir::Value at(mlir::Value base, mlir::Value bytes);
  mlir::Value at(mlir::Value base, int64_t bytes) { return bytes ? at(base, c(bytes)) : base; }
  mlir::Value load(mlir::Type type, mlir::Value address, unsigned align = 0);
  void store(mlir::Value value, mlir::Value address, unsigned align = 0);
  /// n elements of `element` in memory as registers of `element` (i1 from bytes).
  mlir::Value loadVector(mlir::Type element, int64_t n, mlir::Value address);
  void storeVector(mlir::Type element, mlir::Value value, mlir::Value address);
  /// n elements of f32, bf16 or f16 memory as f32, and back (round to nearest even).
  mlir::Value loadF32(mlir::Type element, int64_t n, mlir::Value address);
  void storeF32(mlir::Type element, mlir::Value value, mlir::Value address);
  /// Vectors of bf16 (its bits are the upper half of an f32), f16 or f32 to f32, and f32 to vectors of `element`.
  mlir::Value extend(mlir::Value value);
  mlir::Value round(mlir::Type element, mlir::Value value);

  // Vectors.
  mlir::Value splat(mlir::Value scalar, int64_t n) { return mlir::vector::BroadcastOp::create(b, loc, vec(n, scalar.getType()), scalar); }
  mlir::Value splatF32(double value, int64_t n);
  mlir::Value cf32(double value) { return mlir::arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value)); }
  mlir::Value extract(mlir::Value vector, int64_t i) { return mlir::vector::ExtractOp::create(b, loc, vector, i); }
  mlir::Value shuffle(mlir::Value l, mlir::Value r, llvm::ArrayRef<int64_t> mask) {
    return mlir::vector::ShuffleOp::create(b, loc, l, r, mask);
  }
  mlir::Value addF(mlir::Value l, mlir::Value r) { return mlir::arith::AddFOp::create(b, loc, l, r); }
  mlir::Value subF(mlir::Value l, mlir::Value r) { return mlir::arith::SubFOp::create(b, loc, l, r); }
  mlir::Value mulF(mlir::Value l, mlir::Value r) { return mlir::arith::MulFOp::create(b, loc, l, r); }
  mlir::Value divF(mlir::Value l, mlir::Value r) { return mlir::arith::DivFOp::create(b, loc, l, r); }
  mlir::Value maxF(mlir::Value l, mlir::Value r) { return mlir::arith::MaxNumFOp::create(b, loc, l, r); }
  mlir::Value fma(mlir::Value l, mlir::Value r, mlir::Value a) { return mlir::math::FmaOp::create(b, loc, l, r, a); }
  mlir::Value exp(mlir::Value v) { return mlir::math::ExpOp::create(b, loc, v); }
  /// Halving tree over 2^k elements: lower half op upper half, until one is left.
  mlir::Value tree(mlir::Value vector, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  /// Lower half plus upper half.
  mlir::Value halve(mlir::Value vector);
  mlir::Value treeAdd(mlir::Value vector);
  mlir::Value treeMax(mlir::Value vector);
  /// The vector with `pad` behind it up to n elements.
  mlir::Value padTo(mlir::Value vector, int64_t n, double pad);

  // Control.
  void loop(mlir::Value lower, mlir::Value upper, mlir::Value step, llvm::function_ref<void(mlir::Value)> body);
  void loop(int64_t count, llvm::function_ref<void(mlir::Value)> body);
  llvm::SmallVector<mlir::Value> loop(mlir::Value lower, mlir::Value upper, mlir::Value step, mlir::ValueRange initial,
                                      llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  /// The same with a constant count from 0; one round stands without a loop.
  llvm::SmallVector<mlir::Value> loop(int64_t count, llvm::ArrayRef<mlir::Value> initial,
                                      llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, llvm::ArrayRef<mlir::Value>)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise = nullptr);
  /// Calls `body(index, width)` for [0, n) in pieces of `width`, then of falling powers of two.
  void pieces(int64_t n, int64_t width, llvm::function_ref<void(mlir::Value, int64_t)> body);
  /// Calls `body(index, valid)` for [0, n) in blocks of `width`; only the last block may be shorter (valid < width);
  /// `carry` goes through all of them.
  mlir::Value panels(int64_t n, int64_t width, mlir::Value carry,
                     llvm::function_ref<mlir::Value(mlir::Value, int64_t, mlir::Value)> body);
};

} // namespace loopc::codegen
#endif
