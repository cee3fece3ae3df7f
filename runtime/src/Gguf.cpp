// The GGUF version 3 reader.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Gguf.h"
#include "Checked.h"
#include <algorithm>
#include <bit>
#include <cstring>

namespace loopc::rt {

namespace {

constexpr uint32_t maxDimensions = 4; // GGML_MAX_DIMS
constexpr size_t maxName = 64 * 1024; // tensor names and keys; real ones are below 65 bytes

/// Stored bytes of one scalar; 0 for strings and arrays.
size_t scalarBytes(GgufType type) {
  static constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return bytes[size_t(type)];
}

bool isInteger(GgufType type) { return type <= GgufType::I32 || type == GgufType::U64 || type == GgufType::I64; }
bool isSigned(GgufType type) {
  return type == GgufType::I8 || type == GgufType::I16 || type == GgufType::I32 || type == GgufType::I64;
}
bool isReal(GgufType type) { return type == GgufType::F32 || type == GgufType::F64; }

/// Reads forward through the file and never past its end.
class Cursor {
public:
  explicit Cursor(const MappedFile &file) : file(file.path()), bytes(file.bytes()) {}

  uint64_t offset() const { return at; }
  uint64_t left() const { return bytes.size() - at; }
  std::string place() const { return "byte " + std::to_string(at) + (what.empty() ? "" : " (" + what + ")"); }
  [[noreturn]] void fail(const std::string &expected, const std::string &found) const {
    throw Error(file, place(), expected, found);
  }
  /// What is being read, for messages.
  std::string what;

  template <typename T> T read() {
    need(sizeof(T));
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    at += sizeof(T);
    return value;
  }
  std::string string(uint64_t limit) {
    uint64_t start = at, length = read<uint64_t>();
    if (length > left() || length > limit) {
      std::string room = length > left() ? "a string inside the file" : "a name of at most " + std::to_string(limit) + " bytes";
      at = start;
      fail(room, "a length of " + std::to_string(length));
    }
    std::string text(reinterpret_cast<const char *>(bytes.data() + at), length);
    at += length;
    return text;
  }
  void need(uint64_t size) const {
    if (size > left())
      fail(std::to_string(size) + " bytes", std::to_string(left()) + " before the end of the file");
  }

private:
  const std::string &file;
  std::span<const std::byte> bytes;
  uint64_t at = 0;
};

GgufType readType(Cursor &in) {
  uint64_t start = in.offset();
  auto type = in.read<uint32_t>();
  if (type > uint32_t(GgufType::F64))
    in.fail("a value type of 0..12", std::to_string(type) + " at byte " + std::to_string(start));
  return GgufType(type);
}

/// One scalar: integers and bool into bits, reals into real.
void readScalar(Cursor &in, GgufType type, uint64_t &bits, double &real) {
  switch (type) {
  case GgufType::U8:
    bits = in.read<uint8_t>();
    return;
  case GgufType::I8:
    bits = uint64_t(int64_t(in.read<int8_t>()));
    return;
  case GgufType::U16:
    bits = in.read<uint16_t>();
    return;
  case GgufType::I16:
    bits = uint64_t(int64_t(in.read<int16_t>()));
    return;
  case GgufType::U32:
    bits = in.read<uint32_t>();
    return;
  case GgufType::I32:
    bits = uint64_t(int64_t(in.read<int32_t>()));
    return;
  case GgufType::U64:
  case GgufType::I64:
    bits = in.read<uint64_t>();
    return;
  case GgufType::F32:
    real = in.read<float>();
    return;
  case GgufType::F64:
    real = in.read<double>();
    return;
  case GgufType::Bool: {
    auto byte = in.read<uint8_t>();
    if (byte > 1)
      in.fail("a boolean of 0 or 1", std::to_string(byte));
    bits = byte;
    return;
  }
  case GgufType::String:
  case GgufType::Array:
    return;
  }
}

GgufValue readValue(Cursor &in) {
  GgufValue value;
  value.type = readType(in);
  if (value.type == GgufType::String) {
    value.text = in.string(UINT64_MAX);
    return value;
  }
  if (value.type != GgufType::Array) {
    readScalar(in, value.type, value.bits, value.real);
    return value;
  }
  value.elementType = readType(in);
  if (value.elementType == GgufType::Array)
    in.fail("an array of scalars or strings", "an array of arrays");
  value.count = in.read<uint64_t>();
  // An element takes at least this many bytes, so a count that lies is seen before anything is reserved for it.
  uint64_t least = value.elementType == GgufType::String ? 8 : scalarBytes(value.elementType);
  if (value.count > in.left() / least)
    in.fail("an array inside the file",
            std::to_string(value.count) + " elements of " + std::string(ggufTypeName(value.elementType)));
  for (uint64_t i = 0; i < value.count; ++i) {
    if (value.elementType == GgufType::String) {
      value.texts.push_back(in.string(UINT64_MAX));
      continue;
    }
    uint64_t bits = 0;
    double real = 0;
    readScalar(in, value.elementType, bits, real);
    if (isReal(value.elementType))
      value.reals.push_back(real);
    else
      value.integers.push_back(bits);
  }
  return value;
}

std::optional<DType> readerOf(uint32_t type) {
#define LOOPC_DTYPE(name, safetensors, gguf, elements, bytes)                                                          \
  if (int64_t(type) == int64_t(gguf))                                                                                  \
    return DType::name;
#include "loopc/runtime/DTypes.def"
  return std::nullopt;
}

std::string typeText(uint32_t type) {
#define LOOPC_GGUF_UNREAD(name, gguf)                                                                                  \
  if (type == gguf)                                                                                                    \
    return #name;
#include "loopc/runtime/DTypes.def"
  return "unknown type number " + std::to_string(type);
}

std::string readableTypes() {
  std::string list;
#define LOOPC_DTYPE(name, safetensors, gguf, elements, bytes)                                                          \
  if (gguf >= 0)                                                                                                       \
    list += (list.empty() ? "" : ", ") + std::string(#name);
#include "loopc/runtime/DTypes.def"
  return list;
}

struct Placed {
  uint64_t begin, end;
  TensorView view;
};

} // namespace

std::string_view ggufTypeName(GgufType type) {
  static constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                               "bool", "string", "array", "u64", "i64", "f64"};
  return names[size_t(type)];
}

std::shared_ptr<const GgufFile> GgufFile::open(const std::string &path) { return parse(MappedFile::open(path)); }

std::shared_ptr<const GgufFile> GgufFile::parse(std::shared_ptr<const MappedFile> mapped) {
  auto result = std::make_shared<GgufFile>();
  const std::string &path = mapped->path();
  result->file = mapped;
  result->description = path;
  result->metadata.file = path;

  Cursor in(*mapped);
  in.what = "magic";
  if (mapped->text().substr(0, 4) != "GGUF")
    in.fail("'GGUF'", rt::quoted(mapped->text().substr(0, 4)));
  in.read<uint32_t>();
  in.what = "version";
  in.need(4);
  uint32_t version = in.read<uint32_t>();
  if (version != 3)
    throw Error(path, "byte 4 (version)", "version 3",
                version == 0x03000000 ? "a big-endian file" : "version " + std::to_string(version));
  in.what = "tensor count";
  uint64_t tensorCount = in.read<uint64_t>();
  // The smallest tensor record is 24 bytes, the smallest key and value 13.
  if (tensorCount > in.left() / 24)
    throw Error(path, "byte 8 (tensor count)", "tensors inside the file", std::to_string(tensorCount) + " tensors");
  in.what = "key count";
  uint64_t keyCount = in.read<uint64_t>();
  if (keyCount > in.left() / 13)
    throw Error(path, "byte 16 (key count)", "keys inside the file", std::to_string(keyCount) + " keys");

  for (uint64_t i = 0; i < keyCount; ++i) {
    in.what = "key " + std::to_string(i);
    std::string key = in.string(maxName);
    in.what = "key " + rt::quoted(key);
    GgufValue value = readValue(in);
    if (!result->metadata.values.try_emplace(key, std::move(value)).second)
      in.fail("a key that occurs once", "a second " + rt::quoted(key));
    result->metadata.order.push_back(std::move(key));
  }

  uint64_t alignment = 32;
  if (result->metadata.has("general.alignment"))
    alignment = result->metadata.u32("general.alignment");
  if (alignment < 8 || alignment > (1u << 20) || !std::has_single_bit(alignment))
    throw Error(path, "key 'general.alignment'", "a power of two of 8 or more", std::to_string(alignment));

  std::vector<Placed> placed;
  for (uint64_t i = 0; i < tensorCount; ++i) {
    in.what = "tensor " + std::to_string(i);
    TensorView view;
    view.file = path;
    view.name = in.string(maxName);
    in.what = "tensor " + rt::quoted(view.name);
    auto rank = in.read<uint32_t>();
    if (rank > maxDimensions)
      in.fail("at most " + std::to_string(maxDimensions) + " dimensions", std::to_string(rank));
    for (uint32_t d = 0; d < rank; ++d) {
      auto dimension = in.read<uint64_t>();
      if (dimension > uint64_t(INT64_MAX))
        in.fail("dimensions below 2^63", std::to_string(dimension));
      view.shape.push_back(int64_t(dimension));
    }
    std::reverse(view.shape.begin(), view.shape.end());
    auto type = in.read<uint32_t>();
    std::optional<DType> reader = readerOf(type);
    if (!reader)
      throw Error(path, in.what, "one of the types " + readableTypes(), typeText(type));
    view.dtype = *reader;
    auto offset = in.read<uint64_t>();
    if (offset % alignment)
      throw Error(path, in.what, "an offset that is a multiple of " + std::to_string(alignment),
                  "offset " + std::to_string(offset));
    uint64_t size = storedSize(view, path, in.what), end = 0;
    if (__builtin_add_overflow(offset, size, &end))
      throw Error(path, in.what, "data inside the file",
                  "offset " + std::to_string(offset) + " and " + std::to_string(size) + " bytes");
    placed.push_back({offset, end, std::move(view)});
  }

  // Tensor data begin at the next multiple of the alignment; a file without tensors may end before it.
  uint64_t start = (in.offset() + alignment - 1) / alignment * alignment;
  std::span<const std::byte> bytes = mapped->bytes();
  uint64_t room = bytes.size() > start ? bytes.size() - start : 0;
  std::vector<const Placed *> byOffset;
  for (Placed &p : placed) {
    if (p.end > room)
      throw Error(path, "tensor " + rt::quoted(p.view.name),
                  "data inside the " + std::to_string(room) + " bytes of tensor data",
                  "bytes " + std::to_string(p.begin) + ".." + std::to_string(p.end));
    if (p.end > p.begin) {
      p.view.bytes = bytes.subspan(start + p.begin, p.end - p.begin);
      byOffset.push_back(&p);
    }
  }
  std::sort(byOffset.begin(), byOffset.end(), [](const Placed *a, const Placed *b) { return a->begin < b->begin; });
  for (size_t i = 1; i < byOffset.size(); ++i)
    if (byOffset[i]->begin < byOffset[i - 1]->end)
      throw Error(path, "tensor " + rt::quoted(byOffset[i]->view.name),
                  "data after those of " + rt::quoted(byOffset[i - 1]->view.name) + ", which end at byte " +
                      std::to_string(byOffset[i - 1]->end),
                  "data from byte " + std::to_string(byOffset[i]->begin));
  for (Placed &p : placed)
    result->add(std::move(p.view));
  return result;
}

const GgufValue *GgufMetadata::find(std::string_view key) const {
  auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

const GgufValue &GgufMetadata::need(std::string_view key, std::string_view expected) const {
  if (const GgufValue *value = find(key))
    return *value;
  throw Error(file, "", "a key " + rt::quoted(key) + " (" + std::string(expected) + ")", "none");
}

void GgufMetadata::wrong(std::string_view key, std::string_view expected, const GgufValue &value) const {
  std::string found(ggufTypeName(value.type));
  if (value.type == GgufType::Array)
    found = "an array of " + std::string(ggufTypeName(value.elementType));
  else if (isInteger(value.type))
    found += " " + (isSigned(value.type) ? std::to_string(int64_t(value.bits)) : std::to_string(value.bits));
  throw Error(file, "key " + rt::quoted(key), std::string(expected), found);
}

uint32_t GgufMetadata::u32(std::string_view key) const {
  const GgufValue &value = need(key, "an integer");
  if (!isInteger(value.type) || value.bits > UINT32_MAX)
    wrong(key, "an integer of 0..4294967295", value);
  return uint32_t(value.bits);
}

int64_t GgufMetadata::i64(std::string_view key) const {
  const GgufValue &value = need(key, "an integer");
  if (!isInteger(value.type) || (!isSigned(value.type) && value.bits > uint64_t(INT64_MAX)))
    wrong(key, "an integer below 2^63", value);
  return int64_t(value.bits);
}

double GgufMetadata::real(std::string_view key) const {
  const GgufValue &value = need(key, "a real number");
  if (!isReal(value.type))
    wrong(key, "f32 or f64", value);
  return value.real;
}

bool GgufMetadata::boolean(std::string_view key) const {
  const GgufValue &value = need(key, "bool");
  if (value.type != GgufType::Bool)
    wrong(key, "bool", value);
  return value.bits != 0;
}

const std::string &GgufMetadata::text(std::string_view key) const {
  const GgufValue &value = need(key, "a string");
  if (value.type != GgufType::String)
    wrong(key, "a string", value);
  return value.text;
}

const std::vector<std::string> &GgufMetadata::texts(std::string_view key) const {
  const GgufValue &value = need(key, "an array of strings");
  if (value.type != GgufType::Array || value.elementType != GgufType::String)
    wrong(key, "an array of strings", value);
  return value.texts;
}

std::vector<int64_t> GgufMetadata::integers(std::string_view key) const {
  const GgufValue &value = need(key, "an array of integers");
  if (value.type != GgufType::Array || !isInteger(value.elementType))
    wrong(key, "an array of integers", value);
  return {value.integers.begin(), value.integers.end()};
}

std::vector<double> GgufMetadata::reals(std::string_view key) const {
  const GgufValue &value = need(key, "an array of real numbers");
  if (value.type != GgufType::Array || !isReal(value.elementType))
    wrong(key, "an array of f32 or f64", value);
  return value.reals;
}

} // namespace loopc::rt
