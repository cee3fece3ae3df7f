// Any text as a chat template: refused with an Error or rendered within its bounds.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/ChatTemplate.h"

using namespace loopc::rt;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ChatMessage messages[] = {{"system", "Be brief."}, {"user", "Hi é"}, {"assistant", ""}};
  try {
    ChatTemplate::parse({reinterpret_cast<const char *>(data), size}).apply(messages, true, "<s>", "</s>");
  } catch (const Error &) {
  }
  return 0;
}
