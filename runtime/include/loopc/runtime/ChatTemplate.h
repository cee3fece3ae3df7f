// Evaluator of the Jinja subset in which chat templates are written.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace loopc::rt {

struct ChatMessage {
  std::string role;
  std::string content;
};

/// A parsed chat template. Whitespace rules are those with which chat templates are rendered in practice
/// (trim_blocks and lstrip_blocks on). What is outside the subset is refused with line and column.
class ChatTemplate {
public:
  /// `name` stands for the file in messages.
  static ChatTemplate parse(std::string_view source, const std::string &name = "chat template");

  /// Renders with `messages`, `add_generation_prompt`, `bos_token` and `eos_token` set.
  std::string apply(std::span<const ChatMessage> messages, bool addGenerationPrompt = true,
                    std::string_view bosToken = "", std::string_view eosToken = "") const;
  /// Renders with the members of a JSON object as variables.
  std::string render(std::string_view variablesJson) const;

  struct Node; ///< syntax tree, private to the implementation

private:
  std::shared_ptr<const Node> root;
  std::string name;
};

} // namespace loopc::rt
