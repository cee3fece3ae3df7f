// The syntax tree of a spec: what was written, before any name is looked up.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_AST_H
#define LOOPC_FRONTEND_AST_H

#include "loopc/Frontend/ASTTraining.h"

namespace loopc::ast {

/// Stands where a statement could not be read; a message was given.
struct ErrorStmt : StmtNode<ErrorStmt, StmtKind::Error> {
  using StmtNode::StmtNode;
};

/// A comment, from `#` to the end of its line. Comments are kept beside the tree; the formatter finds their place
/// from the ranges.
struct Comment {
  SourceRange range;
  bool ownLine = false; // nothing but space before it
};

/// One file.
struct Spec {
  std::vector<StmtPtr> statements;
  std::vector<Comment> comments;
};

} // namespace loopc::ast

#endif // LOOPC_FRONTEND_AST_H
