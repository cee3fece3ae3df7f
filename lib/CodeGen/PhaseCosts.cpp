// Counts bytes and operations of phases by walking each program as a worker would.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/PhaseCosts.h"
#include "loopc/Dialect/Task/Task.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {

double product(ArrayRef<int64_t> shape) {
  double result = 1;
  for (int64_t size : shape)
    result *= double(size);
  return result;
}

/// The last two parts of a parameter's name; of joined ones, what they share once.
std::string shortName(StringRef name) {
  std::string result;
  SmallVector<StringRef> joined;
  name.split(joined, '+');
  for (StringRef one : joined) {
    one.consume_back(".weight");
    auto [front, last] = one.rsplit('.');
    if (!result.empty())
      result += "+" + (last.empty() ? front : last).str();
    else if (last.empty())
      result = front.str();
    else
      result = (front.rsplit('.').second.empty() ? front : front.rsplit('.').second).str() + "." + last.str();
  }
  return result;
}

class Counter {
public:
  Counter(task::ProgramOp program, std::vector<PhaseCost> &phases) : program(program), phases(phases) {}

  void run() {
    program.walk<WalkOrder::PreOrder>([&](task::PhaseOp phase) {
      index[phase] = phases.size();
      phases.push_back(costOf(phase));
    });
    visit(program.getBody().front());
  }

private:
  PhaseCost costOf(task::PhaseOp phase) {
    PhaseCost cost;
    cost.stage = program.getSymName().str();
    cost.name = phase.getName().str();
    cost.rounds = phase->getParentOfType<task::RoundsOp>() || phase->getParentOfType<task::TurnsOp>();
    SmallVector<std::string> parts;
    for (auto item : phase.getBody().front().getOps<task::ItemOpInterface>())
      parts.push_back(add(item, cost));
    parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
    cost.what = llvm::join(parts, ", ");
    return cost;
  }

  /// Adds what an item op costs a row; gives what it is called.
  std::string add(task::ItemOpInterface item, PhaseCost &cost) {
    Operation *op = item;
    auto gemm = dyn_cast<task::GemmOp>(op);
    auto shapeAttr = op->getAttrOfType<DenseI64ArrayAttr>("shape");
    ArrayRef<int64_t> shape = shapeAttr ? shapeAttr.asArrayRef() : ArrayRef<int64_t>();
    std::string name = op->getName().stripDialect().str();
    size_t number = 0;
    for (Value memory : llvm::concat<Value>(SmallVector<Value>(item.getIns()), SmallVector<Value>(item.getOuts()))) {
      size_t operand = number++;
      auto type = cast<task::MemType>(memory.getType());
      double width = double(task::getByteWidth(type.getElement()));
      // Elements that the view reaches.
      double elements = 1;
      if (operand < item.getViews().size()) {
        auto view = cast<task::ViewAttr>(item.getViews()[operand]);
        for (auto [stride, size] : llvm::zip(view.getStrides(), shape))
          elements *= stride ? double(size) : 1;
      }
      auto param = memory.getDefiningOp<task::ParamOp>();
      if (param && param.getFormat())
        width = loop::getWeightFormat(*param.getFormat())->bytes;
      if (gemm && operand == 0)
        cost.rowBytes += double(gemm.getK()) * width;
      else if (gemm && operand == 1) {
        double products = double(gemm.getGroups()) * product(shape) * double(gemm.getK());
        cost.weightBytes += products * width;
        cost.flops += 2 * products;
        if (param)
          name = shortName(param.getName());
      } else if (param && isa<task::EmbedOp>(op))
        cost.tableBytes += elements * width;
      else if (param || memory.getDefiningOp<task::GradientOp>())
        cost.weightBytes += elements * width;
      else
        cost.rowBytes += elements * width;
    }
    if (auto accumulate = dyn_cast<task::AccumulateOp>(op))
      cost.flops += (accumulate.getOuter() ? 2 : 1) * product(shape);
    if (auto attend = dyn_cast<task::AttendRowsOp>(op)) { // every pair of a query and a key: two products, backward five
      cost.historyBytes += 4 * double(attend.getHeads()[1] * (attend.getHeads()[2] + attend.getHeads()[3]));
      cost.historyFlops += (attend.getBackward() ? 5 : 2) * double(attend.getHeads()[0] * (attend.getHeads()[2] + attend.getHeads()[3]));
    }
    if (auto append = dyn_cast<task::AppendOp>(op))
      cost.keptBytes += 2 * double(append.getHeads() * append.getDim()) * double(task::getByteWidth(append.getRows()));
    if (isa<task::KeepOp>(op))
      cost.keptBytes += 4 * double(product(shape));
    if (isa<task::RecallOp>(op))
      cost.rowBytes += 4 * double(product(shape));
    if (auto attend = dyn_cast<task::AttendOp>(op)) {
      cost.historyBytes +=
          2 * double(attend.getHeads() * attend.getDim()) * double(task::getByteWidth(attend.getRows()));
      cost.historyFlops += 4 * product(shape);
    }
    return name;
  }

  /// Counts executions: layers are run through, with the index arithmetic that conditions depend on.
  void visit(Block &block) {
    for (Operation &op : block) {
      if (auto phase = dyn_cast<task::PhaseOp>(op)) {
        PhaseCost &cost = phases[index[phase]];
        cost.times += 1;
        cost.syncs += pendingSyncs;
        pendingSyncs = 0;
      } else if (isa<task::SyncOp>(op)) {
        pendingSyncs += 1;
      } else if (auto layers = dyn_cast<task::LayersOp>(op)) {
        for (int64_t turn = 0; turn < int64_t(layers.getLayers()); ++turn) {
          int64_t layer = layers.getBackward() ? int64_t(layers.getLayers()) - 1 - turn : turn;
          known[layers.getBody().getArgument(0)] = IntegerAttr::get(IndexType::get(op.getContext()), layer);
          visit(layers.getBody().front());
        }
      } else if (auto branch = dyn_cast<task::IfOp>(op)) {
        auto condition = dyn_cast_or_null<IntegerAttr>(known.lookup(branch.getCondition()));
        if (!condition || !condition.getValue().isZero())
          visit(branch.getBody().front());
      } else if (isa<task::RoundsOp, task::TurnsOp, task::ChunksOp>(op)) {
        visit(op.getRegion(0).front());
      } else if (isa<arith::ArithDialect>(op.getDialect())) {
        fold(op);
      }
    }
  }

  void fold(Operation &op) {
    SmallVector<Attribute> operands;
    for (Value operand : op.getOperands())
      operands.push_back(known.lookup(operand));
    SmallVector<OpFoldResult> results;
    known.erase(op.getResult(0));
    if (failed(op.fold(operands, results)) || results.size() != 1)
      return;
    if (auto attribute = dyn_cast<Attribute>(results[0]))
      known[op.getResult(0)] = attribute;
    else if (Attribute same = known.lookup(cast<Value>(results[0])))
      known[op.getResult(0)] = same;
  }

  task::ProgramOp program;
  std::vector<PhaseCost> &phases;
  llvm::DenseMap<Operation *, size_t> index;
  llvm::DenseMap<Value, Attribute> known;
  double pendingSyncs = 0;
};

} // namespace

static void add(task::ProgramOp program, PhaseTable &table) {
  Counter(program, table.phases).run();
  StageCost stage{program.getSymName().str(), double(program.getArena().value_or(0)), 0};
  program.walk([&](task::BufferOp buffer) {
    if (!buffer.getRows())
      stage.bufferRowBytes += double(llvm::alignTo(task::getRowBytes(buffer.getType()), 64) * buffer.getPlanes().value_or(1));
  });
  table.stages.push_back(stage);
}

PhaseTable loopc::codegen::phaseCosts(task::ProgramOp program) {
  PhaseTable table;
  add(program, table);
  return table;
}

PhaseTable loopc::codegen::phaseCosts(ModuleOp module) {
  PhaseTable table;
  for (auto program : module.getOps<task::ProgramOp>())
    add(program, table);
  return table;
}
