// Matching and evaluation of words: patterns, conditions, arithmetic on constants.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Words.h"
#include <algorithm>
#include <cmath>

namespace loopc::words {

const std::vector<ValueFunction> &valueFunctions() {
  static const std::vector<ValueFunction> list = {
      {"weight", 1},    // the published tensor of that name
      {"product", 2},   // of two such matrices
      {"min", 2},       // of two constants
      {"max", 2},       // of two constants
      {"hazard", 1},    // exit probabilities of a trace of hazards: g_t prod_{j<t} (1 - g_j), the last takes the rest
      {"cumsum", 1},    // running sum over a trace
      {"sigmoid", 1},   // element by element
      {"reach", 2},     // first iteration of a trace whose value is at least the second, else the last
      {"bf16", 1},      // the same with every operand and result rounded to bf16
      {"expect", 2},    // sum over iterations of weight times value
      {"reached", 1},   // a trace up to the last iteration that was run
      {"last", 1},      // at the last position
      {"prompted", 1},  // at the last position of the prompt
      {"tail", 3},      // of a last axis of so many entries the last few
      {"distinct", 4},  // different entries in the rounds of each of so many layers, whose first execution has that number: mean over tokens and layers
      {"size", 1},      // of constants: along an axis of the tensor, or of a given one
      {"pair", 2},      // of constants: a list of two; one that is a list brings its entries
      {"rows", 2},      // the features of a position as so many positions
      {"features", 2},  // the first features, and how many
      {"first", 2},     // at the first positions, and how many
      {"every", 2},     // at the last of each so many positions, and at the very last
      {"position", 0},  // of every token
      {"where", 2},     // a value at the tokens where the second is not 0, one after the other
      {"active", 2},    // a value at the tokens that run an iteration, one after the other
      {"append", 2},    // the second as one more entry of the last axis of the first
      {"concat", 2},    // a value before the first iteration, then a trace
      {"layer", 3},     // value of one layer: number of the stack in the text, index, name
      {"turn", 3},      // value of one iteration of a loop inside another: number of the loop in the text, iteration, name
      {"steps", 0},     // iterations of its sequence after each iteration of a run or segment of a carry, axis T
      {"left", 1},      // 1 where the sequence left: its exit fired, or it has run so many iterations; axis T
      {"tokens", 0},    // given tokens by segment, axis T
      {"labels", 0},    // given labels by segment, axis T
      {"ahead", 1},     // of a carry: a value in the segment that would have followed with the same data
      {"movement", 2},  // by restart, how far a trace of logits moved in its last iterations, so many
      {"ranked", 2},    // restarts from the least to the greatest of these
      {"settled", 2},   // answer of the first of them
      {"restarts_count", 4}, // trace of logits, iterations, restarts that are chosen, name of a counter
      {"sequence_of", 2}, // number of a sequence, and a value of it alone
      {"layers", 1},    // a name in every layer that binds it, in the order of execution, axis X
      {"top", 2},       // places of the largest entries of the last axis, the largest first, and how many
      {"ascending", 1}, // the last axis in ascending order
      {"keys", 0},      // K planes as kept at the end, axis X
      {"values", 0},    // V planes
      {"planes", 0},    // numbers of the planes with rows of their own, axis X; layers of the coda count down from -1
      {"present", 0},   // 1 where a position wrote a row of its own into the plane, axis X
      {"column", 2},    // of constants: the entries of one key of a list of groups, 0 where there is none
      {"executed", 0},  // iterations that were run
      {"fired", 0},     // 1 where the model's exit fired
      {"tests", 0},     // number of tests of the model's exit
      {"tested", 1},    // a value of the test at each test, then -1
      {"tested_mean", 1}, // its mean over the tokens of the call
      {"entry", 2},     // of constants: one of a list, by its number
      {"count", 1},     // of constants: the entries of a list
      {"sum", 1},       // of constants: the sum of a list
      {"over_batch", 1}, // mean over the sequences
      {"at", 2},         // entries of a trace by a list of numbers
      {"filled", 3},     // a number, then a trace as far as it was run, then its least entry; as many entries as the last says and one
      {"total", 1},      // sum over the sequences
      {"stablemax_loss", 2}, // of logits and labels, mean over the labelled tokens of a sequence
      {"accuracy", 2},   // of logits and labels: the part of the labelled tokens that is right
      {"exact", 2},      // of logits and labels: 1 if all labelled tokens are right
      {"bce", 2},        // of a logit and a target
      {"agrees", 2},     // 1 where a logit of at least 0 says the same as a flag
      {"pooled_cross_entropy", 1}, // the same over all sequences
      {"cross_entropy", 1}, // of logits and the labels of the case, mean over those that are not -100
      {"depth", 0},     // iterations in the state that was read out
      {"accepted", 0},  // by round of speculation: drafts that stand
      {"drafts", 0},    // by round: draft tokens
      {"corrections", 0}, // by round: the token that the verifier added
      {"generated", 0}, // ids of greedy generation
      {"sequence", 0},  // prompt and generated ids
      {"greedy", 1},    // a value of the run that generated, after its last token was taken in too
  };
  return list;
}

void Table::fail(Place place, const std::string &expected, const std::string &found) const {
  throw Error(file + ":" + std::to_string(place.line) + ":" + std::to_string(place.column) + ": expected " + expected +
              ", but got " + found);
}

namespace {

Json captured(const std::string &text) {
  bool digits = !text.empty() && text.size() < 10 &&
                std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
  return digits ? Json(std::stoi(text)) : Json(text);
}

bool matchFrom(const std::string &pattern, size_t p, const std::string &text, size_t t, Scope &captures) {
  while (p < pattern.size()) {
    size_t close = pattern[p] == '{' ? pattern.find('}', p) : std::string::npos;
    if (pattern[p] == '*' || close != std::string::npos) {
      size_t next = pattern[p] == '*' ? p + 1 : close + 1;
      for (size_t end = text.size() + 1; end-- > t;) {
        if (pattern[p] != '*' && end == t)
          break; // a capture takes at least one byte
        Scope attempt = captures;
        if (!matchFrom(pattern, next, text, end, attempt))
          continue;
        if (pattern[p] != '*')
          attempt[pattern.substr(p + 1, close - p - 1)] = captured(text.substr(t, end - t));
        captures = std::move(attempt);
        return true;
      }
      return false;
    }
    if (t >= text.size() || pattern[p] != text[t])
      return false;
    ++p;
    ++t;
  }
  return t == text.size();
}

bool holds(const Condition &condition, const CaseFacts &facts) {
  Scope ignored;
  bool result = false;
  switch (condition.kind) {
  case Condition::Kind::Kind:
    result = matchText(condition.text, facts.kind, ignored);
    break;
  case Condition::Kind::Case:
    result = matchText(condition.text, facts.name, ignored);
    break;
  case Condition::Kind::Run:
    result = facts.run.count(condition.text) != 0;
    if (!condition.value.empty()) {
      auto found = facts.text.find(condition.text);
      result = found != facts.text.end() && matchText(condition.value, found->second, ignored);
    }
    break;
  case Condition::Kind::In:
    result = facts.in.count(condition.text) != 0;
    break;
  case Condition::Kind::Out:
    result = facts.out.count(condition.text) != 0;
    break;
  }
  return result != condition.negated;
}

} // namespace

bool matchText(const std::string &pattern, const std::string &text, Scope &captures) {
  return matchFrom(pattern, 0, text, 0, captures);
}

bool Pattern::match(const Json &value, Scope &captures) const {
  switch (kind) {
  case Kind::Any:
    return true;
  case Kind::Scalar:
    if (!value.is_primitive() || value.is_null())
      return false;
    captures[text] = value;
    return true;
  case Kind::List:
    if (!value.is_array())
      return false;
    captures[text] = value;
    return true;
  case Kind::Literal:
    if (literal.is_number())
      return value.is_number() && value.get<double>() == literal.get<double>();
    return value == literal;
  case Kind::Text:
    return value.is_string() && matchText(text, value.get<std::string>(), captures);
  }
  return false;
}

const Rule *Table::find(Rule::Kind kind, const std::string &name, const CaseFacts &facts, const Json *value, int rank,
                        Scope &captures) const {
  for (const Rule &rule : rules) {
    if (rule.kind != kind)
      continue;
    Scope attempt = captures;
    if (!matchText(rule.name, name, attempt))
      continue;
    if (!std::all_of(rule.when.begin(), rule.when.end(),
                     [&](const Condition &condition) { return holds(condition, facts); }))
      continue;
    if (value && kind == Rule::Kind::Run && !rule.pattern.match(*value, attempt))
      continue;
    if (rank >= 0 && size_t(rank) != rule.layout.size())
      continue;
    captures = std::move(attempt);
    return &rule;
  }
  return nullptr;
}

std::string Table::skips(const std::string &caseName) const {
  Scope ignored;
  for (const Rule &rule : rules)
    if (rule.kind == Rule::Kind::Skip && matchText(rule.name, caseName, ignored))
      return rule.reason;
  return "";
}

bool Table::mentions(const std::string &caseKind) const {
  Scope ignored;
  for (const Rule &rule : rules)
    for (const Condition &condition : rule.when)
      if (condition.kind == Condition::Kind::Kind && !condition.negated && matchText(condition.text, caseKind, ignored))
        return true;
  return false;
}

Json evaluate(const Table &table, const Expr &expr, const Scope &scope) {
  switch (expr.kind) {
  case Expr::Kind::Number:
    return expr.number;
  case Expr::Kind::Text:
    return interpolate(table, expr.text, expr.place, scope);
  case Expr::Kind::Name: {
    if (expr.text == "true" || expr.text == "false")
      return expr.text == "true";
    if (expr.text == "none")
      return nullptr;
    auto found = scope.find(expr.text);
    if (found == scope.end())
      table.fail(expr.place, "a captured name, an option or a config entry", "`" + expr.text + "`");
    return found->second;
  }
  case Expr::Kind::If: {
    Json condition = evaluate(table, expr.args[0], scope);
    if (!condition.is_boolean())
      table.fail(expr.args[0].place, "a condition", condition.dump());
    return evaluate(table, expr.args[condition.get<bool>() ? 1 : 2], scope);
  }
  case Expr::Kind::Unary: {
    if (expr.text == "-")
      return -evaluateNumber(table, expr.args[0], scope);
    Json operand = evaluate(table, expr.args[0], scope);
    if (!operand.is_boolean())
      table.fail(expr.args[0].place, "a condition", operand.dump());
    return !operand.get<bool>();
  }
  case Expr::Kind::Binary: {
    const std::string &op = expr.text;
    if (op == "and" || op == "or") {
      Json left = evaluate(table, expr.args[0], scope), right = evaluate(table, expr.args[1], scope);
      if (!left.is_boolean() || !right.is_boolean())
        table.fail(expr.place, "two conditions", left.dump() + " and " + right.dump());
      return op == "and" ? left.get<bool>() && right.get<bool>() : left.get<bool>() || right.get<bool>();
    }
    if (op == "==" || op == "!=") {
      Json left = evaluate(table, expr.args[0], scope), right = evaluate(table, expr.args[1], scope);
      return (left == right) == (op == "==");
    }
    double a = evaluateNumber(table, expr.args[0], scope), b = evaluateNumber(table, expr.args[1], scope);
    if ((op == "/" || op == "%") && b == 0)
      table.fail(expr.args[1].place, "a divisor other than 0", "0");
    switch (op[0]) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '/':
      return a / b;
    case '%':
      return a - b * std::floor(a / b);
    case '<':
      return op.size() > 1 ? a <= b : a < b;
    default:
      return op.size() > 1 ? a >= b : a > b;
    }
  }
  case Expr::Kind::Call:
    if (expr.text == "min" || expr.text == "max") {
      double a = evaluateNumber(table, expr.args[0], scope), b = evaluateNumber(table, expr.args[1], scope);
      return expr.text == "min" ? std::min(a, b) : std::max(a, b);
    }
    if (expr.text == "count" || expr.text == "sum") {
      Json list = evaluate(table, expr.args[0], scope);
      bool numbers = list.is_array() && std::all_of(list.begin(), list.end(), [](const Json &each) { return each.is_number(); });
      if (!numbers)
        table.fail(expr.args[0].place, "a list of numbers", list.dump());
      double total = 0;
      for (const Json &each : list)
        total += expr.text == "count" ? 1 : each.get<double>();
      return total;
    }
    if (expr.text == "entry") {
      Json list = evaluate(table, expr.args[0], scope);
      double number = evaluateNumber(table, expr.args[1], scope);
      if (!list.is_array() || number < 0 || number >= double(list.size()))
        table.fail(expr.place, "a list and the number of one of its entries", list.dump() + " and " + Json(number).dump());
      return list[size_t(number)];
    }
    if (expr.text == "pair") {
      Json result = Json::array();
      for (const Expr &arg : expr.args) {
        Json entries = evaluate(table, arg, scope);
        for (const Json &entry : entries.is_array() ? entries : Json::array({entries}))
          result.push_back(entry);
      }
      return result;
    }
    if (expr.text == "size") {
      Json axis = evaluate(table, expr.args[0], scope);
      auto found = scope.find("size " + (axis.is_string() ? axis.get<std::string>() : ""));
      if (found == scope.end())
        table.fail(expr.place, "an axis of the tensor or of a given one", axis.dump());
      return found->second;
    }
    if (expr.text == "column") {
      Json list = evaluate(table, expr.args[0], scope), key = evaluate(table, expr.args[1], scope);
      if (!list.is_array() || !key.is_string())
        table.fail(expr.place, "a list of groups and a key", list.dump() + " and " + key.dump());
      Json result = Json::array();
      for (const Json &group : list)
        result.push_back(group.is_object() ? group.value(key.get<std::string>(), Json(0)) : Json(0));
      return result;
    }
    [[fallthrough]];
  default:
    table.fail(expr.place, "a constant", "a value of the model");
  }
}

double evaluateNumber(const Table &table, const Expr &expr, const Scope &scope) {
  Json value = evaluate(table, expr, scope);
  if (!value.is_number())
    table.fail(expr.place, "a number", value.dump());
  return value.get<double>();
}

std::string interpolate(const Table &table, const std::string &text, Place place, const Scope &scope) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    size_t close = text[i] == '{' ? text.find('}', i) : std::string::npos;
    if (close == std::string::npos) {
      result += text[i];
      continue;
    }
    Json value = evaluate(table, parseExpression(table, text.substr(i + 1, close - i - 1), place), scope);
    if (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()))
      value = int64_t(value.get<double>());
    result += value.is_string() ? value.get<std::string>() : value.dump();
    i = close;
  }
  return result;
}

} // namespace loopc::words
