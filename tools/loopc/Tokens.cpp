// Token ids from files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/runtime/Safetensors.h"
#include "loopc/runtime/Tokenizer.h"

namespace loopc::driver {

std::vector<int32_t> readTokens(const std::string &path, const WeightOptions &weights) {
  auto endsWith = [&](const std::string &end) {
    return path.size() > end.size() && path.compare(path.size() - end.size(), end.size(), end) == 0;
  };
  if (!endsWith(".safetensors")) {
    std::string text = readFile(path);
    if (weights.weights.empty())
      failExpected(path, "weights with a tokenizer for this text, or token ids in a .safetensors", "neither");
    return rt::Tokenizer::open(weights.weights)->encode(text);
  }
  std::shared_ptr<const rt::SafetensorsFile> file = rt::SafetensorsFile::open(path);
  const rt::TensorView *view = file->find("tokens");
  if (!view && file->tensors().size() == 1)
    view = &file->tensors()[0];
  if (!view)
    failExpected(path, "one tensor, or one that is called tokens", std::to_string(file->tensors().size()) + " tensors");
  std::vector<int32_t> result;
  for (int64_t id : rt::readI64(*view)) {
    if (id < 0 || id > INT32_MAX)
      failExpected(path + ": " + view->name, "token ids", std::to_string(id));
    result.push_back(int32_t(id));
  }
  return result;
}

} // namespace loopc::driver
