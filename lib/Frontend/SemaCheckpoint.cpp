// Checkpoint sections: which published tensor holds which entry of which weight.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every entry of every weight is a concrete path (`layers.3.attn.q.weight`). A line `"published" = pattern` applies to
// the paths that its right side matches; the captures build the published name. The first line that applies wins; a
// path that no line matches keeps itself as its name.

#include "Elaborator.h"

#include <algorithm>

namespace loopc::frontend::sema {

namespace {

/// A pattern cut at its braces: text and holes in turn.
struct Piece {
  bool hole = false;
  std::string text; ///< of a hole: what stands inside the braces
};

std::vector<Piece> pieces(const std::string &pattern) {
  std::vector<Piece> result;
  std::string current;
  for (size_t k = 0; k < pattern.size(); ++k) {
    const size_t end = pattern[k] == '{' ? pattern.find('}', k) : std::string::npos;
    if (end == std::string::npos) {
      current += pattern[k];
      continue;
    }
    result.push_back({false, std::move(current)});
    current.clear();
    result.push_back({true, pattern.substr(k + 1, end - k - 1)});
    k = end;
  }
  result.push_back({false, std::move(current)});
  return result;
}

using Captures = std::map<std::string, std::string>;
using Constants = std::function<std::optional<int64_t>(const std::string &)>;

/// A sum of products of names and numbers, as in `P + R + i` or `t * K + j`; names that are no constants are captures.
struct Sum {
  int64_t constant = 0;
  std::vector<std::pair<std::string, int64_t>> captures; ///< with the factor of each
  bool bad = false;
};

Sum parseSum(const std::string &text, const Constants &constants) {
  Sum sum;
  int64_t factor = 1;
  std::string capture;
  bool open = false, joined = true; // a term has begun; the next name or number belongs to it
  auto close = [&] {
    sum.bad |= joined;
    if (capture.empty())
      sum.constant += factor;
    else
      sum.captures.push_back({capture, factor});
    capture.clear();
    open = false;
    joined = true;
  };
  for (size_t k = 0; k < text.size() && !sum.bad;) {
    const char c = text[k];
    if (c == ' ') {
      ++k;
    } else if (c == '*') {
      sum.bad |= joined;
      joined = true;
      ++k;
    } else if (c == '+' || c == '-') {
      if (open)
        close();
      factor = c == '-' ? -1 : 1;
      ++k;
    } else {
      size_t end = k;
      while (end < text.size() && (isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_'))
        ++end;
      const std::string word = text.substr(k, end - k);
      sum.bad |= word.empty() || word.size() > 200 || !joined;
      if (sum.bad)
        break;
      if (isdigit(static_cast<unsigned char>(word[0]))) {
        sum.bad |= word.size() > 9;
        factor *= sum.bad ? 1 : std::stoll(word);
      } else if (std::optional<int64_t> value = constants(word)) {
        factor *= *value;
      } else {
        sum.bad |= !capture.empty();
        capture = word;
      }
      open = true;
      joined = false;
      k = end;
    }
  }
  close();
  return sum;
}

bool number(const std::string &text, int64_t &value) {
  if (text.empty() || text.size() > 12 || text.find_first_not_of("0123456789") != std::string::npos)
    return false;
  value = std::stoll(text);
  return true;
}

/// Matches `path` against a pattern. A plain hole takes one segment's text without dots, `{rest}` and `{*}` take any
/// text; a hole with arithmetic takes a number and solves for its capture.
bool match(const std::vector<Piece> &pattern, size_t at, const std::string &path, size_t from, Captures &captures, const Constants &constants,
           unsigned &budget) {
  if (budget == 0)
    return false;
  --budget;
  if (at == pattern.size())
    return from == path.size();
  if (!pattern[at].hole)
    return path.compare(from, pattern[at].text.size(), pattern[at].text) == 0 &&
           match(pattern, at + 1, path, from + pattern[at].text.size(), captures, constants, budget);
  const std::string &name = pattern[at].text;
  const bool many = name == "rest" || name == "*";
  for (size_t end = from; end <= path.size(); ++end) {
    if (end > from && !many && path[end - 1] == '.')
      break;
    const std::string taken = path.substr(from, end - from);
    if (taken.empty() && !many)
      continue;
    Sum sum = parseSum(name, constants);
    const bool plain = sum.captures.size() == 1 && name == sum.captures[0].first;
    Captures saved = captures;
    bool fits = false;
    if (plain || many) {
      auto [entry, fresh] = captures.try_emplace(name, taken);
      fits = fresh || entry->second == taken;
    } else if (int64_t value = 0; !sum.bad && number(taken, value)) {
      value -= sum.constant;
      if (sum.captures.empty())
        fits = value == 0;
      else if (const auto &[capture, factor] = sum.captures[0]; sum.captures.size() == 1 && factor && value % factor == 0 && value / factor >= 0) {
        auto [entry, fresh] = captures.try_emplace(capture, std::to_string(value / factor));
        fits = fresh || entry->second == std::to_string(value / factor);
      }
    }
    if (fits && match(pattern, at + 1, path, end, captures, constants, budget))
      return true;
    captures = std::move(saved);
  }
  return false;
}

std::optional<std::string> fill(const std::vector<Piece> &pattern, const Captures &captures, const Constants &constants) {
  std::string result;
  for (const Piece &piece : pattern) {
    if (!piece.hole) {
      result += piece.text;
      continue;
    }
    if (auto found = captures.find(piece.text); found != captures.end()) {
      result += found->second;
      continue;
    }
    const Sum sum = parseSum(piece.text, constants);
    if (sum.bad)
      return std::nullopt;
    int64_t value = sum.constant;
    for (const auto &[capture, factor] : sum.captures) {
      int64_t one = 0;
      auto found = captures.find(capture);
      if (found == captures.end() || !number(found->second, one))
        return std::nullopt;
      value += factor * one;
    }
    result += std::to_string(value);
  }
  return result;
}

std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

struct Line {
  std::vector<Piece> published, target;
  RowOrder rows = RowOrder::Same;
  int64_t rowBlock = 0;
  bool optional = false;
  const CheckpointEntryStmt *stmt = nullptr;
};

} // namespace

/// The path of one entry: the pattern with its indices filled in.
static std::string entryPath(const ProgramWeight &weight, int64_t entry) {
  std::vector<int64_t> index(weight.tables.size());
  for (size_t k = index.size(); k-- > 0;) {
    index[k] = entry % weight.tables[k].size;
    entry /= weight.tables[k].size;
  }
  std::string result = weight.path;
  for (size_t k = 0; k < index.size(); ++k)
    result = replaceAll(result, "{" + std::to_string(k) + "}", std::to_string(index[k]));
  return result;
}

void Elaborator::buildCheckpoints() {
  // The published form is the first section without a name, or named after the format of the published file.
  const CheckpointStmt *published = nullptr;
  for (const CheckpointStmt *section : checkpointSections)
    if (!section->name || *section->name == "published" || *section->name == "huggingface") {
      if (published)
        error(ErrorCode::L0330, section->range, "two checkpoint sections describe the published form").also(published->range, "the first");
      published = section;
    }
  CheckpointMap map;
  buildCheckpoint(published, map);
  program.checkpoints.push_back(std::move(map));
  for (const CheckpointStmt *section : checkpointSections) {
    if (section == published || !section->name)
      continue;
    CheckpointMap other;
    other.format = *section->name;
    buildCheckpoint(section, other);
    program.checkpoints.push_back(std::move(other));
  }
}

void Elaborator::buildCheckpoint(const CheckpointStmt *stmt, CheckpointMap &map) {
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  configMode = true;
  const Constants constants = [&](const std::string &name) -> std::optional<int64_t> {
    auto slot = slots.find(name);
    if (slot == slots.end() || !slot->second.value.is(Kind::Int))
      return std::nullopt;
    return slot->second.value.integer;
  };
  std::vector<Line> lines;
  std::string prefix;
  bool prefixOptional = false;
  if (stmt) {
    map.identity = false;
    for (const StmtPtr &child : stmt->body.statements) {
      const auto *entry = as<CheckpointEntryStmt>(child);
      if (!entry)
        continue;
      if (entry->when) {
        Val condition = evaluate(entry->when.get());
        if (!condition.is(Kind::Bool)) {
          if (!condition.poison())
            error(ErrorCode::L0207, entry->when->range, "expected a condition known when compiled, but got " + describe(condition));
          continue;
        }
        if (!condition.integer)
          continue;
      }
      using Form = CheckpointEntryStmt::Form;
      if (entry->form == Form::Prefix) {
        prefix = entry->published;
        prefixOptional = entry->optional;
        continue;
      }
      if (entry->form == Form::Ignored || entry->form == Form::Unused || entry->form == Form::Recomputed || entry->form == Form::Duplicates) {
        CheckpointIgnored ignored;
        ignored.pattern = entry->published;
        ignored.recomputed = entry->form == Form::Recomputed;
        if (entry->shape) {
          std::vector<ProgramAxis> axes;
          if (!resolveDims(entry->shape->dims, axes))
            continue;
          ignored.shape.emplace();
          for (const ProgramAxis &axis : axes)
            ignored.shape->push_back(axis.size);
        }
        map.ignored.push_back(std::move(ignored));
        continue;
      }
      Line line;
      line.stmt = entry;
      line.optional = entry->optional;
      if (entry->rows) {
        const auto *call = as<CallExpr>(entry->rows);
        const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
        if (!callee || callee->name != "adjacent_pairs" || call->args.size() != 1) {
          error(ErrorCode::L0331, entry->rows->range, "expected `rows adjacent_pairs(head size)`, but got `rows " + sourceText(entry->rows->range) + "`");
          continue;
        }
        std::optional<int64_t> block = compileTimeInt(call->args[0].value.get(), "a head size");
        if (!block)
          continue;
        if (*block < 2 || *block % 2) {
          error(ErrorCode::L0331, entry->rows->range, "expected an even head size, but got " + std::to_string(*block));
          continue;
        }
        line.rows = RowOrder::AdjacentPairs;
        line.rowBlock = *block;
      }
      // `for w in [q, k]` writes the line once for each word.
      std::vector<std::pair<std::string, std::string>> texts = {{entry->published, entry->target ? entry->target->text : ""}};
      for (const auto &[variable, values] : entry->variables) {
        const auto *list = as<ListExpr>(values);
        if (!list) {
          error(ErrorCode::L0331, values->range, "expected a list of words, but got `" + sourceText(values->range) + "`");
          texts.clear();
          break;
        }
        std::vector<std::pair<std::string, std::string>> expanded;
        for (const auto &[left, right] : texts)
          for (const ExprPtr &word : list->elements)
            expanded.push_back({replaceAll(left, "{" + variable.text + "}", sourceText(word->range)),
                                replaceAll(right, "{" + variable.text + "}", sourceText(word->range))});
        texts = std::move(expanded);
      }
      for (const auto &[left, right] : texts) {
        std::string target;
        for (char c : right)
          if (c != ' ' || target.find('{') != std::string::npos)
            target += c == '[' ? '.' : c;
        target = replaceAll(target, "]", "");
        line.published = pieces(left);
        line.target = pieces(target);
        lines.push_back(line);
      }
    }
  }
  std::map<std::string, std::pair<uint32_t, int64_t>> names;
  for (uint32_t w = 0; w < program.weights.size(); ++w) {
    const ProgramWeight &weight = program.weights[w];
    for (int64_t entry = 0; entry < weight.entries(); ++entry) {
      if (!weight.present[static_cast<size_t>(entry)])
        continue;
      CheckpointTensor tensor;
      tensor.weight = w;
      tensor.entry = entry;
      const std::string path = entryPath(weight, entry);
      tensor.name = path;
      for (Line &line : lines) {
        Captures captures;
        unsigned budget = 20000;
        bool matched = match(line.target, 0, path, 0, captures, constants, budget);
        // `embed` stands for `embed.weight`, the only weight of that operator.
        if (!matched && path.size() > 7 && path.compare(path.size() - 7, 7, ".weight") == 0) {
          captures.clear();
          budget = 20000;
          matched = match(line.target, 0, path.substr(0, path.size() - 7), 0, captures, constants, budget);
        }
        if (!matched)
          continue;
        std::optional<std::string> name = fill(line.published, captures, constants);
        if (!name) {
          error(ErrorCode::L0331, line.stmt->publishedRange, "the published name has a hole that its path does not fill for `" + path + "`")
              .help("holes of both sides have the same names; arithmetic is a sum of names and numbers");
          name = path;
        }
        tensor.name = *name;
        tensor.rows = line.rows;
        tensor.rowBlock = line.rowBlock;
        tensor.optional = line.optional;
        break;
      }
      if (tensor.rows == RowOrder::AdjacentPairs && (weight.shape.empty() || weight.shape[0] % tensor.rowBlock))
        error(ErrorCode::L0331, {weight.loc.begin, weight.loc.end},
              "the rows of `" + path + "` (" + std::to_string(weight.shape.empty() ? 0 : weight.shape[0]) + ") are not heads of " + std::to_string(tensor.rowBlock));
      if (!prefix.empty() && !prefixOptional)
        tensor.name = prefix + tensor.name;
      auto [known, fresh] = names.try_emplace(tensor.name, w, entry);
      if (!fresh && known->second.first != w)
        error(ErrorCode::L0330, stmt ? stmt->range : SourceRange{weight.loc.begin, weight.loc.end},
              "the published tensor `" + tensor.name + "` would hold both `" + entryPath(program.weights[known->second.first], known->second.second) +
                  "` and `" + path + "`")
            .also({weight.loc.begin, weight.loc.end}, "made here");
      map.tensors.push_back(std::move(tensor));
    }
  }
  configMode = false;
  environments.pop_back();
}

} // namespace loopc::frontend::sema
