// The safetensors reader: header parsed event by event, every number checked before use.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Safetensors.h"
#include "Checked.h"
#include "JsonFile.h"
#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

namespace loopc::rt {

namespace {

/// Longest header that the format's own library accepts.
constexpr uint64_t maxHeader = 100'000'000;

std::optional<DType> dtypeOf(std::string_view name) {
#define LOOPC_DTYPE(type, safetensors, gguf, elements, bytes)                                                          \
  if (!std::string_view(safetensors).empty() && name == safetensors)                                                   \
    return DType::type;
#include "loopc/runtime/DTypes.def"
  return std::nullopt;
}

std::string knownTypes() {
  std::string list;
#define LOOPC_DTYPE(type, safetensors, gguf, elements, bytes)                                                          \
  if (!std::string_view(safetensors).empty())                                                                          \
    list += (list.empty() ? "" : ", ") + std::string(safetensors);
#include "loopc/runtime/DTypes.def"
  return list;
}

struct RawTensor {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<uint64_t>> offsets;
};

/// Receives the header as events. A tree would keep only the last of two equal keys and hide the lie.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
public:
  HeaderReader(const std::string &file, std::vector<RawTensor> &tensors, std::map<std::string, std::string> &meta)
      : file(file), tensors(tensors), meta(meta) {}

  bool null() override { return value("null"); }
  bool boolean(bool v) override { return value(v ? "true" : "false"); }
  bool number_float(double, const std::string &text) override { return value("the number " + text); }
  bool binary(binary_t &) override { return value("binary data"); }
  bool number_integer(int64_t v) override { return value("the negative number " + std::to_string(v)); }
  bool number_unsigned(uint64_t v) override {
    if (state == InArray && field == "shape") {
      if (v > uint64_t(INT64_MAX))
        fail("dimensions below 2^63", std::to_string(v));
      if (tensors.back().shape->size() == 16)
        fail("at most 16 dimensions", "more");
      tensors.back().shape->push_back(int64_t(v));
      return true;
    }
    if (state == InArray) {
      if (tensors.back().offsets->size() == 2)
        fail("two offsets", "more than two");
      tensors.back().offsets->push_back(v);
      return true;
    }
    return value("the number " + std::to_string(v));
  }
  bool string(std::string &text) override {
    if (state == InMetadata) {
      if (!meta.emplace(field, text).second)
        fail("a key that occurs once", "a second key " + rt::quoted(field));
      return true;
    }
    if (state == InTensor && field == "dtype") {
      tensors.back().dtype = text;
      return true;
    }
    return value("the string " + rt::quoted(text));
  }
  bool key(std::string &name) override {
    if (state == InTensor) {
      const RawTensor &t = tensors.back();
      field = name;
      if (name != "dtype" && name != "shape" && name != "data_offsets")
        fail("the keys dtype, shape and data_offsets", rt::quoted(name));
      if ((name == "dtype" && t.dtype) || (name == "shape" && t.shape) || (name == "data_offsets" && t.offsets))
        fail("each key once", "a second " + rt::quoted(name));
    } else {
      (state == InMetadata ? field : entry) = name;
    }
    return true;
  }
  bool start_object(size_t) override {
    if (state == Start) {
      state = InHeader;
    } else if (state == InHeader && entry == "__metadata__") {
      if (hasMetadata)
        fail("one __metadata__", "a second one");
      hasMetadata = true;
      state = InMetadata;
    } else if (state == InHeader) {
      state = InTensor;
      tensors.push_back({entry, {}, {}, {}});
    } else {
      value("an object");
    }
    return true;
  }
  bool end_object() override {
    state = state == InHeader ? Done : InHeader;
    field.clear();
    return true;
  }
  bool start_array(size_t) override {
    if (state != InTensor || field == "dtype")
      return value("an array");
    if (field == "shape")
      tensors.back().shape.emplace();
    else
      tensors.back().offsets.emplace();
    state = InArray;
    return true;
  }
  bool end_array() override {
    state = InTensor;
    return true;
  }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &error) override {
    throw Error(file, "byte " + std::to_string(8 + (position ? position - 1 : 0)), "a JSON header",
                jsonProblem(error));
  }

private:
  [[noreturn]] void fail(const std::string &expected, const std::string &found) {
    std::string place = "header";
    if (state == InMetadata)
      place = "__metadata__";
    else if (state == InTensor || state == InArray)
      place = "tensor " + rt::quoted(entry) + (field.empty() ? "" : ", " + rt::quoted(field));
    else if (state == InHeader)
      place = rt::quoted(entry);
    throw Error(file, place, expected, found);
  }
  /// A value where none of its kind belongs.
  bool value(const std::string &found) {
    if (state == Start)
      fail("a JSON object", found);
    if (state == InHeader)
      fail("an object that describes a tensor", found);
    if (state == InMetadata)
      fail("a string", found);
    if (state == InArray)
      fail("integers of 0 or more", found);
    fail(field == "dtype" ? "a string" : "an array of integers", found);
  }

  enum State { Start, InHeader, InTensor, InArray, InMetadata, Done } state = Start;
  const std::string &file;
  std::vector<RawTensor> &tensors;
  std::map<std::string, std::string> &meta;
  std::string entry, field;
  bool hasMetadata = false;
};

uint64_t loadU64(const std::byte *at) {
  uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

} // namespace

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  return parse(MappedFile::open(path));
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::parse(std::shared_ptr<const MappedFile> mapped) {
  std::span<const std::byte> bytes = mapped->bytes();
  const std::string &path = mapped->path();
  auto size = [](uint64_t n) { return std::to_string(n) + " bytes"; };
  if (bytes.size() < 8)
    throw Error(path, "byte 0", "a header length of 8 bytes", "a file of " + size(bytes.size()));
  uint64_t headerSize = loadU64(bytes.data());
  if (headerSize > maxHeader)
    throw Error(path, "byte 0", "a header of at most " + size(maxHeader), "a header length of " + size(headerSize));
  if (headerSize > bytes.size() - 8)
    throw Error(path, "byte 0", "a header inside the file of " + size(bytes.size()),
                "a header length of " + size(headerSize));
  std::string_view header = mapped->text().substr(8, headerSize);
  if (header.empty() || header[0] != '{')
    throw Error(path, "byte 8", "'{'", header.empty() ? "an empty header" : rt::quoted(header.substr(0, 1)));

  auto result = std::make_shared<SafetensorsFile>();
  result->file = mapped;
  result->description = path;
  std::vector<RawTensor> raw;
  HeaderReader reader(path, raw, result->meta);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);

  std::span<const std::byte> data = bytes.subspan(8 + headerSize);
  struct Placed {
    uint64_t begin, end;
    TensorView view;
  };
  std::vector<Placed> placed;
  for (RawTensor &tensor : raw) {
    std::string place = "tensor " + rt::quoted(tensor.name);
    for (auto [present, key] : {std::pair(tensor.dtype.has_value(), "dtype"), {tensor.shape.has_value(), "shape"},
                                {tensor.offsets.has_value(), "data_offsets"}})
      if (!present)
        throw Error(path, place, "a key '" + std::string(key) + "'", "none");
    std::optional<DType> type = dtypeOf(*tensor.dtype);
    if (!type)
      throw Error(path, place, "a dtype of " + knownTypes(), rt::quoted(*tensor.dtype));
    if (tensor.offsets->size() != 2)
      throw Error(path, place, "two data_offsets", std::to_string(tensor.offsets->size()));
    uint64_t begin = (*tensor.offsets)[0], end = (*tensor.offsets)[1];
    std::string range = "[" + std::to_string(begin) + ", " + std::to_string(end) + "]";
    if (begin > end)
      throw Error(path, place, "data_offsets in ascending order", range);
    if (end > data.size())
      throw Error(path, place, "data_offsets inside the " + size(data.size()) + " of tensor data", range);
    TensorView view{tensor.name, *type, std::move(*tensor.shape), {}, path};
    uint64_t wanted = storedSize(view, path, place);
    if (wanted != end - begin)
      throw Error(path, place, size(wanted) + " for " + *tensor.dtype + " " + shapeText(view.shape),
                  size(end - begin) + " at data_offsets " + range);
    view.bytes = data.subspan(begin, end - begin);
    placed.push_back({begin, end, std::move(view)});
  }
  std::sort(placed.begin(), placed.end(), [](const Placed &a, const Placed &b) {
    return std::tie(a.begin, a.end, a.view.name) < std::tie(b.begin, b.end, b.view.name);
  });
  uint64_t at = 0;
  for (Placed &p : placed) {
    std::string place = "tensor " + rt::quoted(p.view.name);
    if (p.begin != at)
      throw Error(path, place, "tensor data from byte " + std::to_string(at) + " on (no overlap, no hole)",
                  "data from byte " + std::to_string(p.begin));
    at = p.end;
    result->TensorSource::add(std::move(p.view));
  }
  if (at != data.size())
    throw Error(path, "byte " + std::to_string(8 + headerSize + at), "the end of the file after the last tensor",
                size(data.size() - at) + " more");
  return result;
}

} // namespace loopc::rt
