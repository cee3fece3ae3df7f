// What the code of a phase can reach: the call, parameters, memory, its worker, its rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_CPU_CONTEXT_H
#define LOOPC_LIB_CODEGEN_CPU_CONTEXT_H

#include "Emit.h"
#include "loopc/Dialect/Task/Task.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

namespace loopc::codegen {

class WeightFormat;

/// Private memory of a worker: fixed bytes, then the lists of rows (4 bytes per row of capacity each).
struct ScratchPlan {
  int64_t bytes = 0;
  int64_t reserve(int64_t size) {
    int64_t at = bytes;
    bytes += (size + 63) / 64 * 64;
    return at;
  }
};

/// Rows of a linear that are worked on at once; they are gathered into scratch. So many that a weight from memory is used
/// often enough, so few that a block of k of them stays in an L2 cache.
inline constexpr int64_t gemmRows = 256;
/// Panels of a linear that are computed before their epilogue.
inline constexpr int64_t gemmPanels = 4;

/// Where a memory's rows are: row r at base + r * rowBytes, or at base + slot-like column[r] * rowBytes, plus offset.
struct Root {
  mlir::Type element;
  mlir::Value base;       ///< ptr
  mlir::Value rowBytes;   ///< i64; null: the same for every row
  mlir::Value column;     ///< ptr to i32 [lanes] that replaces the row number, or null
  bool knob = false;      ///< base is the array of sequence records; `offset` bytes into its knobs
  int64_t offset = 0;
  int64_t rows = 0; ///< row r is row r modulo this; 0: it is row r
};

class PhaseContext {
public:
  Emit e;
  mlir::ModuleOp module;
  mlir::Value call, params, memory, scratch, worker, workers, list, count, team;
  mlir::Value turn; ///< ptr to the i32 number of the last turn of team.claim
  mlir::IRMapping indices; ///< index values of the program -> i64 arguments

  PhaseContext(Emit emit, mlir::ModuleOp module) : e(emit), module(module) {}

  /// Finds out about a memory once, outside the loops over rows.
  const Root &root(mlir::Value memory);
  /// Address of the first element of `row` of a memory.
  mlir::Value row(mlir::Value memory, mlir::Value row);
  /// i64 row number of list entry i.
  mlir::Value listed(mlir::Value i) { return e.widen(e.load(e.i32(), e.at(list, e.mul(i, 4)))); }
  /// Loads a pointer or number of a struct of the C interface.
  mlir::Value field(mlir::Value base, size_t offset, mlir::Type type) { return e.load(type, e.at(base, int64_t(offset))); }
  mlir::Value column(size_t offsetInCall, mlir::Value row); ///< i64 value of an i32 column
  /// [begin, end) of this worker's part of n items.
  std::pair<mlir::Value, mlir::Value> cut(mlir::Value n) { return partOf(worker, n); }
  /// Calls `body(begin, end)` for pieces of at most `piece` of n items, each of them for one worker: those of its own part,
  /// then of the parts of workers that are late.
  void deal(mlir::Value n, int64_t piece, llvm::function_ref<void(mlir::Value, mlir::Value)> body);
  /// A program-level index value as i64.
  mlir::Value index(mlir::Value value) { return indices.lookup(value); }
  /// Address of private constant data.
  mlir::Value constantData(mlir::DenseElementsAttr value);

private:
  std::pair<mlir::Value, mlir::Value> partOf(mlir::Value worker, mlir::Value n);
  llvm::DenseMap<mlir::Value, Root> roots;
};

/// An affine function of one dimension as i64 arithmetic.
mlir::Value emitAffine(Emit &e, mlir::AffineMap map, mlir::ValueRange dims);

// Bodies of phases. Each reserves the scratch it needs.
void emitRows(PhaseContext &ctx, mlir::task::PhaseOp phase, ScratchPlan &scratch);
void emitGemm(PhaseContext &ctx, mlir::task::GemmOp op, ScratchPlan &scratch);
void emitFold(PhaseContext &ctx, mlir::task::FoldOp op);
void emitAccumulate(PhaseContext &ctx, mlir::task::AccumulateOp op, ScratchPlan &scratch);
void emitAttendRows(PhaseContext &ctx, mlir::task::AttendRowsOp op, ScratchPlan &scratch);
void emitAttend(PhaseContext &ctx, mlir::task::AttendOp op, ScratchPlan &scratch);

/// The scalar ops of a map or epilogue on vectors of n elements; gives the yielded values.
llvm::SmallVector<mlir::Value> emitElements(PhaseContext &ctx, mlir::Block &block, llvm::ArrayRef<mlir::Value> arguments, int64_t n);

/// The function `sum of rows times panels` for weights of a format, made once per module:
/// (x, x row bytes, rows, panels, panel count, blocks of k, out, out row bytes, widenedBytes() of private memory).
/// `input`: what the rows were before they became f32; its values decide which instructions are exact.
/// Order chain for every number of rows; amx32 if isAmx32().
mlir::LLVM::LLVMFuncOp getGemmKernel(PhaseContext &ctx, const WeightFormat &format, mlir::Type input);
int64_t widenedBytes(const WeightFormat &format, int64_t k);

/// Kernels in the order amx32, for bf16 rows and weights on targets that chose it.
bool isAmx32(const Emit &e, const WeightFormat &format, mlir::Type input);
bool hasTiles(const Emit &e);
/// Whether so many rows go to tiles, which read gatherWords() instead of f32.
mlir::Value rowsAreWords(Emit &e, mlir::Value rows);
/// k of bf16 at `from` as words of two, filled up with +0 to a multiple of 16 words, at `to`.
void gatherWords(Emit &e, int64_t k, mlir::Value from, mlir::Value to);
void writeAmx32Kernel(Emit &e, mlir::Block *entry);

} // namespace loopc::codegen
#endif
