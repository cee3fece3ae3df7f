// Training data: one stream of tokens cut into windows, in an order that a seed decides.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/TrainStep.h"
#include <cstdint>
#include <string>
#include <vector>

namespace loopc::driver {

/// A tokenizer.json whose ids are the bytes.
std::string byteTokenizer();

class TrainData {
public:
  /// Files one after the other: `.jsonl` (the member `text` of every line), `.bin` (token ids, little-endian, u16 for at most 65,536 ids, else
  /// u32), every other one as text. `tokenizer`: a file or directory, or `bytes`: ids are the bytes. Throws Failure for ids that the
  /// model does not have and where no window fits.
  TrainData(const std::vector<std::string> &paths, const std::string &tokenizer, int64_t vocab, int64_t length);

  int64_t tokens() const { return int64_t(stream.size()); }
  /// Windows of `length` tokens and the label of the last; they share no label.
  int64_t windows() const { return (tokens() - 1) / length; }
  /// Sample `number` of the run: every epoch takes each window once, in an order of its own.
  rt::StepSequence sample(uint64_t seed, int64_t number);
  /// Window `number` in the order of the files.
  rt::StepSequence window(int64_t number) const;

private:
  std::vector<int32_t> stream;
  int64_t length;
  int64_t epoch = -1;
  std::vector<uint32_t> order; ///< of the windows in that epoch
};

} // namespace loopc::driver
