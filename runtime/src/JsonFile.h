// JSON trees with located type errors, for the small files beside a model.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include <nlohmann/json.hpp>

namespace loopc::rt {

/// What is wrong with a JSON text, without the library's own name and position before it.
inline std::string jsonProblem(const nlohmann::json::exception &error) {
  std::string text = error.what();
  size_t at = text.find(": ");
  return rt::quoted(at == std::string::npos ? text : text.substr(at + 2), 200);
}

/// Parses `text`; throws Error with file and byte.
inline nlohmann::json parseJson(std::string_view text, const std::string &file) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception &error) {
    const auto *located = dynamic_cast<const nlohmann::json::parse_error *>(&error);
    std::string place = located ? "byte " + std::to_string(located->byte ? located->byte - 1 : 0) : "";
    throw Error(file, place, "JSON", jsonProblem(error));
  }
}

/// A value and where it stands (`model.vocab`); getters throw Error naming file, place, expected and found.
class JsonAt {
public:
  JsonAt(const nlohmann::json &value, const std::string &file, std::string place = "")
      : value(value), file(file), place(std::move(place)) {}

  const nlohmann::json &value;
  const std::string &file;
  std::string place;

  [[noreturn]] void fail(const std::string &expected, const std::string &found) const {
    throw Error(file, place, expected, found);
  }
  [[noreturn]] void wrongType(const std::string &expected) const { fail(expected, std::string(value.type_name())); }

  /// False for a missing key and for null.
  bool has(const char *key) const {
    return value.is_object() && value.contains(key) && !value.at(key).is_null();
  }
  JsonAt at(const char *key) const {
    if (!value.is_object())
      wrongType("an object");
    auto it = value.find(key);
    if (it == value.end())
      fail("a key '" + std::string(key) + "'", "none");
    return {*it, file, place.empty() ? key : place + "." + key};
  }
  JsonAt item(size_t index) const { return {value.at(index), file, place + "[" + std::to_string(index) + "]"}; }
  size_t size() const {
    if (!value.is_array())
      wrongType("an array");
    return value.size();
  }
  const std::string &string() const {
    if (!value.is_string())
      wrongType("a string");
    return value.get_ref<const std::string &>();
  }
  bool boolean() const {
    if (!value.is_boolean())
      wrongType("true or false");
    return value.get<bool>();
  }
  bool boolean(const char *key, bool fallback) const { return has(key) ? at(key).boolean() : fallback; }
  int64_t integer() const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX)))
      wrongType("an integer below 2^63");
    return value.get<int64_t>();
  }
};

} // namespace loopc::rt
