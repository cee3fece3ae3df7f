// Small questions that several passes ask about a program.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_TRANSFORMS_PROGRAM_H
#define LOOPC_LIB_TRANSFORMS_PROGRAM_H

#include "loopc/Dialect/Loop/Loop.h"
#include "llvm/ADT/DenseMap.h"

#include <string>

namespace loopc {

/// The program of a model in SOURCE or PLANNED, or null.
mlir::loop::ForwardOp getForward(mlir::loop::ModelOp model);

/// The symbol of a model-level op, or null.
template <typename OpT> OpT lookup(mlir::loop::ModelOp model, mlir::FlatSymbolRefAttr name) {
  return name ? mlir::dyn_cast_or_null<OpT>(mlir::SymbolTable::lookupSymbolIn(model, name.getAttr())) : OpT();
}

/// The type of matrices or K/V rows that a command line names: f32, bf16, f16. Null for another word.
mlir::FloatType getNumberType(mlir::MLIRContext *context, llvm::StringRef word);

/// True for an op that reads keys and values of other positions, or holds one.
bool attends(mlir::Operation *op);

/// True for recur, stack and where.
bool isBodyOp(mlir::Operation *op);

/// The recurrence whose iterations the scheduler runs: the outermost one that stands directly in the program. Null
/// without one.
mlir::loop::RecurOp getScheduledRecur(mlir::loop::ForwardOp forward);

/// The only op of arith, math or tensor that works element by element.
bool isElementFunction(mlir::Operation *op);

/// Names of the states of a recurrence: its attribute `state_names`, else the name of a tap on the yielded value, else
/// NAME.i.
llvm::SmallVector<std::string> getStateNames(mlir::loop::RecurOp recur);
void setStateNames(mlir::loop::RecurOp recur, llvm::ArrayRef<std::string> names);

/// Which values are the same for all tokens of all requests: made of weights and constants only.
class ParameterValues {
public:
  bool contains(mlir::Value value);

private:
  llvm::DenseMap<mlir::Value, bool> known;
};

/// Rebuilds a recur, stack, where or check with one more state, which the body passes on; the body moves. Only before
/// LANES. `argument`: the state in the body.
mlir::Operation *addState(mlir::Operation *op, mlir::Value init, llvm::StringRef name, mlir::Value &argument);
/// The result of the last state of a body op.
mlir::Value lastState(mlir::Operation *op);
/// What the last state of a body op yields.
void yieldLast(mlir::Operation *op, mlir::Value value);
/// The exit test of the scheduled recur that stands beside the iteration; null if there is none.
mlir::loop::CheckOp getCheck(mlir::loop::RecurOp recur);

/// Moves the exit test beside the iteration behind the recur, where it becomes a stage. Its states stay states of the
/// recur, which passes them on; values of the body that it reads become states too, unless they cost nothing.
mlir::LogicalResult moveExitCheck(mlir::loop::ModelOp model, mlir::loop::ForwardOp forward);

/// Turns `names` of taps in nested bodies into taps that stand directly in the program: each value becomes one more
/// state of every body around it, zero until its op first runs. Names {"*"} means all. Taps not named are erased.
void threadObservedTaps(mlir::loop::ForwardOp forward, llvm::ArrayRef<std::string> names);

} // namespace loopc

#endif
