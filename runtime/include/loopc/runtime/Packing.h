// Weights in the layout that generated code reads.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include "loopc/runtime/TensorFile.h"
#include "loopc/runtime/abi.h"
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace loopc::rt {

struct PackOptions {
  uint32_t threads = 2;
  bool hugePages = true;
  /// Refuse sources with tensors that no parameter takes; else they are listed in PackedParams::unused.
  bool refuseUnused = false;
};

/// Packed tables of all parameters (abi.h: loopc_params). Layouts, per ParamInfo::kind:
///   Rows   [rows][cols]
///   Transposed  the panels of the transpose, f32
///   Panel  [ceil(rows / 32)][ceil(cols / k)][a block]: 32 output rows side by side in blocks of WeightFormats.def, the
///          last panel and the last block filled up with zeros
/// rounded to nearest even, each table aligned to 64 bytes.
class PackedParams {
public:
  /// Takes every table from `source`. Throws Error naming tensor, expected and found: a tensor that is missing, has
  /// another shape, or holds a value that is not finite (with its row and column).
  static std::shared_ptr<PackedParams> pack(const ModelInfo &info, const TensorSource &source, const PackOptions &options = {});
  /// The same tables filled again, from tensors of the same names and shapes: weights that were trained.
  void repack(const ModelInfo &info, const TensorSource &source, const PackOptions &options = {});
  /// Seeded values instead of a source: element i of tensor NAME depends on (seed, NAME, i) alone. Law: ParamInfo::init,
  /// else 1 + N(0, 0.02) for vectors (N(0, 0.02) if the name says bias) and N(0, 1 / sqrt(cols)) for matrices.
  static std::shared_ptr<const PackedParams> random(const ModelInfo &info, uint64_t seed,
                                                    const PackOptions &options = {});
  ~PackedParams();
  PackedParams(const PackedParams &) = delete;
  PackedParams &operator=(const PackedParams &) = delete;

  loopc_params abi() const { return {tables.data(), tables.size()}; }
  uint64_t bytes() const { return size; }
  const std::vector<std::string> &unused() const { return unusedNames; }

private:
  PackedParams() = default;
  /// Allocates all tables. Memory of a fresh mapping reads as zero, so absent tables cost none.
  void allocate(const ModelInfo &info, bool hugePages);

  void *base = nullptr;
  uint64_t size = 0, mapped = 0;
  std::vector<const void *> tables;
  std::vector<std::string> unusedNames;
};

/// A block of a panel: consecutive k, bytes of its 32 columns (WeightFormats.def). No bytes: a type without panels.
struct PanelBlock {
  int64_t k, bytes;
};
PanelBlock panelBlock(DType type);
/// The type that a name of WeightFormats.def means, and the name of a type; nothing for others.
std::optional<DType> weightFormat(std::string_view name);
std::string_view weightFormatName(DType type);
/// What `values` (whole blocks) become as random weights in a format of blocks; others are left alone.
void roundToFormat(std::string_view name, std::span<float> values);

/// Bytes of one packed table.
uint64_t packedBytes(const ParamInfo &param);
/// Name of the tensor behind table `table` of a source; empty if that table is absent.
std::string sourceName(const ParamSourceInfo &source, uint64_t table);

} // namespace loopc::rt
