// The exception class of the runtime: a message that names file, place, expected and found.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

namespace loopc::rt {

/// Thrown by the runtime and caught at its boundary (never crosses the C ABI or MLIR code).
/// `what()` reads `FILE: PLACE: expected EXPECTED, but got FOUND` with empty parts left out.
class Error : public std::runtime_error {
public:
  explicit Error(const std::string &message) : std::runtime_error(message), detail(message) {}
  /// `place` is a byte offset, a key or a tensor name; `expected` and `found` are noun phrases.
  Error(std::string file, std::string place, std::string expected, std::string found);

  /// The file the message is about; empty if there is none.
  const std::string &file() const { return fileName; }
  /// The place inside the file; empty if there is none.
  const std::string &place() const { return placeName; }
  /// The message without file and place.
  const std::string &message() const { return detail; }

private:
  std::string fileName, placeName, detail;
};

/// Text of foreign origin made fit for a message: control bytes and invalid UTF-8 escaped, cut to `limit` bytes.
std::string quoted(std::string_view text, size_t limit = 80);

} // namespace loopc::rt
