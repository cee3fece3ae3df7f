// Weights: paths, tables over indices, which entries exist, ties; and the sites of attention.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

int64_t Elaborator::evaluateIndexNode(const IndexNode &node, const std::vector<int64_t> &values, bool &ok) const {
  if (node.fn == Fn::None)
    return node.variable == kNone ? node.number : values[node.variable];
  const int64_t x = evaluateIndexNode(*node.a, values, ok);
  const int64_t y = node.b ? evaluateIndexNode(*node.b, values, ok) : 0;
  int64_t r = 0;
  switch (node.fn) {
  case Fn::Add:
    ok = ok && !__builtin_add_overflow(x, y, &r);
    return r;
  case Fn::Sub:
    ok = ok && !__builtin_sub_overflow(x, y, &r);
    return r;
  case Fn::Mul:
    ok = ok && !__builtin_mul_overflow(x, y, &r);
    return r;
  case Fn::FloorDiv:
  case Fn::Mod: {
    if (y == 0 || y == -1) {
      ok = ok && y != 0 && x != INT64_MIN;
      return ok ? (node.fn == Fn::Mod ? 0 : -x) : 0;
    }
    int64_t quotient = x / y, rest = x % y;
    if (rest && ((rest < 0) != (y < 0))) {
      --quotient;
      rest += y;
    }
    return node.fn == Fn::Mod ? rest : quotient;
  }
  case Fn::Min:
    return std::min(x, y);
  case Fn::Max:
    return std::max(x, y);
  case Fn::Eq:
    return x == y;
  case Fn::Ne:
    return x != y;
  case Fn::Lt:
    return x < y;
  case Fn::Le:
    return x <= y;
  case Fn::Gt:
    return x > y;
  case Fn::Ge:
    return x >= y;
  case Fn::And:
    return x && y;
  case Fn::Or:
    return x || y;
  case Fn::Not:
    return !x;
  default:
    ok = false;
    return 0;
  }
}

void Elaborator::variablesOf(const IndexNode *node, std::set<uint32_t> &variables) {
  if (!node)
    return;
  if (node->fn == Fn::None && node->variable != kNone)
    variables.insert(node->variable);
  variablesOf(node->a.get(), variables);
  variablesOf(node->b.get(), variables);
}

bool Elaborator::enumerate(const std::set<uint32_t> &variables, SourceRange range,
                           const std::function<bool(const std::vector<int64_t> &)> &visit) {
  constexpr int64_t limit = 1 << 20;
  int64_t count = 1;
  for (uint32_t v : variables) {
    const IndexVar &variable = indexVars[v];
    if (variable.high < 0) {
      error(ErrorCode::L0312, range,
            "one set of weights for each value of `" + variable.name + "`, but the loop has no upper end")
          .label("as many sets as the loop may have iterations")
          .also(variable.range, "`" + variable.name + "` counts this loop")
          .help("give the count's option a range, such as `in 1..16`, or clamp the index: `min(" + variable.name + ", 3)`");
      return false;
    }
    const int64_t extent = std::max<int64_t>(0, variable.high - variable.low);
    if (extent > limit || (count *= std::max<int64_t>(extent, 1)) > limit) {
      error(ErrorCode::L0313, range, "more than a million combinations of indices decide which weights exist here");
      return false;
    }
  }
  std::vector<int64_t> values(indexVars.size(), 0);
  std::vector<uint32_t> order(variables.begin(), variables.end());
  for (uint32_t v : order)
    values[v] = indexVars[v].low;
  for (uint32_t v : order)
    if (indexVars[v].high <= indexVars[v].low)
      return true;
  for (;;) {
    bool ok = true, holds = true;
    for (const IndexPtr &condition : conditions) {
      std::set<uint32_t> used;
      variablesOf(condition.get(), used);
      if (std::includes(variables.begin(), variables.end(), used.begin(), used.end()))
        holds = holds && evaluateIndexNode(*condition, values, ok) && ok;
    }
    if (holds && !visit(values))
      return false;
    size_t k = order.size();
    while (k > 0) {
      const uint32_t v = order[k - 1];
      if (++values[v] < indexVars[v].high)
        break;
      values[v] = indexVars[v].low;
      --k;
    }
    if (k == 0)
      return true;
  }
}

/// true or false if the condition has that value for every value of its indices; nullopt if it depends.
std::optional<bool> Elaborator::alwaysHolds(const IndexPtr &condition, SourceRange range) {
  std::set<uint32_t> variables;
  variablesOf(condition.get(), variables);
  for (uint32_t v : variables)
    if (indexVars[v].high < 0)
      return std::nullopt;
  for (const IndexPtr &outer : conditions) {
    std::set<uint32_t> more;
    variablesOf(outer.get(), more);
    bool finite = std::all_of(more.begin(), more.end(), [&](uint32_t v) { return indexVars[v].high >= 0; });
    if (finite)
      variables.insert(more.begin(), more.end());
  }
  bool seenTrue = false, seenFalse = false;
  if (!enumerate(variables, range, [&](const std::vector<int64_t> &values) {
        bool ok = true;
        const bool holds = evaluateIndexNode(*condition, values, ok) != 0;
        (ok && holds ? seenTrue : seenFalse) = true;
        return true;
      }))
    return std::nullopt;
  if (seenTrue && seenFalse)
    return std::nullopt;
  return seenTrue;
}

std::optional<Elaborator::WeightUse> Elaborator::registerWeight(const std::vector<PathSegment> &segments,
                                                                const std::string &leaf, std::vector<int64_t> shape,
                                                                WeightRole role, SourceRange range) {
  WeightUse use;
  std::vector<PathSegment> full = path;
  full.insert(full.end(), segments.begin(), segments.end());
  std::string pattern;
  for (const PathSegment &segment : full) {
    pattern += (pattern.empty() ? "" : ".") + segment.name;
    for (const IndexPtr &index : segment.indices) {
      pattern += ".{" + std::to_string(use.indices.size()) + "}";
      use.indices.push_back(index);
    }
  }
  if (!leaf.empty())
    pattern += (pattern.empty() ? "" : ".") + leaf;
  int64_t elements = 1;
  for (int64_t size : shape)
    if (size > 0 && __builtin_mul_overflow(elements, size, &elements)) {
      error(ErrorCode::L0206, range, "the weight `" + pattern + "` has more than 2^63 elements");
      return std::nullopt;
    }

  // Every enclosing stack must appear in the path, unless the weights belong to a shared instance.
  std::set<uint32_t> inPath, needed;
  for (const IndexPtr &index : use.indices)
    variablesOf(index.get(), inPath);
  for (size_t v = instanceDepth ? instanceIndexDepth : 0; v < indexVars.size(); ++v) {
      const IndexVar &variable = indexVars[v];
      if (!variable.active || variable.loop || inPath.count(static_cast<uint32_t>(v)))
        continue;
      SourceRange where = range;
      std::string callee, label;
      const CallExpr *outer = nullptr;
      for (const CallFrame &frame : calls)
        if (frame.call && frame.indexDepth > v) {
          outer = frame.call;
          break;
        }
      if (outer) {
        where = outer->callee->range;
        if (outer->label)
          where = where.to(outer->label->range);
      }
      if (!reportedStackCalls.insert({where.begin, static_cast<uint32_t>(v)}).second)
        return std::nullopt;
      std::string made = sourceText(where);
      const size_t at = made.find('@');
      callee = made.substr(0, at);
      label = at == std::string::npos ? (segments.empty() ? callee : segments[0].name) : made.substr(at + 1);
      const std::string count = variable.high < 0 ? "the" : std::to_string(variable.high - variable.low);
      error(ErrorCode::L0310, where, "`" + label + "` is made once but used by all " + count + " layers")
          .label("one set of weights, although `stack` runs over " + variable.name)
          .also(variable.range, "the stack over " + variable.name)
          .help("write `" + callee + "@" + label + "[" + variable.name + "](…)` for one set per layer, or `share " +
                label + " = " + callee + "` above the stack to tie them");
      return std::nullopt;
    }

  for (const IndexPtr &index : use.indices)
    variablesOf(index.get(), needed);
  for (const IndexPtr &condition : conditions)
    variablesOf(condition.get(), needed);
  // A condition over an index without end does not decide existence.
  for (auto it = needed.begin(); it != needed.end();)
    it = indexVars[*it].high < 0 && !inPath.count(*it) ? needed.erase(it) : std::next(it);

  std::set<std::vector<int64_t>> entries;
  std::optional<std::vector<int64_t>> negative;
  if (!enumerate(needed, range, [&](const std::vector<int64_t> &values) {
        std::vector<int64_t> entry;
        bool ok = true;
        for (const IndexPtr &index : use.indices)
          entry.push_back(evaluateIndexNode(*index, values, ok));
        if (!ok || std::any_of(entry.begin(), entry.end(), [](int64_t k) { return k < 0 || k > (1 << 20); })) {
          negative = entry;
          return false;
        }
        entries.insert(std::move(entry));
        return true;
      })) {
    if (negative)
      error(ErrorCode::L0313, range, "an index of `" + pattern + "` leaves the range of weights")
          .label("some enclosing index gives an entry below 0 or beyond 2^20");
    return std::nullopt;
  }

  auto [found, fresh] = weightByPath.try_emplace(pattern, static_cast<uint32_t>(program.weights.size()));
  use.weight = found->second;
  if (fresh) {
    ProgramWeight weight;
    weight.path = pattern;
    weight.shape = shape;
    weight.role = role;
    weight.loc = loc(range);
    for (size_t k = 0; k < use.indices.size(); ++k) {
      WeightTable table;
      std::set<uint32_t> variables;
      variablesOf(use.indices[k].get(), variables);
      for (uint32_t v : variables) {
        table.iteration = table.iteration || indexVars[v].loop;
        table.index += (table.index.empty() ? "" : ",") + indexVars[v].name;
      }
      weight.tables.push_back(table);
    }
    program.weights.push_back(weight);
  }
  ProgramWeight &weight = program.weights[use.weight];
  const SourceRange earlier{weight.loc.begin, weight.loc.end};
  if (weight.shape != shape) {
    auto dims = [](const std::vector<int64_t> &s) {
      std::string text = "[";
      for (int64_t k : s)
        text += (text.size() > 1 ? ", " : "") + std::to_string(k);
      return text + "]";
    };
    error(ErrorCode::L0305, range, "expected " + dims(weight.shape) + " for the weight `" + pattern + "`, but got " + dims(shape))
        .label("one path has one shape")
        .also(earlier, "first made here");
    return std::nullopt;
  }
  // Grow the tables to the new entries.
  std::vector<int64_t> sizes;
  for (size_t k = 0; k < weight.tables.size(); ++k) {
    int64_t size = weight.tables[k].size;
    for (const std::vector<int64_t> &entry : entries)
      size = std::max(size, entry[k] + 1);
    sizes.push_back(size);
  }
  int64_t total = 1;
  for (int64_t size : sizes)
    total *= std::max<int64_t>(size, 0);
  if (total > (1 << 22)) {
    error(ErrorCode::L0313, range, "the weight `" + pattern + "` has more than four million entries");
    return std::nullopt;
  }
  std::vector<bool> present(static_cast<size_t>(total), false);
  auto flat = [&](const std::vector<int64_t> &entry, const std::vector<int64_t> &extent) {
    int64_t at = 0;
    for (size_t k = 0; k < entry.size(); ++k)
      at = at * extent[k] + entry[k];
    return static_cast<size_t>(at);
  };
  std::vector<int64_t> old;
  for (const WeightTable &table : weight.tables)
    old.push_back(table.size);
  for (size_t k = 0; k < weight.present.size(); ++k)
    if (weight.present[k]) {
      std::vector<int64_t> entry(old.size());
      size_t rest = k;
      for (size_t d = old.size(); d-- > 0;) {
        entry[d] = static_cast<int64_t>(rest) % old[d];
        rest /= static_cast<size_t>(old[d]);
      }
      present[flat(entry, sizes)] = true;
    }
  bool twice = false;
  for (const std::vector<int64_t> &entry : entries) {
    twice = twice || present[flat(entry, sizes)];
    present[flat(entry, sizes)] = true;
  }
  for (size_t k = 0; k < sizes.size(); ++k)
    weight.tables[k].size = sizes[k];
  weight.present = std::move(present);
  if (readingAhead)
    aheadWeights.insert(use.weight);
  else if (twice && aheadWeights.erase(use.weight))
    twice = false; // met before, in the condition of an exit
  if (twice && !fresh && !instanceDepth) {
    error(ErrorCode::L0301, range, "two operators make the weight `" + pattern + "`")
        .label("the second")
        .also(earlier, "the first")
        .help("label them differently; to use one set twice, `share` it or write `tied = " + pattern + "`");
    return std::nullopt;
  }
  return use;
}

ValueId Elaborator::param(const WeightUse &use, std::vector<ProgramAxis> axes, SourceRange range) {
  std::vector<ValueId> operands;
  for (const IndexPtr &index : use.indices)
    operands.push_back(materialiseIndex(index, range));
  ProgramType type;
  type.scope = ValueScope::Run;
  type.axes = std::move(axes);
  ProgramOp &op = emit(OpKind::Param, type, std::move(operands), range);
  op.ref = use.weight;
  return op.results[0];
}

static std::string pathText(const Expr *expr) {
  if (const auto *name = as<NameExpr>(expr))
    return name->name;
  if (const auto *field = as<FieldExpr>(expr)) {
    std::string base = pathText(field->base.get());
    return base.empty() ? "" : base + "." + field->field.text;
  }
  if (const auto *index = as<IndexExpr>(expr)) {
    std::string base = pathText(index->base.get());
    for (size_t k = 0; k < index->entries.size() && !base.empty(); ++k)
      base += ".{}";
    return base;
  }
  return "";
}

/// In a loop a weight may be tied to one that is made further down in the body, where the iteration before used it: the
/// statements down to the end are met here for their weights alone.
bool Elaborator::makeAhead() {
  if (loops.empty() || readingAhead || environments.size() != loops.back().environmentDepth ||
      loops.back().continuation >= continuations.size())
    return false;
  const Continuation rest = continuations[loops.back().continuation];
  const LoopContext savedLoop = loops.back();
  const auto savedScopes = environments.back().scopes;
  const auto savedNames = names;
  const auto savedSites = siteNames;
  const size_t draws = program.draws.size(), deferred = program.deferred.size();
  const size_t savedIndexDepth = std::exchange(instanceIndexDepth, indexVars.size());
  ProgramRegion scratch;
  regions.push_back(&scratch);
  ++instanceDepth;
  readingAhead = true;
  for (size_t k = rest.next; k < rest.statements->size(); ++k) {
    const Stmt &stmt = *(*rest.statements)[k];
    if (stmt.kind == StmtKind::Bind || stmt.kind == StmtKind::Stack || stmt.kind == StmtKind::State)
      elaborateStmt(stmt);
  }
  readingAhead = false;
  --instanceDepth;
  regions.pop_back();
  instanceIndexDepth = savedIndexDepth;
  program.draws.resize(draws);
  program.deferred.resize(deferred);
  siteNames = savedSites;
  names = savedNames;
  environments.back().scopes = savedScopes;
  loops.back() = savedLoop;
  return true;
}

/// The weight that `tied = path` names; it must have been made before, or be of this loop's body.
std::optional<Elaborator::WeightUse> Elaborator::tiedWeight(const Expr *expr, const std::vector<int64_t> &shape,
                                                            const char *leaf, SourceRange range) {
  const std::string name = pathText(expr);
  if (name.empty()) {
    error(ErrorCode::L0303, expr->range, "expected the path of a weight after `tied =`, but got `" + sourceText(expr->range) + "`");
    return std::nullopt;
  }
  std::string prefix;
  WeightUse use;
  std::vector<std::string> candidates;
  for (const PathSegment &segment : path) {
    prefix += segment.name + ".";
    for (size_t k = 0; k < segment.indices.size(); ++k)
      prefix += "{}.";
  }
  auto blank = [](const std::string &pattern) {
    std::string result;
    for (size_t k = 0; k < pattern.size(); ++k) {
      result += pattern[k];
      if (pattern[k] == '{')
        while (k + 1 < pattern.size() && pattern[k + 1] != '}')
          ++k;
    }
    return result;
  };
  auto find = [&] {
  for (const std::string &full : {prefix + name, name})
    for (const std::string &tail : {std::string(), "." + std::string(leaf)})
      for (uint32_t w = 0; w < program.weights.size() && use.weight == kNone; ++w)
        if (blank(program.weights[w].path) == full + tail) {
          use.weight = w;
          if (full != name)
            for (const PathSegment &segment : path)
              use.indices.insert(use.indices.end(), segment.indices.begin(), segment.indices.end());
        }
  };
  find();
  if (use.weight == kNone && makeAhead())
    find();
  if (use.weight == kNone) {
    for (const ProgramWeight &weight : program.weights)
      candidates.push_back(weight.path);
    Diagnostic &diagnostic = error(ErrorCode::L0303, expr->range, "no weight `" + name + "` has been made before this line");
    diagnostic.label("not the path of a weight");
    std::string close = nearest(name + "." + leaf, candidates);
    if (!close.empty())
      diagnostic.help("did you mean `" + close + "`?");
    return std::nullopt;
  }
  // Indices written in the path.
  std::vector<const IndexExpr *> written;
  for (const Expr *at = expr; at;) {
    if (const auto *index = as<IndexExpr>(at)) {
      written.push_back(index);
      at = index->base.get();
    } else if (const auto *field = as<FieldExpr>(at))
      at = field->base.get();
    else
      break;
  }
  std::reverse(written.begin(), written.end());
  for (const IndexExpr *index : written)
    for (const IndexEntry &entry : index->entries) {
      Val value = evaluate(entry.value.get());
      IndexPtr node = asIndex(value);
      if (!node || node->boolean)
        return std::nullopt;
      use.indices.push_back(node);
    }
  const ProgramWeight &weight = program.weights[use.weight];
  if (use.indices.size() != weight.tables.size()) {
    error(ErrorCode::L0303, expr->range,
          "`" + weight.path + "` varies over " + std::to_string(weight.tables.size()) + " indices, but " +
              std::to_string(use.indices.size()) + " are given");
    return std::nullopt;
  }
  if (weight.shape != shape) {
    auto dims = [](const std::vector<int64_t> &s) {
      std::string text = "[";
      for (int64_t k : s)
        text += (text.size() > 1 ? ", " : "") + std::to_string(k);
      return text + "]";
    };
    error(ErrorCode::L0306, range, "expected a weight of shape " + dims(shape) + ", but `" + weight.path + "` has " + dims(weight.shape))
        .label("tied to `" + weight.path + "`")
        .also({weight.loc.begin, weight.loc.end}, "made here");
    return std::nullopt;
  }
  return use;
}

uint32_t Elaborator::addSite(ProgramSite site, std::vector<ValueId> &indices, SourceRange range) {
  std::string name;
  for (const PathSegment &segment : path)
    name += (name.empty() ? "" : ".") + segment.name;
  if (name.empty())
    name = "attend";
  const int count = ++siteNames[name];
  if (count > 1)
    name += "." + std::to_string(count);
  site.path = name;
  // What a site leaves behind belongs to the call site: one set for each value of every enclosing stack's index, and of
  // an inner loop's. The iterations of a loop that is in nothing are the planes. Where nothing is kept there is one set a
  // layer.
  const bool kept = loops.empty() || program.loops[loops.front().loop].kv.map != "recompute";
  bool outermost = true;
  for (uint32_t v = 0; v < indexVars.size(); ++v) {
    const IndexVar &variable = indexVars[v];
    if (!variable.active)
      continue;
    const bool planes = std::exchange(outermost, false);
    if (variable.loop && (!kept || planes))
      continue;
    if (variable.high < 0) {
      defer("attention in an inner loop whose count has no upper end", range);
      continue;
    }
    site.tables.push_back({variable.name, variable.high - variable.low, false});
    ProgramType type;
    type.element = ElementType::Index;
    type.scope = ValueScope::Run;
    ValueId index = variable.value;
    if (variable.low) {
      ValueId low = constant(static_cast<double>(variable.low), type, range);
      ProgramOp &op = emit(OpKind::Binary, type, {index, low}, range);
      op.fn = Fn::Sub;
      index = op.results[0];
    }
    indices.push_back(index);
  }
  for (uint32_t known = 0; known < program.sites.size(); ++known)
    if (program.sites[known].path == site.path)
      return known; // met before, in the condition of an exit
  site.loc = loc(range);
  program.sites.push_back(std::move(site));
  return static_cast<uint32_t>(program.sites.size() - 1);
}

} // namespace loopc::frontend::sema
