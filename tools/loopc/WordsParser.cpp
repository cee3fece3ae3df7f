// Parser of words files: one rule a line, `when` blocks, located errors.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "WordsLexer.h"
#include <algorithm>

namespace loopc::words {
namespace {

class Parser {
public:
  Parser(const Table &table, std::vector<Token> tokens) : table(table), tokens(std::move(tokens)) {}

  Expr runExpression() {
    Expr result = expression();
    if (peek().kind != Token::Kind::End)
      fail("the end of the expression");
    return result;
  }

  void run(std::vector<Rule> &rules) {
    while (true) {
      while (peek().kind == Token::Kind::NewLine)
        ++index;
      if (peek().kind == Token::Kind::End) {
        if (depth)
          fail("`}`");
        return;
      }
      if (isPunct("}")) {
        if (depths.empty())
          fail("a rule");
        conditions.resize(depths.back());
        depths.pop_back();
        --depth;
        ++index;
        continue;
      }
      statement(rules);
    }
  }

private:
  const Token &peek(size_t ahead = 0) const { return tokens[std::min(index + ahead, tokens.size() - 1)]; }
  [[noreturn]] void fail(const std::string &expected) const { table.fail(peek().place, expected, describe(peek())); }
  bool isPunct(const char *text) const { return peek().kind == Token::Kind::Punct && peek().text == text; }
  bool isName(const char *text) const { return peek().kind == Token::Kind::Name && peek().text == text; }
  bool acceptPunct(const char *text) {
    if (!isPunct(text))
      return false;
    ++index;
    return true;
  }
  bool acceptName(const char *text) {
    if (!isName(text))
      return false;
    ++index;
    return true;
  }
  void expectPunct(const char *text) {
    if (!acceptPunct(text))
      fail("`" + std::string(text) + "`");
  }
  std::string name(const char *what) {
    if (peek().kind != Token::Kind::Name)
      fail(what);
    return tokens[index++].text;
  }
  std::string string(const char *what) {
    if (peek().kind != Token::Kind::Text)
      fail(what);
    return tokens[index++].text;
  }
  void endOfLine() {
    if (peek().kind != Token::Kind::NewLine && peek().kind != Token::Kind::End && !isPunct("}"))
      fail("the end of the rule");
  }

  /// run.NAME, in.NAME, out.NAME; a text where the name has other characters or captures: out."prelude.{i}".
  std::string dotted() {
    expectPunct(".");
    if (peek().kind == Token::Kind::Text)
      return tokens[index++].text;
    return name("a key, or a text with captures");
  }

  void statement(std::vector<Rule> &rules) {
    Place place = peek().place;
    if (acceptName("when")) {
      depths.push_back(conditions.size());
      do
        conditions.push_back(condition());
      while (acceptName("and"));
      expectPunct("{");
      ++depth;
      return;
    }
    Rule rule;
    rule.place = place;
    rule.when = conditions;
    if (acceptName("skip")) {
      rule.kind = Rule::Kind::Skip;
      rule.name = string("a text that matches case names");
      rule.reason = string("the reason as a text");
    } else if (acceptName("config")) {
      rule.kind = Rule::Kind::Config;
      rule.name = string("a text that matches case names");
      rule.reason = string("the entry of config.json as a text");
    } else if (acceptName("run")) {
      rule.kind = Rule::Kind::Run;
      rule.name = dotted();
      rule.pattern = pattern();
      expectPunct("->");
      rule.actions = actions();
    } else if (acceptName("in")) {
      rule.kind = Rule::Kind::In;
      rule.name = dotted();
      rule.layout = layout();
      expectPunct("->");
      rule.actions = actions();
    } else if (acceptName("out")) {
      rule.kind = Rule::Kind::Out;
      rule.name = dotted();
      rule.layout = layout();
      expectPunct("->");
      if (acceptName("unsupported"))
        rule.reason = string("the reason as a text");
      else
        rule.value = expression();
    } else if (acceptName("case")) {
      rule.kind = Rule::Kind::Case;
      expectPunct("->");
      rule.actions = actions();
    } else {
      fail("`run.KEY`, `in.NAME`, `out.NAME`, `case`, `config`, `when` or `skip`");
    }
    endOfLine();
    rules.push_back(std::move(rule));
  }

  Condition condition() {
    Condition result;
    result.negated = acceptName("not");
    if (acceptName("kind")) {
      result.kind = Condition::Kind::Kind;
      result.text = string("a kind as a text");
    } else if (acceptName("case")) {
      result.kind = Condition::Kind::Case;
      result.text = string("a text that matches case names");
    } else if (acceptName("run")) {
      result.kind = Condition::Kind::Run;
      result.text = dotted();
      if (peek().kind == Token::Kind::Text)
        result.value = string("a text that matches the value");
    } else if (acceptName("in")) {
      result.kind = Condition::Kind::In;
      result.text = dotted();
    } else if (acceptName("out")) {
      result.kind = Condition::Kind::Out;
      result.text = dotted();
    } else {
      fail("`kind`, `case`, `run.KEY`, `in.NAME` or `out.NAME`");
    }
    return result;
  }

  Pattern pattern() {
    Pattern result;
    const Token &token = peek();
    if (token.kind == Token::Kind::Text) {
      result.kind = Pattern::Kind::Text;
      result.text = token.text;
      ++index;
    } else if (token.kind == Token::Kind::Number || isPunct("-")) {
      bool negative = acceptPunct("-");
      if (peek().kind != Token::Kind::Number)
        fail("a number");
      result.kind = Pattern::Kind::Literal;
      result.literal = negative ? -peek().number : peek().number;
      ++index;
    } else if (token.kind == Token::Kind::Name) {
      std::string text = tokens[index++].text;
      if (text == "_") {
        result.kind = Pattern::Kind::Any;
      } else if (text == "true" || text == "false") {
        result.kind = Pattern::Kind::Literal;
        result.literal = text == "true";
      } else if (text == "none") {
        result.kind = Pattern::Kind::Literal;
        result.literal = nullptr;
      } else {
        result.kind = acceptPunct("...") ? Pattern::Kind::List : Pattern::Kind::Scalar;
        result.text = text;
      }
    } else {
      fail("a number, a text, `true`, `false`, `none`, a name, `name...` or `_`");
    }
    return result;
  }

  std::vector<Axis> layout() {
    std::vector<Axis> result;
    expectPunct("[");
    if (!isPunct("]"))
      do {
        Axis axis;
        axis.name = name("an axis");
        if (axis.name.size() == 1 && std::string("NBSPDJWRQGTXAM").find(axis.name[0]) != std::string::npos) {
          axis.letter = axis.name[0];
          for (const Axis &other : result)
            if (other.letter == axis.letter)
              fail("each axis once");
        }
        result.push_back(axis);
      } while (acceptPunct(","));
    expectPunct("]");
    return result;
  }

  std::vector<Action> actions() {
    std::vector<Action> result;
    do
      result.push_back(action());
    while (acceptPunct(","));
    return result;
  }

  void segment(Action &action) {
    action.ofSegment = acceptName("at");
    if (action.ofSegment)
      action.expr = expression();
  }

  Action action() {
    Action result;
    result.place = peek().place;
    auto word = [&](Action::Kind kind, std::initializer_list<const char *> allowed) {
      result.kind = kind;
      std::string list;
      for (const char *one : allowed) {
        if (acceptName(one)) {
          result.name = one;
          return;
        }
        list += (list.empty() ? "`" : ", `") + std::string(one) + "`";
      }
      fail(list);
    };
    auto expr = [&](Action::Kind kind) {
      result.kind = kind;
      result.expr = expression();
    };
    if (peek().kind == Token::Kind::Name && peek(1).kind == Token::Kind::Punct && peek(1).text == "=") {
      result.name = name("an option");
      expectPunct("=");
      expr(Action::Kind::Set);
    } else if (acceptName("nothing")) {
      result.kind = Action::Kind::Nothing;
    } else if (acceptName("kv")) {
      result.kind = Action::Kind::Kv;
      result.name = string("a kv clause as a text");
    } else if (acceptName("order")) {
      word(Action::Kind::Order, {"declared", "token", "chunk"});
    } else if (acceptName("exits")) {
      word(Action::Kind::Exits, {"off", "leave", "select", "together"});
    } else if (acceptName("test")) {
      result.kind = Action::Kind::Test;
      result.name = name("the name of an exit");
    } else if (acceptName("check")) {
      if (!acceptName("every"))
        fail("`every`");
      expr(Action::Kind::CheckEvery);
    } else if (acceptName("last")) {
      if (!acceptName("check"))
        fail("`check`");
      result.kind = Action::Kind::LastCheck;
    } else if (acceptName("labels")) {
      result.kind = Action::Kind::Labels;
      result.name = acceptName("next") ? "next" : "";
      segment(result);
    } else if (acceptName("exit")) {
      if (!acceptName("after"))
        fail("`after`");
      expr(Action::Kind::ExitAfter);
    } else if (acceptName("min")) {
      if (!acceptName("loops"))
        fail("`loops`");
      expr(Action::Kind::MinLoops);
    } else if (acceptName("prompt")) {
      if (acceptName("untested"))
        result.kind = Action::Kind::Untested;
      else
        expr(Action::Kind::Prompt);
    } else if (acceptName("calls")) {
      expr(Action::Kind::Calls);
    } else if (acceptName("call")) {
      bool loops = acceptName("loops");
      if (!loops && !acceptName("back"))
        fail("`loops` or `back`");
      expr(loops ? Action::Kind::CallLoops : Action::Kind::CallBack);
    } else if (acceptName("generate")) {
      expr(Action::Kind::Generate);
    } else if (acceptName("draft")) {
      if (acceptName("loops"))
        expr(Action::Kind::DraftLoops);
      else if (acceptName("tokens"))
        expr(Action::Kind::DraftTokens);
      else if (acceptName("view")) {
        result.name = name("the name of an input");
        expr(Action::Kind::DraftView);
      } else
        fail("`loops`, `tokens` or `view`");
    } else if (acceptName("weight")) {
      result.kind = Action::Kind::Weight;
      result.name = string("the name of a weight as a text");
    } else if (acceptName("stop")) {
      expr(Action::Kind::Stop);
    } else if (acceptName("each")) {
      result.kind = Action::Kind::Each;
      result.name = name("the name of a captured list");
    } else if (acceptName("warm")) {
      result.kind = Action::Kind::Warm;
      result.name = name("the name of a value");
    } else if (acceptName("dtype")) {
      word(Action::Kind::DType, {"f32", "bf16", "f16"});
    } else if (acceptName("accident")) {
      result.kind = Action::Kind::Accident;
      result.name = name("the name of an accident");
    } else if (acceptName("tokens")) {
      result.kind = Action::Kind::Tokens;
      result.name = isName("of") ? "of" : "";
      if (acceptName("of"))
        result.expr = expression();
      else
        segment(result);
    } else if (acceptName("cuts")) {
      result.kind = Action::Kind::Cuts;
    } else if (acceptName("prefix")) {
      result.kind = Action::Kind::Prefix;
    } else if (acceptName("mask")) {
      result.kind = Action::Kind::Mask;
    } else if (acceptName("draw")) {
      result.kind = Action::Kind::Draw;
      result.name = name("the name of a draw");
      result.computed = acceptPunct("=");
      if (result.computed)
        result.expr = expression();
      else
        segment(result);
    } else if (acceptName("again")) {
      expr(Action::Kind::Again);
    } else if (acceptName("origin")) {
      result.kind = Action::Kind::Origin;
      result.name = string("the name of a section `init` as a text");
    } else if (acceptName("lead")) {
      expr(Action::Kind::Lead);
    } else if (acceptName("restarts")) {
      expr(Action::Kind::Restarts);
    } else if (acceptName("carry")) {
      result.kind = Action::Kind::Carry;
    } else if (acceptName("given")) {
      result.kind = Action::Kind::Given;
      result.name = name("the name of a value of the loop");
    } else if (acceptName("unsupported")) {
      result.kind = Action::Kind::Unsupported;
      result.name = string("the reason as a text");
    } else {
      fail("an action");
    }
    return result;
  }

  // Expressions, loosest first: if, or, and, comparison, sum, product, unary, postfix, primary.
  struct Nesting {
    explicit Nesting(Parser &parser) : parser(parser) {
      if (++parser.nesting > 100)
        parser.fail("fewer than 100 nested expressions");
    }
    ~Nesting() { --parser.nesting; }
    Parser &parser;
  };

  Expr expression() {
    Nesting guard(*this);
    if (isName("if")) {
      Expr result = node(Expr::Kind::If, "if");
      ++index;
      result.args.push_back(binary(0));
      if (!acceptName("then"))
        fail("`then`");
      result.args.push_back(expression());
      if (!acceptName("else"))
        fail("`else`");
      result.args.push_back(expression());
      return result;
    }
    return binary(0);
  }

  Expr node(Expr::Kind kind, std::string text) const {
    Expr result;
    result.kind = kind;
    result.text = std::move(text);
    result.place = peek().place;
    return result;
  }

  Expr binary(size_t level) {
    static const std::vector<std::vector<std::string>> levels = {
        {"or"}, {"and"}, {"<", "<=", ">", ">=", "==", "!="}, {"+", "-"}, {"*", "/", "%"}};
    if (level == levels.size())
      return unary();
    Expr left = binary(level + 1);
    while (true) {
      bool found = false;
      for (const std::string &op : levels[level])
        if ((peek().kind == Token::Kind::Punct || peek().kind == Token::Kind::Name) && peek().text == op) {
          Expr result = node(Expr::Kind::Binary, op);
          ++index;
          result.args.push_back(std::move(left));
          result.args.push_back(binary(level + 1));
          left = std::move(result);
          found = true;
          break;
        }
      if (!found)
        return left;
    }
  }

  Expr unary() {
    Nesting guard(*this);
    if (isPunct("-") || isName("not")) {
      Expr result = node(Expr::Kind::Unary, peek().text);
      ++index;
      result.args.push_back(unary());
      return result;
    }
    Expr result = primary();
    while (isPunct("[")) {
      Expr trace = node(Expr::Kind::Trace, "[]");
      ++index;
      Expr first = expression();
      if (acceptPunct(".."))
        trace.kind = Expr::Kind::TraceFrom;
      expectPunct("]");
      trace.args.push_back(std::move(result));
      trace.args.push_back(std::move(first));
      result = std::move(trace);
    }
    return result;
  }

  Expr primary() {
    const Token &token = peek();
    if (token.kind == Token::Kind::Number) {
      Expr result = node(Expr::Kind::Number, token.text);
      result.number = token.number;
      ++index;
      return result;
    }
    if (token.kind == Token::Kind::Text) {
      Expr result = node(Expr::Kind::Text, token.text);
      ++index;
      return result;
    }
    if (acceptPunct("(")) {
      Expr result = expression();
      expectPunct(")");
      return result;
    }
    Expr result = node(Expr::Kind::Name, token.text);
    name("a number, a name or `(`");
    if (acceptPunct("(")) {
      result.kind = Expr::Kind::Call;
      if (!isPunct(")"))
        do
          result.args.push_back(expression());
        while (acceptPunct(","));
      expectPunct(")");
      for (const ValueFunction &function : valueFunctions())
        if (result.text == function.name) {
          if (result.args.size() != function.operands)
            table.fail(result.place, std::to_string(function.operands) + " operands of `" + result.text + "`",
                       std::to_string(result.args.size()));
          return result;
        }
      std::string list;
      for (const ValueFunction &function : valueFunctions())
        list += (list.empty() ? "" : ", ") + std::string(function.name);
      table.fail(result.place, "one of the functions " + list, "`" + result.text + "`");
    }
    return result;
  }

  const Table &table;
  std::vector<Token> tokens;
  size_t index = 0;
  unsigned depth = 0, nesting = 0;
  std::vector<Condition> conditions;
  std::vector<size_t> depths;
};

} // namespace

Table parse(const std::string &file, const std::string &text) {
  Table table;
  table.file = file;
  Parser(table, tokenize(table, text)).run(table.rules);
  return table;
}

Expr parseExpression(const Table &table, const std::string &text, Place place) {
  try {
    return Parser(table, tokenize(table, text)).runExpression();
  } catch (const Error &) {
    table.fail(place, "an expression in `{}`", "`" + text + "`");
  }
}

} // namespace loopc::words
