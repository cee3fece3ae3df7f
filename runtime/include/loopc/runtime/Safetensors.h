// Reader and writer of safetensors files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/TensorFile.h"
#include <cstdio>

namespace loopc::rt {

/// A .safetensors file: u64 header length, JSON header, then the tensor bytes without holes.
/// Every offset, size and name is checked before use; the file is trusted in nothing.
class SafetensorsFile : public TensorSource {
public:
  static std::shared_ptr<const SafetensorsFile> open(const std::string &path);
  static std::shared_ptr<const SafetensorsFile> parse(std::shared_ptr<const MappedFile> file);
  /// The `__metadata__` strings.
  const std::map<std::string, std::string> &metadata() const { return meta; }

private:
  std::shared_ptr<const MappedFile> file;
  std::map<std::string, std::string> meta;
};

/// Writes a file in one pass, tensor after tensor in the given order. Nothing is visible under `path` before
/// commit(): bytes go to a temporary name in the same directory, which is renamed at the end and removed on failure.
class SafetensorsWriter {
public:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
  };
  /// Throws Error on duplicate names, types that safetensors does not have, or a path that cannot be written.
  SafetensorsWriter(std::string path, std::span<const Entry> entries,
                    const std::map<std::string, std::string> &metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter &) = delete;
  SafetensorsWriter &operator=(const SafetensorsWriter &) = delete;

  /// The next bytes of the tensor data, in any cut.
  void append(std::span<const std::byte> bytes);
  /// Throws Error unless exactly all bytes were appended.
  void commit();

private:
  [[noreturn]] void fail(const std::string &doing);
  std::string path, temporary;
  std::FILE *stream = nullptr;
  uint64_t wanted = 0, written = 0;
};

/// Writes all tensors of `source`; block types are refused.
void writeSafetensors(const std::string &path, const TensorSource &source,
                      const std::map<std::string, std::string> &metadata = {});

} // namespace loopc::rt
