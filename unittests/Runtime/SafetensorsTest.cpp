// Reading and writing of good safetensors files.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Safetensors.h"
#include "Bytes.h"

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

TEST(Safetensors, WhatIsWrittenIsRead) {
  TemporaryDirectory directory;
  std::string path = directory.file("w.safetensors");
  MemoryTensors source("memory");
  source.addF32("b.weight", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  source.addF32("scalar", {}, std::vector<float>{7});
  source.addF32("none", {0, 4}, {});
  source.add("a", DType::I64, {2}, std::vector<std::byte>(16, std::byte{0xFF}));
  writeSafetensors(path, source, {{"format", "pt"}});

  auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file->metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  ASSERT_EQ(file->tensors().size(), 4u);
  const TensorView &b = file->get("b.weight");
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(b.rows(), 2);
  EXPECT_EQ(readF32(b), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  float row[3];
  readF32(b, 1, 2, row);
  EXPECT_EQ(row[0], 4);
  EXPECT_EQ(readF32(file->get("scalar")), std::vector<float>{7});
  EXPECT_TRUE(readF32(file->get("none")).empty());
  EXPECT_EQ(readI64(file->get("a")), (std::vector<int64_t>{-1, -1}));
  // The data begin at a multiple of 8, as other readers map them.
  EXPECT_EQ((8 + *reinterpret_cast<const uint64_t *>(readAll(path).data())) % 8, 0u);
}

TEST(Safetensors, NothingIsLeftOfAnUnfinishedFile) {
  TemporaryDirectory directory;
  std::string path = directory.file("w.safetensors");
  SafetensorsWriter::Entry entry{"t", DType::F32, {4}};
  {
    SafetensorsWriter writer(path, std::span(&entry, 1));
    std::byte some[8] = {};
    writer.append(some);
    EXPECT_EQ(messageOf([&] { writer.commit(); }), path + ": expected 16 bytes of tensor data, but got 8");
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(Safetensors, TheOldFileStaysUntilTheNewOneIsWhole) {
  TemporaryDirectory directory;
  std::string path = directory.write("w.safetensors", "old");
  SafetensorsWriter::Entry entry{"t", DType::U8, {1}};
  SafetensorsWriter writer(path, std::span(&entry, 1));
  std::byte one[1] = {std::byte{9}};
  writer.append(one);
  EXPECT_EQ(readAll(path), "old");
  writer.commit();
  EXPECT_EQ(readF32(SafetensorsFile::open(path)->get("t")), std::vector<float>{9});
}

TEST(Safetensors, WriterRefusals) {
  TemporaryDirectory directory;
  std::string path = directory.file("w.safetensors");
  auto write = [&](std::vector<SafetensorsWriter::Entry> entries) {
    return messageOf([&] { SafetensorsWriter(path, entries); });
  };
  EXPECT_EQ(write({{"t", DType::Q8_0, {32}}}),
            path + ": tensor 't': expected a type that safetensors can hold, but got Q8_0");
  EXPECT_EQ(write({{"t", DType::F32, {1}}, {"t", DType::F32, {1}}}),
            path + ": tensor 't': expected a name that occurs once, but got a second tensor of that name");
  EXPECT_EQ(write({{"t", DType::F32, {-1}}}),
            path + ": tensor 't': expected dimensions of 0 or more, but got shape [-1]");
  std::string nowhere = directory.file("no/such/folder/w.safetensors");
  EXPECT_EQ(messageOf([&] { SafetensorsWriter(nowhere, {}); }),
            nowhere + ": expected to create a file, but got No such file or directory");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(Safetensors, MissingTensorNamesItsNeighbour) {
  MemoryTensors source("memory");
  source.addF32("model.layers.0.mlp.up_proj.weight", {1}, std::vector<float>{0});
  EXPECT_EQ(messageOf([&] { source.get("model.layers.0.mlp.upproj.weight"); }),
            "memory: expected tensor 'model.layers.0.mlp.upproj.weight', but got no tensor of that name among 1 "
            "(nearest is 'model.layers.0.mlp.up_proj.weight')");
  EXPECT_EQ(messageOf([&] { source.get("x"); }), "memory: expected tensor 'x', but got no tensor of that name among 1");
}

} // namespace
