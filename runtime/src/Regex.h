// Regular expressions over UTF-8 text (PCRE2).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace loopc::rt {

/// A compiled pattern with Unicode properties (UTF and UCP). Immutable, usable from several threads.
class Regex {
public:
  /// Throws Error at `file`, `place` if PCRE2 refuses the pattern. `literal` takes it as plain text.
  Regex(const std::string &pattern, bool literal, const std::string &file, const std::string &place);

  /// Calls `found(begin, end)` for every match of at least one byte, left to right. `text` must be UTF-8.
  /// Throws Error if a match needs more steps than the limit (a pattern that backtracks without bound).
  void forEach(std::string_view text, const std::function<void(size_t, size_t)> &found) const;

private:
  struct Code;
  std::shared_ptr<const Code> code;
};

} // namespace loopc::rt
