// Rules of arith and math ops: one element at a time.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <cmath>

#pragma clang fp contract(off)

using namespace mlir;

namespace loopc::interp {
namespace {

/// Integers are kept sign-extended from their type's width; booleans are 0 or 1.
int64_t wrap(int64_t value, Type type) {
  Type element = getElementTypeOrSelf(type);
  unsigned width = element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
  if (width == 1)
    return value & 1;
  return width >= 64 ? value : int64_t(uint64_t(value) << (64 - width)) >> (64 - width);
}
uint64_t asUnsigned(int64_t value, Type type) {
  Type element = getElementTypeOrSelf(type);
  unsigned width = element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
  return width >= 64 ? uint64_t(value) : uint64_t(value) & ((uint64_t(1) << width) - 1);
}

/// For every element: result = f(pointers to the operands' elements).
template <typename T, typename F> LogicalResult forElements(Machine<T> &m, Operation *op, F f) {
  Value result = op->getResult(0);
  Val<T> out = m.make(result, m.uniformOperands(op));
  SmallVector<const Val<T> *, 3> in;
  for (Value operand : op->getOperands())
    in.push_back(&m.get(operand));
  for (int64_t r = 0; r < out.rows; ++r)
    f(r, out, ArrayRef<const Val<T> *>(in));
  m.set(result, out);
  return success();
}

template <typename T, T (*F)(T)> LogicalResult real1(Machine<T> &m, Operation *op) {
  return forElements(m, op, [](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    const T *a = in[0]->realRow(r);
    T *y = out.realRow(r);
    for (int64_t i = 0; i < out.width; ++i)
      y[i] = F(a[i]);
  });
}
template <typename T, T (*F)(T, T)> LogicalResult real2(Machine<T> &m, Operation *op) {
  return forElements(m, op, [](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    const T *a = in[0]->realRow(r), *b = in[1]->realRow(r);
    T *y = out.realRow(r);
    for (int64_t i = 0; i < out.width; ++i)
      y[i] = F(a[i], b[i]);
  });
}
template <typename T> LogicalResult fma3(Machine<T> &m, Operation *op) {
  return forElements(m, op, [](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    const T *a = in[0]->realRow(r), *b = in[1]->realRow(r), *c = in[2]->realRow(r);
    T *y = out.realRow(r);
    for (int64_t i = 0; i < out.width; ++i)
      y[i] = std::fma(a[i], b[i], c[i]);
  });
}
template <typename T, int64_t (*F)(int64_t, int64_t)> LogicalResult whole2(Machine<T> &m, Operation *op) {
  Type type = op->getResult(0).getType();
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    const int64_t *a = in[0]->wholeRow(r), *b = in[1]->wholeRow(r);
    int64_t *y = out.wholeRow(r);
    for (int64_t i = 0; i < out.width; ++i)
      y[i] = wrap(F(a[i], b[i]), type);
  });
}
template <typename T, int64_t (*F)(int64_t, int64_t)> LogicalResult divide2(Machine<T> &m, Operation *op) {
  const Val<T> &divisor = m.get(op->getOperand(1));
  for (int64_t value : *divisor.whole)
    if (value == 0)
      return m.fail(op, "expected a divisor other than zero, but got 0");
  return whole2<T, F>(m, op);
}

template <typename T> T addReal(T a, T b) { return a + b; }
template <typename T> T subReal(T a, T b) { return a - b; }
template <typename T> T mulReal(T a, T b) { return a * b; }
template <typename T> T divReal(T a, T b) { return a / b; }
template <typename T> T remReal(T a, T b) { return std::fmod(a, b); }
template <typename T> T negReal(T a) { return -a; }
template <typename T> T same(T a) { return a; }
/// maximumf and minimumf give NaN if one operand is; maxnumf and minnumf give the other one.
template <typename T> T maxReal(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? a + b : a > b || (a == b && !std::signbit(a)) ? a : b;
}
template <typename T> T minReal(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? a + b : a < b || (a == b && std::signbit(a)) ? a : b;
}
template <typename T> T maxNum(T a, T b) { return std::fmax(a, b); }
template <typename T> T minNum(T a, T b) { return std::fmin(a, b); }

int64_t addWhole(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
int64_t subWhole(int64_t a, int64_t b) { return int64_t(uint64_t(a) - uint64_t(b)); }
int64_t mulWhole(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }
int64_t divTrunc(int64_t a, int64_t b) { return b == -1 ? subWhole(0, a) : a / b; }
int64_t remTrunc(int64_t a, int64_t b) { return b == -1 ? 0 : a % b; }
int64_t divFloor(int64_t a, int64_t b) { return divTrunc(a, b) - (remTrunc(a, b) != 0 && (a < 0) != (b < 0)); }
int64_t divCeil(int64_t a, int64_t b) { return divTrunc(a, b) + (remTrunc(a, b) != 0 && (a < 0) == (b < 0)); }
int64_t andWhole(int64_t a, int64_t b) { return a & b; }
int64_t orWhole(int64_t a, int64_t b) { return a | b; }
int64_t xorWhole(int64_t a, int64_t b) { return a ^ b; }
int64_t maxWhole(int64_t a, int64_t b) { return std::max(a, b); }
int64_t minWhole(int64_t a, int64_t b) { return std::min(a, b); }

template <typename T> bool holds(arith::CmpFPredicate predicate, T a, T b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case arith::CmpFPredicate::AlwaysFalse:
    return false;
  case arith::CmpFPredicate::AlwaysTrue:
    return true;
  case arith::CmpFPredicate::OEQ:
    return !unordered && a == b;
  case arith::CmpFPredicate::OGT:
    return !unordered && a > b;
  case arith::CmpFPredicate::OGE:
    return !unordered && a >= b;
  case arith::CmpFPredicate::OLT:
    return !unordered && a < b;
  case arith::CmpFPredicate::OLE:
    return !unordered && a <= b;
  case arith::CmpFPredicate::ONE:
    return !unordered && a != b;
  case arith::CmpFPredicate::ORD:
    return !unordered;
  case arith::CmpFPredicate::UEQ:
    return unordered || a == b;
  case arith::CmpFPredicate::UGT:
    return unordered || a > b;
  case arith::CmpFPredicate::UGE:
    return unordered || a >= b;
  case arith::CmpFPredicate::ULT:
    return unordered || a < b;
  case arith::CmpFPredicate::ULE:
    return unordered || a <= b;
  case arith::CmpFPredicate::UNE:
    return unordered || a != b;
  case arith::CmpFPredicate::UNO:
    return unordered;
  }
  return false;
}
bool holds(arith::CmpIPredicate predicate, int64_t a, int64_t b, uint64_t ua, uint64_t ub) {
  switch (predicate) {
  case arith::CmpIPredicate::eq:
    return a == b;
  case arith::CmpIPredicate::ne:
    return a != b;
  case arith::CmpIPredicate::slt:
    return a < b;
  case arith::CmpIPredicate::sle:
    return a <= b;
  case arith::CmpIPredicate::sgt:
    return a > b;
  case arith::CmpIPredicate::sge:
    return a >= b;
  case arith::CmpIPredicate::ult:
    return ua < ub;
  case arith::CmpIPredicate::ule:
    return ua <= ub;
  case arith::CmpIPredicate::ugt:
    return ua > ub;
  case arith::CmpIPredicate::uge:
    return ua >= ub;
  }
  return false;
}

template <typename T> LogicalResult compareReal(Machine<T> &m, Operation *op) {
  auto predicate = cast<arith::CmpFOp>(op).getPredicate();
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i)
      out.wholeRow(r)[i] = holds(predicate, in[0]->realRow(r)[i], in[1]->realRow(r)[i]);
  });
}
template <typename T> LogicalResult compareWhole(Machine<T> &m, Operation *op) {
  auto predicate = cast<arith::CmpIOp>(op).getPredicate();
  Type type = op->getOperand(0).getType();
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      int64_t a = in[0]->wholeRow(r)[i], b = in[1]->wholeRow(r)[i];
      out.wholeRow(r)[i] = holds(predicate, a, b, asUnsigned(a, type), asUnsigned(b, type));
    }
  });
}
template <typename T> LogicalResult select(Machine<T> &m, Operation *op) {
  bool real = isReal(op->getResult(0).getType());
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      const Val<T> &from = *in[in[0]->wholeRow(r)[in[0]->width == 1 ? 0 : i] ? 1 : 2];
      if (real)
        out.realRow(r)[i] = from.realRow(r)[i];
      else
        out.wholeRow(r)[i] = from.wholeRow(r)[i];
    }
  });
}
/// A cast from integers to integers (extension, truncation, index).
template <typename T, bool Unsigned> LogicalResult wholeCast(Machine<T> &m, Operation *op) {
  Type from = op->getOperand(0).getType(), to = op->getResult(0).getType();
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      int64_t value = in[0]->wholeRow(r)[i];
      if (Unsigned)
        value = int64_t(asUnsigned(value, from));
      else if (getElementTypeOrSelf(from).isInteger(1))
        value = -value;
      out.wholeRow(r)[i] = wrap(value, to);
    }
  });
}
template <typename T, bool Unsigned> LogicalResult wholeToReal(Machine<T> &m, Operation *op) {
  Type from = op->getOperand(0).getType();
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      int64_t value = in[0]->wholeRow(r)[i];
      if (!Unsigned && getElementTypeOrSelf(from).isInteger(1))
        value = -value;
      out.realRow(r)[i] = Unsigned ? T(asUnsigned(value, from)) : T(value);
    }
  });
}
template <typename T> LogicalResult realToWhole(Machine<T> &m, Operation *op) {
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      T value = in[0]->realRow(r)[i];
      out.wholeRow(r)[i] =
          value >= T(-9.2e18) && value <= T(9.2e18) ? wrap(int64_t(value), op->getResult(0).getType()) : 0;
    }
  });
}
template <typename T> LogicalResult truncateReal(Machine<T> &m, Operation *op) {
  Type to = getElementTypeOrSelf(op->getResult(0).getType());
  return forElements(m, op, [&](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
    for (int64_t i = 0; i < out.width; ++i) {
      T value = in[0]->realRow(r)[i];
      out.realRow(r)[i] = to.isBF16() ? roundToBF16(value) : to.isF16() ? roundToF16(value) : value;
    }
  });
}
template <typename T> LogicalResult constant(Machine<T> &m, Operation *op) {
  Attribute attr = cast<arith::ConstantOp>(op).getValue();
  Val<T> out = m.make(op->getResult(0), true);
  if (auto number = dyn_cast<FloatAttr>(attr))
    (*out.real)[0] = T(number.getValueAsDouble());
  else if (auto whole = dyn_cast<IntegerAttr>(attr))
    (*out.whole)[0] = whole.getType().isInteger(1) ? whole.getValue().getBoolValue() : whole.getInt();
  else if (auto dense = dyn_cast<DenseElementsAttr>(attr); dense && out.real) {
    int64_t i = 0;
    for (APFloat value : dense.getValues<APFloat>()) {
      bool inexact;
      value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
      (*out.real)[i++] = T(value.convertToDouble());
    }
  } else if (dense) {
    int64_t i = 0;
    for (APInt value : dense.getValues<APInt>())
      (*out.whole)[i++] = value.getBitWidth() == 1 ? value.getBoolValue() : value.getSExtValue();
  } else
    return m.fail(op, "expected a number or dense elements");
  m.set(op->getResult(0), out);
  return success();
}

template <typename T> T rsqrtReal(T a) { return T(1) / std::sqrt(a); }
#define LOOPC_MATH1(F) [](Machine<T> &m, Operation *op) { return real1<T, static_cast<T (*)(T)>(std::F)>(m, op); }

} // namespace

template <typename T> void addArithRules(RuleTable<T> &table) {
  table["arith.constant"] = constant<T>;
  table["arith.addf"] = real2<T, addReal<T>>;
  table["arith.subf"] = real2<T, subReal<T>>;
  table["arith.mulf"] = real2<T, mulReal<T>>;
  table["arith.divf"] = real2<T, divReal<T>>;
  table["arith.remf"] = real2<T, remReal<T>>;
  table["arith.negf"] = real1<T, negReal<T>>;
  table["arith.maximumf"] = real2<T, maxReal<T>>;
  table["arith.minimumf"] = real2<T, minReal<T>>;
  table["arith.maxnumf"] = real2<T, maxNum<T>>;
  table["arith.minnumf"] = real2<T, minNum<T>>;
  table["arith.addi"] = whole2<T, addWhole>;
  table["arith.subi"] = whole2<T, subWhole>;
  table["arith.muli"] = whole2<T, mulWhole>;
  table["arith.divsi"] = divide2<T, divTrunc>;
  table["arith.remsi"] = divide2<T, remTrunc>;
  table["arith.floordivsi"] = divide2<T, divFloor>;
  table["arith.ceildivsi"] = divide2<T, divCeil>;
  table["arith.andi"] = whole2<T, andWhole>;
  table["arith.ori"] = whole2<T, orWhole>;
  table["arith.xori"] = whole2<T, xorWhole>;
  table["arith.maxsi"] = whole2<T, maxWhole>;
  table["arith.minsi"] = whole2<T, minWhole>;
  table["arith.cmpf"] = compareReal<T>;
  table["arith.cmpi"] = compareWhole<T>;
  table["arith.select"] = select<T>;
  table["arith.extf"] = real1<T, same<T>>;
  table["arith.truncf"] = truncateReal<T>;
  table["arith.extsi"] = wholeCast<T, false>;
  table["arith.extui"] = wholeCast<T, true>;
  table["arith.trunci"] = wholeCast<T, false>;
  table["arith.index_cast"] = wholeCast<T, false>;
  table["arith.index_castui"] = wholeCast<T, true>;
  table["arith.sitofp"] = wholeToReal<T, false>;
  table["arith.uitofp"] = wholeToReal<T, true>;
  table["arith.fptosi"] = realToWhole<T>;
}

template <typename T> void addMathRules(RuleTable<T> &table) {
  table["math.exp"] = LOOPC_MATH1(exp);
  table["math.exp2"] = LOOPC_MATH1(exp2);
  table["math.expm1"] = LOOPC_MATH1(expm1);
  table["math.log"] = LOOPC_MATH1(log);
  table["math.log2"] = LOOPC_MATH1(log2);
  table["math.log10"] = LOOPC_MATH1(log10);
  table["math.log1p"] = LOOPC_MATH1(log1p);
  table["math.sqrt"] = LOOPC_MATH1(sqrt);
  table["math.cbrt"] = LOOPC_MATH1(cbrt);
  table["math.absf"] = LOOPC_MATH1(fabs);
  table["math.floor"] = LOOPC_MATH1(floor);
  table["math.ceil"] = LOOPC_MATH1(ceil);
  table["math.round"] = LOOPC_MATH1(round);
  table["math.roundeven"] = LOOPC_MATH1(nearbyint);
  table["math.trunc"] = LOOPC_MATH1(trunc);
  table["math.sin"] = LOOPC_MATH1(sin);
  table["math.cos"] = LOOPC_MATH1(cos);
  table["math.tan"] = LOOPC_MATH1(tan);
  table["math.atan"] = LOOPC_MATH1(atan);
  table["math.tanh"] = LOOPC_MATH1(tanh);
  table["math.erf"] = LOOPC_MATH1(erf);
  table["math.rsqrt"] = real1<T, rsqrtReal<T>>;
  table["math.fma"] = fma3<T>;
  table["math.powf"] = [](Machine<T> &m, Operation *op) {
    return forElements(m, op, [](int64_t r, Val<T> &out, ArrayRef<const Val<T> *> in) {
      for (int64_t i = 0; i < out.width; ++i)
        out.realRow(r)[i] = std::pow(in[0]->realRow(r)[i], in[1]->realRow(r)[i]);
    });
  };
}

template void addArithRules(RuleTable<float> &);
template void addArithRules(RuleTable<double> &);
template void addMathRules(RuleTable<float> &);
template void addMathRules(RuleTable<double> &);

} // namespace loopc::interp
