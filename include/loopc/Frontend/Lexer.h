// From bytes to tokens.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_LEXER_H
#define LOOPC_FRONTEND_LEXER_H

#include "loopc/Frontend/AST.h"
#include "loopc/Frontend/Diagnostics.h"

#include <vector>

namespace loopc::frontend {

enum class TokenKind : uint8_t {
  End,
  Word,
  Number,
  String,
  Unknown, // bytes that are no token; reported
#define LOOPC_SIGN(name, spelling) name,
#include "loopc/Frontend/Tokens.def"
};

struct Token {
  TokenKind kind = TokenKind::End;
  bool newlineBefore = false; // at least one line end between this token and the one before
  SourceRange range;
};

struct TokenList {
  std::vector<Token> tokens; // ends with one End token
  std::vector<ast::Comment> comments;
};

/// Any bytes are accepted; a run of bytes that are no token is reported once and becomes one Unknown token.
TokenList lex(const SourceText &source, DiagnosticEngine &diagnostics);

/// "`->`", "a number", "the end of the text": for messages.
std::string_view describe(TokenKind kind);

/// Words that are never names, such as `if`.
bool isReserved(std::string_view word);

/// The text of a string token without its quotes and with its escapes resolved.
std::string unescape(std::string_view token);
/// The inverse: with quotes and escapes.
std::string quote(std::string_view text);

} // namespace loopc::frontend

#endif // LOOPC_FRONTEND_LEXER_H
