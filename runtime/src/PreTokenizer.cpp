// Splitting by regular expressions with the behaviours of tokenizer.json.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "PreTokenizer.h"
#include <algorithm>

namespace loopc::rt {

namespace {

struct Range {
  size_t begin, end;
  bool match;
};

/// Matches and the text between them, covering all of `text`.
std::vector<Range> cover(std::string_view text, const PreTokenizer::Split &split) {
  std::vector<Range> ranges;
  size_t at = 0;
  split.regex.forEach(text, [&](size_t begin, size_t end) {
    if (begin > at)
      ranges.push_back({at, begin, split.invert});
    ranges.push_back({begin, end, !split.invert});
    at = end;
  });
  if (at < text.size())
    ranges.push_back({at, text.size(), split.invert});
  return ranges;
}

/// Joins a match to the piece before it, unless that was a match itself.
void mergeWithPrevious(std::vector<Range> &ranges) {
  std::vector<Range> merged;
  bool previous = false;
  for (const Range &range : ranges) {
    if (range.match && !previous && !merged.empty())
      merged.back().end = range.end;
    else
      merged.push_back(range);
    previous = range.match;
  }
  ranges = std::move(merged);
}

void mergeWithNext(std::vector<Range> &ranges) {
  std::vector<Range> merged;
  bool next = false;
  for (auto it = ranges.rbegin(); it != ranges.rend(); ++it) {
    if (it->match && !next && !merged.empty())
      merged.back().begin = it->begin;
    else
      merged.push_back(*it);
    next = it->match;
  }
  std::reverse(merged.begin(), merged.end());
  ranges = std::move(merged);
}

void mergeContiguous(std::vector<Range> &ranges) {
  std::vector<Range> merged;
  for (const Range &range : ranges) {
    if (!merged.empty() && merged.back().match == range.match)
      merged.back().end = range.end;
    else
      merged.push_back(range);
  }
  ranges = std::move(merged);
}

void apply(const PreTokenizer::Split &split, std::string_view text,
           const std::function<void(std::string_view)> &piece) {
  std::vector<Range> ranges = cover(text, split);
  switch (split.behavior) {
  case SplitBehavior::Removed:
    std::erase_if(ranges, [](const Range &range) { return range.match; });
    break;
  case SplitBehavior::Isolated:
    break;
  case SplitBehavior::MergedWithPrevious:
    mergeWithPrevious(ranges);
    break;
  case SplitBehavior::MergedWithNext:
    mergeWithNext(ranges);
    break;
  case SplitBehavior::Contiguous:
    mergeContiguous(ranges);
    break;
  }
  for (const Range &range : ranges)
    piece(text.substr(range.begin, range.end - range.begin));
}

void runFrom(const std::vector<PreTokenizer::Split> &splits, size_t index, std::string_view text,
             const std::function<void(std::string_view)> &piece) {
  if (index == splits.size())
    return piece(text);
  apply(splits[index], text, [&](std::string_view part) { runFrom(splits, index + 1, part, piece); });
}

} // namespace

void PreTokenizer::run(std::string_view text, const std::function<void(std::string_view)> &piece) const {
  if (text.empty())
    return;
  runFrom(splits, 0, text, [&](std::string_view part) {
    if (!addPrefixSpace || part.front() == ' ')
      return runFrom(byteLevelSplits, 0, part, piece);
    std::string prefixed = " " + std::string(part);
    runFrom(byteLevelSplits, 0, prefixed, piece);
  });
}

} // namespace loopc::rt
