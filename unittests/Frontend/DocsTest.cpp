// The documentation is true: every code has an entry whose program fails with it and whose fix does not; examples parse.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Syntax.h"

#include "loopc/Frontend/Sema.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <set>

using namespace loopc;
using namespace loopc::frontend;
using namespace loopc::frontend::test;

namespace {

struct Fence {
  std::string language;
  std::string text;
};

struct Section {
  std::string heading;
  std::string prose;
  std::vector<Fence> fences;
};

/// The sections of a page that begin with `## `, with their fenced texts.
std::vector<Section> sections(const std::string &page) {
  std::vector<Section> result(1);
  std::istringstream lines(page);
  std::string line;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line.compare(0, 3, "```") == 0) {
      if (!inside)
        result.back().fences.push_back({line.substr(3), ""});
      inside = !inside;
    } else if (inside) {
      result.back().fences.back().text += line + "\n";
    } else if (line.compare(0, 3, "## ") == 0) {
      result.push_back({line.substr(3), "", {}});
    } else {
      result.back().prose += line + "\n";
    }
  }
  return result;
}

std::string page(const char *path) { return readFile(std::filesystem::path(LOOPC_SOURCE_DIR) / path); }

/// The codes that a text gets when it is checked and then asked to run.
std::set<std::string> codesOf(const std::string &text, const ConfigInput &input, std::string &messages) {
  SourceText source("errors.md", text);
  DiagnosticEngine engine(source);
  if (std::optional<Program> program = check(source, input, engine))
    checkExecutable(*program, engine);
  messages = renderText(engine);
  std::set<std::string> codes;
  for (const Diagnostic &d : engine.diagnostics())
    codes.emplace(codeName(d.code));
  return codes;
}

TEST(Docs, EveryCodeHasAFailingProgramAndItsFix) {
  std::map<std::string, Section> entries;
  for (Section &section : sections(page("docs/errors.md")))
    if (!section.heading.empty())
      EXPECT_TRUE(entries.emplace(section.heading.substr(0, 5), section).second) << section.heading;
  for (ErrorCode code : allErrorCodes()) {
    std::string name(codeName(code));
    auto entry = entries.find(name);
    if (entry == entries.end()) {
      ADD_FAILURE() << name << " has no entry in docs/errors.md";
      continue;
    }
    const Section &section = entry->second;
    EXPECT_EQ(section.heading, name + ": " + std::string(codeTitle(code)));
    std::vector<std::string> programs;
    nlohmann::json published;
    ConfigInput failing;
    ConfigInput fixed;
    for (const Fence &fence : section.fences) {
      if (fence.language == "loop") {
        programs.push_back(fence.text);
      } else {
        ASSERT_EQ(fence.language, "json") << name;
        published = nlohmann::json::parse(fence.text, nullptr, /*allow_exceptions=*/false);
        ASSERT_FALSE(published.is_discarded()) << name;
        failing.published = fixed.published = &published;
      }
    }
    ASSERT_EQ(programs.size(), 2u) << name;
    // "The failing run is `--set name=value`."
    if (size_t at = section.prose.find("`--set "); at != std::string::npos && section.prose.find("The failing run") < at) {
      std::string set = section.prose.substr(at + 7, section.prose.find('`', at + 1) - at - 7);
      size_t equal = set.find('=');
      ASSERT_NE(equal, std::string::npos) << set;
      failing.sets = {{set.substr(0, equal), set.substr(equal + 1)}};
      fixed.sets = failing.sets;
    }
    std::string messages;
    EXPECT_EQ(codesOf(programs[0], failing, messages), std::set<std::string>{name}) << programs[0] << messages;
    EXPECT_EQ(codesOf(programs[1], fixed, messages), std::set<std::string>{}) << name << "\n" << programs[1] << messages;
    entries.erase(entry);
  }
  for (const auto &[name, section] : entries)
    ADD_FAILURE() << name << " is in docs/errors.md but not in Errors.def";
}

TEST(Docs, ExamplesOfTheReferenceParse) {
  size_t count = 0;
  for (const Section &section : sections(page("docs/language.md")))
    for (const Fence &fence : section.fences)
      if (fence.language == "loop") {
        ++count;
        Parsed parsed(fence.text, section.heading);
        EXPECT_FALSE(parsed.engine.hasErrors()) << parsed.messages();
      }
  EXPECT_GE(count, 10u);
}

TEST(Docs, TheFirstExampleOfTheReferenceIsAModel) {
  for (const Section &section : sections(page("docs/language.md")))
    if (section.heading == "A model") {
      ASSERT_EQ(section.fences.size(), 1u);
      std::string messages;
      EXPECT_EQ(codesOf(section.fences[0].text, {}, messages), std::set<std::string>{}) << messages;
      return;
    }
  FAIL() << "docs/language.md has no section `A model`";
}

} // namespace
