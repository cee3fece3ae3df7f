// Formats of packed weights: numbers of 32 and 16 bits, blocks of small whole numbers with scales.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {

Value splatI32(Emit &e, int32_t value) {
  auto type = e.vec(e.lanes(), e.i32());
  return arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(type, e.b.getI32IntegerAttr(value)));
}

/// f32 and f16: [32]
struct PlainFormat final : WeightFormat {
  using WeightFormat::WeightFormat;
  SmallVector<Value> decode(Emit &e, Value block, Value, Value column, ArrayRef<Value>) const override {
    int64_t width = blockBytes() / 32;
    return {e.loadF32(width == 2 ? Type(e.b.getF16Type()) : e.f32(), e.lanes(), e.at(block, e.mul(column, width)))};
  }
};

/// [32][2]: a 32-bit word has two k of one column, the first in its upper half. One load gives two registers by
/// a mask and a shift, and the same bytes are what vdpbf16ps (which adds its upper half first) and AMX read.
struct BF16Format final : WeightFormat {
  using WeightFormat::WeightFormat;
  SmallVector<Value> decode(Emit &e, Value block, Value, Value column, ArrayRef<Value>) const override {
    Value both = e.load(e.vec(e.lanes(), e.i32()), e.at(block, e.mul(column, 4)));
    Value first = arith::AndIOp::create(e.b, e.loc, both, splatI32(e, static_cast<int32_t>(0xffff0000)));
    Value second = arith::ShLIOp::create(e.b, e.loc, both, splatI32(e, 16));
    auto asF32 = [&](Value v) -> Value { return LLVM::BitcastOp::create(e.b, e.loc, e.vecF32(e.lanes()), v); };
    return {asF32(first), asF32(second)};
  }
};

/// Whole numbers of 4 or 8 bits with a scale and perhaps a minimum, as WeightFormats.def describes them.
/// step * q is exact (WeightFormats.def), so step * q + offset rounds once, as the widened weight did.
struct QuantFormat final : WeightFormat {
  QuantFormat(StringRef name, int64_t k, int64_t bits, int64_t group, bool minimum, bool sign, int64_t bytes)
      : WeightFormat(name, k, bytes), bits(bits), groupSize(group), minimum(minimum), sign(sign) {}
  int64_t group() const override { return groupSize; }
  int64_t unit() const override { return 8 / bits; }

  /// A row of 32 elements of `bits` bits that begins at byte `at` of the block, as whole numbers.
  Value whole(Emit &e, Value address) const {
    Value bytes = e.load(e.vec(e.lanes(), e.b.getI8Type()), address);
    Type wide = e.vec(e.lanes(), e.i32());
    return sign ? Value(arith::ExtSIOp::create(e.b, e.loc, wide, bytes)) : Value(arith::ExtUIOp::create(e.b, e.loc, wide, bytes));
  }
  Value toF32(Emit &e, Value whole) const { return arith::SIToFPOp::create(e.b, e.loc, e.vecF32(e.lanes()), whole); }

  SmallVector<Value> open(Emit &e, Value block, Value column) const override {
    SmallVector<Value> opened;
    for (int64_t i = 0; i <= minimum; ++i)
      opened.push_back(e.loadF32(e.b.getF16Type(), e.lanes(), e.at(e.at(block, 64 * i), e.mul(column, 2))));
    return opened;
  }

  SmallVector<Value> openGroup(Emit &e, Value block, Value group, Value column, ArrayRef<Value> opened) const override {
    SmallVector<Value> shared(opened);
    if (groupSize == this->block())
      return shared;
    Value scales = e.at(e.at(e.at(block, 64 * (1 + minimum)), e.mul(group, 32 * (1 + minimum))), column);
    for (int64_t i = 0; i <= minimum; ++i)
      shared[i] = e.mulF(opened[i], toF32(e, whole(e, e.at(scales, 32 * i))));
    return shared;
  }

  SmallVector<Value> decode(Emit &e, Value block, Value unit, Value column, ArrayRef<Value> shared) const override {
    int64_t quants = blockBytes() - this->block() * 4 * bits; // bytes before them
    Value bytes = whole(e, e.at(e.at(e.at(block, quants), e.mul(unit, 32)), column));
    SmallVector<Value> numbers;
    if (bits == 8) {
      numbers.push_back(bytes);
    } else {
      Value low = arith::AndIOp::create(e.b, e.loc, bytes, splatI32(e, 15)), four = splatI32(e, 4);
      numbers.push_back(sign ? e.sub(low, splatI32(e, 8)) : low);
      numbers.push_back(sign ? Value(arith::ShRSIOp::create(e.b, e.loc, bytes, four)) : Value(arith::ShRUIOp::create(e.b, e.loc, bytes, four)));
    }
    for (Value &number : numbers) {
      Value q = toF32(e, number);
      number = minimum ? e.fma(q, shared[0], shared[1]) : e.mulF(q, shared[0]);
    }
    return numbers;
  }

private:
  int64_t bits, groupSize;
  bool minimum, sign;
};

} // namespace

const WeightFormat &loopc::codegen::weightFormat(task::ParamOp panels) {
  Type element = panels.getResult().getType().getElement();
  return weightFormat(panels.getFormat() ? *panels.getFormat() : element.isBF16() ? "bf16" : element.isF16() ? "f16" : "f32");
}

const WeightFormat &loopc::codegen::weightFormat(StringRef name) {
  static const llvm::StringMap<std::unique_ptr<const WeightFormat>> formats = [] {
    llvm::StringMap<std::unique_ptr<const WeightFormat>> all;
#define LOOPC_QUANT_FORMAT(name, dtype, k, bits, group, minimum, sign)                                                 \
  all[#name] = std::make_unique<QuantFormat>(#name, k, bits, group, minimum, sign, LOOPC_QUANT_BYTES(k, bits, group, minimum));
#define LOOPC_WEIGHT_FORMAT(name, dtype, k, bytes)                                                                     \
  all[#name] = k == 2 ? std::unique_ptr<const WeightFormat>(std::make_unique<BF16Format>(#name, k, bytes))             \
                      : std::make_unique<PlainFormat>(#name, k, bytes);
#include "loopc/runtime/WeightFormats.def"
    return all;
  }();
  return *formats.find(name)->second;
}
