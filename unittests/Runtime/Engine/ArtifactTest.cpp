// Artefact files: what is checked, what is refused; the CPU executor end to end.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../MessageOf.h"
#include "loopc/runtime/CpuExecutor.h"
#include "loopc/runtime/Engine.h"
#include "loopc/runtime/Generate.h"
#include "loopc/runtime/MappedFile.h"
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

using namespace loopc::rt;
using loopc::rt::test::messageOf;
using loopc::rt::test::refusalOf;

namespace {

class ArtifactTest : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("loopc-artifact-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    std::ifstream in(LOOPC_TINY_ARTIFACT, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
    // The hash of the metadata, as a compiler would have written it.
    size_t begin = bytes.find("{\"model\":\"tiny\""), end = bytes.find('\0', begin);
    uint64_t hash = XXH3_64bits(bytes.data() + begin, end - begin), mark = 0x1122334455667788u;
    size_t at = bytes.find(std::string(reinterpret_cast<char *>(&mark), 8));
    ASSERT_NE(at, std::string::npos);
    std::memcpy(bytes.data() + at, &hash, 8);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  /// A file of these bytes, each under a name of its own (the system keeps loaded objects by name).
  std::string write(std::string content, bool seal) {
    std::string path = (folder / ("a" + std::to_string(count++) + ".so")).string();
    std::ofstream(path, std::ios::binary) << content;
    if (seal)
      sealArtifact(path);
    return path;
  }
  std::string replace(const std::string &from, const std::string &to) {
    std::string copy = bytes;
    for (size_t at = 0; (at = copy.find(from, at)) != std::string::npos; at += to.size())
      copy.replace(at, from.size(), to);
    return copy;
  }
  void expectRefused(const std::string &path, const std::string &part) {
    std::string message = messageOf([&] { Artifact::load(path); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  std::filesystem::path folder;
  std::string bytes;
  int count = 0;
};

TEST_F(ArtifactTest, LoadsAndRuns) {
  auto artifact = Artifact::load(write(bytes, true));
  EXPECT_EQ(artifact->info().model, "tiny");
  MemoryTensors weights("test");
  std::vector<float> embed(20), headWeights(20);
  for (int i = 0; i < 20; ++i)
    embed[size_t(i)] = float(i), headWeights[size_t(i)] = float(i % 7);
  weights.addF32("embed.weight", {5, 4}, embed);
  weights.addF32("head.weight", {5, 4}, headWeights);
  auto params = PackedParams::pack(artifact->info(), weights);
  for (uint32_t workers : {1u, 2u, 3u}) {
    CpuExecutor executor(artifact, params, {.workers = workers});
    Engine engine(executor, {.capacity = 4, .kvBytes = 1 << 20});
    SequenceId id = engine.open({.loops = 3});
    std::vector<int32_t> tokens = {2, 1};
    FeedResult r = engine.feed(id, tokens, {.logits = LogitsFor::All, .observe = {"h"}});
    // States of tokens 2 and 1 begin at 8.. and 4..; sums of the call are 12, 14, 16.
    float h1 = (((9.f * .5f + 12) * .5f) + 14) * .5f + 16;
    EXPECT_EQ(r.observed["h"].final[0], 11);
    EXPECT_EQ(r.observed["h"].final[1], h1);
    float want = 0, state[4] = {11, h1, 10, 11};
    for (int k = 0; k < 4; ++k)
      want += headWeights[size_t(2 * 4 + k)] * state[k];
    EXPECT_EQ(r.row(0)[2], want);
    // A stage that stops is an error with its value, and the executor goes on working.
    std::vector<int32_t> four = {4};
    EXPECT_NE(messageOf([&] { engine.feed(id, four); }).find("stopped with 9"), std::string::npos);
    EXPECT_EQ(engine.length(id), 2u);
    Generated g = generate(engine, {.prompt = {1, 2}, .maxTokens = 1, .sequence = {.loops = 1}});
    EXPECT_EQ(g.tokens.size(), 1u);
  }
}

TEST_F(ArtifactTest, RefusesOtherFiles) {
  std::string whole = bytes;
  expectRefused((folder / "absent.so").string(), "absent.so");
  expectRefused(write("short", false), "5 bytes");
  expectRefused(write(std::string(400, 'x'), false), "an ELF shared object");
  expectRefused(write(bytes, false), "the mark of a complete artefact");
  std::string sealed = write(bytes, true);
  std::string all(MappedFile::open(sealed)->text());
  expectRefused(write(all.substr(0, all.size() - 1), false), "the mark of a complete artefact");
  expectRefused(write(all.substr(0, 2000) + all.substr(2008), false), "size without trailer");
  for (size_t at : {size_t(100), all.size() / 2, all.size() - 40}) {
    std::string flipped = all;
    flipped[at] = char(flipped[at] ^ 1);
    expectRefused(write(flipped, false), "hash of the file");
  }
  std::string machine = all;
  machine[18] = 8; // e_machine: MIPS
  expectRefused(write(machine, false), "ELF machine");
  std::string version = all;
  version[all.size() - sizeof(ArtifactTrailer) + 8] = 77;
  expectRefused(write(version, false), "trailer: abi: expected 2, but got 77");
}

TEST_F(ArtifactTest, RefusesOtherContents) {
  expectRefused(write(replace("loopc_artifact_v1", "loopc_artifact_v9"), true), "the symbol loopc_artifact_v1");
  expectRefused(write(replace("\"vocab\":5", "\"vocab\":6"), true), "hash of the metadata");
}

TEST_F(ArtifactTest, ChecksTheMachine) {
  ModelInfo info;
  info.triple = "sparc-unknown-linux";
  EXPECT_NE(messageOf([&] { checkCpuFeatures(info, "f"); }).find("(this machine), but got"), std::string::npos);
#if defined(__x86_64__)
  info.triple = "x86_64-unknown-linux-gnu";
  info.features = {"sse3", "fma4", "no-such-feature"}; // no CPU has had fma4 and avx512f together
  if (!__builtin_cpu_supports("fma4")) {
    EXPECT_NE(messageOf([&] { checkCpuFeatures(info, "f"); }).find("a CPU with fma4"), std::string::npos);
  }
  info.features = {"sse3", "no-such-feature"};
  EXPECT_EQ(refusalOf([&] { checkCpuFeatures(info, "f"); }), "");
#define AGREES(name)                                                                                                   \
  info.features = {name};                                                                                              \
  EXPECT_EQ(refusalOf([&] { checkCpuFeatures(info, "f"); }).empty(), bool(__builtin_cpu_supports(name))) << name
  AGREES("avx2");
  AGREES("fma");
  AGREES("avx512f");
  AGREES("avx512vl");
  AGREES("avx512bf16");
  AGREES("bmi2");
#endif
}

} // namespace
