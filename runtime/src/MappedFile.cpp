// Mapping of files into memory.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/MappedFile.h"
#include "loopc/runtime/Error.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace loopc::rt {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string &path) {
  // O_NONBLOCK: opening a FIFO must come back and be refused, not wait for a writer.
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    throw Error(path, "", "a readable file", std::strerror(errno));
  struct Closer {
    int descriptor;
    ~Closer() { ::close(descriptor); }
  } closer{descriptor};
  struct stat info;
  if (::fstat(descriptor, &info) != 0)
    throw Error(path, "", "a readable file", std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    throw Error(path, "", "a regular file", S_ISDIR(info.st_mode) ? "a directory" : "a special file");
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = path;
  file->length = static_cast<size_t>(info.st_size);
  if (file->length) {
    void *at = ::mmap(nullptr, file->length, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (at == MAP_FAILED)
      throw Error(path, "", "a file that can be mapped into memory", std::strerror(errno));
    file->data = static_cast<const std::byte *>(at);
    file->mapped = true;
  }
  return file;
}

std::shared_ptr<const MappedFile> MappedFile::fromBytes(std::string name, std::string bytes) {
  std::shared_ptr<MappedFile> file(new MappedFile);
  file->name = std::move(name);
  file->owned = std::move(bytes);
  file->data = reinterpret_cast<const std::byte *>(file->owned.data());
  file->length = file->owned.size();
  return file;
}

MappedFile::~MappedFile() {
  if (mapped)
    ::munmap(const_cast<std::byte *>(data), length);
}

} // namespace loopc::rt
