// Canonical layout: lines, blocks, blank lines and comments.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FormatterImpl.h"

namespace loopc::frontend {

std::string Formatter::run(unsigned width) {
  Doc all = statements(spec.statements, source.size() + 1);
  return layout.render(all, width);
}

Formatter::Doc Formatter::statements(const std::vector<StmtPtr> &list, uint32_t end) {
  std::vector<Item> all;
  for (const StmtPtr &s : list)
    all.push_back({s->range, s.get(), nullptr});
  return items(all, end);
}

Formatter::Doc Formatter::block(const Block &b) {
  std::vector<Item> all;
  for (const StmtPtr &s : b.statements)
    all.push_back({s->range, s.get(), nullptr});
  return braced(all, b.range);
}

Formatter::Doc Formatter::arm(const MatchArm &a) {
  std::vector<Doc> parts;
  if (a.patterns.empty())
    parts.push_back(text("else"));
  for (size_t i = 0; i < a.patterns.size(); ++i) {
    if (i)
      parts.push_back(text(", "));
    parts.push_back(expr(a.patterns[i]));
  }
  parts.push_back(text(" "));
  parts.push_back(block(a.body));
  return layout.concat(parts);
}

Formatter::Doc Formatter::arms(const std::vector<MatchArm> &list, SourceRange braces) {
  std::vector<Item> all;
  for (const MatchArm &a : list)
    all.push_back({a.range, nullptr, &a});
  return braced(all, braces);
}

/// `{ a;  b }` where it stood on one line and fits, else one line for each.
Formatter::Doc Formatter::braced(const std::vector<Item> &list, SourceRange braces) {
  hoist(braces.begin);
  bool oneLine = lineOf(braces.begin) == lineOf(braces.end > 0 ? braces.end - 1 : 0);
  if (list.empty() && !hasCommentBefore(braces.end))
    return text("{ }");
  if (oneLine) {
    std::vector<Doc> parts;
    for (const Item &i : list) {
      if (!parts.empty())
        parts.push_back(layout.line(i.arm ? "  " : ";  "));
      parts.push_back(item(i));
    }
    Doc inner = layout.concat(parts);
    return layout.group(cat({text("{"), layout.nest(2, cat({layout.line(), inner})), layout.line(), text("}")}));
  }
  // A comment behind the opening brace stays there.
  Doc opening = text("{");
  unsigned firstLine = lineOf(braces.begin);
  if (hasCommentBefore(braces.end) && lineOf(spec.comments[nextComment].range.begin) == firstLine &&
      spec.comments[nextComment].range.begin >= braces.begin &&
      (list.empty() || spec.comments[nextComment].range.begin < list.front().range.begin))
    opening = cat({opening, layout.comment(takeComment())});
  Doc inner = items(list, braces.end);
  return cat({opening, layout.nest(2, cat({layout.hardLine(), inner})), layout.hardLine(), text("}")});
}

Formatter::Doc Formatter::items(const std::vector<Item> &list, uint32_t end) {
  std::vector<Doc> out;
  unsigned lastLine = 0; // of the source, of what was put out last
  bool forced = false;   // a comment was moved: no blank line belongs there
  auto separate = [&](unsigned line) {
    if (!out.empty()) {
      out.push_back(layout.hardLine());
      if (!forced && line > lastLine + 1)
        out.push_back(layout.hardLine());
    }
    forced = false;
  };
  auto ownLines = [&](uint32_t before) {
    while (hasCommentBefore(before)) {
      SourceRange range = spec.comments[nextComment].range;
      separate(lineOf(range.begin));
      out.push_back(text(takeComment()));
      lastLine = lineOf(range.begin);
    }
  };

  for (size_t i = 0; i < list.size();) {
    ownLines(list[i].range.begin);
    unsigned firstLine = lineOf(list[i].range.begin);
    // Things that stood on one line stay together where they fit.
    std::vector<Doc> run;
    std::vector<std::string_view> above;
    unsigned runLine = 0;
    size_t j = i;
    for (; j < list.size(); ++j) {
      bool stmtRun = list[j].stmt != nullptr;
      if (j > i && lineOf(list[j].range.begin) != runLine)
        break;
      std::vector<std::string_view> outer = std::move(hoisted);
      hoisted.clear();
      Doc doc = item(list[j]);
      hoist(list[j].range.end);
      above.insert(above.end(), hoisted.begin(), hoisted.end());
      hoisted = std::move(outer);
      if (j > i)
        run.push_back(layout.line(stmtRun ? ";  " : "  "));
      run.push_back(doc);
      runLine = lineOf(list[j].range.end);
    }
    for (std::string_view comment : above) {
      separate(firstLine);
      lastLine = firstLine;
      out.push_back(text(comment));
      forced = true;
    }
    separate(firstLine);
    out.push_back(j == i + 1 ? run.front() : layout.group(layout.concat(run)));
    lastLine = runLine;
    uint32_t limit = j < list.size() ? list[j].range.begin : end;
    if (hasCommentBefore(limit) && lineOf(spec.comments[nextComment].range.begin) == runLine)
      out.push_back(layout.comment(takeComment()));
    i = j;
  }
  ownLines(end);
  return layout.concat(out);
}

std::string format(const ast::Spec &spec, const SourceText &source, unsigned width) {
  return Formatter(spec, source).run(width);
}

} // namespace loopc::frontend
