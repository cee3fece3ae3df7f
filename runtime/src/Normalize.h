// Unicode helpers of the tokenizer: canonical composition and white space.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <string>
#include <string_view>

namespace loopc::rt {

/// `text` (UTF-8) in normalization form C (Unicode Standard Annex 15).
std::string toNfc(std::string_view text, const std::string &file);

/// Bytes of Unicode white space at the start and at the end of `text` (UTF-8).
size_t leadingSpace(std::string_view text);
size_t trailingSpace(std::string_view text);

} // namespace loopc::rt
