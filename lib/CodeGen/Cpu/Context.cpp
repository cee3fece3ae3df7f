// Addresses of rows, cuts over workers, element functions on vectors.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Context.h"
#include "loopc/runtime/abi.h"
#include "mlir/IR/AffineExprVisitor.h"
#include "mlir/IR/AffineMap.h"
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

const Root &PhaseContext::root(Value memoryValue) {
  auto found = roots.find(memoryValue);
  if (found != roots.end())
    return found->second;
  Root root;
  auto type = cast<task::MemType>(memoryValue.getType());
  root.element = type.getElement();
  Operation *def = memoryValue.getDefiningOp();
  if (auto buffer = dyn_cast<task::BufferOp>(def)) {
    Value arena = field(memory, offsetof(loopc_memory, arena), e.ptrType());
    Value capacity = field(memory, offsetof(loopc_memory, capacity), e.i64());
    int64_t offset = static_cast<int64_t>(buffer.getOffset().value_or(0));
    root.rows = static_cast<int64_t>(buffer.getRows().value_or(0));
    if (root.rows) // behind all others
      root.base = e.at(e.at(arena, e.mul(capacity, static_cast<int64_t>(buffer->getParentOfType<task::ProgramOp>().getArena().value_or(0)))), offset);
    else
      root.base = e.at(arena, e.mul(capacity, offset));
    root.rowBytes = e.c((task::getRowBytes(type) + 63) / 64 * 64);
  } else if (auto plane = dyn_cast<task::PlaneOp>(def)) {
    root = this->root(plane.getBuffer());
    Value bytes = e.mul(field(memory, offsetof(loopc_memory, capacity), e.i64()), root.rowBytes);
    root.base = e.at(root.base, e.mul(index(plane.getIndex()), bytes));
  } else if (auto given = dyn_cast<task::GivenOp>(def)) {
    root.base = e.load(e.ptrType(), e.at(field(call, offsetof(loopc_step, given), e.ptrType()), 8 * static_cast<int64_t>(given.getNumber())));
    root.rowBytes = e.c(task::getRowBytes(type));
  } else if (auto gradient = dyn_cast<task::GradientOp>(def)) {
    Value entry = e.c(gradient.getEntry());
    for (auto [value, stride] : llvm::zip(gradient.getIndex(), gradient.getStrides()))
      entry = e.add(entry, e.mul(index(value), stride));
    root.base = e.load(e.ptrType(), e.at(field(call, offsetof(loopc_step, gradient), e.ptrType()), e.mul(entry, 8)));
  } else if (auto bank = dyn_cast<task::FieldOp>(def)) {
    root.base = e.at(field(memory, offsetof(loopc_memory, bank), e.ptrType()), static_cast<int64_t>(bank.getOffset()));
    root.rowBytes = field(memory, offsetof(loopc_memory, bank_row_bytes), e.i64());
    root.column = field(call, offsetof(loopc_call, slot), e.ptrType());
  } else if (auto param = dyn_cast<task::ParamOp>(def)) {
    Value entry = e.c(param.getEntry());
    for (auto [value, stride] : llvm::zip(param.getIndex(), param.getStrides()))
      entry = e.add(entry, e.mul(index(value), stride));
    root.base = e.load(e.ptrType(), e.at(field(params, offsetof(loopc_params, data), e.ptrType()), e.mul(entry, 8)));
  } else if (auto column = dyn_cast<task::ColumnOp>(def)) {
    size_t offset = 0;
    switch (column.getColumn()) {
    case loop::Column::token: offset = offsetof(loopc_call, token); break;
    case loop::Column::position: offset = offsetof(loopc_call, position); break;
    case loop::Column::iteration: offset = offsetof(loopc_call, iteration); break;
    case loop::Column::limit: offset = offsetof(loopc_call, limit); break;
    }
    root.base = field(call, offset, e.ptrType());
    root.rowBytes = e.c(4);
  } else if (auto knob = dyn_cast<task::KnobOp>(def)) {
    root.base = field(call, offsetof(loopc_call, records), e.ptrType());
    root.rowBytes = e.c(sizeof(loopc_sequence));
    root.column = field(call, offsetof(loopc_call, sequence), e.ptrType());
    root.knob = true;
    root.offset = 4 * static_cast<int64_t>(knob.getNumber());
  } else if (isa<task::OutOp>(def)) {
    root.base = field(call, offsetof(loopc_call, out), e.ptrType());
    root.rowBytes = field(call, offsetof(loopc_call, out_stride), e.i64());
  } else {
    root.base = constantData(cast<DenseElementsAttr>(cast<task::ConstantOp>(def).getValue()));
  }
  return roots.insert({memoryValue, root}).first->second;
}

Value PhaseContext::row(Value memoryValue, Value row) {
  const Root &root = this->root(memoryValue);
  if (!root.rowBytes)
    return root.base;
  if (root.column)
    row = e.widen(e.load(e.i32(), e.at(root.column, e.mul(row, 4))));
  if (root.rows)
    row = e.rem(row, root.rows);
  Value address = e.at(root.base, e.mul(row, root.rowBytes));
  if (root.knob)
    address = e.at(field(address, offsetof(loopc_sequence, knobs), e.ptrType()), root.offset);
  return address;
}

Value PhaseContext::column(size_t offsetInCall, Value row) {
  return e.widen(e.load(e.i32(), e.at(field(call, offsetInCall, e.ptrType()), e.mul(row, 4))));
}

std::pair<Value, Value> PhaseContext::partOf(Value worker, Value n) {
  Value begin = e.div(e.mul(n, worker), workers);
  Value end = e.div(e.mul(n, e.add(worker, 1)), workers);
  return {begin, end};
}

void PhaseContext::deal(Value n, int64_t piece, llvm::function_ref<void(Value, Value)> body) {
  Value number = arith::AddIOp::create(e.b, e.loc, e.load(e.i32(), turn), e.c32(1));
  e.store(number, turn);
  Value claim = field(team, offsetof(loopc_team, claim), e.ptrType());
  auto type = LLVM::LLVMFunctionType::get(e.i32(), {e.ptrType(), e.i32(), e.i32(), e.i32()});
  auto narrow = [&](Value v) -> Value { return arith::TruncIOp::create(e.b, e.loc, e.i32(), v); };
  e.loop(e.c(0), workers, e.c(1), [&](Value later) {
    Value owner = e.add(worker, later);
    owner = e.select(e.cmp(arith::CmpIPredicate::uge, owner, workers), e.sub(owner, workers), owner);
    auto part = partOf(owner, n);
    Value begin = part.first, end = part.second;
    Value items = e.div(e.add(e.sub(end, begin), piece - 1), piece);
    scf::WhileOp::create(
        e.b, e.loc, TypeRange(e.i64()), ValueRange(),
        [&](OpBuilder &inner, Location, ValueRange) {
          OpBuilder::InsertionGuard guard(e.b);
          e.b.restoreInsertionPoint(inner.saveInsertionPoint());
          Value item = e.widenU(LLVM::CallOp::create(e.b, e.loc, type, ValueRange{claim, team, narrow(owner), number, narrow(items)}).getResult());
          scf::ConditionOp::create(e.b, e.loc, e.cmp(arith::CmpIPredicate::ult, item, items), item);
        },
        [&](OpBuilder &inner, Location, ValueRange item) {
          OpBuilder::InsertionGuard guard(e.b);
          e.b.restoreInsertionPoint(inner.saveInsertionPoint());
          Value first = e.add(begin, e.mul(item[0], piece));
          body(first, e.min(end, e.add(first, piece)));
          scf::YieldOp::create(e.b, e.loc);
        });
  });
}

Value PhaseContext::constantData(DenseElementsAttr value) {
  OpBuilder::InsertionGuard guard(e.b);
  std::string name;
  for (int i = 0;; ++i) {
    name = ("data_" + Twine(i)).str();
    if (!module.lookupSymbol(name))
      break;
  }
  auto type = LLVM::LLVMArrayType::get(value.getElementType(), value.getNumElements());
  auto flat = value.isSplat() ? value.resizeSplat(RankedTensorType::get({value.getNumElements()}, value.getElementType()))
                              : value.reshape(RankedTensorType::get({value.getNumElements()}, value.getElementType()));
  {
    OpBuilder::InsertionGuard inner(e.b);
    e.b.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(e.b, e.loc, type, true, LLVM::Linkage::Internal, name, flat, 64);
  }
  return LLVM::AddressOfOp::create(e.b, e.loc, e.ptrType(), name);
}

static Value emitAffineExpr(Emit &e, AffineExpr expr, ValueRange dims) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return e.c(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dims[dim.getPosition()];
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value l = emitAffineExpr(e, binary.getLHS(), dims), r = emitAffineExpr(e, binary.getRHS(), dims);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return e.add(l, r);
  case AffineExprKind::Mul:
    return e.mul(l, r);
  case AffineExprKind::Mod:
    return arith::RemUIOp::create(e.b, e.loc, l, r);
  case AffineExprKind::FloorDiv:
    return e.div(l, r);
  default: // CeilDiv of values that are not negative
    return e.div(e.add(l, e.sub(r, e.c(1))), r);
  }
}

Value loopc::codegen::emitAffine(Emit &e, AffineMap map, ValueRange dims) { return emitAffineExpr(e, map.getResult(0), dims); }

SmallVector<Value> loopc::codegen::emitElements(PhaseContext &ctx, Block &block, ArrayRef<Value> arguments, int64_t n) {
  Emit &e = ctx.e;
  IRMapping mapping;
  for (auto [argument, value] : llvm::zip(block.getArguments(), arguments))
    mapping.map(argument, value);
  for (Operation &op : block.without_terminator()) {
    Type element = op.getResult(0).getType();
    auto type = e.vec(n, element);
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      mapping.map(constant.getResult(), arith::ConstantOp::create(e.b, op.getLoc(), DenseElementsAttr::get(type, constant.getValue())).getResult());
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(mapping.contains(operand) ? mapping.lookup(operand) : ctx.index(operand));
    if (isa<arith::ExtFOp>(op) && element.isF32()) {
      mapping.map(op.getResult(0), e.extend(operands[0]));
      continue;
    }
    if (isa<arith::TruncFOp>(op) && op.getOperand(0).getType().isF32()) {
      mapping.map(op.getResult(0), e.round(element, operands[0]));
      continue;
    }
    OperationState state(op.getLoc(), op.getName(), operands, {type}, op.getAttrs());
    state.propertiesAttr = op.getPropertiesAsAttribute();
    mapping.map(op.getResult(0), e.b.create(state)->getResult(0));
  }
  SmallVector<Value> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(mapping.contains(value) ? mapping.lookup(value) : e.splat(ctx.index(value), n));
  return results;
}
