// Reading a spec and its configuration, and checking them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/Frontend/Diagnostics.h"
#include "loopc/Frontend/Sema.h"
#include "loopc/runtime/Gguf.h"
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <unistd.h>

namespace loopc::driver {

SpecText readSpec(const std::string &path) { return {path, readFile(path)}; }

Published readConfig(const std::string &path) {
  Published result;
  result.name = isDirectory(path) ? path + "/config.json" : path;
  if (result.name.size() > 5 && result.name.compare(result.name.size() - 5, 5, ".gguf") == 0)
    return configOf(*rt::WeightSource::open(result.name));
  result.json = parseJson(readFile(result.name), result.name);
  if (!result.json.is_object())
    failExpected(result.name, "a JSON object", result.json.type_name());
  return result;
}

int64_t Published::context() const {
  for (const char *key : {"max_position_embeddings", "block_size", "n_positions", "llama.context_length"})
    if (json.is_object() && json.contains(key) && json[key].is_number_integer())
      return std::clamp<int64_t>(json[key].get<int64_t>(), 0, int64_t(1) << 30);
  return 0;
}

namespace {
nlohmann::json toJson(const rt::GgufValue &value) {
  using rt::GgufType;
  switch (value.type) {
  case GgufType::String:
    return value.text;
  case GgufType::F32:
  case GgufType::F64:
    return value.real;
  case GgufType::Bool:
    return value.bits != 0;
  case GgufType::U64:
    return value.bits;
  default:
    return int64_t(value.bits);
  }
}
} // namespace

Published configOf(const rt::WeightSource &weights) {
  Published result;
  if (const rt::GgufFile *gguf = weights.gguf()) {
    result.name = weights.describe();
    result.gguf = true;
    result.json = nlohmann::json::object();
    for (const std::string &key : gguf->meta().keys()) {
      const rt::GgufValue *value = gguf->meta().find(key);
      if (value && value->type != rt::GgufType::Array)
        result.json[key] = toJson(*value);
    }
    return result;
  }
  std::string path = weights.directory().empty() ? "" : weights.directory() + "/config.json";
  return isFile(path) ? readConfig(path) : result;
}

namespace {

frontend::Program elaborate(const SpecText &spec, const SpecOptions &options, const Published &published,
                            bool ignoreUnknownKeys, bool quiet) {
  SourceText source(spec.name, spec.text);
  DiagnosticEngine diagnostics(source);
  frontend::ConfigInput input;
  if (!published.json.is_null()) {
    input.published = &published.json;
    input.publishedName = published.name;
  }
  input.ignoreUnknownKeys = ignoreUnknownKeys || published.gguf;
  for (const std::string &entry : options.set) {
    size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      throw UsageError("--set: expected NAME=VALUE, but got `" + entry + "`");
    input.sets.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  input.accidents = options.accidents;
  input.exit = options.exitTest;
  std::optional<frontend::Program> program = frontend::check(source, input, diagnostics);
  if (program)
    frontend::checkExecutable(*program, diagnostics);
  bool failed = !program || diagnostics.hasErrors();
  if (quiet && failed)
    for (const Diagnostic &diagnostic : diagnostics.diagnostics())
      if (diagnostic.severity == Severity::Error) {
        LineColumn place = source.position(diagnostic.primary.range.begin);
        fail(spec.name + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) + ": " +
             diagnostic.message);
      }
  if (!quiet && !diagnostics.diagnostics().empty())
    std::fputs(renderText(diagnostics, ::isatty(2)).c_str(), stderr);
  if (failed)
    throw Reported{};
  return std::move(*program);
}

} // namespace

frontend::Program elaborateSpec(const SpecText &spec, const SpecOptions &options, const Published &published,
                                bool ignoreUnknownKeys) {
  return elaborate(spec, options, published, ignoreUnknownKeys, false);
}

frontend::Program elaborateQuietly(const SpecText &spec, const SpecOptions &options, const Published &published) {
  return elaborate(spec, options, published, false, true);
}

KvClause parseKvClause(const std::string &text, const std::string &origin) {
  KvClause result;
  size_t at = 0;
  auto skipSpace = [&] {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t'))
      ++at;
  };
  auto found = [&]() -> std::string {
    return at < text.size() ? "`" + text.substr(at) + "`" : "the end of the clause";
  };
  auto word = [&](const char *what) {
    skipSpace();
    size_t begin = at;
    while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_'))
      ++at;
    if (begin == at)
      failExpected(origin, what, found());
    return text.substr(begin, at - begin);
  };
  skipSpace();
  if (at == text.size())
    failExpected(origin, "\"map, holes rule, order o\"", "an empty text");
  while (true) {
    std::string first = word("a map, `holes` or `order`");
    if (first == "holes") {
      result.holes = word("a rule for holes");
    } else if (first == "order") {
      result.order = word("an order");
    } else if (!result.map.empty()) {
      failExpected(origin, "`holes RULE` or `order ORDER` after the map", "`" + first + "`");
    } else {
      result.map = first;
      skipSpace();
      if (at < text.size() && text[at] == '(') {
        for (int sizes = 0;;) {
          ++at;
          std::string part = word("a size, `unit`, `keep` or `coda`");
          skipSpace();
          if (part == "unit" || part == "keep" || part == "coda") {
            if (at >= text.size() || text[at] != '=')
              failExpected(origin, "`=` after `" + part + "`", found());
            ++at;
            std::string value = word("a word");
            if (part == "coda" && value != "overwrites")
              failExpected(origin, "`coda = overwrites`", "`" + value + "`");
            (part == "unit" ? result.unit : part == "keep" ? result.keep : value) = value;
            result.codaOverwrites |= part == "coda";
          } else {
            if (part.size() > 6 || part.find_first_not_of("0123456789") != std::string::npos)
              failExpected(origin, "a size of 1 to 999999", "`" + part + "`");
            if (sizes == 2)
              failExpected(origin, "at most two sizes", "`" + part + "`");
            result.sizes[sizes++] = std::stoll(part);
          }
          skipSpace();
          if (at < text.size() && text[at] == ',')
            continue;
          if (at >= text.size() || text[at] != ')')
            failExpected(origin, "`)`", found());
          ++at;
          break;
        }
      }
    }
    skipSpace();
    if (at == text.size())
      return result;
    if (text[at] != ',')
      failExpected(origin, "`,` or the end of the clause", found());
    ++at;
  }
}

} // namespace loopc::driver
