// Values of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChatTemplateValue.h"
#include "Utf8.h"
#include "loopc/runtime/Error.h"
#include <charconv>
#include <cmath>

namespace loopc::rt {

static constexpr int maxDepth = 100; // of lists in lists

static void checkDepth(int depth) {
  if (depth > maxDepth)
    throw Error("", "", "values nested at most " + std::to_string(maxDepth) + " deep", "more");
}

Value Value::of(const nlohmann::ordered_json &json, int depth) {
  checkDepth(depth);
  switch (json.type()) {
  case nlohmann::json::value_t::boolean:
    return of(json.get<bool>());
  case nlohmann::json::value_t::number_integer:
    return of(json.get<int64_t>());
  case nlohmann::json::value_t::number_unsigned:
    if (json.get<uint64_t>() > uint64_t(INT64_MAX))
      return of(json.get<double>());
    return of(json.get<int64_t>());
  case nlohmann::json::value_t::number_float:
    return of(json.get<double>());
  case nlohmann::json::value_t::string:
    return of(json.get<std::string>());
  case nlohmann::json::value_t::array: {
    ValueList items;
    for (const auto &item : json)
      items.push_back(of(item, depth + 1));
    return of(std::move(items));
  }
  case nlohmann::json::value_t::object: {
    ValueDict items;
    for (const auto &[key, item] : json.items())
      items.emplace_back(key, of(item, depth + 1));
    return of(std::move(items));
  }
  default:
    return none();
  }
}

bool Value::truthy() const {
  switch (kind) {
  case Undefined:
  case None:
    return false;
  case Bool:
  case Int:
    return integer != 0;
  case Float:
    return real != 0;
  case String:
    return !text.empty();
  case List:
    return !list->empty();
  case Dict:
    return isNamespace || !dict->empty();
  }
  return false;
}

const Value *Value::member(const std::string &key) const {
  if (kind == Dict)
    for (const auto &[name, value] : *dict)
      if (name == key)
        return &value;
  return nullptr;
}

void Value::setMember(const std::string &key, Value value) {
  for (auto &[name, old] : *dict)
    if (name == key) {
      old = std::move(value);
      return;
    }
  dict->emplace_back(key, std::move(value));
}

const char *Value::describe() const {
  static const char *const names[] = {"an undefined value", "none",     "a boolean", "an integer",
                                      "a number",           "a string", "a list",    "a dictionary"};
  return names[kind];
}

bool equal(const Value &a, const Value &b, int depth) {
  checkDepth(depth);
  if (a.isNumber() && b.isNumber())
    return a.kind != Value::Float && b.kind != Value::Float ? a.integer == b.integer : a.number() == b.number();
  if (a.kind != b.kind)
    return false;
  switch (a.kind) {
  case Value::String:
    return a.text == b.text;
  case Value::List:
    if (a.list->size() != b.list->size())
      return false;
    for (size_t i = 0; i < a.list->size(); ++i)
      if (!equal((*a.list)[i], (*b.list)[i], depth + 1))
        return false;
    return true;
  case Value::Dict:
    if (a.dict->size() != b.dict->size())
      return false;
    for (const auto &[key, value] : *a.dict)
      if (const Value *other = b.member(key); !other || !equal(value, *other, depth + 1))
        return false;
    return true;
  default:
    return true; // undefined, none
  }
}

/// repr() of a Python float: the shortest digits that give the value back, with ".0" for whole numbers.
static std::string floatText(double value) {
  if (!std::isfinite(value))
    return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  char buffer[64];
  bool plain = value == 0 || (std::fabs(value) >= 1e-4 && std::fabs(value) < 1e16);
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value,
                                    plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, end);
  return plain && text.find('.') == std::string::npos ? text + ".0" : text;
}

bool toText(const Value &value, std::string &out) {
  switch (value.kind) {
  case Value::Undefined:
    return true;
  case Value::None:
    out += "None";
    return true;
  case Value::Bool:
    out += value.integer ? "True" : "False";
    return true;
  case Value::Int:
    out += std::to_string(value.integer);
    return true;
  case Value::Float:
    out += floatText(value.real);
    return true;
  case Value::String:
    out += value.text;
    return true;
  default:
    return false;
  }
}

static void writeString(const std::string &text, std::string &out) {
  static const char digits[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    default:
      if (byte < 0x20)
        out += std::string("\\u00") + digits[byte >> 4] + digits[byte & 15];
      else
        out += c;
    }
  }
  out += '"';
}

static void writeJson(const Value &value, int indent, int depth, std::string &out) {
  checkDepth(depth);
  auto line = [&](int level) {
    if (indent >= 0)
      out += "\n" + std::string(size_t(indent) * size_t(level), ' ');
  };
  switch (value.kind) {
  case Value::Undefined:
    throw Error("", "", "a value that JSON has", "an undefined value");
  case Value::None:
    out += "null";
    return;
  case Value::Bool:
    out += value.integer ? "true" : "false";
    return;
  case Value::String:
    return writeString(value.text, out);
  case Value::List:
    out += '[';
    for (size_t i = 0; i < value.list->size(); ++i) {
      out += i ? (indent >= 0 ? "," : ", ") : "";
      line(depth + 1);
      writeJson((*value.list)[i], indent, depth + 1, out);
    }
    if (!value.list->empty())
      line(depth);
    out += ']';
    return;
  case Value::Dict: {
    out += '{';
    bool first = true;
    for (const auto &[key, item] : *value.dict) {
      out += first ? "" : indent >= 0 ? "," : ", ";
      first = false;
      line(depth + 1);
      writeString(key, out);
      out += ": ";
      writeJson(item, indent, depth + 1, out);
    }
    if (!first)
      line(depth);
    out += '}';
    return;
  }
  default:
    toText(value, out);
  }
}

std::string toJson(const Value &value, int indent) {
  std::string out;
  writeJson(value, indent, 0, out);
  return out;
}

static bool startsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

int64_t textLength(const std::string &text) {
  int64_t count = 0;
  for (char c : text)
    count += startsCharacter(c);
  return count;
}

Value sliced(const Value &value, int64_t begin, int64_t end, int64_t step) {
  std::vector<size_t> starts; // of characters
  if (value.kind == Value::String) {
    for (size_t i = 0; i < value.text.size(); ++i)
      if (startsCharacter(value.text[i]))
        starts.push_back(i);
    starts.push_back(value.text.size());
  }
  int64_t length = value.kind == Value::String ? int64_t(starts.size()) - 1 : int64_t(value.list->size());
  auto place = [&](int64_t at, int64_t absent) {
    if (at == INT64_MIN)
      return absent;
    int64_t least = step > 0 ? 0 : -1;
    if (at < 0)
      return std::max(at + length, least);
    return std::min(at, step > 0 ? length : length - 1);
  };
  int64_t from = place(begin, step > 0 ? 0 : length - 1), to = place(end, step > 0 ? length : -1);
  std::string text;
  ValueList items;
  // Counted, not added up: a step near the limits must not overflow the index.
  for (int64_t i = from; step > 0 ? i < to : i > to;) {
    if (value.kind == Value::String)
      text += value.text.substr(starts[size_t(i)], starts[size_t(i) + 1] - starts[size_t(i)]);
    else
      items.push_back((*value.list)[size_t(i)]);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  return value.kind == Value::String ? Value::of(std::move(text)) : Value::of(std::move(items));
}

} // namespace loopc::rt
