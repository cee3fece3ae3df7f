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
  // Keys of another iteration or of all iterations are traces; they are typed as the keys themselves.
  ValueId q = operand(args, 0, "queries, keys and values: `attend(q, k, v, causal)`");
  ValueId k = q == kNone ? kNone : operand(args, 1, "keys");
  ValueId v = k == kNone ? kNone : operand(args, 2, "values");
  if (v == kNone)
    return {};
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
  ProgramSite site;
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
  for (const char *name : {"also", "same", "keep", "in", "after", "sinks"})
    if (has(args, name)) {
      args.used.insert(name);
      defer(std::string("`attend` with `") + name + " =`", args.named[name]->name.range);
    }
  if (site.keyDim != site.valueDim)
    defer("keys and values of different sizes", args.range);
  if (!loops.empty()) {
    bool planned = readingAhead;
    for (const LoopContext &loop : loops)
      planned = planned || program.loops[loop.loop].hasKv;
    if (!planned) {
      error(ErrorCode::L0401, args.range, "this attention is inside a loop that does not say where its keys and values are kept")
          .also({program.loops[loops.back().loop].loc.begin, program.loops[loops.back().loop].loc.end}, "the loop")
          .help("write `loop …, kv depth_indexed { … }` to keep one plane for every iteration");
      return {};
    }
  }
  std::vector<ValueId> operands = {q, k, v};
  std::optional<std::vector<PathSegment>> segments;
  const std::vector<PathSegment> saved = path;
  if (args.call->label) {
    segments = labelSegments(*args.call->label);
    if (!segments)
      return {};
    path.insert(path.end(), segments->begin(), segments->end());
  }
  const uint32_t ref = addSite(site, operands, args.range);
  path = saved;
  ProgramType type = qType;
  type.scope = ValueScope::Token;
  type.axes[1] = vType.axes[1];
  ProgramOp &op = emit(OpKind::Attend, type, operands, args.range);
  op.ref = ref;
  return Val::ofRuntime(op.results[0]);
}

} // namespace loopc::frontend::sema
