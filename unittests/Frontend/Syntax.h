// Short ways to parse, list and lay out a text in tests.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_UNITTESTS_FRONTEND_SYNTAX_H
#define LOOPC_UNITTESTS_FRONTEND_SYNTAX_H

#include "loopc/Frontend/Formatter.h"
#include "loopc/Frontend/Parser.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace loopc::frontend::test {

struct Parsed {
  explicit Parsed(std::string text, std::string name = "test.loop")
      : source(std::move(name), std::move(text)), engine(source), spec(parse(source, engine)) {}
  Parsed(const Parsed &) = delete;

  std::vector<std::string> codes() const {
    std::vector<std::string> result;
    for (const Diagnostic &d : engine.diagnostics())
      result.emplace_back(codeName(d.code));
    return result;
  }
  std::string messages() const { return renderText(engine); }
  std::string listing() const { return dump(spec); }
  std::string formatted(unsigned width = 120) const { return format(spec, source, width); }

  SourceText source;
  DiagnosticEngine engine;
  ast::Spec spec;
};

/// The listing of a text without errors, or its messages.
inline std::string listingOf(const std::string &text) {
  Parsed parsed(text);
  return parsed.engine.hasErrors() ? parsed.messages() : parsed.listing();
}

inline std::string readFile(const std::filesystem::path &path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// The published models in test/Frontend/corpus and models/, in a fixed order.
inline std::vector<std::filesystem::path> corpus() {
  std::vector<std::filesystem::path> files;
  for (const char *folder : {"test/Frontend/corpus", "models"}) {
    std::filesystem::path path = std::filesystem::path(LOOPC_SOURCE_DIR) / folder;
    if (!std::filesystem::exists(path))
      continue;
    for (const auto &entry : std::filesystem::directory_iterator(path))
      if (entry.path().extension() == ".loop")
        files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

} // namespace loopc::frontend::test

#endif // LOOPC_UNITTESTS_FRONTEND_SYNTAX_H
