// Located messages of the runtime.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Error.h"
#include "Utf8.h"

namespace loopc::rt {

static std::string joined(const std::string &file, const std::string &place, const std::string &detail) {
  std::string text;
  for (const std::string *part : {&file, &place})
    if (!part->empty())
      text += *part + ": ";
  return text + detail;
}

static std::string expectation(const std::string &expected, const std::string &found) {
  if (expected.empty())
    return found;
  return "expected " + expected + (found.empty() ? "" : ", but got " + found);
}

Error::Error(std::string file, std::string place, std::string expected, std::string found)
    : std::runtime_error(joined(file, place, expectation(expected, found))), fileName(std::move(file)),
      placeName(std::move(place)), detail(expectation(expected, found)) {}

std::string quoted(std::string_view text, size_t limit) {
  static const char digits[] = "0123456789abcdef";
  std::string out = "'";
  for (size_t i = 0; i < text.size();) {
    if (out.size() > limit) {
      out += "…";
      break;
    }
    uint32_t code;
    size_t length = decodeUtf8(text.substr(i), code);
    if (length && code >= 0x20 && code != 0x7f) {
      out.append(text.substr(i, length));
      i += length;
      continue;
    }
    unsigned char byte = static_cast<unsigned char>(text[i++]);
    if (byte == '\n')
      out += "\\n";
    else
      out.append({'\\', 'x', digits[byte >> 4], digits[byte & 15]});
  }
  return out + "'";
}

} // namespace loopc::rt
