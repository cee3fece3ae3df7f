// Values of chat templates: those of Python, as far as templates use them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace loopc::rt {

struct Value;
using ValueList = std::vector<Value>;
/// Insertion order is kept, as Python does.
using ValueDict = std::vector<std::pair<std::string, Value>>;

/// Lists and dictionaries are shared, not copied (a namespace is written through every name it has).
struct Value {
  enum Kind { Undefined, None, Bool, Int, Float, String, List, Dict } kind = Undefined;
  int64_t integer = 0; ///< Bool, Int
  double real = 0;
  std::string text;
  std::shared_ptr<ValueList> list;
  std::shared_ptr<ValueDict> dict;
  bool isNamespace = false;

  static Value none() {
    Value v;
    v.kind = None;
    return v;
  }
  static Value of(bool b) {
    Value v;
    v.kind = Bool;
    v.integer = b;
    return v;
  }
  static Value of(int64_t i) {
    Value v;
    v.kind = Int;
    v.integer = i;
    return v;
  }
  static Value of(double d) {
    Value v;
    v.kind = Float;
    v.real = d;
    return v;
  }
  static Value of(std::string s) {
    Value v;
    v.kind = String;
    v.text = std::move(s);
    return v;
  }
  static Value of(ValueList items) {
    Value v;
    v.kind = List;
    v.list = std::make_shared<ValueList>(std::move(items));
    return v;
  }
  static Value of(ValueDict items) {
    Value v;
    v.kind = Dict;
    v.dict = std::make_shared<ValueDict>(std::move(items));
    return v;
  }
  static Value of(const nlohmann::ordered_json &json, int depth = 0);

  bool isNumber() const { return kind == Int || kind == Float || kind == Bool; }
  double number() const { return kind == Float ? real : double(integer); }
  bool truthy() const;
  const Value *member(const std::string &key) const;
  void setMember(const std::string &key, Value value);
  /// `a string`, `a list`, … for messages.
  const char *describe() const;
};

bool equal(const Value &a, const Value &b, int depth = 0);
/// As json.dumps(ensure_ascii=False): indent < 0 gives one line. Throws Error for undefined values.
std::string toJson(const Value &value, int indent);
/// str() of a scalar; lists and dictionaries have none here (false).
bool toText(const Value &value, std::string &out);

/// Characters, not bytes.
int64_t textLength(const std::string &text);
/// Items of text or list by Python's slice rules; absent ends are INT64_MIN.
Value sliced(const Value &value, int64_t begin, int64_t end, int64_t step);

} // namespace loopc::rt
