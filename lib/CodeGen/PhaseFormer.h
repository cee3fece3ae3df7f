// Turns one LANES stage, or a training step in SOURCE, into a task.program.
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
  /// A row of a step is a token, all of it, so its program is that of SOURCE: no caches, nothing split.
  mlir::LogicalResult formStep(mlir::loop::ForwardOp step);

private:
  // Control (FormControl.cpp).
  mlir::LogicalResult formProgram(mlir::Operation *stage, llvm::StringRef name, mlir::Block &block);
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

  // Ops of training (FormTrain.cpp).
  /// The block of a step; what is as wide as the logits of a loss, for some rows after the other.
  mlir::LogicalResult formChunks(mlir::Block &block);
  bool formOwn(mlir::Operation *op);
  mlir::LogicalResult formTurns(mlir::loop::RecurOp op);
  mlir::LogicalResult formRewind(mlir::loop::RewindOp op);
  mlir::LogicalResult formAccumulate(mlir::loop::AccumulateOp op);
  mlir::LogicalResult formAttendRows(mlir::loop::AttendOp op);
  mlir::LogicalResult formAttendAdjoint(mlir::loop::AttendAdjointOp op);
  mlir::LogicalResult formLoss(mlir::Operation *op);
  /// Runs `body` inside a loop over a count or layers; it gets the index. `window`: a count's last iterations only.
  mlir::LogicalResult formLoop(mlir::Operation *op, mlir::FlatSymbolRefAttr count, std::optional<uint64_t> layers, bool backward, bool window,
                               llvm::function_ref<mlir::LogicalResult(mlir::Value)> body);
  /// Buffers with a plane for each iteration of a loop with these states.
  llvm::SmallVector<mlir::Value> makePlanes(mlir::ValueRange states, mlir::Operation *op, mlir::FlatSymbolRefAttr count,
                                            std::optional<uint64_t> layers);
  View planeOf(mlir::Value planes, mlir::Value index, mlir::Type tensor);
  /// Buffers that keep the states of a loop which a rewind behind it needs; none if there is no such rewind.
  llvm::SmallVector<mlir::Value> keptFor(mlir::Operation *loop, mlir::StringAttr name, mlir::ValueRange states);
  void keepStates(llvm::ArrayRef<mlir::Value> planes, mlir::Value index, llvm::ArrayRef<View> states);
  mlir::Value given(llvm::StringRef what, llvm::StringRef name, mlir::Type element);


  View denseView(mlir::Value value);

  // Open map.
  bool isElementwise(mlir::Operation *op) const;
  bool inOpenMap(mlir::Value value) const;
  void closeMap();

  // Helpers.
  View get(mlir::Value value);
  mlir::Value buffer(mlir::task::MemType type);
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
  mlir::Operation *stage = nullptr;
  static constexpr int64_t chunkRows = 256; ///< a multiple of the rows whose sum is added to a gradient at once
  int64_t chunkWidth = 0;                   ///< inside chunks: buffers from this width on have chunkRows rows
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::Value>> kept; ///< by rewind: planes that its loop has filled
  /// What an attention among rows of q, k, v has given: the result and, of each head, the logarithm of its sum.
  struct Attended {
    llvm::SmallVector<mlir::Value, 3> of;
    mlir::ArrayAttr how;
    View result, sums;
  };
  llvm::SmallVector<Attended, 0> attended;
  template <typename Op> Attended attendRows(Op op, mlir::Type type);
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
