// What --weights may name.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Bytes.h"
#include "loopc/runtime/Safetensors.h"

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

void writeOne(const std::string &path, const std::string &name, float value) {
  MemoryTensors source("memory");
  source.addF32(name, {1}, std::span(&value, 1));
  writeSafetensors(path, source);
}

float only(const TensorSource &source, const std::string &name) { return readF32(source.get(name)).at(0); }

TEST(WeightSource, ADirectoryOfShards) {
  TemporaryDirectory directory;
  writeOne(directory.file("m-1.safetensors"), "a", 1);
  writeOne(directory.file("m-2.safetensors"), "b", 2);
  writeOne(directory.file("model.safetensors"), "not part of it", 3);
  directory.write("model.safetensors.index.json",
                  R"({"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  auto source = WeightSource::open(directory.path.string());
  EXPECT_EQ(source->tensors().size(), 2u);
  EXPECT_EQ(only(*source, "a"), 1);
  EXPECT_EQ(only(*source, "b"), 2);
  EXPECT_EQ(source->directory(), directory.path.string());
  EXPECT_EQ(source->gguf(), nullptr);
}

TEST(WeightSource, AnIndexThatLies) {
  TemporaryDirectory directory;
  writeOne(directory.file("m-1.safetensors"), "a", 1);
  writeOne(directory.file("m-2.safetensors"), "b", 2);
  std::string index = directory.file("model.safetensors.index.json"), one = directory.file("m-1.safetensors");
  auto with = [&](const std::string &text) {
    directory.write("model.safetensors.index.json", text);
    return messageOf([&] { WeightSource::open(directory.path.string()); });
  };
  EXPECT_EQ(with(R"({"weight_map":{"a":"../x.safetensors"}})"),
            index + ": weight_map 'a': expected a file name without directories, but got '../x.safetensors'");
  EXPECT_EQ(with(R"({"weight_map":{"a":".."}})"),
            index + ": weight_map 'a': expected a file name without directories, but got '..'");
  EXPECT_EQ(with(R"({"weight_map":{"a":7}})"),
            index + ": weight_map 'a': expected the name of a shard, but got number");
  EXPECT_EQ(with(R"({"weight_map":[]})"), index + ": expected an object 'weight_map', but got none");
  EXPECT_EQ(with(R"({"weight_map":{}})"), index + ": weight_map: expected at least one shard, but got none");
  EXPECT_EQ(with(R"({"weight_map":{"a":"m-1.safetensors","c":"m-1.safetensors"}})"),
            index + ": weight_map 'c': expected a tensor in " + one + ", but got no tensor of that name");
  EXPECT_EQ(with(R"({"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","x":"m-2.safetensors"}})"),
            index + ": weight_map 'b': expected a tensor in " + one + ", but got one in " +
                directory.file("m-2.safetensors"));
  EXPECT_EQ(with(R"({"weight_map":{"a":"gone.safetensors"}})"),
            directory.file("gone.safetensors") + ": expected a readable file, but got No such file or directory");
  EXPECT_EQ(with("{"), index + ": byte 1: expected JSON, but got 'syntax error while parsing object key - unexpected end "
                               "of input; expected string literal'");
}

TEST(WeightSource, NamesInOrderOfPreference) {
  TemporaryDirectory directory;
  EXPECT_EQ(messageOf([&] { WeightSource::open(directory.path.string()); }),
            directory.path.string() + ": expected model.safetensors.index.json, model.safetensors, weights.safetensors "
                                      "or one *.gguf, but got a directory without any of them");
  directory.write("x.gguf", GgufBuilder().tensor("g", {1}, 0, bytesOf(5.0f)).build());
  auto gguf = WeightSource::open(directory.path.string());
  EXPECT_EQ(only(*gguf, "g"), 5);
  ASSERT_NE(gguf->gguf(), nullptr);
  directory.write("y.gguf", GgufBuilder().build());
  EXPECT_EQ(messageOf([&] { WeightSource::open(directory.path.string()); }),
            directory.path.string() + ": expected model.safetensors.index.json, model.safetensors, weights.safetensors "
                                      "or one *.gguf, but got 2 *.gguf files");
  writeOne(directory.file("weights.safetensors"), "w", 6);
  EXPECT_EQ(only(*WeightSource::open(directory.path.string()), "w"), 6);
  writeOne(directory.file("model.safetensors"), "m", 7);
  EXPECT_EQ(only(*WeightSource::open(directory.path.string()), "m"), 7);
}

TEST(WeightSource, SeveralFilesTogether) {
  TemporaryDirectory directory;
  std::string a = directory.file("a.safetensors"), b = directory.file("b.safetensors");
  writeOne(a, "t", 1);
  writeOne(b, "t", 2);
  std::string both[] = {a, b};
  EXPECT_EQ(messageOf([&] { WeightSource::open(both); }),
            b + ": tensor 't': expected a name that occurs once, but got a tensor that is also in " + a);
  writeOne(b, "u", 2);
  EXPECT_EQ(WeightSource::open(both)->tensors().size(), 2u);
}

TEST(WeightSource, OtherFiles) {
  TemporaryDirectory directory;
  std::string text = directory.write("model.bin", "hello");
  EXPECT_EQ(messageOf([&] { WeightSource::open(text); }),
            text + ": expected a .safetensors or .gguf file, but got a .bin file");
  EXPECT_EQ(messageOf([&] { WeightSource::open(directory.file("gone.gguf")); }),
            directory.file("gone.gguf") + ": expected a readable file, but got No such file or directory");
  std::string folder = directory.file("x.safetensors");
  std::filesystem::create_directory(folder);
  EXPECT_EQ(messageOf([&] { MappedFile::open(folder); }), folder + ": expected a regular file, but got a directory");
  // A GGUF without a telling name is known by its magic.
  EXPECT_NE(WeightSource::open(directory.write("blob", GgufBuilder().build()))->gguf(), nullptr);
}

} // namespace
