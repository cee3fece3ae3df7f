// Line table of a spec's text.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Frontend/SourceText.h"

#include <algorithm>
#include <limits>

namespace loopc {

SourceText::SourceText(std::string name, std::string text) : bufferName(std::move(name)), bytes(std::move(text)) {
  // Offsets are 32 bits wide; one is kept free so that the end of the text is an offset too.
  constexpr size_t limit = std::numeric_limits<uint32_t>::max() - 1;
  if (bytes.size() > limit)
    bytes.resize(limit);
  lineStarts.push_back(0);
  for (uint32_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] == '\n')
      lineStarts.push_back(i + 1);
}

std::string_view SourceText::slice(SourceRange range) const {
  uint32_t end = std::min(range.end, size());
  uint32_t begin = std::min(range.begin, end);
  return std::string_view(bytes).substr(begin, end - begin);
}

LineColumn SourceText::position(uint32_t offset) const {
  offset = std::min(offset, size());
  auto next = std::upper_bound(lineStarts.begin(), lineStarts.end(), offset);
  unsigned line = static_cast<unsigned>(next - lineStarts.begin());
  return {line, offset - lineStarts[line - 1] + 1};
}

std::string_view SourceText::line(unsigned number) const {
  if (number == 0 || number > lineStarts.size())
    return {};
  uint32_t begin = lineStarts[number - 1];
  uint32_t end = number < lineStarts.size() ? lineStarts[number] - 1 : size();
  if (end > begin && bytes[end - 1] == '\r')
    --end;
  return std::string_view(bytes).substr(begin, end - begin);
}

} // namespace loopc
