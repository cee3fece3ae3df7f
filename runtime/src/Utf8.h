// UTF-8 decoding shared by the tokenizer, the readers and the messages.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace loopc::rt {

/// Decodes the character at the start of `text`; returns its length in bytes, 0 if the bytes are not UTF-8
/// (overlong forms, surrogates and values above U+10FFFF included) or `text` is empty.
inline size_t decodeUtf8(std::string_view text, uint32_t &code) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty())
    return 0;
  if (byte(0) < 0x80) {
    code = byte(0);
    return 1;
  }
  size_t length = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < length)
    return 0;
  code = byte(0) & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  static constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < least[length] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    return 0;
  return length;
}

/// How many bytes at the start of `text` are the beginning of a character that later bytes could complete:
/// 0 if the first character is complete or can never become valid.
inline size_t incompleteUtf8(std::string_view text) {
  if (text.empty())
    return 0;
  unsigned char first = static_cast<unsigned char>(text[0]);
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() >= length)
    return 0;
  // The second byte alone decides about overlong forms, surrogates and the upper bound.
  if (text.size() >= 2) {
    unsigned char second = static_cast<unsigned char>(text[1]);
    unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (second < low || second > high)
      return 0;
  }
  if (text.size() == 3 && (static_cast<unsigned char>(text[2]) & 0xC0) != 0x80)
    return 0;
  return text.size();
}

inline void appendUtf8(std::string &out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

/// Offset of the first byte that is not UTF-8, or npos.
inline size_t firstInvalidUtf8(std::string_view text) {
  uint32_t code;
  for (size_t i = 0; i < text.size();) {
    size_t length = decodeUtf8(text.substr(i), code);
    if (!length)
      return i;
    i += length;
  }
  return std::string_view::npos;
}

} // namespace loopc::rt
