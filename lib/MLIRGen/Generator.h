// The walk from Program to SOURCE; split over MLIRGen.cpp (structure) and GenFeatures.cpp (straight code).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_MLIRGEN_GENERATOR_H
#define LOOPC_LIB_MLIRGEN_GENERATOR_H

#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Frontend/Program.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/StringSet.h"

namespace loopc {

class Generator {
public:
  Generator(mlir::MLIRContext &context, const frontend::Program &program, llvm::StringRef format);
  mlir::OwningOpRef<mlir::ModuleOp> run(bool training);

private:
  using Op = frontend::ProgramOp;

  // Structure: MLIRGen.cpp
  mlir::LogicalResult declarations();
  mlir::LogicalResult weight(uint32_t index);
  mlir::LogicalResult region(const frontend::ProgramRegion &body);
  mlir::LogicalResult op(const Op &op);
  mlir::LogicalResult loop(const Op &op);
  mlir::LogicalResult stack(const Op &op);
  mlir::LogicalResult check(const Op &op);
  mlir::LogicalResult where(const Op &op);
  mlir::LogicalResult attend(const Op &op);
  mlir::LogicalResult carry(const Op &op);
  /// The operands from `first` on.
  llvm::SmallVector<mlir::Value> operands(const Op &op, size_t first);
  /// Generates the region of `op` as the body of `made`: block arguments are an index (counted from `begin`), if `indexed`, and the
  /// states; the yields become the results.
  mlir::LogicalResult fill(const Op &op, mlir::Operation *made, bool indexed, int64_t begin = 0);
  mlir::FailureOr<mlir::loop::KVAttr> policy(const frontend::ProgramLoop &loop);

  // Straight code: GenFeatures.cpp
  mlir::FailureOr<mlir::Value> feature(const Op &op);
  /// A flag of indices as a tensor.
  mlir::Value ranked(mlir::Value value, mlir::Location loc);
  mlir::FailureOr<mlir::Value> constant(const Op &op);
  mlir::FailureOr<mlir::Value> unary(const Op &op);
  mlir::FailureOr<mlir::Value> binary(const Op &op);
  mlir::FailureOr<mlir::Value> compare(const Op &op);
  mlir::FailureOr<mlir::Value> cast(const Op &op);
  mlir::FailureOr<mlir::Value> linear(const Op &op);
  mlir::FailureOr<mlir::Value> norm(const Op &op);
  mlir::FailureOr<mlir::Value> reduce(const Op &op);
  mlir::FailureOr<mlir::Value> fold(const Op &op);
  mlir::FailureOr<mlir::Value> pick(const Op &op);
  mlir::FailureOr<mlir::Value> option(const Op &op);

  mlir::Location at(const frontend::ProgramLoc &loc);
  mlir::InFlightDiagnostic refuse(const frontend::ProgramLoc &loc) { return mlir::emitError(at(loc)); }
  mlir::Value value(const Op &op, size_t operand) const { return values.lookup(op.operands[operand]); }
  const frontend::ProgramType &typeOf(frontend::ValueId id) const { return program.values[id].type; }
  /// The type of a value: index for indices, i1 for uniform conditions, else a tensor of one token's features.
  mlir::Type type(frontend::ValueId id);
  mlir::RankedTensorType tensor(frontend::ValueId id);
  mlir::Type element(frontend::ElementType kind);
  /// A table or layer index: folds constants of another integer type.
  mlir::FailureOr<mlir::Value> index(const Op &op, size_t operand);
  /// The symbol of a weight or site: its path with a hole for each number, made distinct from all other symbols of the model.
  std::string symbol(llvm::StringRef path);

  mlir::MLIRContext &context;
  const frontend::Program &program;
  llvm::StringRef format;
  mlir::OpBuilder b;
  llvm::DenseMap<frontend::ValueId, mlir::Value> values;
  mlir::OpBuilder::InsertPoint symbols; ///< where counts and sites go
  llvm::StringSet<> taken;                            ///< symbols of the model, those of later passes included
  std::vector<std::string> weightSymbols, siteSymbols; ///< by index
};

} // namespace loopc
#endif
