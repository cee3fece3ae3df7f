// Words: the table beside a spec that translates a published vocabulary of cases into loopc's own
// (docs/conformance.md). SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace loopc::words {

using Json = nlohmann::json;

/// Line and column, both from 1, in the words file.
struct Place {
  unsigned line = 0, column = 0;
};

/// A mistake in a words file or in its use; what() reads `FILE:LINE:COLUMN: expected X, but got Y`.
class Error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Arithmetic on constants and captures; in `out` rules also names of the model and the functions of valueFunctions().
struct Expr {
  enum class Kind { Number, Text, Name, Unary, Binary, If, Call, Trace, TraceFrom };
  Kind kind = Kind::Number;
  double number = 0;
  std::string text;       ///< Text, Name; operator of Unary and Binary; function of Call
  std::vector<Expr> args; ///< Trace: value and index; TraceFrom: value and first index
  Place place;
};

/// Captures of the patterns that matched, and what the case says.
using Scope = std::map<std::string, Json>;

/// What a `run` or `in` rule does.
struct Action {
  enum class Kind {
    Set,         ///< NAME = expr: an option or a config entry of the spec
    Kv,          ///< kv "clause", with {captures}
    Order,       ///< order declared | token | chunk: how a prompt is taken in
    Exits,       ///< exits off | leave | select | together
    ExitAfter,   ///< exit after expr: every token after the prompt leaves after so many iterations; 0: never
    MinLoops,    ///< min loops expr
    Test,        ///< test NAME: turns on a named exit of the spec
    CheckEvery,  ///< check every expr
    LastCheck,   ///< last check: where no test fires, the readout is that of the last test
    Untested,    ///< prompt untested: no test for the tokens of the prompt
    Labels,      ///< in: labels of cross_entropy; `labels next`: each is that of the position before
    Prompt,      ///< prompt expr: that many tokens in the first call, then one at a time
    Calls,       ///< calls expr: list of the tokens of each call
    CallLoops,   ///< call loops expr: list of the iterations of each call, 0: all
    CallBack,    ///< call back expr: list of the positions that are taken back before each call
    Generate,    ///< generate expr: greedy continuation of the tokens
    DraftLoops,  ///< draft loops expr: greedy self-speculation: iterations of a draft ...
    DraftTokens, ///< draft tokens expr: ... and its length
    DraftView,   ///< draft view NAME expr: drafted in one call instead, by tokens of that id whose input NAME is 1
    Origin,      ///< origin "NAME": the weights are made from those of the file, by that section of the spec
    Weight,      ///< in: weight "NAME": takes the place of that of the file
    Stop,        ///< stop expr: list of ids that end the continuation and are not part of it
    Each,        ///< each NAME: one run for each element of the captured list; axis N
    Warm,        ///< warm NAME: after the first call a token's warm state starts from NAME of the token before
    DType,       ///< dtype f32 | bf16 | f16
    Accident,    ///< accident NAME
    Tokens,      ///< in: token ids; `tokens of expr`: of one sequence
    Again,       ///< again expr: at the end the positions from there on are taken back, and their tokens fed in one call
    Lead,        ///< lead expr: so many positions stand before the given tokens (id 0)
    Restarts,    ///< restarts expr: each given sequence stands for so many, one after the other
    Carry,       ///< carry: a sequence that leaves is replaced by the one given for the next segment
    Cuts,        ///< in: where sequences begin in tensors with axis J, and the end of the last
    Prefix,      ///< in: by sequence: positions that all tokens see
    Mask,        ///< in: 1 where a token is real; what is left of the first 1 is padding
    Draw,        ///< in: draw NAME: values of a draw of the spec; `draw NAME = expr`: that for each, `it` the element
    Given,       ///< in: given NAME: values of a named value of the loop, one for each iteration
    Unsupported, ///< unsupported "reason"
    Nothing,     ///< nothing: the word changes no function
  };
  Kind kind = Kind::Nothing;
  std::string name;
  Expr expr;
  bool computed = false;  ///< draw: the values are those of `expr`
  bool ofSegment = false; ///< tokens, labels, draw: `at expr`, given for that segment of a carry
  Place place;
};

/// The axes of a tensor of a case. N runs, B sequences, S positions, P positions of the prompt, D positions after the
/// prompt, J positions of all sequences one after the other, W positions with those that `lead` puts before, R positions fed again after some were taken back, Q readouts from the last of the prompt on, G generated
/// tokens, T iterations, X attention steps as executed (prelude layers, layers of every iteration, coda layers); every
/// other name is a feature axis.
struct Axis {
  char letter = 'F'; ///< N B S P D J W R Q G T X A M, or F for features
  std::string name;
};

/// Matches a value of `run`: a literal, a text with {captures}, a name (any scalar), `name...` (a list) or `_`.
struct Pattern {
  enum class Kind { Any, Scalar, List, Literal, Text };
  Kind kind = Kind::Any;
  std::string text; ///< name or text
  Json literal;
  bool match(const Json &value, Scope &captures) const;
};

struct Condition {
  enum class Kind { Kind, Case, Run, In, Out };
  Kind kind = Kind::Kind;
  bool negated = false;
  std::string text;
  std::string value; ///< Run: a text that the value matches; empty: any
};

struct Rule {
  enum class Kind { Run, In, Out, Skip, Config, Case };
  Kind kind = Kind::Run;
  std::string name;            ///< with {captures}; for Skip and Config a pattern of case names
  std::vector<Condition> when; ///< all must hold
  Pattern pattern;             ///< Run
  std::vector<Axis> layout;    ///< In, Out
  std::vector<Action> actions; ///< Run, In, Case
  Expr value;                  ///< Out
  std::string reason;          ///< Skip; Out that is unsupported; Config: the entry of the file
  Place place;
};

/// What conditions look at.
struct CaseFacts {
  std::string name, kind;
  std::map<std::string, std::string> text; ///< values of `run` that are texts
  std::set<std::string> run, in, out; ///< keys, those of groups behind a dot; tensor names without in. and out.
};

struct Table {
  std::string file;
  std::vector<Rule> rules;

  [[noreturn]] void fail(Place place, const std::string &expected, const std::string &found) const;
  /// First rule of `kind` for `name` whose conditions hold and whose pattern or rank fits; nullptr if there is none.
  /// Captures of the name and of the pattern are added to `captures`.
  const Rule *find(Rule::Kind kind, const std::string &name, const CaseFacts &facts, const Json *value, int rank,
                   Scope &captures) const;
  /// Why cases of that name are not run; empty: they are.
  std::string skips(const std::string &caseName) const;
  /// Whether a rule asks for cases of this kind.
  bool mentions(const std::string &caseKind) const;
};

/// Throws Error at the first mistake.
Table parse(const std::string &file, const std::string &text);
/// One expression, as in `{k + 1}` inside a text at `place`.
Expr parseExpression(const Table &table, const std::string &text, Place place);

/// Value of a constant expression. Names are looked up in `scope`; throws Error for others.
Json evaluate(const Table &table, const Expr &expr, const Scope &scope);
double evaluateNumber(const Table &table, const Expr &expr, const Scope &scope);
/// Replaces each {expression} by its value.
std::string interpolate(const Table &table, const std::string &text, Place place, const Scope &scope);

/// Matches text against a pattern in which `{name}` captures and `*` matches anything.
bool matchText(const std::string &pattern, const std::string &text, Scope &captures);

/// Functions of values, each of the closed list, with its number of operands.
struct ValueFunction {
  const char *name;
  unsigned operands;
};
const std::vector<ValueFunction> &valueFunctions();

} // namespace loopc::words
