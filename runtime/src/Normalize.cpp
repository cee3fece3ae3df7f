// Canonical composition (NFC) and white space.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Normalize.h"
#include "Utf8.h"
#include "loopc/runtime/Error.h"
#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace loopc::rt {

namespace {

struct Decomposition {
  uint32_t code, first, second;
  bool composes;
};
struct CombiningRange {
  uint32_t first, last;
  uint8_t order;
};
#include "NfcTables.inc"

// Hangul syllables are composed by arithmetic (Unicode Standard, section 3.12).
constexpr uint32_t hangulBase = 0xAC00, leadBase = 0x1100, vowelBase = 0x1161, tailBase = 0x11A7;
constexpr uint32_t leads = 19, vowels = 21, tails = 28, syllables = leads * vowels * tails;

uint8_t combiningClass(uint32_t code) {
  auto it = std::lower_bound(std::begin(combining), std::end(combining), code,
                             [](const CombiningRange &range, uint32_t c) { return range.last < c; });
  return it != std::end(combining) && it->first <= code ? it->order : 0;
}

void decompose(uint32_t code, std::u32string &out) {
  if (code - hangulBase < syllables) {
    uint32_t index = code - hangulBase;
    out += leadBase + index / (vowels * tails);
    out += vowelBase + index / tails % vowels;
    if (index % tails)
      out += tailBase + index % tails;
    return;
  }
  auto it = std::lower_bound(std::begin(decompositions), std::end(decompositions), code,
                             [](const Decomposition &d, uint32_t c) { return d.code < c; });
  if (it == std::end(decompositions) || it->code != code) {
    out += code;
    return;
  }
  // The table's entries are one step; every step leads to smaller parts, at most four deep.
  decompose(it->first, out);
  if (it->second)
    decompose(it->second, out);
}

uint32_t compose(uint32_t first, uint32_t second) {
  if (first - leadBase < leads && second - vowelBase < vowels)
    return hangulBase + ((first - leadBase) * vowels + (second - vowelBase)) * tails;
  if (first - hangulBase < syllables && (first - hangulBase) % tails == 0 && second > tailBase &&
      second < tailBase + tails)
    return first + (second - tailBase);
  static const std::unordered_map<uint64_t, uint32_t> pairs = [] {
    std::unordered_map<uint64_t, uint32_t> map;
    for (const Decomposition &d : decompositions)
      if (d.composes)
        map.emplace(uint64_t(d.first) << 32 | d.second, d.code);
    return map;
  }();
  auto it = pairs.find(uint64_t(first) << 32 | second);
  return it == pairs.end() ? 0 : it->second;
}

bool isSpace(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

} // namespace

std::string toNfc(std::string_view text, const std::string &file) {
  // Characters below U+0300 neither combine nor change: most text passes here.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xCC; }))
    return std::string(text);
  std::u32string codes;
  for (size_t i = 0; i < text.size();) {
    uint32_t code = 0;
    size_t length = decodeUtf8(text.substr(i), code);
    if (!length)
      throw Error(file, "byte " + std::to_string(i), "UTF-8 text", rt::quoted(text.substr(i, 1)));
    decompose(code, codes);
    i += length;
  }
  // Canonical order: runs of combining characters, stably sorted by class.
  std::vector<uint8_t> orders(codes.size());
  for (size_t i = 0; i < codes.size(); ++i)
    orders[i] = combiningClass(codes[i]);
  for (size_t i = 0; i < codes.size();) {
    size_t end = i;
    while (end < codes.size() && orders[end])
      ++end;
    if (end - i > 1) {
      std::vector<std::tuple<uint8_t, size_t, char32_t>> run;
      for (size_t j = i; j < end; ++j)
        run.emplace_back(orders[j], j, codes[j]);
      std::sort(run.begin(), run.end());
      for (size_t j = i; j < end; ++j) {
        orders[j] = std::get<0>(run[j - i]);
        codes[j] = std::get<2>(run[j - i]);
      }
    }
    i = std::max(end, i + 1);
  }
  // Each character joins the last starter unless something of its class or higher stands between them.
  std::u32string joined;
  size_t starter = SIZE_MAX;
  uint8_t lastOrder = 0;
  for (size_t i = 0; i < codes.size(); ++i) {
    bool adjacent = starter != SIZE_MAX && starter + 1 == joined.size();
    if (starter != SIZE_MAX && (adjacent || (lastOrder && lastOrder < orders[i])))
      if (uint32_t both = compose(joined[starter], codes[i])) {
        joined[starter] = both;
        continue;
      }
    joined += codes[i];
    lastOrder = orders[i];
    if (!orders[i])
      starter = joined.size() - 1;
  }
  std::string out;
  for (char32_t code : joined)
    appendUtf8(out, code);
  return out;
}

size_t leadingSpace(std::string_view text) {
  size_t at = 0;
  uint32_t code;
  while (size_t length = decodeUtf8(text.substr(at), code)) {
    if (!isSpace(code))
      break;
    at += length;
  }
  return at;
}

size_t trailingSpace(std::string_view text) {
  size_t end = text.size();
  while (end) {
    size_t begin = end - 1;
    while (begin && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80)
      --begin;
    uint32_t code;
    if (!decodeUtf8(text.substr(begin, end - begin), code) || !isSpace(code))
      break;
    end = begin;
  }
  return text.size() - end;
}

} // namespace loopc::rt
