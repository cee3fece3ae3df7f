// Located messages of the frontend: collected, then rendered for people or as JSON.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_DIAGNOSTICS_H
#define LOOPC_FRONTEND_DIAGNOSTICS_H

#include "loopc/Frontend/SourceText.h"

#include <string>
#include <string_view>
#include <vector>

namespace loopc {

/// One code per kind of message; the table is Errors.def, the reference docs/errors.md.
enum class ErrorCode : unsigned {
#define LOOPC_ERROR(code, title) code,
#include "loopc/Frontend/Errors.def"
};

/// "L0310" and the short title in Errors.def.
std::string_view codeName(ErrorCode code);
std::string_view codeTitle(ErrorCode code);
/// All codes in the order of the table.
const std::vector<ErrorCode> &allErrorCodes();

enum class Severity { Error, Warning, Note };

/// A place and what is to be said about it; an empty label only underlines.
struct DiagnosticLabel {
  SourceRange range;
  std::string text;
};

struct Diagnostic {
  Severity severity = Severity::Error;
  ErrorCode code{};
  std::string message;
  DiagnosticLabel primary;
  std::vector<DiagnosticLabel> secondary;
  std::vector<std::string> notes;
  /// What to write instead, one sentence each.
  std::vector<std::string> helps;

  Diagnostic &label(std::string text) {
    primary.text = std::move(text);
    return *this;
  }
  Diagnostic &also(SourceRange range, std::string text) {
    secondary.push_back({range, std::move(text)});
    return *this;
  }
  Diagnostic &note(std::string text) {
    notes.push_back(std::move(text));
    return *this;
  }
  Diagnostic &help(std::string text) {
    helps.push_back(std::move(text));
    return *this;
  }
};

/// Collects the messages about one SourceText. The returned reference stays valid until the next message:
/// `engine.error(ErrorCode::L0310, range, "…").label("…").help("…");`
class DiagnosticEngine {
public:
  explicit DiagnosticEngine(const SourceText &source) : text(source) {}

  Diagnostic &error(ErrorCode code, SourceRange range, std::string message);
  Diagnostic &warning(ErrorCode code, SourceRange range, std::string message);

  const SourceText &source() const { return text; }
  const std::vector<Diagnostic> &diagnostics() const { return collected; }
  bool hasErrors() const { return errors != 0; }
  unsigned errorCount() const { return errors; }
  /// After this many errors further ones are counted but not kept (a hostile text must not fill the memory).
  static constexpr unsigned maxKept = 100;

private:
  Diagnostic &add(Severity severity, ErrorCode code, SourceRange range, std::string message);

  const SourceText &text;
  std::vector<Diagnostic> collected;
  Diagnostic dropped;
  unsigned errors = 0;
};

/// All messages in source order as a person reads them, ending with a count when there are errors.
std::string renderText(const DiagnosticEngine &engine, bool colour = false);
/// One message.
std::string renderText(const Diagnostic &diagnostic, const SourceText &source, bool colour = false);

/// All messages as one JSON array of objects with the members severity, code, title, message, file, span
/// {line, column, endLine, endColumn, begin, end, label}, secondary (spans), notes, help. Bytes that are not UTF-8
/// become U+FFFD.
std::string renderJson(const DiagnosticEngine &engine);

} // namespace loopc

#endif // LOOPC_FRONTEND_DIAGNOSTICS_H
