// Regular expressions through PCRE2.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#define PCRE2_CODE_UNIT_WIDTH 8
#include "Regex.h"
#include "loopc/runtime/Error.h"
#include <pcre2.h>

namespace loopc::rt {

struct Regex::Code {
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  pcre2_code *code = nullptr;
  pcre2_match_context *context = nullptr;
  std::string file, place;
};

static std::string messageOf(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

Regex::Regex(const std::string &pattern, bool literal, const std::string &file, const std::string &place) {
  auto made = std::make_shared<Code>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  made->file = file;
  made->place = place;
  made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C), &error,
                             &offset, nullptr);
  if (!made->code)
    throw Error(file, place, "a regular expression",
                rt::quoted(pattern, 200) + " (" + messageOf(error) + " at byte " + std::to_string(offset) + ")");
  // Without JIT support the interpreter does the same; only speed differs.
  pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE);
  made->context = pcre2_match_context_create(nullptr);
  if (!made->context)
    throw std::bad_alloc();
  pcre2_set_match_limit(made->context, 1'000'000);
  pcre2_set_heap_limit(made->context, 64 * 1024); // KiB
  code = std::move(made);
}

void Regex::forEach(std::string_view text, const std::function<void(size_t, size_t)> &found) const {
  std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data *)> data(
      pcre2_match_data_create_from_pattern(code->code, nullptr), pcre2_match_data_free);
  if (!data)
    throw std::bad_alloc();
  auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;
  while (at < text.size()) {
    // PCRE2_NOTEMPTY: an empty match splits nothing, so the search goes on to the next that is not empty.
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int status = pcre2_match(code->code, subject, text.size(), at, options, data.get(), code->context);
    if (status == PCRE2_ERROR_JIT_STACKLIMIT)
      status = pcre2_match(code->code, subject, text.size(), at, options | PCRE2_NO_JIT, data.get(), code->context);
    if (status == PCRE2_ERROR_NOMATCH)
      return;
    if (status < 0)
      throw Error(code->file, code->place, "a pattern that matches within its limits",
                  messageOf(status) + " at byte " + std::to_string(at) + " of the text");
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(data.get());
    // \K can put the start before the search position or after the end; no piece may run backwards.
    if (range[0] < at || range[1] <= range[0])
      throw Error(code->file, code->place, "a pattern whose matches advance",
                  "a match of bytes " + std::to_string(range[0]) + ".." + std::to_string(range[1]) + " at byte " +
                      std::to_string(at));
    found(range[0], range[1]);
    at = range[1];
  }
}

} // namespace loopc::rt
