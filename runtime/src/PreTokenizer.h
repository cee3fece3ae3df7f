// Cutting of text into the pieces inside which BPE merges.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Regex.h"
#include <vector>

namespace loopc::rt {

/// What happens to the matches of a split (the behaviours of tokenizer.json).
enum class SplitBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

/// A chain of splits, then the byte level.
class PreTokenizer {
public:
  struct Split {
    Regex regex;
    SplitBehavior behavior = SplitBehavior::Isolated;
    bool invert = false; ///< the text between matches plays the part of the matches
  };
  std::vector<Split> splits;
  /// The byte level puts a space before each piece that does not begin with one.
  bool addPrefixSpace = false;

  /// Splits that come after the prefix space (the byte level's own expression).
  std::vector<Split> byteLevelSplits;

  /// Calls `piece` for every piece of `text`, left to right.
  void run(std::string_view text, const std::function<void(std::string_view)> &piece) const;

  /// GPT-2's expression, in every byte level unless switched off.
  static constexpr const char *gpt2Pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
};

} // namespace loopc::rt
