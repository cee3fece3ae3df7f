// Patterns of names: text with holes `{i}`, `{rest}`, `{t * K + j}`, matched with paths of weights and filled again.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_NAMEPATTERN_H
#define LOOPC_LIB_FRONTEND_NAMEPATTERN_H

#include "loopc/Frontend/Program.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace loopc::frontend::sema {

/// A pattern cut at its braces: text and holes in turn.
struct Piece {
  bool hole = false;
  std::string text; ///< of a hole: what stands inside the braces
};

using Captures = std::map<std::string, std::string>;
/// The value of a name that is a number of the configuration.
using Constants = std::function<std::optional<int64_t>(const std::string &)>;

std::vector<Piece> pieces(const std::string &pattern);
/// Of a path as a page writes it: `layers[i].x` is `layers.i.x`.
std::vector<Piece> pathPieces(const std::string &path);

/// Matches the path of an entry; `embed` stands for `embed.weight`, the only weight of that operator.
bool matchPath(const std::vector<Piece> &pattern, const std::string &path, Captures &captures, const Constants &constants);
/// nullopt: a hole has no capture, or is no sum of products of names and numbers (`a div b` of two of them may stand in a hole that is filled).
std::optional<std::string> fill(const std::vector<Piece> &pattern, const Captures &captures, const Constants &constants);

/// The path of one entry of a weight: the pattern with its indices filled in.
std::string entryPath(const ProgramWeight &weight, int64_t entry);
std::string replaceAll(std::string text, const std::string &from, const std::string &to);

} // namespace loopc::frontend::sema

#endif
