// Byte-level BPE tokenizers from tokenizer.json and from GGUF metadata.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace loopc::rt {

class GgufMetadata;

/// Text to token ids and back. Immutable, safe to use from several threads.
/// Byte-level BPE is the scheme of GPT-2 (Radford et al. 2019): bytes are mapped to a printable alphabet, text is cut
/// by a regular expression, and inside each piece the adjacent pair of lowest merge rank is joined first.
class Tokenizer {
public:
  /// PATH is a directory with tokenizer.json (special tokens and the chat template are taken from
  /// tokenizer_config.json, generation_config.json, config.json and chat_template.jinja beside it), a tokenizer.json, or a .gguf.
  static std::shared_ptr<const Tokenizer> open(const std::string &path);
  /// `name` stands for the file in messages.
  static std::shared_ptr<const Tokenizer> fromJson(std::string_view json, const std::string &name);
  static std::shared_ptr<const Tokenizer> fromGguf(const GgufMetadata &meta, const std::string &name);
  virtual ~Tokenizer() = default;

  struct EncodeOptions {
    bool parseSpecial = true; ///< special tokens written in the text become their ids
    bool addSpecial = true;   ///< add bos/eos where the tokenizer says so
  };
  /// Bytes that are not UTF-8 are refused with their offset.
  virtual std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const = 0;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, EncodeOptions()); }

  /// Ids outside the vocabulary throw Error. Bytes are given as they are (they may be incomplete UTF-8).
  std::string decode(std::span<const int32_t> ids, bool skipSpecial = false) const;
  /// The bytes of one token; special tokens give their text.
  virtual std::string_view tokenBytes(int32_t id) const = 0;

  /// Largest id + 1.
  virtual int32_t vocabSize() const = 0;
  virtual bool isSpecial(int32_t id) const = 0;
  /// By the token's text (special tokens) or its form in the byte alphabet.
  virtual std::optional<int32_t> idOf(std::string_view token) const = 0;

  std::optional<int32_t> bosId() const { return bos; }
  /// The first stop token, if there is any.
  std::optional<int32_t> eosId() const { return eos.empty() ? std::nullopt : std::optional(eos.front()); }
  /// All tokens that end a generation.
  const std::vector<int32_t> &stopIds() const { return eos; }
  /// Source of the chat template, if the model comes with one (see ChatTemplate.h).
  const std::optional<std::string> &chatTemplate() const { return chat; }

protected:
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;
  std::optional<std::string> chat;
};

/// Streams decoded text: holds back the bytes of a character until it is complete.
class StreamingDecoder {
public:
  explicit StreamingDecoder(const Tokenizer &tokenizer, bool skipSpecial = false)
      : tokenizer(tokenizer), skipSpecial(skipSpecial) {}
  /// The text that became complete with this token. Bytes that can never be UTF-8 come out as U+FFFD.
  std::string push(int32_t id);
  /// What is left; an incomplete character comes out as U+FFFD.
  std::string finish();

private:
  std::string drain(bool last);
  const Tokenizer &tokenizer;
  bool skipSpecial;
  std::string pending;
};

} // namespace loopc::rt
