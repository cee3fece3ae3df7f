// A file mapped into memory for reading.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace loopc::rt {

/// Bytes of one file, shared by every tensor view into it. The file must not shrink while it is mapped.
class MappedFile {
public:
  /// Maps `path` read-only. Throws Error if it cannot be opened or is not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::string &path);
  /// The same interface over bytes already in memory (tests, fuzzers); `name` stands for the path in messages.
  static std::shared_ptr<const MappedFile> fromBytes(std::string name, std::string bytes);

  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;

  const std::string &path() const { return name; }
  std::span<const std::byte> bytes() const { return {data, length}; }
  std::string_view text() const { return {reinterpret_cast<const char *>(data), length}; }

private:
  MappedFile() = default;
  std::string name, owned;
  const std::byte *data = nullptr;
  size_t length = 0;
  bool mapped = false;
};

} // namespace loopc::rt
