// task-place-syncs, task-check: phases that conflict are separated by a sync on every path (law T5).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The program is walked in order with the accesses since the last sync. Loop bodies are walked twice: the second time
// the accesses at the end of the body stand before it, which finds conflicts over the back edge. Two accesses of rows
// phases over the same list are of the same worker (row i of the list is in the same place of the cut), unless the list
// has changed between them.
#include "BufferLives.h"
#include "loopc/CodeGen/Passes.h"
#include "loopc/CodeGen/PhaseCosts.h"
#include "loopc/Transforms/Remarks.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {
enum class Resource { Arena, Fixed, Field, Pool, Columns, Out, Gradient };

struct Access {
  Resource resource;
  int64_t begin, end; // bytes per row in the arena or slot; pool number
  bool write;
  Value list;      // of a rows phase, else null: any worker may touch any row
  Value identity;  // the buffer: rows of two buffers that share bytes are not in the same place
  task::PhaseOp phase;
};

class Walker {
public:
  Walker(task::ProgramOp program, bool insert) : program(program), insert(insert) {}

  LogicalResult run() {
    SmallVector<Access, 4> pending;
    if (failed(walk(program.getBody().front(), pending)))
      return failure();
    int64_t count = 0;
    program.walk([&](task::SyncOp sync) { sync.setId(count++); });
    if (insert)
      program.setSyncsAttr(Builder(program.getContext()).getI64IntegerAttr(count));
    return success();
  }

private:
  using Pending = SmallVector<Access, 4>;

  static bool conflict(const Access &a, const Access &b) {
    if (a.resource != b.resource || a.end <= b.begin || b.end <= a.begin || !(a.write || b.write))
      return false;
    return !(a.list && a.list == b.list && a.identity == b.identity);
  }

  LogicalResult need(Operation *before, Pending &pending, ArrayRef<Access> now) {
    for (const Access &earlier : pending)
      for (const Access &access : now) {
        if (!conflict(earlier, access))
          continue;
        if (!insert)
          return before->emitOpError("expected a task.sync between it and phase \"")
                 << (earlier.phase ? task::PhaseOp(earlier.phase).getName() : StringRef("rounds")) << "\", but got none";
        OpBuilder b(program.getContext());
        if (before->hasTrait<OpTrait::NoTerminator>() && isa<task::RoundsOp>(before))
          b.setInsertionPointToEnd(&cast<task::RoundsOp>(before).getBody().front());
        else
          b.setInsertionPoint(before);
        task::SyncOp::create(b, before->getLoc(), 0);
        pending.clear();
        return success();
      }
    return success();
  }

  void add(Pending &pending, ArrayRef<Access> now) { pending.append(now.begin(), now.end()); }

  void access(SmallVectorImpl<Access> &result, task::PhaseOp phase, Value memory, bool write) {
    Value list = phase.getItems() == task::Items::rows ? phase.getList() : Value();
    if (auto plane = memory.getDefiningOp<task::PlaneOp>()) // of the buffer, wherever in it
      memory = plane.getBuffer();
    Operation *def = memory.getDefiningOp();
    auto type = cast<task::MemType>(memory.getType());
    if (auto buffer = dyn_cast_or_null<task::BufferOp>(def)) {
      // Without a memory plan every buffer has bytes of its own.
      int64_t begin = buffer.getOffset() ? *buffer.getOffset() : 0;
      int64_t bytes = llvm::alignTo(task::getRowBytes(type), 64) * buffer.getPlanes().value_or(1) * buffer.getRows().value_or(1);
      if (!buffer.getOffset()) {
        auto [entry, fresh] = unplanned.insert({memory, nextUnplanned});
        if (fresh)
          nextUnplanned += bytes;
        begin = entry->second;
      }
      result.push_back({buffer.getRows() ? Resource::Fixed : Resource::Arena, begin, begin + bytes, write, list, memory, phase});
    } else if (auto field = dyn_cast_or_null<task::FieldOp>(def)) {
      int64_t begin = field.getOffset();
      result.push_back({Resource::Field, begin, begin + task::getRowBytes(type), write, list, Value(), phase});
    } else if (auto column = dyn_cast_or_null<task::ColumnOp>(def)) {
      if (column.getColumn() == loop::Column::iteration)
        result.push_back({Resource::Columns, 0, 1, write, list, Value(), phase});
    } else if (auto gradient = dyn_cast_or_null<task::GradientOp>(def)) {
      int64_t entry = gradient.getEntry(); // tables of a weight follow one another
      result.push_back({Resource::Gradient, entry, entry + 1, write, Value(), Value(), phase});
    } else if (isa_and_nonnull<task::OutOp>(def)) {
      result.push_back({Resource::Out, 0, 1, write, list, Value(), phase});
    }
  }

  SmallVector<Access, 4> accesses(task::PhaseOp phase) {
    SmallVector<Access, 4> result;
    Value list = phase.getItems() == task::Items::rows ? phase.getList() : Value();
    for (auto item : phase.getBody().front().getOps<task::ItemOpInterface>()) {
      for (Value memory : item.getIns())
        access(result, phase, memory, false);
      for (Value memory : item.getOuts())
        access(result, phase, memory, true);
      if (int64_t pool = item.getPoolRead(); pool >= 0)
        result.push_back({Resource::Pool, pool, pool + 1, false, list, Value(), phase});
      if (int64_t pool = item.getPoolWritten(); pool >= 0)
        result.push_back({Resource::Pool, pool, pool + 1, true, list, Value(), phase});
      if (item.getPoolRead() >= 0 || item.getPoolWritten() >= 0) // the plane is a function of the iteration
        result.push_back({Resource::Columns, 0, 1, false, list, Value(), phase});
      if (item.writesColumns())
        result.push_back({Resource::Columns, 0, 1, true, list, Value(), phase});
    }
    return result;
  }

  LogicalResult walk(Block &block, Pending &pending) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (isa<task::SyncOp>(op)) {
        pending.clear();
      } else if (auto phase = dyn_cast<task::PhaseOp>(op)) {
        SmallVector<Access, 4> now = accesses(phase);
        if (failed(need(phase, pending, now)))
          return failure();
        add(pending, now);
      } else if (auto layers = dyn_cast<task::LayersOp>(op)) {
        for (int pass = 0; pass < 2; ++pass)
          if (failed(walk(layers.getBody().front(), pending)))
            return failure();
      } else if (auto branch = dyn_cast<task::IfOp>(op)) {
        Pending inner = pending;
        if (failed(walk(branch.getBody().front(), inner)))
          return failure();
        add(pending, inner);
      } else if (isa<task::TurnsOp, task::ChunksOp>(op)) {
        Pending before = pending;
        for (int pass = 0; pass < 2; ++pass) {
          for (Access &access : pending) // another turn, another list
            access.list = pass ? Value() : access.list;
          if (failed(walk(op.getRegion(0).front(), pending)))
            return failure();
        }
        add(pending, before);
      } else if (auto rounds = dyn_cast<task::RoundsOp>(op)) {
        Pending before = pending;
        Access scan{Resource::Columns, 0, 1, false, Value(), Value(), {}};
        for (int pass = 0; pass < 2; ++pass) {
          if (pass == 1) {
            for (Access &access : pending) // another round, another list
              access.list = {};
            if (failed(need(rounds, pending, scan)))
              return failure();
          }
          add(pending, scan);
          if (failed(walk(rounds.getBody().front(), pending)))
            return failure();
        }
        add(pending, before);
      }
    }
    return success();
  }

  task::ProgramOp program;
  bool insert;
  llvm::DenseMap<Value, int64_t> unplanned;
  int64_t nextUnplanned = int64_t(1) << 40;
};

struct PlaceSyncsPass : PassWrapper<PlaceSyncsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PlaceSyncsPass)
  StringRef getArgument() const final { return "task-place-syncs"; }
  StringRef getDescription() const final { return "separates phases that conflict"; }
  void runOnOperation() final {
    for (auto program : getOperation().getOps<task::ProgramOp>()) {
      if (failed(Walker(program, true).run()))
        return signalPassFailure();
      for (auto model : getOperation().getOps<loop::ModelOp>())
        remark(model, program);
    }
  }

  /// How many phases and syncs a call runs through; of a looped stage, an iteration.
  static void remark(loop::ModelOp model, task::ProgramOp program) {
    PhaseTable table = phaseCosts(program);
    double phases = 0, syncs = 0;
    bool rounds = false;
    for (const PhaseCost &phase : table.phases) {
      phases += phase.times;
      syncs += phase.syncs;
      rounds |= phase.rounds;
    }
    loopc::addRemark(model, loopc::RemarkId::SyncsPlaced, program.getSymName(), int64_t(phases), int64_t(syncs),
                     rounds ? "an iteration" : "a call");
  }
};

struct TaskCheckPass : PassWrapper<TaskCheckPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TaskCheckPass)
  StringRef getArgument() const final { return "task-check"; }
  StringRef getDescription() const final { return "refuses conflicting phases without a sync and overlapping buffers"; }
  void runOnOperation() final {
    for (auto program : getOperation().getOps<task::ProgramOp>()) {
      if (failed(Walker(program, false).run()))
        return signalPassFailure();
      std::vector<BufferLife> lives = bufferLives(program);
      for (size_t i = 0; i < lives.size(); ++i)
        for (size_t j = 0; j < i; ++j) {
          BufferLife &a = lives[i], &b = lives[j];
          if (a.buffer.getRows().has_value() != b.buffer.getRows().has_value() || !a.buffer.getOffset() || !b.buffer.getOffset() || a.end < 0 || b.end < 0)
            continue;
          int64_t x = *a.buffer.getOffset(), y = *b.buffer.getOffset();
          if (a.begin <= b.end && b.begin <= a.end && x < y + b.bytes && y < x + a.bytes) {
            a.buffer.emitOpError("expected bytes of its own, but got those of a buffer that is alive at the same time");
            return signalPassFailure();
          }
        }
    }
  }
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createPlaceSyncsPass() { return std::make_unique<PlaceSyncsPass>(); }
std::unique_ptr<Pass> loopc::codegen::createTaskCheckPass() { return std::make_unique<TaskCheckPass>(); }
