// Files made in memory for tests: safetensors, GGUF, and a temporary directory.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "MessageOf.h"
#include "loopc/runtime/Gguf.h"
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <unistd.h>

namespace loopc::rt::testing {

using test::messageOf;

template <typename T> std::string bytesOf(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

/// A safetensors file with a true header length.
inline std::string safetensors(const std::string &header, size_t dataBytes = 0) {
  return bytesOf(uint64_t(header.size())) + header + std::string(dataBytes, '\0');
}

/// Puts a GGUF file together; nothing is checked, so any lie can be told.
class GgufBuilder {
public:
  uint32_t version = 3;
  uint64_t keyCount = 0, tensorCount = 0; ///< counted as parts are added; may be overwritten
  std::string keys, infos, data;
  uint64_t alignment = 32;

  static std::string text(const std::string &s) { return bytesOf(uint64_t(s.size())) + s; }
  GgufBuilder &raw(const std::string &key, GgufType type, const std::string &value) {
    keys += text(key) + bytesOf(uint32_t(type)) + value;
    ++keyCount;
    return *this;
  }
  GgufBuilder &u32(const std::string &key, uint32_t v) { return raw(key, GgufType::U32, bytesOf(v)); }
  GgufBuilder &boolean(const std::string &key, bool v) { return raw(key, GgufType::Bool, bytesOf(uint8_t(v))); }
  GgufBuilder &string(const std::string &key, const std::string &v) { return raw(key, GgufType::String, text(v)); }
  GgufBuilder &strings(const std::string &key, const std::vector<std::string> &list) {
    std::string value = bytesOf(uint32_t(GgufType::String)) + bytesOf(uint64_t(list.size()));
    for (const std::string &s : list)
      value += text(s);
    return raw(key, GgufType::Array, value);
  }
  template <typename T> GgufBuilder &array(const std::string &key, GgufType type, const std::vector<T> &list) {
    std::string value = bytesOf(uint32_t(type)) + bytesOf(uint64_t(list.size()));
    for (T v : list)
      value += bytesOf(v);
    return raw(key, GgufType::Array, value);
  }
  /// `dimensions` innermost first, as in the file.
  GgufBuilder &info(const std::string &name, std::vector<uint64_t> dimensions, uint32_t type, uint64_t offset) {
    infos += text(name) + bytesOf(uint32_t(dimensions.size()));
    for (uint64_t d : dimensions)
      infos += bytesOf(d);
    infos += bytesOf(type) + bytesOf(offset);
    ++tensorCount;
    return *this;
  }
  /// A tensor whose data follow those of the last one.
  GgufBuilder &tensor(const std::string &name, std::vector<uint64_t> dimensions, uint32_t type,
                      const std::string &bytes) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    info(name, std::move(dimensions), type, data.size());
    data += bytes;
    return *this;
  }
  std::string build() const {
    std::string file = "GGUF" + bytesOf(version) + bytesOf(tensorCount) + bytesOf(keyCount) + keys + infos;
    file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data;
  }
};

class TemporaryDirectory {
public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "loopc-test-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string file(const std::string &name) const { return (path / name).string(); }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
  std::filesystem::path path;
};

inline std::string readAll(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

} // namespace loopc::rt::testing
