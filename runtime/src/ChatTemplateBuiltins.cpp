// Functions, methods, filters and tests of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChatTemplateEval.h"
#include "Normalize.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

namespace loopc::rt {

namespace {

/// The argument at `index`, or the one of that name; nullptr if absent.
const Value *argument(const TemplateArguments &args, size_t index, const char *key) {
  for (const auto &[name, value] : args.named)
    if (name == key)
      return &value;
  return index < args.positional.size() ? &args.positional[index] : nullptr;
}

bool isAscii(const std::string &text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Python's strip family: white space, or any character of `set`.
std::string stripped(const std::string &text, const Value *set, bool left, bool right) {
  std::string_view view = text;
  if (!set || set->kind != Value::String) {
    if (left)
      view.remove_prefix(leadingSpace(view));
    if (right)
      view.remove_suffix(trailingSpace(view));
    return std::string(view);
  }
  // Characters of the set that are not ASCII are compared as whole characters.
  auto in = [&](std::string_view character) { return set->text.find(character) != std::string::npos; };
  auto lengthAt = [&](size_t i) {
    size_t n = 1;
    while (i + n < view.size() && (static_cast<unsigned char>(view[i + n]) & 0xC0) == 0x80)
      ++n;
    return n;
  };
  while (left && !view.empty() && in(view.substr(0, lengthAt(0))))
    view.remove_prefix(lengthAt(0));
  while (right && !view.empty()) {
    size_t begin = view.size() - 1;
    while (begin && (static_cast<unsigned char>(view[begin]) & 0xC0) == 0x80)
      --begin;
    if (!in(view.substr(begin)))
      break;
    view = view.substr(0, begin);
  }
  return std::string(view);
}

std::string replaced(const std::string &text, const std::string &from, const std::string &to, size_t limit) {
  std::string out;
  size_t at = 0;
  if (from.empty())
    return text;
  for (size_t found; out.size() <= limit && (found = text.find(from, at)) != std::string::npos;
       at = found + from.size())
    out += text.substr(at, found - at) + to;
  return out + text.substr(at);
}

char lowered(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
char raised(char c) { return c >= 'a' && c <= 'z' ? char(c - 32) : c; }

} // namespace

std::string TemplateEvaluator::text(const Node &node, const Value &value) const {
  std::string out;
  if (!toText(value, out))
    fail(node, "a value with a text (use tojson for others)", value.describe());
  return out;
}

const std::string &TemplateEvaluator::needString(const Node &node, const Value &value) const {
  if (value.kind != Value::String)
    fail(node, "a string", value.describe());
  return value.text;
}

int64_t TemplateEvaluator::needInteger(const Node &node, const Value &value) const {
  if (value.kind != Value::Int && value.kind != Value::Bool)
    fail(node, "an integer", value.describe());
  return value.integer;
}

/// What a loop goes through: items of a list, keys of a dictionary, characters of a string.
ValueList TemplateEvaluator::items(const Node &node, const Value &value) {
  ValueList list;
  spend(node, value.kind == Value::List     ? value.list->size()
              : value.kind == Value::Dict   ? value.dict->size()
              : value.kind == Value::String ? value.text.size()
                                            : 0);
  switch (value.kind) {
  case Value::Undefined:
    return list;
  case Value::List:
    return *value.list;
  case Value::Dict:
    for (const auto &[key, item] : *value.dict)
      list.push_back(Value::of(key));
    return list;
  case Value::String:
    for (size_t i = 0; i < value.text.size();) {
      size_t n = 1;
      while (i + n < value.text.size() && (static_cast<unsigned char>(value.text[i + n]) & 0xC0) == 0x80)
        ++n;
      list.push_back(Value::of(value.text.substr(i, n)));
      bound(node, list.size() * sizeof(Value));
      i += n;
    }
    return list;
  default:
    fail(node, "a list, dictionary or string", value.describe());
  }
}

Value TemplateEvaluator::function(const Node &node, const std::string &which, const TemplateArguments &args) {
  if (which == "raise_exception") {
    const Value *message = argument(args, 0, "message");
    fail(node, "", "the template refuses this conversation: " + (message ? text(node, *message) : ""));
  }
  if (which == "namespace" || which == "dict") {
    Value result = Value::of(ValueDict(args.named.begin(), args.named.end()));
    result.isNamespace = which == "namespace";
    namespaces.push_back(result.dict);
    return result;
  }
  if (which == "range") {
    if (args.positional.empty() || args.positional.size() > 3)
      fail(node, "range of 1 to 3 integers", std::to_string(args.positional.size()));
    int64_t part[3] = {0, 0, 1};
    bool one = args.positional.size() == 1;
    for (size_t i = 0; i < args.positional.size(); ++i)
      part[one ? 1 : i] = needInteger(node, args.positional[i]);
    if (part[2] == 0)
      fail(node, "a step other than 0", "0");
    ValueList list;
    for (int64_t i = part[0]; part[2] > 0 ? i < part[1] : i > part[1];) {
      list.push_back(Value::of(i));
      spend(node, 1);
      bound(node, list.size() * sizeof(Value));
      if (__builtin_add_overflow(i, part[2], &i))
        break;
    }
    return Value::of(std::move(list));
  }
  fail(node, "one of the functions raise_exception, namespace, dict, range", rt::quoted(which));
}

Value TemplateEvaluator::method(const Node &node, const Value &object, const std::string &which,
                                const TemplateArguments &args) {
  const Value *first = args.positional.empty() ? nullptr : &args.positional[0];
  const Value *second = args.positional.size() < 2 ? nullptr : &args.positional[1];
  auto need = [&](const Value *value) -> const Value & {
    if (!value)
      fail(node, "an argument of " + which, "none");
    return *value;
  };
  if (object.kind == Value::Dict) {
    if (which == "get") {
      const Value *member = object.member(needString(node, need(first)));
      return member ? *member : second ? *second : Value::none();
    }
    ValueList list;
    if (which == "items" || which == "keys" || which == "values") {
      for (const auto &[key, value] : *object.dict)
        list.push_back(which == "keys"     ? Value::of(key)
                       : which == "values" ? value
                                           : Value::of(ValueList{Value::of(key), value}));
      return Value::of(std::move(list));
    }
    fail(node, "one of the methods get, items, keys, values", rt::quoted(which));
  }
  if (object.kind != Value::String)
    fail(node, "a string or dictionary before '." + which + "()'", object.describe());
  const std::string &s = object.text;
  if (which == "strip" || which == "lstrip" || which == "rstrip")
    return Value::of(stripped(s, first, which != "rstrip", which != "lstrip"));
  if (which == "startswith" || which == "endswith") {
    auto one = [&](const Value &affix) {
      const std::string &text = needString(node, affix);
      return which == "startswith" ? s.starts_with(text) : s.ends_with(text);
    };
    if (need(first).kind != Value::List)
      return Value::of(one(*first));
    return Value::of(std::any_of(first->list->begin(), first->list->end(), one));
  }
  if (which == "replace" || which == "upper" || which == "lower" || which == "title" || which == "capitalize")
    return filter(node, which, object, args);
  if (which == "split") {
    ValueList list;
    int64_t limit = second ? needInteger(node, *second) : -1;
    bool spaces = !first || first->kind == Value::None;
    if (!spaces && needString(node, *first).empty())
      fail(node, "a separator of at least one byte", "an empty one");
    std::string_view rest = s;
    if (spaces)
      rest.remove_prefix(leadingSpace(rest));
    while (!(spaces && rest.empty())) {
      size_t end = 0, gap = 0;
      if (spaces)
        while (end < rest.size() && !(gap = leadingSpace(rest.substr(end))))
          ++end;
      else if ((end = rest.find(first->text)) == std::string_view::npos)
        end = rest.size();
      else
        gap = first->text.size();
      if (limit-- == 0 || (end == rest.size() && !gap)) {
        list.push_back(Value::of(std::string(rest)));
        break;
      }
      list.push_back(Value::of(std::string(rest.substr(0, end))));
      bound(node, list.size() * sizeof(Value));
      rest.remove_prefix(end + gap);
    }
    return Value::of(std::move(list));
  }
  fail(node, "one of the methods strip, lstrip, rstrip, startswith, endswith, replace, split, upper, lower, title, "
             "capitalize",
       rt::quoted(which));
}

Value TemplateEvaluator::select(const Node &node, const std::string &which, const Value &value,
                                const TemplateArguments &args) {
  bool attribute = which.ends_with("attr"), wanted = which.starts_with("select");
  size_t used = attribute ? 1 : 0;
  if (attribute && args.positional.empty())
    fail(node, "the name of an attribute", "none");
  ValueList list;
  for (const Value &item : items(node, value)) {
    Value subject = item;
    if (attribute) {
      const Value *member = item.member(needString(node, args.positional[0]));
      subject = member ? *member : Value();
    }
    bool holds = subject.truthy();
    if (args.positional.size() > used) {
      TemplateArguments rest;
      rest.positional.assign(args.positional.begin() + ptrdiff_t(used) + 1, args.positional.end());
      holds = test(node, needString(node, args.positional[used]), subject, rest);
    }
    if (holds == wanted)
      list.push_back(item);
  }
  return Value::of(std::move(list));
}

Value TemplateEvaluator::filter(const Node &node, const std::string &which, const Value &value,
                                const TemplateArguments &args) {
  constexpr size_t limit = 64 << 20;
  auto need = [&](size_t index, const char *key) -> const Value & {
    const Value *found = argument(args, index, key);
    if (!found)
      fail(node, "an argument '" + std::string(key) + "' of " + which, "none");
    return *found;
  };
  if (which == "trim")
    return Value::of(stripped(text(node, value), argument(args, 0, "chars"), true, true));
  if (which == "tojson") {
    const Value *indent = argument(args, 0, "indent");
    int64_t width = indent && indent->kind != Value::None ? needInteger(node, *indent) : -1;
    if (width > 64)
      fail(node, "an indent of at most 64", std::to_string(width));
    std::string json = toJson(value, int(std::max<int64_t>(width, -1)));
    bound(node, json.size());
    return Value::of(std::move(json));
  }
  if (which == "length" || which == "count") {
    if (value.kind == Value::String)
      return Value::of(textLength(value.text));
    return Value::of(int64_t(items(node, value).size()));
  }
  if (which == "upper" || which == "lower" || which == "title" || which == "capitalize") {
    std::string s = text(node, value);
    if (!isAscii(s))
      fail(node, "ASCII text for " + which, rt::quoted(s));
    bool wordStart = true;
    for (char &c : s) {
      bool letter = lowered(c) >= 'a' && lowered(c) <= 'z';
      c = which == "upper" || (which != "lower" && wordStart) ? raised(c) : lowered(c);
      wordStart = which == "title" && !letter;
    }
    return Value::of(std::move(s));
  }
  if (which == "replace") {
    std::string s = replaced(text(node, value), needString(node, need(0, "old")), needString(node, need(1, "new")), limit);
    bound(node, s.size());
    return Value::of(std::move(s));
  }
  if (which == "join") {
    const Value *separator = argument(args, 0, "d"), *attribute = argument(args, 1, "attribute");
    std::string s;
    bool first = true;
    for (const Value &item : items(node, value)) {
      const Value *part = attribute ? item.member(needString(node, *attribute)) : &item;
      s += (first || !separator ? "" : text(node, *separator)) + (part ? text(node, *part) : "");
      bound(node, s.size());
      first = false;
    }
    return Value::of(std::move(s));
  }
  if (which == "default" || which == "d") {
    const Value *boolean = argument(args, 1, "boolean");
    bool absent = value.kind == Value::Undefined || (boolean && boolean->truthy() && !value.truthy());
    return absent ? (args.positional.empty() && args.named.empty() ? Value::of(std::string()) : need(0, "default_value"))
                  : value;
  }
  if (which == "first" || which == "last") {
    ValueList list = items(node, value);
    return list.empty() ? Value() : which == "first" ? list.front() : list.back();
  }
  if (which == "list")
    return Value::of(items(node, value));
  if (which == "items")
    return method(node, value, "items", {});
  if (which == "string")
    return Value::of(text(node, value));
  if (which == "int") {
    if (value.kind == Value::String) {
      char *end = nullptr;
      errno = 0;
      long long number = std::strtoll(value.text.c_str(), &end, 10);
      if (errno || end == value.text.c_str() || *end)
        fail(node, "the text of an integer", rt::quoted(value.text));
      return Value::of(int64_t(number));
    }
    if (!value.isNumber() || !(std::fabs(value.number()) < 0x1p63))
      fail(node, "a number below 2^63", value.describe());
    return Value::of(value.kind == Value::Float ? int64_t(value.real) : value.integer);
  }
  if (which == "reverse") {
    ValueList list = items(node, value);
    std::reverse(list.begin(), list.end());
    return Value::of(std::move(list));
  }
  if (which == "map") {
    const Value *attribute = argument(args, SIZE_MAX, "attribute");
    ValueList list;
    for (const Value &item : items(node, value)) {
      if (attribute) {
        const Value *member = item.member(needString(node, *attribute));
        list.push_back(member ? *member : Value());
      } else {
        TemplateArguments rest;
        rest.positional.assign(args.positional.begin() + (args.positional.empty() ? 0 : 1), args.positional.end());
        list.push_back(filter(node, needString(node, need(0, "filter")), item, rest));
      }
    }
    return Value::of(std::move(list));
  }
  if (which == "selectattr" || which == "rejectattr" || which == "select" || which == "reject")
    return select(node, which, value, args);
  if (which == "safe")
    return value;
  fail(node,
       "one of the filters trim, tojson, length, count, upper, lower, title, capitalize, replace, join, default, "
       "first, last, list, items, string, int, reverse, map, select, reject, selectattr, rejectattr, safe",
       rt::quoted(which));
}

bool TemplateEvaluator::test(const Node &node, const std::string &which, const Value &value,
                             const TemplateArguments &args) {
  auto other = [&]() -> const Value & {
    if (args.positional.empty())
      fail(node, "an argument of the test " + which, "none");
    return args.positional[0];
  };
  if (which == "defined")
    return value.kind != Value::Undefined;
  if (which == "undefined")
    return value.kind == Value::Undefined;
  if (which == "none")
    return value.kind == Value::None;
  if (which == "string")
    return value.kind == Value::String;
  if (which == "number")
    return value.isNumber();
  if (which == "integer")
    return value.kind == Value::Int;
  if (which == "float")
    return value.kind == Value::Float;
  if (which == "boolean")
    return value.kind == Value::Bool;
  if (which == "mapping")
    return value.kind == Value::Dict;
  if (which == "sequence" || which == "iterable")
    return value.kind == Value::List || value.kind == Value::String || value.kind == Value::Dict;
  if (which == "true" || which == "false")
    return value.kind == Value::Bool && (value.integer != 0) == (which == "true");
  if (which == "equalto" || which == "eq" || which == "==")
    return equal(value, other());
  if (which == "ne" || which == "!=")
    return !equal(value, other());
  if (which == "in")
    return contains(node, other(), value);
  if (which == "odd" || which == "even")
    return (needInteger(node, value) % 2 != 0) == (which == "odd");
  fail(node,
       "one of the tests defined, undefined, none, string, number, integer, float, boolean, mapping, sequence, "
       "iterable, true, false, equalto, eq, ne, in, odd, even",
       rt::quoted(which));
}

} // namespace loopc::rt
