// The safetensors writer: one pass to a temporary name, then a rename.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Safetensors.h"
#include "Checked.h"
#include "Utf8.h"
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace loopc::rt {

static std::string_view storedName(DType type) {
  switch (type) {
#define LOOPC_DTYPE(name, safetensors, gguf, elements, bytes)                                                          \
  case DType::name:                                                                                                    \
    return safetensors;
#include "loopc/runtime/DTypes.def"
  }
  return "";
}

void SafetensorsWriter::fail(const std::string &doing) {
  std::string reason = std::strerror(errno);
  if (stream) {
    std::fclose(stream);
    stream = nullptr;
    ::unlink(temporary.c_str());
  }
  throw Error(path, "", "to " + doing, reason);
}

SafetensorsWriter::SafetensorsWriter(std::string target, std::span<const Entry> entries,
                                     const std::map<std::string, std::string> &metadata)
    : path(std::move(target)) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  std::set<std::string_view> names;
  for (const Entry &entry : entries) {
    std::string place = "tensor " + rt::quoted(entry.name);
    if (entry.name == "__metadata__" || firstInvalidUtf8(entry.name) != std::string::npos)
      throw Error(path, place, "a UTF-8 name other than '__metadata__'", rt::quoted(entry.name));
    if (!names.insert(entry.name).second)
      throw Error(path, place, "a name that occurs once", "a second tensor of that name");
    if (storedName(entry.dtype).empty())
      throw Error(path, place, "a type that safetensors can hold", std::string(dtypeName(entry.dtype)));
    uint64_t size = storedSize({entry.name, entry.dtype, entry.shape, {}, path}, path, place);
    // Keys are unique by the check above, so the quadratic lookup of an ordered object is not needed.
    header.get_ref<nlohmann::ordered_json::object_t &>().emplace_back(
        entry.name, nlohmann::ordered_json{{"dtype", storedName(entry.dtype)},
                                           {"shape", entry.shape},
                                           {"data_offsets", {wanted, wanted + size}}});
    wanted += size;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  // A name of its own in the same directory: rename is atomic only inside one file system.
  temporary = path + ".XXXXXX";
  int descriptor = ::mkstemp(temporary.data());
  if (descriptor < 0)
    fail("create a file");
  stream = ::fdopen(descriptor, "wb");
  if (!stream) {
    ::close(descriptor);
    ::unlink(temporary.c_str());
    fail("create a file");
  }
  uint64_t length = text.size();
  if (std::fwrite(&length, 1, 8, stream) != 8 || std::fwrite(text.data(), 1, text.size(), stream) != text.size())
    fail("write the header");
}

SafetensorsWriter::~SafetensorsWriter() {
  if (stream) {
    std::fclose(stream);
    ::unlink(temporary.c_str());
  }
}

void SafetensorsWriter::append(std::span<const std::byte> bytes) {
  if (bytes.size() > wanted - written)
    throw Error(path, "", std::to_string(wanted) + " bytes of tensor data",
                std::to_string(written + bytes.size()) + " or more");
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), stream) != bytes.size())
    fail("write tensor data");
  written += bytes.size();
}

void SafetensorsWriter::commit() {
  if (written != wanted)
    throw Error(path, "", std::to_string(wanted) + " bytes of tensor data", std::to_string(written));
  // mkstemp makes the file private; the result gets what the process would give any new file (0644).
  if (std::fflush(stream) != 0 || ::fchmod(::fileno(stream), 0644) != 0 || ::fsync(::fileno(stream)) != 0)
    fail("write tensor data");
  int status = std::fclose(stream);
  stream = nullptr;
  if (status == 0 && ::rename(temporary.c_str(), path.c_str()) == 0)
    return;
  int reason = errno;
  ::unlink(temporary.c_str());
  errno = reason;
  fail("write the file under its name");
}

void writeSafetensors(const std::string &path, const TensorSource &source,
                      const std::map<std::string, std::string> &metadata) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const TensorView &view : source.tensors())
    entries.push_back({view.name, view.dtype, view.shape});
  SafetensorsWriter writer(path, entries, metadata);
  for (const TensorView &view : source.tensors())
    writer.append(view.bytes);
  writer.commit();
}

} // namespace loopc::rt
