// Checking a spec: from its tree and a configuration to a Program.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_SEMA_H
#define LOOPC_FRONTEND_SEMA_H

#include "loopc/Frontend/AST.h"
#include "loopc/Frontend/Config.h"
#include "loopc/Frontend/Diagnostics.h"
#include "loopc/Frontend/Program.h"

#include <optional>

namespace loopc::frontend {

/// Elaborates a parsed spec. Returns a program exactly when the engine has no errors afterwards; every message is
/// located. Constructs that are legal but that this version does not execute are listed in Program::deferred.
std::optional<Program> elaborate(const ast::Spec &spec, const ConfigInput &input, DiagnosticEngine &diagnostics);

/// Parses and elaborates.
std::optional<Program> check(const SourceText &source, const ConfigInput &input, DiagnosticEngine &diagnostics);

/// Reports every construct in `program.deferred` as an error: to be called before the program is to be executed.
/// Returns true when there are none.
bool checkExecutable(const Program &program, DiagnosticEngine &diagnostics);

} // namespace loopc::frontend

#endif
