// task-to-cpu: a task.program becomes one function of the C interface, each of its phases a function of its own.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The program function is a plain control flow graph (a poisoned team leaves it at any sync); phases are straight code
// with scf loops inside. Layers and rounds stay loops: the size of the code does not depend on them.
#include "Context.h"
#include "loopc/CodeGen/Passes.h"
#include "loopc/runtime/abi.h"
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

namespace {

class ProgramEmitter {
public:
  ProgramEmitter(ModuleOp module, task::ProgramOp program, const CpuOptions &target)
      : module(module), program(program), target(target), e(OpBuilder(module.getContext()), program.getLoc(), target) {}

  void emit() {
    e.b.setInsertionPointToEnd(module.getBody());
    Type p = e.ptrType();
    auto type = LLVM::LLVMFunctionType::get(e.i32(), {p, p, p, p, e.i32()});
    auto func = LLVM::LLVMFuncOp::create(e.b, e.loc, ("loopc_stage_" + program.getSymName()).str(), type);
    Block *entry = func.addEntryBlock(e.b);
    region = &func.getBody();
    e.b.setInsertionPointToStart(entry);
    call = entry->getArgument(0);
    params = entry->getArgument(1);
    memory = entry->getArgument(2);
    team = entry->getArgument(3);
    workerNumber = entry->getArgument(4);
    worker = e.widenU(workerNumber);
    workers = e.widenU(e.load(e.i32(), e.at(team, offsetof(loopc_team, workers))));
    lanes = e.widenU(e.load(e.i32(), e.at(call, offsetof(loopc_call, lanes))));
    Value capacity = e.load(e.i64(), e.at(memory, offsetof(loopc_memory, capacity)));
    Value own = e.load(p, e.at(memory, offsetof(loopc_memory, scratch)));
    lists = e.load(p, e.at(own, e.mul(worker, 8)));
    listBytes = e.mul(e.div(e.add(e.mul(capacity, 4), 63), 64), 64);
    int64_t count = 0;
    program.walk([&](Operation *op) { count += isa<task::AllOp, task::RoundsOp, task::TurnsOp>(op); });
    scratchArea = e.at(lists, e.mul(listBytes, count));

    int64_t phases = 0;
    program.walk([&](task::PhaseOp) { ++phases; });
    if (!target.clock.empty()) {
      times = e.at(e.load(p, e.at(call, offsetof(loopc_call, profile))), e.mul(worker, 8 * LOOPC_PROFILE_WORDS(phases)));
      e.store(readClock(), times);
    }

    turn = LLVM::AllocaOp::create(e.b, e.loc, p, e.i32(), e.c32(1));
    e.store(e.c32(0), turn);

    // Leaving: the value of the sync that failed.
    leave = new Block;
    leave->addArgument(e.i32(), e.loc);
    emitBlock(program.getBody().front());
    LLVM::ReturnOp::create(e.b, e.loc, e.c32(0));
    region->push_back(leave);
    e.b.setInsertionPointToStart(leave);
    LLVM::ReturnOp::create(e.b, e.loc, leave->getArgument(0));

    // What the caller must provide, for the metadata.
    auto set = [&](StringRef key, int64_t value) { func->setAttr(key, e.b.getI64IntegerAttr(value)); };
    set("loopc.arena_row_bytes", program.getArena().value_or(0));
    set("loopc.arena_bytes", program.getFixed().value_or(0));
    set("loopc.syncs", program.getSyncs().value_or(0));
    set("loopc.scratch_bytes", scratch.bytes + 64 * count);
    set("loopc.scratch_row_bytes", 4 * count);
    if (!target.clock.empty())
      set("loopc.timed_phases", phases);
  }

private:
  Block *newBlock(TypeRange types = {}) {
    Block *block = new Block;
    for (Type type : types)
      block->addArgument(type, e.loc);
    region->push_back(block);
    return block;
  }
  void jump(Block *to, ValueRange values = {}) { LLVM::BrOp::create(e.b, e.loc, values, to); }
  void branch(Value condition, Block *yes, Block *no) { LLVM::CondBrOp::create(e.b, e.loc, condition, yes, no); }
  void enter(Block *block) { e.b.setInsertionPointToEnd(block); }

  Value readClock() {
    auto name = e.b.getStringAttr(target.clock);
    return LLVM::CallIntrinsicOp::create(e.b, e.loc, e.i64(), name, ValueRange()).getResult(0);
  }

  // What passed since the clock was last read goes to word `index` of this worker's times.
  void takeTime(int64_t index) {
    if (target.clock.empty())
      return;
    Value now = readClock(), sum = e.at(times, 8 * index);
    e.store(e.add(e.load(e.i64(), sum), e.sub(now, e.load(e.i64(), times))), sum);
    e.store(now, times);
  }

  void emitBlock(Block &block) {
    for (Operation &op : block)
      emitOp(&op);
  }

  void emitOp(Operation *op) {
    if (auto phase = dyn_cast<task::PhaseOp>(op))
      return emitPhase(phase);
    if (isa<task::SyncOp>(op))
      return emitSync(cast<task::SyncOp>(op));
    if (auto all = dyn_cast<task::AllOp>(op)) {
      listOf[all.getResult()] = {nextList(), lanes};
      e.loop(e.c(0), lanes, e.c(1), [&](Value i) {
        e.store(arith::TruncIOp::create(e.b, e.loc, e.i32(), i), e.at(listOf[all.getResult()].first, e.mul(i, 4)));
      });
      return;
    }
    if (auto layers = dyn_cast<task::LayersOp>(op)) {
      Block *head = newBlock({e.i64()}), *body = newBlock(), *after = newBlock();
      jump(head, e.c(0));
      enter(head);
      Value turn = head->getArgument(0), layer = turn;
      branch(e.cmp(arith::CmpIPredicate::slt, turn, e.c(layers.getLayers())), body, after);
      enter(body);
      if (layers.getBackward())
        layer = e.sub(e.c(static_cast<int64_t>(layers.getLayers()) - 1), turn);
      indices.map(layers.getBody().getArgument(0), layer);
      emitBlock(layers.getBody().front());
      jump(head, e.add(turn, 1));
      enter(after);
      return;
    }
    if (auto chunks = dyn_cast<task::ChunksOp>(op)) {
      auto [base, count] = listOf[chunks.getList()];
      Block *head = newBlock({e.i64()}), *body = newBlock(), *after = newBlock();
      jump(head, e.c(0));
      enter(head);
      Value first = head->getArgument(0), rows = e.c(static_cast<int64_t>(chunks.getRows()));
      branch(e.cmp(arith::CmpIPredicate::slt, first, count), body, after);
      enter(body);
      listOf[chunks.getBody().getArgument(0)] = {e.at(base, e.mul(first, 4)), e.min(rows, e.sub(count, first))};
      emitBlock(chunks.getBody().front());
      jump(head, e.add(first, rows));
      enter(after);
      return;
    }
    if (auto turns = dyn_cast<task::TurnsOp>(op))
      return emitTurns(turns);
    if (auto rounds = dyn_cast<task::RoundsOp>(op)) {
      Value list = nextList();
      Value total = e.widenU(e.load(e.i32(), e.at(call, offsetof(loopc_call, rounds))));
      Block *head = newBlock({e.i64()}), *scan = newBlock(), *body = newBlock(), *after = newBlock();
      jump(head, e.c(0));
      enter(head);
      Value round = head->getArgument(0);
      branch(e.cmp(arith::CmpIPredicate::slt, round, total), scan, after);
      enter(scan);
      Value running = emitScan(list);
      branch(e.cmp(arith::CmpIPredicate::sgt, running, e.c(0)), body, after);
      enter(body);
      listOf[rounds.getBody().getArgument(0)] = {list, running};
      emitBlock(rounds.getBody().front());
      jump(head, e.add(round, 1));
      enter(after);
      return;
    }
    if (auto conditional = dyn_cast<task::IfOp>(op)) {
      Block *body = newBlock(), *after = newBlock();
      branch(indices.lookup(conditional.getCondition()), body, after);
      enter(body);
      emitBlock(conditional.getBody().front());
      jump(after);
      enter(after);
      return;
    }
    if (isa<arith::ArithDialect>(op->getDialect()))
      emitIndex(op);
    // Memory ops are looked at where they are used.
  }

  // Iterations of a step: [low, high) over all rows, up or down; each has the rows that run it.
  void emitTurns(task::TurnsOp turns) {
    Value list = nextList();
    auto [base, count] = listOf[turns.getList()];
    auto column = [&](Value memory) {
      Value given = e.load(e.ptrType(), e.at(call, offsetof(loopc_step, given)));
      return e.load(e.ptrType(), e.at(given, 8 * static_cast<int64_t>(memory.getDefiningOp<task::GivenOp>().getNumber())));
    };
    Value limits = column(turns.getLimit()), firsts = turns.getFirst() ? column(turns.getFirst()) : Value();
    auto at = [&](Value values, Value row) { return e.widen(e.load(e.i32(), e.at(values, e.mul(row, 4)))); };
    auto rowOf = [&, base = base](Value i) { return e.widen(e.load(e.i32(), e.at(base, e.mul(i, 4)))); };
    Value high = e.loop(e.c(0), count, e.c(1), ValueRange(e.c(0)), [&](Value i, ValueRange most) -> SmallVector<Value> {
      return {e.max(most[0], at(limits, rowOf(i)))};
    })[0];
    Block *head = newBlock({e.i64()}), *body = newBlock(), *after = newBlock();
    jump(head, e.c(0));
    enter(head);
    Value turn = head->getArgument(0), t = turn;
    branch(e.cmp(arith::CmpIPredicate::slt, turn, high), body, after);
    enter(body);
    if (turns.getBackward())
      t = e.sub(e.sub(high, e.c(1)), turn);
    Value running = e.loop(e.c(0), count, e.c(1), ValueRange(e.c(0)), [&](Value i, ValueRange number) -> SmallVector<Value> {
      Value row = rowOf(i), runs = e.cmp(arith::CmpIPredicate::slt, t, at(limits, row));
      if (firsts)
        runs = arith::AndIOp::create(e.b, e.loc, runs, e.cmp(arith::CmpIPredicate::sle, at(firsts, row), t));
      e.store(arith::TruncIOp::create(e.b, e.loc, e.i32(), row), e.at(list, e.mul(number[0], 4)));
      return {e.add(number[0], arith::ExtUIOp::create(e.b, e.loc, e.i64(), runs))};
    })[0];
    indices.map(turns.getBody().getArgument(0), t);
    listOf[turns.getBody().getArgument(1)] = {list, running};
    Block *some = newBlock(), *next = newBlock();
    branch(e.cmp(arith::CmpIPredicate::sgt, running, e.c(0)), some, next);
    enter(some);
    emitBlock(turns.getBody().front());
    jump(next);
    enter(next);
    jump(head, e.add(turn, 1));
    enter(after);
  }

  // Index arithmetic of the program in i64.
  void emitIndex(Operation *op) {
    Type type = op->getResult(0).getType();
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      if (auto value = dyn_cast<IntegerAttr>(constant.getValue()))
        indices.map(constant.getResult(),
                    type.isIndex() ? e.c(value.getInt()) : arith::ConstantOp::create(e.b, e.loc, value).getResult());
      return;
    }
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(indices.lookup(operand));
    if (isa<arith::IndexCastOp, arith::IndexCastUIOp>(op)) {
      unsigned from = operands[0].getType().getIntOrFloatBitWidth(), to = type.isIndex() ? 64 : type.getIntOrFloatBitWidth();
      Value v = operands[0];
      if (from < to)
        v = arith::ExtSIOp::create(e.b, e.loc, e.b.getIntegerType(to), v);
      else if (from > to)
        v = arith::TruncIOp::create(e.b, e.loc, e.b.getIntegerType(to), v);
      indices.map(op->getResult(0), v);
      return;
    }
    OperationState state(op->getLoc(), op->getName(), operands, {type.isIndex() ? e.i64() : type}, op->getAttrs());
    state.propertiesAttr = op->getPropertiesAsAttribute();
    indices.map(op->getResult(0), e.b.create(state)->getResult(0));
  }

  Value nextList() { return e.at(lists, e.mul(listBytes, listCount++)); }

  // Fills `list` with the rows that still run; gives their number. Every worker reads the columns itself.
  Value emitScan(Value list) {
    Value iteration = e.load(e.ptrType(), e.at(call, offsetof(loopc_call, iteration)));
    Value limit = e.load(e.ptrType(), e.at(call, offsetof(loopc_call, limit)));
    Value exited = e.load(e.ptrType(), e.at(call, offsetof(loopc_call, exited)));
    Value flags = e.load(e.i32(), e.at(call, offsetof(loopc_call, flags)));
    Value keep = e.cmp(arith::CmpIPredicate::ne, arith::AndIOp::create(e.b, e.loc, flags, e.c32(LOOPC_CALL_KEEP_RUNNING)), e.c32(0));
    return e.loop(e.c(0), lanes, e.c(1), ValueRange(e.c(0)), [&](Value i, ValueRange carried) -> SmallVector<Value> {
      Value at = e.mul(i, 4);
      Value more = e.cmp(arith::CmpIPredicate::slt, e.load(e.i32(), e.at(iteration, at)), e.load(e.i32(), e.at(limit, at)));
      Value gone = e.cmp(arith::CmpIPredicate::ne, e.load(e.b.getI8Type(), e.at(exited, i)), arith::ConstantIntOp::create(e.b, e.loc, 0, 8));
      Value stays = e.select(gone, keep, arith::ConstantIntOp::create(e.b, e.loc, 1, 1));
      Value runs = arith::AndIOp::create(e.b, e.loc, more, stays);
      e.store(arith::TruncIOp::create(e.b, e.loc, e.i32(), i), e.at(list, e.mul(carried[0], 4)));
      return {e.add(carried[0], arith::ExtUIOp::create(e.b, e.loc, e.i64(), runs))};
    })[0];
  }

  void emitSync(task::SyncOp sync) {
    Block *wait = newBlock(), *after = newBlock();
    branch(e.cmp(arith::CmpIPredicate::eq, workers, e.c(1)), after, wait);
    enter(wait);
    Value function = e.load(e.ptrType(), e.at(team, offsetof(loopc_team, sync)));
    auto type = LLVM::LLVMFunctionType::get(e.i32(), {e.ptrType(), e.i32(), e.i32()});
    Value result =
        LLVM::CallOp::create(e.b, e.loc, type, ValueRange{function, team, workerNumber, e.c32(sync.getId())}).getResult();
    Value fine = e.cmp(arith::CmpIPredicate::eq, result, e.c32(0));
    LLVM::CondBrOp::create(e.b, e.loc, fine, after, ValueRange(), leave, ValueRange(result));
    enter(after);
    takeTime(2 + 2 * phaseNumber);
  }

  void emitPhase(task::PhaseOp phase) {
    // Index values that the phase uses become arguments.
    SmallVector<Value> used;
    auto use = [&](Value value) {
      if (indices.contains(value) && !llvm::is_contained(used, value))
        used.push_back(value);
    };
    phase.walk([&](Operation *op) {
      for (Value operand : op->getOperands()) {
        use(operand);
        if (isa_and_nonnull<task::ParamOp, task::PlaneOp, task::GradientOp>(operand.getDefiningOp()))
          for (Value index : operand.getDefiningOp()->getOperands())
            use(index);
      }
    });
    Type p = e.ptrType(), i = e.i64();
    SmallVector<Type> types{p, p, p, p, i, i, p, i, p, p};
    SmallVector<Value> arguments{call, params, memory, scratchArea, worker, workers, listOf[phase.getList()].first, listOf[phase.getList()].second, team, turn};
    for (Value value : used) {
      types.push_back(indices.lookup(value).getType());
      arguments.push_back(indices.lookup(value));
    }
    std::string name = (program.getSymName() + "_" + phase.getName()).str();
    LLVM::LLVMFuncOp func;
    {
      OpBuilder::InsertionGuard guard(e.b);
      e.b.setInsertionPointToStart(module.getBody());
      func = LLVM::LLVMFuncOp::create(e.b, phase.getLoc(), name, LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.b.getContext()), types),
                                      LLVM::Linkage::Internal);
      func.setNoInline(true);
    }
    PhaseContext ctx(Emit(OpBuilder(module.getContext()), phase.getLoc(), target), module);
    Block *entry = func.addEntryBlock(ctx.e.b);
    ctx.e.b.setInsertionPointToStart(entry);
    auto argument = [&](unsigned n) { return entry->getArgument(n); };
    ctx.call = argument(0);
    ctx.params = argument(1);
    ctx.memory = argument(2);
    ctx.scratch = argument(3);
    ctx.worker = argument(4);
    ctx.workers = argument(5);
    ctx.list = argument(6);
    ctx.count = argument(7);
    ctx.team = argument(8);
    ctx.turn = argument(9);
    for (auto [n, value] : llvm::enumerate(used))
      ctx.indices.map(value, argument(10 + n));
    ScratchPlan own; // phases follow one another: they share the area
    Block &body = phase.getBody().front();
    if (phase.getItems() == task::Items::rows)
      emitRows(ctx, phase, own);
    else if (auto accumulate = dyn_cast<task::AccumulateOp>(body.front()))
      emitAccumulate(ctx, accumulate, own);
    else if (auto attend = dyn_cast<task::AttendRowsOp>(body.front()))
      emitAttendRows(ctx, attend, own);
    else if (phase.getItems() == task::Items::panels)
      emitGemm(ctx, cast<task::GemmOp>(body.front()), own);
    else if (phase.getItems() == task::Items::sequences)
      emitFold(ctx, cast<task::FoldOp>(body.front()));
    else
      emitAttend(ctx, cast<task::AttendOp>(body.front()), own);
    LLVM::ReturnOp::create(ctx.e.b, phase.getLoc(), ValueRange());
    scratch.bytes = std::max(scratch.bytes, own.bytes);
    LLVM::CallOp::create(e.b, phase.getLoc(), func, arguments);
    takeTime(1 + 2 * phaseNumber++);
  }

  ModuleOp module;
  task::ProgramOp program;
  const CpuOptions &target;
  Emit e;
  Region *region = nullptr;
  Block *leave = nullptr;
  Value call, params, memory, team, workerNumber, worker, workers, lanes, lists, listBytes, scratchArea, turn;
  int64_t listCount = 0, phaseNumber = 0; // phaseNumber: of the next phase
  Value times;
  ScratchPlan scratch;
  IRMapping indices;
  llvm::DenseMap<Value, std::pair<Value, Value>> listOf; // address, number of rows
};

struct TaskToCpuPass : PassWrapper<TaskToCpuPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TaskToCpuPass)
  TaskToCpuPass() = default;
  TaskToCpuPass(CpuOptions options) {
    vectorBits = options.vectorBits;
    clock = options.clock;
    registers = options.registers;
    features = std::move(options.features);
    amx32 = options.amx32;
  }
  TaskToCpuPass(const TaskToCpuPass &other) : PassWrapper(other), features(other.features) {}
  StringRef getArgument() const final { return "task-to-cpu"; }
  StringRef getDescription() const final { return "task.programs become functions"; }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<LLVM::LLVMDialect, scf::SCFDialect, vector::VectorDialect, arith::ArithDialect, math::MathDialect>();
  }
  void runOnOperation() final {
    for (auto program : llvm::make_early_inc_range(getOperation().getOps<task::ProgramOp>())) {
      CpuOptions target{vectorBits, clock, registers, features, amx32};
      ProgramEmitter(getOperation(), program, target).emit();
      program.erase();
    }
  }
  Option<unsigned> vectorBits{*this, "vector-bits", llvm::cl::desc("width of the registers"), llvm::cl::init(256)};
  Option<std::string> clock{*this, "clock", llvm::cl::desc("intrinsic that times phases and waits; none: no time is taken")};
  Option<unsigned> registers{*this, "registers", llvm::cl::desc("vector registers"), llvm::cl::init(16)};
  Option<bool> amx32{*this, "amx32", llvm::cl::desc("order of bf16 linears: that of tdpbf16ps")};
  std::vector<std::string> features;
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createTaskToCpuPass(CpuOptions options) { return std::make_unique<TaskToCpuPass>(options); }
