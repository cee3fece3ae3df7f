// Byte-level byte pair encoding: the vocabulary, the merges, and the merging of one piece.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace loopc::rt {

/// GPT-2's alphabet: every byte has a printable character. nullopt if `text` has a character outside it.
std::optional<std::string> bytesOfAlphabet(std::string_view text);
std::string alphabetOfBytes(std::string_view bytes);

struct TransparentHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using TokenMap = std::unordered_map<std::string, int32_t, TransparentHash, std::equal_to<>>;

/// Merges by rank. Filled once, then only read.
class Bpe {
public:
  Bpe() { byteToken.fill(-1); }

  /// A token that merging can produce, by its bytes. The first of two with equal bytes stays.
  void addToken(std::string bytes, int32_t id);
  /// Joins `left` and `right` into `result`; lower ranks go first. False if the pair is known.
  bool addMerge(int32_t left, int32_t right, int32_t result, uint32_t rank);

  /// Token for bytes that have none; absent: encode refuses them.
  std::optional<int32_t> unknown;
  /// A piece that is a token as a whole is not merged (tokenizers of the Llama 3 family).
  bool ignoreMerges = false;

  /// Appends the tokens of one piece. Throws Error for a byte without token. O(n log n) in the bytes of the piece.
  void encode(std::string_view piece, std::vector<int32_t> &out) const;

private:
  struct Merge {
    uint32_t rank;
    int32_t result;
  };
  const Merge *find(int32_t left, int32_t right) const;
  std::vector<int32_t> merge(std::string_view piece) const;

  std::array<int32_t, 256> byteToken;
  TokenMap tokens;
  std::unordered_map<uint64_t, Merge> merges;

  // Pieces repeat (words): what they encode to is kept, up to a fixed number of short pieces.
  mutable std::mutex cacheLock;
  mutable std::unordered_map<std::string, std::vector<int32_t>, TransparentHash, std::equal_to<>> cache;
};

} // namespace loopc::rt
