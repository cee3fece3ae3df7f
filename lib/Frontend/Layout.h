// Documents with optional line breaks (after Wadler, A prettier printer) and columns that align.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_LAYOUT_H
#define LOOPC_LIB_FRONTEND_LAYOUT_H

#include <string>
#include <string_view>
#include <vector>

namespace loopc::frontend {

/// A set of documents; they live as long as the set and may be used in several places.
class Layout {
public:
  using Doc = unsigned;

  Doc text(std::string_view s);
  /// The pieces one after the other.
  Doc concat(std::vector<Doc> parts);
  /// In a group that fits on the line: `flat`; otherwise a line end.
  Doc line(std::string_view flat = " ") { return add({Kind::Line, std::string(flat), {}, 0}); }
  /// Always a line end; a group that contains one does not fit.
  Doc hardLine() { return add({Kind::HardLine, "", {}, 0}); }
  /// Lines that end inside `inner` are indented by `by` more columns.
  Doc nest(int by, Doc inner) { return add({Kind::Nest, "", {inner}, by}); }
  /// Broken at none of its own lines if that fits, else at all of them.
  Doc group(Doc inner) { return add({Kind::Group, "", {inner}, 0}); }
  /// From here to the next column or line end is a cell: cells of consecutive lines start in the same column.
  Doc column() { return add({Kind::Column, "", {}, 0}); }
  /// A comment at the end of a line: a cell of its own, which does not count when it is asked what fits.
  Doc comment(std::string_view s);
  Doc empty() { return concat({}); }

  std::string render(Doc root, unsigned width) const;

private:
  enum class Kind { Text, Concat, Line, HardLine, Nest, Group, Column, Comment };
  struct Node {
    Kind kind;
    std::string text;
    std::vector<Doc> children;
    int by;
  };
  struct Command {
    Doc doc;
    int indent;
    bool flat;
  };
  struct Cell {
    std::string text;
    bool comment = false;
  };
  using Line = std::vector<Cell>;

  Doc add(Node node);
  bool fits(std::vector<Command> commands, const std::vector<Command> &rest, long space) const;
  static void align(std::vector<Line> &lines);
  static size_t columnsOf(std::string_view s);

  std::vector<Node> nodes;
};

} // namespace loopc::frontend

#endif // LOOPC_LIB_FRONTEND_LAYOUT_H
