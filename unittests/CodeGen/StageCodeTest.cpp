// The whole model of test/Dialect/Loop/lanes.mlir in generated code against scalar arithmetic.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include <algorithm>
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <sstream>

using namespace loopc::test;

static std::string lanesModel() {
  std::ifstream file(LOOPC_SOURCE_DIR "/test/Dialect/Loop/lanes.mlir");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

namespace {
// The same model in f64: one token after another.
struct Reference {
  std::vector<float> embed, qkv, wo, norm, gate;
  std::vector<std::vector<double>> keys, values; // per (iteration, layer): rows of [2]
  int layers = 2;

  static std::vector<double> normed(const std::vector<double> &x, const float *gain) {
    double sum = 0;
    for (double v : x)
      sum += v * v;
    double scale = 1 / std::sqrt(sum / double(x.size()) + 1e-5);
    std::vector<double> y;
    for (size_t i = 0; i < x.size(); ++i)
      y.push_back(x[i] * scale * (gain ? gain[i] : 1.0));
    return y;
  }
  static std::vector<double> linear(const std::vector<double> &x, const float *w, int n) {
    std::vector<double> y(n);
    for (int j = 0; j < n; ++j)
      for (size_t i = 0; i < x.size(); ++i)
        y[j] += w[j * x.size() + i] * x[i];
    return y;
  }
  static void rope(double *x, int position) { // dim 2: one pair, angle = position
    double c = std::cos(position), s = std::sin(position), a = x[0], b = x[1];
    x[0] = a * c - b * s;
    x[1] = b * c + a * s;
  }

  // Gives the logits after `count` iterations, stopping when 1 - stay >= threshold; sets `ran`.
  std::vector<double> token(int id, int position, std::vector<double> h, int count, double threshold, int &ran) {
    std::vector<double> e(embed.begin() + id * 4, embed.begin() + id * 4 + 4);
    double stay = 1;
    bool done = false;
    for (int t = 0; t < count; ++t) {
      if (!done) {
        std::vector<double> x(4);
        for (int i = 0; i < 4; ++i)
          x[i] = h[i] + e[i];
        for (int l = 0; l < layers; ++l) {
          auto f = linear(normed(x, nullptr), qkv.data() + l * 32, 8);
          rope(&f[0], position);
          rope(&f[2], position);
          rope(&f[4], position);
          auto &k = keys[t * layers + l], &v = values[t * layers + l];
          k.resize(2 * (position + 1));
          v.resize(2 * (position + 1));
          for (int i = 0; i < 2; ++i) {
            k[2 * position + i] = f[4 + i];
            v[2 * position + i] = f[6 + i];
          }
          std::vector<double> o(4);
          for (int head = 0; head < 2; ++head) {
            double sum = 0;
            for (int p = 0; p <= position; ++p) {
              double w = std::exp(0.5 * (f[2 * head] * k[2 * p] + f[2 * head + 1] * k[2 * p + 1]));
              sum += w;
              o[2 * head] += w * v[2 * p];
              o[2 * head + 1] += w * v[2 * p + 1];
            }
            o[2 * head] /= sum;
            o[2 * head + 1] /= sum;
          }
          auto p = linear(o, wo.data() + l * 16, 4);
          for (int i = 0; i < 4; ++i)
            x[i] += p[i];
        }
        h = normed(x, norm.data());
        double g = 1 / (1 + std::exp(-linear(h, gate.data(), 1)[0]));
        stay *= 1 - g;
        ran = t + 1;
        done = 1 - stay >= threshold;
      }
    }
    return linear(h, embed.data(), 8);
  }
};
} // namespace

class StageCode : public ::testing::Test {
protected:
  static void SetUpTestSuite() { compiled = compile(lanesModel()).release(); }
  static void TearDownTestSuite() { delete compiled; }
  void SetUp() override {
    ASSERT_EQ(compiled->error, "");
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    auto fill = [&](size_t n) {
      std::vector<float> v(n);
      for (float &x : v)
        x = normal(random);
      return v;
    };
    reference.embed = fill(32);
    reference.qkv = fill(64);
    reference.wo = fill(32);
    reference.norm = fill(4);
    reference.gate = fill(4);
    reference.keys.resize(16);
    reference.values.resize(16);
    for (int i = 0; i < 16; ++i)
      draws.push_back(fill(4));
  }
  void load(Machine &machine) {
    machine.set("embed.weight", reference.embed);
    machine.set("embed.weight:rows", reference.embed);
    machine.set("layers.wq_layers.wk_layers.wv", reference.qkv);
    machine.set("layers.wo", reference.wo);
    machine.set("norm.weight", reference.norm);
    machine.set("gate.weight", reference.gate);
    for (int i = 0; i < 16; ++i)
      machine.setField("draw.s0", i, draws[i]);
  }
  static Compiled *compiled;
  Reference reference;
  std::vector<std::vector<float>> draws;
};
Compiled *StageCode::compiled = nullptr;

// Eight tokens fed in one call, each stage once.
TEST_F(StageCode, chunkMatchesTheReference) {
  for (double threshold : {2.0, 0.7}) {
    Machine machine(*compiled, 16, 2);
    load(machine);
    machine.sequences(1, 3, 16);
    for (float &knob : machine.knobs)
      knob = float(threshold);
    std::vector<Lane> lanes(8);
    for (int i = 0; i < 8; ++i) {
      lanes[i].token = (i * 5 + 1) % 8;
      lanes[i].position = i;
      lanes[i].slot = 15 - i;
      lanes[i].limit = 3;
      machine.setField("draw.s0", 15 - i, draws[i]);
    }
    // With exits the planes of deeper iterations would be missing: alias them as `last_exited` does, lane by lane.
    ASSERT_EQ(machine.run("prelude", lanes), 0);
    if (threshold > 1) {
      ASSERT_EQ(machine.run("core", lanes, 3), 0);
    } else {
      for (Lane &lane : lanes) {
        std::vector<Lane> one{lane};
        ASSERT_EQ(machine.run("core", one, 3), 0);
        lane = one[0];
        for (int t = lane.iteration; t < 3; ++t)
          machine.rows[0][t * 16 + lane.position] = machine.rows[0][(lane.iteration - 1) * 16 + lane.position];
      }
    }
    ASSERT_EQ(machine.run("head", lanes), 0);
    Reference own = reference;
    for (int i = 0; i < 8; ++i) {
      int ran = 0;
      std::vector<double> h(draws[i].begin(), draws[i].end());
      auto want = own.token(lanes[i].token, i, h, 3, threshold, ran);
      for (int t = ran; t < 3; ++t) // last_exited: later tokens read this token's last plane
        for (int l = 0; l < 2; ++l)
          for (auto *store : {&own.keys, &own.values}) {
            auto &from = (*store)[(ran - 1) * 2 + l], &to = (*store)[t * 2 + l];
            to.resize(2 * (i + 1));
            to[2 * i] = from[2 * i];
            to[2 * i + 1] = from[2 * i + 1];
          }
      EXPECT_EQ(lanes[i].iteration, ran);
      EXPECT_EQ(lanes[i].exited, threshold < 1 && ran < 3 ? 1 : lanes[i].exited);
      for (int j = 0; j < 8; ++j)
        EXPECT_NEAR(machine.logits[i * 8 + j], want[j], 2e-5) << "token " << i << " column " << j;
    }
  }
}

// The same bits whatever the workers, the cut of the prompt, the number of rounds in a call, fused or not, the width of
// the vectors, and whether phases are timed.
TEST_F(StageCode, bitsDoNotDependOnTheSchedule) {
  std::vector<float> first;
  std::unique_ptr<Compiled> unfused = compile(lanesModel(), {.fuse = false});
  ASSERT_EQ(unfused->error, "");
  std::unique_ptr<Compiled> wide = compile(lanesModel(), {.vectorBits = 512}), narrow = compile(lanesModel(), {.vectorBits = 128});
  ASSERT_EQ(wide->error + narrow->error, "");
  std::unique_ptr<Compiled> timed = compile(lanesModel(), {.profile = true});
  ASSERT_EQ(timed->error, "");
  for (const Compiled *code : {static_cast<const Compiled *>(compiled), static_cast<const Compiled *>(unfused.get()),
                               static_cast<const Compiled *>(wide.get()), static_cast<const Compiled *>(narrow.get()),
                               static_cast<const Compiled *>(timed.get())})
  for (uint32_t workers : {1u, 2u, 3u})
    for (int chunk : {8, 3, 1})
      for (uint32_t rounds : {3u, 1u}) {
        Machine machine(*code, 16, workers);
        load(machine);
        machine.sequences(1, 3, 16);
        for (float &knob : machine.knobs)
          knob = 2.0f;
        std::vector<float> logits;
        for (int begin = 0; begin < 8; begin += chunk) {
          std::vector<Lane> lanes;
          for (int i = begin; i < std::min(8, begin + chunk); ++i) {
            Lane lane;
            lane.token = (i * 5 + 1) % 8;
            lane.position = i;
            lane.slot = i;
            lane.limit = 3;
            lanes.push_back(lane);
          }
          ASSERT_EQ(machine.run("prelude", lanes), 0);
          for (uint32_t done = 0; done < 3; done += rounds)
            ASSERT_EQ(machine.run("core", lanes, rounds), 0);
          ASSERT_EQ(machine.run("head", lanes), 0);
          logits.insert(logits.end(), machine.logits.begin(), machine.logits.end());
        }
        if (first.empty())
          first = logits;
        else
          ASSERT_EQ(first, logits) << workers << " workers, chunks of " << chunk << ", " << rounds << " rounds";
      }
}

// Each worker takes the time of each phase that ran, and of its waits.
TEST_F(StageCode, timesOfPhases) {
  std::unique_ptr<Compiled> timed = compile(lanesModel(), {.profile = true});
  ASSERT_EQ(timed->error, "");
  EXPECT_EQ(compiled->described.stages.at("core").timedPhases, 0u);
  Machine machine(*timed, 16, 2);
  load(machine);
  machine.sequences(1, 3, 16);
  std::vector<Lane> lanes(3);
  for (int i = 0; i < 3; ++i) {
    lanes[i].position = lanes[i].slot = i;
    lanes[i].limit = 3;
  }
  ASSERT_EQ(machine.run("prelude", lanes), 0);
  ASSERT_EQ(machine.run("core", lanes, 3), 0);
  uint64_t phases = timed->described.stages.at("core").timedPhases, words = LOOPC_PROFILE_WORDS(phases);
  ASSERT_GT(phases, 3u);
  for (uint64_t worker = 0; worker < 2; ++worker) {
    const uint64_t *times = machine.times.data() + worker * words;
    uint64_t waited = 0;
    for (uint64_t phase = 0; phase < phases; ++phase) {
      EXPECT_GT(times[1 + 2 * phase], 0u) << "phase " << phase;
      waited += times[2 + 2 * phase];
    }
    EXPECT_GT(waited, 0u);
    EXPECT_GT(times[0], waited);
  }
}

// An exit that only selects lets the lane run on, and is recorded.
TEST_F(StageCode, selectingExit) {
  Machine machine(*compiled, 16, 1);
  load(machine);
  machine.sequences(1, 3, 16);
  for (float &knob : machine.knobs)
    knob = 0.0f; // 1 - stay >= 0 holds at once
  std::vector<Lane> lanes(1);
  lanes[0].limit = 3;
  ASSERT_EQ(machine.run("prelude", lanes), 0);
  std::vector<Lane> leaving = lanes;
  ASSERT_EQ(machine.run("core", leaving, 3), 0);
  EXPECT_EQ(leaving[0].iteration, 1);
  EXPECT_EQ(leaving[0].exited, 1);
  ASSERT_EQ(machine.run("core", lanes, 3, LOOPC_CALL_KEEP_RUNNING), 0);
  EXPECT_EQ(lanes[0].iteration, 3);
  EXPECT_EQ(lanes[0].exited, 1);
}

// A poisoned team leaves the program at the next sync with the team's value.
TEST_F(StageCode, poisonedSyncEndsTheCall) {
  Machine machine(*compiled, 16, 2);
  load(machine);
  machine.sequences(1, 3, 16);
  std::vector<Lane> lanes(1);
  lanes[0].limit = 3;
  machine.poison = 7;
  EXPECT_EQ(machine.run("core", lanes, 3), 7);
  EXPECT_EQ(lanes[0].iteration, 0);
}

static std::string replaced(std::string text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

// Layers and iterations are loops in the code: 200 layers take no more instructions than 2.
TEST(StageText, codeDoesNotGrowWithLayers) {
  auto lines = [](const std::string &text) { return std::count(text.begin(), text.end(), '\n'); };
  std::string two = lanesModel();
  std::string many = replaced(replaced(two, "tables [2]", "tables [200]"), "layers 2 ", "layers 200 ");
  ASSERT_NE(two, many);
  std::string small = assembly(two);
  ASSERT_GT(lines(small), 1000);
  EXPECT_NEAR(double(lines(assembly(many))), double(lines(small)), 50);
}

// Nothing outside is called: no library functions, not even for exp or memory moves.
// Code that takes no time does not read the clock.
TEST(StageText, clockOnlyWhenAsked) {
  auto readsClock = [](const std::string &text) {
    return text.find("rdtsc") != std::string::npos || text.find("CNTVCT") != std::string::npos;
  };
  EXPECT_FALSE(readsClock(assembly(lanesModel())));
  EXPECT_TRUE(readsClock(assembly(lanesModel(), true)));
}

TEST(StageText, noLibraryCalls) {
  std::string text = assembly(lanesModel());
  EXPECT_EQ(text.find("@PLT"), std::string::npos) << text.substr(text.find("@PLT") - 40, 60);
  for (std::string name : {"expf", "memcpy", "memset", "sinf", "fmaf"})
    EXPECT_EQ(text.find("callq\t" + name), std::string::npos) << name;
}
