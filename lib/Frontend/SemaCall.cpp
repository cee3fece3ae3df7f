// Calls: functions inlined, shared instances, labels, and who may take the name of a binding.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"
#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend::sema {

//===----------------------------------------------------------------------===//
// Which calls make weights: decided by the text alone, so that names do not depend on the configuration
//===----------------------------------------------------------------------===//

bool Elaborator::makesWeights(const CallExpr &call) {
  const auto *callee = as<NameExpr>(call.callee);
  if (!callee || shares.count(callee->name))
    return false;
  if (auto fn = functions.find(callee->name); fn != functions.end())
    return !fn->second->shared && makesWeights(*fn->second);
  if (!isWeightMaker(callee->name))
    return false;
  return std::none_of(call.args.begin(), call.args.end(), [](const Argument &a) { return a.name.text == "tied"; });
}

bool Elaborator::makesWeights(const FnStmt &fn) {
  auto [entry, fresh] = weightMaking.try_emplace(&fn, -1);
  if (!fresh)
    return entry->second > 0;
  const bool result = containsWeights(fn.body);
  weightMaking[&fn] = result;
  return result;
}

namespace {
template <class... F> struct Overloaded : F... {
  using F::operator()...;
};
template <class... F> Overloaded(F...) -> Overloaded<F...>;
} // namespace

bool Elaborator::containsWeights(const Block &block) {
  return std::any_of(block.statements.begin(), block.statements.end(),
                     [&](const StmtPtr &stmt) { return containsWeights(*stmt); });
}

bool Elaborator::containsWeights(const Stmt &stmt) {
  if (stmt.kind == StmtKind::Weight)
    return true;
  bool found = false;
  forEachChild(stmt, Overloaded{[&](const Expr &child) { found = found || containsWeights(&child); },
                                [&](const Stmt &child) { found = found || containsWeights(child); }});
  return found;
}

bool Elaborator::containsWeights(const Expr *expr) {
  if (!expr)
    return false;
  if (const auto *call = as<CallExpr>(expr); call && makesWeights(*call))
    return true;
  bool found = false;
  forEachChild(*expr, Overloaded{[&](const Expr &child) { found = found || containsWeights(&child); },
                                 [&](const Stmt &child) { found = found || containsWeights(child); }});
  return found;
}

void Elaborator::countWeightCalls(const Expr *expr, std::vector<const CallExpr *> &calls) {
  if (!expr)
    return;
  if (const auto *call = as<CallExpr>(expr); call && makesWeights(*call))
    calls.push_back(call);
  forEachChild(*expr, Overloaded{[&](const Expr &child) { countWeightCalls(&child, calls); }, [](const Stmt &) {}});
}

/// `name` is the new name that the statement binds, or empty. Only a call that is alone may take it.
NameContext Elaborator::nameContext(const std::string &name, const Expr *expr) {
  NameContext context;
  std::vector<const CallExpr *> found;
  countWeightCalls(expr, found);
  if (found.size() == 1 && !name.empty()) {
    context.name = name;
    context.sole = found[0];
  }
  return context;
}

/// Whether the expression names the index of a stack that is written out.
bool Elaborator::countsUnrolled(const Expr &expr) {
  const auto *name = as<NameExpr>(&expr);
  Binding *bound = name ? lookup(name->name) : nullptr;
  bool found = bound && bound->role == NameRole::Index && bound->value.is(Kind::Int);
  forEachChild(expr, [&](const auto &child) {
    if constexpr (std::is_base_of_v<Expr, std::decay_t<decltype(child)>>)
      found = found || countsUnrolled(child);
  });
  return found;
}

std::optional<std::vector<PathSegment>> Elaborator::labelSegments(const Label &label) {
  std::vector<PathSegment> segments;
  if (label.self)
    return segments;
  for (const LabelSegment &segment : label.segments) {
    PathSegment made;
    made.name = segment.name.text;
    for (const ExprPtr &index : segment.indices) {
      Val value = evaluate(index.get());
      if (value.poison())
        return std::nullopt;
      IndexPtr node = asIndex(value);
      if (!node || node->boolean) {
        error(ErrorCode::L0314, index->range,
              "expected an index of an enclosing `stack` or `loop`, but got " + describe(value))
            .label("decides which weights are used")
            .help("indices in a label are integer arithmetic over stack and loop indices and `config`");
        return std::nullopt;
      }
      if (value.is(Kind::Int) && countsUnrolled(*index)) // copies may differ in shape: each is a weight of its own
        made.name += "." + std::to_string(value.integer);
      else
        made.indices.push_back(node);
    }
    segments.push_back(std::move(made));
  }
  return segments;
}

/// The path segments that a call adds: its label, or the name that it alone is bound to.
std::optional<std::vector<PathSegment>> Elaborator::callSegments(const CallExpr &call) {
  if (call.label)
    return labelSegments(*call.label);
  if (!makesWeights(call))
    return std::vector<PathSegment>();
  if (!names.empty() && names.back().sole == &call)
    return std::vector<PathSegment>{{names.back().name, {}}};
  const std::string callee = as<NameExpr>(call.callee) ? as<NameExpr>(call.callee)->name : "the call";
  Diagnostic &diagnostic = error(ErrorCode::L0302, call.callee->range, "`" + callee + "` makes weights here, but they have no name");
  diagnostic.label("no label, and no new name that it alone is bound to");
  diagnostic.help("label it: `" + callee + "@name(…)`; labels become the names in checkpoints, `@self` adds none");
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

Val Elaborator::evaluateCall(const CallExpr &call, const ProgramType *expected) {
  if (const auto *element = as<IndexExpr>(call.callee)) {
    const auto *name = as<NameExpr>(element->base);
    auto share = name ? shares.find(name->name) : shares.end();
    if (share == shares.end()) {
      error(ErrorCode::L0211, call.callee->range, "expected a function or a shared instance before `(`")
          .help("indices of weights are written in the label: `layer@layers[i](x)`");
      return {};
    }
    return callShared(*share->second, call, &element->entries);
  }
  const auto *callee = as<NameExpr>(call.callee);
  if (!callee) {
    if (!configMode)
      defer("the call `" + sourceText(call.callee->range) + "(…)`", call.range);
    return {};
  }
  if (configMode && functions.count(callee->name)) {
    error(ErrorCode::L0703, call.range, "`config` and `options` are made of numbers; functions cannot be called there");
    return {};
  }
  if (auto share = shares.find(callee->name); share != shares.end())
    return callShared(*share->second, call, nullptr);
  if (auto fn = functions.find(callee->name); fn != functions.end()) {
    if (fn->second->shared) {
      if (call.label) {
        error(ErrorCode::L0304, call.label->range, "`" + callee->name + "` is one shared instance and cannot be labelled");
        return {};
      }
      return callFunction(*fn->second, call, {{callee->name, {}}}, true);
    }
    std::optional<std::vector<PathSegment>> segments = callSegments(call);
    if (!segments)
      return {};
    Val result = callFunction(*fn->second, call, *segments, false);
    return result.poison() && fn->second->axes.empty() ? recovered(fn->second->results) : result;
  }
  return callBuiltin(callee->name, call, expected);
}

bool Elaborator::bindParameter(const FnStmt &fn, const Parameter &parameter, const Val &argument, SourceRange range,
                               Environment &environment) {
  const std::string &name = parameter.name.text;
  Binding binding{argument, NameRole::Parameter, parameter.name.range};
  auto mismatch = [&](const std::string &expected) {
    error(ErrorCode::L0205, range, "expected " + expected + " for `" + name + "`, but got " + describe(argument))
        .label("argument of `" + fn.name.text + "`")
        .also(parameter.name.range, "declared here");
    return false;
  };
  if (!parameter.type) {
    environment.scopes.back()[name] = binding;
    return true;
  }
  const TypeSyntax &type = *parameter.type;
  if (type.form == TypeSyntax::Form::Word) {
    const std::string &word = type.word.text;
    if (word == "axis") {
      std::optional<ProgramAxis> axis = axisOf(argument, range);
      if (!axis)
        return false;
      environment.axes[name] = *axis;
      return true;
    }
    if (word == "index" && !argument.is(Kind::Int) && !argument.is(Kind::Index) && !argument.poison())
      return mismatch("an index");
    if ((word == "int" || word == "float") && (argument.is(Kind::None) || argument.is(Kind::Word)) && !type.optional)
      return mismatch("a number");
    environment.scopes.back()[name] = binding;
    return true;
  }
  if (type.form != TypeSyntax::Form::Shape) {
    if (type.form == TypeSyntax::Form::Carry) {
      environment.scopes.back()[name] = {argument, NameRole::Carry, parameter.name.range};
      return true;
    }
    environment.scopes.back()[name] = binding;
    return true;
  }
  if (argument.poison()) {
    environment.scopes.back()[name] = binding;
    return true;
  }
  ValueId value = materialise(argument, range);
  if (value == kNone)
    return false;
  if (typeOf(value).element == ElementType::Index)
    value = cast(value, ElementType::F32, range);
  const std::vector<ProgramAxis> actual = typeOf(value).axes;
  // Match the declared dimensions from left to right; axis parameters that are still free take the argument's axes.
  size_t at = 0;
  for (size_t k = 0; k < type.dims.size(); ++k) {
    const Expr *dim = type.dims[k].get();
    std::string word;
    if (const auto *plain = as<NameExpr>(dim))
      word = plain->name;
    if (const auto *pack = as<PackExpr>(dim))
      word = pack->name;
    const auto parameterOf = std::find_if(fn.axes.begin(), fn.axes.end(),
                                          [&](const AxisParameter &a) { return a.name.text == word; });
    if (!word.empty() && parameterOf != fn.axes.end()) {
      if (parameterOf->pack || as<PackExpr>(dim)) {
        const size_t rest = type.dims.size() - k - 1;
        if (actual.size() < at + rest)
          return mismatch("at least " + std::to_string(at + rest) + " axes");
        std::vector<ProgramAxis> taken(actual.begin() + static_cast<std::ptrdiff_t>(at),
                                       actual.end() - static_cast<std::ptrdiff_t>(rest));
        at = actual.size() - rest;
        auto [pack, fresh] = environment.packs.try_emplace(word, taken);
        if (!fresh && !sameAxes(pack->second, taken))
          return mismatch(show(pack->second));
        continue;
      }
      if (at >= actual.size())
        return mismatch("one axis more");
      auto [axis, fresh] = environment.axes.try_emplace(word, actual[at]);
      if (!fresh && (axis->second.name != actual[at].name || axis->second.size != actual[at].size))
        return mismatch("the axis " + axis->second.name + " (already bound to `" + word + "`)");
      ++at;
      continue;
    }
    if (as<RaggedExpr>(dim)) {
      ++at;
      continue;
    }
    environments.push_back(std::move(environment));
    std::optional<ProgramAxis> wanted = axisOf(evaluate(dim), dim->range);
    environment = std::move(environments.back());
    environments.pop_back();
    if (!wanted)
      return false;
    if (at >= actual.size() || actual[at].name != wanted->name || actual[at].size != wanted->size) {
      Diagnostic &diagnostic =
          error(ErrorCode::L0205, range,
                "expected `" + sourceText(type.range) + "` for `" + name + "`, but got " + show(actual));
      diagnostic.label("argument of `" + fn.name.text + "`").also(parameter.type->range, "declared here");
      if (at < actual.size() && actual[at].size == wanted->size)
        diagnostic.note(actual[at].name + " and " + wanted->name + " are both " + std::to_string(wanted->size) +
                        " here, but an axis is its name")
            .help("if they are meant to be the same write `reshape(x) -> " + sourceText(type.range) + "`");
      return false;
    }
    ++at;
  }
  if (at != actual.size())
    return mismatch("`" + sourceText(type.range) + "`");
  binding.value = Val::ofRuntime(value);
  environment.scopes.back()[name] = binding;
  return true;
}

Val Elaborator::callFunction(const FnStmt &fn, const CallExpr &call, const std::vector<PathSegment> &segments,
                             bool instance) {
  DepthGuard guard(*this, call.range);
  if (!guard.ok)
    return {};
  if (std::find(inlining.begin(), inlining.end(), &fn) != inlining.end()) {
    error(ErrorCode::L0212, call.range, "`" + fn.name.text + "` calls itself")
        .help("repetition is written with `loop` or `stack`");
    return {};
  }
  // Arguments, in the caller's scope. A weight made in an argument belongs to the caller's statement.
  std::vector<std::pair<const Parameter *, std::pair<Val, SourceRange>>> bound;
  std::set<std::string> given;
  size_t next = 0;
  bool failed = false;
  for (const Argument &argument : call.args) {
    const Parameter *parameter = nullptr;
    if (argument.name.empty()) {
      if (next < fn.params.size())
        parameter = &fn.params[next++];
    } else {
      for (const Parameter &candidate : fn.params)
        if (candidate.name.text == argument.name.text)
          parameter = &candidate;
    }
    Val value = evaluate(argument.value.get());
    if (!parameter || !given.insert(parameter->name.text).second) {
      error(ErrorCode::L0203, argument.value->range,
            argument.name.empty() ? "`" + fn.name.text + "` takes " + std::to_string(fn.params.size()) +
                                        " arguments, but got " + std::to_string(call.args.size())
            : parameter ? "`" + argument.name.text + "` is given twice"
                        : "`" + fn.name.text + "` has no parameter `" + argument.name.text + "`")
          .also(fn.name.range, "declared here");
      failed = true;
      continue;
    }
    bound.push_back({parameter, {value, argument.value->range}});
  }
  if (failed)
    return {};
  Environment environment;
  environment.scopes.emplace_back();
  for (const Parameter &parameter : fn.params) {
    if (given.count(parameter.name.text))
      continue;
    if (!parameter.value) {
      error(ErrorCode::L0203, call.argsRange, "`" + fn.name.text + "` needs an argument for `" + parameter.name.text + "`")
          .also(parameter.name.range, "declared here");
      return {};
    }
    bound.push_back({&parameter, {evaluate(parameter.value.get()), parameter.value->range}});
  }
  for (const auto &[parameter, argument] : bound)
    if (argument.first.poison())
      return {}; // a message was given
  // Plain integers and axes first: shapes may be written with them.
  for (bool shapes : {false, true})
    for (auto &[parameter, argument] : bound) {
      const bool isShape = parameter->type && parameter->type->form == TypeSyntax::Form::Shape;
      if (isShape == shapes &&
          !bindParameter(fn, *parameter, argument.first, argument.second, environment))
        return {};
    }
  // Axes that only the results name are given by the `->` of the call.
  if (!call.results.empty() && call.results.size() == fn.results.size())
    for (size_t r = 0; r < call.results.size(); ++r) {
      std::optional<ProgramType> given = resolveType(call.results[r]);
      if (!given)
        return {};
      const auto &dims = fn.results[r].dims;
      for (size_t k = 0; k < dims.size(); ++k) {
        const auto *name = as<NameExpr>(dims[k]);
        const auto *pack = as<PackExpr>(dims[k]);
        for (const AxisParameter &axis : fn.axes) {
          if (pack && axis.name.text == pack->name && k + 1 == dims.size())
            environment.packs.try_emplace(pack->name,
                                          std::vector<ProgramAxis>(given->axes.begin() + std::min(k, given->axes.size()),
                                                                   given->axes.end()));
          else if (name && axis.name.text == name->name && axis.pack && k + 1 == dims.size())
            environment.packs.try_emplace(name->name,
                                          std::vector<ProgramAxis>(given->axes.begin() + std::min(k, given->axes.size()),
                                                                   given->axes.end()));
          else if (name && axis.name.text == name->name && k < given->axes.size())
            environment.axes.try_emplace(name->name, given->axes[k]);
        }
      }
    }
  for (const AxisParameter &axis : fn.axes)
    if (!environment.axes.count(axis.name.text) && !environment.packs.count(axis.name.text)) {
      error(ErrorCode::L0206, call.range, "the axis parameter `" + axis.name.text + "` of `" + fn.name.text + "` is not fixed by this call")
          .help("say the result's axes: `" + fn.name.text + "(…) -> [axis]`");
      return {};
    }

  std::vector<PathSegment> saved = path;
  const size_t savedIndexDepth = instanceIndexDepth;
  if (instance) {
    path = segments;
    ++instanceDepth;
    instanceIndexDepth = indexVars.size();
  } else
    path.insert(path.end(), segments.begin(), segments.end());
  inlining.push_back(&fn);
  calls.push_back({&call, indexVars.size()});
  names.push_back({});
  environments.push_back(std::move(environment));
  std::optional<ProgramType> expected;
  if (fn.results.size() == 1 && fn.results[0].form == TypeSyntax::Form::Shape)
    expected = resolveType(fn.results[0]);
  Val result = evaluateBlock(fn.body, expected ? &*expected : nullptr);
  // Declared results.
  if (!fn.results.empty() && !result.poison()) {
    std::vector<Val> values = result.is(Kind::Tuple) ? result.elements : std::vector<Val>{result};
    std::vector<const TypeSyntax *> declared;
    for (const TypeSyntax &type : fn.results)
      declared.push_back(&type);
    if (declared.size() != values.size()) {
      error(ErrorCode::L0205, fn.name.range,
            "`" + fn.name.text + "` declares " + std::to_string(declared.size()) + " results, but its body gives " +
                std::to_string(values.size()));
      result = {};
    } else
      for (size_t k = 0; k < values.size() && !result.poison(); ++k) {
        std::optional<ProgramType> type = resolveType(*declared[k]);
        if (!type || values[k].poison()) {
          result = {};
          break;
        }
        const SourceRange where = fn.body.statements.empty() ? fn.range : fn.body.statements.back()->range;
        ValueId value = materialise(values[k], where);
        if (value == kNone) {
          result = {};
          break;
        }
        if (!sameAxes(typeOf(value).axes, type->axes)) {
          error(ErrorCode::L0205, where,
                "expected `" + show(*type) + "` as the result of `" + fn.name.text + "`, but got " + show(typeOf(value)))
              .also(declared[k]->range, "declared here");
          result = {};
          break;
        }
        (result.is(Kind::Tuple) ? result.elements[k] : result) = Val::ofRuntime(value);
      }
  }
  environments.pop_back();
  names.pop_back();
  calls.pop_back();
  inlining.pop_back();
  path = std::move(saved);
  if (instance) {
    --instanceDepth;
    instanceIndexDepth = savedIndexDepth;
  }
  return result;
}

Val Elaborator::callShared(const ShareStmt &share, const CallExpr &call, const std::vector<IndexEntry> *entries) {
  if (call.label) {
    error(ErrorCode::L0304, call.label->range, "`" + share.name.text + "` is one shared instance and cannot be labelled")
        .also(share.name.range, "its weights are named here");
    return {};
  }
  PathSegment segment{share.name.text, {}};
  const size_t given = entries ? entries->size() : 0;
  if (given != share.counts.size()) {
    error(ErrorCode::L0203, call.callee->range,
          "expected " + std::to_string(share.counts.size()) + " indices for `" + share.name.text + "`, but got " +
              std::to_string(given))
        .also(share.name.range, "declared here");
    return {};
  }
  for (size_t k = 0; k < given; ++k) {
    Val value = evaluate((*entries)[k].value.get());
    if (value.poison())
      return {};
    IndexPtr node = asIndex(value);
    if (!node || node->boolean) {
      error(ErrorCode::L0314, (*entries)[k].value->range, "expected an index, but got " + describe(value));
      return {};
    }
    segment.indices.push_back(node);
  }
  const Expr *target = share.target.get();
  const CallExpr *statics = as<CallExpr>(target);
  const auto *name = as<NameExpr>(statics ? statics->callee.get() : target);
  // A choice of config: `share f = if c then a else b`.
  while (target && !name) {
    if (const auto *choice = as<IfExpr>(target)) {
      Val condition = evaluate(choice->condition.get());
      if (!condition.is(Kind::Bool))
        return {};
      target = condition.integer ? choice->thenValue.get() : choice->elseValue.get();
      statics = as<CallExpr>(target);
      name = as<NameExpr>(statics ? statics->callee.get() : target);
      continue;
    }
    break;
  }
  if (!name) {
    error(ErrorCode::L0211, share.target->range, "expected a function after `share " + share.name.text + " =`");
    return {};
  }
  std::vector<PathSegment> segments = {segment};
  if (auto fn = functions.find(name->name); fn != functions.end()) {
    if (statics && !statics->args.empty()) {
      error(ErrorCode::L0203, statics->range, "a shared function takes its arguments where it is called")
          .help("write `share " + share.name.text + " = " + name->name + "`");
      return {};
    }
    return callFunction(*fn->second, call, segments, true);
  }
  return callBuiltin(name->name, call, nullptr, &segments, statics);
}

} // namespace loopc::frontend::sema
