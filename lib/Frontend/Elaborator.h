// The elaborator: one object per checked spec. Its parts are spread over the Sema*.cpp files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_ELABORATOR_H
#define LOOPC_LIB_FRONTEND_ELABORATOR_H

#include "LossForm.h"
#include "SizeExpr.h"
#include "loopc/Frontend/Sema.h"

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace loopc::frontend::sema {

using namespace loopc::ast;

//===----------------------------------------------------------------------===//
// Values known while elaborating
//===----------------------------------------------------------------------===//

/// The index of an enclosing stack or loop.
struct IndexVar {
  std::string name;
  int64_t low = 0;
  int64_t high = -1; ///< half open; -1: no upper end
  bool loop = false;
  bool active = true;
  ValueId value = kNone;
  SourceRange range;
};

struct IndexNode;
using IndexPtr = std::shared_ptr<const IndexNode>;

/// Arithmetic over indices: rolled, so evaluated for every value of the indices when the compiler must know which
/// weights exist, and computed at run time to select them.
struct IndexNode {
  Fn fn = Fn::None; ///< None: the variable, or the number when `variable` is kNone
  int64_t number = 0;
  uint32_t variable = kNone;
  IndexPtr a, b;
  bool boolean = false;
};

struct Val {
  enum class Kind { Poison, None, Bool, Int, Float, Word, Text, List, Index, Option, Runtime, Tuple };
  Kind kind = Kind::Poison;
  int64_t integer = 0; ///< Int, Bool
  double real = 0;     ///< Float
  SizeExpr size;       ///< Int
  std::string text;    ///< Word, Text
  IndexPtr index;      ///< Index
  uint32_t ref = kNone; ///< Option: Program::options; Runtime: the value
  std::vector<Val> elements;

  bool is(Kind k) const { return kind == k; }
  bool poison() const { return kind == Kind::Poison; }
  bool constant() const {
    return kind == Kind::None || kind == Kind::Bool || kind == Kind::Int || kind == Kind::Float || kind == Kind::Word ||
           kind == Kind::Text || kind == Kind::List;
  }
  bool numeric() const { return kind == Kind::Int || kind == Kind::Float; }
  double number() const { return kind == Kind::Float ? real : static_cast<double>(integer); }
  static Val make(Kind kind) {
    Val v;
    v.kind = kind;
    return v;
  }
  static Val ofInt(int64_t value, SizeExpr size);
  static Val ofInt(int64_t value) { return ofInt(value, SizeExpr::constant(value)); }
  static Val ofFloat(double value);
  static Val ofBool(bool value);
  static Val ofWord(std::string word);
  static Val ofRuntime(ValueId id);
};

enum class NameRole { Plain, State, Carry, Parameter, Index };

struct Binding {
  Val value;
  NameRole role = NameRole::Plain;
  SourceRange range;
};

/// One segment of a weight's path.
struct PathSegment {
  std::string name;
  std::vector<IndexPtr> indices;
};

/// A call that is being elaborated: where a missing stack index is reported.
struct CallFrame {
  const CallExpr *call = nullptr;
  size_t indexDepth = 0; ///< number of active index variables when it was entered
};

/// The names visible in one function body (or in the model).
struct Environment {
  std::vector<std::map<std::string, Binding>> scopes;
  std::map<std::string, ProgramAxis> axes;                     ///< axis parameters
  std::map<std::string, std::vector<ProgramAxis>> packs;       ///< `a..`
};

/// Which unlabelled call may take the name that a statement binds.
struct NameContext {
  std::string name;
  const CallExpr *sole = nullptr;
};

/// An exit or loop body reads on in the statements after the loop: where they are.
struct Continuation {
  const std::vector<StmtPtr> *statements = nullptr;
  size_t next = 0;
};

/// Values that a region passes on: their names, what they are before it, their arguments and yields.
struct Carried {
  std::vector<std::string> names;
  std::vector<ValueId> initial;
  ProgramRegion region;
};

struct LoopContext {
  uint32_t loop = kNone; ///< Program::loops
  size_t indexVar = 0;
  /// States made by `prev`: their start, the value they take, the region argument.
  struct Previous {
    std::string name;
    Val startValue;
    ValueId argument = kNone;
    SourceRange range;
    bool fromState = false; ///< starts as the loop's state of that name
  };
  std::vector<Previous> previous;
  /// States made by a section's folds over iterations and its `prev`: numbers that are zero at the start.
  struct Trace {
    const Expr *fold = nullptr; ///< null: of `prev`
    std::string name;           ///< what `prev` reads
    ValueId argument = kNone, yield = kNone;
  };
  std::vector<Trace> traces;
  std::string tracing; ///< while a section's folds are elaborated: how their states are called
  const struct Carried *carried = nullptr;
  std::vector<ValueId> exits;
  /// What exits evaluate beside the iteration, only where a test is due: `prev` of a test, what stands behind the loop.
  struct Check {
    ProgramRegion region;
    std::vector<Previous> previous;
    std::map<std::string, Binding> scope; ///< names of behind the loop
    std::map<std::string, int> siteNames; ///< as they will be there
    size_t next = 0;                      ///< first statement behind the loop that was not evaluated yet; 0: none was
    bool apart = false;                   ///< must not be a part of the iteration
  } check;
  size_t regionDepth = 0;
  bool assignedAfterExit = false;
  ValueId firstValue = 0;
  bool inExit = false;
  size_t continuation = 0;
  size_t environmentDepth = 0;
};

/// How a loop chooses its points (SemaSolver.cpp).
struct Solver {
  enum class Method { Picard, Anderson, Broyden };
  Method method = Method::Picard;
  int64_t slots = 0;
  Val mixing, ridge;
  std::string state;
  SourceRange range;
  ProgramAxis slot;
  Val turn, point; ///< of this iteration
  struct Kept {
    ValueId argument = kNone, yield = kNone;
  };
  std::vector<Kept> memory; ///< states that are the solver's own, zero at the start
};

struct ConfigSlot {
  const ConfigEntryStmt *entry = nullptr;
  bool option = false;
  enum class State { Unbound, Binding, Bound } state = State::Unbound;
  Val value;
  std::string origin;
  uint32_t optionIndex = kNone;
};

//===----------------------------------------------------------------------===//
// Elaborator
//===----------------------------------------------------------------------===//

/// Does the expression call `prev`?
bool mentionsPrevious(const Expr &expr);

class Elaborator {
public:
  Elaborator(const Spec &spec, const ConfigInput &input, DiagnosticEngine &diagnostics)
      : spec(spec), input(input), diags(diagnostics) {}
  std::optional<Program> run();

private:
  using Kind = Val::Kind;

  // Sema.cpp: the model as a whole.
  void collectGlobals();
  void elaborateModel();
  void finishOutputs();
  void eliminateDeadOps();
  Diagnostic &error(ErrorCode code, SourceRange range, std::string message) {
    return diags.error(code, range, std::move(message));
  }
  ProgramLoc loc(SourceRange range) const;
  std::string sourceText(SourceRange range) const { return std::string(diags.source().slice(range)); }
  void defer(const std::string &what, SourceRange range);
  std::string nearest(const std::string &word, const std::vector<std::string> &candidates) const;
  std::vector<std::string> visibleNames() const;

  // SemaConfig.cpp
  void bindConfig();
  Val configValue(const std::string &name);
  bool bindPublished(ConfigSlot &slot);
  bool bindSet(ConfigSlot &slot, const std::string &name);
  bool convertPublished(const ConfigSlot &slot, const nlohmann::json &json, const std::string &what, SourceRange range,
                        Val &result);
  void checkDomain(ConfigSlot &slot, const std::string &name);
  void checkPublishedKeys();
  void checkRequire(const RequireStmt &stmt);
  std::string expandText(const std::string &text);
  std::optional<bool> entryIsWord(const ConfigEntryStmt &entry, const std::string &word) const;

  // SemaExpr.cpp
  Val evaluate(const Expr *expr, const ProgramType *expected = nullptr);
  Val evaluateName(const NameExpr &expr);
  Val evaluateBinary(const BinaryExpr &expr);
  Val evaluateIf(const IfExpr &expr, const ProgramType *expected);
  Val evaluateMatch(const MatchExpr &expr, const ProgramType *expected);
  Val evaluateBlock(const Block &block, const ProgramType *expected);
  Val evaluateReduce(const ReduceExpr &expr);
  Val evaluateIndex(const IndexExpr &expr);
  Val binary(Fn fn, const Val &a, const Val &b, SourceRange range, SourceRange aRange, SourceRange bRange);
  Val unary(Fn fn, const Val &a, SourceRange range);
  Val foldBinary(Fn fn, const Val &a, const Val &b, SourceRange range);
  Val select(const Val &condition, const Val &a, const Val &b, SourceRange range);
  Binding *lookup(const std::string &name);
  const MatchArm *matchArm(const Val &subject, SourceRange range, const std::vector<MatchArm> &arms, bool &failed);
  std::optional<int64_t> compileTimeInt(const Expr *expr, const char *what);
  bool isWord(const std::string &name) const { return words.count(name) != 0; }

  // SemaTypes.cpp: types, values in code, broadcasting.
  std::optional<ProgramType> resolveType(const TypeSyntax &type, bool bindAxes = false);
  bool resolveDims(const std::vector<ExprPtr> &dims, std::vector<ProgramAxis> &axes);
  std::optional<ProgramAxis> axisOf(const Val &value, SourceRange range);
  std::optional<ElementType> elementOf(const Identifier &word);
  static int64_t product(const std::vector<ProgramAxis> &axes);
  static std::string show(const ProgramType &type);
  static std::string show(const std::vector<ProgramAxis> &axes);
  std::string describe(const Val &value) const;
  static bool sameAxes(const std::vector<ProgramAxis> &a, const std::vector<ProgramAxis> &b);
  const ProgramType &typeOf(ValueId id) const { return program.values[id].type; }
  ValueId newValue(ProgramType type, std::string name = "");
  ProgramOp &emit(OpKind kind, ProgramType type, std::vector<ValueId> operands, SourceRange range);
  ValueId emitValue(OpKind kind, ProgramType type, std::vector<ValueId> operands, SourceRange range) {
    return emit(kind, std::move(type), std::move(operands), range).results[0];
  }
  /// The value as an operation's result; kNone (with a message) if it has no run-time form.
  ValueId materialise(const Val &value, SourceRange range, const ProgramType *expected = nullptr);
  ValueId materialiseIndex(const IndexPtr &node, SourceRange range);
  ValueId constant(double number, ProgramType type, SourceRange range);
  ValueId cast(ValueId value, ElementType element, SourceRange range);
  ValueId reshape(ValueId value, std::vector<ProgramAxis> axes, SourceRange range);
  ValueId flatten(ValueId value, SourceRange range);
  ValueId broadcast(ValueId value, const std::vector<ProgramAxis> &axes, SourceRange range);
  bool unify(ValueId &a, ValueId &b, SourceRange range, SourceRange aRange, SourceRange bRange);
  bool toFloat(ValueId &value, SourceRange range);
  ValueId deferredValue(const std::string &what, ProgramType type, SourceRange range);

  // SemaCall.cpp: functions, instances, arguments.
  Val evaluateCall(const CallExpr &call, const ProgramType *expected);
  Val callFunction(const FnStmt &fn, const CallExpr &call, const std::vector<PathSegment> &segments, bool instance);
  Val callShared(const ShareStmt &share, const CallExpr &call, const std::vector<IndexEntry> *entries);
  bool makesWeights(const CallExpr &call);
  bool makesWeights(const FnStmt &fn);
  bool containsWeights(const Block &block);
  bool containsWeights(const Expr *expr);
  bool containsWeights(const Stmt &stmt);
  void countWeightCalls(const Expr *expr, std::vector<const CallExpr *> &calls);
  NameContext nameContext(const std::string &name, const Expr *expr);
  std::optional<std::vector<PathSegment>> callSegments(const CallExpr &call);
  std::optional<std::vector<PathSegment>> labelSegments(const Label &label);
  bool countsUnrolled(const Expr &expr);
  bool bindParameter(const FnStmt &fn, const Parameter &parameter, const Val &argument, SourceRange range,
                     Environment &environment);

  /// One entry of a weight, selected by indices.
  struct WeightUse {
    uint32_t weight = kNone;
    std::vector<IndexPtr> indices;
  };

  // SemaBuiltins.cpp: the operators.
  struct Arguments {
    const CallExpr *call = nullptr;
    std::vector<const Argument *> positional;
    std::map<std::string, const Argument *> named;
    std::set<std::string> used;
    std::string name;
    SourceRange range;
    const ProgramType *expected = nullptr;
  };
  using Builtin = Val (Elaborator::*)(Arguments &);
  static const std::map<std::string, Builtin> &builtins();
  static bool isWeightMaker(const std::string &name);
  static const std::set<std::string> &deferredBuiltins();
  Val callBuiltin(const std::string &name, const CallExpr &call, const ProgramType *expected,
                  const std::vector<PathSegment> *instance = nullptr, const CallExpr *statics = nullptr);
  Val recovered(const std::vector<TypeSyntax> &types);
  const Expr *positional(Arguments &args, size_t n, const char *what);
  Val named(Arguments &args, const std::string &name);
  bool has(Arguments &args, const std::string &name) const { return args.named.count(name) != 0; }
  std::optional<double> staticNumber(Arguments &args, const std::string &name, std::optional<double> fallback);
  std::optional<double> staticNumberAt(Arguments &args, size_t n, const char *what);
  ValueId operand(Arguments &args, size_t n, const char *what, bool floating = true);
  bool flag(Arguments &args, const std::string &name, bool fallback);
  std::optional<std::vector<std::vector<ProgramAxis>>> resultAxes(Arguments &args);
  std::optional<WeightUse> operatorWeight(Arguments &args, const std::string &leaf, std::vector<int64_t> shape,
                                          WeightRole role);
  Val builtinLinear(Arguments &args);
  Val builtinEmbed(Arguments &args);
  Val builtinNorm(Arguments &args);
  Val builtinRope(Arguments &args);
  Val builtinAttend(Arguments &args);
  Val builtinShift(Arguments &args);
  Val builtinPast(Arguments &args);
  /// Keys or values, with the iterations whose rows are read.
  ValueId rowsOperand(Arguments &args, size_t n, const char *what, ProgramSite &site);
  /// One softmax over what was attended and this token's own list.
  Val attendAlso(Arguments &args, ValueId q, ValueId attended, const ProgramSite &site, const ProgramType &vType);
  ValueId leastProduct(Arguments &args, const ProgramAxis &heads);
  ValueId finishAttend(ProgramSite site, ValueId q, ValueId k, ValueId v, Arguments &args, ValueId least = kNone);
  Val builtinUnary(Arguments &args);
  Val builtinMinMax(Arguments &args);
  Val builtinClamp(Arguments &args);
  Val builtinSoftcap(Arguments &args);
  Val builtinSoftmax(Arguments &args);
  Val builtinReduce(Arguments &args);
  Val builtinReshape(Arguments &args);
  Val builtinOuter(Arguments &args);
  Val builtinConcat(Arguments &args);
  Val builtinSplit(Arguments &args);
  Val builtinSlice(Arguments &args);
  Val builtinPick(Arguments &args);
  Val builtinCast(Arguments &args);
  Val builtinFill(Arguments &args);
  Val builtinIota(Arguments &args);
  Val builtinRoundUp(Arguments &args);
  Val builtinPrev(Arguments &args);
  Val builtinEntropy(Arguments &args);
  Val entropyTerm(const Val &p, SourceRange range);
  Val builtinPow(Arguments &args);
  Val builtinLen(Arguments &args);
  Val reduceValue(Fn fn, ValueId value, const std::vector<size_t> &axes, SourceRange range);
  /// Over the tokens of the sequence, or of the batch (scope Run), that are taken in together.
  Val foldValue(Fn fn, ValueId value, ValueScope scope, SourceRange range);
  Val sliceValue(ValueId value, size_t axis, int64_t start, ProgramAxis size, SourceRange range);

  // SemaWeights.cpp
  std::optional<WeightUse> registerWeight(const std::vector<PathSegment> &segments, const std::string &leaf,
                                          std::vector<int64_t> shape, WeightRole role, SourceRange range);
  ValueId param(const WeightUse &use, std::vector<ProgramAxis> axes, SourceRange range);
  std::optional<WeightUse> tiedWeight(const Expr *path, const std::vector<int64_t> &shape, const char *leaf,
                                      SourceRange range);
  uint32_t addSite(ProgramSite site, std::vector<ValueId> &indices, SourceRange range);
  int64_t evaluateIndexNode(const IndexNode &node, const std::vector<int64_t> &values, bool &ok) const;
  static void variablesOf(const IndexNode *node, std::set<uint32_t> &variables);
  /// Calls `visit` with one value per index variable for every combination of `variables` under the conditions.
  bool enumerate(const std::set<uint32_t> &variables, SourceRange range,
                 const std::function<bool(const std::vector<int64_t> &)> &visit);
  std::optional<bool> alwaysHolds(const IndexPtr &condition, SourceRange range);
  IndexPtr asIndex(const Val &value) const;

  // SemaStmt.cpp
  void elaborateStatements(const std::vector<StmtPtr> &statements);
  void elaborateStmt(const Stmt &stmt);
  void elaborateBind(const BindStmt &stmt);
  void elaborateState(const StateStmt &stmt);
  void elaborateDraw(const DrawStmt &stmt);
  void elaborateWeight(const WeightStmt &stmt);
  void elaborateInput(const InputStmt &stmt);
  void elaborateCarry(const CarryStmt &stmt);
  /// Ends the carries of the innermost scope.
  void keepCarries();
  void elaborateIf(const IfStmt &stmt);
  void elaborateBranch(const Val &condition, bool negate, const Block &block, SourceRange range);
  void elaborateWhere(const WhereStmt &stmt);
  Val drawValue(const std::string &name, const Expr *distribution, const ScopeClause &scope,
                const ProgramType *expected, SourceRange range);
  void assign(const Identifier &name, Val value, SourceRange valueRange);
  void declare(const Identifier &name, Binding binding);
  void collectAssigned(const Block &block, std::vector<std::string> &names) const;
  std::vector<std::string> carriedNames(const Block &block);
  void tap(const std::string &name, const Val &value, SourceRange range);
  ValueScope scopeOf(const ScopeClause &clause, ValueScope fallback) const;

  // SemaLoop.cpp
  void elaborateSequence(const SequenceStmt &stmt);
  void elaborateStack(const StackStmt &stmt);
  void elaborateLoop(const LoopStmt &stmt);
  void elaborateExit(const ExitStmt &stmt);
  bool readAhead(const std::string &name, SourceRange range);
  bool makeAhead();
  Val previousInExit(const NameExpr &name, const Expr *start, SourceRange range);
  ValueId finishCheck(SourceRange range);
  std::optional<KvPolicy> kvPolicy(const LoopStmt &stmt);
  /// Makes region arguments for the carried names, runs `body` in a scope of its own and fills in the yields.
  bool inRegion(Carried &carried, const std::function<void()> &body, SourceRange range, const char *what);
  void finishRegion(Carried &carried, ProgramOp &op, bool prune);
  static void substitute(ProgramRegion &region, ValueId from, ValueId to);
  static bool usesSite(const ProgramRegion &region);

  // SemaSolver.cpp
  std::optional<Solver> solverOf(const LoopClause &by, const std::vector<std::string> &states);
  void beginSolve(Solver &solver, ValueId index);
  void endSolve(Solver &solver);
  std::vector<Val> mixingWeights(const Solver &solver, const Val &count);
  Val nextOfAnderson(Solver &solver, const Val &value);
  void keepForAnderson(Solver &solver, const Val &value);
  Val nextOfBroyden(Solver &solver, const Val &value);
  void keepForBroyden(Solver &solver, const Val &value);
  Val slotOfTurn(const Solver &solver, const Val &turn);
  /// The state `which` of the solver.
  static Val remembered(const Solver &solver, size_t which) { return Val::ofRuntime(solver.memory[which].argument); }
  /// `to`, a list over the slots, with `what` in place of the entry where `here` holds.
  Val putSlot(const Solver &solver, const Val &to, const Val &here, const Val &what);
  /// Products of the entries of a list with a value, summed over the features and, for a state per token, over the sequence.
  Val slotProducts(const Val &list, const Val &value, SourceRange range);
  Val elementAt(ValueId of, const std::vector<int64_t> &index, SourceRange range);
  Val counted(const ProgramAxis &axis, SourceRange range);

  // SemaTrace.cpp
  void elaborateTraces(const LoopStmt &stmt);
  bool elaborateFold(const Expr &fold);
  std::vector<const Stmt *> behindLoop(std::set<std::string> wanted) const;
  ValueId addTrace(const Expr *fold, std::string name);
  Val previousInTrace(const NameExpr &name, const Expr *startExpr, SourceRange range);
  Val traceOf(const Expr &fold);

  // SemaTrain.cpp, SemaLoss.cpp, SemaOptimize.cpp, SemaCheckpoint.cpp
  void elaborateTrain(const TrainStmt &stmt);
  void elaborateLoss(const TrainStmt &stmt);
  void elaborateUpdate(const TrainStmt &stmt, ProgramTraining &made);
  Val meanOfLabelled(const Expr *where, const Val &body, SourceRange range);
  Val crossEntropy(const CallExpr &call);
  std::optional<Val> lossOperator(const std::string &name, const CallExpr &call);
  bool selectorMatches(const std::string &selector, const ProgramWeight &weight, const std::string &name) const;
  bool knownSegments(const std::string &selector, uint32_t end) const;
  void buildCheckpoints();
  void buildCheckpoint(const CheckpointStmt *stmt, CheckpointMap &map);
  /// Values of the configuration that are whole numbers, by name.
  std::function<std::optional<int64_t>(const std::string &)> configNumbers() const;

  // SemaOrigin.cpp
  void buildOrigins();
  struct OriginName;
  std::optional<MadeTensor> madeTensor(const Expr *expr, OriginName &name);

  friend struct DepthGuard;

  const Spec &spec;
  const ConfigInput &input;
  DiagnosticEngine &diags;
  Program program;

  // Globals.
  const ConfigStmt *configSection = nullptr;
  std::map<std::string, ConfigSlot> slots;
  std::vector<std::string> slotOrder;
  std::map<std::string, const FnStmt *> functions;
  std::map<std::string, const ShareStmt *> shares;
  std::map<std::string, const PolicyStmt *> policies;
  std::vector<const CheckpointStmt *> checkpointSections;
  std::vector<const InitStmt *> originSections; ///< `init` with a name
  std::vector<const TrainStmt *> trainSections;
  std::set<std::string> readKeys; ///< published keys that were read
  std::set<std::string> words; ///< members of the domains of config entries
  bool configMode = false;

  // Where elaboration stands.
  std::vector<Environment> environments;
  std::vector<ProgramRegion *> regions;
  int choices = 0; ///< `where`s around whose condition is not the same for the whole run
  bool training = false; ///< in a loss: tokens have labels
  std::map<const Expr *, std::vector<ValueId>> traceSums; ///< folds over iterations: what the loop left
  std::vector<IndexVar> indexVars;
  std::vector<IndexPtr> conditions;
  std::vector<PathSegment> path;
  std::vector<CallFrame> calls;
  std::vector<NameContext> names;
  std::vector<LoopContext> loops;
  /// A carry whose block is being read: what its name means at the end of the block is what it leaves.
  struct Carry {
    std::string name;
    uint32_t site; ///< Program::sites
    std::vector<ValueId> indices;
    size_t environment, scope; ///< depths of the block
    SourceRange range;
    ValueId start;
    size_t loops; ///< around it
  };
  std::vector<Carry> carries;
  std::vector<Continuation> continuations;
  std::vector<const FnStmt *> inlining;
  unsigned instanceDepth = 0; ///< > 0: inside a shared instance or a second evaluation; weights may be met again
  size_t instanceIndexDepth = 0;
  bool readingAhead = false;              ///< in statements after a loop, for its exit
  std::set<std::string> exitsFound;       ///< names of exits; "" for one without
  std::set<std::string> exitNames;        ///< names behind a loop that read `prev`: only exits read them
  std::set<uint32_t> aheadWeights;        ///< met there and not yet in their own place
  const std::vector<PathSegment> *instancePath = nullptr; ///< the operator being called is a shared instance
  unsigned depth = 0;
  bool exhausted = false;
  size_t opCount = 0;

  // Weights.
  std::map<std::string, uint32_t> weightByPath;
  std::set<std::pair<uint32_t, uint32_t>> reportedStackCalls;
  std::map<const FnStmt *, int> weightMaking; ///< -1: being decided
  std::map<std::string, int> siteNames;
  std::vector<Identifier> readouts;
  std::set<std::string> observedInLoop;
  std::optional<ProgramAxis> tokenRows; ///< of `input token: id(vocab)`
  std::set<std::string> aheadBusy; ///< names whose statement is being evaluated for an exit
};

/// Counts nested elaboration steps; `ok` is false (with one message) when a spec nests without end.
struct DepthGuard {
  DepthGuard(Elaborator &elaborator, SourceRange range);
  ~DepthGuard();
  Elaborator &elaborator;
  bool ok;
};

} // namespace loopc::frontend::sema

#endif
