// Training sections: the weights that each line means.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

static std::vector<std::string> segmentsOf(const std::string &text) {
  std::vector<std::string> result;
  std::string current;
  int braces = 0;
  for (char c : text) {
    braces += c == '{' || c == '[';
    braces -= c == '}' || c == ']';
    if (c == '.' && braces == 0) {
      result.push_back(std::move(current));
      current.clear();
    } else if (c == '[' && braces == 1) {
      result.push_back(std::move(current)); // `layers[i]` is the segment `layers` and one index
      current = "{";
    } else if (c == ']' && braces == 0)
      current += "}";
    else if (c != ' ')
      current += c;
  }
  if (!current.empty())
    result.push_back(std::move(current));
  return result;
}

/// One segment: `*` any text, `{i}` an index or a name, otherwise the text itself, with `*` inside.
static bool segmentMatches(const std::string &glob, const std::string &segment) {
  if (glob.empty() || segment.empty())
    return glob.empty() && segment.empty();
  if (glob[0] == '{')
    return true;
  if (segment[0] == '{')
    return glob.find_first_not_of("0123456789*") == std::string::npos;
  size_t g = 0, s = 0, star = std::string::npos, mark = 0;
  while (s < segment.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      mark = s;
    } else if (g < glob.size() && glob[g] == segment[s]) {
      ++g;
      ++s;
    } else if (star != std::string::npos) {
      g = star + 1;
      s = ++mark;
    } else
      return false;
  }
  while (g < glob.size() && glob[g] == '*')
    ++g;
  return g == glob.size();
}

/// A selector names a weight, or what contains it.
static bool globMatches(const std::vector<std::string> &glob, size_t g, const std::vector<std::string> &path, size_t p) {
  if (g == glob.size())
    return true;
  if (glob[g] == "**" || glob[g] == "{*}" || glob[g] == "{rest}") {
    for (size_t k = p; k <= path.size(); ++k)
      if (globMatches(glob, g + 1, path, k))
        return true;
    return false;
  }
  return p < path.size() && segmentMatches(glob[g], path[p]) && globMatches(glob, g + 1, path, p + 1);
}

bool Elaborator::selectorMatches(const std::string &selector, const ProgramWeight &weight, const std::string &) const {
  if (selector == "all" || selector == "rest")
    return true;
  if (selector == "norms")
    return weight.role == WeightRole::Norm;
  if (selector == "biases")
    return weight.role == WeightRole::Bias;
  if (selector == "embeddings")
    return weight.role == WeightRole::Embedding;
  if (selector == "matrices")
    return weight.shape.size() >= 2 && weight.role != WeightRole::Embedding;
  if (selector == "vectors")
    return weight.shape.size() < 2;
  const std::vector<std::string> glob = segmentsOf(selector), path = segmentsOf(weight.path);
  // A short name, such as `lm_head`, may stand for any part of the path.
  for (size_t start = 0; start <= (glob.size() == 1 ? path.size() : 0); ++start)
    if (globMatches(glob, 0, path, start))
      return true;
  return false;
}

/// Whether every word of a selector stands somewhere in the text before `end`.
bool Elaborator::knownSegments(const std::string &selector, uint32_t end) const {
  const std::string_view text = diags.source().text().substr(0, end);
  for (const std::string &segment : segmentsOf(selector)) {
    std::string word;
    for (char c : segment)
      if (c != '*' && c != '{' && c != '}')
        word += c;
    if (segment[0] != '{' && !word.empty() && text.find(word) == std::string_view::npos)
      return false;
  }
  return true;
}

void Elaborator::elaborateTrain(const TrainStmt &stmt) {
  program.trainSections.push_back(stmt.name.text);
  bool optimizes = false;
  std::vector<bool> covered(program.weights.size(), false);
  std::function<void(const Block &)> visit = [&](const Block &block) {
    for (const StmtPtr &child : block.statements) {
      const SelectorSet *set = nullptr;
      if (const auto *optimize = as<OptimizeStmt>(child)) {
        set = &optimize->weights;
        optimizes = true;
      }
      if (const auto *freeze = as<FreezeStmt>(child))
        set = &freeze->weights;
      if (const auto *update = as<UpdateStmt>(child); update && update->body)
        visit(*update->body);
      if (const auto *branch = as<IfStmt>(child)) {
        visit(branch->thenBlock);
        if (branch->elseBlock)
          visit(*branch->elseBlock);
      }
      if (const auto *match = as<MatchStmt>(child))
        for (const MatchArm &arm : match->arms)
          visit(arm.body);
      if (!set)
        continue;
      for (const Selector &selector : set->include) {
        bool any = program.weights.empty();
        for (size_t w = 0; w < program.weights.size(); ++w) {
          if (!selectorMatches(selector.text, program.weights[w], ""))
            continue;
          any = true;
          covered[w] = covered[w] || std::none_of(set->except.begin(), set->except.end(), [&](const Selector &s) {
                         return selectorMatches(s.text, program.weights[w], "");
                       });
        }
        static const std::set<std::string> groups = {"norms", "biases", "embeddings", "matrices", "vectors"};
        // A group or a path may be empty in this configuration; a word that no line of the model contains is a slip of the pen.
        if (!any && !groups.count(selector.text) && !knownSegments(selector.text, stmt.range.begin))
          error(ErrorCode::L0321, selector.range, "no weight of this model matches `" + selector.text + "`")
              .label("no label or weight is called so");
      }
    }
  };
  visit(stmt.body);
  if (!optimizes)
    return;
  for (size_t w = 0; w < program.weights.size(); ++w)
    if (!covered[w]) {
      error(ErrorCode::L0320, stmt.range.begin + 5 <= stmt.range.end ? SourceRange{stmt.range.begin, stmt.range.begin + 5} : stmt.range,
            "no `optimize` line matches `" + program.weights[w].path + "`")
          .also({program.weights[w].loc.begin, program.weights[w].loc.end}, "made here")
          .help("add `optimize all with …` as last line, or `freeze " + program.weights[w].path + "`");
      return;
    }
}

} // namespace loopc::frontend::sema
