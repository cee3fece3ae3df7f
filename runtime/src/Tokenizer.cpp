// Encoding and decoding: added tokens first, then pieces, then merges.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Normalize.h"
#include "TokenizerImpl.h"
#include "Utf8.h"
#include <algorithm>

namespace loopc::rt {

TokenizerImpl::Token &TokenizerImpl::slot(int64_t id, const std::string &place) {
  if (id < 0 || id >= maxTokens)
    throw Error(name, place, "an id of 0.." + std::to_string(maxTokens - 1), std::to_string(id));
  if (size_t(id) >= tokens.size())
    tokens.resize(size_t(id) + 1);
  return tokens[size_t(id)];
}

void TokenizerImpl::addVocabulary(const std::string &text, int64_t id, const std::string &place) {
  Token &token = slot(id, place);
  if (token.present)
    throw Error(name, place, "ids that occur once", "a second token with id " + std::to_string(id));
  if (!ids.emplace(text, int32_t(id)).second)
    throw Error(name, place, "tokens that occur once", "a second " + rt::quoted(text));
  std::optional<std::string> bytes = bytesOfAlphabet(text);
  token.present = true;
  token.bytes = bytes ? *bytes : text;
  // Text outside the alphabet can only be an added token: no bytes merge to it.
  if (bytes && !bytes->empty())
    bpe.addToken(*bytes, int32_t(id));
}

void TokenizerImpl::addAdded(AddedToken token, const std::string &place) {
  if (token.text.empty())
    throw Error(name, place, "an added token of at least one byte", "none");
  auto [it, inserted] = ids.emplace(token.text, token.id);
  if (!inserted && it->second != token.id)
    throw Error(name, place, "id " + std::to_string(it->second) + " as in the vocabulary", std::to_string(token.id));
  Token &entry = slot(token.id, place);
  if (inserted && entry.present)
    throw Error(name, place, "an id that no other token has", std::to_string(token.id));
  entry.present = true;
  entry.special = token.special;
  entry.bytes = token.text;
  added.push_back(std::move(token));
}

void TokenizerImpl::addMerge(const std::string &left, const std::string &right, const std::string &place) {
  auto need = [&](const std::string &text) {
    auto it = ids.find(text);
    if (it == ids.end())
      throw Error(name, place, "a merge of tokens of the vocabulary", rt::quoted(text) + ", which is none");
    return it->second;
  };
  int32_t a = need(left), b = need(right), joined = need(left + right);
  if (!bpe.addMerge(a, b, joined, mergeCount++))
    throw Error(name, place, "merges that occur once", "a second " + rt::quoted(left + " " + right));
}

void TokenizerImpl::addStop(int32_t id) {
  if (std::find(eos.begin(), eos.end(), id) == eos.end())
    eos.push_back(id);
}

void TokenizerImpl::finish() {
  std::sort(added.begin(), added.end(), [](const AddedToken &a, const AddedToken &b) {
    return a.text.size() != b.text.size() ? a.text.size() > b.text.size() : a.id < b.id;
  });
  for (size_t i = 0; i < added.size(); ++i)
    byFirst[static_cast<unsigned char>(added[i].text[0])].push_back(i);
  for (const std::vector<int32_t> *list : {&prefix, &suffix, &eos})
    for (int32_t id : *list)
      if (id < 0 || id >= vocabSize())
        throw Error(name, "special tokens", "ids below " + std::to_string(vocabSize()), std::to_string(id));
  if (bos && (*bos < 0 || *bos >= vocabSize()))
    throw Error(name, "bos token", "an id below " + std::to_string(vocabSize()), std::to_string(*bos));
}

const AddedToken *TokenizerImpl::matchAt(std::string_view text, bool normalized, bool parseSpecial) const {
  auto it = byFirst.find(static_cast<unsigned char>(text[0]));
  if (it == byFirst.end())
    return nullptr;
  for (size_t index : it->second) {
    const AddedToken &token = added[index];
    if (token.normalized == normalized && (parseSpecial || !token.special) && text.starts_with(token.text))
      return &token;
  }
  return nullptr;
}

void TokenizerImpl::encodePlain(std::string_view text, std::vector<int32_t> &out) const {
  pre.run(text, [&](std::string_view piece) { bpe.encode(piece, out); });
}

/// Cuts at added tokens of one kind; what is between them goes on to the next kind, then to the pieces.
void TokenizerImpl::encodeWith(bool normalized, std::string_view text, bool parseSpecial,
                               std::vector<int32_t> &out) const {
  auto rest = [&](std::string_view part) {
    if (part.empty())
      return;
    if (normalized)
      return encodePlain(part, out);
    if (normalizeNfc)
      return encodeWith(true, toNfc(part, name), parseSpecial, out);
    encodeWith(true, part, parseSpecial, out);
  };
  size_t from = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken *token = matchAt(text.substr(at), normalized, parseSpecial);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->text.size();
    if (token->leftStrip)
      begin = std::max(from, begin - trailingSpace(text.substr(0, begin)));
    if (token->rightStrip)
      end += leadingSpace(text.substr(end));
    rest(text.substr(from, begin - from));
    out.push_back(token->id);
    from = at = end;
  }
  rest(text.substr(from));
}

std::vector<int32_t> TokenizerImpl::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > (size_t(1) << 30))
    throw Error("", "prompt", "at most 1 GiB of text", std::to_string(text.size()) + " bytes");
  if (size_t bad = firstInvalidUtf8(text); bad != std::string_view::npos)
    throw Error("", "prompt, byte " + std::to_string(bad), "UTF-8 text", rt::quoted(text.substr(bad, 1)));
  std::vector<int32_t> out;
  if (options.addSpecial)
    out = prefix;
  encodeWith(false, text, options.parseSpecial, out);
  if (options.addSpecial)
    out.insert(out.end(), suffix.begin(), suffix.end());
  return out;
}

std::string_view TokenizerImpl::tokenBytes(int32_t id) const {
  if (id < 0 || id >= vocabSize())
    throw Error(name, "", "token ids below " + std::to_string(vocabSize()), std::to_string(id));
  return tokens[size_t(id)].bytes;
}

std::optional<int32_t> TokenizerImpl::idOf(std::string_view token) const {
  auto it = ids.find(token);
  return it == ids.end() ? std::nullopt : std::optional(it->second);
}

std::string Tokenizer::decode(std::span<const int32_t> list, bool skipSpecial) const {
  std::string text;
  for (int32_t id : list)
    if (std::string_view bytes = tokenBytes(id); !(skipSpecial && isSpecial(id)))
      text += bytes;
  return text;
}

std::string StreamingDecoder::push(int32_t id) {
  std::string_view bytes = tokenizer.tokenBytes(id);
  if (!(skipSpecial && tokenizer.isSpecial(id)))
    pending += bytes;
  return drain(false);
}

std::string StreamingDecoder::finish() { return drain(true); }

std::string StreamingDecoder::drain(bool last) {
  std::string text;
  size_t at = 0;
  while (at < pending.size()) {
    std::string_view left = std::string_view(pending).substr(at);
    uint32_t code;
    if (size_t length = decodeUtf8(left, code)) {
      text += left.substr(0, length);
      at += length;
      continue;
    }
    size_t incomplete = incompleteUtf8(left);
    if (incomplete && !last)
      break;
    text += "\xEF\xBF\xBD";
    at += incomplete ? incomplete : 1;
  }
  pending.erase(0, at);
  return text;
}

} // namespace loopc::rt
