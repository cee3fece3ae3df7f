// What an artefact says about itself: the metadata JSON as a struct, read strictly.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include "loopc/runtime/KvMap.h"
#include "loopc/runtime/Random.h"
#include "loopc/runtime/TensorFile.h"
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace loopc::rt {

/// The stages, in the order in which a token passes them (design: runtime.md §3). Check and decide are an exit test that
/// stands beside the iteration; step is a training step, the only stage of its artefact.
enum class Stage : uint8_t { Prelude = 0, Core, Check, Decide, Coda, Head, Step };
inline constexpr size_t stageCount = 7;
std::string_view stageName(Stage stage);

/// One named value of a state bank slot. `shape` is the value of one lane (no lane axis); dtype F32, BF16, F16 or I32.
struct FieldInfo {
  std::string name;
  uint64_t offset = 0; ///< bytes from the start of the slot
  std::vector<int64_t> shape;
  DType dtype = DType::F32;
  bool observed = false;
  int64_t elements() const;
  uint64_t bytes() const { return uint64_t(elements()) * uint64_t(blockBytes(dtype)); }
};

/// A random value that the runtime writes into `field` before the prelude of a token.
struct DrawInfo {
  std::string name, field;
  Law law;
  /// Law standardised_normal: the vector x of one token becomes (x - mean) / (std + 1e-8), std with n - 1.
  bool standardise = false;
  bool iteration = false; ///< another value in each iteration: written before the call that runs it
  bool position = false;  ///< not random: the position
  bool shared = false;    ///< one for all requests and positions
};

/// A run-time option of a sequence (an f32 of loopc_sequence::knobs, in this order).
struct KnobInfo {
  std::string name;
  double value = 0; ///< default
  double min = 0, max = 0;
};

/// The number of iterations of the scheduled loop.
struct CountInfo {
  std::string name;
  int32_t value = 1; ///< default
  int32_t min = 1, max = 1;
};

/// Which row of a finished token stays where one plane is kept: that of its last or first iteration, or their mean.
enum class Keep : uint8_t { Last, First, Mean };

/// How the planes of the scheduled loop are kept (kv-and-schedules.md §1); see Policy.h.
struct PolicyInfo {
  std::string name; ///< as written, for messages
  KvMap map = KvMap::depth_indexed;
  std::array<int64_t, 2> sizes = {0, 0};
  int32_t steps = 1; ///< layer-steps of an iteration if the map counts them; else 1
  Keep keep = Keep::Last;
  std::string holes; ///< refuse, last_exited (also written latest) or always_last
  std::string order; ///< free, token, pass or chunk
  /// Published accident: planes of the coda are numbered after those of all iterations, and where the map names such a
  /// number the coda's rows take the place of the loop's.
  bool codaOverwrites = false;
  bool planeZero = false; ///< generated code indexes plane 0 always ("write": "0"); else the plane of the step
};

/// What calls are legal (ir.md §3).
struct ContractInfo {
  int32_t lag = 0; ///< 0 or 1; -1 for "end"
  std::string group = "lane", order = "free", couple = "lane";
};

/// One attention site of a pool: `layers` layers of `heads` K/V heads of `dim` columns.
struct SiteInfo {
  std::string name;
  int64_t layers = 0, heads = 0, dim = 0;
  uint64_t offset = 0; ///< elements from the start of a page
  /// Where a row holds one layer (PolicyInfo::steps): the first layer-step of the site and the steps between layers.
  int64_t firstStep = 0, stepStride = 0;
  int64_t layersOfRow() const { return stepStride ? 1 : layers; }
};

/// K/V rows of one stage. Index in ModelInfo::pools = index in loopc_memory::pools.
struct PoolInfo {
  Stage stage = Stage::Core;
  std::vector<SiteInfo> sites;
  uint64_t pageBytes = 0;
  DType dtype = DType::F32;
  bool perIteration = false; ///< planes "T": one plane for each iteration; else 1
};

struct StageInfo {
  Stage stage = Stage::Prelude;
  uint64_t arenaRowBytes = 0;   ///< arena bytes = capacity * arenaRowBytes + arenaBytes
  uint64_t arenaBytes = 0;
  uint64_t scratchBytes = 0;    ///< private memory of a worker ...
  uint64_t scratchRowBytes = 0; ///< ... + capacity * this
  uint32_t syncs = 0;
  uint32_t timedPhases = 0; ///< phases whose time the code takes (loopc_call.profile); 0: none
};

/// Where rows of a parameter come from. A `{}` in `name` is replaced by the table's entry of `indices`.
struct ParamSourceInfo {
  std::string name;
  std::vector<int64_t> indices; ///< one per table; empty if the name has no `{}`; -1: the table is absent (all zero)
  int64_t rows = 0;             ///< rows taken (after row_map)
  std::vector<int64_t> rowMap;  ///< packed row i is source row rowMap[i]; empty: identity
};

enum class PackKind : uint8_t { Rows, Panel, Transposed };

/// One parameter: `count` tables of [rows, cols], data[index + table].
struct ParamInfo {
  std::string name;
  uint64_t index = 0, count = 1;
  PackKind kind = PackKind::Rows;
  DType dtype = DType::F32; ///< one of WeightFormats.def; those of blocks only in panels
  bool stored = false;      ///< the file must hold this very type: it is not to be rounded
  int64_t rows = 0, cols = 0;
  std::vector<ParamSourceInfo> sources; ///< concatenated by rows
  std::optional<Law> init;              ///< law of random weights; absent: see Packing.h
};

/// The gradient of a weight in a training step: `count` tables of [rows, cols], gradient[index + table].
struct GradientInfo {
  std::string name;
  uint64_t index = 0, count = 1;
  int64_t rows = 0, cols = 0;
  ParamSourceInfo source;
};

/// Row values that the caller of a training step gives: label, limit, first (of a count), draw.
struct GivenInfo {
  std::string what, name;
  int64_t elements = 1;
  int32_t value = 0, max = 0; ///< of counts
};

struct ExitInfo {
  std::string name;
  std::string mode; ///< leave, select or empty: decided by the policy
  int32_t min = 1;  ///< iterations before the test may act
  int32_t every = 1;
  bool check = false; ///< tested by the stages check and decide, which leave the flag in field `exit.stop`
};

/// All an engine needs to know. `json` keeps the text for `explain` and for keys that are not read here.
struct ModelInfo {
  std::string model, compiler, hash;
  std::string triple, cpu;
  std::vector<std::string> features; ///< LLVM names without the sign; those with a minus sign are left out
  DType dtype = DType::F32, kvDType = DType::F32;
  uint32_t vocab = 0;
  uint32_t context = 0; ///< 0: no limit
  std::optional<CountInfo> count;
  std::vector<KnobInfo> knobs;
  std::optional<ExitInfo> exit;
  PolicyInfo policy;
  ContractInfo contract;
  uint64_t bankRowBytes = 0;
  std::vector<FieldInfo> fields;
  std::vector<DrawInfo> draws;
  std::vector<PoolInfo> pools;
  std::vector<StageInfo> stages;
  std::vector<ParamInfo> params;
  std::vector<GradientInfo> gradients;
  std::vector<GivenInfo> given;
  std::vector<std::string> remarks;
  std::string json;

  const StageInfo *stage(Stage s) const;
  const FieldInfo *field(std::string_view name) const;
  /// Index into `pools`, -1 if the stage has no attention.
  int poolOf(Stage s) const;
  /// Number of entries of loopc_params::data.
  uint64_t paramTables() const;

  /// Reads and checks metadata. `file` is for messages. Throws Error with the JSON path of the first key that is
  /// missing, has the wrong type, or contradicts another (a field outside the slot, a site beyond the page, ...).
  static ModelInfo parse(std::string_view json, const std::string &file);
};

} // namespace loopc::rt
