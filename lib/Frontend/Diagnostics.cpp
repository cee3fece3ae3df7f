// Rendering of messages: for people (after rustc) and as JSON.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Frontend/Diagnostics.h"

#include <algorithm>
#include <map>

namespace loopc {

//===----------------------------------------------------------------------===//
// The table of codes
//===----------------------------------------------------------------------===//

std::string_view codeName(ErrorCode code) {
  switch (code) {
#define LOOPC_ERROR(code, title)                                                                                       \
  case ErrorCode::code:                                                                                                \
    return #code;
#include "loopc/Frontend/Errors.def"
  }
  return "L0000";
}

std::string_view codeTitle(ErrorCode code) {
  switch (code) {
#define LOOPC_ERROR(code, title)                                                                                       \
  case ErrorCode::code:                                                                                                \
    return title;
#include "loopc/Frontend/Errors.def"
  }
  return "";
}

const std::vector<ErrorCode> &allErrorCodes() {
  static const std::vector<ErrorCode> codes = {
#define LOOPC_ERROR(code, title) ErrorCode::code,
#include "loopc/Frontend/Errors.def"
  };
  return codes;
}

//===----------------------------------------------------------------------===//
// Collecting
//===----------------------------------------------------------------------===//

Diagnostic &DiagnosticEngine::add(Severity severity, ErrorCode code, SourceRange range, std::string message) {
  bool kept = collected.size() < maxKept;
  Diagnostic &d = kept ? collected.emplace_back() : (dropped = Diagnostic());
  d.severity = severity;
  d.code = code;
  d.primary.range = range;
  d.message = std::move(message);
  return d;
}

Diagnostic &DiagnosticEngine::error(ErrorCode code, SourceRange range, std::string message) {
  ++errors;
  return add(Severity::Error, code, range, std::move(message));
}

Diagnostic &DiagnosticEngine::warning(ErrorCode code, SourceRange range, std::string message) {
  return add(Severity::Warning, code, range, std::move(message));
}

//===----------------------------------------------------------------------===//
// Bytes to text
//===----------------------------------------------------------------------===//

namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD"; // U+FFFD

/// Number of bytes of the well-formed UTF-8 sequence at the start of `s`, or 0.
size_t sequenceLength(std::string_view s) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  auto continues = [&](size_t i) { return i < s.size() && (byte(i) & 0xC0) == 0x80; };
  unsigned char c = byte(0);
  if (c < 0x80)
    return 1;
  if (c >= 0xC2 && c <= 0xDF)
    return continues(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    if (!continues(1) || !continues(2) || (c == 0xE0 && byte(1) < 0xA0) || (c == 0xED && byte(1) > 0x9F))
      return 0;
    return 3;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    if (!continues(1) || !continues(2) || !continues(3) || (c == 0xF0 && byte(1) < 0x90) || (c == 0xF4 && byte(1) > 0x8F))
      return 0;
    return 4;
  }
  return 0;
}

/// Appends one code point (or one bad byte) of `s` at `i` as it is shown, and returns the columns that it takes.
unsigned appendShown(std::string &out, std::string_view s, size_t &i) {
  size_t length = sequenceLength(s.substr(i));
  unsigned char c = static_cast<unsigned char>(s[i]);
  if (c == '\t') {
    out += "    ";
    ++i;
    return 4;
  }
  // Control bytes would let a text steer the terminal.
  if (length == 0 || c < 0x20 || c == 0x7F || (length == 2 && c == 0xC2 && static_cast<unsigned char>(s[i + 1]) < 0xA0)) {
    out += replacement;
    i += std::max<size_t>(length, 1);
    return 1;
  }
  out += s.substr(i, length);
  i += length;
  return 1;
}

std::string shown(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size();)
    appendShown(out, s, i);
  return out;
}

struct Palette {
  const char *error = "", *warning = "", *accent = "", *bold = "", *reset = "";
};

Palette palette(bool colour) {
  if (!colour)
    return {};
  return {"\033[1;31m", "\033[1;33m", "\033[1;34m", "\033[1m", "\033[0m"};
}

/// One line of the source with the labels that start on it.
struct MarkedLine {
  struct Mark {
    SourceRange range;
    std::string text;
    bool primary;
  };
  std::vector<Mark> marks;
};

/// A line as it is shown, with the column at which each byte starts.
struct ShownLine {
  std::string text;
  std::vector<unsigned> columns; // one per byte and one for the end

  explicit ShownLine(std::string_view line) {
    unsigned column = 0;
    columns.reserve(line.size() + 1);
    for (size_t i = 0; i < line.size();) {
      size_t before = i;
      unsigned width = appendShown(text, line, i);
      for (size_t j = before; j < i; ++j)
        columns.push_back(column);
      column += width;
    }
    columns.push_back(column);
  }
};

/// Longer lines are shown around their first mark.
constexpr size_t longestLine = 240;

void renderLine(std::string &out, unsigned number, const MarkedLine &marked, const SourceText &source, size_t gutter,
                const Palette &p) {
  std::string_view line = source.line(number);
  uint32_t start = source.lineStart(number);
  if (line.size() > longestLine) {
    size_t first = line.size();
    for (const auto &mark : marked.marks)
      first = std::min<size_t>(first, mark.range.begin - start);
    size_t from = first > longestLine / 2 ? first - longestLine / 2 : 0;
    while (from > 0 && from < line.size() && (static_cast<unsigned char>(line[from]) & 0xC0) == 0x80)
      --from;
    line = line.substr(std::min(from, line.size()), longestLine);
    start += static_cast<uint32_t>(from);
  }
  ShownLine view(line);
  std::string label = std::to_string(number);
  out += p.accent + std::string(gutter - label.size(), ' ') + label + " |" + p.reset + ' ' + view.text + '\n';
  for (const auto &mark : marked.marks) {
    auto columnOf = [&](uint32_t offset) {
      size_t index = offset < start ? 0 : offset - start;
      return view.columns[std::min(index, line.size())];
    };
    unsigned begin = columnOf(mark.range.begin);
    unsigned end = std::max(columnOf(mark.range.end), begin + 1);
    const char *colour = mark.primary ? p.error : p.accent;
    out += p.accent + std::string(gutter, ' ') + " |" + p.reset + ' ' + std::string(begin, ' ') + colour +
           std::string(end - begin, mark.primary ? '^' : '-');
    if (!mark.text.empty())
      out += ' ' + shown(mark.text);
    out += p.reset;
    out += '\n';
  }
}

std::string_view severityWord(Severity severity) {
  switch (severity) {
  case Severity::Error:
    return "error";
  case Severity::Warning:
    return "warning";
  case Severity::Note:
    return "note";
  }
  return "error";
}

std::vector<const Diagnostic *> inSourceOrder(const DiagnosticEngine &engine) {
  std::vector<const Diagnostic *> order;
  for (const Diagnostic &d : engine.diagnostics())
    order.push_back(&d);
  // The messages lie in one vector, so that their addresses order those of one place.
  std::sort(order.begin(), order.end(), [](const Diagnostic *a, const Diagnostic *b) {
    return std::pair(a->primary.range.begin, a) < std::pair(b->primary.range.begin, b);
  });
  return order;
}

} // namespace

//===----------------------------------------------------------------------===//
// For people
//===----------------------------------------------------------------------===//

std::string renderText(const Diagnostic &d, const SourceText &source, bool colour) {
  Palette p = palette(colour);
  std::string out;
  out += d.severity == Severity::Error ? p.error : p.warning;
  out += severityWord(d.severity);
  out += '[';
  out += codeName(d.code);
  out += ']';
  out += p.reset;
  out += p.bold;
  out += ": " + shown(d.message);
  out += p.reset;
  out += '\n';

  std::map<unsigned, MarkedLine> lines;
  auto mark = [&](const DiagnosticLabel &label, bool primary) {
    uint32_t begin = std::min(label.range.begin, source.size());
    unsigned line = source.position(begin).line;
    uint32_t lineEnd = source.lineStart(line) + static_cast<uint32_t>(source.line(line).size());
    uint32_t end = std::min(std::max(label.range.end, begin), std::max(lineEnd, begin));
    lines[line].marks.push_back({{begin, end}, label.text, primary});
  };
  mark(d.primary, true);
  for (const DiagnosticLabel &label : d.secondary)
    mark(label, false);

  size_t gutter = std::to_string(lines.rbegin()->first).size();
  LineColumn at = source.position(d.primary.range.begin);
  out += std::string(gutter, ' ') + p.accent + "--> " + p.reset + shown(source.name()) + ':' + std::to_string(at.line) +
         ':' + std::to_string(at.column) + '\n';
  unsigned previous = 0;
  for (const auto &[number, line] : lines) {
    if (previous != 0 && number > previous + 1)
      out += p.accent + std::string("...") + p.reset + '\n';
    renderLine(out, number, line, source, gutter, p);
    previous = number;
  }
  auto trailer = [&](const char *word, const std::string &text) {
    out += std::string(gutter, ' ') + p.accent + " = " + p.reset + p.bold + word + p.reset + ": " + shown(text) + '\n';
  };
  for (const std::string &text : d.notes)
    trailer("note", text);
  for (const std::string &text : d.helps)
    trailer("help", text);
  return out;
}

std::string renderText(const DiagnosticEngine &engine, bool colour) {
  std::string out;
  for (const Diagnostic *d : inSourceOrder(engine)) {
    if (!out.empty())
      out += '\n';
    out += renderText(*d, engine.source(), colour);
  }
  if (unsigned count = engine.errorCount()) {
    out += '\n' + std::to_string(count) + (count == 1 ? " error" : " errors");
    if (count > DiagnosticEngine::maxKept)
      out += ", of which the first " + std::to_string(DiagnosticEngine::maxKept) + " are shown";
    out += '\n';
  }
  return out;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

namespace {

void appendString(std::string &out, std::string_view s) {
  static const char digits[] = "0123456789abcdef";
  out += '"';
  for (size_t i = 0; i < s.size();) {
    unsigned char c = static_cast<unsigned char>(s[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += s[i++];
    } else if (c == '\n') {
      out += "\\n";
      ++i;
    } else if (c < 0x20 || c == 0x7F) {
      out += "\\u00";
      out += digits[c >> 4];
      out += digits[c & 15];
      ++i;
    } else if (size_t length = sequenceLength(s.substr(i))) {
      out += s.substr(i, length);
      i += length;
    } else {
      out += replacement;
      ++i;
    }
  }
  out += '"';
}

void appendSpan(std::string &out, const DiagnosticLabel &label, const SourceText &source) {
  LineColumn begin = source.position(label.range.begin);
  LineColumn end = source.position(label.range.end);
  out += "{\"line\": " + std::to_string(begin.line) + ", \"column\": " + std::to_string(begin.column) +
         ", \"endLine\": " + std::to_string(end.line) + ", \"endColumn\": " + std::to_string(end.column) +
         ", \"begin\": " + std::to_string(label.range.begin) + ", \"end\": " + std::to_string(label.range.end) +
         ", \"label\": ";
  appendString(out, label.text);
  out += '}';
}

void appendList(std::string &out, const std::vector<std::string> &texts) {
  out += '[';
  for (size_t i = 0; i < texts.size(); ++i) {
    if (i)
      out += ", ";
    appendString(out, texts[i]);
  }
  out += ']';
}

} // namespace

std::string renderJson(const DiagnosticEngine &engine) {
  std::string out = "[";
  bool first = true;
  for (const Diagnostic *d : inSourceOrder(engine)) {
    out += first ? "\n  " : ",\n  ";
    first = false;
    out += "{\"severity\": ";
    appendString(out, severityWord(d->severity));
    out += ", \"code\": ";
    appendString(out, codeName(d->code));
    out += ", \"title\": ";
    appendString(out, codeTitle(d->code));
    out += ", \"message\": ";
    appendString(out, d->message);
    out += ", \"file\": ";
    appendString(out, engine.source().name());
    out += ", \"span\": ";
    appendSpan(out, d->primary, engine.source());
    out += ", \"secondary\": [";
    for (size_t i = 0; i < d->secondary.size(); ++i) {
      if (i)
        out += ", ";
      appendSpan(out, d->secondary[i], engine.source());
    }
    out += "], \"notes\": ";
    appendList(out, d->notes);
    out += ", \"help\": ";
    appendList(out, d->helps);
    out += '}';
  }
  out += first ? "]\n" : "\n]\n";
  return out;
}

} // namespace loopc
