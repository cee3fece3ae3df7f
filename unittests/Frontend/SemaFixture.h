// Helpers of the tests that check specs.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_UNITTESTS_FRONTEND_SEMAFIXTURE_H
#define LOOPC_UNITTESTS_FRONTEND_SEMAFIXTURE_H

#include "loopc/Frontend/Checkpoint.h"
#include "loopc/Frontend/Sema.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace loopc::test {

inline std::string readFile(const std::string &path) {
  std::ifstream stream(std::string(LOOPC_SOURCE_DIR) + "/" + path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

inline nlohmann::json readJson(const std::string &path) { return nlohmann::json::parse(readFile(path)); }

/// One checked spec: the program, or the messages.
struct Checked {
  Checked(const std::string &text, const nlohmann::json *published = nullptr,
          std::vector<std::pair<std::string, std::string>> sets = {}, std::vector<std::string> accidents = {})
      : source("test.loop", text), diagnostics(source) {
    frontend::ConfigInput input;
    input.published = published;
    input.sets = std::move(sets);
    input.accidents = std::move(accidents);
    program = frontend::check(source, input, diagnostics);
  }
  std::string messages() const { return renderText(diagnostics); }
  /// The code of the first message, or "".
  std::string code() const {
    return diagnostics.diagnostics().empty() ? "" : std::string(codeName(diagnostics.diagnostics()[0].code));
  }
  const frontend::ProgramWeight *weight(const std::string &path) const {
    for (const frontend::ProgramWeight &w : program->weights)
      if (w.path == path)
        return &w;
    return nullptr;
  }

  SourceText source;
  DiagnosticEngine diagnostics;
  std::optional<frontend::Program> program;
};

/// Names and shapes in the header of a safetensors file.
inline std::vector<frontend::FileTensor> tensorsOf(const std::string &path) {
  const std::string bytes = readFile(path);
  uint64_t size = 0;
  if (bytes.size() < 8)
    return {};
  for (int k = 0; k < 8; ++k)
    size |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[static_cast<size_t>(k)])) << (8 * k);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, size));
  std::vector<frontend::FileTensor> result;
  for (auto item = header.begin(); item != header.end(); ++item)
    if (item.key() != "__metadata__")
      result.push_back({item.key(), item.value()["shape"].get<std::vector<int64_t>>()});
  return result;
}

} // namespace loopc::test

#endif
