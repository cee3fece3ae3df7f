// The evaluator of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "ChatTemplateNode.h"
#include "ChatTemplateValue.h"

namespace loopc::rt {

/// Arguments of a call, filter or test, evaluated.
struct TemplateArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class TemplateEvaluator {
public:
  using Node = ChatTemplate::Node;
  TemplateEvaluator(const std::string &name, ValueDict variables) : name(name) { scopes.push_back(std::move(variables)); }
  ~TemplateEvaluator();

  std::string render(const Node &root);

private:
  enum class Flow { Next, Break, Continue };
  [[noreturn]] void fail(const Node &node, const std::string &expected, const std::string &found) const;
  Flow run(const Node &node, std::string &out);
  Flow runFor(const Node &node, std::string &out);
  void assign(const Node &node, Value value);
  void bind(const Node &node, ValueDict &scope, const Value &item);

  Value eval(const Node &node);
  Value evalBinary(const Node &node);
  Value evalCompare(const Node &node);
  Value evalIndex(const Node &node);
  Value evalSlice(const Node &node);
  Value evalCall(const Node &node);
  TemplateArguments arguments(const Node &node, size_t from);
  bool compare(const Node &node, const std::string &op, const Value &a, const Value &b);
  bool contains(const Node &node, const Value &container, const Value &item);
  const Value *variable(const std::string &key) const;

  // ChatTemplateBuiltins.cpp
  Value function(const Node &node, const std::string &which, const TemplateArguments &args);
  Value method(const Node &node, const Value &object, const std::string &which, const TemplateArguments &args);
  Value filter(const Node &node, const std::string &which, const Value &value, const TemplateArguments &args);
  bool test(const Node &node, const std::string &which, const Value &value, const TemplateArguments &args);
  Value select(const Node &node, const std::string &which, const Value &value, const TemplateArguments &args);
  ValueList items(const Node &node, const Value &value);
  std::string text(const Node &node, const Value &value) const;
  const std::string &needString(const Node &node, const Value &value) const;
  int64_t needInteger(const Node &node, const Value &value) const;
  void bound(const Node &node, size_t size) const;
  void spend(const Node &node, uint64_t count);

  const std::string &name;
  std::vector<ValueDict> scopes;
  std::vector<std::shared_ptr<ValueDict>> namespaces;
  uint64_t steps = 0;
  int depth = 0;
};

} // namespace loopc::rt
