// Binding of `config` and `options`: published files, --set, defaults, ranges, accepted keys.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_FRONTEND_CONFIG_H
#define LOOPC_FRONTEND_CONFIG_H

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <utility>
#include <vector>

namespace loopc::frontend {

/// Where the values of `config` and `options` come from. A later source wins: default, published file, `sets`.
struct ConfigInput {
  /// A published config.json (nested objects are reached by dotted keys), or the flat metadata of a GGUF file; may be
  /// null. It is read only during the call.
  const nlohmann::json *published = nullptr;
  /// What messages call it.
  std::string publishedName = "config.json";
  /// `--set name=value`: the value as written in a spec (a number, true, false, none, a word).
  std::vector<std::pair<std::string, std::string>> sets;
  /// `--accident name`
  std::vector<std::string> accidents;
  /// The named exit that is on.
  std::string exit;
  /// Skip the error for published keys that no entry reads.
  bool ignoreUnknownKeys = false;
};

} // namespace loopc::frontend

#endif
