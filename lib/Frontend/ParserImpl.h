// The recursive-descent parser: state, look-ahead, recovery, and one function per construct.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_PARSERIMPL_H
#define LOOPC_LIB_FRONTEND_PARSERIMPL_H

#include "loopc/Frontend/Lexer.h"
#include "loopc/Frontend/Parser.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace loopc::frontend {

using namespace loopc::ast;

/// Where a statement stands; decides which statements are allowed. Bits, so that a statement can name several.
enum Section : unsigned {
  SectionTop = 1,        // the model itself, also inside `if` and `match`
  SectionInner = 2,      // in a loop, a stack or `where` of the model
  SectionFunction = 4,   // in a function
  SectionView = 8,       // in a view
  SectionTrain = 16,     // in `train`
  SectionMeasure = 32,   // in `measure`
  SectionOptimizer = 64, // in an optimizer's text
  SectionConfig = 128,
  SectionOptions = 256,
  SectionInit = 512,
  SectionCheckpoint = 1024,
  SectionProgram = SectionTop | SectionInner | SectionFunction | SectionView,
};

class Parser {
public:
  Parser(const SourceText &source, DiagnosticEngine &diagnostics, const std::vector<Token> &tokens)
      : source(source), diagnostics(diagnostics), tokens(tokens) {
    int64_t balance = 0;
    for (const Token &token : tokens)
      balance += (token.kind == TokenKind::LeftBrace) - (token.kind == TokenKind::RightBrace);
    unclosed = balance > 0;
  }

  std::vector<StmtPtr> parseAll();

private:
  //===--- Tokens (Parser.cpp) ---===//
  const Token &tok(unsigned ahead = 0) const {
    size_t index = position + ahead;
    return tokens[index < tokens.size() ? index : tokens.size() - 1];
  }
  bool is(TokenKind kind) const { return tok().kind == kind; }
  bool isWord(std::string_view word, unsigned ahead = 0) const {
    return tok(ahead).kind == TokenKind::Word && spelling(tok(ahead)) == word;
  }
  std::string_view spelling(const Token &token) const { return source.slice(token.range); }
  /// Whether a line ends before the next token and ends the statement.
  bool atLineEnd(unsigned ahead = 0) const {
    return mode.brackets == 0 && tok(ahead).newlineBefore && position + ahead != statementStart;
  }
  /// Whether the next token cannot belong to the current statement.
  bool atStatementEnd() const {
    return is(TokenKind::End) || is(TokenKind::RightBrace) || is(TokenKind::Semicolon) || atLineEnd();
  }
  void advance();
  bool accept(TokenKind kind);
  bool acceptWord(std::string_view word);
  /// Consumes `kind` or reports "expected … WHAT, but got …".
  bool expect(TokenKind kind, std::string_view what);
  bool expectClose(TokenKind kind, SourceRange open);
  Identifier expectName(std::string_view what);
  bool isName(unsigned ahead = 0) const {
    return tok(ahead).kind == TokenKind::Word && !isReserved(spelling(tok(ahead)));
  }
  /// The next token as it is written, for messages.
  std::string found() const;
  SourceRange previousEnd() const;

  //===--- Errors and recovery (Parser.cpp) ---===//
  /// Reports at `range` unless this statement already failed, and marks it failed. The result may be extended.
  Diagnostic &fail(ErrorCode code, SourceRange range, std::string message);
  Diagnostic &failExpected(std::string_view what);
  void habitHelp(Diagnostic &diagnostic);
  void synchronize(unsigned braceDepth);
  bool startsSection() const;

  /// Counts the open calls of the parser itself.
  struct Nesting {
    explicit Nesting(Parser &parser) : parser(parser) { ++parser.nesting; }
    ~Nesting() { --parser.nesting; }
    Parser &parser;
  };
  bool tooDeep();
  /// Sets end and height of a finished node.
  template <class T> std::unique_ptr<T> done(std::unique_ptr<T> node);
  template <class T> std::unique_ptr<T> start() const { return std::make_unique<T>(tok().range); }
  template <class T> std::unique_ptr<T> startAt(SourceRange range) const { return std::make_unique<T>(range); }
  void checkHeight(uint16_t height, SourceRange range);

  //===--- Statements (ParserStmt.cpp) ---===//
  Block parseBlock(unsigned section);
  /// Statements up to `}` or the end, each read by `one`.
  template <class One> void parseStatements(std::vector<StmtPtr> &out, bool nested, One one);
  StmtPtr parseStatement(unsigned section);
  StmtPtr parseKeywordStatement(unsigned section, std::string_view word);
  bool startsKeywordStatement(std::string_view word) const;
  void checkSection(std::string_view word, unsigned section, unsigned allowed);
  StmtPtr parseSimpleStatement(unsigned section);
  StmtPtr parseIf(unsigned section);
  StmtPtr parseMatch(unsigned section);
  StmtPtr parseWhere(unsigned section);
  StmtPtr parseStack(unsigned section);
  StmtPtr parseLoop(unsigned section);
  void parseLoopClauses(LoopStmt &loop);
  StmtPtr parseExit();
  void checkValuesLast(const Block &block, bool valueAllowed);
  std::vector<MatchArm> parseMatchArms(unsigned section);
  bool toTarget(ExprPtr expression, BindTarget &target);

  //===--- Declarations (ParserDecl.cpp) ---===//
  StmtPtr parseModel();
  StmtPtr parseConfig();
  StmtPtr parseOptions();
  StmtPtr parseConfigStatement(unsigned section);
  StmtPtr parseConfigEntry();
  std::optional<FromClause> parseFrom();
  StmtPtr parseRequire();
  StmtPtr parseAccept();
  StmtPtr parseAccident();
  StmtPtr parseSequence();
  StmtPtr parsePhases();
  StmtPtr parseInput();
  StmtPtr parseFn(bool shared, SourceRange begin);
  StmtPtr parseShare();
  std::vector<Parameter> parseParameters();
  StmtPtr parseWeight(bool buffer);
  StmtPtr parseState();
  StmtPtr parseCarry();
  StmtPtr parseMemory();
  StmtPtr parseView();
  StmtPtr parsePolicy();
  template <class T> StmtPtr parseNamedValue(bool valueNeeded);
  std::vector<ExprPtr> parseCounts();
  ScopeClause parseScope();
  TypeSyntax parseType();
  std::vector<TypeSyntax> parseResultTypes(bool several);
  std::string expectString(std::string_view what, SourceRange *range = nullptr);

  //===--- Training and files (ParserTrain.cpp) ---===//
  StmtPtr parseTrain();
  StmtPtr parseMeasure();
  StmtPtr parseOptimizer();
  StmtPtr parseBackprop();
  StmtPtr parseLoss();
  StmtPtr parseOptimize();
  StmtPtr parseFreeze();
  StmtPtr parseSetting();
  StmtPtr parseUpdate(unsigned section);
  StmtPtr parseInit();
  StmtPtr parseInitEntry();
  StmtPtr parseCheckpoint();
  StmtPtr parseCheckpointEntry();
  Selector parseSelector();
  SelectorSet parseSelectorSet();

  //===--- Expressions (ParserExpr.cpp, ParserPrimary.cpp) ---===//
  ExprPtr parseExpr() { return parseBinary(0); }
  ExprPtr parseBinary(int minimum);
  ExprPtr parseUnary();
  ExprPtr parsePower();
  ExprPtr parsePostfix();
  ExprPtr parsePrimary();
  ExprPtr parseNumber();
  ExprPtr parseParenthesized();
  ExprPtr parseList();
  ExprPtr parseIfExpr();
  ExprPtr parseIfArms(std::unique_ptr<IfExpr> node);
  ExprPtr parseMatchExpr();
  ExprPtr parseNameOrReduce();
  ExprPtr parseReduceOrOver(ExprPtr name);
  ExprPtr parseCall(ExprPtr callee, std::optional<Label> label);
  ExprPtr parseIndex(ExprPtr base);
  ExprPtr parseField(ExprPtr base);
  ExprPtr parseAxis();
  /// An operand, a range or, after `in`, a set.
  ExprPtr parseRange();
  ExprPtr parseRangeFrom(ExprPtr low, SourceRange begin);
  ExprPtr parseDomain();
  ExprPtr parseBracedValue();
  Label parseLabel();
  Label parsePath();
  std::vector<ExprPtr> parseDimensions();
  std::vector<Argument> parseArguments(TokenKind close, SourceRange open);
  ExprPtr errorExpr();

  /// What the surroundings decide about the text.
  struct Mode {
    unsigned brackets = 0;       // open ( [ and braces of reductions since the innermost block
    bool noIn = false;           // `in` ends the expression (config entries)
    bool severalResults = false; // `-> [a], [b]` may follow: the right side of a binding with several names
    bool starEndsLine = false;   // `*` at the start of a line is a selector, not a product
  };
  /// Inside ( ) and [ ] and in the braces of a reduction lines do not end statements.
  struct LineMode {
    LineMode(Parser &parser, bool linesMatter) : parser(parser), saved(parser.mode) {
      parser.mode = {linesMatter ? 0 : saved.brackets + 1, false, false, false};
    }
    ~LineMode() { parser.mode = saved; }
    Parser &parser;
    Mode saved;
  };

  const SourceText &source;
  DiagnosticEngine &diagnostics;
  const std::vector<Token> &tokens;
  size_t position = 0;
  size_t statementStart = 0; // its first token may follow a line end
  unsigned braces = 0;   // open `{`
  unsigned nesting = 0;  // open calls of this parser
  bool failed = false;   // the current statement has a message
  bool unclosed = false; // the text has more `{` than `}`
  Mode mode;
  Diagnostic ignored; // receives what follows the first message of a statement
};

/// 1 + the greatest height of the children (HeightOf.cpp).
uint16_t heightOf(const Expr &expr);
uint16_t heightOf(const Stmt &stmt);

template <class T> std::unique_ptr<T> Parser::done(std::unique_ptr<T> node) {
  if (position > 0)
    node->range.end = std::max(node->range.end, tokens[position - 1].range.end);
  node->height = heightOf(*node);
  checkHeight(node->height, node->range);
  return node;
}

} // namespace loopc::frontend

#endif // LOOPC_LIB_FRONTEND_PARSERIMPL_H
