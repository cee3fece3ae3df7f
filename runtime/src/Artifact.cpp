// Loading compiled artefacts.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Artifact.h"
#include "loopc/runtime/MappedFile.h"
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <filesystem>
#include <xxhash.h>

namespace loopc::rt {

namespace {

constexpr char trailerMagic[8] = {'l', 'o', 'o', 'p', 'c', 'E', 'L', 'F'};

std::string hex(uint64_t v) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(v));
  return text;
}

void expectEqual(const std::string &file, const std::string &place, uint64_t expected, uint64_t found) {
  if (expected != found)
    throw Error(file, place, std::to_string(expected), std::to_string(found));
}

std::string absolutePath(const std::string &path) {
  std::error_code ec;
  std::filesystem::path p = std::filesystem::absolute(path, ec);
  return ec ? path : p.string();
}

} // namespace

void sealArtifact(const std::string &path) {
  ArtifactTrailer trailer = {};
  {
    auto map = MappedFile::open(path);
    std::memcpy(trailer.magic, trailerMagic, sizeof trailerMagic);
    trailer.abi = LOOPC_ABI_VERSION;
    trailer.schema = LOOPC_SCHEMA_VERSION;
    trailer.bytes = map->bytes().size();
    trailer.hash = XXH3_64bits(map->bytes().data(), map->bytes().size());
  }
  std::FILE *f = std::fopen(path.c_str(), "ab");
  if (!f)
    throw Error(path, "", "a file that can be written", std::strerror(errno));
  bool written = std::fwrite(&trailer, sizeof trailer, 1, f) == 1;
  if ((std::fclose(f) != 0) | !written)
    throw Error(path, "trailer", "room for " + std::to_string(sizeof trailer) + " bytes", std::strerror(errno));
}

void checkArtifactFile(const std::string &path) {
  auto map = MappedFile::open(path);
  std::span<const std::byte> all = map->bytes();
  if (all.size() < sizeof(Elf64_Ehdr) + sizeof(ArtifactTrailer))
    throw Error(path, "", "an artefact of at least " + std::to_string(sizeof(Elf64_Ehdr) + sizeof(ArtifactTrailer)) +
                              " bytes", std::to_string(all.size()) + " bytes");
  Elf64_Ehdr elf;
  std::memcpy(&elf, all.data(), sizeof elf);
  if (std::memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0)
    throw Error(path, "byte 0", "an ELF shared object", "other bytes");
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB || elf.e_type != ET_DYN)
    throw Error(path, "ELF header", "a 64-bit little-endian shared object",
                "class " + std::to_string(elf.e_ident[EI_CLASS]) + ", data " + std::to_string(elf.e_ident[EI_DATA]) +
                    ", type " + std::to_string(elf.e_type));
#if defined(__x86_64__)
  constexpr uint16_t machine = EM_X86_64;
#elif defined(__aarch64__)
  constexpr uint16_t machine = EM_AARCH64;
#else
#error "unknown machine"
#endif
  expectEqual(path, "ELF machine", machine, elf.e_machine);

  ArtifactTrailer trailer;
  std::memcpy(&trailer, all.data() + all.size() - sizeof trailer, sizeof trailer);
  if (std::memcmp(trailer.magic, trailerMagic, sizeof trailerMagic) != 0)
    throw Error(path, "trailer", "the mark of a complete artefact", "none: the file is cut short or not an artefact");
  expectEqual(path, "trailer: abi", LOOPC_ABI_VERSION, trailer.abi);
  expectEqual(path, "trailer: schema", LOOPC_SCHEMA_VERSION, trailer.schema);
  uint64_t bytes = all.size() - sizeof trailer;
  expectEqual(path, "trailer: size without trailer", trailer.bytes, bytes);
  uint64_t hash = XXH3_64bits(all.data(), bytes);
  if (hash != trailer.hash)
    throw Error(path, "hash of the file", hex(trailer.hash), hex(hash));
  auto tableInside = [&](const char *name, uint64_t offset, uint64_t count, uint64_t size) {
    if (offset > bytes || count * size > bytes - offset)
      throw Error(path, name, "a table inside the " + std::to_string(bytes) + " bytes of the file",
                  "its end at byte " + std::to_string(offset + count * size));
  };
  tableInside("ELF section table", elf.e_shoff, elf.e_shnum, elf.e_shentsize);
  tableInside("ELF program table", elf.e_phoff, elf.e_phnum, elf.e_phentsize);
}

std::shared_ptr<const Artifact> Artifact::load(const std::string &path) {
  checkArtifactFile(path);
  std::shared_ptr<Artifact> a(new Artifact);
  a->file = path;
  a->handle = dlopen(absolutePath(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!a->handle) {
    const char *why = dlerror();
    throw Error(path, "", "a shared object that can be loaded", why ? why : "a refusal");
  }
  auto *header = static_cast<const loopc_artifact *>(dlsym(a->handle, "loopc_artifact_v1"));
  if (!header)
    throw Error(path, "", "the symbol loopc_artifact_v1", "none");
  expectEqual(path, "size of loopc_artifact", sizeof(loopc_artifact), header->size);
  expectEqual(path, "abi", LOOPC_ABI_VERSION, header->abi);
  expectEqual(path, "schema", LOOPC_SCHEMA_VERSION, header->schema);
  expectEqual(path, "pack", LOOPC_PACK_VERSION, header->pack);
  uint64_t hash = XXH3_64bits(header->metadata, header->metadata_bytes);
  if (hash != header->metadata_hash)
    throw Error(path, "hash of the metadata", hex(header->metadata_hash), hex(hash));
  a->model = ModelInfo::parse({header->metadata, header->metadata_bytes}, path);
  checkCpuFeatures(a->model, path);
  for (uint32_t i = 0; i < header->stage_count; ++i) {
    bool known = false;
    for (size_t s = 0; s < stageCount; ++s)
      if (stageName(Stage(s)) == header->stages[i].name) {
        a->entries[s] = header->stages[i].run;
        known = true;
      }
    if (!known)
      throw Error(path, "stages", "prelude, core, check, decide, coda, head or step", rt::quoted(header->stages[i].name));
  }
  for (size_t s = 0; s < stageCount; ++s)
    if ((a->entries[s] != nullptr) != (a->model.stage(Stage(s)) != nullptr))
      throw Error(path, "stage " + std::string(stageName(Stage(s))),
                  a->model.stage(Stage(s)) ? "code, as the metadata says" : "no code, as the metadata says",
                  a->model.stage(Stage(s)) ? "none" : "some");
  return a;
}

Artifact::~Artifact() {
  if (handle)
    dlclose(handle);
}

} // namespace loopc::rt
