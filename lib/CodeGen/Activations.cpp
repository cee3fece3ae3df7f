// Activation functions as scalar arith and math ops.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Activations.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

Value loopc::codegen::expandActivation(OpBuilder &b, Location loc, loop::ActKind kind, Value x) {
  Type type = x.getType();
  auto constant = [&](double value) -> Value { return arith::ConstantOp::create(b, loc, b.getFloatAttr(type, value)); };
  auto mul = [&](Value l, Value r) -> Value { return arith::MulFOp::create(b, loc, l, r); };
  auto add = [&](Value l, Value r) -> Value { return arith::AddFOp::create(b, loc, l, r); };
  auto onePlusExpOfMinus = [&](Value v) {
    return add(constant(1.0), math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, v)));
  };
  switch (kind) {
  case loop::ActKind::silu: // x / (1 + exp(-x))
    return arith::DivFOp::create(b, loc, x, onePlusExpOfMinus(x));
  case loop::ActKind::sigmoid:
    return arith::DivFOp::create(b, loc, constant(1.0), onePlusExpOfMinus(x));
  case loop::ActKind::gelu: { // x/2 (1 + erf(x / sqrt 2))
    Value e = math::ErfOp::create(b, loc, mul(x, constant(0.70710678118654752)));
    return mul(mul(constant(0.5), x), add(constant(1.0), e));
  }
  case loop::ActKind::gelu_tanh: { // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    Value cube = mul(mul(x, x), x);
    Value inner = mul(constant(0.79788456080286536), add(x, mul(constant(0.044715), cube)));
    return mul(mul(constant(0.5), x), add(constant(1.0), math::TanhOp::create(b, loc, inner)));
  }
  case loop::ActKind::relu:
    return arith::MaximumFOp::create(b, loc, x, constant(0.0));
  case loop::ActKind::softplus: { // max(x, 0) + log1p(exp(-|x|)): no overflow
    Value e = math::ExpOp::create(b, loc, arith::NegFOp::create(b, loc, math::AbsFOp::create(b, loc, x)));
    return add(arith::MaximumFOp::create(b, loc, x, constant(0.0)), math::Log1pOp::create(b, loc, e));
  }
  case loop::ActKind::tanh:
    return math::TanhOp::create(b, loc, x);
  }
  llvm_unreachable("all kinds are handled");
}
