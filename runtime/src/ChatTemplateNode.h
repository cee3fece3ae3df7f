// Syntax tree of chat templates.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ChatTemplate.h"
#include <cstdint>
#include <iterator>
#include <vector>

namespace loopc::rt {

/// One statement or expression. The meaning of the members depends on the kind and is given with it.
struct ChatTemplate::Node {
  enum Kind {
    // Statements.
    Block,    // children in order
    Text,     // text
    Print,    // children[0]
    If,       // children: condition, block, condition, block, …, [else block]
    For,      // names: loop variables; children: iterable, body, filter or null, else block or null
    Set,      // names: variable or variable and attribute; children[0]: value
    SetBlock, // names as Set; children[0]: block whose text is the value
    Break,
    Continue,
    // Expressions.
    StringLit, // text
    IntLit,    // integer
    FloatLit,  // real
    BoolLit,   // integer
    NoneLit,
    List,        // children
    Dict,        // children: key, value, key, value, …
    Name,        // text
    Attribute,   // children[0], text
    Index,       // children: value, index
    Slice,       // children: value, begin or null, end or null, step or null
    Call,        // children: callee, positional arguments; keywords in names / named
    Filter,      // text; children: value, positional arguments; keywords in names / named
    Test,        // text; children: value, arguments; integer: 1 if negated
    Unary,       // text: "-", "+", "not"
    Binary,      // text: operator
    Compare,     // children: n + 1 operands; names: n operators
    Conditional, // children: value, condition, other value or null
  };
  Kind kind = Block;
  uint32_t line = 1, column = 1;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  std::vector<std::string> names;
  std::vector<std::shared_ptr<Node>> children;
  std::vector<std::shared_ptr<Node>> named; ///< values of keyword arguments, beside names

  Node() = default;
  /// Takes the tree apart in a loop: a chain of operators is as deep as it is long.
  ~Node() {
    std::vector<std::shared_ptr<Node>> work = std::move(children);
    work.insert(work.end(), named.begin(), named.end());
    named.clear();
    while (!work.empty()) {
      std::shared_ptr<Node> node = std::move(work.back());
      work.pop_back();
      if (!node || node.use_count() > 1)
        continue;
      for (auto *list : {&node->children, &node->named}) {
        work.insert(work.end(), std::make_move_iterator(list->begin()), std::make_move_iterator(list->end()));
        list->clear();
      }
    }
  }
};

} // namespace loopc::rt
