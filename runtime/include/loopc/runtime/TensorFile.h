// Named tensors of weight files: one read-only view over safetensors, GGUF and memory.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include "loopc/runtime/Half.h"
#include "loopc/runtime/MappedFile.h"
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace loopc::rt {

/// Element type of a tensor; Q* are blocks of 32 or 256 consecutive elements of a row.
enum class DType : uint8_t {
#define LOOPC_DTYPE(name, safetensors, gguf, elements, bytes) name,
#include "loopc/runtime/DTypes.def"
};

std::string_view dtypeName(DType type);
/// Elements per block (1 for plain types) and bytes per block.
int64_t blockElements(DType type);
int64_t blockBytes(DType type);

/// One tensor inside a file. Row-major: `shape` is outermost first, whatever the file's own order is.
/// A tensor of rank r has rows() = product of all but the last dimension and cols() = the last one (1 x 1 for a
/// scalar). Readers guarantee: no dimension negative, the element count fits int64, `bytes` has exactly the size the
/// shape needs, cols() is a multiple of blockElements(dtype).
struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file; ///< for messages

  int64_t elements() const;
  int64_t cols() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const;
  /// Stored bytes of one row.
  size_t rowBytes() const { return size_t(cols() / blockElements(dtype) * blockBytes(dtype)); }
  /// Stored bytes of row `r`, 0 <= r < rows().
  std::span<const std::byte> row(int64_t r) const { return bytes.subspan(size_t(r) * rowBytes(), rowBytes()); }
};

/// `[2, 3]`
std::string shapeText(std::span<const int64_t> shape);

/// Converts rows [rowBegin, rowEnd) to f32 into out[(rowEnd - rowBegin) * cols()]. Any dtype; integers are rounded to
/// nearest, BOOL gives 0 or 1. Blocks give what ggml defines: a scale times a whole number, plus a minimum where they
/// have one, in f32. Throws Error if the range is not inside the tensor.
void readF32(const TensorView &tensor, int64_t rowBegin, int64_t rowEnd, float *out);
/// The whole tensor.
std::vector<float> readF32(const TensorView &tensor);
/// Integers (I64, I32, I16, I8, U8, BOOL) of the whole tensor; throws Error for other types.
std::vector<int64_t> readI64(const TensorView &tensor);

/// One element of type F32, BF16, F16 or I32 in memory, as f32.
float elementToF32(DType type, const void *at);

/// A set of tensors with unique names. Immutable after opening, safe to read from several threads.
class TensorSource {
public:
  virtual ~TensorSource() = default;
  /// For messages: the path, or the paths joined by ", ".
  const std::string &describe() const { return description; }
  /// All tensors in file order.
  std::span<const TensorView> tensors() const { return views; }
  /// nullptr if there is none of that name.
  const TensorView *find(std::string_view name) const;
  /// Throws Error naming the source, the name and the nearest existing name.
  const TensorView &get(std::string_view name) const;

protected:
  /// Throws Error if the name is taken.
  void add(TensorView view);
  std::string description;
  std::vector<TensorView> views;

private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> index;
};

/// Tensors held in memory (seeded random weights, tests).
class MemoryTensors : public TensorSource {
public:
  explicit MemoryTensors(std::string description) { this->description = std::move(description); }
  /// Copies nothing: takes the bytes. Throws Error if their number does not fit the shape, or the name is taken.
  void add(std::string name, DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes);
  void addF32(std::string name, std::vector<int64_t> shape, std::span<const float> values);

private:
  std::vector<std::unique_ptr<std::vector<std::byte>>> buffers;
};

class GgufFile;

/// What `--weights PATH` names: a directory (model.safetensors.index.json with its shards, model.safetensors,
/// weights.safetensors, or exactly one *.gguf), one .safetensors, one .gguf, or several files together.
class WeightSource : public TensorSource {
public:
  /// Throws Error; a tensor name that occurs in two files is refused.
  static std::shared_ptr<const WeightSource> open(const std::string &path);
  static std::shared_ptr<const WeightSource> open(std::span<const std::string> paths);

  /// The GGUF file among the parts (its metadata holds config, tokenizer and chat template), or nullptr.
  const GgufFile *gguf() const { return ggufPart; }
  /// Directory that holds config.json and tokenizer.json if `open` was given a directory or one file; else empty.
  const std::string &directory() const { return folder; }

private:
  void addPart(std::shared_ptr<const TensorSource> part);
  std::vector<std::shared_ptr<const TensorSource>> parts;
  const GgufFile *ggufPart = nullptr;
  std::string folder;
};

} // namespace loopc::rt
