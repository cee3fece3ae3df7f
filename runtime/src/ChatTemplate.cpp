// Evaluation of chat templates: statements, operators, names.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/ChatTemplate.h"
#include "ChatTemplateEval.h"
#include "JsonFile.h"
#include <cmath>

namespace loopc::rt {

namespace {
// A template comes with a model file and is not trusted: it can neither run forever nor fill the memory.
constexpr uint64_t maxSteps = 5'000'000;
constexpr uint64_t iterationSteps = 20; // a pass through a loop costs about as much as this many nodes
constexpr size_t maxSize = 64 << 20;
constexpr int maxDepth = 400;
} // namespace

TemplateEvaluator::~TemplateEvaluator() {
  // A namespace may hold itself; emptied, nothing does.
  for (auto &dict : namespaces)
    dict->clear();
}

void TemplateEvaluator::fail(const Node &node, const std::string &expected, const std::string &found) const {
  throw Error(name, "line " + std::to_string(node.line) + ", column " + std::to_string(node.column), expected, found);
}

void TemplateEvaluator::spend(const Node &node, uint64_t count) {
  steps += count;
  if (steps > maxSteps)
    fail(node, "at most " + std::to_string(maxSteps) + " steps", "more");
}

void TemplateEvaluator::bound(const Node &node, size_t size) const {
  if (size > maxSize)
    fail(node, "at most " + std::to_string(maxSize) + " bytes or items", std::to_string(size));
}

std::string TemplateEvaluator::render(const Node &root) {
  std::string out;
  try {
    run(root, out);
  } catch (const Error &error) {
    // Helpers of values know no place.
    if (error.file().empty() && error.place().empty())
      throw Error(name, "", "", error.message());
    throw;
  }
  return out;
}

const Value *TemplateEvaluator::variable(const std::string &key) const {
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
    for (const auto &[existing, value] : *scope)
      if (existing == key)
        return &value;
  return nullptr;
}

static void put(ValueDict &scope, const std::string &key, Value value) {
  for (auto &[existing, old] : scope)
    if (existing == key) {
      old = std::move(value);
      return;
    }
  scope.emplace_back(key, std::move(value));
}

void TemplateEvaluator::assign(const Node &node, Value value) {
  if (node.names.size() == 1)
    return put(scopes.back(), node.names[0], std::move(value));
  const Value *target = variable(node.names[0]);
  if (!target || !target->isNamespace)
    fail(node, "a namespace before '." + node.names[1] + "'", target ? target->describe() : "an undefined value");
  Value copy = *target;
  copy.setMember(node.names[1], std::move(value));
}

TemplateEvaluator::Flow TemplateEvaluator::run(const Node &node, std::string &out) {
  spend(node, 1);
  switch (node.kind) {
  case Node::Block:
    for (const auto &child : node.children)
      if (Flow flow = run(*child, out); flow != Flow::Next)
        return flow;
    return Flow::Next;
  case Node::Text:
    out += node.text;
    break;
  case Node::Print:
    out += text(node, eval(*node.children[0]));
    break;
  case Node::If:
    for (size_t i = 0; i + 1 < node.children.size(); i += 2)
      if (eval(*node.children[i]).truthy())
        return run(*node.children[i + 1], out);
    if (node.children.size() % 2)
      return run(*node.children.back(), out);
    return Flow::Next;
  case Node::For:
    return runFor(node, out);
  case Node::Set:
    assign(node, eval(*node.children[0]));
    break;
  case Node::SetBlock: {
    std::string value;
    Flow flow = run(*node.children[0], value);
    assign(node, Value::of(std::move(value)));
    return flow;
  }
  case Node::Break:
    return Flow::Break;
  case Node::Continue:
    return Flow::Continue;
  default:
    fail(node, "a statement", "an expression");
  }
  bound(node, out.size());
  return Flow::Next;
}

void TemplateEvaluator::bind(const Node &node, ValueDict &scope, const Value &item) {
  if (node.names.size() == 1)
    return put(scope, node.names[0], item);
  if (item.kind != Value::List || item.list->size() != node.names.size())
    fail(node, "items of " + std::to_string(node.names.size()) + " values", item.describe());
  for (size_t i = 0; i < node.names.size(); ++i)
    put(scope, node.names[i], (*item.list)[i]);
}

TemplateEvaluator::Flow TemplateEvaluator::runFor(const Node &node, std::string &out) {
  ValueList list = items(node, eval(*node.children[0]));
  if (node.children[2]) {
    ValueList kept;
    for (Value &item : list) {
      spend(node, iterationSteps);
      scopes.emplace_back();
      bind(node, scopes.back(), item);
      bool keep = eval(*node.children[2]).truthy();
      scopes.pop_back();
      if (keep)
        kept.push_back(std::move(item));
    }
    list = std::move(kept);
  }
  if (list.empty())
    return node.children[3] ? run(*node.children[3], out) : Flow::Next;
  auto count = int64_t(list.size());
  for (int64_t i = 0; i < count; ++i) {
    spend(node, iterationSteps);
    ValueDict loop{{"index", Value::of(i + 1)},
                   {"index0", Value::of(i)},
                   {"revindex", Value::of(count - i)},
                   {"revindex0", Value::of(count - i - 1)},
                   {"first", Value::of(i == 0)},
                   {"last", Value::of(i + 1 == count)},
                   {"length", Value::of(count)}};
    if (i > 0)
      loop.emplace_back("previtem", list[size_t(i - 1)]);
    if (i + 1 < count)
      loop.emplace_back("nextitem", list[size_t(i + 1)]);
    // A new scope each time: what the body sets is gone after it.
    scopes.emplace_back();
    put(scopes.back(), "loop", Value::of(std::move(loop)));
    bind(node, scopes.back(), list[size_t(i)]);
    Flow flow = run(*node.children[1], out);
    scopes.pop_back();
    if (flow == Flow::Break)
      break;
  }
  return Flow::Next;
}

Value TemplateEvaluator::eval(const Node &node) {
  spend(node, 1);
  struct Depth {
    int &depth;
    ~Depth() { --depth; }
  } guard{depth};
  if (++depth > maxDepth)
    fail(node, "expressions nested at most " + std::to_string(maxDepth) + " deep", "more");
  switch (node.kind) {
  case Node::StringLit:
    return Value::of(node.text);
  case Node::IntLit:
    return Value::of(node.integer);
  case Node::FloatLit:
    return Value::of(node.real);
  case Node::BoolLit:
    return Value::of(node.integer != 0);
  case Node::NoneLit:
    return Value::none();
  case Node::List: {
    ValueList list;
    for (const auto &child : node.children)
      list.push_back(eval(*child));
    return Value::of(std::move(list));
  }
  case Node::Dict: {
    Value dict = Value::of(ValueDict());
    for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
      Value key = eval(*node.children[i]);
      dict.setMember(needString(node, key), eval(*node.children[i + 1]));
    }
    return dict;
  }
  case Node::Name:
    if (const Value *value = variable(node.text))
      return *value;
    return {};
  case Node::Attribute: {
    Value object = eval(*node.children[0]);
    if (object.kind == Value::Undefined)
      fail(node, "a value before '." + node.text + "'", "an undefined one");
    const Value *member = object.member(node.text);
    return member ? *member : Value();
  }
  case Node::Index:
    return evalIndex(node);
  case Node::Slice:
    return evalSlice(node);
  case Node::Call:
    return evalCall(node);
  case Node::Filter: {
    Value value = eval(*node.children[0]);
    return filter(node, node.text, value, arguments(node, 1));
  }
  case Node::Test: {
    Value value = eval(*node.children[0]);
    return Value::of(test(node, node.text, value, arguments(node, 1)) != (node.integer != 0));
  }
  case Node::Unary: {
    Value value = eval(*node.children[0]);
    if (node.text == "not")
      return Value::of(!value.truthy());
    if (!value.isNumber())
      fail(node, "a number after '" + node.text + "'", value.describe());
    if (node.text == "+")
      return value;
    if (value.kind == Value::Float)
      return Value::of(-value.real);
    int64_t negative;
    if (__builtin_sub_overflow(int64_t(0), value.integer, &negative))
      fail(node, "an integer of 64 bits", "a larger one");
    return Value::of(negative);
  }
  case Node::Binary:
    return evalBinary(node);
  case Node::Compare:
    return evalCompare(node);
  case Node::Conditional:
    if (eval(*node.children[1]).truthy())
      return eval(*node.children[0]);
    return node.children[2] ? eval(*node.children[2]) : Value();
  default:
    fail(node, "an expression", "a statement");
  }
}

Value TemplateEvaluator::evalBinary(const Node &node) {
  const std::string &op = node.text;
  Value a = eval(*node.children[0]);
  if (op == "and" || op == "or")
    return a.truthy() == (op == "or") ? a : eval(*node.children[1]);
  Value b = eval(*node.children[1]);
  if (op == "~") {
    std::string joined = text(node, a) + text(node, b);
    bound(node, joined.size());
    return Value::of(std::move(joined));
  }
  if (op == "+" && a.kind == Value::String && b.kind == Value::String) {
    bound(node, a.text.size() + b.text.size());
    return Value::of(a.text + b.text);
  }
  if (op == "+" && a.kind == Value::List && b.kind == Value::List) {
    bound(node, (a.list->size() + b.list->size()) * sizeof(Value));
    ValueList joined = *a.list;
    joined.insert(joined.end(), b.list->begin(), b.list->end());
    return Value::of(std::move(joined));
  }
  if (!a.isNumber() || !b.isNumber())
    fail(node, "two numbers" + std::string(op == "+" ? ", strings or lists" : "") + " around '" + op + "'",
         std::string(a.describe()) + " and " + b.describe());
  if ((op == "/" || op == "//" || op == "%") && b.number() == 0)
    fail(node, "a divisor other than 0", "0");
  if (op == "/" || a.kind == Value::Float || b.kind == Value::Float) {
    double x = a.number(), y = b.number();
    if (op == "+")
      return Value::of(x + y);
    if (op == "-")
      return Value::of(x - y);
    if (op == "*")
      return Value::of(x * y);
    if (op == "/")
      return Value::of(x / y);
    if (op == "//")
      return Value::of(std::floor(x / y));
    return Value::of(x - y * std::floor(x / y));
  }
  int64_t x = a.integer, y = b.integer, result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(x, y, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(x, y, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(x, y, &result);
  } else if (y == -1) {
    overflow = op == "//" && __builtin_sub_overflow(int64_t(0), x, &result);
  } else {
    // Python rounds down; C++ rounds towards 0.
    int64_t quotient = x / y, rest = x % y;
    if (rest && (rest < 0) != (y < 0)) {
      --quotient;
      rest += y;
    }
    result = op == "//" ? quotient : rest;
  }
  if (overflow)
    fail(node, "an integer of 64 bits", "a larger one");
  return Value::of(result);
}

bool TemplateEvaluator::contains(const Node &node, const Value &container, const Value &item) {
  if (container.kind == Value::String)
    return container.text.find(needString(node, item)) != std::string::npos;
  if (container.kind == Value::Dict)
    return item.kind == Value::String && container.member(item.text);
  if (container.kind != Value::List)
    fail(node, "a string, list or dictionary after 'in'", container.describe());
  for (const Value &candidate : *container.list)
    if (equal(candidate, item))
      return true;
  return false;
}

bool TemplateEvaluator::compare(const Node &node, const std::string &op, const Value &a, const Value &b) {
  if (op == "==" || op == "!=")
    return equal(a, b) == (op == "==");
  if (op == "in" || op == "not in")
    return contains(node, b, a) == (op == "in");
  int order;
  if (a.kind == Value::String && b.kind == Value::String)
    order = a.text.compare(b.text);
  else if (a.isNumber() && b.isNumber())
    order = a.number() < b.number() ? -1 : a.number() > b.number();
  else
    fail(node, "two numbers or two strings around '" + op + "'", std::string(a.describe()) + " and " + b.describe());
  return op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
}

Value TemplateEvaluator::evalCompare(const Node &node) {
  Value left = eval(*node.children[0]);
  for (size_t i = 0; i < node.names.size(); ++i) {
    Value right = eval(*node.children[i + 1]);
    if (!compare(node, node.names[i], left, right))
      return Value::of(false);
    left = std::move(right);
  }
  return Value::of(true);
}

Value TemplateEvaluator::evalIndex(const Node &node) {
  Value object = eval(*node.children[0]), index = eval(*node.children[1]);
  if (object.kind == Value::Dict) {
    const Value *member = index.kind == Value::String ? object.member(index.text) : nullptr;
    return member ? *member : Value();
  }
  if (object.kind != Value::List && object.kind != Value::String)
    fail(node, "a list, string or dictionary before '['", object.describe());
  int64_t at = needInteger(node, index);
  // -1 has no end after it: [-1:] up to the absent end.
  Value one = sliced(object, at, at == -1 || at == INT64_MAX ? INT64_MIN : at + 1, 1);
  int64_t length = object.kind == Value::List ? int64_t(object.list->size()) : textLength(object.text);
  if (at >= length || at < -length)
    return {};
  return object.kind == Value::List ? one.list->front() : one;
}

Value TemplateEvaluator::evalSlice(const Node &node) {
  Value object = eval(*node.children[0]);
  if (object.kind != Value::List && object.kind != Value::String)
    fail(node, "a list or string before '['", object.describe());
  int64_t parts[3] = {INT64_MIN, INT64_MIN, 1};
  for (size_t i = 0; i < 3; ++i)
    if (node.children[i + 1])
      if (Value part = eval(*node.children[i + 1]); part.kind != Value::None)
        parts[i] = needInteger(node, part);
  if (parts[2] == 0)
    fail(node, "a step other than 0", "0");
  return sliced(object, parts[0], parts[1], parts[2]);
}

TemplateArguments TemplateEvaluator::arguments(const Node &node, size_t from) {
  TemplateArguments args;
  for (size_t i = from; i < node.children.size(); ++i)
    args.positional.push_back(eval(*node.children[i]));
  for (size_t i = 0; i < node.names.size(); ++i)
    args.named.emplace_back(node.names[i], eval(*node.named[i]));
  return args;
}

Value TemplateEvaluator::evalCall(const Node &node) {
  const Node &callee = *node.children[0];
  if (callee.kind == Node::Name)
    return function(callee, callee.text, arguments(node, 1));
  if (callee.kind == Node::Attribute) {
    Value object = eval(*callee.children[0]);
    return method(callee, object, callee.text, arguments(node, 1));
  }
  fail(callee, "the name of a function or method", "another expression");
}

std::string ChatTemplate::apply(std::span<const ChatMessage> messages, bool addGenerationPrompt,
                                std::string_view bosToken, std::string_view eosToken) const {
  ValueList list;
  for (const ChatMessage &message : messages)
    list.push_back(Value::of(ValueDict{{"role", Value::of(message.role)}, {"content", Value::of(message.content)}}));
  ValueDict variables{{"messages", Value::of(std::move(list))},
                      {"add_generation_prompt", Value::of(addGenerationPrompt)},
                      {"bos_token", Value::of(std::string(bosToken))},
                      {"eos_token", Value::of(std::string(eosToken))}};
  return TemplateEvaluator(name, std::move(variables)).render(*root);
}

std::string ChatTemplate::render(std::string_view variablesJson) const {
  nlohmann::ordered_json json;
  try {
    json = nlohmann::ordered_json::parse(variablesJson);
  } catch (const nlohmann::json::exception &error) {
    throw Error(name, "variables", "JSON", jsonProblem(error));
  }
  if (!json.is_object())
    throw Error(name, "variables", "a JSON object", json.type_name());
  return TemplateEvaluator(name, std::move(*Value::of(json).dict)).render(*root);
}

} // namespace loopc::rt
