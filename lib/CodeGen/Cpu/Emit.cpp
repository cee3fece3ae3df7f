// Address arithmetic, loads, stores, loops and fixed-order reductions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Emit.h"

using namespace mlir;
using namespace loopc::codegen;

static unsigned byteWidth(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    type = vector.getElementType();
  return type.isIntOrFloat() ? (type.getIntOrFloatBitWidth() + 7) / 8 : 8;
}

Value Emit::at(Value base, Value bytes) {
  return LLVM::GEPOp::create(b, loc, ptrType(), b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{bytes});
}

Value Emit::load(Type type, Value address, unsigned align) {
  return LLVM::LoadOp::create(b, loc, type, address, align ? align : byteWidth(type));
}

void Emit::store(Value value, Value address, unsigned align) {
  LLVM::StoreOp::create(b, loc, value, address, align ? align : byteWidth(value.getType()));
}

Value Emit::loadVector(Type element, int64_t n, Value address) {
  if (element.isInteger(1)) {
    Value bytes = load(vec(n, b.getI8Type()), address);
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(bytes.getType()));
    return cmp(arith::CmpIPredicate::ne, bytes, zero);
  }
  if (element.isBF16())
    return LLVM::BitcastOp::create(b, loc, vec(n, element), load(vec(n, b.getI16Type()), address));
  return load(vec(n, element), address);
}

void Emit::storeVector(Type element, Value value, Value address) {
  int64_t n = cast<VectorType>(value.getType()).getNumElements();
  if (element.isInteger(1))
    value = arith::ExtUIOp::create(b, loc, vec(n, b.getI8Type()), value);
  else if (element.isBF16())
    value = LLVM::BitcastOp::create(b, loc, vec(n, b.getI16Type()), value);
  store(value, address);
}

Value Emit::extend(Value value) {
  auto type = cast<VectorType>(value.getType());
  int64_t n = type.getNumElements();
  if (type.getElementType().isF32())
    return value;
  if (!type.getElementType().isBF16())
    return arith::ExtFOp::create(b, loc, vecF32(n), value);
  auto wide = vec(n, i32());
  Value bits = LLVM::BitcastOp::create(b, loc, vec(n, b.getI16Type()), value);
  Value extended = arith::ExtUIOp::create(b, loc, wide, bits);
  Value sixteen = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(wide, b.getI32IntegerAttr(16)));
  return LLVM::BitcastOp::create(b, loc, vecF32(n), arith::ShLIOp::create(b, loc, extended, sixteen));
}

// bf16: round to nearest even on the bits; a NaN stays one.
Value Emit::round(Type element, Value value) {
  int64_t n = cast<VectorType>(value.getType()).getNumElements();
  if (element.isF32())
    return value;
  if (!element.isBF16())
    return arith::TruncFOp::create(b, loc, vec(n, element), value);
  auto wide = vec(n, i32());
  auto constant = [&](int32_t v) -> Value {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(wide, b.getI32IntegerAttr(v)));
  };
  Value bits = LLVM::BitcastOp::create(b, loc, wide, value);
  Value upper = arith::ShRUIOp::create(b, loc, bits, constant(16));
  Value odd = arith::AndIOp::create(b, loc, upper, constant(1));
  Value rounded = arith::ShRUIOp::create(b, loc, add(bits, add(odd, constant(0x7fff))), constant(16));
  Value nan = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNO, value, value);
  Value quiet = arith::OrIOp::create(b, loc, upper, constant(0x40));
  Value narrow = arith::TruncIOp::create(b, loc, vec(n, b.getI16Type()), select(nan, quiet, rounded));
  return LLVM::BitcastOp::create(b, loc, vec(n, b.getBF16Type()), narrow);
}

Value Emit::loadF32(Type element, int64_t n, Value address) {
  return extend(loadVector(element, n, address));
}

void Emit::storeF32(Type element, Value value, Value address) {
  storeVector(element, round(element, value), address);
}

Value Emit::splatF32(double value, int64_t n) {
  return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vecF32(n), static_cast<float>(value)));
}

static std::pair<Value, Value> halves(Emit &e, Value vector) {
  int64_t n = cast<VectorType>(vector.getType()).getNumElements() / 2;
  SmallVector<int64_t> low, high;
  for (int64_t i = 0; i < n; ++i) {
    low.push_back(i);
    high.push_back(n + i);
  }
  return {e.shuffle(vector, vector, low), e.shuffle(vector, vector, high)};
}

Value Emit::tree(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  while (cast<VectorType>(vector.getType()).getNumElements() > 1) {
    auto [low, high] = halves(*this, vector);
    vector = combine(low, high);
  }
  return extract(vector, 0);
}
Value Emit::halve(Value vector) {
  auto [low, high] = halves(*this, vector);
  return addF(low, high);
}
Value Emit::treeAdd(Value vector) {
  return tree(vector, [&](Value l, Value r) { return addF(l, r); });
}
Value Emit::treeMax(Value vector) {
  return tree(vector, [&](Value l, Value r) { return maxF(l, r); });
}

Value Emit::padTo(Value vector, int64_t n, double pad) {
  int64_t have = cast<VectorType>(vector.getType()).getNumElements();
  if (have == n)
    return vector;
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < n; ++i)
    mask.push_back(i < have ? i : have);
  return shuffle(vector, splatF32(pad, 1), mask);
}

void Emit::loop(Value lower, Value upper, Value step, llvm::function_ref<void(Value)> body) {
  auto op = scf::ForOp::create(b, loc, lower, upper, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

void Emit::loop(int64_t count, llvm::function_ref<void(Value)> body) {
  if (count == 1)
    return body(c(0));
  loop(c(0), c(count), c(1), body);
}

SmallVector<Value> Emit::loop(Value lower, Value upper, Value step, ValueRange initial,
                              llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(b, loc, lower, upper, step, initial);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(op.getResults());
}

SmallVector<Value> Emit::loop(int64_t count, ArrayRef<Value> initial,
                              llvm::function_ref<SmallVector<Value>(Value, ArrayRef<Value>)> body) {
  if (count == 1)
    return body(c(0), initial);
  return loop(c(0), c(count), c(1), initial, [&](Value i, ValueRange carried) { return body(i, SmallVector<Value>(carried)); });
}

void Emit::when(Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, loc, condition, static_cast<bool>(otherwise));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
  if (otherwise) {
    b.setInsertionPointToStart(op.elseBlock());
    otherwise();
  }
}

void Emit::pieces(int64_t n, int64_t width, llvm::function_ref<void(Value, int64_t)> body) {
  int64_t whole = n / width * width;
  if (whole == width)
    body(c(0), width);
  else if (whole)
    loop(c(0), c(whole), c(width), [&](Value i) { body(i, width); });
  for (int64_t piece = width / 2, done = whole; piece; piece /= 2)
    if (n - done >= piece) {
      body(c(done), piece);
      done += piece;
    }
}

Value Emit::panels(int64_t n, int64_t width, Value carry, llvm::function_ref<Value(Value, int64_t, Value)> body) {
  int64_t whole = n / width * width;
  if (whole == width)
    carry = body(c(0), width, carry);
  else if (whole)
    carry = loop(c(0), c(whole), c(width), ValueRange(carry), [&](Value i, ValueRange carried) -> SmallVector<Value> {
      return {body(i, width, carried[0])};
    })[0];
  if (n != whole)
    carry = body(c(whole), n - whole, carry);
  return carry;
}
