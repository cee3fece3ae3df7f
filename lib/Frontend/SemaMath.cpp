// The operators without weights: element functions, reductions, shapes, `prev`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

Val Elaborator::builtinUnary(Arguments &args) {
  static const std::map<std::string, Fn> table = {
      {"exp", Fn::Exp},     {"log", Fn::Log},         {"sqrt", Fn::Sqrt},         {"rsqrt", Fn::Rsqrt}, {"abs", Fn::Abs},
      {"floor", Fn::Floor}, {"ceil", Fn::Ceil},       {"sin", Fn::Sin},           {"cos", Fn::Cos},     {"tanh", Fn::Tanh},
      {"sigmoid", Fn::Sigmoid}, {"silu", Fn::Silu},   {"gelu", Fn::Gelu},         {"gelu_tanh", Fn::GeluTanh},
      {"relu", Fn::Relu},   {"softplus", Fn::Softplus}, {"erf", Fn::Erf}};
  const Expr *expr = positional(args, 0, "a value");
  if (!expr)
    return {};
  if (args.positional.size() > 1) {
    error(ErrorCode::L0203, args.positional[1]->value->range, "`" + args.name + "` takes one value");
    return {};
  }
  return unary(table.at(args.name), evaluate(expr), args.range);
}

Val Elaborator::builtinMinMax(Arguments &args) {
  const Fn fn = args.name == "min" ? Fn::Min : Fn::Max;
  const Expr *first = positional(args, 0, "two values, or one value to reduce");
  if (!first)
    return {};
  if (args.positional.size() == 1)
    return builtinReduce(args);
  Val result = evaluate(first);
  // `max(x, axis)` is not a reduction: an axis is a number, so it would be ambiguous.
  for (size_t k = 1; k < args.positional.size(); ++k) {
    const Expr *next = args.positional[k]->value.get();
    result = binary(fn, result, evaluate(next), args.range, first->range, next->range);
  }
  return result;
}

Val Elaborator::builtinClamp(Arguments &args) {
  const Expr *first = positional(args, 0, "a value and its bounds: `clamp(x, low, high)` or `clamp(x, bound)`");
  const Expr *low = first ? positional(args, 1, "a bound") : nullptr;
  if (!low)
    return {};
  Val x = evaluate(first), a = evaluate(low), b;
  if (args.positional.size() > 2)
    b = evaluate(args.positional[2]->value.get());
  else {
    if (a.is(Kind::None))
      return x;
    b = a;
    a = unary(Fn::Neg, a, low->range);
  }
  return binary(Fn::Min, binary(Fn::Max, x, a, args.range, first->range, low->range), b, args.range, first->range, low->range);
}

Val Elaborator::builtinSoftcap(Arguments &args) {
  const Expr *first = positional(args, 0, "a value and its cap: `softcap(x, cap)`");
  const Expr *second = first ? positional(args, 1, "a cap") : nullptr;
  if (!second)
    return {};
  Val x = evaluate(first), cap = evaluate(second);
  if (cap.is(Kind::None) || cap.poison())
    return cap.poison() ? cap : x;
  Val ratio = binary(Fn::Div, x, cap, args.range, first->range, second->range);
  return binary(Fn::Mul, cap, unary(Fn::Tanh, ratio, args.range), args.range, second->range, first->range);
}

Val Elaborator::builtinSoftmax(Arguments &args) {
  ValueId x = operand(args, 0, "a value");
  if (x == kNone)
    return {};
  const ProgramType type = typeOf(x);
  if (type.axes.empty()) {
    error(ErrorCode::L0205, args.range, "expected a value with an axis, but got []");
    return {};
  }
  size_t axis = type.axes.size() - 1;
  if (args.positional.size() > 1) {
    std::optional<ProgramAxis> wanted = axisOf(evaluate(args.positional[1]->value.get()), args.positional[1]->value->range);
    if (!wanted)
      return {};
    axis = type.axes.size();
    for (size_t k = 0; k < type.axes.size(); ++k)
      if (type.axes[k].name == wanted->name)
        axis = k;
    if (axis == type.axes.size()) {
      error(ErrorCode::L0217, args.range, "the value has axes " + show(type) + ", but not " + wanted->name);
      return {};
    }
  }
  if (axis + 1 != type.axes.size())
    defer("`softmax` over an inner axis", args.range);
  ProgramOp &op = emit(OpKind::Softmax, type, {x}, args.range);
  op.ints = {static_cast<int64_t>(axis)};
  return Val::ofRuntime(op.results[0]);
}

Val Elaborator::builtinReduce(Arguments &args) {
  static const std::map<std::string, Fn> table = {{"sum", Fn::Sum},       {"mean", Fn::Mean},       {"max", Fn::ReduceMax},
                                                  {"min", Fn::ReduceMin}, {"argmax", Fn::ArgMax},   {"norm", Fn::NormL2},
                                                  {"any", Fn::Any},       {"all", Fn::All}};
  if (!args.positional.empty() && as<BinderExpr>(args.positional[0]->value)) {
    defer("`" + args.name + "(… in … => …)`", args.range);
    return {};
  }
  const Fn fn = table.at(args.name);
  const bool flags = fn == Fn::Any || fn == Fn::All;
  ValueId x = operand(args, 0, "a value", !flags);
  if (x == kNone)
    return {};
  const ProgramType type = typeOf(x);
  std::vector<size_t> axes;
  for (size_t n = 1; n < args.positional.size(); ++n) {
    const Expr *expr = args.positional[n]->value.get();
    if (as<RaggedExpr>(expr)) {
      defer("`" + args.name + "` over a ragged axis", args.range);
      return {};
    }
    std::optional<ProgramAxis> wanted = axisOf(evaluate(expr), expr->range);
    if (!wanted)
      return {};
    bool found = false;
    for (size_t k = 0; k < type.axes.size(); ++k)
      if (type.axes[k].name == wanted->name) {
        axes.push_back(k);
        found = true;
      }
    if (!found) {
      error(ErrorCode::L0217, expr->range, "`" + args.name + "` over " + wanted->name + " needs that axis, but the value has axes " + show(type));
      return {};
    }
  }
  if (axes.empty()) {
    if (type.axes.size() != 1) {
      error(ErrorCode::L0217, args.range, "`" + args.name + "` of a value with axes " + show(type) + " must name the axes that disappear")
          .help("write `" + args.name + "(x, axis)` or `" + args.name + " over axis { x }`");
      return {};
    }
    axes.push_back(0);
  }
  return reduceValue(fn, x, axes, args.range);
}

Val Elaborator::builtinReshape(Arguments &args) {
  ValueId x = operand(args, 0, "a value", false);
  std::optional<std::vector<std::vector<ProgramAxis>>> results = x == kNone ? std::nullopt : resultAxes(args);
  if (!results)
    return {};
  const std::vector<ProgramAxis> &axes = (*results)[0];
  if (product(axes) != product(typeOf(x).axes)) {
    error(ErrorCode::L0208, args.range,
          "expected as many elements as before, but " + show(typeOf(x)) + " has " + std::to_string(product(typeOf(x).axes)) +
              " and " + show(axes) + " has " + std::to_string(product(axes)));
    return {};
  }
  return Val::ofRuntime(reshape(x, axes, args.range));
}

Val Elaborator::builtinOuter(Arguments &args) {
  ValueId a = operand(args, 0, "two values"), b = a == kNone ? kNone : operand(args, 1, "two values");
  if (b == kNone)
    return {};
  std::vector<ProgramAxis> axes = typeOf(a).axes;
  for (const ProgramAxis &axis : typeOf(b).axes)
    if (std::none_of(axes.begin(), axes.end(), [&](const ProgramAxis &x) { return x.name == axis.name; }))
      axes.push_back(axis);
  ValueId left = broadcast(a, axes, args.range), right = broadcast(b, axes, args.range);
  if (left == kNone || right == kNone) {
    error(ErrorCode::L0204, args.range, "the axes " + show(typeOf(a)) + " and " + show(typeOf(b)) + " are shared in different orders");
    return {};
  }
  return binary(Fn::Mul, Val::ofRuntime(left), Val::ofRuntime(right), args.range, args.range, args.range);
}

Val Elaborator::builtinConcat(Arguments &args) {
  std::vector<ValueId> parts;
  ProgramType type;
  type.scope = ValueScope::Run;
  SizeExpr size;
  std::string name;
  int64_t total = 0;
  for (size_t n = 0; n < args.positional.size(); ++n) {
    ValueId part = operand(args, n, "values");
    if (part == kNone)
      return {};
    const ProgramType &partType = typeOf(part);
    if (partType.axes.empty()) {
      error(ErrorCode::L0205, args.positional[n]->value->range, "expected a value with an axis to join, but got []");
      return {};
    }
    std::vector<ProgramAxis> outer(partType.axes.begin(), partType.axes.end() - 1);
    if (n == 0)
      type.axes = outer;
    else if (!sameAxes(type.axes, outer)) {
      error(ErrorCode::L0205, args.positional[n]->value->range,
            "`concat` joins the last axis; expected " + show(type.axes) + " before it, but got " + show(outer));
      return {};
    }
    type.scope = std::max(type.scope, partType.scope);
    name += (name.empty() ? "" : "+") + partType.axes.back().name;
    total += partType.axes.back().size;
    parts.push_back(part);
  }
  if (parts.empty()) {
    error(ErrorCode::L0203, args.range, "`concat` needs values");
    return {};
  }
  type.axes.push_back({name, total});
  return Val::ofRuntime(emitValue(OpKind::Concat, type, parts, args.range));
}

Val Elaborator::sliceValue(ValueId value, size_t axis, int64_t start, ProgramAxis size, SourceRange range) {
  ProgramType type = typeOf(value);
  if (start == 0 && size.size == type.axes[axis].size) {
    std::vector<ProgramAxis> axes = type.axes;
    axes[axis] = size;
    return Val::ofRuntime(reshape(value, axes, range));
  }
  type.axes[axis] = std::move(size);
  ProgramOp &op = emit(OpKind::Slice, type, {value}, range);
  op.ints = {static_cast<int64_t>(axis), start};
  return Val::ofRuntime(op.results[0]);
}

Val Elaborator::builtinSplit(Arguments &args) {
  ValueId x = operand(args, 0, "a value and sizes: `split(x, n, m)`", false);
  if (x == kNone)
    return {};
  const ProgramType type = typeOf(x);
  if (type.axes.empty()) {
    error(ErrorCode::L0205, args.range, "expected a value with an axis to split, but got []");
    return {};
  }
  std::vector<ProgramAxis> parts;
  int64_t total = 0;
  for (size_t n = 1; n < args.positional.size(); ++n) {
    const Expr *expr = args.positional[n]->value.get();
    std::optional<ProgramAxis> size = axisOf(evaluate(expr), expr->range);
    if (!size)
      return {};
    total += size->size;
    parts.push_back(*size);
  }
  if (total != type.axes.back().size || parts.empty()) {
    error(ErrorCode::L0208, args.range,
          "expected sizes that add up to " + std::to_string(type.axes.back().size) + " (" + type.axes.back().name + "), but got " +
              std::to_string(total));
    return {};
  }
  Val tuple = Val::make(Kind::Tuple);
  int64_t start = 0;
  for (const ProgramAxis &part : parts) {
    tuple.elements.push_back(sliceValue(x, type.axes.size() - 1, start, part, args.range));
    start += part.size;
  }
  return tuple;
}

/// `slice(x, begin, size)`: elements of the last axis.
Val Elaborator::builtinSlice(Arguments &args) {
  ValueId x = operand(args, 0, "a value, where to begin and how many: `slice(x, 0, 32)`", false);
  const Expr *beginExpr = x == kNone ? nullptr : positional(args, 1, "where to begin");
  const Expr *sizeExpr = beginExpr ? positional(args, 2, "how many elements to take") : nullptr;
  if (!sizeExpr)
    return {};
  const ProgramType type = typeOf(x);
  if (type.axes.empty()) {
    error(ErrorCode::L0205, args.range, "expected a value with an axis to slice, but got []");
    return {};
  }
  std::optional<int64_t> begin = compileTimeInt(beginExpr, "a position");
  std::optional<ProgramAxis> size = begin ? axisOf(evaluate(sizeExpr), sizeExpr->range) : std::nullopt;
  if (!size)
    return {};
  if (*begin < 0 || *begin > type.axes.back().size - size->size) {
    error(ErrorCode::L0208, args.range,
          "expected a slice of the " + std::to_string(type.axes.back().size) + " elements of " + type.axes.back().name + ", but got " +
              std::to_string(size->size) + " from " + std::to_string(*begin) + " on");
    return {};
  }
  return sliceValue(x, type.axes.size() - 1, *begin, *size, args.range);
}

Val Elaborator::builtinPick(Arguments &args) {
  ValueId x = operand(args, 0, "a value and an index: `pick(x, i)`", false);
  const Expr *expr = x == kNone ? nullptr : positional(args, 1, "an index");
  if (!expr)
    return {};
  const ProgramType type = typeOf(x);
  Val index = evaluate(expr);
  if (index.poison())
    return {};
  if (type.axes.empty()) {
    error(ErrorCode::L0205, args.range, "expected a value with an axis to pick from, but got []");
    return {};
  }
  std::vector<ProgramAxis> rest(type.axes.begin() + 1, type.axes.end());
  if (index.is(Kind::Int)) {
    if (index.integer < 0 || index.integer >= type.axes[0].size) {
      error(ErrorCode::L0208, expr->range,
            "expected an index below " + std::to_string(type.axes[0].size) + " (" + type.axes[0].name + "), but got " +
                std::to_string(index.integer));
      return {};
    }
    Val part = sliceValue(x, 0, index.integer, {"1", 1}, args.range);
    return Val::ofRuntime(reshape(part.ref, rest, args.range));
  }
  ProgramType picked = type;
  picked.axes = rest;
  ValueId at = materialise(index, expr->range);
  if (at == kNone)
    return {};
  if (typeOf(at).element == ElementType::Index)
    at = cast(at, ElementType::Int, args.range);
  return Val::ofRuntime(emitValue(OpKind::Pick, picked, {x, at}, args.range));
}

Val Elaborator::builtinCast(Arguments &args) {
  ValueId x = operand(args, 0, "a value");
  if (x == kNone)
    return {};
  std::optional<ElementType> element = elementOf({args.name, args.range});
  return element ? Val::ofRuntime(cast(x, *element, args.range)) : Val();
}

Val Elaborator::builtinFill(Arguments &args) {
  ProgramType type;
  type.scope = ValueScope::Run;
  if (!args.positional.empty()) {
    const auto *list = as<ListExpr>(args.positional[0]->value);
    if (!list || !resolveDims(list->elements, type.axes)) {
      if (!list)
        error(ErrorCode::L0207, args.range, "expected axes, as in `" + args.name + "([d])`");
      return {};
    }
  } else {
    std::optional<std::vector<std::vector<ProgramAxis>>> results = resultAxes(args);
    if (!results)
      return {};
    type.axes = (*results)[0];
  }
  return Val::ofRuntime(constant(args.name == "ones" ? 1 : 0, type, args.range));
}

Val Elaborator::builtinIota(Arguments &args) {
  Val filled = builtinFill(args);
  if (!filled.is(Val::Kind::Runtime))
    return {};
  ProgramOp &op = regions.back()->ops.back();
  const ProgramType &type = program.values[op.results[0]].type;
  if (type.axes.size() != 1) {
    error(ErrorCode::L0205, args.range, "expected one axis to count along, as in `iota([n])`, but got " + std::to_string(type.axes.size()));
    return {};
  }
  for (int64_t i = 0; i < type.axes[0].size; ++i)
    op.ints.push_back(i);
  return filled;
}

Val Elaborator::builtinRoundUp(Arguments &args) {
  const Expr *first = positional(args, 0, "a number and its step: `round_up(n, 64)`");
  const Expr *second = first ? positional(args, 1, "a step") : nullptr;
  if (!second)
    return {};
  Val n = evaluate(first), step = evaluate(second);
  if (n.poison() || step.poison())
    return {};
  if (!n.is(Kind::Int) || !step.is(Kind::Int) || step.integer < 1 || n.integer < 0 || n.integer > (int64_t{1} << 62)) {
    error(ErrorCode::L0207, args.range, "expected an integer and a positive step, but got " + describe(n) + " and " + describe(step));
    return {};
  }
  const int64_t value = (n.integer + step.integer - 1) / step.integer * step.integer;
  return Val::ofInt(value, SizeExpr::opaque("round_up", n.size, step.size));
}

Val Elaborator::builtinLen(Arguments &args) {
  const Expr *expr = positional(args, 0, "a list of `config`");
  Val list = expr ? evaluate(expr) : Val();
  if (list.poison())
    return {};
  if (!list.is(Kind::List)) {
    error(ErrorCode::L0207, expr->range, "expected a list of `config`, but got " + describe(list));
    return {};
  }
  return Val::ofInt(static_cast<int64_t>(list.elements.size()));
}

Val Elaborator::builtinPow(Arguments &args) {
  const Expr *first = positional(args, 0, "a base and an exponent");
  const Expr *second = first ? positional(args, 1, "an exponent") : nullptr;
  return second ? binary(Fn::Pow, evaluate(first), evaluate(second), args.range, first->range, second->range) : Val();
}

/// -p log p
Val Elaborator::entropyTerm(const Val &p, SourceRange range) {
  Val safe = binary(Fn::Max, p, Val::ofFloat(1e-10), range, range, range);
  Val term = safe.poison() ? Val() : binary(Fn::Mul, p, unary(Fn::Log, safe, range), range, range, range);
  return term.poison() ? Val() : unary(Fn::Neg, term, range);
}

Val Elaborator::builtinEntropy(Arguments &args) {
  if (!args.positional.empty() && as<OverExpr>(args.positional[0]->value)) {
    if (training && traceSums.count(args.call))
      return traceOf(*args.call);
    defer("`entropy` over iterations", args.range);
    return {};
  }
  ValueId p = operand(args, 0, "probabilities");
  if (p == kNone || typeOf(p).axes.empty())
    return {};
  Val term = entropyTerm(Val::ofRuntime(p), args.range);
  return term.poison() ? Val() : reduceValue(Fn::Sum, term.ref, {typeOf(term.ref).axes.size() - 1}, args.range);
}

/// `prev(v, start)`: v at its previous evaluation in the innermost loop; one more state of that loop.
Val Elaborator::builtinPrev(Arguments &args) {
  const Expr *expr = positional(args, 0, "a value and its start: `prev(v, start)`");
  if (!expr)
    return {};
  if (loops.empty()) {
    Val value = args.positional.size() > 1 ? evaluate(args.positional[1]->value.get()) : Val();
    defer("`prev` outside a loop", args.range);
    return value;
  }
  const auto *name = as<NameExpr>(expr);
  const Expr *startExpr = args.positional.size() > 1 ? args.positional[1]->value.get() : nullptr;
  if (!name) {
    error(ErrorCode::L0207, expr->range, "expected a name in `prev`, but got an expression")
        .help("bind the expression to a name first");
    return {};
  }
  if (!loops.back().tracing.empty())
    return previousInTrace(*name, startExpr, args.range);
  if (loops.back().inExit && regions.size() == loops.back().regionDepth + 1 &&
      environments.size() == loops.back().environmentDepth)
    return previousInExit(*name, startExpr, args.range);
  if (loops.back().inExit || regions.size() != loops.back().regionDepth) {
    defer("`prev` inside a stack, a branch or an exit", args.range);
    return {};
  }
  Val start;
  if (startExpr)
    start = evaluate(startExpr);
  else if (Binding *state = lookup(name->name); state && state->role == NameRole::State)
    return state->value; // before its reassignment a state still has the value of the iteration before
  else {
    error(ErrorCode::L0203, args.range, "`prev(" + name->name + ")` needs a start, since `" + name->name + "` is not a state")
        .help("write `prev(" + name->name + ", start)`");
    return {};
  }
  LoopContext &loop = loops.back();
  for (LoopContext::Previous &previous : loop.previous)
    if (previous.name == name->name)
      return Val::ofRuntime(previous.argument);
  // The type is that of the start, widened to tokens; the value is checked against it at the end of the body.
  ProgramType type;
  if (start.poison())
    return {};
  LoopContext::Previous previous;
  previous.name = name->name;
  previous.startValue = start;
  previous.range = args.range;
  if (start.is(Kind::Runtime))
    type = typeOf(start.ref);
  type.scope = ValueScope::Token;
  if (start.is(Kind::Runtime) && start.ref >= loops.back().firstValue) {
    // A start computed in the body would differ from iteration to iteration.
    defer("`prev` with a start that is computed in the loop", args.range);
  }
  previous.argument = newValue(type, "prev." + name->name);
  loop.previous.push_back(previous);
  return Val::ofRuntime(previous.argument);
}

} // namespace loopc::frontend::sema
