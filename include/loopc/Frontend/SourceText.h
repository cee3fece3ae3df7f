// The text of one spec, with positions: byte offsets, lines and columns.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_SOURCETEXT_H
#define LOOPC_FRONTEND_SOURCETEXT_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace loopc {

/// A half-open range of byte offsets into a SourceText.
struct SourceRange {
  uint32_t begin = 0;
  uint32_t end = 0;

  uint32_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
  /// The smallest range that covers both.
  SourceRange to(SourceRange other) const {
    return {begin < other.begin ? begin : other.begin, end > other.end ? end : other.end};
  }
  bool operator==(SourceRange other) const { return begin == other.begin && end == other.end; }
};

/// Both count from 1; the column counts bytes.
struct LineColumn {
  unsigned line = 1;
  unsigned column = 1;
};

/// Immutable; any bytes are allowed. Texts of 4 GiB and more are cut (no spec is that long; the reader refuses them).
class SourceText {
public:
  SourceText(std::string name, std::string text);

  /// What diagnostics print before the line number: a file name, or `<input>`.
  const std::string &name() const { return bufferName; }
  std::string_view text() const { return bytes; }
  uint32_t size() const { return static_cast<uint32_t>(bytes.size()); }

  /// The bytes of `range`, clamped to the text.
  std::string_view slice(SourceRange range) const;

  unsigned lineCount() const { return static_cast<unsigned>(lineStarts.size()); }
  /// Line of a byte offset; offsets past the end belong to the last line.
  LineColumn position(uint32_t offset) const;
  /// The bytes of a line (counted from 1) without its line end.
  std::string_view line(unsigned number) const;
  uint32_t lineStart(unsigned number) const { return lineStarts[number - 1]; }

private:
  std::string bufferName;
  std::string bytes;
  std::vector<uint32_t> lineStarts;
};

} // namespace loopc

#endif // LOOPC_FRONTEND_SOURCETEXT_H
