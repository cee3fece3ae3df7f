// Operators that read positions: rope and attention.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

Val Elaborator::builtinRope(Arguments &args) {
  ValueId x = operand(args, 0, "the value to rotate");
  if (x == kNone)
    return {};
  std::optional<double> base = has(args, "theta") ? staticNumber(args, "theta", std::nullopt)
                                                  : staticNumberAt(args, 1, "theta, as in `rope(q, theta)`");
  if (!base)
    return {};
  const ProgramType type = typeOf(x);
  if (type.axes.empty() || type.axes.back().size % 2) {
    error(ErrorCode::L0218, args.positional[0]->value->range,
          "expected an even last axis to rotate, but got " + show(type) +
              (type.axes.empty() ? "" : " with " + std::to_string(type.axes.back().size) + " features"));
    return {};
  }
  RopeAttributes rope;
  if (has(args, "pairs")) {
    Val pairs = named(args, "pairs");
    if (pairs.is(Kind::Word) && pairs.text == "halves")
      rope.pairs = RopePairs::Halves;
    else if (pairs.is(Kind::Word) && (pairs.text == "adjacent" || pairs.text == "neighbours"))
      rope.pairs = RopePairs::Adjacent;
    else {
      if (!pairs.poison())
        error(ErrorCode::L0207, args.named["pairs"]->value->range, "expected `halves` or `adjacent`, but got " + describe(pairs));
      return {};
    }
  }
  for (const char *name : {"sign", "angle"})
    if (has(args, name)) {
      std::optional<double> sign = staticNumber(args, name, 1.0);
      if (!sign)
        return {};
      if (*sign != 1 && *sign != -1) {
        error(ErrorCode::L0207, args.named[name]->value->range, "expected the direction 1 or -1, but got " + sourceText(args.named[name]->value->range));
        return {};
      }
      rope.sign = *sign;
    }
  if (has(args, "table")) {
    Val table = named(args, "table");
    if (table.is(Kind::Word) && table.text == "bf16") {
      rope.table = ElementType::BF16;
    } else if (!table.is(Kind::Word) || table.text != "f32") {
      if (!table.poison())
        error(ErrorCode::L0207, args.named["table"]->value->range, "expected `f32` or `bf16`, but got " + describe(table));
      return {};
    }
  }
  ValueId place = kNone;
  if (has(args, "at")) {
    args.used.insert("at");
    Val at = named(args, "at");
    place = at.poison() ? kNone : materialise(at, args.range);
    if (place == kNone)
      return {};
    if (!typeOf(place).axes.empty()) {
      error(ErrorCode::L0207, args.named["at"]->value->range, "expected one position, but got " + describe(at));
      return {};
    }
    if (typeOf(place).element != ElementType::F32)
      place = cast(place, ElementType::F32, args.range);
  }
  ProgramType rotated = type;
  rotated.scope = ValueScope::Token;
  ProgramOp &op = emit(OpKind::Rope, rotated, {x}, args.range);
  if (place != kNone)
    op.operands.push_back(place);
  op.number = *base;
  op.rope = rope;
  return Val::ofRuntime(op.results[0]);
}

Val Elaborator::builtinAttend(Arguments &args) {
  ProgramSite site, again;
  ValueId q = operand(args, 0, "queries, keys and values: `attend(q, k, v, causal)`");
  ValueId k = q == kNone ? kNone : rowsOperand(args, 1, "keys", site);
  ValueId v = k == kNone ? kNone : rowsOperand(args, 2, "values", again);
  if (v == kNone)
    return {};
  if (site.first != again.first || site.upto != again.upto) {
    error(ErrorCode::L0417, args.range, "expected keys and values of the same iterations, but got `" +
                                            sourceText(args.positional[1]->value->range) + "` and `" +
                                            sourceText(args.positional[2]->value->range) + "`");
    return {};
  }
  const ProgramType qType = typeOf(q), kType = typeOf(k), vType = typeOf(v);
  const SourceRange qRange = args.positional[0]->value->range, kRange = args.positional[1]->value->range,
                    vRange = args.positional[2]->value->range;
  if (qType.axes.size() != 2 || kType.axes.size() != 2 || vType.axes.size() != 2) {
    if (!kType.axes.empty() && kType.axes[0].size < 0) {
      defer("attention over a token's own history", args.range);
      ProgramType type = qType;
      type.axes.back() = vType.axes.back();
      return Val::ofRuntime(deferredValue("attention over a token's own history", type, args.range));
    }
    error(ErrorCode::L0218, args.range, "expected queries, keys and values of two axes [heads, hd], but got " + show(qType) + ", " +
                                            show(kType) + " and " + show(vType));
    return {};
  }
  auto differ = [](const ProgramAxis &a, const ProgramAxis &b) { return a.name != b.name || a.size != b.size; };
  if (differ(qType.axes[1], kType.axes[1])) {
    error(ErrorCode::L0218, args.range, "queries and keys need one head size, but got " + show(qType) + " and " + show(kType))
        .also(qRange, "queries " + show(qType))
        .also(kRange, "keys " + show(kType));
    return {};
  }
  if (differ(kType.axes[0], vType.axes[0])) {
    error(ErrorCode::L0218, args.range, "keys and values need the same heads, but got " + show(kType) + " and " + show(vType))
        .also(kRange, "keys " + show(kType))
        .also(vRange, "values " + show(vType));
    return {};
  }
  if (qType.axes[0].size % kType.axes[0].size) {
    error(ErrorCode::L0218, args.range,
          std::to_string(qType.axes[0].size) + " query heads (" + qType.axes[0].name + ") cannot share " +
              std::to_string(kType.axes[0].size) + " key heads (" + kType.axes[0].name + ") evenly");
    return {};
  }
  site.kvHeads = kType.axes[0].size;
  site.keyDim = kType.axes[1].size;
  site.valueDim = vType.axes[1].size;
  site.scale = 1.0 / std::sqrt(static_cast<double>(site.keyDim));
  bool masked = false;
  for (size_t n = 3; n < args.positional.size(); ++n) {
    const Expr *mask = args.positional[n]->value.get();
    const auto *word = as<NameExpr>(mask);
    const auto *call = as<CallExpr>(mask);
    const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
    if (word && word->name == "causal") {
      masked = true;
    } else if (callee && callee->name == "window" && call->args.size() == 1) {
      std::optional<int64_t> width = compileTimeInt(call->args[0].value.get(), "a window");
      if (!width)
        return {};
      if (*width < 1) {
        error(ErrorCode::L0206, call->range, "a window holds at least the token itself, but got " + std::to_string(*width));
        return {};
      }
      site.window = *width;
      masked = true;
    } else if (callee && callee->name == "prefix" && call->args.size() == 1) {
      const auto *prompt = as<NameExpr>(call->args[0].value);
      if (!prompt || prompt->name != "prompt" || lookup("prompt") || slots.count("prompt")) {
        error(ErrorCode::L0410, call->range, "expected `prefix(prompt)`, but got `" + sourceText(call->range) + "`")
            .help("`prompt` are the tokens that a sequence is given first");
        return {};
      }
      site.mask = MaskKind::Prefix;
      masked = true;
    } else if (word && word->name == "whole") {
      site.mask = MaskKind::Whole;
      masked = true;
    } else if (word || callee) {
      const std::string name = word ? word->name : callee->name;
      static const std::set<std::string> later = {"none", "whole_block", "same", "sequence"};
      if (!later.count(name)) {
        error(ErrorCode::L0410, mask->range, "expected which keys are read (causal, window(w), prefix(prompt), whole), but got `" + name + "`");
        return {};
      }
      site.mask = name == "none" ? MaskKind::None : MaskKind::Whole;
      defer("the mask `" + name + "`", mask->range);
      masked = true;
    } else {
      error(ErrorCode::L0410, mask->range, "expected which keys are read (causal, window(w), prefix(prompt), whole)");
      return {};
    }
  }
  if (!masked) {
    error(ErrorCode::L0410, args.range, "`attend` does not say which keys are read")
        .help("write `attend(q, k, v, causal)`; others are `window(w)`, `prefix(prompt)` and `whole`");
    return {};
  }
  if (has(args, "scale")) {
    std::optional<double> scale = staticNumber(args, "scale", std::nullopt);
    if (!scale)
      return {};
    site.scale = *scale;
  }
  if (has(args, "softcap")) {
    Val cap = named(args, "softcap");
    if (cap.numeric())
      site.softcap = cap.number();
  }
  for (const char *name : {"same", "in", "after", "sinks"})
    if (has(args, name)) {
      args.used.insert(name);
      defer(std::string("`attend` with `") + name + " =`", args.named[name]->name.range);
    }
  if (site.keyDim != site.valueDim)
    defer("keys and values of different sizes", args.range);
  site.logSum = has(args, "also");
  ValueId least = kNone;
  if (has(args, "keep")) {
    least = leastProduct(args, qType.axes[0]);
    if (least == kNone)
      return {};
    site.keep = true;
    if (site.logSum)
      defer("`attend` with `keep =` and `also =`", args.named["keep"]->name.range);
  }
  ValueId attended = finishAttend(site, q, k, v, args, least);
  if (attended == kNone)
    return {};
  return site.logSum ? attendAlso(args, q, attended, site, vType) : Val::ofRuntime(attended);
}

/// The bound of `keep = dot >= e`, for each query head.
ValueId Elaborator::leastProduct(Arguments &args, const ProgramAxis &heads) {
  args.used.insert("keep");
  const Expr *keep = args.named["keep"]->value.get();
  const auto *bound = as<BinaryExpr>(keep);
  const auto *dot = bound && bound->op == BinaryOp::Ge ? as<NameExpr>(bound->lhs) : nullptr;
  if (!dot || dot->name != "dot") {
    error(ErrorCode::L0410, keep->range,
          "expected a bound of the product of query and key, but got `" + sourceText(keep->range) + "`")
        .help("write `keep = dot >= e`; e is a number of the token, or one for each head");
    return kNone;
  }
  Val value = evaluate(bound->rhs.get());
  ValueId least = value.poison() ? kNone : materialise(value, bound->rhs->range);
  if (least == kNone)
    return kNone;
  least = cast(least, ElementType::F32, bound->rhs->range);
  const ValueId all = broadcast(least, {heads}, bound->rhs->range);
  if (all == kNone)
    error(ErrorCode::L0218, bound->rhs->range,
          "expected a number, or one for each of the heads [" + heads.name + "], but got " + show(typeOf(least)));
  return all;
}

ValueId Elaborator::rowsOperand(Arguments &args, size_t n, const char *what, ProgramSite &site) {
  const auto *trace = n < args.positional.size() ? as<IndexExpr>(args.positional[n]->value) : nullptr;
  const auto *base = trace ? as<NameExpr>(trace->base) : nullptr;
  if (!base || trace->entries.size() != 1 || loops.empty())
    return operand(args, n, what);
  const IndexEntry &entry = trace->entries[0];
  const uint32_t variable = static_cast<uint32_t>(loops.front().indexVar);
  const std::string index = indexVars[variable].name;
  auto names = [&](const std::string &word) { // the loop's index, or a parameter that is given it
    Binding *bound = lookup(word);
    return word == index || (bound && bound->value.is(Kind::Index) && bound->value.index->fn == Fn::None && bound->value.index->variable == variable);
  };
  const auto *range = as<RangeExpr>(entry.value);
  const auto *high = range && !range->low && range->closed ? as<NameExpr>(range->high) : nullptr;
  const auto *number = as<NumberExpr>(entry.value);
  site.upto = high && names(high->name);
  site.first = number && sourceText(number->range) == "0";
  if ((!entry.name.empty() && !names(entry.name.text)) || (!site.upto && !site.first)) {
    error(ErrorCode::L0417, trace->range, "expected " + std::string(what) + " of the first iteration or of all so far, but got `" +
                                              sourceText(trace->range) + "`")
        .help("write `" + base->name + "[" + index + " = 0]` or `" + base->name + "[..=" + index + "]`");
    return kNone;
  }
  Val value = evaluate(trace->base.get());
  ValueId id = value.poison() ? kNone : materialise(value, trace->range);
  return id != kNone && toFloat(id, trace->range) ? id : kNone;
}

ValueId Elaborator::finishAttend(ProgramSite site, ValueId q, ValueId k, ValueId v, Arguments &args, ValueId least) {
  if (!loops.empty()) {
    bool planned = readingAhead;
    for (const LoopContext &loop : loops)
      planned = planned || program.loops[loop.loop].hasKv;
    if (!planned) {
      error(ErrorCode::L0401, args.range, "this attention is inside a loop that does not say where its keys and values are kept")
          .also({program.loops[loops.back().loop].loc.begin, program.loops[loops.back().loop].loc.end}, "the loop")
          .help("write `loop …, kv depth_indexed { … }` to keep one plane for every iteration");
      return kNone;
    }
  }
  std::vector<ValueId> operands = {q, k, v};
  // The same keys and values are kept once.
  for (const ProgramOp &op : regions.back()->ops)
    if (op.kind == OpKind::Attend && op.operands[1] == k && op.operands[2] == v) {
      const ProgramSite &owner = program.sites[op.ref];
      site.memory = owner.memory == kNone ? op.ref : owner.memory;
      site.path = owner.path + ".also";
      site.tables = owner.tables;
      site.loc = loc(args.range);
      operands.insert(operands.end(), op.operands.begin() + 3, op.operands.end() - owner.keep);
      break;
    }
  uint32_t ref = static_cast<uint32_t>(program.sites.size());
  if (site.memory != kNone) {
    program.sites.push_back(site);
  } else {
    const std::vector<PathSegment> saved = path;
    if (args.call->label) {
      std::optional<std::vector<PathSegment>> segments = labelSegments(*args.call->label);
      if (!segments)
        return kNone;
      path.insert(path.end(), segments->begin(), segments->end());
    }
    ref = addSite(site, operands, args.range);
    path = saved;
  }
  if (least != kNone)
    operands.push_back(least);
  ProgramType type = typeOf(q);
  type.scope = ValueScope::Token;
  type.axes[1] = typeOf(v).axes[1];
  if (site.logSum)
    type.axes[1] = {type.axes[1].name + " + 1", type.axes[1].size + 1};
  ProgramOp &op = emit(OpKind::Attend, type, operands, args.range);
  op.ref = ref;
  return op.results[0];
}

/// `shift(x)`: x of the token before, zero for the first. Kept and found as keys and values are: one row per iteration.
Val Elaborator::builtinShift(Arguments &args) {
  ValueId x = operand(args, 0, "a value: `shift(x)` or `shift(x, n)`");
  std::optional<int64_t> distance = 1;
  if (x != kNone && args.positional.size() > 1)
    distance = compileTimeInt(args.positional[1]->value.get(), "a number of tokens");
  if (x == kNone || !distance)
    return {};
  if (*distance < 1) {
    error(ErrorCode::L0206, args.range, "expected at least 1 token back, but got " + std::to_string(*distance));
    return {};
  }
  const ProgramType type = typeOf(x);
  const int64_t count = product(type.axes);
  int64_t width = std::min<int64_t>(count, 128);
  while (count % width)
    --width;
  std::vector<ProgramAxis> heads = {{std::to_string(count / width), count / width}, {std::to_string(width), width}};
  ValueId rows = reshape(x, heads, args.range);
  ProgramType none = typeOf(rows);
  none.scope = ValueScope::Run;
  ValueId zero = constant(0, none, args.range);
  ProgramSite site;
  site.kvHeads = count / width;
  site.keyDim = site.valueDim = width;
  site.scale = 1;
  site.window = 1;
  site.before = *distance;
  ValueId shifted = finishAttend(site, zero, zero, rows, args);
  return shifted == kNone ? Val() : Val::ofRuntime(reshape(shifted, type.axes, args.range));
}

/// `past(S, p)`: what the carry S meant at the end of position p, its start if p is not an older position.
Val Elaborator::builtinPast(Arguments &args) {
  const auto *name = args.positional.empty() ? nullptr : as<NameExpr>(args.positional[0]->value);
  Binding *binding = name ? lookup(name->name) : nullptr;
  auto found = carries.rend();
  if (binding && binding->role == NameRole::Carry)
    found = std::find_if(carries.rbegin(), carries.rend(),
                         [&](const Carry &each) { return each.name == name->name && each.environment == environments.size(); });
  if (found == carries.rend() || found->loops != loops.size()) {
    error(ErrorCode::L0418, args.range, "expected a carry of this loop and a position, as in `past(S, pos - 4)`, but got `" +
                                            sourceText(args.range) + "`");
    return {};
  }
  const std::vector<ValueId> indices = found->indices;
  const ValueId start = found->start;
  const uint32_t site = found->site;
  ValueId place = operand(args, 1, "a position: `past(S, pos - 4)`");
  if (place == kNone)
    return {};
  if (!typeOf(place).axes.empty()) {
    error(ErrorCode::L0418, args.positional[1]->value->range, "expected one position, but got " + show(typeOf(place)));
    return {};
  }
  std::vector<ValueId> operands{start};
  operands.insert(operands.end(), indices.begin(), indices.end());
  operands.push_back(typeOf(place).element == ElementType::F32 ? place : cast(place, ElementType::F32, args.range));
  ProgramType kept = typeOf(start);
  kept.scope = ValueScope::Token;
  ProgramOp &op = emit(OpKind::Recall, kept, operands, args.range);
  op.ref = site;
  op.number = 1;
  return Val::ofRuntime(op.results[0]);
}

/// The list [n, heads, hd] of keys and values joins the softmax: weights of both under one maximum.
Val Elaborator::attendAlso(Arguments &args, ValueId q, ValueId attended, const ProgramSite &site, const ProgramType &vType) {
  const SourceRange range = args.named["also"]->value->range;
  args.used.insert("also");
  const auto *tuple = as<TupleExpr>(args.named["also"]->value);
  if (!tuple || tuple->elements.size() < 2 || tuple->elements.size() > 3) {
    error(ErrorCode::L0218, range, "expected a list of keys, one of values and, if not all of it, how many entries are read: `also = (ks, vs, n)`");
    return {};
  }
  ValueId lists[2];
  for (int i = 0; i < 2; ++i) {
    Val value = evaluate(tuple->elements[i].value.get());
    lists[i] = value.poison() ? kNone : materialise(value, range);
    if (lists[i] == kNone || !toFloat(lists[i], range))
      return {};
    const std::vector<ProgramAxis> &axes = typeOf(lists[i]).axes;
    const int64_t width = i ? site.valueDim : site.keyDim;
    if (axes.size() != 3 || axes[0].size < 1 || axes[1].size != site.kvHeads || axes[2].size != width) {
      error(ErrorCode::L0218, tuple->elements[i].value->range,
            "expected a list [n, " + std::to_string(site.kvHeads) + ", " + std::to_string(width) + "] as the " + (i ? "values" : "keys") +
                " are, but got " + show(typeOf(lists[i])));
      return {};
    }
  }
  const ProgramType qType = typeOf(q);
  const ProgramAxis heads = qType.axes[0];
  const ProgramAxis entries{"list entry", typeOf(lists[0]).axes[0].size}, kvHeads{"key head", site.kvHeads}, group{"head of it", heads.size / site.kvHeads};
  const ProgramAxis kd{"key feature", site.keyDim}, vd{"value feature", site.valueDim}, one{"one", 1};
  auto math = [&](Fn fn, const Val &a, const Val &b) { return binary(fn, a, b, range, range, range); };
  auto shaped = [&](ValueId value, std::vector<ProgramAxis> axes) { return Val::ofRuntime(reshape(value, std::move(axes), range)); };
  auto wide = [&](const Val &value, const std::vector<ProgramAxis> &axes) { return Val::ofRuntime(broadcast(value.ref, axes, range)); };
  // Scores of the list: [n, kv heads, heads of each].
  const std::vector<ProgramAxis> keyShape = {entries, kvHeads, group, kd}, valueShape = {entries, kvHeads, group, vd};
  auto grouped = [&](ValueId list, const std::vector<ProgramAxis> &shape) { // each key head for all of its query heads
    ProgramType type = typeOf(list);
    type.axes = shape;
    ProgramOp &op = emit(OpKind::Broadcast, type, {list}, range);
    op.ints = {0, 1, 3};
    return Val::ofRuntime(op.results[0]);
  };
  Val scores = math(Fn::Mul, wide(shaped(q, {kvHeads, group, kd}), keyShape), grouped(lists[0], keyShape));
  scores = reduceValue(Fn::Sum, scores.ref, {3}, range);
  scores = math(Fn::Mul, scores, Val::ofFloat(site.scale));
  if (site.softcap != 0)
    scores = math(Fn::Mul, unary(Fn::Tanh, math(Fn::Div, scores, Val::ofFloat(site.softcap)), range), Val::ofFloat(site.softcap));
  if (tuple->elements.size() == 3) {
    Val most = evaluate(tuple->elements[2].value.get());
    ValueId count = most.poison() ? kNone : materialise(most, range);
    if (count == kNone)
      return {};
    count = cast(count, ElementType::F32, range);
    ProgramType places;
    places.scope = ValueScope::Run;
    places.axes = {entries};
    ProgramOp &iota = emit(OpKind::Constant, places, {}, range);
    for (int64_t i = 0; i < entries.size; ++i)
      iota.ints.push_back(i);
    Val read = math(Fn::Lt, Val::ofRuntime(iota.results[0]), Val::ofRuntime(count));
    ProgramType flags = typeOf(scores.ref);
    flags.element = ElementType::Bool;
    ProgramOp &spread = emit(OpKind::Broadcast, flags, {read.ref}, range);
    spread.ints = {0};
    scores = select(Val::ofRuntime(spread.results[0]), scores, Val::ofFloat(-1e30), range);
  }
  // The sequence brings its weighted mean and the logarithm of its sum.
  Val mean = sliceValue(attended, 1, 0, vd, range), sum = shaped(sliceValue(attended, 1, vd.size, one, range).ref, {kvHeads, group});
  Val top = math(Fn::Max, reduceValue(Fn::ReduceMax, scores.ref, {0}, range), sum);
  Val own = unary(Fn::Exp, math(Fn::Sub, sum, top), range);
  Val weights = unary(Fn::Exp, math(Fn::Sub, scores, wide(top, typeOf(scores.ref).axes)), range);
  Val total = math(Fn::Add, own, reduceValue(Fn::Sum, weights.ref, {0}, range));
  auto perFeature = [&](const Val &value, const std::vector<ProgramAxis> &shape) {
    ProgramType type = typeOf(value.ref);
    type.axes = shape;
    ProgramOp &op = emit(OpKind::Broadcast, type, {value.ref}, range);
    for (size_t i = 0; i + 1 < shape.size(); ++i)
      op.ints.push_back(static_cast<int64_t>(i));
    return Val::ofRuntime(op.results[0]);
  };
  Val more = math(Fn::Mul, perFeature(weights, valueShape), grouped(lists[1], valueShape));
  more = reduceValue(Fn::Sum, more.ref, {0}, range);
  const std::vector<ProgramAxis> shape = {kvHeads, group, vd};
  Val result = math(Fn::Add, math(Fn::Mul, shaped(mean.ref, shape), perFeature(own, shape)), more);
  result = math(Fn::Div, result, perFeature(total, shape));
  return result.poison() ? Val() : shaped(result.ref, {heads, vType.axes[1]});
}

} // namespace loopc::frontend::sema
