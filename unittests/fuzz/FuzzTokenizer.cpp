// Any text as tokenizer.json, and any text through a tokenizer: decoding gives the text back.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Tokenizer.h"
#include <cstdio>
#include <cstdlib>
#include <string>

using namespace loopc::rt;

/// A tokenizer with every byte and a few merges.
static std::string small() {
  std::string vocabulary, text;
  int id = 0;
  auto add = [&](const std::string &token) {
    vocabulary += (id ? ",\"" : "\"") + token + "\":" + std::to_string(id);
    ++id;
  };
  for (int byte = 0, next = 0x100; byte < 256; ++byte) {
    bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", printable ? byte : next++);
    add(escaped);
  }
  for (const char *token : {"aa", "aaa", "ab", "\\u0120a", "\\u00c3\\u00a9"})
    add(token);
  return R"({"model":{"type":"BPE","vocab":{)" + vocabulary +
         R"(},"merges":["a a","aa a","a b","\u0120 a","\u00c3 \u00a9"]},"added_tokens":[{"id":261,"content":"<s>","special":true}],
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false}})";
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::shared_ptr<const Tokenizer> fixed = Tokenizer::fromJson(small(), "small");
  std::string text(reinterpret_cast<const char *>(data), size);
  bool encoded = false;
  std::vector<int32_t> ids;
  try {
    ids = fixed->encode(text);
    encoded = true;
  } catch (const Error &) { // not UTF-8
  }
  if (encoded) {
    StreamingDecoder stream(*fixed);
    std::string streamed;
    for (int32_t id : ids)
      streamed += stream.push(id);
    if (fixed->decode(ids) != text || streamed + stream.finish() != text)
      std::abort();
  } else {
    // Bytes as ids: whatever comes out of the stream is UTF-8 for the next reader.
    StreamingDecoder stream(*fixed);
    std::string streamed;
    for (size_t i = 0; i < size; ++i)
      streamed += stream.push(data[i]);
    fixed->encode(streamed + stream.finish());
  }
  try {
    auto tokenizer = Tokenizer::fromJson(text, "x");
    tokenizer->decode(tokenizer->encode("Hello a<s> 12 é"));
  } catch (const Error &) {
  }
  return 0;
}
