// Tensor views and sets of tensors.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/TensorFile.h"
#include "Checked.h"
#include <algorithm>
#include <cstring>

namespace loopc::rt {

namespace {
struct TypeInfo {
  std::string_view name;
  int64_t elements, bytes;
};
constexpr TypeInfo typeTable[] = {
#define LOOPC_DTYPE(name, safetensors, gguf, elements, bytes) {#name, elements, bytes},
#include "loopc/runtime/DTypes.def"
};
} // namespace

std::string_view dtypeName(DType type) { return typeTable[size_t(type)].name; }
int64_t blockElements(DType type) { return typeTable[size_t(type)].elements; }
int64_t blockBytes(DType type) { return typeTable[size_t(type)].bytes; }

int64_t TensorView::elements() const {
  int64_t product = 1;
  for (int64_t dimension : shape)
    product *= dimension;
  return product;
}

int64_t TensorView::rows() const {
  int64_t product = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i)
    product *= shape[i];
  return product;
}

std::string shapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

const TensorView *TensorSource::find(std::string_view name) const {
  auto it = index.find(name);
  return it == index.end() ? nullptr : &views[it->second];
}

/// Levenshtein distance, given up above `limit`.
static size_t distance(std::string_view a, std::string_view b, size_t limit) {
  if (a.size() > b.size() + limit || b.size() > a.size() + limit)
    return limit + 1;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

const TensorView &TensorSource::get(std::string_view name) const {
  if (const TensorView *view = find(name))
    return *view;
  // Names are short; a bound on both keeps this message cheap for hostile files.
  const TensorView *nearest = nullptr;
  size_t best = 12;
  if (name.size() <= 256)
    for (const TensorView &view : views)
      if (view.name.size() <= 256) {
        size_t d = distance(name, view.name, best);
        if (d < best)
          best = d, nearest = &view;
      }
  throw Error(description, "", "tensor " + rt::quoted(name, 200),
              "no tensor of that name among " + std::to_string(views.size()) +
                  (nearest ? " (nearest is " + rt::quoted(nearest->name, 200) + ")" : ""));
}

void TensorSource::add(TensorView view) {
  auto [it, inserted] = index.try_emplace(view.name, views.size());
  if (!inserted) {
    const std::string &first = views[it->second].file;
    throw Error(view.file, "tensor " + rt::quoted(view.name), "a name that occurs once",
                first == view.file ? "a second tensor of that name" : "a tensor that is also in " + first);
  }
  views.push_back(std::move(view));
}

void MemoryTensors::add(std::string name, DType dtype, std::vector<int64_t> shape, std::vector<std::byte> bytes) {
  TensorView view{std::move(name), dtype, std::move(shape), {}, description};
  size_t size = storedSize(view, description, "tensor " + rt::quoted(view.name));
  if (size != bytes.size())
    throw Error(description, "tensor " + rt::quoted(view.name), std::to_string(size) + " bytes",
                std::to_string(bytes.size()));
  buffers.push_back(std::make_unique<std::vector<std::byte>>(std::move(bytes)));
  view.bytes = *buffers.back();
  TensorSource::add(std::move(view));
}

void MemoryTensors::addF32(std::string name, std::vector<int64_t> shape, std::span<const float> values) {
  std::vector<std::byte> bytes(values.size_bytes());
  if (!bytes.empty())
    std::memcpy(bytes.data(), values.data(), bytes.size());
  add(std::move(name), DType::F32, std::move(shape), std::move(bytes));
}

} // namespace loopc::rt
