// Rows of a sequence as bytes: another engine goes on with the same numbers; what does not fit is refused with both
// values. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "../Runtime/MessageOf.h"
#include "Compiled.h"
#include <algorithm>
#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <xxhash.h>

using namespace loopc::rt;
using loopc::rt::test::messageOf;
using loopc::rt::test::refusalOf;
using namespace loopc::rt::test;

namespace {

/// The bytes with a checksum that fits them again.
std::vector<uint8_t> sealed(std::vector<uint8_t> bytes) {
  uint64_t sum = XXH3_64bits(bytes.data(), bytes.size() - sizeof(uint64_t));
  std::memcpy(bytes.data() + bytes.size() - sizeof sum, &sum, sizeof sum);
  return bytes;
}

/// Replaces a text of the header by one of another length.
std::vector<uint8_t> edited(const std::vector<uint8_t> &bytes, const std::string &from, const std::string &to) {
  uint64_t length;
  std::memcpy(&length, bytes.data() + 8, sizeof length);
  std::string header(bytes.begin() + 16, bytes.begin() + 16 + ptrdiff_t(length));
  size_t at = header.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << header;
  header.replace(at, from.size(), to);
  std::vector<uint8_t> out(bytes.begin(), bytes.begin() + 8);
  uint64_t grown = header.size();
  out.insert(out.end(), reinterpret_cast<uint8_t *>(&grown), reinterpret_cast<uint8_t *>(&grown) + 8);
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), bytes.begin() + 16 + ptrdiff_t(length), bytes.end());
  return sealed(out);
}

struct Prefilled {
  explicit Prefilled(const Model &model, uint64_t family = 5)
      : request(requestOf(model, family, 20, 4)), executor(model.executor(1)),
        engine(*executor, {.capacity = 32, .kvBytes = 1 << 22}), id(engine.open(request.options)) {
    engine.feed(id, request.prompt);
    bytes = engine.exportRows(id);
  }
  Request request;
  std::unique_ptr<CpuExecutor> executor;
  Engine engine;
  SequenceId id;
  std::vector<uint8_t> bytes;
};

TEST(Export, AnotherEngineGoesOn) {
  for (const std::string &name : modelNames()) {
    const Model &model = load(name);
    for (uint64_t family : {1, 2, 5, 6}) {
      Prefilled here(model, family);
      Trace want = decodeAlone(model, here.request);
      std::unique_ptr<CpuExecutor> executor = model.executor(2);
      Engine there(*executor, {.capacity = model.info().policy.order == "chunk" ? 32u : 3u, .kvBytes = 1 << 22, .poison = Poison::On, .check = true});
      SequenceId id = there.open(here.request.options);
      there.importRows(id, here.bytes);
      there.checkInvariants();
      EXPECT_EQ(there.exportRows(id), here.bytes) << name;
      EXPECT_TRUE(std::ranges::equal(there.tokens(id), here.request.prompt));
      Trace found;
      for (size_t p = here.request.prompt.size(); p < want.tokens.size(); ++p)
        found.add(there.feed(id, {&want.tokens[p], 1}));
      EXPECT_TRUE(std::equal(found.logits.begin(), found.logits.end(),
                             want.logits.begin() + ptrdiff_t(here.request.prompt.size() * model.info().vocab)))
          << name << ", " << describe(here.request);
      there.close(id);
      for (size_t p = 0; p < there.info().pools.size(); ++p)
        EXPECT_EQ(there.pool(p).pagesInUse(), 0u);
    }
  }
}

TEST(Export, RefusesWhatDoesNotFitWithBothValues) {
  const Model &model = load("ouro-last_exited-f32");
  Prefilled here(model);
  Engine &engine = here.engine;
  auto refused = [&](const std::vector<uint8_t> &bytes, const SequenceOptions &options, const std::string &part) {
    SequenceId id = engine.open(options);
    std::string message = messageOf([&] { engine.importRows(id, bytes); });
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(engine.tokens(id).size(), 0u);
    engine.close(id);
    engine.checkInvariants();
  };
  const SequenceOptions &same = here.request.options;
  SequenceOptions o = same;
  o.loops = same.loops + 1;
  refused(here.bytes, o,
          "identity.loops: expected " + std::to_string(o.loops) + ", but got " + std::to_string(same.loops));
  o = same;
  o.seed = same.seed + 1;
  refused(here.bytes, o,
          "identity.seed: expected " + std::to_string(o.seed) + ", but got " + std::to_string(same.seed));
  o = same;
  o.exit = ExitMode::Off;
  refused(here.bytes, o, "identity.exit: expected 'off', but got");
  o = same;
  o.knobs["threshold"] = 1.5f;
  refused(here.bytes, o, "identity.options.threshold: expected 1.5, but got");
  o = same;
  o.order = PrefillOrder::Token;
  refused(here.bytes, o, "identity.order: expected 'token', but got 'free'");
  refused(edited(here.bytes, "\"hash\":\"", "\"hash\":\"x"), same, "identity.hash: expected");
  refused(edited(here.bytes, "\"dtype\":\"F32\"", "\"dtype\":\"BF16\""), same, "dtype: expected");
  refused(edited(here.bytes, "\"heads\":1", "\"heads\":2"), same, "sites[0].heads: expected 1, but got 2");
  refused(edited(here.bytes, "\"positions\":[0,20]", "\"positions\":[1,20]"), same, "positions from 0, but got 1");
  refused(edited(here.bytes, "\"positions\":[0,20]", "\"positions\":[0,19]"), same, "settled: expected 0 .. 19, but got 20");
  refused(edited(here.bytes, "\"positions\":[0,20],\"settled\":20", "\"positions\":[0,19],\"settled\":19"), same,
          "tokens: expected 19 entries, but got 20");
  refused(edited(here.bytes, "\"tokens\":[", "\"tokens\":[[],"), same, "expected 20 entries, but got 21");
  refused(edited(here.bytes, "\"identity\":{", "\"identity\":" + std::string(100000, '[')), same, "16 levels");
  std::vector<uint8_t> changed = here.bytes;
  changed[changed.size() / 2] ^= 1;
  refused(changed, same, "expected checksum");
  refused({here.bytes.begin(), here.bytes.end() - 40}, same, "expected checksum");
  std::vector<uint8_t> cut(here.bytes.begin(), here.bytes.end() - 40);
  refused(sealed(cut), same, "bytes of rows, but got");
  refused({}, same, "loopcKV1");
  EXPECT_NE(messageOf([&] { engine.importRows(here.id, here.bytes); }).find("a sequence without tokens, but got 20"),
            std::string::npos);
  Prefilled other(load("ouro-depth_indexed-f32"));
  refused(other.bytes, same, "identity.hash: expected");
  engine.preempt(here.id, Preempt::Free);
  EXPECT_NE(messageOf([&] { engine.exportRows(here.id); }).find("rows of 20 positions, but got 0"), std::string::npos);
}

TEST(Export, HostileBytesAreRefusedOrHarmless) {
  const Model &model = load("ouro-last_exited-f32");
  Prefilled here(model);
  Engine &engine = here.engine;
  std::mt19937_64 rng(3);
  uint64_t header;
  std::memcpy(&header, here.bytes.data() + 8, sizeof header);
  uint64_t tables = 16 + header + 20 * sizeof(int32_t) * size_t(here.request.options.loops);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<uint8_t> bytes = here.bytes;
    for (uint64_t n = 1 + rng() % 3; n-- > 0;)
      bytes[rng() % (i % 2 ? tables : bytes.size() - 8)] = uint8_t(rng());
    if (rng() % 8 == 0)
      bytes.resize(rng() % bytes.size());
    if (bytes.size() > 8)
      bytes = sealed(bytes);
    SequenceId id = engine.open(here.request.options);
    if (refusalOf([&] { engine.importRows(id, bytes); }).empty()) {
      int32_t token = 1;
      engine.feed(id, {&token, 1}); // numbers may be other ones; rows are where they belong
    } else {
      ++refused;
    }
    engine.checkInvariants();
    engine.close(id);
  }
  EXPECT_GT(refused, 1000);
}

} // namespace
