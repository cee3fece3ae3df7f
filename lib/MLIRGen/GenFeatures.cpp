// Straight code of a program: constants, element functions, feature ops.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Generator.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace loopc;
using namespace loopc::frontend;

static std::optional<int64_t> constantInteger(Value value) {
  APInt number;
  if (matchPattern(value, m_ConstantInt(&number)))
    return number.getSExtValue();
  DenseElementsAttr dense;
  if (matchPattern(value, m_Constant(&dense)) && dense.isSplat()) {
    if (isa<IntegerType>(dense.getElementType()))
      return dense.getSplatValue<APInt>().getSExtValue();
    double number = dense.getSplatValue<APFloat>().convertToDouble();
    if (number == static_cast<double>(static_cast<int64_t>(number)))
      return static_cast<int64_t>(number);
  }
  return std::nullopt;
}

FailureOr<Value> Generator::index(const Op &op, size_t operand) {
  Value number = value(op, operand);
  if (number.getType().isIndex())
    return number;
  if (std::optional<int64_t> known = constantInteger(number))
    return Value(arith::ConstantIndexOp::create(b, at(op.loc), *known));
  return refuse(op.loc) << "expected an index that is the same for all tokens, but it varies";
}

Value Generator::ranked(Value value, Location loc) {
  Type type = value.getType();
  return isa<RankedTensorType>(type) ? value : Value(tensor::FromElementsOp::create(b, loc, RankedTensorType::get({}, type), value));
}

FailureOr<Value> Generator::feature(const Op &op) {
  Location loc = at(op.loc);
  ValueId result = op.results[0];
  switch (op.kind) {
  case OpKind::Constant:
    return constant(op);
  case OpKind::Token:
    return Value(loop::TokenOp::create(b, loc, RankedTensorType::get({}, b.getI32Type())));
  case OpKind::Label:
    return Value(loop::LabelOp::create(b, loc, RankedTensorType::get({}, b.getI32Type())));
  case OpKind::CrossEntropy:
    return Value(loop::CrossEntropyOp::create(b, loc, tensor(result), value(op, 0), value(op, 1)));
  case OpKind::StopGradient:
    return Value(loop::StopGradientOp::create(b, loc, tensor(result), value(op, 0)));
  case OpKind::Position:
    return Value(loop::PositionOp::create(b, loc, RankedTensorType::get({}, b.getI32Type())));
  case OpKind::Option:
    return option(op);
  case OpKind::Param: {
    const ProgramWeight &weight = program.weights[op.ref];
    ArrayRef<int64_t> shape(weight.shape);
    if (weight.role == WeightRole::Matrix && shape.size() == 2 && shape[0] == 1)
      shape = shape.drop_front();
    SmallVector<Value> indices;
    for (size_t i = 0; i < op.operands.size(); ++i) {
      FailureOr<Value> number = index(op, i);
      if (failed(number))
        return failure();
      indices.push_back(*number);
    }
    return Value(loop::ParamOp::create(b, loc, RankedTensorType::get(shape, b.getF32Type()), FlatSymbolRefAttr::get(&context, weightSymbols[op.ref]), indices));
  }
  case OpKind::Draw: {
    const ProgramDraw &draw = program.draws[op.ref];
    loop::LawAttr law;
    switch (draw.law) {
    case DrawLaw::Normal: law = loop::LawAttr::get(&context, loop::LawKind::normal, draw.mean, draw.std); break;
    case DrawLaw::TruncatedNormal: law = loop::LawAttr::get(&context, loop::LawKind::truncated_normal, draw.mean, draw.std, draw.cut); break;
    case DrawLaw::Uniform: law = loop::LawAttr::get(&context, loop::LawKind::uniform, draw.low, draw.high - draw.low); break;
    case DrawLaw::Position: law = loop::LawAttr::get(&context, loop::LawKind::position); break;
    case DrawLaw::Constant: law = loop::LawAttr::get(&context, loop::LawKind::constant, draw.mean); break;
    case DrawLaw::StandardisedNormal: law = loop::LawAttr::get(&context, loop::LawKind::standardised_normal, 0, 1, draw.low); break;
    }
    return Value(loop::NoiseOp::create(b, loc, tensor(result), draw.name, law, draw.iteration, draw.type.scope == ValueScope::Run));
  }
  case OpKind::Unary:
    return unary(op);
  case OpKind::Binary:
    return binary(op);
  case OpKind::Compare:
    return compare(op);
  case OpKind::Select: {
    Value condition = value(op, 0), yes = value(op, 1);
    auto one = dyn_cast<RankedTensorType>(condition.getType()), many = dyn_cast<RankedTensorType>(yes.getType());
    if (one && many && one.getShape() != many.getShape()) // one condition for all features
      condition = loop::BroadcastOp::create(b, loc, RankedTensorType::get(many.getShape(), one.getElementType()), condition, ArrayRef<int64_t>{});
    return Value(arith::SelectOp::create(b, loc, condition, yes, value(op, 2)));
  }
  case OpKind::Cast:
    return cast(op);
  case OpKind::Broadcast:
    if (tensor(result) == value(op, 0).getType())
      return value(op, 0);
    return Value(loop::BroadcastOp::create(b, loc, tensor(result), ranked(value(op, 0), loc), op.ints));
  case OpKind::Reshape:
    if (tensor(result) == value(op, 0).getType())
      return value(op, 0);
    return Value(loop::ReshapeOp::create(b, loc, tensor(result), value(op, 0)));
  case OpKind::Concat: {
    SmallVector<Value> inputs;
    for (size_t i = 0; i < op.operands.size(); ++i)
      inputs.push_back(value(op, i));
    return Value(loop::ConcatOp::create(b, loc, tensor(result), inputs));
  }
  case OpKind::Slice:
    return Value(loop::SliceOp::create(b, loc, tensor(result), value(op, 0), b.getI64IntegerAttr(op.ints[0]), b.getI64IntegerAttr(op.ints[1])));
  case OpKind::Pick:
    return pick(op);
  case OpKind::Linear:
    return linear(op);
  case OpKind::Embed:
    return Value(loop::EmbedOp::create(b, loc, tensor(result), value(op, 0), value(op, 1)));
  case OpKind::Norm:
    return norm(op);
  case OpKind::Rope:
    return Value(loop::RopeOp::create(b, loc, tensor(result), value(op, 0), Value(), op.operands.size() > 1 ? value(op, 1) : Value(), b.getF64FloatAttr(op.number),
                                      loop::PairsAttr::get(&context, op.rope.pairs == RopePairs::Halves ? loop::Pairs::halves : loop::Pairs::adjacent),
                                      op.rope.sign < 0 ? b.getUnitAttr() : UnitAttr(),
                                      op.rope.table == ElementType::BF16 ? TypeAttr::get(b.getBF16Type()) : TypeAttr()));
  case OpKind::Softmax:
    if (op.ints[0] + 1 != tensor(result).getRank())
      return refuse(op.loc) << "this version runs softmax over the last axis";
    return Value(loop::SoftmaxOp::create(b, loc, tensor(result), value(op, 0), loop::OrderAttr()));
  case OpKind::Reduce:
    return reduce(op);
  case OpKind::Fold:
    return fold(op);
  default:
    return refuse(op.loc) << "`" << std::string(opKindName(op.kind)) << (op.name.empty() ? "" : " " + op.name) << "` is checked, but this version does not run it";
  }
}

FailureOr<Value> Generator::constant(const Op &op) {
  Location loc = at(op.loc);
  const ProgramType &kind = typeOf(op.results[0]);
  if (kind.element == ElementType::Index)
    return Value(arith::ConstantIndexOp::create(b, loc, static_cast<int64_t>(op.number)));
  RankedTensorType type = tensor(op.results[0]);
  if (!op.ints.empty())
    return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef<float>(llvm::to_vector_of<float>(op.ints)))));
  if (kind.element == ElementType::Bool) {
    if (type.getRank() == 0 && kind.scope == ValueScope::Run)
      return Value(arith::ConstantOp::create(b, loc, b.getBoolAttr(op.number != 0)));
    return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, op.number != 0)));
  }
  if (kind.element == ElementType::Int)
    return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, APInt(32, static_cast<uint64_t>(static_cast<int64_t>(op.number)), true))));
  return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, b.getFloatAttr(type.getElementType(), op.number).getValue())));
}

FailureOr<Value> Generator::option(const Op &op) {
  const ProgramOption &option = program.options[op.ref];
  RankedTensorType number = RankedTensorType::get({}, b.getF32Type());
  FlatSymbolRefAttr name = FlatSymbolRefAttr::get(&context, option.name);
  Location loc = at(op.loc);
  Value value = option.isCount ? Value(loop::CountValueOp::create(b, loc, number, name, Value())) : Value(loop::KnobValueOp::create(b, loc, number, name, Value()));
  switch (typeOf(op.results[0]).element) {
  case ElementType::Int:
  case ElementType::Index:
    return Value(arith::FPToSIOp::create(b, loc, RankedTensorType::get({}, b.getI32Type()), value));
  case ElementType::Bool: {
    Value zero = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(number, 0.0f));
    return Value(arith::CmpFOp::create(b, loc, arith::CmpFPredicate::UNE, value, zero));
  }
  default:
    return value;
  }
}

FailureOr<Value> Generator::unary(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0);
  auto act = [&](loop::ActKind kind) { return Value(loop::ActOp::create(b, loc, x.getType(), loop::ActKindAttr::get(&context, kind), x)); };
  switch (op.fn) {
  case Fn::Neg:
    if (isa<IndexType, IntegerType>(getElementTypeOrSelf(x))) {
      Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(x.getType()));
      return Value(arith::SubIOp::create(b, loc, zero, x));
    }
    return Value(arith::NegFOp::create(b, loc, x));
  case Fn::Exp: return Value(math::ExpOp::create(b, loc, x));
  case Fn::Log: return Value(math::LogOp::create(b, loc, x));
  case Fn::Sqrt: return Value(math::SqrtOp::create(b, loc, x));
  case Fn::Rsqrt: return Value(math::RsqrtOp::create(b, loc, x));
  case Fn::Abs: return Value(math::AbsFOp::create(b, loc, x));
  case Fn::Floor: return Value(math::FloorOp::create(b, loc, x));
  case Fn::Ceil: return Value(math::CeilOp::create(b, loc, x));
  case Fn::Sin: return Value(math::SinOp::create(b, loc, x));
  case Fn::Cos: return Value(math::CosOp::create(b, loc, x));
  case Fn::Erf: return Value(math::ErfOp::create(b, loc, x));
  case Fn::Tanh: return act(loop::ActKind::tanh);
  case Fn::Sigmoid: return act(loop::ActKind::sigmoid);
  case Fn::Silu: return act(loop::ActKind::silu);
  case Fn::Gelu: return act(loop::ActKind::gelu);
  case Fn::GeluTanh: return act(loop::ActKind::gelu_tanh);
  case Fn::Relu: return act(loop::ActKind::relu);
  case Fn::Softplus: return act(loop::ActKind::softplus);
  case Fn::Not: {
    Value yes = arith::ConstantOp::create(b, loc, isa<RankedTensorType>(x.getType()) ? TypedAttr(DenseElementsAttr::get(cast_or_null<ShapedType>(x.getType()), true))
                                                                                  : TypedAttr(b.getBoolAttr(true)));
    return Value(arith::XOrIOp::create(b, loc, x, yes));
  }
  default:
    return refuse(op.loc) << "`" << std::string(fnName(op.fn)) << "` is checked, but this version does not run it";
  }
}

FailureOr<Value> Generator::binary(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0), y = value(op, 1);
  if (x.getType().isIndex() != y.getType().isIndex()) { // a number beside an index
    FailureOr<Value> first = index(op, 0), second = index(op, 1);
    if (failed(first) || failed(second))
      return failure();
    x = *first;
    y = *second;
  }
  for (auto [flag, other] : {std::pair(&x, y), std::pair(&y, x)}) // a flag of indices beside one of tokens
    if (auto type = dyn_cast<RankedTensorType>(other.getType()); type && flag->getType().isInteger(1) && type.getElementType().isInteger(1))
      *flag = type.getRank() ? Value(loop::BroadcastOp::create(b, loc, type, ranked(*flag, loc), ArrayRef<int64_t>{})) : ranked(*flag, loc);
  Type kind = getElementTypeOrSelf(x);
  if (x.getType() != y.getType())
    return refuse(op.loc) << "expected two values of one type, but got " << x.getType() << " and " << y.getType();
  bool integer = isa<IndexType, IntegerType>(kind);
  switch (op.fn) {
  case Fn::Add: return integer ? Value(arith::AddIOp::create(b, loc, x, y)) : Value(arith::AddFOp::create(b, loc, x, y));
  case Fn::Sub: return integer ? Value(arith::SubIOp::create(b, loc, x, y)) : Value(arith::SubFOp::create(b, loc, x, y));
  case Fn::Mul: return integer ? Value(arith::MulIOp::create(b, loc, x, y)) : Value(arith::MulFOp::create(b, loc, x, y));
  case Fn::Div: return integer ? Value(arith::DivSIOp::create(b, loc, x, y)) : Value(arith::DivFOp::create(b, loc, x, y));
  case Fn::FloorDiv:
    if (integer)
      return Value(arith::DivSIOp::create(b, loc, x, y));
    return Value(math::FloorOp::create(b, loc, arith::DivFOp::create(b, loc, x, y)));
  case Fn::Mod: return integer ? Value(arith::RemSIOp::create(b, loc, x, y)) : Value(arith::RemFOp::create(b, loc, x, y));
  case Fn::Min: return integer ? Value(arith::MinSIOp::create(b, loc, x, y)) : Value(arith::MinimumFOp::create(b, loc, x, y));
  case Fn::Max: return integer ? Value(arith::MaxSIOp::create(b, loc, x, y)) : Value(arith::MaximumFOp::create(b, loc, x, y));
  case Fn::And: return Value(arith::AndIOp::create(b, loc, x, y));
  case Fn::Or: return Value(arith::OrIOp::create(b, loc, x, y));
  case Fn::Pow:
    if (integer)
      return refuse(op.loc) << "this version runs powers of real numbers";
    if (std::optional<int64_t> exponent = constantInteger(y); exponent == 2) // a square is a product, to the bit
      return Value(arith::MulFOp::create(b, loc, x, x));
    return Value(math::PowFOp::create(b, loc, x, y));
  default:
    return refuse(op.loc) << "`" << std::string(fnName(op.fn)) << "` is checked, but this version does not run it";
  }
}

FailureOr<Value> Generator::compare(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0), y = value(op, 1);
  if (x.getType().isIndex() != y.getType().isIndex()) {
    FailureOr<Value> first = index(op, 0), second = index(op, 1);
    if (failed(first) || failed(second))
      return failure();
    x = *first;
    y = *second;
  }
  bool integer = isa<IndexType, IntegerType>(getElementTypeOrSelf(x));
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  F real;
  I whole;
  switch (op.fn) {
  case Fn::Eq: real = F::OEQ; whole = I::eq; break;
  case Fn::Ne: real = F::UNE; whole = I::ne; break;
  case Fn::Lt: real = F::OLT; whole = I::slt; break;
  case Fn::Le: real = F::OLE; whole = I::sle; break;
  case Fn::Gt: real = F::OGT; whole = I::sgt; break;
  case Fn::Ge: real = F::OGE; whole = I::sge; break;
  default:
    return refuse(op.loc) << "`" << std::string(fnName(op.fn)) << "` is no comparison";
  }
  return integer ? Value(arith::CmpIOp::create(b, loc, whole, x, y)) : Value(arith::CmpFOp::create(b, loc, real, x, y));
}

FailureOr<Value> Generator::cast(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0);
  if (typeOf(op.results[0]).element == ElementType::Index)
    return index(op, 0);
  RankedTensorType to = tensor(op.results[0]);
  if (x.getType() == to)
    return x;
  if (x.getType().isIndex()) {
    if (std::optional<int64_t> known = constantInteger(x)) {
      if (isa<FloatType>(to.getElementType()))
        return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(to, b.getFloatAttr(to.getElementType(), *known).getValue())));
      return Value(arith::ConstantOp::create(b, loc, DenseElementsAttr::get(to, APInt(32, static_cast<uint64_t>(*known), true))));
    }
    if (to.getRank())
      return refuse(op.loc) << "this version makes one number of a loop index, no features";
    x = arith::IndexCastOp::create(b, loc, b.getI32Type(), x);
    x = tensor::FromElementsOp::create(b, loc, RankedTensorType::get({}, b.getI32Type()), x);
    if (x.getType() == to)
      return x;
  }
  Type from = getElementTypeOrSelf(x), kind = to.getElementType();
  if (isa<FloatType>(from) && isa<FloatType>(kind))
    return from.getIntOrFloatBitWidth() > kind.getIntOrFloatBitWidth() ? Value(arith::TruncFOp::create(b, loc, to, x)) : Value(arith::ExtFOp::create(b, loc, to, x));
  if (from.isInteger(1) && isa<FloatType>(kind))
    return Value(arith::UIToFPOp::create(b, loc, to, x));
  if (isa<IntegerType>(from) && isa<FloatType>(kind))
    return Value(arith::SIToFPOp::create(b, loc, to, x));
  if (isa<FloatType>(from) && isa<IntegerType>(kind))
    return Value(arith::FPToSIOp::create(b, loc, to, x));
  return refuse(op.loc) << "expected a conversion between numbers, but got " << from << " to " << kind;
}

FailureOr<Value> Generator::linear(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0), weight = value(op, 1), bias = op.operands.size() > 2 ? value(op, 2) : Value();
  RankedTensorType to = tensor(op.results[0]);
  ArrayRef<int64_t> shape = mlir::cast<RankedTensorType>(weight.getType()).getShape();
  RankedTensorType plain = RankedTensorType::get(shape.drop_back(), to.getElementType());
  if (bias && bias.getType() != plain)
    bias = loop::ReshapeOp::create(b, loc, plain, bias);
  Value y = loop::LinearOp::create(b, loc, plain, x, weight, bias, loop::OrderAttr());
  if (plain != to)
    y = loop::ReshapeOp::create(b, loc, to, y);
  return y;
}

FailureOr<Value> Generator::norm(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0), gain = op.operands.size() > 1 ? value(op, 1) : Value();
  auto kind = loop::NormKindAttr::get(&context, op.fn == Fn::NormRms ? loop::NormKind::rms : loop::NormKind::layer);
  Value y = loop::NormOp::create(b, loc, x.getType(), kind, x, gain, b.getF64FloatAttr(op.number), loop::OrderAttr());
  if (op.operands.size() > 2) {
    Value bias = value(op, 2);
    if (bias.getType() != y.getType())
      bias = loop::BroadcastOp::create(b, loc, y.getType(), bias, ArrayRef<int64_t>{mlir::cast<RankedTensorType>(y.getType()).getRank() - 1});
    y = arith::AddFOp::create(b, loc, y, bias);
  }
  return y;
}

FailureOr<Value> Generator::reduce(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0);
  loop::ReduceKind kind;
  switch (op.fn) {
  case Fn::Sum: kind = loop::ReduceKind::sum; break;
  case Fn::Mean: kind = loop::ReduceKind::mean; break;
  case Fn::ReduceMax: kind = loop::ReduceKind::max; break;
  case Fn::ReduceMin: kind = loop::ReduceKind::min; break;
  case Fn::ArgMax:
    if (op.ints.size() != 1 || op.ints[0] + 1 != mlir::cast<RankedTensorType>(x.getType()).getRank())
      return refuse(op.loc) << "this version runs argmax over the last axis";
    kind = loop::ReduceKind::argmax;
    break;
  case Fn::NormL2:
    kind = loop::ReduceKind::sum;
    x = arith::MulFOp::create(b, loc, x, x);
    break;
  default:
    return refuse(op.loc) << "`" << std::string(fnName(op.fn)) << "` over an axis is checked, but this version does not run it";
  }
  SmallVector<int64_t> axes(op.ints.begin(), op.ints.end());
  llvm::sort(axes, std::greater<>());
  for (int64_t axis : axes) {
    auto from = mlir::cast<RankedTensorType>(x.getType());
    SmallVector<int64_t> shape(from.getShape());
    shape.erase(shape.begin() + axis);
    x = loop::ReduceOp::create(b, loc, RankedTensorType::get(shape, from.getElementType()), loop::ReduceKindAttr::get(&context, kind), x,
                               b.getI64IntegerAttr(axis), loop::OrderAttr());
  }
  if (op.fn == Fn::ArgMax)
    return Value(arith::FPToSIOp::create(b, loc, tensor(op.results[0]), x));
  return op.fn == Fn::NormL2 ? Value(math::SqrtOp::create(b, loc, x)) : x;
}

FailureOr<Value> Generator::fold(const Op &op) {
  loop::ReduceKind kind;
  switch (op.fn) {
  case Fn::Sum: kind = loop::ReduceKind::sum; break;
  case Fn::Mean: kind = loop::ReduceKind::mean; break;
  case Fn::ReduceMax: kind = loop::ReduceKind::max; break;
  case Fn::ReduceMin: kind = loop::ReduceKind::min; break;
  case Fn::First: kind = loop::ReduceKind::first; break;
  default: kind = loop::ReduceKind::last; break;
  }
  return Value(loop::FoldOp::create(b, at(op.loc), tensor(op.results[0]), loop::ReduceKindAttr::get(&context, kind), value(op, 0),
                                    op.number != 0 ? b.getUnitAttr() : UnitAttr()));
}

FailureOr<Value> Generator::pick(const Op &op) {
  Location loc = at(op.loc);
  Value x = value(op, 0);
  std::optional<int64_t> which = constantInteger(value(op, 1));
  if (!which && (!x.getDefiningOp<loop::ParamOp>() || !isa<RankedTensorType>(value(op, 1).getType())))
    return refuse(op.loc) << "this version picks elements of a value at constant places; rows of a weight anywhere";
  if (!which)
    return Value(loop::EmbedOp::create(b, loc, tensor(op.results[0]), value(op, 1), x));
  auto from = mlir::cast<RankedTensorType>(x.getType());
  SmallVector<int64_t> shape(from.getShape());
  shape[0] = 1;
  Value one = loop::SliceOp::create(b, loc, RankedTensorType::get(shape, from.getElementType()), x, b.getI64IntegerAttr(0), b.getI64IntegerAttr(*which));
  return Value(loop::ReshapeOp::create(b, loc, tensor(op.results[0]), one));
}
