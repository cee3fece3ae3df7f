// A checked model: resolved, typed, with its configuration bound and its recurrences still rolled.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Elaboration turns a spec and a configuration into a Program: functions are inlined call by call, sizes are numbers,
// weights have paths, and stack, loop, if and where are operations with regions. Every other operation is one line of
// straight code over values, so that a consumer (MLIR generation, documentation, checkpoints) walks it mechanically.
// The header is C++17 so that the MLIR half can include it.

#ifndef LOOPC_FRONTEND_PROGRAM_H
#define LOOPC_FRONTEND_PROGRAM_H

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace loopc::frontend {

/// Where an operation was written: line and column (1-based) in Program::filename, and a byte range.
struct ProgramLoc {
  uint32_t line = 0, column = 0;
  uint32_t begin = 0, end = 0;
};

enum class ValueScope : uint8_t { Run, Batch, Sequence, Token };
enum class ElementType : uint8_t { F32, F64, BF16, F16, Bool, Int, Index };

/// A feature axis: its normalised symbolic size, which is its identity, and the number it stands for (-1: ragged).
struct ProgramAxis {
  std::string name;
  int64_t size = 0;
};

struct ProgramType {
  ElementType element = ElementType::F32;
  ValueScope scope = ValueScope::Token;
  std::vector<ProgramAxis> axes;

  std::vector<int64_t> shape() const {
    std::vector<int64_t> result;
    for (const ProgramAxis &axis : axes)
      result.push_back(axis.size);
    return result;
  }
};

using ValueId = uint32_t;
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

struct ProgramValue {
  ProgramType type;
  std::string name; ///< the name it was bound to, for readable IR; may be empty
};

enum class OpKind : uint8_t {
#define LOOPC_PROGRAM_OP(NAME, TEXT) NAME,
#include "loopc/Frontend/ProgramOps.def"
};
enum class Fn : uint8_t {
  None,
#define LOOPC_PROGRAM_FN(NAME, TEXT, OPERANDS) NAME,
#include "loopc/Frontend/ProgramOps.def"
};
std::string_view opKindName(OpKind kind);
std::string_view fnName(Fn fn);

struct ProgramOp;

/// A body: its arguments (index first where there is one, then states) and what it yields (one value a state).
struct ProgramRegion {
  std::vector<ValueId> arguments;
  std::vector<ProgramOp> ops;
  std::vector<ValueId> yields;
  ValueId exit = kNone; ///< loops and checks: i1, leave after this iteration
};

enum class RopePairs : uint8_t { Halves, Adjacent };

struct RopeAttributes {
  RopePairs pairs = RopePairs::Halves;
  double sign = 1; ///< direction of the rotation, +1 or -1
  ElementType table = ElementType::F32;
};

struct ProgramOp {
  OpKind kind;
  Fn fn = Fn::None;
  ProgramLoc loc;
  std::vector<ValueId> operands, results;
  uint32_t ref = kNone; ///< index into the table of Program that the kind names
  double number = 0;    ///< constant, eps, base
  std::vector<int64_t> ints; ///< of a constant: its elements where they differ
  std::string name;
  RopeAttributes rope;
  std::vector<ProgramRegion> regions;
};

enum class OptionKind : uint8_t { Int, Float, Bool, Word };

/// A run-time value with a range; `count` ones are the trip count of a loop.
struct ProgramOption {
  std::string name;
  OptionKind kind = OptionKind::Float;
  double initial = 0;
  std::optional<double> min, max;
  bool isCount = false;
  ProgramLoc loc;
};

/// A compile-time entry of `config` as it was bound, printed for reports.
struct ProgramConfigEntry {
  std::string name, value;
  std::string origin; ///< "default", "--set", or the published key
};

/// One table of a weight: the weights vary over an index with `size` values, 0 .. size - 1.
struct WeightTable {
  std::string index; ///< how the spec writes it, for example `i`
  int64_t size = 0;
  bool iteration = false; ///< varies over a loop's index
};

enum class WeightRole : uint8_t { Matrix, Vector, Embedding, Norm, Bias };

struct ProgramWeight {
  std::string path; ///< "model.layers.{0}.mlp.up_proj.weight": {k} stands for the index of table k
  std::vector<WeightTable> tables;
  std::vector<bool> present; ///< one bit for each entry of the tables, row-major; one entry without tables
  std::vector<int64_t> shape; ///< rows are outputs; [] axes of a linear count as one row
  WeightRole role = WeightRole::Matrix;
  ProgramLoc loc;

  int64_t entries() const {
    int64_t count = 1;
    for (const WeightTable &table : tables)
      count *= table.size;
    return count;
  }
};

/// How rows of a stored tensor are ordered.
enum class RowOrder : uint8_t {
  Same,
  AdjacentPairs, ///< blocks of `rowBlock` rows: stored row 2j is row j, stored row 2j + 1 is row j + rowBlock / 2
};

/// One tensor of a checkpoint file: which entry of which weight it holds.
struct CheckpointTensor {
  uint32_t weight = kNone;
  int64_t entry = 0; ///< row-major index over the weight's tables
  std::string name;  ///< the name in the file
  RowOrder rows = RowOrder::Same;
  int64_t rowBlock = 0;
  bool optional = false;
};

/// A tensor that may be in a file although the model does not read it.
struct CheckpointIgnored {
  std::string pattern;                      ///< with {name} for one path segment, {rest} for any number
  std::optional<std::vector<int64_t>> shape; ///< checked if given
  bool recomputed = false;                  ///< derived by the published code; otherwise dead weight
};

struct CheckpointMap {
  std::string format; ///< "" is the published safetensors form; others are named in the spec ("gguf")
  std::vector<CheckpointTensor> tensors;
  std::vector<CheckpointIgnored> ignored;
  bool identity = true; ///< no section in the spec: names are the paths
};

/// How a tensor is made from those of another model.
struct MadeTensor {
  enum class Op : uint8_t {
    Tensor,   ///< `name`: of the other model's file or, where it has none of that name, a published name of this model
    Constant, ///< `factor` everywhere
    Mean,     ///< of the parts
    Add,      ///< of two parts; so Subtract
    Subtract,
    Scale, ///< of one part by `factor`
    Left,  ///< U S of the part's best approximation U S V^T of rank `rank`
    Right  ///< V^T of it
  };
  Op op = Op::Tensor;
  std::string name;
  std::vector<MadeTensor> parts;
  int64_t rank = 0;
  double factor = 0;
};

/// `init "untied" { … }`: the weights of this model from those of another. What no line names has its own name in that file.
struct ProgramOrigin {
  struct Line {
    uint32_t weight = kNone;
    int64_t entry = 0;
    MadeTensor value;
  };
  std::string name;
  std::vector<Line> lines;
};

enum class DrawLaw : uint8_t { Normal, TruncatedNormal, Uniform, Constant, StandardisedNormal, Position };

/// A named draw: an input with a default distribution.
struct ProgramDraw {
  std::string name;
  DrawLaw law = DrawLaw::Normal;
  double mean = 0, std = 1, cut = 0, low = 0, high = 1; ///< cut in units of std; StandardisedNormal: low is eps
  ProgramType type;
  bool iteration = false; ///< one for each iteration of the loop
  ProgramLoc loc;
};

enum class MaskKind : uint8_t { Causal, Prefix, Whole, None };

/// A call site of `attend`: what it leaves behind is keys and values of this shape. Or a `carry`: a state of `keyDim`
/// elements in all.
struct ProgramSite {
  bool state = false;
  std::string path; ///< the labels on the way, with {k} as in weights
  std::vector<WeightTable> tables;
  int64_t kvHeads = 0, keyDim = 0, valueDim = 0;
  MaskKind mask = MaskKind::Causal;
  int64_t window = 0; ///< 0: none
  double scale = 0;
  double softcap = 0; ///< 0: none
  int64_t before = 0; ///< keys end so many positions before the token's own
  bool first = false, upto = false; ///< rows of iteration 0, of all iterations so far; neither: of this one
  bool logSum = false;              ///< one more feature: the logarithm of the sum of the exponentials
  bool keep = false;                ///< the last operand is the least product, by query head, of a key that is read
  uint32_t memory = kNone;          ///< reads what this earlier site keeps: same keys, same values
  ProgramLoc loc;
};

enum class KvHoles : uint8_t { Refuse, Latest, AlwaysLast, LastExited, Skip, Zero, LastIfHole };
enum class KvOrder : uint8_t { Free, Token, Pass, ByCall };

/// The policy of a loop: where planes are stored, what stands for a missing plane, which order tokens take.
struct KvPolicy {
  std::string map = "depth_indexed"; ///< a map of KvMaps.def, `recompute`, or the name of a `policy`
  int64_t sizes[2] = {0, 0};
  std::string unit = "recurrence"; ///< what the map counts: recurrence or layer_step
  bool codaOverwrites = false;     ///< published accident, see #loop.kv
  std::string keep = "last";       ///< row of a finished token that `single` keeps: last, first or mean
  KvHoles holes = KvHoles::Refuse;
  KvOrder order = KvOrder::Free;
  std::string text; ///< as written
  ProgramLoc loc;
};

struct ProgramLoop {
  std::string index, label;
  uint32_t countOption = kNone; ///< Program::options; kNone: a fixed count
  int64_t fixedCount = 0;
  std::vector<std::string> states;
  bool hasKv = false;
  KvPolicy kv;
  bool hasExit = false;
  std::string exitName;
  ValueScope exitScope = ValueScope::Token;
  bool exitReadsReadout = false; ///< the condition reads values computed after the loop
  ProgramLoc loc;
};

struct ProgramStack {
  std::string index, label;
  int64_t begin = 0, end = 0; ///< half open
  std::vector<std::string> states;
  ProgramLoc loc;
};

/// A state that a run may start from a value of the token before.
struct ProgramWarm {
  std::string state, value;
};

/// Something that is checked but that this version does not execute.
struct DeferredConstruct {
  std::string what;
  ProgramLoc loc;
};

/// A published quirk as a boolean option.
struct ProgramAccident {
  std::string name, sentence;
  bool on = false;
};

/// A number of a training section: a constant, the number of the update (from 1), or made of these.
struct StepExpr {
  enum class Op : uint8_t {
    Number,
    Step,
#define LOOPC_STEP_OP(NAME, ARGS, SPELLING, VALUE) NAME,
#include "loopc/Frontend/StepOps.def"
  };
  Op op = Op::Number;
  double number = 0;
  std::vector<StepExpr> args;
  double at(double step) const;
};

/// An `optimize` line.
struct ProgramGroup {
  std::string optimizer;
  std::map<std::string, StepExpr> settings; ///< by the names of Optimizers.def
};

/// The program of a `train` section whose loss this version runs: the model's, then the loss, which it yields.
struct ProgramTraining {
  std::string name; ///< "train", "train.stage1"
  ProgramRegion body;
  std::vector<ProgramGroup> groups;
  std::vector<uint32_t> groupOf; ///< by weight; kNone: frozen
  std::optional<StepExpr> clip, schedule;
  std::string missing; ///< a name in these numbers that this version gives no value
  std::string drawn;   ///< what the section draws, as `n ~ poisson(8)`, with commas between; not `fixed`
  bool windowed = false; ///< a `backprop` line that is not `all`
};

struct Program {
  std::string model, filename;
  std::vector<ProgramConfigEntry> config;
  std::vector<ProgramOption> options;
  std::vector<ProgramAccident> accidents;
  std::vector<ProgramWeight> weights;
  std::vector<CheckpointMap> checkpoints; ///< the first is the published form; always present
  std::vector<ProgramOrigin> origins;
  std::vector<ProgramDraw> draws;
  std::vector<ProgramSite> sites;
  std::vector<ProgramLoop> loops;
  std::vector<ProgramStack> stacks;
  std::vector<ProgramWarm> warm;
  std::vector<std::string> inputs;
  std::vector<ProgramValue> values;
  ProgramRegion body; ///< one token: no arguments, yields are the outputs
  std::vector<std::string> outputs;
  std::vector<DeferredConstruct> deferred;
  std::vector<std::string> trainSections;
  std::vector<ProgramTraining> trainings;
  int64_t vocab = 0; ///< rows of the embedding of `token`
  int64_t context = 0; ///< most tokens of a sequence (`sequence at most`); 0: no limit

  const CheckpointMap *checkpoint(std::string_view format) const {
    for (const CheckpointMap &map : checkpoints)
      if (map.format == format)
        return &map;
    return nullptr;
  }
};

/// A readable listing of the program, one operation a line; for tests and debugging.
std::string printProgram(const Program &program);

} // namespace loopc::frontend

#endif
