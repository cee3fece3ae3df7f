// The operators of the language: arguments, types, and the operations they become.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

const std::map<std::string, Elaborator::Builtin> &Elaborator::builtins() {
  using E = Elaborator;
  static const std::map<std::string, Builtin> table = {
      {"linear", &E::builtinLinear},   {"embed", &E::builtinEmbed},       {"embedding", &E::builtinEmbed},
      {"rms_norm", &E::builtinNorm},   {"layer_norm", &E::builtinNorm},   {"normalize", &E::builtinNorm},
      {"standardize", &E::builtinNorm}, {"rope", &E::builtinRope},        {"attend", &E::builtinAttend},
      {"exp", &E::builtinUnary},       {"log", &E::builtinUnary},         {"sqrt", &E::builtinUnary},
      {"rsqrt", &E::builtinUnary},     {"abs", &E::builtinUnary},         {"floor", &E::builtinUnary},
      {"ceil", &E::builtinUnary},      {"sin", &E::builtinUnary},         {"cos", &E::builtinUnary},
      {"tanh", &E::builtinUnary},      {"sigmoid", &E::builtinUnary},     {"silu", &E::builtinUnary},
      {"gelu", &E::builtinUnary},      {"gelu_tanh", &E::builtinUnary},   {"relu", &E::builtinUnary},
      {"softplus", &E::builtinUnary},  {"erf", &E::builtinUnary},         {"min", &E::builtinMinMax},
      {"max", &E::builtinMinMax},      {"clamp", &E::builtinClamp},       {"softcap", &E::builtinSoftcap},
      {"softmax", &E::builtinSoftmax}, {"sum", &E::builtinReduce},        {"mean", &E::builtinReduce},
      {"argmax", &E::builtinReduce},   {"norm", &E::builtinReduce},       {"any", &E::builtinReduce},
      {"all", &E::builtinReduce},      {"reshape", &E::builtinReshape},   {"outer", &E::builtinOuter},
      {"concat", &E::builtinConcat},   {"split", &E::builtinSplit},       {"slice", &E::builtinSlice},
      {"pick", &E::builtinPick},       {"f32", &E::builtinCast},          {"f64", &E::builtinCast},
      {"bf16", &E::builtinCast},       {"zeros", &E::builtinFill},        {"ones", &E::builtinFill},        {"iota", &E::builtinIota},
      {"round_up", &E::builtinRoundUp}, {"prev", &E::builtinPrev},        {"entropy", &E::builtinEntropy},
      {"pow", &E::builtinPow},         {"len", &E::builtinLen},
      {"shift", &E::builtinShift},     {"past", &E::builtinPast}};
  return table;
}

bool Elaborator::isWeightMaker(const std::string &name) {
  return name == "linear" || name == "embed" || name == "embedding" || name == "rms_norm" || name == "layer_norm";
}

/// Operators of the language that are read and checked by name only.
const std::set<std::string> &Elaborator::deferredBuiltins() {
  static const std::set<std::string> table = {
      "append",  "top_k",    "rank",          "cumsum",  "log_softmax", "cross_entropy", "bce",
      "repeat",  "matmul",  "lookup",   "by_channel",    "by_token",    "prepend", "drop",        "transpose",     "vjp",
      "grad",    "run",     "stop_gradient", "dropout",  "eye",         "cholesky", "solve_lower", "right_solve",
      "cosine",  "first",   "last",     "count",         "mean_call",   "mean_tokens", "all_tokens", "ahead",      "trace",
      "select",  "sort",    "one_hot",  "divergence",    "whole_sequence", "parts", "join",       "detach",        "kl"};
  return table;
}

//===----------------------------------------------------------------------===//
// Arguments
//===----------------------------------------------------------------------===//

Val Elaborator::callBuiltin(const std::string &name, const CallExpr &call, const ProgramType *expected,
                            const std::vector<PathSegment> *instance, const CallExpr *statics) {
  auto found = builtins().find(name);
  if (training)
    if (std::optional<Val> made = lossOperator(name, call))
      return *made;
  if (found == builtins().end()) {
    if (deferredBuiltins().count(name)) {
      for (const Argument &argument : call.args)
        if (!as<BinderExpr>(argument.value) && !as<OverExpr>(argument.value) && !as<RangeExpr>(argument.value))
          (void)evaluate(argument.value.get());
      defer("`" + name + "`", call.range);
      return {};
    }
    std::vector<std::string> known;
    for (const auto &entry : builtins())
      known.push_back(entry.first);
    for (const auto &entry : functions)
      known.push_back(entry.first);
    for (const auto &entry : shares)
      known.push_back(entry.first);
    Diagnostic &diagnostic = error(ErrorCode::L0211, call.callee->range, "`" + name + "` is not a function or an operator");
    std::string close = nearest(name, known);
    if (!close.empty())
      diagnostic.help("did you mean `" + close + "`?");
    return {};
  }
  if (configMode && !(found->second == &Elaborator::builtinUnary || found->second == &Elaborator::builtinMinMax ||
                      found->second == &Elaborator::builtinRoundUp || found->second == &Elaborator::builtinLen || found->second == &Elaborator::builtinPow)) {
    error(ErrorCode::L0703, call.range, "`" + name + "` computes with values of tokens and cannot stand in `config` or `options`");
    return {};
  }
  Arguments args;
  args.call = &call;
  args.name = name;
  args.range = call.range;
  args.expected = expected;
  for (const CallExpr *source : {&call, statics})
    if (source)
      for (const Argument &argument : source->args) {
        if (argument.name.empty())
          args.positional.push_back(&argument);
        else if (!args.named.emplace(argument.name.text, &argument).second) {
          error(ErrorCode::L0203, argument.name.range, "`" + argument.name.text + "` is given twice");
          return {};
        }
      }
  if (call.label && !isWeightMaker(name) && name != "attend") {
    error(ErrorCode::L0304, call.label->range, "`" + name + "` has no weights that a label could name")
        .help("write `" + name + "(…)`");
    return {};
  }
  const std::vector<PathSegment> *savedInstance = instancePath;
  instancePath = instance; // a shared operator: its path is the instance's name, whatever surrounds the call
  Val result = (this->*found->second)(args);
  instancePath = savedInstance;
  if (result.poison() && !configMode)
    return recovered(call.results);
  for (const auto &[argument, value] : args.named)
    if (!args.used.count(argument) && !result.poison()) {
      error(ErrorCode::L0203, value->name.range, "`" + name + "` has no parameter `" + argument + "`");
      return {};
    }
  return result;
}

/// After an error, values of the types that were written, so that what follows is still checked.
Val Elaborator::recovered(const std::vector<TypeSyntax> &types) {
  if (types.empty() || exhausted || !diags.hasErrors())
    return {};
  Val tuple = Val::make(Kind::Tuple);
  for (const TypeSyntax &syntax : types) {
    const unsigned before = diags.errorCount();
    std::optional<ProgramType> type = resolveType(syntax);
    if (!type || diags.errorCount() != before)
      return {};
    type->scope = ValueScope::Run;
    tuple.elements.push_back(Val::ofRuntime(deferredValue("an error", *type, syntax.range)));
  }
  return tuple.elements.size() == 1 ? tuple.elements[0] : tuple;
}

const Expr *Elaborator::positional(Arguments &args, size_t n, const char *what) {
  if (n < args.positional.size())
    return args.positional[n]->value.get();
  error(ErrorCode::L0203, args.call->argsRange.empty() ? args.range : args.call->argsRange,
        "`" + args.name + "` needs " + what);
  return nullptr;
}

Val Elaborator::named(Arguments &args, const std::string &name) {
  auto found = args.named.find(name);
  if (found == args.named.end())
    return Val::make(Kind::None);
  args.used.insert(name);
  if (const auto *word = as<NameExpr>(found->second->value);
      word && !lookup(word->name) && !slots.count(word->name) && word->name != "none")
    return Val::ofWord(word->name);
  return evaluate(found->second->value.get());
}

std::optional<double> Elaborator::staticNumber(Arguments &args, const std::string &name, std::optional<double> fallback) {
  if (!has(args, name))
    return fallback;
  Val value = named(args, name);
  if (value.numeric())
    return value.number();
  if (!value.poison())
    error(ErrorCode::L0207, args.named[name]->value->range,
          "expected a number known when compiled for `" + name + "`, but got " + describe(value));
  return std::nullopt;
}

std::optional<double> Elaborator::staticNumberAt(Arguments &args, size_t n, const char *what) {
  const Expr *expr = positional(args, n, what);
  if (!expr)
    return std::nullopt;
  Val value = evaluate(expr);
  if (value.numeric())
    return value.number();
  if (!value.poison())
    error(ErrorCode::L0207, expr->range,
          std::string("expected ") + what + " known when compiled, but got " + describe(value));
  return std::nullopt;
}

ValueId Elaborator::operand(Arguments &args, size_t n, const char *what, bool floating) {
  const Expr *expr = positional(args, n, what);
  if (!expr)
    return kNone;
  ValueId value = materialise(evaluate(expr), expr->range);
  if (value == kNone)
    return kNone;
  if (floating && !toFloat(value, expr->range))
    return kNone;
  return value;
}

bool Elaborator::flag(Arguments &args, const std::string &name, bool fallback) {
  // `linear(x, bias)` and `bias = condition`.
  for (const Argument *argument : args.positional)
    if (const auto *word = as<NameExpr>(argument->value); word && word->name == name && !lookup(name))
      return true;
  if (!has(args, name))
    return fallback;
  Val value = named(args, name);
  if (value.is(Kind::Bool))
    return value.integer != 0;
  if (!value.poison())
    error(ErrorCode::L0207, args.named[name]->value->range,
          "expected true or false known when compiled for `" + name + "`, but got " + describe(value));
  return fallback;
}

std::optional<std::vector<std::vector<ProgramAxis>>> Elaborator::resultAxes(Arguments &args) {
  std::vector<std::vector<ProgramAxis>> result;
  for (const TypeSyntax &type : args.call->results) {
    std::optional<ProgramType> resolved = resolveType(type);
    if (!resolved)
      return std::nullopt;
    result.push_back(resolved->axes);
  }
  if (result.empty() && args.expected)
    result.push_back(args.expected->axes);
  if (result.empty()) {
    error(ErrorCode::L0209, args.range, "`" + args.name + "` makes new axes; say which")
        .label("no `->` after this call")
        .help("write `" + args.name + "(…) -> [axes]`");
    return std::nullopt;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Operators with weights
//===----------------------------------------------------------------------===//

std::optional<Elaborator::WeightUse> Elaborator::operatorWeight(Arguments &args, const std::string &leaf,
                                                                std::vector<int64_t> shape, WeightRole role) {
  const SourceRange range =
      args.call->label ? args.call->callee->range.to(args.call->label->range) : args.call->callee->range;
  if (instancePath) {
    const std::vector<PathSegment> saved = std::move(path);
    path = *instancePath;
    ++instanceDepth;
    const size_t savedIndexDepth = std::exchange(instanceIndexDepth, indexVars.size());
    std::optional<WeightUse> use = registerWeight({}, leaf, std::move(shape), role, range);
    --instanceDepth;
    instanceIndexDepth = savedIndexDepth;
    path = saved;
    return use;
  }
  std::optional<std::vector<PathSegment>> segments = callSegments(*args.call);
  if (!segments)
    return std::nullopt;
  return registerWeight(*segments, leaf, std::move(shape), role, range);
}

Val Elaborator::builtinLinear(Arguments &args) {
  // Inputs are concatenated, each flattened.
  std::vector<ValueId> inputs;
  ValueScope scope = ValueScope::Run;
  int64_t columns = 0;
  std::string columnName;
  for (const Argument *argument : args.positional) {
    if (const auto *word = as<NameExpr>(argument->value); word && word->name == "bias" && !lookup("bias"))
      continue;
    Val value = evaluate(argument->value.get());
    ValueId input = materialise(value, argument->value->range);
    if (input == kNone || !toFloat(input, argument->value->range))
      return {};
    input = flatten(input, argument->value->range);
    scope = std::max(scope, typeOf(input).scope);
    columns += typeOf(input).axes[0].size;
    columnName += (columnName.empty() ? "" : "+") + typeOf(input).axes[0].name;
    inputs.push_back(input);
  }
  if (inputs.empty()) {
    error(ErrorCode::L0203, args.range, "`linear` needs an input");
    return {};
  }
  std::optional<std::vector<std::vector<ProgramAxis>>> results = resultAxes(args);
  if (!results)
    return {};
  int64_t rows = 0;
  std::string rowName;
  for (const auto &axes : *results) {
    const int64_t size = product(axes);
    if (size <= 0 || __builtin_add_overflow(rows, size, &rows)) {
      error(ErrorCode::L0206, args.range, "the result of this `linear` is too large");
      return {};
    }
    std::string name;
    for (const ProgramAxis &axis : axes)
      name += (name.empty() ? "" : "*") + axis.name;
    rowName += (rowName.empty() ? "" : "+") + (name.empty() ? "1" : name);
  }
  ValueId x = inputs[0];
  if (inputs.size() > 1) {
    ProgramType type = typeOf(x);
    type.scope = scope;
    type.axes = {{columnName, columns}};
    x = emitValue(OpKind::Concat, type, inputs, args.range);
  }
  std::optional<WeightUse> weight;
  if (has(args, "tied")) {
    args.used.insert("tied");
    weight = tiedWeight(args.named["tied"]->value.get(), {rows, columns}, "weight", args.range);
    if (weight && args.call->label) {
      error(ErrorCode::L0304, args.call->label->range, "this `linear` is tied and makes no weights of its own to label");
      return {};
    }
  } else
    weight = operatorWeight(args, "weight", {rows, columns}, WeightRole::Matrix);
  if (!weight)
    return {};
  const bool biased = flag(args, "bias", false);
  if (has(args, "tied") && biased) {
    error(ErrorCode::L0203, args.range, "a tied `linear` has no bias");
    return {};
  }
  std::vector<ValueId> operands = {x, param(*weight, {{rowName, rows}, {columnName, columns}}, args.range)};
  if (biased) {
    std::optional<WeightUse> bias = operatorWeight(args, "bias", {rows}, WeightRole::Bias);
    if (!bias)
      return {};
    operands.push_back(param(*bias, {{rowName, rows}}, args.range));
  }
  ProgramType type = typeOf(x);
  type.scope = scope;
  type.element = ElementType::F32;
  type.axes = {{rowName, rows}};
  ValueId y = emitValue(OpKind::Linear, type, operands, args.range);
  if (results->size() == 1)
    return Val::ofRuntime(reshape(y, (*results)[0], args.range));
  Val tuple = Val::make(Kind::Tuple);
  int64_t start = 0;
  for (const auto &axes : *results) {
    const int64_t size = product(axes);
    std::string name;
    for (const ProgramAxis &axis : axes)
      name += (name.empty() ? "" : "*") + axis.name;
    Val part = sliceValue(y, 0, start, {name.empty() ? "1" : name, size}, args.range);
    tuple.elements.push_back(Val::ofRuntime(reshape(part.ref, axes, args.range)));
    start += size;
  }
  return tuple;
}

Val Elaborator::builtinEmbed(Arguments &args) {
  ValueId id = operand(args, 0, "the id to look up", false);
  if (id == kNone)
    return {};
  if (typeOf(id).element == ElementType::Index || (typeOf(id).element == ElementType::F32 && typeOf(id).axes.empty()))
    id = cast(id, ElementType::Int, args.range);
  if (typeOf(id).element != ElementType::Int || !typeOf(id).axes.empty()) {
    error(ErrorCode::L0207, args.positional[0]->value->range, "expected one id, but got " + describe(Val::ofRuntime(id)));
    return {};
  }
  // `input token: id(vocab)` says how many rows there are; otherwise the call does.
  std::optional<ProgramAxis> rows = args.positional.size() < 2 ? tokenRows : std::nullopt;
  if (!rows) {
    const Expr *count = positional(args, 1, "the number of rows: `embed(token, vocab) -> [d]`");
    if (!count)
      return {};
    rows = axisOf(evaluate(count), count->range);
  }
  std::optional<std::vector<std::vector<ProgramAxis>>> results = rows ? resultAxes(args) : std::nullopt;
  if (!results)
    return {};
  const int64_t columns = product((*results)[0]);
  if (columns <= 0) {
    error(ErrorCode::L0206, args.range, "the result of this `embed` is too large");
    return {};
  }
  std::optional<WeightUse> weight;
  if (has(args, "tied")) {
    args.used.insert("tied");
    weight = tiedWeight(args.named["tied"]->value.get(), {rows->size, columns}, "weight", args.range);
  } else
    weight = operatorWeight(args, "weight", {rows->size, columns}, WeightRole::Embedding);
  if (!weight)
    return {};
  if (const auto *word = as<NameExpr>(args.positional[0]->value); word && word->name == "token" && !program.vocab)
    program.vocab = rows->size;
  std::string name;
  for (const ProgramAxis &axis : (*results)[0])
    name += (name.empty() ? "" : "*") + axis.name;
  ProgramType type;
  type.scope = typeOf(id).scope;
  type.axes = {{name.empty() ? "1" : name, columns}};
  ValueId table = param(*weight, {*rows, type.axes[0]}, args.range);
  Val row = Val::ofRuntime(emitValue(OpKind::Embed, type, {id, table}, args.range));
  if (const Val padding = has(args, "padding") ? named(args, "padding") : Val::make(Kind::None); !padding.is(Kind::None)) {
    // The row of this id stays as it is in training.
    const Val fixed = Val::ofRuntime(emitValue(OpKind::StopGradient, type, {row.ref}, args.range));
    row = select(binary(Fn::Eq, Val::ofRuntime(id), padding, args.range, args.range, args.range), fixed, row, args.range);
  }
  return row.poison() ? Val() : Val::ofRuntime(reshape(row.ref, (*results)[0], args.range));
}

Val Elaborator::builtinNorm(Arguments &args) {
  ValueId x = operand(args, 0, "the value to normalise");
  if (x == kNone)
    return {};
  const ProgramType type = typeOf(x);
  if (type.axes.empty()) {
    error(ErrorCode::L0205, args.positional[0]->value->range, "expected a value with an axis to normalise over, but got []");
    return {};
  }
  std::optional<double> eps;
  if (has(args, "eps"))
    eps = staticNumber(args, "eps", std::nullopt);
  else
    eps = staticNumberAt(args, 1, "eps, as in `rms_norm(x, eps)`");
  if (!eps)
    return {};
  if (!(*eps >= 0) || !std::isfinite(*eps)) {
    error(ErrorCode::L0207, args.range, "expected eps of at least 0, but got " + describe(Val::ofFloat(*eps)));
    return {};
  }
  std::vector<ValueId> operands = {x};
  const bool layer = args.name == "layer_norm" || args.name == "standardize";
  if (args.name == "rms_norm" || args.name == "layer_norm") {
    const ProgramAxis axis = type.axes.back();
    std::optional<WeightUse> gain;
    if (has(args, "tied")) {
      args.used.insert("tied");
      gain = tiedWeight(args.named["tied"]->value.get(), {axis.size}, "weight", args.range);
    } else
      gain = operatorWeight(args, "weight", {axis.size}, WeightRole::Norm);
    if (!gain)
      return {};
    operands.push_back(param(*gain, {axis}, args.range));
    if (layer && !has(args, "tied") && flag(args, "bias", true)) {
      std::optional<WeightUse> bias = operatorWeight(args, "bias", {axis.size}, WeightRole::Bias);
      if (!bias)
        return {};
      operands.push_back(param(*bias, {axis}, args.range));
    }
  }
  ProgramOp &op = emit(OpKind::Norm, type, operands, args.range);
  op.fn = layer ? Fn::NormLayer : Fn::NormRms;
  op.number = *eps;
  return Val::ofRuntime(op.results[0]);
}

} // namespace loopc::frontend::sema
