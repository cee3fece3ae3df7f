// Reverse rules of the ops that look at nothing but their operands, and of attention, weights and losses.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Adjoints.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::loop {
namespace {

template <typename Op> Term apply(Term a) { return {a.in, Op::create(a.in->builder, a.in->loc, a.value)}; }
Term exponential(Term a) { return apply<math::ExpOp>(a); }
Term logarithm(Term a) { return apply<math::LogOp>(a); }
Term sine(Term a) { return apply<math::SinOp>(a); }
Term cosine(Term a) { return apply<math::CosOp>(a); }
Term error(Term a) { return apply<math::ErfOp>(a); }
Term power(Term a, Term b) { return combine<math::PowFOp>(a, b); }
Term sigmoid(Term a) {
  return {a.in, ActOp::create(a.in->builder, a.in->loc, a.value.getType(), ActKind::sigmoid, a.value)};
}
Value compare(arith::CmpFPredicate predicate, Term a, Term b) {
  return arith::CmpFOp::create(a.in->builder, a.in->loc, predicate, a.value, b.value);
}
Value atLeast(Term a, Term b) { return compare(arith::CmpFPredicate::OGE, a, b); }
Value above(Term a, double b) { return compare(arith::CmpFPredicate::OGT, a, like(a, b)); }
Term select(Value condition, Term a, Term b) {
  return {a.in, arith::SelectOp::create(a.in->builder, a.in->loc, condition, a.value, b.value)};
}
Term geluTanh(Term a, Term d) {
  Term t = apply<math::TanhOp>((a + a * a * a * 0.044715) * 0.79788456080286535588);
  Term inner = (a * a * (3 * 0.044715) + 1) * 0.79788456080286535588;
  return d * ((t + 1) * 0.5 + a * 0.5 * (1 - t * t) * inner);
}

#define LOOPC_RULE1(OP, DA)                                                                                            \
  LogicalResult adjoint(OP op, Adjoints &in) {                                                                         \
    [[maybe_unused]] Term a{&in, op->getOperand(0)}, y{&in, op->getResult(0)}, d{&in, in.of(y.value)};                 \
    in.add(a.value, (DA).value);                                                                                       \
    return success();                                                                                                  \
  }
#define LOOPC_RULE2(OP, DA, DB)                                                                                        \
  LogicalResult adjoint(OP op, Adjoints &in) {                                                                         \
    [[maybe_unused]] Term a{&in, op->getOperand(0)}, b{&in, op->getOperand(1)}, y{&in, op->getResult(0)},              \
        d{&in, in.of(y.value)};                                                                                        \
    in.add(a.value, (DA).value);                                                                                       \
    in.add(b.value, (DB).value);                                                                                       \
    return success();                                                                                                  \
  }
#include "ReverseRules.def"

LogicalResult adjoint(ActOp op, Adjoints &in) {
  [[maybe_unused]] Term a{&in, op.getInput()}, y{&in, op.getResult()}, d{&in, in.of(y.value)};
  switch (op.getKind()) {
#define LOOPC_ACT(KIND, DA)                                                                                            \
  case ActKind::KIND:                                                                                                  \
    in.add(a.value, (DA).value);                                                                                       \
    return success();
#include "ReverseRules.def"
  }
  return failure();
}

LogicalResult adjoint(arith::SelectOp op, Adjoints &in) {
  Term d{&in, in.of(op.getResult())};
  in.add(op.getTrueValue(), select(op.getCondition(), d, d * 0).value);
  in.add(op.getFalseValue(), select(op.getCondition(), d * 0, d).value);
  return success();
}
LogicalResult adjoint(arith::ExtFOp op, Adjoints &in) {
  in.add(op.getIn(), arith::TruncFOp::create(in.builder, in.loc, op.getIn().getType(), in.of(op.getResult())));
  return success();
}
LogicalResult adjoint(arith::TruncFOp op, Adjoints &in) {
  in.add(op.getIn(), arith::ExtFOp::create(in.builder, in.loc, op.getIn().getType(), in.of(op.getResult())));
  return success();
}

/// The same elements in another shape.
template <typename Op> LogicalResult sameElements(Op op, Adjoints &in) {
  Value from = op->getOperand(0);
  in.add(from, in.reshape(in.of(op->getResult(0)), from.getType()));
  return success();
}
LogicalResult adjoint(ReshapeOp op, Adjoints &in) { return sameElements(op, in); }
LogicalResult adjoint(tensor::ExpandShapeOp op, Adjoints &in) { return sameElements(op, in); }
LogicalResult adjoint(tensor::CollapseShapeOp op, Adjoints &in) { return sameElements(op, in); }

Type reshaped(Type type, ArrayRef<int64_t> shape) {
  return RankedTensorType::get(shape, cast<RankedTensorType>(type).getElementType());
}
SmallVector<int64_t> axes(int64_t begin, int64_t end) { return llvm::to_vector(llvm::seq(begin, end)); }

// Before and behind the slice there are zeros; with the axes from the sliced one on as one, they join at the end.
LogicalResult adjoint(SliceOp op, Adjoints &in) {
  Value d = in.of(op.getResult());
  ArrayRef<int64_t> from = getFeatureShape(op.getInput().getType()), to = getFeatureShape(op.getType());
  int64_t outer = 1, inner = 1, axis = op.getAxis(), begin = op.getBegin();
  for (int64_t size : from.take_front(axis))
    outer *= size;
  for (int64_t size : from.drop_front(axis + 1))
    inner *= size;
  auto columns = [&](int64_t count) { return reshaped(d.getType(), {outer, count * inner}); };
  SmallVector<Value> parts;
  if (begin)
    parts.push_back(in.number(columns(begin), 0));
  parts.push_back(in.reshape(d, columns(to[axis])));
  if (int64_t rest = from[axis] - begin - to[axis])
    parts.push_back(in.number(columns(rest), 0));
  Value joined = ConcatOp::create(in.builder, in.loc, columns(from[axis]), parts);
  in.add(op.getInput(), in.reshape(joined, op.getInput().getType()));
  return success();
}
LogicalResult adjoint(ConcatOp op, Adjoints &in) {
  int64_t begin = 0;
  for (Value input : op.getInputs()) {
    ArrayRef<int64_t> shape = getFeatureShape(input.getType());
    in.add(input, SliceOp::create(in.builder, in.loc, input.getType(), in.of(op.getResult()), int64_t(shape.size()) - 1,
                                  begin));
    begin += shape.back();
  }
  return success();
}
LogicalResult adjoint(BroadcastOp op, Adjoints &in) {
  in.add(op.getInput(), in.collapse(in.of(op.getResult()), op.getDims()));
  return success();
}
LogicalResult adjoint(TransposeOp op, Adjoints &in) {
  in.add(op.getInput(), TransposeOp::create(in.builder, in.loc, op.getInput().getType(), in.of(op.getResult())));
  return success();
}
LogicalResult adjoint(RopeOp op, Adjoints &in) {
  auto turned = cast<RopeOp>(in.builder.clone(*op));
  turned.getInputMutable().assign(in.of(op.getResult()));
  turned.setBackward(!op.getBackward());
  in.add(op.getInput(), turned.getResult());
  return success();
}

LogicalResult adjoint(ReduceOp op, Adjoints &in) {
  Type type = op.getInput().getType();
  int64_t rank = int64_t(getFeatureShape(type).size()), axis = op.getAxis();
  SmallVector<int64_t> others = axes(0, axis);
  llvm::append_range(others, axes(axis + 1, rank));
  auto stretch = [&](Value value) { return Term{&in, in.stretch(value, type, others)}; };
  Term d = stretch(in.of(op.getResult()));
  switch (op.getKind()) {
  case ReduceKind::sum:
    break;
  case ReduceKind::mean:
    d = d * (1.0 / double(getFeatureShape(type)[axis]));
    break;
  case ReduceKind::max:
  case ReduceKind::min: { // equal ones share
    Term x{&in, op.getInput()}, zero = like(x, 0);
    Term chosen = select(compare(arith::CmpFPredicate::OEQ, x, stretch(op.getResult())), zero + 1, zero);
    d = d * chosen / stretch(in.reduce(ReduceKind::sum, chosen.value, axis));
    break;
  }
  case ReduceKind::argmax:
    return success();
  default:
    return op.emitOpError("expected a reduction with a reverse rule, but got ") << stringifyReduceKind(op.getKind());
  }
  in.add(op.getInput(), d.value);
  return success();
}
LogicalResult adjoint(FoldOp op, Adjoints &in) {
  bool extreme = op.getKind() == ReduceKind::max || op.getKind() == ReduceKind::min;
  if (!extreme && op.getKind() != ReduceKind::sum && op.getKind() != ReduceKind::mean)
    return op.emitOpError("expected a reduction over tokens with a reverse rule, but got ")
           << stringifyReduceKind(op.getKind());
  auto folded = [&](Value value) {
    auto turned = cast<FoldOp>(in.builder.clone(*op));
    if (extreme)
      turned.setKind(ReduceKind::sum);
    turned.getInputMutable().assign(value);
    return Term{&in, turned.getResult()};
  };
  Term d = folded(in.of(op.getResult()));
  if (extreme) { // equal ones share
    Term x{&in, op.getInput()}, y{&in, op.getResult()}, zero = like(x, 0);
    Term chosen = select(compare(arith::CmpFPredicate::OEQ, x, y), zero + 1, zero);
    d = d * chosen / folded(chosen.value);
  }
  in.add(op.getInput(), d.value);
  return success();
}
LogicalResult adjoint(SoftmaxOp op, Adjoints &in) {
  Term p{&in, op.getResult()}, d{&in, in.of(op.getResult())};
  int64_t last = int64_t(getFeatureShape(op.getType()).size()) - 1;
  Value mean = in.reduce(ReduceKind::sum, (d * p).value, last);
  in.add(op.getInput(), (p * (d - Term{&in, in.stretch(mean, op.getType(), axes(0, last))})).value);
  return success();
}

LogicalResult adjoint(NormOp op, Adjoints &in) {
  Type type = op.getResult().getType();
  int64_t last = int64_t(getFeatureShape(type).size()) - 1;
  auto mean = [&](Term x) {
    return Term{&in, in.stretch(in.reduce(ReduceKind::mean, x.value, last), type, axes(0, last))};
  };
  Term x{&in, op.getInput()}, d{&in, in.of(op.getResult())};
  bool layer = op.getKind() == NormKind::layer;
  if (layer)
    x = x - mean(x);
  Term scale = apply<math::RsqrtOp>(mean(x * x) + op.getEps().convertToDouble());
  Term normed = x * scale;
  if (Value gain = op.getGain()) {
    int64_t rank = int64_t(getFeatureShape(gain.getType()).size());
    SmallVector<int64_t> dims = axes(last + 1 - rank, last + 1);
    in.add(gain, in.collapse((d * normed).value, dims));
    d = d * Term{&in, in.stretch(gain, type, dims)};
  }
  Term back = d - normed * mean(d * normed);
  if (layer)
    back = back - mean(d);
  in.add(op.getInput(), (back * scale).value);
  return success();
}

LogicalResult adjoint(ParamOp op, Adjoints &in) {
  AccumulateOp::create(in.builder, in.loc, op.getWeightAttr(), op.getIndex(), in.of(op.getResult()), Value(), Value());
  return success();
}
LogicalResult adjoint(LinearOp op, Adjoints &in) {
  Value x = op.getInput(), w = op.getWeight(), d = in.of(op.getResult());
  if (op.getBias())
    in.add(op.getBias(), d);
  if (getFeatureShape(w.getType()).size() == 1) {
    Term wide{&in, in.stretch(d, x.getType(), {})};
    in.add(x, (wide * Term{&in, w}).value);
    in.add(w, (wide * Term{&in, x}).value);
    return success();
  }
  auto type = cast<RankedTensorType>(w.getType());
  Value turned = TransposeOp::create(in.builder, in.loc, reshaped(type, {type.getDimSize(1), type.getDimSize(0)}), w);
  in.add(x, LinearOp::create(in.builder, in.loc, x.getType(), d, turned, Value(), OrderAttr()));
  if (auto param = w.getDefiningOp<ParamOp>())
    AccumulateOp::create(in.builder, in.loc, param.getWeightAttr(), param.getIndex(), d, x, Value());
  else
    in.add(w, (Term{&in, in.stretch(d, type, {0})} * Term{&in, in.stretch(x, type, {1})}).value);
  return success();
}
LogicalResult adjoint(EmbedOp op, Adjoints &in) {
  auto param = op.getTable().getDefiningOp<ParamOp>();
  if (!param)
    return op.emitOpError("expected a weight as table in training, but got a computed one");
  AccumulateOp::create(in.builder, in.loc, param.getWeightAttr(), param.getIndex(), in.of(op.getResult()), Value(),
                       op.getId());
  return success();
}
LogicalResult adjoint(CrossEntropyOp op, Adjoints &in) {
  Type type = op.getLogits().getType();
  Term hot{&in, OneHotOp::create(in.builder, in.loc, type, op.getLabel())};
  Term p{&in, SoftmaxOp::create(in.builder, in.loc, type, op.getLogits(), OrderAttr())};
  Term asked{&in, in.stretch(in.reduce(ReduceKind::sum, hot.value, 0), type, {})}; // 0 without a label
  Term d{&in, in.stretch(in.of(op.getResult()), type, {})};
  in.add(op.getLogits(), (d * (p - hot) * asked).value);
  return success();
}
LogicalResult adjoint(AttendOp op, Adjoints &in) {
  if (op.getFirst() || op.getUpto() || op.getLogSum())
    return op.emitOpError("expected attention to keys of the same iteration in training, but got another");
  if (op.getLeast())
    return op.emitOpError("expected attention to all keys of its mask in training, but got `keep`");
  auto back = AttendAdjointOp::create(in.builder, in.loc,
                                      TypeRange{op.getQ().getType(), op.getK().getType(), op.getV().getType()},
                                      op.getQ(), op.getK(), op.getV(), in.of(op.getResult()), op.getScaleAttr(),
                                      op.getWindowAttr(), op.getSoftcapAttr(), op.getMaskAttr(), op.getBeforeAttr());
  in.add(op.getQ(), back.getDq());
  in.add(op.getK(), back.getDk());
  in.add(op.getV(), back.getDv());
  return success();
}

template <typename Op> struct Rule : AdjointOpInterface::ExternalModel<Rule<Op>, Op> {
  LogicalResult buildAdjoint(Operation *op, Adjoints &in) const { return adjoint(cast<Op>(op), in); }
};
/// Steps: their derivative is zero.
template <typename Op> struct Flat : AdjointOpInterface::ExternalModel<Flat<Op>, Op> {
  LogicalResult buildAdjoint(Operation *, Adjoints &) const { return success(); }
};

} // namespace

void registerReverseRules(DialectRegistry &registry) {
  registry.addExtension(
      +[](MLIRContext *ctx, arith::ArithDialect *, math::MathDialect *, tensor::TensorDialect *, LoopDialect *) {
#define LOOPC_RULE1(OP, DA) OP::attachInterface<Rule<OP>>(*ctx);
#define LOOPC_RULE2(OP, DA, DB) OP::attachInterface<Rule<OP>>(*ctx);
#include "ReverseRules.def"
        auto rules = [&](auto... op) { (decltype(op)::template attachInterface<Rule<decltype(op)>>(*ctx), ...); };
        rules(ActOp(), arith::SelectOp(), arith::ExtFOp(), arith::TruncFOp(), ReshapeOp(), tensor::ExpandShapeOp(),
              tensor::CollapseShapeOp(), SliceOp(), ConcatOp(), BroadcastOp(), TransposeOp(), RopeOp(), ReduceOp(),
              FoldOp(), SoftmaxOp(), NormOp(), ParamOp(), LinearOp(), EmbedOp(), CrossEntropyOp(), AttendOp());
        auto flat = [&](auto... op) { (decltype(op)::template attachInterface<Flat<decltype(op)>>(*ctx), ...); };
        flat(StopGradientOp(), math::FloorOp(), math::CeilOp(), math::RoundOp(), math::RoundEvenOp(), math::TruncOp());
      });
}

} // namespace mlir::loop
