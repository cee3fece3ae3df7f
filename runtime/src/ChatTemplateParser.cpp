// The parser of chat templates (grammar and precedence: Jinja documentation, "Template Designer").
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ChatTemplateLexer.h"
#include "ChatTemplateNode.h"
#include "Utf8.h"
#include <charconv>
#include <cstdlib>
#include <initializer_list>

namespace loopc::rt {

namespace {

using Node = ChatTemplate::Node;
using NodePtr = std::shared_ptr<Node>;
using Token = TemplateToken;

constexpr int maxDepth = 200;

class Parser {
public:
  Parser(std::vector<Token> tokens, const std::string &name) : tokens(std::move(tokens)), name(name) {}

  NodePtr run() {
    NodePtr root = block({});
    if (!is(Token::End))
      fail("a statement or text", describe());
    return root;
  }

private:
  const Token &now() const { return tokens[at]; }
  bool is(Token::Kind kind) const { return now().kind == kind; }
  bool isOperator(std::string_view text) const { return is(Token::Operator) && now().text == text; }
  bool isName(std::string_view text) const { return is(Token::Name) && now().text == text; }
  bool takeOperator(std::string_view text) { return isOperator(text) && ++at; }
  bool takeName(std::string_view text) { return isName(text) && ++at; }

  std::string describe() const {
    switch (now().kind) {
    case Token::Text:
      return "text";
    case Token::PrintBegin:
      return "'{{'";
    case Token::PrintEnd:
      return "'}}'";
    case Token::BlockBegin:
      return "'{%'";
    case Token::BlockEnd:
      return "'%}'";
    case Token::End:
      return "the end of the template";
    case Token::String:
      return "the string " + rt::quoted(now().text);
    default:
      return rt::quoted(now().text);
    }
  }
  [[noreturn]] void fail(const std::string &expected, const std::string &found) const {
    throw Error(name, "line " + std::to_string(now().line) + ", column " + std::to_string(now().column), expected, found);
  }
  void needOperator(std::string_view text) {
    if (!takeOperator(text))
      fail("'" + std::string(text) + "'", describe());
  }
  void needName(std::string_view text) {
    if (!takeName(text))
      fail("'" + std::string(text) + "'", describe());
  }
  std::string identifier() {
    if (!is(Token::Name))
      fail("a name", describe());
    return tokens[at++].text;
  }
  void endBlock() {
    if (!is(Token::BlockEnd))
      fail("'%}'", describe());
    ++at;
  }
  NodePtr make(Node::Kind kind) const {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->line = now().line;
    node->column = now().column;
    return node;
  }
  struct Depth {
    Depth(Parser &parser) : parser(parser) {
      if (++parser.depth > maxDepth)
        parser.fail("at most " + std::to_string(maxDepth) + " levels of nesting", "more");
    }
    ~Depth() { --parser.depth; }
    Parser &parser;
  };

  /// Statements up to a block whose first word is one of `ends`; that word is the current token afterwards.
  NodePtr block(std::initializer_list<std::string_view> ends) {
    Depth guard(*this);
    NodePtr result = make(Node::Block);
    while (!is(Token::End)) {
      if (is(Token::Text)) {
        NodePtr text = make(Node::Text);
        text->text = tokens[at++].text;
        result->children.push_back(text);
      } else if (is(Token::PrintBegin)) {
        NodePtr print = make(Node::Print);
        ++at;
        print->children.push_back(expression());
        if (!is(Token::PrintEnd))
          fail("'}}'", describe());
        ++at;
        result->children.push_back(print);
      } else {
        ++at; // BlockBegin: the lexer leaves no other token here
        for (std::string_view end : ends)
          if (isName(end))
            return result;
        result->children.push_back(statement());
      }
    }
    if (ends.size())
      fail("'{% " + std::string(*(ends.end() - 1)) + " %}'", describe());
    return result;
  }

  NodePtr statement() {
    if (isName("if"))
      return ifStatement();
    if (isName("for"))
      return forStatement();
    if (isName("set"))
      return setStatement();
    if (isName("break") || isName("continue")) {
      if (!loops)
        fail("a loop around '" + now().text + "'", "none");
      NodePtr node = make(isName("break") ? Node::Break : Node::Continue);
      ++at;
      endBlock();
      return node;
    }
    if (takeName("generation")) { // marks the assistant's text for training; does not change it
      endBlock();
      NodePtr body = block({"endgeneration"});
      ++at;
      endBlock();
      return body;
    }
    fail("one of the statements if, for, set, break, continue, generation", describe());
  }

  NodePtr ifStatement() {
    NodePtr node = make(Node::If);
    ++at;
    while (true) {
      node->children.push_back(expression());
      endBlock();
      node->children.push_back(block({"elif", "else", "endif"}));
      if (takeName("elif"))
        continue;
      if (takeName("else")) {
        endBlock();
        node->children.push_back(block({"endif"}));
      }
      needName("endif");
      endBlock();
      return node;
    }
  }

  NodePtr forStatement() {
    NodePtr node = make(Node::For);
    ++at;
    bool parenthesis = takeOperator("(");
    do
      node->names.push_back(identifier());
    while (takeOperator(","));
    if (parenthesis)
      needOperator(")");
    needName("in");
    node->children.resize(4);
    // No conditional here: `if` begins the filter of the loop.
    node->children[0] = orExpression();
    if (takeName("if"))
      node->children[2] = expression();
    if (isName("recursive"))
      fail("'%}'", describe());
    endBlock();
    ++loops;
    node->children[1] = block({"else", "endfor"});
    --loops;
    if (takeName("else")) {
      endBlock();
      node->children[3] = block({"endfor"});
    }
    needName("endfor");
    endBlock();
    return node;
  }

  NodePtr setStatement() {
    NodePtr node = make(Node::Set);
    ++at;
    node->names.push_back(identifier());
    if (takeOperator("."))
      node->names.push_back(identifier());
    if (takeOperator("=")) {
      NodePtr value = expression();
      if (isOperator(",")) {
        NodePtr tuple = make(Node::List);
        tuple->children.push_back(value);
        while (takeOperator(",") && !is(Token::BlockEnd))
          tuple->children.push_back(expression());
        value = tuple;
      }
      node->children.push_back(value);
      endBlock();
      return node;
    }
    if (!is(Token::BlockEnd))
      fail("'='", describe());
    ++at;
    node->kind = Node::SetBlock;
    node->children.push_back(block({"endset"}));
    needName("endset");
    endBlock();
    return node;
  }

  NodePtr expression() {
    Depth guard(*this);
    NodePtr value = orExpression();
    while (isName("if")) {
      NodePtr node = make(Node::Conditional);
      ++at;
      node->children = {value, orExpression(), nullptr};
      if (takeName("else"))
        node->children[2] = expression();
      value = node;
    }
    return value;
  }

  NodePtr binary(NodePtr left, std::string op, NodePtr right, const Token &where) const {
    auto node = std::make_shared<Node>();
    node->kind = Node::Binary;
    node->line = where.line;
    node->column = where.column;
    node->text = std::move(op);
    node->children = {std::move(left), std::move(right)};
    return node;
  }

  NodePtr orExpression() {
    NodePtr left = andExpression();
    while (isName("or")) {
      const Token &op = tokens[at++];
      left = binary(left, "or", andExpression(), op);
    }
    return left;
  }
  NodePtr andExpression() {
    NodePtr left = notExpression();
    while (isName("and")) {
      const Token &op = tokens[at++];
      left = binary(left, "and", notExpression(), op);
    }
    return left;
  }
  NodePtr notExpression() {
    if (!isName("not"))
      return comparison();
    Depth guard(*this);
    NodePtr node = make(Node::Unary);
    ++at;
    node->text = "not";
    node->children.push_back(notExpression());
    return node;
  }
  NodePtr comparison() {
    NodePtr first = sum();
    NodePtr node;
    while (true) {
      std::string op;
      for (const char *candidate : {"==", "!=", "<", "<=", ">", ">="})
        if (isOperator(candidate))
          op = candidate;
      bool notIn = isName("not") && tokens[at + 1].kind == Token::Name && tokens[at + 1].text == "in";
      if (isName("in"))
        op = "in";
      else if (notIn)
        op = "not in";
      if (op.empty())
        return node ? node : first;
      if (!node) {
        node = make(Node::Compare);
        node->children.push_back(first);
      }
      at += notIn ? 2 : 1;
      node->names.push_back(op);
      node->children.push_back(sum());
    }
  }
  template <typename F> NodePtr leftAssociative(std::initializer_list<const char *> operators, F operand) {
    NodePtr left = operand();
    for (int length = 0;; ++length) {
      const Token &op = now();
      bool found = false;
      for (const char *candidate : operators)
        found |= isOperator(candidate);
      if (!found)
        return left;
      // A long chain is a deep tree; its depth is bounded like that of brackets.
      if (length == maxDepth)
        fail("at most " + std::to_string(maxDepth) + " operators in a row", "more");
      ++at;
      left = binary(left, op.text, operand(), op);
    }
  }
  NodePtr sum() {
    return leftAssociative({"+", "-"}, [&] { return concatenation(); });
  }
  NodePtr concatenation() {
    return leftAssociative({"~"}, [&] { return product(); });
  }
  NodePtr product() {
    return leftAssociative({"*", "/", "//", "%"}, [&] { return unary(); });
  }
  NodePtr unary() {
    if (!isOperator("-") && !isOperator("+"))
      return filters(postfix(primary()));
    Depth guard(*this);
    NodePtr node = make(Node::Unary);
    node->text = tokens[at++].text;
    node->children.push_back(unary());
    return node;
  }

  /// Arguments up to ')': positional ones go to children, keywords to names and named.
  void arguments(Node &node) {
    bool first = true;
    while (!takeOperator(")")) {
      if (!first)
        needOperator(",");
      if (!first && takeOperator(")"))
        return;
      first = false;
      if (is(Token::Name) && tokens[at + 1].kind == Token::Operator && tokens[at + 1].text == "=") {
        node.names.push_back(identifier());
        ++at;
        node.named.push_back(expression());
      } else {
        if (!node.named.empty())
          fail("a keyword argument", describe());
        node.children.push_back(expression());
      }
    }
  }

  NodePtr postfix(NodePtr value) {
    for (int length = 0;; ++length) {
      if (!isOperator(".") && !isOperator("[") && !isOperator("("))
        return value;
      if (length == maxDepth)
        fail("at most " + std::to_string(maxDepth) + " accesses in a row", "more");
      if (isOperator(".")) {
        NodePtr node = make(Node::Attribute);
        ++at;
        node->text = identifier();
        node->children.push_back(value);
        value = node;
      } else if (isOperator("[")) {
        value = subscript(value);
      } else {
        NodePtr node = make(Node::Call);
        ++at;
        node->children.push_back(value);
        arguments(*node);
        value = node;
      }
    }
  }

  NodePtr subscript(NodePtr value) {
    NodePtr node = make(Node::Index);
    ++at;
    NodePtr first = isOperator(":") ? nullptr : expression();
    if (!isOperator(":")) {
      needOperator("]");
      node->children = {value, first};
      return node;
    }
    node->kind = Node::Slice;
    node->children = {value, first, nullptr, nullptr};
    for (int part = 2; part < 4 && takeOperator(":"); ++part)
      if (!isOperator(":") && !isOperator("]"))
        node->children[size_t(part)] = expression();
    needOperator("]");
    return node;
  }

  NodePtr filters(NodePtr value) {
    for (int length = 0;; ++length) {
      if (length == maxDepth)
        fail("at most " + std::to_string(maxDepth) + " filters in a row", "more");
      if (isOperator("|")) {
        NodePtr node = make(Node::Filter);
        ++at;
        node->text = identifier();
        node->children.push_back(value);
        if (takeOperator("("))
          arguments(*node);
        value = node;
      } else if (isName("is")) {
        NodePtr node = make(Node::Test);
        ++at;
        node->integer = takeName("not");
        node->text = identifier();
        node->children.push_back(value);
        if (takeOperator("(")) {
          arguments(*node);
        } else if (is(Token::String) || is(Token::Int) || is(Token::Float) ||
                   (is(Token::Name) && !isName("and") && !isName("or") && !isName("else") && !isName("is") &&
                    !isName("if") && !isName("in") && !isName("not"))) {
          node->children.push_back(postfix(primary()));
        }
        value = node;
      } else {
        return value;
      }
    }
  }

  NodePtr primary() {
    Depth guard(*this);
    const Token &token = now();
    if (is(Token::String)) {
      NodePtr node = make(Node::StringLit);
      while (is(Token::String)) // neighbours are one string
        node->text += tokens[at++].text;
      return node;
    }
    if (is(Token::Int)) {
      NodePtr node = make(Node::IntLit);
      auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), node->integer);
      if (error != std::errc())
        fail("an integer below 2^63", describe());
      ++at;
      return node;
    }
    if (is(Token::Float)) {
      NodePtr node = make(Node::FloatLit);
      node->real = std::strtod(token.text.c_str(), nullptr);
      ++at;
      return node;
    }
    if (is(Token::Name)) {
      NodePtr node = make(Node::Name);
      node->text = token.text;
      bool yes = isName("true") || isName("True");
      if (yes || isName("false") || isName("False")) {
        node->kind = Node::BoolLit;
        node->integer = yes;
      } else if (isName("none") || isName("None")) {
        node->kind = Node::NoneLit;
      }
      ++at;
      return node;
    }
    if (takeOperator("(")) {
      NodePtr value = isOperator(")") ? make(Node::List) : expression();
      if (isOperator(",")) {
        NodePtr tuple = make(Node::List);
        tuple->children.push_back(value);
        while (takeOperator(",") && !isOperator(")"))
          tuple->children.push_back(expression());
        value = tuple;
      }
      needOperator(")");
      return value;
    }
    if (isOperator("[")) {
      NodePtr node = make(Node::List);
      ++at;
      while (!takeOperator("]")) {
        if (!node->children.empty())
          needOperator(",");
        if (!node->children.empty() && takeOperator("]"))
          break;
        node->children.push_back(expression());
      }
      return node;
    }
    if (isOperator("{")) {
      NodePtr node = make(Node::Dict);
      ++at;
      while (!takeOperator("}")) {
        if (!node->children.empty())
          needOperator(",");
        if (!node->children.empty() && takeOperator("}"))
          break;
        node->children.push_back(expression());
        needOperator(":");
        node->children.push_back(expression());
      }
      return node;
    }
    fail("an expression", describe());
  }

  std::vector<Token> tokens;
  const std::string &name;
  size_t at = 0;
  int depth = 0, loops = 0;
};

} // namespace

ChatTemplate ChatTemplate::parse(std::string_view source, const std::string &name) {
  if (size_t bad = firstInvalidUtf8(source); bad != std::string_view::npos)
    throw Error(name, "byte " + std::to_string(bad), "UTF-8 text", rt::quoted(source.substr(bad, 1)));
  ChatTemplate result;
  result.name = name;
  result.root = Parser(lexTemplate(source, name), name).run();
  return result;
}

} // namespace loopc::rt
