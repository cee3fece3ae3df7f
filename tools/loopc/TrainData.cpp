// Training data from files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "TrainData.h"
#include "Support.h"
#include "loopc/runtime/MappedFile.h"
#include "loopc/runtime/Random.h"
#include "loopc/runtime/Tokenizer.h"
#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

namespace loopc::driver {
namespace {

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// The text of every line of a JSON lines file.
std::vector<std::string> linesOf(const std::string &path) {
  std::vector<std::string> texts;
  std::string all = readFile(path);
  size_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = std::min(all.find('\n', begin), all.size());
    std::string place = path + ":" + std::to_string(++number), line = all.substr(begin, end - begin);
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos)
      continue;
    nlohmann::json value = parseJson(line, place);
    if (!value.is_object() || !value.contains("text") || !value["text"].is_string())
      failExpected(place, "an object with a text `text`", line.substr(0, 60));
    texts.push_back(value["text"]);
  }
  return texts;
}

} // namespace

std::string byteTokenizer() {
  // The alphabet of byte-level tokenizers: printable bytes stand for themselves, the others for 256, 257, …
  Json vocabulary = Json::object();
  for (uint32_t byte = 0, next = 256; byte < 256; ++byte) {
    const bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    const uint32_t point = printable ? byte : next++;
    std::string text;
    if (point < 128) {
      text = char(point);
    } else {
      text += char(0xc0 | point >> 6);
      text += char(0x80 | (point & 0x3f));
    }
    vocabulary[text] = byte;
  }
  Json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return Json{{"version", "1.0"},
              {"added_tokens", Json::array()},
              {"normalizer", nullptr},
              {"pre_tokenizer", level},
              {"post_processor", nullptr},
              {"decoder", level},
              {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}}
             .dump(1) + "\n";
}

TrainData::TrainData(const std::vector<std::string> &paths, const std::string &tokenizer, int64_t vocab, int64_t length) : length(length) {
  std::shared_ptr<const rt::Tokenizer> words;
  if (!tokenizer.empty())
    words = tokenizer == "bytes" ? rt::Tokenizer::fromJson(byteTokenizer(), tokenizer) : rt::Tokenizer::open(tokenizer);
  auto put = [&](const std::string &path, int64_t id) {
    if (id >= vocab)
      failExpected(path + ": token " + std::to_string(stream.size()), "an id below " + std::to_string(vocab) + ", as the model has", std::to_string(id));
    stream.push_back(int32_t(id));
  };
  auto encode = [&](const std::string &path, const std::string &text) {
    for (int32_t id : words->encode(text))
      put(path, id);
  };
  for (const std::string &path : paths) {
    if (endsWith(path, ".bin")) {
      std::shared_ptr<const rt::MappedFile> file = rt::MappedFile::open(path);
      const size_t width = vocab <= 65536 ? 2 : 4;
      std::span<const std::byte> bytes = file->bytes();
      if (bytes.size() % width)
        failExpected(path, "token ids of " + std::to_string(width) + " bytes", std::to_string(bytes.size()) + " bytes");
      for (size_t at = 0; at < bytes.size(); at += width) {
        uint32_t id = 0;
        for (size_t i = 0; i < width; ++i)
          id |= std::to_integer<uint32_t>(bytes[at + i]) << (8 * i);
        put(path, id);
      }
      continue;
    }
    if (tokenizer.empty())
      failExpected(path, "--tokenizer for a text (a tokenizer.json, or `bytes`)", "none");
    if (endsWith(path, ".jsonl"))
      for (const std::string &text : linesOf(path))
        encode(path, text);
    else
      encode(path, readFile(path));
  }
  if (windows() < 1)
    failExpected("--data", "more than " + std::to_string(length) + " tokens, as --seq says", std::to_string(stream.size()));
}

rt::StepSequence TrainData::window(int64_t number) const {
  rt::StepSequence one;
  auto begin = stream.begin() + number * length;
  one.tokens.assign(begin, begin + length);
  one.labels.assign(begin + 1, begin + length + 1);
  return one;
}

rt::StepSequence TrainData::sample(uint64_t seed, int64_t number) {
  const int64_t count = windows();
  if (number / count != epoch) {
    epoch = number / count;
    order.resize(size_t(count));
    std::iota(order.begin(), order.end(), 0u);
    const uint64_t key = rt::mixKeys(rt::mixKeys(seed, rt::nameHash("order of windows")), uint64_t(epoch));
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(rt::mixKeys(key, a), a) < std::pair(rt::mixKeys(key, b), b);
    });
  }
  return window(order[size_t(number % count)]);
}

} // namespace loopc::driver
