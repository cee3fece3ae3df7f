// The one tokenizer class behind the readers of tokenizer.json and GGUF.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Bpe.h"
#include "PreTokenizer.h"
#include "loopc/runtime/Tokenizer.h"

namespace loopc::rt {

/// A token matched as a whole string before anything else.
struct AddedToken {
  std::string text;
  int32_t id = 0;
  bool special = false;   ///< not matched when the caller asks for plain text
  bool leftStrip = false; ///< takes white space before it along
  bool rightStrip = false;
  bool normalized = false; ///< matched after those that are not
};

class TokenizerImpl : public Tokenizer {
public:
  explicit TokenizerImpl(std::string name) : name(std::move(name)) {}

  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const override;
  std::string_view tokenBytes(int32_t id) const override;
  int32_t vocabSize() const override { return int32_t(tokens.size()); }
  bool isSpecial(int32_t id) const override { return id >= 0 && id < vocabSize() && tokens[size_t(id)].special; }
  std::optional<int32_t> idOf(std::string_view token) const override;

  // What the readers fill. Ids are checked against maxTokens before they size anything.
  static constexpr int64_t maxTokens = 1 << 24;
  /// A token of the vocabulary, in the byte alphabet. Throws Error at `place` for a taken id or text.
  void addVocabulary(const std::string &text, int64_t id, const std::string &place);
  /// Throws Error if the text has another id in the vocabulary, or the id another text.
  void addAdded(AddedToken token, const std::string &place);
  /// `left` and `right` in the byte alphabet; rank = order of calls.
  void addMerge(const std::string &left, const std::string &right, const std::string &place);
  /// Sorts the added tokens; call once at the end.
  void finish();
  void setBos(int32_t id) { bos = id; }
  void addStop(int32_t id);
  void setChat(std::string source) { chat = std::move(source); }

  std::string name;
  Bpe bpe;
  PreTokenizer pre;
  bool normalizeNfc = false;
  std::vector<int32_t> prefix, suffix; ///< put around a text (bos, eos)

private:
  struct Token {
    std::string bytes;
    bool present = false, special = false;
  };
  struct Match {
    size_t begin, end;
    const AddedToken *token;
  };
  Token &slot(int64_t id, const std::string &place);
  void encodePlain(std::string_view text, std::vector<int32_t> &out) const;
  void encodeWith(bool normalized, std::string_view text, bool parseSpecial, std::vector<int32_t> &out) const;
  const AddedToken *matchAt(std::string_view text, bool normalized, bool parseSpecial) const;

  std::vector<Token> tokens;
  TokenMap ids;
  std::vector<AddedToken> added;                         ///< longest first inside one first byte
  std::unordered_map<unsigned char, std::vector<size_t>> byFirst; ///< first byte -> indices into added
  uint32_t mergeCount = 0;
};

} // namespace loopc::rt
