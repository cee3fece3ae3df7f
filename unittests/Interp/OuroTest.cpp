// Ouro in the SOURCE form against the published vectors; how calls are cut must not show.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Loaded.h"

#include "loopc/runtime/TensorFile.h"
#include <gtest/gtest.h>

using namespace loopc;
using namespace loopc::interp;

namespace {

constexpr const char *depthIndexed = "kv(#loop.kv<depth_indexed>)";
constexpr const char *lastExited = "kv(#loop.kv<depth_indexed holes last_exited>)";
constexpr const char *single = "kv(#loop.kv<single order by_call>)";

std::string vectors(const std::string &name) {
  return std::string(LOOPC_SOURCE_DIR) + "/test/conformance/ouro/" + name + ".safetensors";
}

class Ouro {
public:
  Ouro(const std::string &kv, Precision precision)
      : loaded(ouroText(kv)), params(rt::WeightSource::open(vectors("weights"))) {
    std::string error;
    interp = SourceInterp::create(loaded.model, params, precision, nullptr, error);
    EXPECT_TRUE(interp) << error;
  }
  void open(uint32_t id, const SequenceConfig &config = {}) {
    std::string error;
    EXPECT_TRUE(interp->open(id, config, error)) << error;
  }
  std::vector<SourceResult> feed(const std::vector<SourceChunk> &chunks, const SourceFeed &options = {}) {
    std::vector<SourceResult> results;
    std::string error;
    EXPECT_TRUE(interp->feed(chunks, options, results, error)) << error;
    return results;
  }
  Loaded loaded;
  TensorParams params;
  std::unique_ptr<SourceInterp> interp;
};

struct Case {
  explicit Case(const std::string &name) : source(rt::WeightSource::open(vectors(name))) {}
  std::vector<float> real(const std::string &name) const { return rt::readF32(source->get(name)); }
  std::vector<int64_t> whole(const std::string &name) const { return rt::readI64(source->get(name)); }
  /// Tokens [first, last) of row `b` of in.tokens.
  std::vector<int32_t> tokens(size_t b, size_t first, size_t last) const {
    std::vector<int64_t> all = whole("in.tokens");
    size_t length = size_t(source->get("in.tokens").shape[1]);
    return {all.begin() + int64_t(b * length + first), all.begin() + int64_t(b * length + last)};
  }
  std::shared_ptr<const rt::WeightSource> source;
};

/// Every number within `atol` + 1e-5 of the expected one's size.
void near(const double *got, const float *expected, size_t count, double atol, const char *what) {
  for (size_t i = 0; i < count; ++i)
    ASSERT_NEAR(got[i], expected[i], atol + 1e-5 * std::abs(expected[i])) << what << " " << i;
}

class OuroVectors : public testing::TestWithParam<Precision> {};

TEST_P(OuroVectors, Forward) {
  Ouro ouro(depthIndexed, GetParam());
  Case c("forward_T4");
  SourceFeed every;
  every.everyIteration = true;
  std::vector<SourceChunk> chunks;
  for (uint32_t b = 0; b < 2; ++b) {
    ouro.open(b);
    chunks.push_back({b, c.tokens(b, 0, 9)});
  }
  std::vector<SourceResult> results = ouro.feed(chunks, every);
  std::vector<float> embed = c.real("out.embed"), states = c.real("out.states"), gates = c.real("out.gate_logits"),
                     pdf = c.real("out.exit_pdf"), perLoop = c.real("out.logits_per_loop"),
                     logits = c.real("out.logits");
  for (size_t b = 0; b < 2; ++b) {
    near(results[b].logits.data(), &logits[b * 9 * 97], 9 * 97, 6.5e-5, "logits");
    near(results[b].taps["embed"].outside.data(), &embed[b * 9 * 32], 9 * 32, 3.7e-6, "embed");
    for (size_t s = 0; s < 9; ++s)
      for (size_t t = 0; t < 4; ++t) {
        size_t at = (t * 2 + b) * 9 + s;
        near(&results[b].taps["ut.0"].iterations[(s * 4 + t) * 32], &states[at * 32], 32, 5e-5, "states");
        near(&results[b].taps["gate"].iterations[s * 4 + t], &gates[at], 1, 1.8e-5, "gate");
        near(&results[b].iterationLogits[(s * 4 + t) * 97], &perLoop[at * 97], 97, 6.5e-5, "logits per loop");
        if (t < 3)
          near(&results[b].taps["p"].iterations[s * 4 + t], &pdf[(b * 9 + s) * 4 + t], 1, 3.5e-6, "exit pdf");
      }
  }
}

TEST_P(OuroVectors, DecodeFullPlanes) {
  Ouro ouro(depthIndexed, GetParam());
  Case c("decode_full");
  std::vector<float> prefill = c.real("out.prefill_logits"), decode = c.real("out.decode_logits");
  for (uint32_t b = 0; b < 2; ++b) {
    ouro.open(b);
    near(ouro.feed({{b, c.tokens(b, 0, 6)}})[0].logits.data(), &prefill[b * 6 * 97], 6 * 97, 6.1e-5, "prefill");
    for (size_t i = 0; i < 6; ++i)
      near(ouro.feed({{b, c.tokens(b, 6 + i, 7 + i)}})[0].logits.data(), &decode[(b * 6 + i) * 97], 97, 5.9e-5,
           "decode");
  }
}

void decodeWithExits(const char *name, const char *kv, Precision precision, double atol) {
  Ouro ouro(kv, precision);
  Case c(name);
  std::vector<float> prefill = c.real("out.prefill_logits"), decode = c.real("out.decode_logits"),
                     gates = c.real("out.gate_logits");
  std::vector<int64_t> exits = c.whole("in.exit_steps");
  for (uint32_t b = 0; b < 2; ++b) {
    SequenceConfig config;
    config.exit = ExitUse::Leave;
    config.exitAfter.assign(6, 0);
    for (size_t i = 0; i < 6; ++i)
      config.exitAfter.push_back(int32_t(exits[b * 6 + i] + 1));
    ouro.open(b, config);
    near(ouro.feed({{b, c.tokens(b, 0, 6)}})[0].logits.data(), &prefill[b * 6 * 97], 6 * 97, 6.1e-5, "prefill");
    for (size_t i = 0; i < 6; ++i) {
      SourceResult result = ouro.feed({{b, c.tokens(b, 6 + i, 7 + i)}})[0];
      near(result.logits.data(), &decode[(b * 6 + i) * 97], 97, atol, "decode");
      near(result.taps["gate"].iterations.data(), &gates[(b * 6 + i) * 4], 4, 2e-5, "gate");
      EXPECT_EQ(result.executed[0], exits[b * 6 + i] + 1);
    }
  }
}
TEST_P(OuroVectors, DecodeLastExited) { decodeWithExits("decode_last_exited", lastExited, GetParam(), 2.9e-5); }
TEST_P(OuroVectors, DecodeSinglePlane) { decodeWithExits("decode_single", single, GetParam(), 9e-5); }

void decodeWithKeptRow(const char *name, const char *kv, Precision precision, double atol) {
  Ouro ouro(kv, precision);
  Case c(name);
  std::vector<float> decode = c.real("out.decode_logits");
  for (uint32_t b = 0; b < 2; ++b) {
    ouro.open(b);
    ouro.feed({{b, c.tokens(b, 0, 6)}});
    for (size_t i = 0; i < 6; ++i)
      near(ouro.feed({{b, c.tokens(b, 6 + i, 7 + i)}})[0].logits.data(), &decode[(b * 6 + i) * 97], 97, atol, "decode");
  }
}
TEST_P(OuroVectors, DecodeKeepsTheFirstRow) {
  decodeWithKeptRow("decode_share_first", "kv(#loop.kv<single keep first order pass>)", GetParam(), 3e-5);
}
TEST_P(OuroVectors, DecodeKeepsTheMean) {
  decodeWithKeptRow("decode_share_avg", "kv(#loop.kv<single keep mean order pass>)", GetParam(), 5.1e-5);
}

TEST_P(OuroVectors, ThresholdSelectsAnExit) {
  Ouro ouro(depthIndexed, GetParam());
  Case c("exit_threshold");
  std::vector<float> logits = c.real("out.logits");
  std::vector<int64_t> steps = c.whole("out.exit_steps");
  const double thresholds[] = {0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0};
  for (size_t n = 0; n < 7; ++n)
    for (size_t b = 0; b < 2; ++b) {
      uint32_t id = uint32_t(n * 2 + b);
      SequenceConfig config;
      config.exit = ExitUse::Select;
      config.knobs["threshold"] = thresholds[n];
      ouro.open(id, config);
      SourceResult result = ouro.feed({{id, c.tokens(b, 0, 9)}})[0];
      near(result.logits.data(), &logits[id * 9 * 97], 9 * 97, 8.5e-5, "logits");
      for (size_t s = 0; s < 9; ++s) {
        EXPECT_EQ(result.depth[s], steps[id * 9 + s] + 1);
        EXPECT_EQ(result.executed[s], 4);
      }
    }
}
INSTANTIATE_TEST_SUITE_P(Interp, OuroVectors, testing::Values(Precision::F32, Precision::F64),
                         [](auto info) { return info.param == Precision::F32 ? "f32" : "f64"; });

/// Greatest difference, which must be none: the same bits for any cut of the prompt and any company.
TEST(OuroSchedules, CutsAndBatchesDoNotShow) {
  Case c("forward_T4");
  for (const char *kv : {depthIndexed, lastExited}) {
    Ouro ouro(kv, Precision::F32);
    SequenceConfig config;
    if (kv == lastExited)
      config.knobs["threshold"] = 0.4;
    for (uint32_t id = 0; id < 5; ++id)
      ouro.open(id, config);
    SourceResult whole = ouro.feed({{0, c.tokens(0, 0, 9)}})[0];
    std::vector<double> pieces;
    for (auto [first, last] : {std::pair<size_t, size_t>{0, 1}, {1, 5}, {5, 9}}) {
      SourceResult piece = ouro.feed({{1, c.tokens(0, first, last)}})[0];
      pieces.insert(pieces.end(), piece.logits.begin(), piece.logits.end());
    }
    EXPECT_EQ(pieces, whole.logits);
    std::vector<SourceResult> batch =
        ouro.feed({{2, c.tokens(1, 0, 9)}, {3, c.tokens(0, 0, 9)}, {4, c.tokens(1, 0, 2)}});
    EXPECT_EQ(batch[1].logits, whole.logits);
    if (kv == lastExited) {
      EXPECT_LT(*std::min_element(whole.executed.begin(), whole.executed.end()), 4);
    }
  }
}

TEST(OuroSchedules, TokenOrderIsTokenAfterToken) {
  Case c("forward_T4");
  Ouro byToken("kv(#loop.kv<single order token>)", Precision::F32), byCall(single, Precision::F32);
  byToken.open(0);
  byCall.open(0);
  std::vector<double> whole = byToken.feed({{0, c.tokens(0, 0, 9)}})[0].logits, alone;
  for (size_t i = 0; i < 9; ++i) {
    SourceResult piece = byCall.feed({{0, c.tokens(0, i, i + 1)}})[0];
    alone.insert(alone.end(), piece.logits.begin(), piece.logits.end());
  }
  EXPECT_EQ(whole, alone);
  byCall.open(1);
  EXPECT_NE(byCall.feed({{1, c.tokens(0, 0, 9)}})[0].logits, alone) << "one plane: the cut is part of the function";
}

TEST(OuroSchedules, RollbackForgets) {
  Case c("forward_T4");
  Ouro ouro(depthIndexed, Precision::F32);
  ouro.open(0);
  ouro.feed({{0, c.tokens(0, 0, 3)}});
  std::vector<double> first = ouro.feed({{0, c.tokens(0, 3, 9)}})[0].logits;
  ouro.interp->rollback(0, 3);
  ouro.feed({{0, c.tokens(1, 3, 6)}});
  ouro.interp->rollback(0, 3);
  EXPECT_EQ(ouro.feed({{0, c.tokens(0, 3, 9)}})[0].logits, first);
}

TEST(OuroSchedules, LoopCountsOfSequencesDiffer) {
  Case c("forward_T4");
  Ouro ouro(depthIndexed, Precision::F32);
  SequenceConfig two, six;
  two.loops = 2;
  six.loops = 6;
  ouro.open(0, two);
  ouro.open(1, two);
  ouro.open(2, six);
  std::vector<double> alone = ouro.feed({{0, c.tokens(0, 0, 9)}})[0].logits;
  EXPECT_EQ(ouro.feed({{2, c.tokens(1, 0, 9)}, {1, c.tokens(0, 0, 9)}})[1].logits, alone);
}

TEST(OuroErrors, ExitNeedsARuleForHoles) {
  Case c("forward_T4");
  Ouro ouro(depthIndexed, Precision::F32);
  SequenceConfig config;
  config.exit = ExitUse::Leave;
  config.exitAfter = {1};
  ouro.open(0, config);
  std::vector<SourceResult> results;
  std::string error;
  EXPECT_FALSE(ouro.interp->feed({{0, c.tokens(0, 0, 2)}}, {}, results, error));
  EXPECT_NE(error.find("expected keys of position 0 at iteration 1 for position 1, but it ended after 1 iterations"),
            std::string::npos)
      << error;
}

TEST(OuroErrors, CountsAndNamesAreChecked) {
  Ouro ouro(depthIndexed, Precision::F32);
  std::string error;
  SequenceConfig config;
  config.loops = 17;
  EXPECT_FALSE(ouro.interp->open(0, config, error));
  EXPECT_EQ(error, "expected `loops` within 1..16, but got 17");
  config.loops = 4;
  config.knobs["treshold"] = 1;
  EXPECT_FALSE(ouro.interp->open(0, config, error));
  EXPECT_EQ(error, "expected an option of the model, but got `treshold`");
}

} // namespace
