// Every entry of docs/errors.md is a test: its failing program gives its code, the program beside it is accepted.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An entry is a heading `## L0123: title` and two blocks, ```loop fails and ```loop works; ```json config and
// ```text set before a block give the published configuration and the --set lines of that block.

#include "SemaFixture.h"

#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::test;

namespace {

struct Example {
  std::string program, config;
  std::vector<std::pair<std::string, std::string>> sets;
};

struct Entry {
  std::string title;
  std::vector<Example> fails, works;
};

std::map<std::string, Entry> readEntries() {
  std::map<std::string, Entry> entries;
  std::istringstream text(readFile("docs/errors.md"));
  Entry *entry = nullptr;
  Example example;
  for (std::string line; std::getline(text, line);) {
    if (line.rfind("## L", 0) == 0 && line.size() > 10) {
      entry = &entries[line.substr(3, 5)];
      entry->title = line.substr(10);
      continue;
    }
    if (!entry || line.rfind("```", 0) != 0)
      continue;
    const std::string kind = line.substr(3);
    std::string body;
    while (std::getline(text, line) && line != "```")
      body += line + "\n";
    if (kind == "json config")
      example.config = body;
    else if (kind == "text set") {
      std::istringstream sets(body);
      for (std::string each; std::getline(sets, each);)
        if (const size_t at = each.find(" = "); at != std::string::npos)
          example.sets.push_back({each.substr(0, at), each.substr(at + 3)});
    } else if (kind == "loop fails" || kind == "loop works") {
      example.program = body;
      (kind == "loop fails" ? entry->fails : entry->works).push_back(std::move(example));
      example = {};
    }
  }
  return entries;
}

/// The code of the first message, or "". An entry about execution is also asked whether its programs can be executed.
std::string check(const Example &example, bool execute, std::string &messages) {
  nlohmann::json config;
  if (!example.config.empty())
    config = nlohmann::json::parse(example.config);
  Checked checked(example.program, example.config.empty() ? nullptr : &config, example.sets);
  if (execute && checked.program)
    frontend::checkExecutable(*checked.program, checked.diagnostics);
  messages = checked.messages();
  for (const Diagnostic &diagnostic : checked.diagnostics.diagnostics())
    if (diagnostic.severity != Severity::Note)
      return std::string(codeName(diagnostic.code));
  return "";
}

TEST(ErrorsDoc, EveryCodeHasAnEntryWithItsTitle) {
  const std::map<std::string, Entry> entries = readEntries();
  for (ErrorCode code : allErrorCodes()) {
    const auto found = entries.find(std::string(codeName(code)));
    if (found == entries.end()) {
      ADD_FAILURE() << codeName(code) << " (" << codeTitle(code) << ") has no entry in docs/errors.md";
      continue;
    }
    EXPECT_EQ(found->second.title, codeTitle(code)) << codeName(code);
  }
}

TEST(ErrorsDoc, EveryFailingProgramGivesItsCodeAndItsFixNone) {
  unsigned seen = 0;
  for (const auto &[code, entry] : readEntries()) {
    for (const Example &example : entry.fails) {
      std::string messages;
      EXPECT_EQ(check(example, code == "L0720", messages), code) << example.program << "\n" << messages;
      ++seen;
    }
    for (const Example &example : entry.works) {
      std::string messages;
      EXPECT_EQ(check(example, code == "L0720", messages), "") << code << "\n" << example.program << "\n" << messages;
    }
  }
  EXPECT_GE(seen, 50u);
}

} // namespace
