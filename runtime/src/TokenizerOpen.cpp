// Opening of a tokenizer with what lies beside it: special tokens and the chat template.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "JsonFile.h"
#include "TokenizerImpl.h"
#include "loopc/runtime/Gguf.h"
#include <filesystem>

namespace loopc::rt {

namespace fs = std::filesystem;

std::shared_ptr<TokenizerImpl> readTokenizerJson(std::string_view json, const std::string &name);

/// A special token in tokenizer_config.json: a string or an object with `content`.
static std::optional<int32_t> namedToken(const TokenizerImpl &tokenizer, const JsonAt &config, const char *key) {
  if (!config.has(key))
    return std::nullopt;
  JsonAt node = config.at(key);
  const std::string &text = node.value.is_object() ? node.at("content").string() : node.string();
  std::optional<int32_t> id = tokenizer.idOf(text);
  if (!id)
    node.fail("a token of the vocabulary", rt::quoted(text));
  return id;
}

static void stopsOf(TokenizerImpl &tokenizer, const JsonAt &config) {
  if (!config.has("eos_token_id"))
    return;
  JsonAt node = config.at("eos_token_id");
  auto one = [&](const JsonAt &id) {
    int64_t value = id.integer();
    if (value < 0 || value >= tokenizer.vocabSize())
      id.fail("an id below " + std::to_string(tokenizer.vocabSize()), std::to_string(value));
    tokenizer.addStop(int32_t(value));
  };
  if (!node.value.is_array())
    return one(node);
  for (size_t i = 0; i < node.size(); ++i)
    one(node.item(i));
}

/// A template is a string, or a list of named ones of which `default` is meant.
static void chatOf(TokenizerImpl &tokenizer, const JsonAt &config) {
  if (!config.has("chat_template"))
    return;
  JsonAt node = config.at("chat_template");
  if (!node.value.is_array())
    return tokenizer.setChat(node.string());
  for (size_t i = 0; i < node.size(); ++i)
    if (node.item(i).at("name").string() == "default")
      tokenizer.setChat(node.item(i).at("template").string());
}

static std::shared_ptr<const Tokenizer> openJson(const fs::path &path) {
  std::string name = path.string();
  std::shared_ptr<TokenizerImpl> result = readTokenizerJson(MappedFile::open(name)->text(), name);
  if (!result->prefix.empty())
    result->setBos(result->prefix.front());
  auto beside = [&](const char *file, auto use) {
    fs::path other = path.parent_path() / file;
    std::error_code error;
    if (!fs::exists(other, error))
      return;
    std::string otherName = other.string();
    nlohmann::json tree = parseJson(MappedFile::open(otherName)->text(), otherName);
    use(JsonAt(tree, otherName));
  };
  beside("tokenizer_config.json", [&](const JsonAt &config) {
    if (auto id = namedToken(*result, config, "bos_token"))
      result->setBos(*id);
    if (auto id = namedToken(*result, config, "eos_token"))
      result->addStop(*id);
    chatOf(*result, config);
  });
  for (const char *file : {"generation_config.json", "config.json"})
    beside(file, [&](const JsonAt &config) { stopsOf(*result, config); });
  fs::path chat = path.parent_path() / "chat_template.jinja";
  std::error_code error;
  if (fs::exists(chat, error))
    result->setChat(std::string(MappedFile::open(chat.string())->text()));
  result->finish();
  return result;
}

std::shared_ptr<const Tokenizer> Tokenizer::open(const std::string &path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    fs::path json = fs::path(path) / "tokenizer.json";
    if (!fs::exists(json, error))
      throw Error(path, "", "a directory with tokenizer.json", "none in it");
    return openJson(json);
  }
  if (fs::path(path).extension() == ".gguf") {
    auto file = GgufFile::open(path);
    return fromGguf(file->meta(), path);
  }
  return openJson(path);
}

} // namespace loopc::rt
