// Tokenizers: published prompts, variants against another implementation, GGUF, streaming, refusals.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Tokenizer.h"
#include "Bytes.h"
#include "loopc/runtime/ChatTemplate.h"
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

using namespace loopc::rt;
using namespace loopc::rt::testing;
using nlohmann::json;

namespace {

const std::string root = LOOPC_SOURCE_DIR;
const std::string ouroMini = root + "/test/models/ouro-mini/tokenizer.json";

json readJson(const std::string &path) { return json::parse(readAll(path)); }

TEST(Tokenizer, PromptsOfOuroMini) {
  auto tokenizer = Tokenizer::open(root + "/test/models/ouro-mini");
  json prompts = readJson(root + "/test/models/ouro-mini/result.json")["greedy_fp32_4_loops"];
  ASSERT_FALSE(prompts.empty());
  for (const json &item : prompts) {
    auto ids = item["token_ids"].get<std::vector<int32_t>>();
    EXPECT_EQ(tokenizer->encode(item["prompt"].get<std::string>()), ids);
    for (int32_t id : item["greedy_token_ids"])
      ids.push_back(id);
    EXPECT_EQ(tokenizer->decode(ids), item["text"].get<std::string>());
  }
}

json patched(const json &base, const json &variant) {
  json tree = base;
  tree.update(variant["set"]);
  if (variant.contains("model"))
    tree["model"].update(variant["model"]);
  if (variant.contains("add"))
    for (const json &token : variant["add"])
      tree["added_tokens"].push_back(token);
  if (variant.contains("string_merges"))
    for (json &merge : tree["model"]["merges"])
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  return tree;
}

// test/data/tokenizer/make-cases.py made the cases with another implementation.
TEST(Tokenizer, VariantsOfTheFormat) {
  json base = readJson(ouroMini);
  for (const json &variant : readJson(root + "/test/data/tokenizer/cases.json")) {
    std::string name = variant["name"];
    auto tokenizer = Tokenizer::fromJson(patched(base, variant).dump(), name);
    for (const json &item : variant["cases"]) {
      auto ids = tokenizer->encode(item["text"].get<std::string>());
      EXPECT_EQ(ids, item["ids"].get<std::vector<int32_t>>()) << name << ": " << item["text"];
      StreamingDecoder stream(*tokenizer);
      std::string text;
      for (int32_t id : ids)
        text += stream.push(id);
      EXPECT_EQ(text + stream.finish(), item["decoded"].get<std::string>()) << name;
    }
  }
}

TEST(Tokenizer, SmolLM2) {
  const char *given = std::getenv("LOOPC_SMOLLM2");
  std::string path = given ? given : root + "/build/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path << " is absent (scripts/models.sh gets it; LOOPC_SMOLLM2 names another place)";
  auto tokenizer = Tokenizer::open(path);
  EXPECT_EQ(tokenizer->vocabSize(), 49152);
  EXPECT_EQ(tokenizer->eosId(), 2);
  json prompts = readJson(root + "/test/conformance/smollm2/expected.json")["prompts"];
  ASSERT_EQ(prompts.size(), 3u);
  for (const json &item : prompts) {
    EXPECT_EQ(tokenizer->encode(item["text"].get<std::string>()), item["token_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(tokenizer->decode(item["token_ids"].get<std::vector<int32_t>>()), item["text"].get<std::string>());
    EXPECT_EQ(tokenizer->decode(item["greedy_token_ids"].get<std::vector<int32_t>>()),
              item["greedy_text"].get<std::string>());
  }
  ASSERT_TRUE(tokenizer->chatTemplate());
  ChatMessage question{"user", "Why is the sky blue?"};
  EXPECT_EQ(ChatTemplate::parse(*tokenizer->chatTemplate()).apply(std::span(&question, 1)),
            prompts[2]["text"].get<std::string>());
}

/// Bytes, then "he", "ll", "hell", " w" and the special tokens.
GgufBuilder tinyGguf(const std::string &pre = "smollm") {
  // The byte alphabet: bytes without a printable character of their own are U+0100 on, in order.
  std::vector<std::string> tokens;
  for (int byte = 0, next = 0x100; byte < 256; ++byte) {
    int code = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE ? byte : next++;
    tokens.push_back(code < 0x80 ? std::string(1, char(code))
                                 : std::string{char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))});
  }
  std::vector<int32_t> types(256, 1);
  for (const char *token : {"he", "ll", "hell", "Ġw", "11"}) {
    tokens.push_back(token);
    types.push_back(1);
  }
  tokens.push_back("<|end|>");
  types.push_back(3);
  tokens.push_back("<tool>");
  types.push_back(4);
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", pre)
      .strings("tokenizer.ggml.tokens", tokens)
      .array("tokenizer.ggml.token_type", GgufType::I32, types)
      .strings("tokenizer.ggml.merges", {"h e", "l l", "he ll", "Ġ w", "1 1"})
      .u32("tokenizer.ggml.bos_token_id", 261)
      .u32("tokenizer.ggml.eos_token_id", 261);
  return builder;
}

std::shared_ptr<const Tokenizer> fromGguf(const GgufBuilder &builder) {
  return Tokenizer::fromGguf(GgufFile::parse(MappedFile::fromBytes("x", builder.build()))->meta(), "x");
}

TEST(Tokenizer, FromGguf) {
  auto tokenizer = fromGguf(tinyGguf());
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(tokenizer->encode("hello w"), (Ids{258, 'o', 259}));
  EXPECT_EQ(tokenizer->encode("11"), (Ids{'1', '1'})); // smollm: every digit alone
  EXPECT_EQ(fromGguf(tinyGguf("gpt-2"))->encode("11"), (Ids{260}));
  EXPECT_EQ(fromGguf(tinyGguf("qwen2"))->encode("11"), (Ids{'1', '1'}));
  EXPECT_EQ(fromGguf(tinyGguf("llama-bpe"))->encode("11"), (Ids{261, 260})); // bos, and digits by threes
  EXPECT_EQ(tokenizer->encode("a<|end|>b<tool>"), (Ids{'a', 261, 'b', 262}));
  Tokenizer::EncodeOptions plain{false, false};
  EXPECT_EQ(tokenizer->encode("<|end|>", plain).size(), 7u);
  EXPECT_EQ(tokenizer->encode("<tool>", plain), (Ids{262}));
  EXPECT_EQ(tokenizer->decode(Ids{258, 'o', 261}), "hello<|end|>");
  EXPECT_EQ(tokenizer->decode(Ids{258, 'o', 261}, true), "hello");
  EXPECT_EQ(tokenizer->encode(""), Ids{});
  EXPECT_EQ(fromGguf(tinyGguf().boolean("tokenizer.ggml.add_bos_token", true))->encode("a"), (Ids{261, 'a'}));
  EXPECT_EQ(tokenizer->stopIds(), (Ids{261}));
  EXPECT_EQ(tokenizer->idOf("<|end|>"), 261);
  EXPECT_EQ(tokenizer->idOf("nothing"), std::nullopt);
}

TEST(Tokenizer, GgufRefusals) {
  auto refusal = [](const GgufBuilder &builder) { return messageOf([&] { fromGguf(builder); }); };
  EXPECT_EQ(refusal(tinyGguf("deepseek-llm")), "x: key 'tokenizer.ggml.pre': expected one of the pre-tokenizers gpt-2, "
                                               "smollm, llama-bpe, qwen2, but got 'deepseek-llm'");
  EXPECT_EQ(refusal(GgufBuilder().string("tokenizer.ggml.model", "llama")),
            "x: key 'tokenizer.ggml.model': expected 'gpt2' (byte-level BPE), but got 'llama'");
  EXPECT_EQ(refusal(GgufBuilder()), "x: expected a key 'tokenizer.ggml.model' (a string), but got none");
  auto small = [](std::vector<std::string> tokens, std::vector<int32_t> types, std::vector<std::string> merges) {
    GgufBuilder builder;
    return builder.string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", tokens)
        .array("tokenizer.ggml.token_type", GgufType::I32, types)
        .strings("tokenizer.ggml.merges", merges);
  };
  EXPECT_EQ(refusal(small({"a", "b"}, {1}, {})),
            "x: key 'tokenizer.ggml.token_type': expected 2 types, one a token, but got 1");
  EXPECT_EQ(refusal(small({"a", "b"}, {1, 9}, {})), "x: tokenizer.ggml.token_type[1]: expected a type of 1..6, but got 9");
  EXPECT_EQ(refusal(small({"a", "a"}, {1, 1}, {})),
            "x: tokenizer.ggml.tokens[1]: expected tokens that occur once, but got a second 'a'");
  EXPECT_EQ(refusal(small({"a", "b"}, {1, 1}, {"a b"})),
            "x: tokenizer.ggml.merges[0]: expected a merge of tokens of the vocabulary, but got 'ab', which is none");
  EXPECT_EQ(refusal(small({"a", "b", "ab"}, {1, 1, 1}, {"ab"})),
            "x: tokenizer.ggml.merges[0]: expected two tokens with one space between, but got 'ab'");
  EXPECT_EQ(refusal(small({"a", "b", "ab"}, {1, 1, 1}, {"a b", "a b"})),
            "x: tokenizer.ggml.merges[1]: expected merges that occur once, but got a second 'a b'");
  EXPECT_EQ(refusal(small({"a"}, {1}, {}).u32("tokenizer.ggml.eos_token_id", 1)),
            "x: key 'tokenizer.ggml.eos_token_id': expected an id below 1, but got 1");
  EXPECT_EQ(refusal(small({"a"}, {1}, {}).boolean("tokenizer.ggml.add_bos_token", true)),
            "x: key 'tokenizer.ggml.add_bos_token': expected a token to add, but got no such token in the file");
}

TEST(Tokenizer, JsonRefusals) {
  auto refusal = [](const std::string &text) { return messageOf([&] { Tokenizer::fromJson(text, "x"); }); };
  auto with = [&](const std::string &members, const std::string &model = R"("vocab":{"a":0},"merges":[])") {
    return refusal(R"({"model":{"type":"BPE",)" + model + "}," + members + "}");
  };
  const std::string level = R"("pre_tokenizer":{"type":"ByteLevel"})";
  EXPECT_EQ(refusal("[]"), "x: expected an object, but got array");
  EXPECT_EQ(refusal("{}"), "x: expected a key 'model', but got none");
  EXPECT_EQ(refusal(R"({"model":{"type":"Unigram"}})"), "x: model.type: expected model type BPE, but got 'Unigram'");
  EXPECT_EQ(with(level, R"("vocab":{"a":-1},"merges":[])"),
            "x: model.vocab 'a': expected an id of 0 or more, but got -1");
  EXPECT_EQ(with(level, R"("vocab":{"a":2147483648},"merges":[])"),
            "x: model.vocab 'a': expected an id of 0..16777215, but got 2147483648");
  EXPECT_EQ(with(level, R"("vocab":{"a":0,"b":0},"merges":[])"),
            "x: model.vocab 'b': expected ids that occur once, but got a second token with id 0");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":["a b"])"),
            "x: model.merges[0]: expected a merge of tokens of the vocabulary, but got 'b', which is none");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":["ab"])"),
            "x: model.merges[0]: expected two tokens with one space between, but got 'ab'");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":[["a","b","c"]])"),
            "x: model.merges[0]: expected two tokens, but got array");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":[],"byte_fallback":true)"),
            "x: model.byte_fallback: expected false (byte-level BPE), but got true");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":[],"end_of_word_suffix":"</w>")"),
            "x: model.end_of_word_suffix: expected none (byte-level BPE), but got '</w>'");
  EXPECT_EQ(with(level, R"("vocab":{"a":0},"merges":[],"unk_token":"u")"),
            "x: model.unk_token: expected a token of the vocabulary, but got 'u'");
  EXPECT_EQ(with(R"("pre_tokenizer":{"type":"Whitespace"})"),
            "x: pre_tokenizer: expected pre-tokenizer Sequence, Split, Digits or ByteLevel, but got 'Whitespace'");
  EXPECT_EQ(with(R"("pre_tokenizer":null)"),
            "x: expected a pre_tokenizer that ends with ByteLevel (byte-level BPE), but got none");
  EXPECT_EQ(with(R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})"),
            "x: pre_tokenizer.pretokenizers[1]: expected ByteLevel as the last pre-tokenizer, but got 'Digits' after it");
  EXPECT_EQ(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"),
            "x: pre_tokenizer: expected a regular expression, but got '(a' (missing closing parenthesis at byte 2)");
  EXPECT_EQ(with(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Odd"})"),
            "x: pre_tokenizer.behavior: expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, "
            "but got 'Odd'");
  EXPECT_EQ(with(R"("normalizer":{"type":"Lowercase"})"),
            "x: normalizer: expected normalizer NFC or none, but got 'Lowercase'");
  EXPECT_EQ(with(level + R"(,"decoder":{"type":"Metaspace"})"),
            "x: decoder: expected decoder ByteLevel, but got 'Metaspace'");
  EXPECT_EQ(with(level + R"(,"post_processor":{"type":"BertProcessing"})"),
            "x: post_processor: expected post-processor TemplateProcessing or ByteLevel, but got 'BertProcessing'");
  EXPECT_EQ(with(level + R"(,"added_tokens":[{"id":0,"content":"z"}])"),
            "x: added_tokens[0]: expected an id that no other token has, but got 0");
  EXPECT_EQ(with(level + R"(,"added_tokens":[{"id":5,"content":"a"}])"),
            "x: added_tokens[0]: expected id 0 as in the vocabulary, but got 5");
  EXPECT_EQ(with(level + R"(,"added_tokens":[{"id":5,"content":""}])"),
            "x: added_tokens[0]: expected an added token of at least one byte, but got none");
  EXPECT_EQ(with(level + R"(,"added_tokens":[{"id":5,"content":"z","single_word":true}])"),
            "x: added_tokens[0].single_word: expected false, but got true");
  std::string deep;
  for (int i = 0; i < 100000; ++i)
    deep += R"({"type":"Sequence","pretokenizers":[)";
  EXPECT_EQ(with("\"pre_tokenizer\":" + deep).substr(0, 8), "x: byte ");
}

TEST(Tokenizer, TextsThatCannotBeEncoded) {
  auto tokenizer = fromGguf(tinyGguf());
  EXPECT_EQ(messageOf([&] { tokenizer->encode("ab\xff"); }), "prompt, byte 2: expected UTF-8 text, but got '\\xff'");
  EXPECT_EQ(messageOf([&] { tokenizer->tokenBytes(9999); }), "x: expected token ids below 263, but got 9999");
  EXPECT_EQ(messageOf([&] { tokenizer->tokenBytes(-1); }), "x: expected token ids below 263, but got -1");
  auto narrow = Tokenizer::fromJson(
      R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}})",
      "x");
  EXPECT_EQ(messageOf([&] { narrow->encode("b"); }), "expected text whose bytes have tokens, but got byte 98 in 'b'");
}

TEST(Tokenizer, APatternThatBacktracksWithoutEndIsRefused) {
  auto tokenizer = Tokenizer::fromJson(
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"Ġ":2},"merges":[]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[
          {"type":"Split","pattern":{"Regex":"(a*)*[cd]"},"behavior":"Isolated"},{"type":"ByteLevel"}]}})",
      "x");
  EXPECT_EQ(messageOf([&] { tokenizer->encode(std::string(40, 'a') + "b"); }),
            "x: pre_tokenizer.pretokenizers[0]: expected a pattern that matches within its limits, but got match limit "
            "exceeded at byte 0 of the text");
}

TEST(Tokenizer, LongPiecesTakeNoQuadraticTime) {
  auto tokenizer = fromGguf(tinyGguf());
  std::string text;
  for (int i = 0; i < 300000; ++i)
    text += "hell";
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->encode(text), std::vector<int32_t>(300000, 258));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  auto tokenizer = Tokenizer::open(ouroMini);
  const std::string text = "In the beginning God created the heaven and the earth.";
  std::vector<int32_t> wanted = Tokenizer::open(ouroMini)->encode(text);
  std::vector<std::vector<int32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto &slot : got)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i)
        slot = tokenizer->encode(text);
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const auto &ids : got)
    EXPECT_EQ(ids, wanted);
}

TEST(Tokenizer, StreamHoldsBackIncompleteCharacters) {
  auto tokenizer = fromGguf(tinyGguf());
  auto stream = [&](const std::string &bytes) {
    StreamingDecoder decoder(*tokenizer);
    std::vector<std::string> parts;
    for (char byte : bytes)
      parts.push_back(decoder.push(static_cast<unsigned char>(byte)));
    parts.push_back(decoder.finish());
    return parts;
  };
  using Parts = std::vector<std::string>;
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(stream("😀"), (Parts{"", "", "", "😀", ""}));
  EXPECT_EQ(stream("é!"), (Parts{"", "é", "!", ""}));
  EXPECT_EQ(stream("\xF0\x9F"), (Parts{"", "", bad}));
  EXPECT_EQ(stream("\xFF!"), (Parts{bad, "!", ""}));
  EXPECT_EQ(stream("\xE2\x82!"), (Parts{"", "", bad + bad + "!", ""}));
  EXPECT_EQ(stream("\xE0\x80"), (Parts{"", bad + bad, ""})); // an overlong form is refused at its second byte
}

TEST(Tokenizer, OpensWhatLiesBeside) {
  TemporaryDirectory directory;
  directory.write("tokenizer.json", readAll(ouroMini));
  directory.write("tokenizer_config.json",
                  R"({"bos_token":null,"eos_token":{"content":"<|endoftext|>"},"chat_template":"{{ messages }}"})");
  directory.write("generation_config.json", R"({"eos_token_id":[0,5]})");
  auto tokenizer = Tokenizer::open(directory.path.string());
  EXPECT_EQ(tokenizer->stopIds(), (std::vector<int32_t>{0, 5}));
  EXPECT_EQ(tokenizer->bosId(), std::nullopt);
  EXPECT_EQ(tokenizer->chatTemplate(), "{{ messages }}");
  directory.write("chat_template.jinja", "{{ 1 }}");
  EXPECT_EQ(Tokenizer::open(directory.path.string())->chatTemplate(), "{{ 1 }}");
  directory.write("tokenizer_config.json", R"({"eos_token":"<gone>"})");
  EXPECT_EQ(messageOf([&] { Tokenizer::open(directory.path.string()); }),
            directory.file("tokenizer_config.json") +
                ": eos_token: expected a token of the vocabulary, but got '<gone>'");
  std::string empty = directory.file("empty");
  std::filesystem::create_directory(empty);
  EXPECT_EQ(messageOf([&] { Tokenizer::open(empty); }),
            empty + ": expected a directory with tokenizer.json, but got none in it");
}

} // namespace
