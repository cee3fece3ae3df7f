// task-plan-memory: row buffers whose lives do not overlap share bytes of the arena.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A buffer lives from its first to its last use; a use inside a loop or branch of the buffer's block counts as the
// whole of it. Sizes and offsets are bytes per row of capacity, so one plan serves every capacity.
#include "BufferLives.h"
#include "loopc/CodeGen/Passes.h"
#include "loopc/Transforms/Remarks.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace loopc::codegen;

std::vector<BufferLife> loopc::codegen::bufferLives(task::ProgramOp program) {
  // Number the ops; an op with regions spans its contents.
  llvm::DenseMap<Operation *, std::pair<int, int>> span;
  int counter = 0;
  std::function<void(Operation *)> number = [&](Operation *op) {
    int begin = counter++;
    for (Region &region : op->getRegions())
      for (Block &block : region)
        for (Operation &inner : block)
          number(&inner);
    span[op] = {begin, counter++};
  };
  number(program);
  std::vector<BufferLife> lives;
  program.walk([&](task::BufferOp buffer) {
    BufferLife life{buffer, INT_MAX, -1, static_cast<int64_t>(llvm::alignTo(task::getRowBytes(buffer.getType()), 64) * buffer.getPlanes().value_or(1) *
                                         buffer.getRows().value_or(1))};
    SmallVector<Operation *> users(buffer->getUsers());
    for (Operation *user : buffer->getUsers())
      if (isa<task::PlaneOp>(user))
        llvm::append_range(users, user->getUsers());
    for (Operation *user : users) {
      Operation *ancestor = buffer->getBlock()->findAncestorOpInBlock(*user);
      life.begin = std::min(life.begin, span[ancestor].first);
      // Up to the end of the next phase: bytes taken over at once would need a sync of their own.
      Operation *next = ancestor->getNextNode();
      while (next && next->getNumRegions() == 0)
        next = next->getNextNode();
      life.end = std::max(life.end, span[next ? next : ancestor].second);
    }
    // Nothing of a buffer inside a loop body is alive outside it, but the body as a whole repeats: the span is enough.
    lives.push_back(life);
  });
  return lives;
}

namespace {
struct PlanMemoryPass : PassWrapper<PlanMemoryPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PlanMemoryPass)
  StringRef getArgument() const final { return "task-plan-memory"; }
  StringRef getDescription() const final { return "assigns arena offsets to row buffers"; }

  void runOnOperation() final {
    for (auto program : getOperation().getOps<task::ProgramOp>())
      plan(program);
  }

  void plan(task::ProgramOp program) {
    std::vector<BufferLife> lives = bufferLives(program);
    std::vector<BufferLife *> order, fixed;
    int64_t sum = 0;
    for (BufferLife &life : lives) {
      if (life.end < 0) {
        life.buffer.erase();
        continue;
      }
      if (life.buffer.getRows()) {
        fixed.push_back(&life);
        continue;
      }
      sum += life.bytes;
      order.push_back(&life);
    }
    Builder b(&getContext());
    int64_t total = place(order);
    program.setArenaAttr(b.getI64IntegerAttr(total));
    if (!fixed.empty())
      program.setFixedAttr(b.getI64IntegerAttr(place(fixed)));
    if (order.empty())
      return;
    for (auto model : getOperation().getOps<loop::ModelOp>())
      loopc::addRemark(model, loopc::RemarkId::ArenaPlanned, program.getSymName(), order.size(), sum, total);
  }

  /// Gives offsets to buffers; those alive at the same time share no byte. Gives the bytes of all.
  int64_t place(std::vector<BufferLife *> &order) {
    int64_t total = 0;
    llvm::stable_sort(order, [](BufferLife *a, BufferLife *b) { return a->bytes > b->bytes; });
    std::vector<std::pair<BufferLife *, int64_t>> placed;
    Builder b(&getContext());
    for (BufferLife *life : order) {
      // First fit between the placed buffers that are alive at the same time.
      std::vector<std::pair<int64_t, int64_t>> taken;
      for (auto &[other, offset] : placed)
        if (other->begin <= life->end && life->begin <= other->end)
          taken.push_back({offset, offset + other->bytes});
      llvm::sort(taken);
      int64_t at = 0;
      for (auto [begin, end] : taken) {
        if (at + life->bytes <= begin)
          break;
        at = std::max(at, end);
      }
      life->buffer.setOffsetAttr(b.getI64IntegerAttr(at));
      placed.push_back({life, at});
      total = std::max(total, at + life->bytes);
    }
    return total;
  }
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createPlanMemoryPass() { return std::make_unique<PlanMemoryPass>(); }
