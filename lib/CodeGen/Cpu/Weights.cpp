// Formats of packed weights: f32, bf16, f16.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {

/// [k][32]
struct F32Format final : WeightFormat {
  StringRef name() const override { return "f32"; }
  int64_t block() const override { return 1; }
  int64_t blockBytes() const override { return 128; }
  SmallVector<Value> decode(Emit &e, Value block, Value, int64_t column, ArrayRef<Value>) const override {
    return {e.load(e.vecF32(e.lanes()), e.at(block, column * 4))};
  }
};

/// [k / 2][32][2]: a 32-bit word has two k of one column, the first in its upper half. One load gives two registers by
/// a mask and a shift, and the same bytes are what vdpbf16ps (which adds its upper half first) and AMX read.
struct BF16Format final : WeightFormat {
  StringRef name() const override { return "bf16"; }
  int64_t block() const override { return 2; }
  int64_t blockBytes() const override { return 128; }
  SmallVector<Value> decode(Emit &e, Value block, Value, int64_t column, ArrayRef<Value>) const override {
    auto words = e.vec(e.lanes(), e.i32());
    auto constant = [&](int32_t v) -> Value {
      return arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(words, e.b.getI32IntegerAttr(v)));
    };
    Value both = e.load(words, e.at(block, column * 4));
    Value first = arith::AndIOp::create(e.b, e.loc, both, constant(static_cast<int32_t>(0xffff0000)));
    Value second = arith::ShLIOp::create(e.b, e.loc, both, constant(16));
    auto asF32 = [&](Value v) -> Value { return LLVM::BitcastOp::create(e.b, e.loc, e.vecF32(e.lanes()), v); };
    return {asF32(first), asF32(second)};
  }
};

/// [k][32]
struct F16Format final : WeightFormat {
  StringRef name() const override { return "f16"; }
  int64_t block() const override { return 1; }
  int64_t blockBytes() const override { return 64; }
  SmallVector<Value> decode(Emit &e, Value block, Value, int64_t column, ArrayRef<Value>) const override {
    return {e.loadF32(e.b.getF16Type(), e.lanes(), e.at(block, column * 2))};
  }
};

} // namespace

const WeightFormat &loopc::codegen::weightFormat(Type element) {
  static const F32Format f32;
  static const BF16Format bf16;
  static const F16Format f16;
  if (element.isBF16())
    return bf16;
  if (element.isF16())
    return f16;
  return f32;
}
