// Tokens of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include <cstdint>
#include <vector>

namespace loopc::rt {

struct TemplateToken {
  enum Kind { Text, PrintBegin, PrintEnd, BlockBegin, BlockEnd, Name, String, Int, Float, Operator, End } kind = End;
  std::string text; ///< decoded for strings
  uint32_t line = 1, column = 1;
};

/// Cuts a template into text and tokens, with Jinja's whitespace rules: `-` beside a delimiter strips that side,
/// the first newline after a block is dropped, blanks before a block that begins its line are dropped, and so is one
/// newline at the very end.
std::vector<TemplateToken> lexTemplate(std::string_view source, const std::string &name);

} // namespace loopc::rt
