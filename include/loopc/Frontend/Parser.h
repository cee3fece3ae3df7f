// From text to syntax tree.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_PARSER_H
#define LOOPC_FRONTEND_PARSER_H

#include "loopc/Frontend/AST.h"
#include "loopc/Frontend/Diagnostics.h"

namespace loopc::frontend {

/// Reads the whole text; always returns a tree. What could not be read is an ErrorStmt or ErrorExpr, and the engine
/// then has an error. Nesting is limited to maxNesting, so that walkers of the tree may recurse.
ast::Spec parse(const SourceText &source, DiagnosticEngine &diagnostics);

/// Highest number of tree nodes on a path from a statement to a leaf.
inline constexpr unsigned maxNesting = 200;

/// The tree as an indented listing without positions: two texts with equal listings mean the same.
std::string dump(const ast::Spec &spec);

/// "+", "div", "and", …
std::string_view operatorSpelling(ast::BinaryOp op);

} // namespace loopc::frontend

#endif // LOOPC_FRONTEND_PARSER_H
