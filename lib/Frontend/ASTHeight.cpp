// Heights of syntax nodes, by which the parser bounds the recursion of everything that walks the tree.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParserImpl.h"

#include "loopc/Frontend/ASTVisit.h"

#include <algorithm>

namespace loopc::frontend {

template <class Node> static uint16_t height(const Node &node) {
  unsigned most = 0;
  forEachChild(node, [&](const auto &child) { most = std::max<unsigned>(most, child.height); });
  return static_cast<uint16_t>(std::min(most + 1, 0xFFFFu));
}

uint16_t heightOf(const Expr &expr) { return height(expr); }
uint16_t heightOf(const Stmt &stmt) { return height(stmt); }

} // namespace loopc::frontend
