// The machine of the SOURCE form: columns of tokens, loops with exits, keys by plane.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_SOURCEMACHINE_H
#define LOOPC_LIB_INTERP_SOURCEMACHINE_H

#include "Machine.h"
#include "SourceMemory.h"

namespace loopc::interp {

/// One token of the chunk in work.
template <typename T> struct SourceRow {
  SourceSequence<T> *sequence;
  uint32_t id, position; ///< sequence's number, position in it
  SourceResult *result;  ///< where its outputs go …
  size_t index;          ///< … and which of them it is
};

template <typename T> class SourceMachine final : public Machine<T> {
public:
  using V = Val<T>;
  SourceMachine(mlir::loop::ModelOp model, mlir::loop::ForwardOp forward, ParamProvider &provider, DrawFunction draw);

  /// Runs the program for `tokens` and fills their results. They must be the next positions of their sequences.
  mlir::LogicalResult run(std::vector<SourceRow<T>> tokens, const SourceFeed &options);

  mlir::loop::ModelOp model;
  mlir::loop::ForwardOp forward;
  /// Sums of the last run by weight and table.
  std::map<std::pair<mlir::Operation *, int64_t>, std::vector<T>> gradients;
  mlir::loop::RecurOp scheduled; ///< the outermost loop on the way to the readout; null if there is none

  /// Must every token finish before the next one begins?
  bool tokenOrder();
  /// Do all tokens of a sequence run again when others are appended?
  bool wholeSequence();
  /// Iterations of `count` for a sequence.
  int64_t countOf(const SequenceConfig &config, llvm::StringRef count);

  mlir::LogicalResult evalOwn(mlir::Operation *op) override;
  std::vector<int64_t> positions(mlir::Value) override;

private:
  struct Frame {
    mlir::loop::RecurOp op;
    int64_t iteration;
  };
  mlir::LogicalResult evalRecur(mlir::loop::RecurOp op);
  mlir::LogicalResult evalCheck(mlir::loop::CheckOp op);
  mlir::LogicalResult evalFold(mlir::loop::FoldOp op);
  mlir::LogicalResult evalAttend(mlir::loop::AttendOp op);
  mlir::LogicalResult evalNoise(mlir::loop::NoiseOp op);
  mlir::LogicalResult evalRewind(mlir::loop::RewindOp op);
  mlir::LogicalResult evalAccumulate(mlir::loop::AccumulateOp op);
  /// Attention of a rewound body, over the tokens that run together: they are all that training has.
  mlir::LogicalResult attendTogether(mlir::loop::AttendOp op);
  mlir::LogicalResult evalAttendAdjoint(mlir::loop::AttendAdjointOp op);
  /// Rows that row `r` sees, by position.
  template <typename Op> std::vector<size_t> seen(Op op, size_t r);
  mlir::LogicalResult evalState(mlir::Operation *op, mlir::OperandRange index);
  mlir::LogicalResult readout(int64_t iteration);
  /// Has this token completed iteration `iteration` of the scheduled loop?
  bool ran(const SourceRow<T> &row, int64_t iteration);
  void applyExit(mlir::loop::RecurOp op, int64_t t, const std::vector<uint8_t> &runs, std::vector<uint8_t> &left,
                 std::vector<int32_t> &depth, llvm::ArrayRef<V> states, llvm::SmallVectorImpl<V> &selected);
  void record(llvm::StringRef name, mlir::Type type, const V &value);
  /// Is a test of `op` due after iteration `t`?
  bool due(mlir::loop::RecurOp op, const SequenceConfig &config, int64_t t);
  ExitUse exitUse(mlir::loop::RecurOp op, const SequenceConfig &config);

  DrawFunction draw;
  std::vector<SourceRow<T>> tokens;
  SourceFeed options;
  std::vector<Frame> frames;
  unsigned rewinding = 0; ///< `rewind`s around the current op
  bool checking = false; ///< in a check of the scheduled loop: attention is that of the readout
  int64_t context = 0; ///< 0: committed; t + 1: the readout after iteration t
};

} // namespace loopc::interp

#endif
