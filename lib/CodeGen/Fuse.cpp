// task-fuse: maps that only follow a linear become its epilogue, roundings behind attention go into it; copies into states, fields and outputs go away.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Neither changes a number: an element is computed by the same scalar ops in the same order, only elsewhere.
#include "loopc/CodeGen/Passes.h"
#include "loopc/Dialect/Task/Task.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::task;

namespace {

ViewAttr viewOf(ItemOpInterface item, unsigned i) { return cast<ViewAttr>(item.getViews()[i]); }

// The next op in the block that does something.
Operation *nextAction(Operation *op) {
  op = op->getNextNode();
  while (op && (isa<BufferOp, ParamOp, FieldOp, ColumnOp, KnobOp, OutOp, ConstantOp>(op) || op->getNumRegions() == 0) && !isa<SyncOp>(op))
    op = op->getNextNode();
  return op;
}

//===-- epilogues -------------------------------------------------------------------------------------------------===//

// The map behind a linear that may move into it, or null.
MapOp followingMap(PhaseOp phase, GemmOp gemm) {
  auto next = dyn_cast_or_null<PhaseOp>(nextAction(phase));
  if (!next || next.getItems() != Items::rows || next.getList() != phase.getList() || next.getBody().front().empty())
    return {};
  auto map = dyn_cast<MapOp>(next.getBody().front().front());
  if (!map || map.getShape().size() != 1 || gemm.getOuts().size() != 1)
    return {};
  Value sums = gemm.getOuts()[0];
  if (!sums.getDefiningOp<BufferOp>() || !cast<MemType>(sums.getType()).getElement().isF32())
    return {};
  for (Operation *user : sums.getUsers())
    if (user != gemm && user != map)
      return {};
  int64_t n = gemm.getShape()[0], columns = map.getShape()[0];
  if (gemm.getGroups() != 1 || n % columns != 0 || (n != columns && (columns % 32 != 0 || gemm.getIns().size() > 2)))
    return {};
  bool reads = false;
  ItemOpInterface item = map;
  for (unsigned i = 0; i < map->getNumOperands(); ++i) {
    ViewAttr view = viewOf(item, i);
    int64_t stride = view.getStrides()[0];
    bool output = i >= map.getIns().size();
    if (map->getOperand(i) == sums) {
      if (output || stride != 1 || view.getOffset() % columns != 0)
        return {};
      reads = true;
    } else if (stride != 1 && (output || stride != 0)) {
      return {};
    }
  }
  return reads ? map : MapOp();
}

void fuseEpilogue(GemmOp gemm, MapOp map) {
  OpBuilder b(gemm);
  Value sums = gemm.getOuts()[0];
  int64_t columns = map.getShape()[0], groups = gemm.getShape()[0] / columns;
  SmallVector<Value> ins(gemm.getIns()), outs(map.getOuts());
  SmallVector<Attribute> views(gemm.getViews().begin(), gemm.getViews().begin() + gemm.getIns().size());
  ItemOpInterface item = map;
  SmallVector<unsigned> taken; // map inputs that stay inputs
  for (unsigned i = 0; i < map.getIns().size(); ++i)
    if (map.getIns()[i] != sums) {
      ins.push_back(map.getIns()[i]);
      views.push_back(viewOf(item, i));
      taken.push_back(i);
    }
  for (unsigned i = 0; i < outs.size(); ++i)
    views.push_back(viewOf(item, map.getIns().size() + i));
  // The buffers that the map used may be made after the linear.
  Operation *phase = gemm->getParentOp();
  for (Value memory : llvm::concat<Value>(ins, outs))
    if (Operation *def = memory.getDefiningOp(); def->getBlock() == phase->getBlock() && phase->isBeforeInBlock(def))
      def->moveBefore(phase);
  auto fused = GemmOp::create(b, gemm.getLoc(), ins, outs, ArrayRef<int64_t>{columns}, b.getArrayAttr(views), gemm.getK(), groups);
  Block *block = b.createBlock(&fused.getBody());
  Location loc = map.getLoc();
  SmallVector<Value> accumulators;
  for (int64_t g = 0; g < groups; ++g)
    accumulators.push_back(block->addArgument(b.getF32Type(), loc));
  // First the linear's own epilogue (a bias).
  IRMapping mapping;
  Block &own = gemm.getBody().front();
  mapping.map(own.getArgument(0), accumulators[0]);
  for (BlockArgument argument : own.getArguments().drop_front(1))
    mapping.map(argument, block->addArgument(argument.getType(), loc));
  Block &source = map.getBody().front();
  for (unsigned i : taken)
    mapping.map(source.getArgument(i), block->addArgument(source.getArgument(i).getType(), loc));
  for (Operation &op : own.without_terminator())
    b.clone(op, mapping);
  if (groups == 1)
    accumulators[0] = mapping.lookup(own.getTerminator()->getOperand(0));
  for (unsigned i = 0; i < map.getIns().size(); ++i)
    if (map.getIns()[i] == sums)
      mapping.map(source.getArgument(i), accumulators[viewOf(item, i).getOffset() / columns]);
  for (Operation &op : source.without_terminator())
    b.clone(op, mapping);
  SmallVector<Value> yielded;
  for (Value value : source.getTerminator()->getOperands())
    yielded.push_back(mapping.lookupOrDefault(value));
  YieldOp::create(b, loc, yielded);
  Operation *mapPhase = map->getParentOp();
  map.erase();
  gemm.erase();
  sums.getDefiningOp()->erase();
  if (cast<PhaseOp>(mapPhase).getBody().front().empty())
    mapPhase->erase();
}

//===-- attention -------------------------------------------------------------------------------------------------===//

// What attention gives is only rounded to bf16 by the map behind it: then it writes it so.
void fuseRounding(AttendOp attend) {
  auto phase = cast<PhaseOp>(attend->getParentOp());
  auto next = dyn_cast_or_null<PhaseOp>(nextAction(phase));
  if (!next || next.getItems() != Items::rows || next.getList() != phase.getList() || next.getBody().front().empty())
    return;
  auto map = dyn_cast<MapOp>(next.getBody().front().front());
  Value from = attend.getOuts()[0];
  if (!map || map.getIns().size() != 1 || map.getOuts().size() != 1 || map.getIns()[0] != from || !from.hasNUses(2) ||
      !from.getDefiningOp<BufferOp>() || !map.getOuts()[0].getDefiningOp<BufferOp>())
    return;
  Block &body = map.getBody().front();
  auto rounding = dyn_cast<arith::TruncFOp>(body.front());
  if (!rounding || rounding->getNextNode() != body.getTerminator() || !rounding.getType().isBF16() || !rounding.getIn().getType().isF32() ||
      body.getTerminator()->getOperand(0) != rounding.getResult())
    return;
  Value to = map.getOuts()[0];
  auto whole = [](ItemOpInterface item, unsigned i, int64_t count) {
    return viewOf(item, i).getOffset() == 0 && viewOf(item, i).getStrides().back() == 1 &&
           cast<MemType>(item->getOperand(i).getType()).getCount() == count;
  };
  ArrayRef<int64_t> heads = attend.getShape();
  unsigned out = attend.getIns().size();
  int64_t count = heads[0] * heads[1];
  if (map.getShape().size() != 1 || map.getShape()[0] != count || viewOf(attend, out).getStrides()[0] != heads[1] || !whole(attend, out, count) ||
      !whole(map, 0, count) || !whole(map, 1, count))
    return;
  Operation *def = to.getDefiningOp();
  if (def->getBlock() == phase->getBlock() && phase->isBeforeInBlock(def))
    def->moveBefore(phase);
  attend.getOutsMutable().assign(to);
  map.erase();
  from.getDefiningOp()->erase();
  if (next.getBody().front().empty())
    next.erase();
}

//===-- copies ----------------------------------------------------------------------------------------------------===//

bool isCopy(MapOp map) {
  if (map.getIns().size() != 1 || map.getOuts().size() != 1 || map.getShape().size() != 1)
    return false;
  Block &block = map.getBody().front();
  return &block.front() == block.getTerminator() && block.getTerminator()->getOperand(0) == block.getArgument(0);
}

// Items from `begin` to `end` (exclusive both), in order; fails at loops, branches and syncs between them.
LogicalResult between(Operation *begin, Operation *end, SmallVectorImpl<ItemOpInterface> &items) {
  Operation *phase = begin->getParentOp(), *last = end->getParentOp();
  if (phase->getBlock() != last->getBlock() || (phase != last && !phase->isBeforeInBlock(last)))
    return failure();
  bool inside = false;
  for (Operation *at = phase; at; at = at->getNextNode()) {
    if (auto current = dyn_cast<PhaseOp>(at)) {
      for (Operation &op : current.getBody().front()) {
        if (&op == begin)
          inside = true;
        else if (&op == end)
          return success();
        else if (inside)
          items.push_back(cast<ItemOpInterface>(op));
      }
    } else if (at->getNumRegions()) {
      return failure();
    }
  }
  return failure();
}

/// Fields of one place are one memory, although every load and store names it anew.
bool aliases(Value a, Value b) {
  auto field = a.getDefiningOp<FieldOp>(), other = b.getDefiningOp<FieldOp>();
  return a == b || (field && other && field.getOffset() == other.getOffset());
}

bool removeCopy(MapOp map) {
  Value from = map.getIns()[0], to = map.getOuts()[0];
  auto buffer = from.getDefiningOp<BufferOp>();
  ItemOpInterface item = map;
  auto full = [&](unsigned i, Value memory) {
    return viewOf(item, i).getOffset() == 0 && viewOf(item, i).getStrides()[0] == 1 &&
           cast<MemType>(memory.getType()).getCount() == map.getShape()[0];
  };
  if (!buffer || !full(0, from) || !full(1, to) || from.getType() != to.getType())
    return false;
  Operation *writer = nullptr;
  for (Operation *user : from.getUsers())
    if (llvm::is_contained(cast<ItemOpInterface>(user).getOuts(), from)) {
      if (writer)
        return false;
      writer = user;
    }
  auto copyPhase = cast<PhaseOp>(map->getParentOp());
  if (!writer || cast<PhaseOp>(writer->getParentOp()).getList() != copyPhase.getList())
    return false;
  SmallVector<ItemOpInterface> items;
  if (failed(between(writer, map, items)))
    return false;
  for (ItemOpInterface other : items)
    if (llvm::any_of(other->getOperands(), [&](Value memory) { return aliases(memory, to); }))
      return false;
  for (Operation *user : from.getUsers()) // every reader stands before the copy
    if (user != writer && user != map && !llvm::is_contained(items, cast<ItemOpInterface>(user)))
      return false;
  // The writer may read the target only element by element, where it writes it.
  auto source = cast<ItemOpInterface>(writer);
  unsigned ins = source.getIns().size();
  ViewAttr written;
  for (auto [i, memory] : llvm::enumerate(source.getOuts()))
    if (memory == from)
      written = viewOf(source, ins + i);
  for (auto [i, memory] : llvm::enumerate(source->getOperands())) {
    if (!aliases(memory, to))
      continue;
    if (i >= ins || !source.isElementwise() || viewOf(source, i) != written || (isa<GemmOp>(writer) && i < 2))
      return false;
  }
  Operation *def = to.getDefiningOp(), *phase = writer->getParentOp();
  if (def->getBlock() == phase->getBlock() && phase->isBeforeInBlock(def))
    def->moveBefore(phase);
  map.erase();
  from.replaceAllUsesWith(to);
  buffer.erase();
  if (copyPhase.getBody().front().empty())
    copyPhase.erase();
  return true;
}

struct FusePass : PassWrapper<FusePass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FusePass)
  StringRef getArgument() const final { return "task-fuse"; }
  StringRef getDescription() const final { return "epilogues of linears, rounding behind attention, copies that are not needed"; }
  void runOnOperation() final {
    for (auto program : getOperation().getOps<ProgramOp>()) {
      SmallVector<GemmOp> gemms;
      program.walk([&](GemmOp gemm) { gemms.push_back(gemm); });
      for (GemmOp gemm : gemms)
        if (MapOp map = followingMap(cast<PhaseOp>(gemm->getParentOp()), gemm))
          fuseEpilogue(gemm, map);
      SmallVector<AttendOp> attends;
      program.walk([&](AttendOp attend) { attends.push_back(attend); });
      for (AttendOp attend : attends)
        fuseRounding(attend);
      for (bool changed = true; changed;) {
        changed = false;
        SmallVector<MapOp> copies;
        program.walk([&](MapOp map) {
          if (isCopy(map))
            copies.push_back(map);
        });
        for (MapOp copy : copies)
          if (removeCopy(copy)) {
            changed = true;
            break;
          }
      }
    }
  }
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createFusePass() { return std::make_unique<FusePass>(); }
