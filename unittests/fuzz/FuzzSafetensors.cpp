// Any bytes as a safetensors file: refused with an Error or readable in every byte.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Safetensors.h"
#include <cstring>

using namespace loopc::rt;

/// Reads every tensor; the sum keeps the reads alive.
static void readAll(const TensorSource &source) {
  volatile float sum = 0;
  for (const TensorView &view : source.tensors())
    for (float value : readF32(view))
      sum = sum + value;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  try {
    readAll(*SafetensorsFile::parse(MappedFile::fromBytes("x", bytes)));
  } catch (const Error &) {
  }
  // Once more with a true header length in front, so that the header is reached from any bytes: the first 2 bytes say
  // how much of the rest is tensor data.
  if (size < 2)
    return 0;
  size_t tensorBytes = (size_t(data[0]) | size_t(data[1]) << 8) % (size - 1);
  uint64_t header = size - 2 - tensorBytes;
  std::string whole(8, '\0');
  std::memcpy(whole.data(), &header, 8);
  try {
    readAll(*SafetensorsFile::parse(MappedFile::fromBytes("x", whole + bytes.substr(2))));
  } catch (const Error &) {
  }
  return 0;
}
