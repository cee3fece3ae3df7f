// Opening of what --weights names: directories, shards, single files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "JsonFile.h"
#include "loopc/runtime/Gguf.h"
#include "loopc/runtime/Safetensors.h"
#include <algorithm>
#include <filesystem>
#include <set>

namespace loopc::rt {

namespace fs = std::filesystem;

static std::shared_ptr<const TensorSource> openFile(const std::string &path, const GgufFile **gguf) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  // The name says what the user means; the magic says it for files without a telling name.
  std::string extension = fs::path(path).extension().string();
  if (extension == ".gguf" || (extension != ".safetensors" && file->text().substr(0, 4) == "GGUF")) {
    auto parsed = GgufFile::parse(file);
    *gguf = parsed.get();
    return parsed;
  }
  if (extension == ".safetensors")
    return SafetensorsFile::parse(file);
  throw Error(path, "", "a .safetensors or .gguf file", extension.empty() ? "a file without extension" : "a " + extension + " file");
}

/// Shards named by an index file, each once, and the tensors they must hold.
static std::vector<std::string> shardsOf(const std::string &path, std::map<std::string, std::string> &home) {
  nlohmann::json index = parseJson(MappedFile::open(path)->text(), path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    throw Error(path, "", "an object 'weight_map'", "none");
  std::set<std::string> shards;
  for (const auto &[name, shard] : index["weight_map"].items()) {
    if (!shard.is_string())
      throw Error(path, "weight_map " + rt::quoted(name), "the name of a shard", shard.type_name());
    const auto &file = shard.get_ref<const std::string &>();
    // A shard lies beside its index; anything else could name any file of the machine.
    if (file.empty() || fs::path(file).filename() != file || file == ".." || file == "." ||
        file.find('\0') != std::string::npos)
      throw Error(path, "weight_map " + rt::quoted(name), "a file name without directories", rt::quoted(file));
    shards.insert(file);
    home[name] = (fs::path(path).parent_path() / file).string();
  }
  if (shards.empty())
    throw Error(path, "weight_map", "at least one shard", "none");
  return {shards.begin(), shards.end()};
}

void WeightSource::addPart(std::shared_ptr<const TensorSource> part) {
  for (const TensorView &view : part->tensors())
    add(view);
  description += (description.empty() ? "" : ", ") + part->describe();
  parts.push_back(std::move(part));
}

std::shared_ptr<const WeightSource> WeightSource::open(const std::string &path) { return open(std::span(&path, 1)); }

std::shared_ptr<const WeightSource> WeightSource::open(std::span<const std::string> paths) {
  auto source = std::make_shared<WeightSource>();
  std::map<std::string, std::string> home; // tensor -> shard, as an index claims
  std::string indexFile;
  for (const std::string &path : paths) {
    std::error_code error;
    std::vector<std::string> files;
    if (!fs::is_directory(path, error)) {
      files.push_back(path);
      if (paths.size() == 1)
        source->folder = fs::path(path).parent_path().string();
      if (paths.size() == 1 && source->folder.empty())
        source->folder = ".";
    } else {
      if (paths.size() == 1)
        source->folder = path;
      fs::path folder(path);
      std::string index = (folder / "model.safetensors.index.json").string();
      if (fs::exists(index, error)) {
        indexFile = index;
        for (const std::string &shard : shardsOf(index, home))
          files.push_back((folder / shard).string());
      } else {
        for (const char *name : {"model.safetensors", "weights.safetensors"})
          if (files.empty() && fs::exists(folder / name, error))
            files.push_back((folder / name).string());
      }
      if (files.empty()) {
        for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
          if (it->path().extension() == ".gguf")
            files.push_back(it->path().string());
        if (error)
          throw Error(path, "", "a readable directory", error.message());
        std::sort(files.begin(), files.end());
        if (files.size() != 1)
          throw Error(path, "",
                      "model.safetensors.index.json, model.safetensors, weights.safetensors or one *.gguf",
                      files.empty() ? "a directory without any of them"
                                    : std::to_string(files.size()) + " *.gguf files");
      }
    }
    for (const std::string &file : files) {
      const GgufFile *gguf = nullptr;
      auto part = openFile(file, &gguf);
      if (gguf && source->ggufPart)
        throw Error(file, "", "one GGUF file", "a second one beside " + source->ggufPart->describe());
      if (gguf)
        source->ggufPart = gguf;
      source->addPart(std::move(part));
    }
  }
  for (const auto &[name, shard] : home) {
    const TensorView *view = source->find(name);
    if (!view || view->file != shard)
      throw Error(indexFile, "weight_map " + rt::quoted(name), "a tensor in " + shard,
                  view ? "one in " + view->file : "no tensor of that name");
  }
  return source;
}

} // namespace loopc::rt
