// What both interpreters share: values by SSA name, the rule table, rolled layers, branches.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_MACHINE_H
#define LOOPC_LIB_INTERP_MACHINE_H

#include "ParamStore.h"
#include "Value.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

namespace loopc::interp {

/// The position that a recall asks for, -1 if it is not an older one than `own`.
inline int64_t pastPosition(double past, int64_t own) { return past >= 0 && past < double(own) ? int64_t(past) : -1; }

template <typename T> class Machine;
/// Computes the results of one op, row by row, from the values of its operands.
template <typename T> using Rule = mlir::LogicalResult (*)(Machine<T> &, mlir::Operation *);
template <typename T> using RuleTable = llvm::StringMap<Rule<T>>;

/// The table op name -> rule of all ops that look at nothing but their operands.
template <typename T> void addArithRules(RuleTable<T> &table);
template <typename T> void addMathRules(RuleTable<T> &table);
template <typename T> void addFeatureRules(RuleTable<T> &table);
template <typename T> void addTrainRules(RuleTable<T> &table);

template <typename T> class Machine {
public:
  using V = Val<T>;

  explicit Machine(ParamProvider &provider);
  virtual ~Machine() = default;

  int64_t rows = 0;            ///< rows of the row space in which the current region works
  std::vector<uint8_t> active; ///< [rows] rows whose states and keys may change
  unsigned masked = 0;         ///< `where`s with a condition per row around the current op
  ParamStore<T> params;
  std::string error;

  const V &get(mlir::Value value) const { return env.find(value)->second; }
  void set(mlir::Value value, V v) { env[value] = std::move(v); }

  /// All ops of a block up to its terminator, or those after `after`.
  mlir::LogicalResult runBlock(mlir::Block &block, mlir::Operation *after = nullptr);
  /// Records `message` with the place of `op`.
  mlir::LogicalResult fail(mlir::Operation *op, const llvm::Twine &message);

  /// An op with effects, or one that reads columns: each form has its own.
  virtual mlir::LogicalResult evalOwn(mlir::Operation *op) = 0;
  /// Positions of the rows that `rope` turns; `lanes` is null in SOURCE.
  virtual std::vector<int64_t> positions(mlir::Value lanes) = 0;

  /// Are none of the operands' values different from row to row?
  bool uniformOperands(mlir::Operation *op) const {
    return llvm::all_of(op->getOperands(), [&](mlir::Value v) { return get(v).uniform; });
  }
  /// A result for `value` with the right element storage.
  V make(mlir::Value value, bool uniform) const;
  /// Rows of `fresh` where the mask is set, else rows of `kept`.
  V merge(const V &kept, const V &fresh, const std::vector<uint8_t> &mask) const;
  /// The same value with a row of its own for every row.
  V spread(const V &value) const;

private:
  mlir::LogicalResult evalParam(mlir::loop::ParamOp op);
  mlir::LogicalResult evalStack(mlir::loop::StackOp op);
  mlir::LogicalResult evalWhere(mlir::loop::WhereOp op);

  llvm::DenseMap<mlir::Value, V> env;
  RuleTable<T> rules;
  llvm::DenseMap<mlir::OperationName, Rule<T>> found;
};

inline bool isReal(mlir::Type type) { return llvm::isa<mlir::FloatType>(mlir::getElementTypeOrSelf(type)); }
inline int64_t widthOf(mlir::Type type) {
  return llvm::isa<mlir::RankedTensorType>(type) ? mlir::loop::getFeatureCount(type) : 1;
}

/// `loc: op: message` without going through a diagnostic handler.
std::string locatedMessage(mlir::Operation *op, const llvm::Twine &message);

} // namespace loopc::interp

#endif
