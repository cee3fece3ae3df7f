// Weights that stay in the blocks of their file: products and embeddings have the bits of weights widened to f32.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace loopc::test;
namespace rt = loopc::rt;

namespace {

// Prelude: x = row `token` of @w. Head: y = @v x. Both matrices have `format` unless it is empty.
std::string model(int k, int n, const std::string &format) {
  std::string K = std::to_string(k), N = std::to_string(n), kept = format.empty() ? "" : " format \"" + format + "\"";
  std::string matrix = "tensor<" + N + "x" + K + "xf32>", row = "tensor<?x" + K + "xf32, #lane>", out = "tensor<?x" + N + "xf32, #lane>";
  std::string bank = "!loop.bank<@slot>", lanes = "!loop.lanes<lane>";
  return "#lane = #loop.rows<lane>\n"
         "loop.model @m phase(lanes) {\n"
         "  loop.weight @w : " + matrix + kept + "\n"
         "  loop.weight @v : " + matrix + kept + "\n"
         "  loop.bank @slot [#loop.field<\"x\" : tensor<" + K + "xf32>>, #loop.field<\"e\" : tensor<" + K + "xf32>>]\n"
         "  loop.stage @prelude {\n"
         "  ^bb0(%L: " + lanes + ", %R: index, %b: " + bank + "):\n"
         "    %id = loop.column token of %L : " + lanes + " -> tensor<?xi32, #lane>\n"
         "    %W = loop.param @w : " + matrix + "\n"
         "    %e = loop.embed %id, %W : (tensor<?xi32, #lane>, " + matrix + ") -> " + row + "\n"
         "    %b1 = loop.store %e to %b[\"e\"] at %L : " + row + ", " + bank + ", " + lanes + " -> " + bank + "\n"
         "    loop.return %b1 : " + bank + "\n  }\n"
         "  loop.stage @head {\n"
         "  ^bb0(%L: " + lanes + ", %R: index, %b: " + bank + "):\n"
         "    %x = loop.load %b[\"x\"] at %L : " + bank + ", " + lanes + " -> " + row + "\n"
         "    %V = loop.param @v : " + matrix + "\n"
         "    %y = loop.linear %x, %V order(<chain>) : (" + row + ", " + matrix + ") -> " + out + "\n"
         "    loop.return %b, %y : " + bank + ", " + out + "\n  }\n}\n";
}

/// Blocks of any bits whose scales are finite halves of both signs, some of them subnormal.
std::vector<std::byte> blocksOf(rt::DType type, int64_t elements, std::mt19937 &random) {
  auto size = size_t(rt::blockBytes(type));
  std::vector<std::byte> bytes(size_t(elements / rt::blockElements(type)) * size);
  for (std::byte &byte : bytes)
    byte = std::byte(random());
  bool two = type == rt::DType::Q4_1 || type == rt::DType::Q5_1 || type == rt::DType::Q4_K || type == rt::DType::Q5_K;
  for (size_t block = 0; block < bytes.size(); block += size)
    for (size_t i = 0; i < (two ? 2u : 1u); ++i) {
      uint16_t half = uint16_t((random() & 0x83ff) | (random() % 16 ? 4 + random() % 8 : 0) << 10);
      std::memcpy(&bytes[block + (type == rt::DType::Q6_K ? 208 : 2 * i)], &half, 2);
    }
  return bytes;
}

void check(rt::DType type, int k, int n, unsigned vectorBits = 0, std::string format = "") {
  if (format.empty())
    format = rt::weightFormatName(type);
  auto kept = compile(model(k, n, format), {.vectorBits = vectorBits}), widened = compile(model(k, n, ""), {.vectorBits = vectorBits});
  ASSERT_EQ(kept->error + widened->error, "") << taskForm(model(k, n, format));
  std::mt19937 random(unsigned(k + n));
  std::normal_distribution<float> normal;
  rt::MemoryTensors file("file");
  file.add("w", type, {n, k}, blocksOf(type, int64_t(n) * k, random));
  file.add("v", type, {n, k}, blocksOf(type, int64_t(n) * k, random));
  for (uint32_t workers : {1u, 3u}) {
    Machine a(*kept, 64, workers), b(*widened, 64, workers);
    for (const rt::TensorView &tensor : file.tensors()) {
      a.set(tensor.name, type, {tensor.bytes.begin(), tensor.bytes.end()});
      b.set(tensor.name, rt::readF32(tensor));
    }
    for (int m : {1, 2, 3, 4, 6, 7, 13, 50}) {
      std::vector<Lane> lanes(static_cast<size_t>(m));
      for (int r = 0; r < m; ++r) {
        std::vector<float> x(static_cast<size_t>(k));
        for (float &v : x)
          v = normal(random);
        lanes[size_t(r)].slot = r;
        lanes[size_t(r)].token = int(random() % unsigned(n));
        a.setField("x", r, x);
        b.setField("x", r, x);
      }
      ASSERT_EQ(a.run("head", lanes), 0);
      ASSERT_EQ(b.run("head", lanes), 0);
      ASSERT_EQ(a.logits.size(), b.logits.size());
      for (size_t i = 0; i < a.logits.size(); ++i)
        ASSERT_EQ(std::memcmp(&a.logits[i], &b.logits[i], 4), 0)
            << format << " m " << m << " row " << i / size_t(n) << " column " << i % size_t(n) << ": " << a.logits[i] << " " << b.logits[i];
      ASSERT_EQ(a.run("prelude", lanes), 0);
      for (int r = 0; r < m; ++r) {
        std::vector<float> got = a.field("e", r), want(static_cast<size_t>(k));
        int64_t token = lanes[size_t(r)].token;
        rt::readF32(file.get("w"), token, token + 1, want.data());
        ASSERT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0) << format << " row " << r;
      }
    }
  }
}

TEST(Blocks, of32) {
  for (rt::DType type : {rt::DType::Q4_0, rt::DType::Q4_1, rt::DType::Q5_0, rt::DType::Q5_1, rt::DType::Q8_0}) {
    check(type, 96, 200);
    check(type, 32, 5);
  }
}
TEST(Blocks, of256) {
  for (rt::DType type : {rt::DType::Q4_K, rt::DType::Q5_K, rt::DType::Q6_K})
    check(type, 512, 70);
}
// Layers of one weight in several formats of 256.
TEST(Blocks, mixed) {
  for (rt::DType type : {rt::DType::Q4_K, rt::DType::Q5_K, rt::DType::Q6_K})
    check(type, 256, 40, 0, "k_mix");
}
TEST(Blocks, inKernelsOfOtherWidths) {
  for (unsigned bits : {128u, 512u}) {
    check(rt::DType::Q4_1, 64, 70, bits);
    check(rt::DType::Q8_0, 64, 70, bits);
    check(rt::DType::Q6_K, 256, 40, bits);
  }
}
TEST(Blocks, ofSixteenBits) {
  // Numbers of a file that are narrower than f32 stay so.
  for (rt::DType type : {rt::DType::BF16, rt::DType::F16}) {
    auto kept = compile(model(38, 45, std::string(rt::weightFormatName(type))));
    ASSERT_EQ(kept->error, "");
    EXPECT_NE(kept->metadata.find("\"stored\":true"), std::string::npos);
  }
}

} // namespace
