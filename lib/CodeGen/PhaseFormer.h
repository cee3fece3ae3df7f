// Turns one LANES stage into a task.program.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_CODEGEN_PHASEFORMER_H
#define LOOPC_LIB_CODEGEN_PHASEFORMER_H

#include "loopc/CodeGen/Layout.h"
#include "loopc/Dialect/Task/Task.h"
#include "mlir/IR/IRMapping.h"

namespace loopc::codegen {

/// Elements of a memory that are a value: element (i, j, …) of `shape` is at offset + i * strides[0] + …. A value
/// without feature axes has shape [1].
struct View {
  mlir::Value root;
  int64_t offset = 0;
  llvm::SmallVector<int64_t> shape, strides;
  int64_t elements() const;
  bool contiguous() const;
  mlir::Type element() const { return llvm::cast<mlir::task::MemType>(root.getType()).getElement(); }
};

/// Feature axes of a row tensor; [1] for a value without any.
llvm::SmallVector<int64_t> featureShape(mlir::Type tensor);
/// Strides of consecutive elements.
llvm::SmallVector<int64_t> denseStrides(llvm::ArrayRef<int64_t> shape);
/// The value of all elements if the view is of a one-element constant, else null.
mlir::Attribute splatOf(const View &view);

/// Walks a stage in order. Element functions of one shape gather in an *open map*; ops on rows gather in the current
/// rows phase; linear and attend make phases of their own; reshapes, slices, broadcasts, loads are views.
class PhaseFormer {
public:
  PhaseFormer(const ModelLayout &layout, mlir::OpBuilder &builder) : layout(layout), b(builder) {}
  mlir::LogicalResult formStage(mlir::loop::StageOp stage);

private:
  // Control (FormControl.cpp).
  mlir::LogicalResult formBlock(mlir::Block &block);
  mlir::LogicalResult form(mlir::Operation *op);
  mlir::LogicalResult formRecur(mlir::loop::RecurOp op);
  mlir::LogicalResult formStack(mlir::loop::StackOp op);
  mlir::LogicalResult formWhere(mlir::loop::WhereOp op);
  mlir::LogicalResult formReturn(mlir::loop::ReturnOp op);
  llvm::SmallVector<View> makeStates(mlir::ValueRange initial);
  mlir::LogicalResult writeStates(mlir::Operation *yield, mlir::ValueRange values, llvm::ArrayRef<View> states);
  mlir::LogicalResult formBody(mlir::Block &source, unsigned first, llvm::ArrayRef<View> states);

  // Views (FormViews.cpp) and row ops (FormRows.cpp).
  bool formView(mlir::Operation *op, mlir::LogicalResult &result);
  mlir::LogicalResult formRowOp(mlir::Operation *op);
  /// The panels of a weight; null if it has none.
  mlir::Value panelsOf(mlir::Value weight);
  mlir::LogicalResult formLinear(mlir::loop::LinearOp op);
  mlir::LogicalResult formAttend(mlir::loop::KVAttendOp op);
  mlir::LogicalResult formFold(mlir::loop::FoldOp op);
  mlir::LogicalResult formAppend(mlir::loop::KVAppendOp op);
  mlir::LogicalResult formState(mlir::Operation *op);

  // Open map.
  bool isElementwise(mlir::Operation *op) const;
  bool inOpenMap(mlir::Value value) const;
  void closeMap();

  // Helpers.
  View get(mlir::Value value);
  View makeBuffer(mlir::Type tensor);
  View makeView(mlir::Value root, mlir::Type tensor);
  View materialise(const View &view);
  void copy(const View &from, const View &to, mlir::Location loc);
  mlir::OpBuilder &memory();
  mlir::OpBuilder &rowPhase();
  void flush();
  mlir::ArrayAttr viewsOf(llvm::ArrayRef<View> views);
  mlir::task::ViewAttr viewAttr(int64_t offset, llvm::ArrayRef<int64_t> strides);
  mlir::Value list();
  std::string phaseName(llvm::StringRef kind);

  const ModelLayout &layout;
  mlir::OpBuilder &b;      // at the end of the block being formed
  mlir::loop::StageOp stage;
  llvm::DenseMap<mlir::Value, View> views;
  mlir::IRMapping scalars;
  llvm::SmallVector<mlir::Operation *> open;
  llvm::SmallVector<int64_t> openShape;
  mlir::task::PhaseOp rows;
  std::unique_ptr<mlir::OpBuilder> memoryBuilder, rowBuilder;
  mlir::Value currentList;
  llvm::StringMap<int> names;
};

} // namespace loopc::codegen
#endif
