// Arithmetic over constants, indices and values.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

static Fn binaryFn(BinaryOp op) {
  switch (op) {
  case BinaryOp::Add:
    return Fn::Add;
  case BinaryOp::Sub:
    return Fn::Sub;
  case BinaryOp::Mul:
    return Fn::Mul;
  case BinaryOp::Div:
    return Fn::Div;
  case BinaryOp::FloorDiv:
    return Fn::FloorDiv;
  case BinaryOp::Mod:
    return Fn::Mod;
  case BinaryOp::Pow:
    return Fn::Pow;
  case BinaryOp::Eq:
    return Fn::Eq;
  case BinaryOp::Ne:
    return Fn::Ne;
  case BinaryOp::Lt:
    return Fn::Lt;
  case BinaryOp::Le:
    return Fn::Le;
  case BinaryOp::Gt:
    return Fn::Gt;
  case BinaryOp::Ge:
    return Fn::Ge;
  case BinaryOp::And:
    return Fn::And;
  case BinaryOp::Or:
    return Fn::Or;
  case BinaryOp::In:
    return Fn::None;
  }
  return Fn::None;
}

static bool isCompare(Fn fn) { return fn >= Fn::Eq && fn <= Fn::Ge; }
static bool isLogic(Fn fn) { return fn == Fn::And || fn == Fn::Or; }

Val Elaborator::evaluateBinary(const BinaryExpr &expr) {
  if (expr.op == BinaryOp::In) {
    Val value = evaluate(expr.lhs.get());
    if (value.poison())
      return {};
    const std::vector<ExprPtr> *elements = nullptr;
    if (const auto *set = as<SetExpr>(expr.rhs))
      elements = &set->elements;
    else if (const auto *list = as<ListExpr>(expr.rhs))
      elements = &list->elements;
    Val result = Val::ofBool(false);
    if (elements) {
      for (const ExprPtr &element : *elements) {
        Val equal = binary(Fn::Eq, value, evaluate(element.get()), expr.range, expr.lhs->range, element->range);
        result = binary(Fn::Or, result, equal, expr.range, expr.range, expr.range);
      }
      return result;
    }
    Val domain = evaluate(expr.rhs.get());
    if (domain.is(Kind::List)) {
      for (const Val &element : domain.elements) {
        Val equal = binary(Fn::Eq, value, element, expr.range, expr.lhs->range, expr.rhs->range);
        result = binary(Fn::Or, result, equal, expr.range, expr.range, expr.range);
      }
      return result;
    }
    if (!domain.poison())
      error(ErrorCode::L0207, expr.rhs->range, "expected a set or a list after `in`, but got " + describe(domain));
    return {};
  }
  const Fn fn = binaryFn(expr.op);
  Val a = evaluate(expr.lhs.get());
  // What decides an `and` or `or` when compiled leaves the other side unread.
  if (isLogic(fn) && a.is(Kind::Bool) && (a.integer != 0) == (fn == Fn::Or))
    return a;
  Val b = evaluate(expr.rhs.get());
  return binary(fn, a, b, expr.range, expr.lhs->range, expr.rhs->range);
}

Val Elaborator::foldBinary(Fn fn, const Val &a, const Val &b, SourceRange range) {
  if (isLogic(fn)) {
    if (!a.is(Kind::Bool) || !b.is(Kind::Bool)) {
      error(ErrorCode::L0207, range, "expected two conditions, but got " + describe(a) + " and " + describe(b));
      return {};
    }
    return Val::ofBool(fn == Fn::And ? a.integer && b.integer : a.integer || b.integer);
  }
  if (!a.numeric() || !b.numeric()) {
    if (fn == Fn::Eq || fn == Fn::Ne) {
      bool equal = false;
      if (a.kind == b.kind)
        equal = a.is(Kind::None) || (a.is(Kind::Bool) ? a.integer == b.integer : a.text == b.text);
      return Val::ofBool(equal == (fn == Fn::Eq));
    }
    error(ErrorCode::L0207, range, "expected two numbers, but got " + describe(a) + " and " + describe(b));
    return {};
  }
  if (isCompare(fn)) {
    const bool ints = a.is(Kind::Int) && b.is(Kind::Int);
    const int order = ints ? (a.integer > b.integer) - (a.integer < b.integer)
                           : (a.number() > b.number()) - (a.number() < b.number());
    const bool result = fn == Fn::Eq   ? order == 0
                        : fn == Fn::Ne ? order != 0
                        : fn == Fn::Lt ? order < 0
                        : fn == Fn::Le ? order <= 0
                        : fn == Fn::Gt ? order > 0
                                       : order >= 0;
    return Val::ofBool(result);
  }
  if (a.is(Kind::Int) && b.is(Kind::Int)) {
    const int64_t x = a.integer, y = b.integer;
    int64_t r = 0;
    bool overflow = false;
    switch (fn) {
    case Fn::Add:
      overflow = __builtin_add_overflow(x, y, &r);
      if (!overflow)
        return Val::ofInt(r, a.size + b.size);
      break;
    case Fn::Sub:
      overflow = __builtin_sub_overflow(x, y, &r);
      if (!overflow)
        return Val::ofInt(r, a.size - b.size);
      break;
    case Fn::Mul:
      overflow = __builtin_mul_overflow(x, y, &r);
      if (!overflow)
        return Val::ofInt(r, a.size * b.size);
      break;
    case Fn::Min:
      return x <= y ? a : b;
    case Fn::Max:
      return x >= y ? a : b;
    case Fn::Div:
    case Fn::FloorDiv:
    case Fn::Mod: {
      if (y == 0 || (x == INT64_MIN && y == -1)) {
        error(ErrorCode::L0219, range, "division by zero").label("the divisor is " + std::to_string(y));
        return {};
      }
      int64_t quotient = x / y, rest = x % y;
      if (fn == Fn::Div && rest)
        return Val::ofFloat(static_cast<double>(x) / static_cast<double>(y));
      if (rest && ((rest < 0) != (y < 0))) {
        --quotient;
        rest += y;
      }
      if (fn == Fn::Mod)
        return Val::ofInt(rest, SizeExpr::opaque("mod", a.size, b.size));
      return Val::ofInt(quotient, rest ? SizeExpr::opaque("div", a.size, b.size) : SizeExpr::divide(a.size, b.size));
    }
    case Fn::Pow: {
      if (y < 0 || y > 64)
        return Val::ofFloat(std::pow(static_cast<double>(x), static_cast<double>(y)));
      Val result = Val::ofInt(1);
      for (int64_t k = 0; k < y && !result.poison(); ++k)
        result = foldBinary(Fn::Mul, result, a, range);
      return result;
    }
    default:
      break;
    }
    error(ErrorCode::L0219, range, "this number does not fit into 64 bits");
    return {};
  }
  const double x = a.number(), y = b.number();
  switch (fn) {
  case Fn::Add:
    return Val::ofFloat(x + y);
  case Fn::Sub:
    return Val::ofFloat(x - y);
  case Fn::Mul:
    return Val::ofFloat(x * y);
  case Fn::Div:
    if (y == 0) {
      error(ErrorCode::L0219, range, "division by zero");
      return {};
    }
    return Val::ofFloat(x / y);
  case Fn::FloorDiv:
    return Val::ofFloat(std::floor(x / y));
  case Fn::Mod:
    return Val::ofFloat(x - y * std::floor(x / y));
  case Fn::Pow:
    return Val::ofFloat(std::pow(x, y));
  case Fn::Min:
    return Val::ofFloat(std::min(x, y));
  case Fn::Max:
    return Val::ofFloat(std::max(x, y));
  default:
    return {};
  }
}

IndexPtr Elaborator::asIndex(const Val &value) const {
  if (value.is(Kind::Index))
    return value.index;
  if (!value.is(Kind::Int) && !value.is(Kind::Bool))
    return nullptr;
  auto node = std::make_shared<IndexNode>();
  node->number = value.integer;
  node->boolean = value.is(Kind::Bool);
  return node;
}

Val Elaborator::binary(Fn fn, const Val &a, const Val &b, SourceRange range, SourceRange aRange, SourceRange bRange) {
  if (a.poison() || b.poison())
    return {};
  if (fn == Fn::And || fn == Fn::Or) // a condition of `config` beside one of the run
    for (const auto &[known, other] : {std::pair(&a, &b), std::pair(&b, &a)})
      if (known->is(Kind::Bool) && !other->is(Kind::Bool))
        return (known->integer != 0) == (fn == Fn::And) ? *other : *known;
  if (a.constant() && b.constant())
    return foldBinary(fn, a, b, range);
  if ((fn == Fn::And || fn == Fn::Or) && (a.is(Kind::Bool) || b.is(Kind::Bool))) { // known: one decides, or does not matter
    const Val &known = a.is(Kind::Bool) ? a : b;
    return (known.integer != 0) == (fn == Fn::Or) ? known : a.is(Kind::Bool) ? b : a;
  }
  // Arithmetic over indices stays symbolic as long as it is integer arithmetic.
  const IndexPtr x = asIndex(a), y = asIndex(b);
  if (x && y && fn != Fn::Div && fn != Fn::Pow) {
    if (x->boolean != y->boolean || x->boolean != isLogic(fn)) {
      if (!(x->boolean && y->boolean && (fn == Fn::Eq || fn == Fn::Ne))) {
        error(ErrorCode::L0207, range, isLogic(fn) ? "expected two conditions" : "expected two numbers")
            .label("of indices");
        return {};
      }
    }
    auto node = std::make_shared<IndexNode>();
    node->fn = fn;
    node->a = x;
    node->b = y;
    node->boolean = isLogic(fn) || isCompare(fn);
    Val v = Val::make(Kind::Index);
    v.index = std::move(node);
    return v;
  }
  if (a.is(Kind::None) || b.is(Kind::None) || a.is(Kind::Word) || b.is(Kind::Word)) {
    error(ErrorCode::L0207, range, "expected two numbers, but got " + describe(a) + " and " + describe(b));
    return {};
  }
  // A small square is a product, to the bit.
  if (fn == Fn::Pow && a.is(Kind::Runtime) && b.is(Kind::Int) && b.integer == 2)
    return binary(Fn::Mul, a, a, range, aRange, aRange);
  const ProgramType *aType = a.is(Kind::Runtime) ? &typeOf(a.ref) : nullptr, *bType = b.is(Kind::Runtime) ? &typeOf(b.ref) : nullptr;
  const ProgramType left0 = aType ? *aType : ProgramType(), right0 = bType ? *bType : ProgramType();
  ValueId left = materialise(a, aRange, bType ? &right0 : nullptr);
  ValueId right = materialise(b, bRange, aType ? &left0 : nullptr);
  if (left == kNone || right == kNone)
    return {};
  if (!isLogic(fn) && !isCompare(fn)) {
    const bool exact = typeOf(left).element == ElementType::Int && typeOf(right).element == ElementType::Int &&
                       fn != Fn::Div && fn != Fn::Pow;
    if (!exact && (!toFloat(left, aRange) || !toFloat(right, bRange)))
      return {};
  }
  if (!unify(left, right, range, aRange, bRange))
    return {};
  ProgramType type = typeOf(left);
  type.scope = std::max(type.scope, typeOf(right).scope);
  if (isLogic(fn) && type.element != ElementType::Bool) {
    error(ErrorCode::L0207, range, "expected two conditions, but got numbers");
    return {};
  }
  if (isCompare(fn))
    type.element = ElementType::Bool;
  ProgramOp &op = emit(isCompare(fn) ? OpKind::Compare : OpKind::Binary, type, {left, right}, range);
  op.fn = fn;
  return Val::ofRuntime(op.results[0]);
}

static double applyUnary(Fn fn, double x) {
  switch (fn) {
  case Fn::Neg:
    return -x;
  case Fn::Exp:
    return std::exp(x);
  case Fn::Log:
    return std::log(x);
  case Fn::Sqrt:
    return std::sqrt(x);
  case Fn::Rsqrt:
    return 1 / std::sqrt(x);
  case Fn::Abs:
    return std::fabs(x);
  case Fn::Floor:
    return std::floor(x);
  case Fn::Ceil:
    return std::ceil(x);
  case Fn::Sin:
    return std::sin(x);
  case Fn::Cos:
    return std::cos(x);
  case Fn::Tanh:
    return std::tanh(x);
  case Fn::Sigmoid:
    return 1 / (1 + std::exp(-x));
  case Fn::Silu:
    return x / (1 + std::exp(-x));
  case Fn::Relu:
    return x > 0 ? x : 0;
  case Fn::Softplus:
    return x > 20 ? x : std::log1p(std::exp(x));
  case Fn::Erf:
    return std::erf(x);
  default:
    return NAN;
  }
}

Val Elaborator::unary(Fn fn, const Val &a, SourceRange range) {
  if (a.poison())
    return {};
  if (fn == Fn::Not) {
    if (a.is(Kind::Bool))
      return Val::ofBool(!a.integer);
    if (a.is(Kind::Index) && a.index->boolean) {
      auto node = std::make_shared<IndexNode>();
      node->fn = Fn::Not;
      node->a = a.index;
      node->boolean = true;
      Val v = Val::make(Kind::Index);
      v.index = std::move(node);
      return v;
    }
    ValueId value = materialise(a, range);
    if (value == kNone)
      return {};
    if (typeOf(value).element != ElementType::Bool) {
      error(ErrorCode::L0207, range, "expected a condition after `not`, but got " + describe(a));
      return {};
    }
    ProgramOp &op = emit(OpKind::Unary, typeOf(value), {value}, range);
    op.fn = fn;
    return Val::ofRuntime(op.results[0]);
  }
  if (fn == Fn::Neg && a.is(Kind::Int) && a.integer != INT64_MIN)
    return Val::ofInt(-a.integer, SizeExpr::constant(-1) * a.size);
  if (fn == Fn::Neg && a.is(Kind::Index))
    return binary(Fn::Sub, Val::ofInt(0), a, range, range, range);
  if (a.numeric() && fn != Fn::Gelu && fn != Fn::GeluTanh) {
    const double result = applyUnary(fn, a.number());
    const bool whole = (fn == Fn::Floor || fn == Fn::Ceil) && std::fabs(result) < 9e15;
    if (whole)
      return Val::ofInt(static_cast<int64_t>(result));
    return Val::ofFloat(result);
  }
  ValueId value = materialise(a, range);
  if (!toFloat(value, range))
    return {};
  ProgramOp &op = emit(OpKind::Unary, typeOf(value), {value}, range);
  op.fn = fn;
  return Val::ofRuntime(op.results[0]);
}

} // namespace loopc::frontend::sema
