// Matching a checkpoint file's tensors with a program's weights, strictly.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_CHECKPOINT_H
#define LOOPC_FRONTEND_CHECKPOINT_H

#include "loopc/Frontend/Program.h"

#include <string>
#include <vector>

namespace loopc::frontend {

/// What a file says about one tensor.
struct FileTensor {
  std::string name;
  std::vector<int64_t> shape;
};

/// Which tensor of the file holds which CheckpointTensor; kNone: optional and absent.
struct CheckpointBinding {
  std::vector<uint32_t> fileIndex; ///< parallel to CheckpointMap::tensors
  std::vector<std::string> errors; ///< missing, unexpected and misshapen tensors, each one sentence
  std::vector<std::string> notes;  ///< tensors that are known and not read
  bool ok() const { return errors.empty(); }
};

/// Strict: every tensor of the map must be in the file with its shape, and every tensor of the file must be mapped or
/// named by an `unused`, `ignored` or `recomputed` line.
CheckpointBinding bindCheckpoint(const Program &program, const CheckpointMap &map, const std::vector<FileTensor> &file);

/// The names of one weight as a pattern with holes `{}`, and for every entry of its tables the numbers that stand there
/// (-1: that entry does not exist); `indices` is empty when the name has no hole.
struct CheckpointPattern {
  std::string pattern;
  std::vector<int64_t> indices;
  RowOrder rows = RowOrder::Same;
  int64_t rowBlock = 0;
};

/// nullopt when the published names of the entries differ in more than numbers.
std::optional<CheckpointPattern> checkpointPattern(const Program &program, const CheckpointMap &map, uint32_t weight);

/// True if `name` matches a pattern with {name} for one path segment and {rest} or {*} for any text.
bool matchesPublished(const std::string &pattern, const std::string &name);

/// A tensor shape with leading and trailing axes of one element ignored equals the weight's shape: [1] is [], [d, 1] is [d].
bool sameTensorShape(const std::vector<int64_t> &file, const std::vector<int64_t> &weight);

} // namespace loopc::frontend

#endif
