// Tokenizers from the metadata of a GGUF file.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TokenizerImpl.h"
#include "loopc/runtime/Gguf.h"

namespace loopc::rt {

namespace {

struct PreRow {
  std::string_view name;
  const char *first, *second;
  bool ignoreMerges, addBos;
};
constexpr PreRow preRows[] = {
#define LOOPC_PRETOKENIZER(name, first, second, ignoreMerges, addBos) {name, first, second, ignoreMerges, addBos},
#include "PreTokenizers.def"
};

const PreRow &preRowOf(const GgufMetadata &meta, const std::string &name) {
  const char *key = "tokenizer.ggml.pre";
  std::string list;
  for (const PreRow &row : preRows) {
    if (row.name == meta.text(key))
      return row;
    list += (list.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(name, std::string("key '") + key + "'", "one of the pre-tokenizers " + list, rt::quoted(meta.text(key)));
}

// Token types of tokenizer.ggml.token_type (llama.cpp, enum llama_token_type).
enum TokenType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

} // namespace

std::shared_ptr<const Tokenizer> Tokenizer::fromGguf(const GgufMetadata &meta, const std::string &name) {
  const char *modelKey = "tokenizer.ggml.model", *tokensKey = "tokenizer.ggml.tokens";
  if (meta.text(modelKey) != "gpt2")
    throw Error(name, std::string("key '") + modelKey + "'", "'gpt2' (byte-level BPE)",
                rt::quoted(meta.text(modelKey)));
  const PreRow &row = preRowOf(meta, name);
  auto result = std::make_shared<TokenizerImpl>(name);
  auto split = [&](const char *pattern) {
    return PreTokenizer::Split{Regex(pattern, false, name, "tokenizer.ggml.pre"), SplitBehavior::Isolated, false};
  };
  if (*row.first)
    result->pre.splits.push_back(split(row.first));
  result->pre.byteLevelSplits.push_back(split(row.second));
  result->bpe.ignoreMerges = row.ignoreMerges;
  if (meta.has("tokenizer.ggml.add_space_prefix"))
    result->pre.addPrefixSpace = meta.boolean("tokenizer.ggml.add_space_prefix");

  const std::vector<std::string> &tokens = meta.texts(tokensKey);
  std::vector<int64_t> types(tokens.size(), Normal);
  if (meta.has("tokenizer.ggml.token_type"))
    types = meta.integers("tokenizer.ggml.token_type");
  if (types.size() != tokens.size())
    throw Error(name, "key 'tokenizer.ggml.token_type'", std::to_string(tokens.size()) + " types, one a token",
                std::to_string(types.size()));
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string place = "tokenizer.ggml.tokens[" + std::to_string(i) + "]";
    if (types[i] < Normal || types[i] > Byte)
      throw Error(name, "tokenizer.ggml.token_type[" + std::to_string(i) + "]", "a type of 1..6",
                  std::to_string(types[i]));
    if (types[i] == Normal || types[i] == Byte || types[i] == Unused || tokens[i].empty())
      result->addVocabulary(tokens[i], int64_t(i), place);
    else
      result->addAdded({tokens[i], int32_t(i), types[i] != UserDefined}, place);
  }
  const std::vector<std::string> &merges = meta.texts("tokenizer.ggml.merges");
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string place = "tokenizer.ggml.merges[" + std::to_string(i) + "]";
    // The alphabet has no space, so the first one after the start separates.
    size_t space = merges[i].find(' ', 1);
    if (space == std::string::npos || space + 1 == merges[i].size())
      throw Error(name, place, "two tokens with one space between", rt::quoted(merges[i]));
    result->addMerge(merges[i].substr(0, space), merges[i].substr(space + 1), place);
  }

  auto special = [&](const char *key) -> std::optional<int32_t> {
    if (!meta.has(key))
      return std::nullopt;
    uint32_t id = meta.u32(key);
    if (id >= tokens.size())
      throw Error(name, std::string("key '") + key + "'", "an id below " + std::to_string(tokens.size()),
                  std::to_string(id));
    return int32_t(id);
  };
  if (auto bos = special("tokenizer.ggml.bos_token_id"))
    result->setBos(*bos);
  for (const char *key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (auto id = special(key))
      result->addStop(*id);
  auto flag = [&](const char *key, bool fallback) { return meta.has(key) ? meta.boolean(key) : fallback; };
  auto around = [&](const char *key, bool fallback, std::optional<int32_t> id, std::vector<int32_t> &list) {
    if (!flag(key, fallback))
      return;
    if (!id)
      throw Error(name, std::string("key '") + key + "'", "a token to add", "no such token in the file");
    list.push_back(*id);
  };
  around("tokenizer.ggml.add_bos_token", row.addBos, result->bosId(), result->prefix);
  around("tokenizer.ggml.add_eos_token", false, result->eosId(), result->suffix);
  if (meta.has("tokenizer.chat_template"))
    result->setChat(meta.text("tokenizer.chat_template"));
  result->finish();
  return result;
}

} // namespace loopc::rt
