// Any bytes as a GGUF file: refused with an Error or readable in every byte, tokenizer included.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Gguf.h"
#include "loopc/runtime/Tokenizer.h"

using namespace loopc::rt;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::shared_ptr<const GgufFile> file;
  try {
    file = GgufFile::parse(MappedFile::fromBytes("x", std::string(reinterpret_cast<const char *>(data), size)));
    volatile float sum = 0;
    for (const TensorView &view : file->tensors())
      for (float value : readF32(view))
        sum = sum + value;
  } catch (const Error &) {
    if (!file)
      return 0;
  }
  try {
    auto tokenizer = Tokenizer::fromGguf(file->meta(), "x");
    for (int32_t id : tokenizer->encode("Hello 123"))
      tokenizer->tokenBytes(id);
  } catch (const Error &) {
  }
  return 0;
}
