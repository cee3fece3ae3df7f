// Reader of GGUF version 3 files: metadata and tensors.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/TensorFile.h"
#include <optional>

namespace loopc::rt {

/// Metadata value types (numbers as stored in the file).
enum class GgufType : uint32_t {
  U8 = 0, I8 = 1, U16 = 2, I16 = 3, U32 = 4, I32 = 5, F32 = 6, Bool = 7, String = 8, Array = 9, U64 = 10, I64 = 11, F64 = 12
};
std::string_view ggufTypeName(GgufType type);

/// One metadata value. Scalars of every integer width are held as 64 bits.
struct GgufValue {
  GgufType type = GgufType::U32;
  GgufType elementType = GgufType::U32; ///< of an array
  uint64_t bits = 0;                    ///< integers and bool: value, sign-extended for I*
  double real = 0;                      ///< F32, F64
  std::string text;                     ///< String
  std::vector<std::string> texts;       ///< Array of String
  std::vector<uint64_t> integers;       ///< Array of integers or Bool, sign-extended for I*
  std::vector<double> reals;            ///< Array of F32, F64
  uint64_t count = 0;                   ///< elements of an array
};

/// Metadata with typed access. Every getter throws Error naming file, key, expected and found type.
class GgufMetadata {
public:
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const GgufValue *find(std::string_view key) const;
  const std::vector<std::string> &keys() const { return order; }

  /// Any integer type whose value fits.
  uint32_t u32(std::string_view key) const;
  int64_t i64(std::string_view key) const;
  /// F32 or F64.
  double real(std::string_view key) const;
  bool boolean(std::string_view key) const;
  const std::string &text(std::string_view key) const;
  const std::vector<std::string> &texts(std::string_view key) const;
  /// An array of any integer type.
  std::vector<int64_t> integers(std::string_view key) const;
  std::vector<double> reals(std::string_view key) const;

private:
  friend class GgufFile;
  const GgufValue &need(std::string_view key, std::string_view expected) const;
  [[noreturn]] void wrong(std::string_view key, std::string_view expected, const GgufValue &value) const;
  std::string file;
  std::map<std::string, GgufValue, std::less<>> values;
  std::vector<std::string> order;
};

/// A .gguf file of version 3 (little-endian). Tensor shapes are turned to row-major order (GGUF lists the innermost
/// dimension first). Tensors of types without a reader are listed by the file but refused here by name.
class GgufFile : public TensorSource {
public:
  static std::shared_ptr<const GgufFile> open(const std::string &path);
  static std::shared_ptr<const GgufFile> parse(std::shared_ptr<const MappedFile> file);
  const GgufMetadata &meta() const { return metadata; }

private:
  std::shared_ptr<const MappedFile> file;
  GgufMetadata metadata;
};

} // namespace loopc::rt
