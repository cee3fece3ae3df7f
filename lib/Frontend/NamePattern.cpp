// Patterns of names: text with holes `{i}`, `{rest}`, `{t * K + j}`, matched with paths of weights and filled again.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "NamePattern.h"

namespace loopc::frontend::sema {

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

std::vector<Piece> pathPieces(const std::string &path) {
  std::string dotted;
  for (char c : path)
    if (c != ' ' || dotted.find('{') != std::string::npos)
      dotted += c == '[' ? '.' : c;
  return pieces(replaceAll(dotted, "]", ""));
}

namespace {

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

} // namespace

bool matchPath(const std::vector<Piece> &pattern, const std::string &path, Captures &captures, const Constants &constants) {
  constexpr unsigned most = 20000; // steps of the search
  unsigned budget = most;
  if (match(pattern, 0, path, 0, captures, constants, budget))
    return true;
  static const std::string only = ".weight";
  if (path.size() <= only.size() || path.compare(path.size() - only.size(), only.size(), only) != 0)
    return false;
  captures.clear();
  budget = most;
  return match(pattern, 0, path.substr(0, path.size() - only.size()), 0, captures, constants, budget);
}

/// The value of `a + b` with every name known.
static std::optional<int64_t> valueOf(const std::string &text, const Captures &captures, const Constants &constants) {
  const Sum sum = parseSum(text, constants);
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
  return value;
}

std::optional<std::string> fill(const std::vector<Piece> &pattern, const Captures &captures, const Constants &constants) {
  static const std::string division = " div ";
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
    const size_t at = piece.text.find(division);
    std::optional<int64_t> value = valueOf(piece.text.substr(0, at), captures, constants);
    if (value && at != std::string::npos) {
      std::optional<int64_t> by = valueOf(piece.text.substr(at + division.size()), captures, constants);
      value = by && *by > 0 && *value >= 0 ? std::optional(*value / *by) : std::nullopt;
    }
    if (!value)
      return std::nullopt;
    result += std::to_string(*value);
  }
  return result;
}

std::string replaceAll(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string entryPath(const ProgramWeight &weight, int64_t entry) {
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

} // namespace loopc::frontend::sema
