// The canonical layout of a spec (`loopc fmt`).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_FORMATTER_H
#define LOOPC_FRONTEND_FORMATTER_H

#include "loopc/Frontend/AST.h"

#include <string>

namespace loopc::frontend {

/// The spec in canonical layout, comments kept; format(format(x)) is format(x), and the tree does not change.
/// Statements that stood on one line, and blocks written on one line, stay so where they fit into `width` columns.
/// The spec must have been parsed from `source` without errors.
std::string format(const ast::Spec &spec, const SourceText &source, unsigned width = 120);

} // namespace loopc::frontend

#endif // LOOPC_FRONTEND_FORMATTER_H
