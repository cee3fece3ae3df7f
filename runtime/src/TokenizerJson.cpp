// Tokenizers from tokenizer.json (the format of the `tokenizers` library).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "JsonFile.h"
#include "TokenizerImpl.h"

namespace loopc::rt {

namespace {

constexpr int maxNesting = 8; // of Sequence in Sequence; real files have one or two levels

const std::string &typeOf(const JsonAt &node) { return node.at("type").string(); }

/// Visits a component or, in order, the members of a Sequence.
template <typename F> void eachOf(const JsonAt &node, const char *members, F visit, int depth = 0) {
  if (typeOf(node) != "Sequence")
    return visit(node);
  if (depth == maxNesting)
    node.fail("at most " + std::to_string(maxNesting) + " levels of Sequence", "more");
  JsonAt list = node.at(members);
  for (size_t i = 0; i < list.size(); ++i)
    eachOf(list.item(i), members, visit, depth + 1);
}

SplitBehavior behaviorOf(const JsonAt &node) {
  const std::string &name = node.string();
  if (name == "Removed")
    return SplitBehavior::Removed;
  if (name == "Isolated")
    return SplitBehavior::Isolated;
  if (name == "MergedWithPrevious")
    return SplitBehavior::MergedWithPrevious;
  if (name == "MergedWithNext")
    return SplitBehavior::MergedWithNext;
  if (name == "Contiguous")
    return SplitBehavior::Contiguous;
  node.fail("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", rt::quoted(name));
}

class Reader {
public:
  Reader(const nlohmann::json &json, const std::string &name)
      : root(json, name), result(std::make_shared<TokenizerImpl>(name)) {}

  std::shared_ptr<TokenizerImpl> read() {
    model(root.at("model"));
    if (root.has("added_tokens"))
      addedTokens(root.at("added_tokens"));
    if (root.has("normalizer"))
      eachOf(root.at("normalizer"), "normalizers", [&](const JsonAt &node) {
        if (typeOf(node) != "NFC")
          node.fail("normalizer NFC or none", rt::quoted(typeOf(node)));
        result->normalizeNfc = true;
      });
    if (!root.has("pre_tokenizer"))
      root.fail("a pre_tokenizer that ends with ByteLevel (byte-level BPE)", "none");
    eachOf(root.at("pre_tokenizer"), "pretokenizers", [&](const JsonAt &node) { preTokenizer(node); });
    if (!byteLevel)
      root.at("pre_tokenizer").fail("a pre_tokenizer that ends with ByteLevel (byte-level BPE)", "none");
    if (root.has("decoder"))
      eachOf(root.at("decoder"), "decoders", [&](const JsonAt &node) {
        if (typeOf(node) != "ByteLevel")
          node.fail("decoder ByteLevel", rt::quoted(typeOf(node)));
      });
    if (root.has("post_processor"))
      eachOf(root.at("post_processor"), "processors", [&](const JsonAt &node) { postProcessor(node); });
    return result;
  }

private:
  void model(const JsonAt &node) {
    if (node.has("type") && typeOf(node) != "BPE")
      node.at("type").fail("model type BPE", rt::quoted(typeOf(node)));
    for (const char *key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (node.has(key) && !node.at(key).string().empty())
        node.at(key).fail("none (byte-level BPE)", rt::quoted(node.at(key).string()));
    if (node.boolean("byte_fallback", false))
      node.at("byte_fallback").fail("false (byte-level BPE)", "true");
    if (node.has("dropout") && node.at("dropout").value != 0)
      node.at("dropout").fail("none", node.at("dropout").value.dump());
    result->bpe.ignoreMerges = node.boolean("ignore_merges", false);

    JsonAt vocab = node.at("vocab");
    if (!vocab.value.is_object())
      vocab.wrongType("an object from token to id");
    for (const auto &[token, id] : vocab.value.items()) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0)
        throw Error(root.file, "model.vocab " + rt::quoted(token), "an id of 0 or more", id.dump());
      result->addVocabulary(token, id.get<int64_t>(), "model.vocab " + rt::quoted(token));
    }
    if (node.has("unk_token")) {
      JsonAt unknown = node.at("unk_token");
      std::optional<int32_t> id = result->idOf(unknown.string());
      if (!id)
        unknown.fail("a token of the vocabulary", rt::quoted(unknown.string()));
      result->bpe.unknown = *id;
    }
    JsonAt merges = node.at("merges");
    for (size_t i = 0, n = merges.size(); i < n; ++i)
      merge(merges.value[i], i);
  }

  /// Both spellings: "a b" and ["a", "b"].
  void merge(const nlohmann::json &value, size_t index) {
    std::string place = "model.merges[" + std::to_string(index) + "]";
    if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string())
      return result->addMerge(value[0].get_ref<const std::string &>(), value[1].get_ref<const std::string &>(), place);
    if (!value.is_string())
      throw Error(root.file, place, "two tokens", value.type_name());
    const auto &text = value.get_ref<const std::string &>();
    size_t space = text.find(' ');
    if (space == std::string::npos || space == 0 || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string::npos)
      throw Error(root.file, place, "two tokens with one space between", rt::quoted(text));
    result->addMerge(text.substr(0, space), text.substr(space + 1), place);
  }

  void addedTokens(const JsonAt &list) {
    for (size_t i = 0; i < list.size(); ++i) {
      JsonAt node = list.item(i);
      if (node.boolean("single_word", false))
        node.at("single_word").fail("false", "true");
      AddedToken token;
      token.text = node.at("content").string();
      int64_t id = node.at("id").integer();
      if (id < 0 || id >= TokenizerImpl::maxTokens)
        node.at("id").fail("an id of 0.." + std::to_string(TokenizerImpl::maxTokens - 1), std::to_string(id));
      token.id = int32_t(id);
      token.special = node.boolean("special", false);
      token.leftStrip = node.boolean("lstrip", false);
      token.rightStrip = node.boolean("rstrip", false);
      token.normalized = node.boolean("normalized", !token.special);
      result->addAdded(std::move(token), node.place);
    }
  }

  void preTokenizer(const JsonAt &node) {
    const std::string &type = typeOf(node);
    if (byteLevel)
      node.fail("ByteLevel as the last pre-tokenizer", rt::quoted(type) + " after it");
    auto split = [&](const std::string &pattern, bool literal, SplitBehavior behavior, bool invert) {
      return PreTokenizer::Split{Regex(pattern, literal, root.file, node.place), behavior, invert};
    };
    if (type == "ByteLevel") {
      byteLevel = true;
      result->pre.addPrefixSpace = node.boolean("add_prefix_space", true);
      if (node.boolean("use_regex", true))
        result->pre.byteLevelSplits.push_back(split(PreTokenizer::gpt2Pattern, false, SplitBehavior::Isolated, false));
    } else if (type == "Digits") {
      bool individual = node.boolean("individual_digits", false);
      result->pre.splits.push_back(
          split("\\p{N}", false, individual ? SplitBehavior::Isolated : SplitBehavior::Contiguous, false));
    } else if (type == "Split") {
      JsonAt pattern = node.at("pattern");
      bool literal = pattern.has("String");
      result->pre.splits.push_back(split(pattern.at(literal ? "String" : "Regex").string(), literal,
                                         behaviorOf(node.at("behavior")), node.boolean("invert", false)));
    } else {
      node.fail("pre-tokenizer Sequence, Split, Digits or ByteLevel", rt::quoted(type));
    }
  }

  void postProcessor(const JsonAt &node) {
    if (typeOf(node) == "ByteLevel")
      return; // moves offsets only
    if (typeOf(node) != "TemplateProcessing")
      node.fail("post-processor TemplateProcessing or ByteLevel", rt::quoted(typeOf(node)));
    bool seenText = false;
    JsonAt single = node.at("single");
    for (size_t i = 0; i < single.size(); ++i) {
      JsonAt piece = single.item(i);
      if (piece.has("Sequence")) {
        if (seenText)
          piece.fail("one Sequence in 'single'", "a second one");
        seenText = true;
        continue;
      }
      const std::string &token = piece.at("SpecialToken").at("id").string();
      JsonAt ids = node.at("special_tokens").at(token.c_str()).at("ids");
      for (size_t k = 0; k < ids.size(); ++k) {
        int64_t id = ids.item(k).integer();
        if (id < 0 || id >= result->vocabSize())
          ids.fail("ids below " + std::to_string(result->vocabSize()), std::to_string(id));
        (seenText ? result->suffix : result->prefix).push_back(int32_t(id));
      }
    }
    if (!seenText)
      single.fail("a Sequence", "none");
  }

  JsonAt root;
  std::shared_ptr<TokenizerImpl> result;
  bool byteLevel = false;
};

} // namespace

std::shared_ptr<TokenizerImpl> readTokenizerJson(std::string_view json, const std::string &name) {
  nlohmann::json tree = parseJson(json, name);
  return Reader(tree, name).read();
}

std::shared_ptr<const Tokenizer> Tokenizer::fromJson(std::string_view json, const std::string &name) {
  std::shared_ptr<TokenizerImpl> result = readTokenizerJson(json, name);
  if (!result->prefix.empty())
    result->setBos(result->prefix.front());
  result->finish();
  return result;
}

} // namespace loopc::rt
