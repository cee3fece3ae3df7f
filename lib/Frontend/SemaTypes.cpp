// Types as written, values as operations, broadcasting by axis name.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

Val Val::ofInt(int64_t value, SizeExpr size) {
  Val v = make(Kind::Int);
  v.integer = value;
  v.size = std::move(size);
  return v;
}
Val Val::ofFloat(double value) {
  Val v = make(Kind::Float);
  v.real = value;
  return v;
}
Val Val::ofBool(bool value) {
  Val v = make(Kind::Bool);
  v.integer = value;
  return v;
}
Val Val::ofWord(std::string word) {
  Val v = make(Kind::Word);
  v.text = std::move(word);
  return v;
}
Val Val::ofRuntime(ValueId id) {
  Val v = make(id == kNone ? Kind::Poison : Kind::Runtime);
  v.ref = id;
  return v;
}

//===----------------------------------------------------------------------===//
// Axes
//===----------------------------------------------------------------------===//

int64_t Elaborator::product(const std::vector<ProgramAxis> &axes) {
  int64_t result = 1;
  for (const ProgramAxis &axis : axes)
    if (__builtin_mul_overflow(result, axis.size, &result))
      return -1;
  return result;
}

std::string Elaborator::show(const std::vector<ProgramAxis> &axes) {
  std::string result = "[";
  for (const ProgramAxis &axis : axes)
    result += (result.size() > 1 ? ", " : "") + axis.name;
  return result + "]";
}

std::string Elaborator::show(const ProgramType &type) { return show(type.axes); }

bool Elaborator::sameAxes(const std::vector<ProgramAxis> &a, const std::vector<ProgramAxis> &b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ProgramAxis &x, const ProgramAxis &y) {
    return x.name == y.name && x.size == y.size;
  });
}

std::string Elaborator::describe(const Val &value) const {
  switch (value.kind) {
  case Kind::Poison:
    return "nothing";
  case Kind::None:
    return "none";
  case Kind::Bool:
    return value.integer ? "true" : "false";
  case Kind::Int:
    return std::to_string(value.integer);
  case Kind::Float: {
    char buffer[40];
    snprintf(buffer, sizeof buffer, "%.17g", value.real);
    char brief[40];
    snprintf(brief, sizeof brief, "%g", value.real);
    return strtod(brief, nullptr) == value.real ? brief : buffer;
  }
  case Kind::Word:
    return value.text;
  case Kind::Text:
    return "\"" + value.text + "\"";
  case Kind::List: {
    std::string result = "[";
    for (const Val &element : value.elements)
      result += (result.size() > 1 ? ", " : "") + describe(element);
    return result + "]";
  }
  case Kind::Index:
    return "an index";
  case Kind::Option:
    return "the option `" + program.options[value.ref].name + "`";
  case Kind::Runtime:
    return "a value of shape " + show(typeOf(value.ref));
  case Kind::Tuple:
    return std::to_string(value.elements.size()) + " values";
  }
  return "";
}

std::optional<ProgramAxis> Elaborator::axisOf(const Val &value, SourceRange range) {
  if (value.poison())
    return std::nullopt;
  if (!value.is(Kind::Int)) {
    error(ErrorCode::L0206, range, "expected a size known when compiled, but got " + std::string(value.is(Kind::Float) ? "the fraction " : "") + describe(value))
        .label("not an integer of the configuration")
        .help("sizes come from `config`, axis parameters and integer arithmetic; a quotient must be exact");
    return std::nullopt;
  }
  if (value.integer < 1 || value.integer > (int64_t{1} << 40)) {
    error(ErrorCode::L0206, range,
          "expected a positive size, but got " + std::to_string(value.integer) + " for `" + sourceText(range) + "`")
        .label("an axis has at least one element");
    return std::nullopt;
  }
  return ProgramAxis{value.size.text(), value.integer};
}

bool Elaborator::resolveDims(const std::vector<ExprPtr> &dims, std::vector<ProgramAxis> &axes) {
  for (const ExprPtr &dim : dims) {
    if (as<RaggedExpr>(dim)) {
      axes.push_back({"*" + as<RaggedExpr>(dim)->name, -1});
      continue;
    }
    if (const auto *pack = as<PackExpr>(dim)) {
      const auto &packs = environments.back().packs;
      auto found = packs.find(pack->name);
      if (found == packs.end()) {
        error(ErrorCode::L0201, pack->range, "`" + pack->name + "..` is not an axis parameter of this function")
            .help("declare it: `fn f<" + pack->name + "..>(…)`");
        return false;
      }
      axes.insert(axes.end(), found->second.begin(), found->second.end());
      continue;
    }
    if (const auto *name = as<NameExpr>(dim)) {
      const auto &packs = environments.back().packs;
      auto found = packs.find(name->name);
      if (found != packs.end()) {
        axes.insert(axes.end(), found->second.begin(), found->second.end());
        continue;
      }
    }
    Val value = evaluate(dim.get());
    std::optional<ProgramAxis> axis = axisOf(value, dim->range);
    if (!axis)
      return false;
    axes.push_back(*axis);
  }
  return true;
}

std::optional<ElementType> Elaborator::elementOf(const Identifier &word) {
  static const std::map<std::string, ElementType> table = {
      {"f32", ElementType::F32}, {"f64", ElementType::F64}, {"bf16", ElementType::BF16}, {"f16", ElementType::F16}};
  auto found = table.find(word.text);
  if (found != table.end())
    return found->second;
  error(ErrorCode::L0207, word.range, "expected an element type (f32, f64, bf16, f16), but got `" + word.text + "`");
  return std::nullopt;
}

ValueScope Elaborator::scopeOf(const ScopeClause &clause, ValueScope fallback) const {
  switch (clause.scope) {
  case ast::Scope::Inferred:
    return fallback;
  case ast::Scope::Token:
    return ValueScope::Token;
  case ast::Scope::Sequence:
    return ValueScope::Sequence;
  case ast::Scope::Run:
    return ValueScope::Run;
  }
  return fallback;
}

std::optional<ProgramType> Elaborator::resolveType(const TypeSyntax &type, bool) {
  ProgramType result;
  result.scope = scopeOf(type.scope, ValueScope::Token);
  if (type.form == TypeSyntax::Form::Word) {
    if (type.word.text == "flag" || type.word.text == "bool")
      result.element = ElementType::Bool;
    else if (type.word.text == "int" || type.word.text == "id" || type.word.text == "index")
      result.element = ElementType::Int;
    else if (type.word.text == "float")
      result.element = ElementType::F32;
    else {
      error(ErrorCode::L0207, type.word.range, "expected a type, but got `" + type.word.text + "`")
          .help("types are shapes such as `[d]`, and the words flag, int, float, index, axis, id(n)");
      return std::nullopt;
    }
    return result;
  }
  if (type.form != TypeSyntax::Form::Shape)
    return std::nullopt;
  if (!resolveDims(type.dims, result.axes))
    return std::nullopt;
  if (!type.dtype.empty()) {
    std::optional<ElementType> element = elementOf(type.dtype);
    if (!element)
      return std::nullopt;
    result.element = *element;
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Values in code
//===----------------------------------------------------------------------===//

ProgramLoc Elaborator::loc(SourceRange range) const {
  const LineColumn position = diags.source().position(range.begin);
  return {position.line, position.column, range.begin, range.end};
}

ValueId Elaborator::newValue(ProgramType type, std::string name) {
  program.values.push_back({std::move(type), std::move(name)});
  return static_cast<ValueId>(program.values.size() - 1);
}

ProgramOp &Elaborator::emit(OpKind kind, ProgramType type, std::vector<ValueId> operands, SourceRange range) {
  if (++opCount > 50000 && !exhausted) {
    exhausted = true;
    error(ErrorCode::L0212, range, "this program has more than 50000 operations after functions are inlined")
        .help("repeat with `stack` or `loop` instead of calls");
  }
  ProgramOp op;
  op.kind = kind;
  op.loc = loc(range);
  op.operands = std::move(operands);
  op.results.push_back(newValue(std::move(type)));
  regions.back()->ops.push_back(std::move(op));
  return regions.back()->ops.back();
}

ValueId Elaborator::constant(double number, ProgramType type, SourceRange range) {
  ProgramOp &op = emit(OpKind::Constant, std::move(type), {}, range);
  op.number = number;
  return op.results[0];
}

ValueId Elaborator::materialiseIndex(const IndexPtr &node, SourceRange range) {
  ProgramType type;
  type.scope = ValueScope::Run;
  type.element = ElementType::Index;
  if (node->fn == Fn::None)
    return node->variable != kNone ? indexVars[node->variable].value
                                   : constant(static_cast<double>(node->number), type, range);
  std::vector<ValueId> operands = {materialiseIndex(node->a, range)};
  if (node->b)
    operands.push_back(materialiseIndex(node->b, range));
  if (node->boolean)
    type.element = ElementType::Bool;
  const bool compare = node->fn >= Fn::Eq && node->fn <= Fn::Ge;
  ProgramOp &op = emit(compare ? OpKind::Compare : node->b ? OpKind::Binary : OpKind::Unary, type, operands, range);
  op.fn = node->fn;
  return op.results[0];
}

ValueId Elaborator::materialise(const Val &value, SourceRange range, const ProgramType *expected) {
  ProgramType type;
  type.scope = ValueScope::Run;
  switch (value.kind) {
  case Kind::Runtime:
    return value.ref;
  case Kind::Bool:
    type.element = ElementType::Bool;
    return constant(static_cast<double>(value.integer), type, range);
  case Kind::Int:
  case Kind::Float:
    // A number takes the axes and, where it can, the element type of what it meets.
    if (expected) {
      type.axes = expected->axes;
      if (expected->element <= ElementType::F16 || (value.is(Kind::Int) && expected->element == ElementType::Int))
        type.element = expected->element;
    }
    return constant(value.number(), type, range);
  case Kind::Index:
    return materialiseIndex(value.index, range);
  case Kind::Option: {
    if (program.options[value.ref].kind == OptionKind::Bool)
      type.element = ElementType::Bool;
    ProgramOp &op = emit(OpKind::Option, type, {}, range);
    op.ref = value.ref;
    op.name = program.options[value.ref].name;
    return op.results[0];
  }
  case Kind::Poison:
    return kNone;
  default:
    error(ErrorCode::L0207, range, "expected a value of the model, but got " + describe(value));
    return kNone;
  }
}

ValueId Elaborator::cast(ValueId value, ElementType element, SourceRange range) {
  ProgramType type = typeOf(value);
  if (type.element == element)
    return value;
  type.element = element;
  return emitValue(OpKind::Cast, type, {value}, range);
}

bool Elaborator::toFloat(ValueId &value, SourceRange range) {
  if (value == kNone)
    return false;
  switch (typeOf(value).element) {
  case ElementType::Bool:
    error(ErrorCode::L0207, range, "expected a number, but got a flag")
        .help("write `if c then 1 else 0` to count with a condition");
    return false;
  case ElementType::Int:
  case ElementType::Index:
    value = cast(value, ElementType::F32, range);
    return true;
  default:
    return true;
  }
}

ValueId Elaborator::reshape(ValueId value, std::vector<ProgramAxis> axes, SourceRange range) {
  ProgramType type = typeOf(value);
  if (sameAxes(type.axes, axes))
    return value;
  type.axes = std::move(axes);
  return emitValue(OpKind::Reshape, type, {value}, range);
}

ValueId Elaborator::flatten(ValueId value, SourceRange range) {
  const ProgramType type = typeOf(value);
  if (type.axes.size() == 1)
    return value;
  std::string name = "1";
  for (size_t k = 0; k < type.axes.size(); ++k)
    name = k ? name + "*" + type.axes[k].name : type.axes[k].name;
  return reshape(value, {{name, product(type.axes)}}, range);
}

ValueId Elaborator::broadcast(ValueId value, const std::vector<ProgramAxis> &axes, SourceRange range) {
  ProgramType type = typeOf(value);
  if (sameAxes(type.axes, axes))
    return value;
  std::vector<int64_t> dims;
  size_t from = 0;
  for (const ProgramAxis &axis : type.axes) {
    while (from < axes.size() && axes[from].name != axis.name)
      ++from;
    if (from == axes.size())
      return kNone;
    dims.push_back(static_cast<int64_t>(from++));
  }
  type.axes = axes;
  ProgramOp &op = emit(OpKind::Broadcast, type, {value}, range);
  op.ints = dims;
  return op.results[0];
}

/// Brings two operands to one set of axes (one must contain the other, by name) and one element type.
bool Elaborator::unify(ValueId &a, ValueId &b, SourceRange range, SourceRange aRange, SourceRange bRange) {
  const ProgramType aType = typeOf(a), bType = typeOf(b);
  auto contains = [](const std::vector<ProgramAxis> &big, const std::vector<ProgramAxis> &small) {
    size_t at = 0;
    for (const ProgramAxis &axis : small) {
      while (at < big.size() && !(big[at].name == axis.name && big[at].size == axis.size))
        ++at;
      if (at++ >= big.size())
        return false;
    }
    return true;
  };
  if (contains(aType.axes, bType.axes))
    b = broadcast(b, aType.axes, bRange);
  else if (contains(bType.axes, aType.axes))
    a = broadcast(a, bType.axes, aRange);
  else {
    std::string what = show(aType) + " and " + show(bType);
    Diagnostic &diagnostic = error(ErrorCode::L0204, range, what + ": neither shape contains the other");
    diagnostic.label("operands of one element-wise operation");
    if (!(aRange == range))
      diagnostic.also(aRange, "this has axes " + show(aType));
    if (!(bRange == range))
      diagnostic.also(bRange, "this has axes " + show(bType));
    for (const ProgramAxis &x : aType.axes)
      for (const ProgramAxis &y : bType.axes)
        if (x.name != y.name && x.size == y.size) {
          diagnostic.note(x.name + " and " + y.name + " are both " + std::to_string(x.size) +
                          " here, but an axis is its name");
          goto noted;
        }
  noted:
    diagnostic.help("to rename axes write `reshape(x) -> " + show(aType) + "`; for all products write `outer`");
    return false;
  }
  if (a == kNone || b == kNone)
    return false;
  const ElementType x = typeOf(a).element, y = typeOf(b).element;
  if (x == y)
    return true;
  auto isFloat = [](ElementType e) { return e <= ElementType::F16; };
  if (isFloat(x) && isFloat(y)) {
    // An operation computes in the widest operand type.
    const ElementType wide = x == ElementType::F64 || y == ElementType::F64 ? ElementType::F64 : ElementType::F32;
    a = cast(a, wide, aRange);
    b = cast(b, wide, bRange);
    return true;
  }
  if (x == ElementType::Bool || y == ElementType::Bool) {
    error(ErrorCode::L0207, range, "expected two numbers or two flags, but got a number and a flag");
    return false;
  }
  if (isFloat(x))
    b = cast(b, x, bRange);
  else if (isFloat(y))
    a = cast(a, y, aRange);
  else {
    a = cast(a, ElementType::Int, aRange);
    b = cast(b, ElementType::Int, bRange);
  }
  return true;
}

ValueId Elaborator::deferredValue(const std::string &what, ProgramType type, SourceRange range) {
  ProgramOp &op = emit(OpKind::Deferred, std::move(type), {}, range);
  op.name = what;
  return op.results[0];
}

} // namespace loopc::frontend::sema
