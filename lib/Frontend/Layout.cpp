// Line breaking and alignment.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Layout.h"

#include <algorithm>

namespace loopc::frontend {

Layout::Doc Layout::add(Node node) {
  nodes.push_back(std::move(node));
  return static_cast<Doc>(nodes.size() - 1);
}

Layout::Doc Layout::text(std::string_view s) { return add({Kind::Text, std::string(s), {}, 0}); }

Layout::Doc Layout::comment(std::string_view s) { return add({Kind::Comment, std::string(s), {}, 0}); }

Layout::Doc Layout::concat(std::vector<Doc> parts) { return add({Kind::Concat, "", std::move(parts), 0}); }

/// Code points, which is what an editor shows as columns.
size_t Layout::columnsOf(std::string_view s) {
  return static_cast<size_t>(
      std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// Whether the commands, and what follows up to the first line end, need at most `space` columns.
bool Layout::fits(std::vector<Command> commands, const std::vector<Command> &rest, long space) const {
  size_t next = rest.size();
  while (space >= 0) {
    if (commands.empty()) {
      if (next == 0)
        return true;
      commands.push_back(rest[--next]);
    }
    Command command = commands.back();
    commands.pop_back();
    const Node &node = nodes[command.doc];
    switch (node.kind) {
    case Kind::Text:
      space -= static_cast<long>(columnsOf(node.text));
      break;
    case Kind::Concat:
      for (size_t i = node.children.size(); i-- > 0;)
        commands.push_back({node.children[i], command.indent, command.flat});
      break;
    case Kind::Line:
      if (!command.flat)
        return true;
      space -= static_cast<long>(node.text.size());
      break;
    case Kind::HardLine:
      return !command.flat;
    case Kind::Nest:
    case Kind::Group:
      // What follows the group in question is not yet decided: it may still break.
      commands.push_back({node.children[0], command.indent, command.flat});
      break;
    case Kind::Column:
      --space;
      break;
    case Kind::Comment:
      break;
    }
  }
  return false;
}

std::string Layout::render(Doc root, unsigned width) const {
  std::vector<Line> lines(1);
  long used = 0;
  std::vector<Command> stack = {{root, 0, false}};
  auto append = [&](std::string_view s) {
    if (lines.back().empty())
      lines.back().emplace_back();
    lines.back().back().text += s;
    used += static_cast<long>(columnsOf(s));
  };
  auto newLine = [&](int indent) {
    lines.emplace_back();
    used = 0;
    append(std::string(static_cast<size_t>(indent), ' '));
  };
  while (!stack.empty()) {
    Command command = stack.back();
    stack.pop_back();
    const Node &node = nodes[command.doc];
    switch (node.kind) {
    case Kind::Text:
      append(node.text);
      break;
    case Kind::Concat:
      for (size_t i = node.children.size(); i-- > 0;)
        stack.push_back({node.children[i], command.indent, command.flat});
      break;
    case Kind::Line:
      if (command.flat)
        append(node.text);
      else
        newLine(command.indent);
      break;
    case Kind::HardLine:
      newLine(command.indent);
      break;
    case Kind::Nest:
      stack.push_back({node.children[0], command.indent + node.by, command.flat});
      break;
    case Kind::Group: {
      Command inner = {node.children[0], command.indent, true};
      inner.flat = command.flat || fits({inner}, stack, static_cast<long>(width) - used);
      stack.push_back(inner);
      break;
    }
    case Kind::Column:
      if (command.flat)
        append(" ");
      else
        lines.back().emplace_back();
      break;
    case Kind::Comment:
      lines.back().push_back({node.text, true});
      break;
    }
  }
  align(lines);

  std::string out;
  for (Line &line : lines) {
    size_t begin = out.size();
    for (const Cell &cell : line)
      out += cell.text;
    while (out.size() > begin && out.back() == ' ')
      out.pop_back();
    out += '\n';
  }
  while (out.size() > 1 && out.back() == '\n' && out[out.size() - 2] == '\n')
    out.pop_back();
  return out == "\n" ? "" : out;
}

/// Pads cells so that the next ones of a run of lines start in one column. Lines whose cells are much wider than the
/// narrowest stay out of it.
void Layout::align(std::vector<Line> &lines) {
  constexpr size_t mostPadding = 24;
  auto codeCells = [](const Line &line) { return line.size() - (!line.empty() && line.back().comment); };
  auto widthUpTo = [](const Line &line, size_t cells) {
    size_t width = 0;
    for (size_t c = 0; c < cells; ++c)
      width += columnsOf(line[c].text);
    return width;
  };
  // Pads behind `cells(line)` cells, in runs of lines for which `has(line)`.
  auto pad = [&](auto has, auto cells, size_t gap) {
    bool any = false;
    for (size_t first = 0; first < lines.size(); ++first) {
      if (!has(lines[first]))
        continue;
      any = true;
      size_t last = first, least = ~size_t(0), most = 0;
      for (; last < lines.size() && has(lines[last]); ++last)
        least = std::min(least, widthUpTo(lines[last], cells(lines[last])));
      for (size_t i = first; i < last; ++i)
        if (size_t width = widthUpTo(lines[i], cells(lines[i])); width <= least + mostPadding)
          most = std::max(most, width);
      for (size_t i = first; i < last; ++i) {
        size_t count = cells(lines[i]);
        size_t width = widthUpTo(lines[i], count);
        size_t missing = width < most ? most - width : 0;
        if (count > 0)
          lines[i][count - 1].text += std::string(missing + gap, ' ');
      }
      first = last - 1;
    }
    return any;
  };
  // From left to right, since padding one cell moves those behind it; comments last.
  for (size_t column = 1;; ++column)
    if (!pad([&](const Line &line) { return codeCells(line) > column; }, [&](const Line &) { return column; }, 1))
      break;
  pad([](const Line &line) { return !line.empty() && line.back().comment; },
      [](const Line &line) { return line.size() - 1; }, 2);
}

} // namespace loopc::frontend
