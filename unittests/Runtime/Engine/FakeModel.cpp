// The fake model: metadata, stages, oracle.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "FakeModel.h"
#include <algorithm>
#include <cmath>

namespace loopc::rt::fake {

namespace {
int64_t mod(int64_t v) { return (v % prime + prime) % prime; }
} // namespace

ModelInfo metadata(const Shape &s) {
  bool zero = s.policy == "single" && s.keep == "last" && s.order != "pass" && !s.layerSteps;
  std::string json = R"({"model":"fake","compiler":"test","hash":"0","target":{"triple":"x86_64-unknown-linux-gnu",
    "cpu":"generic","features":[],"vector_bits":128},"dtype":"f32","kv_dtype":"f32","vocab":7,"context":200,
    "config":{},"count":)";
  json += s.loop ? "{\"name\":\"loops\",\"default\":1,\"min\":1,\"max\":" + std::to_string(s.maxLoops) + "}" : "null";
  json += R"(,"knobs":[{"name":"threshold","default":0,"min":0,"max":100}],"exit":)";
  json += s.exit && s.loop ? R"({"name":"test","grain":"token","present":true})" : "null";
  json += R"(,"policy":{"name":")" + s.policy + "\"" + (s.holes.empty() ? "" : R"(,"holes":")" + s.holes + "\"") +
          R"(,"order":")" + s.order + R"(","write":")" + (zero ? "0" : "d") + R"(","read":")" + (zero ? "0" : "d") +
          R"(","planes":")" + (zero ? "1" : "T") + R"(","keep":")" + s.keep + R"(","steps":)" +
          std::to_string(s.layerSteps ? layers : 1) + "}";
  json += R"(,"contract":{"lag":0,"group":"lane","order":"free","couple":"lane"},
    "bank":{"row_bytes":64,"fields":[
      {"name":"draw.n","offset":0,"shape":[1],"dtype":"f32","observed":false},
      {"name":"e","offset":4,"shape":[],"dtype":"f32","observed":false},
      {"name":"h","offset":8,"shape":[1],"dtype":"f32","observed":true},
      {"name":"acc","offset":12,"shape":[],"dtype":"f32","observed":false},
      {"name":"c","offset":16,"shape":[],"dtype":"f32","observed":false},
      {"name":"draw.m","offset":32,"shape":[2,4],"dtype":"f32","observed":false}]},"draws":)";
  json += s.draws ? R"([{"name":"n","field":"draw.n","law":{"kind":"uniform","low":0,"high":100},"per":"token"},
      {"name":"m","field":"draw.m","law":{"kind":"standardised_normal"},"per":"token"}])" : "[]";
  // Two sites in the core pool would be two ops; here one site with two layers, behind an unused element block.
  json += R"(,"pools":[{"stage":"prelude","sites":[{"name":"p","layers":1,"heads":1,"dim":1,"offset":0}],
      "page_bytes":128,"dtype":"f32","planes":"1"})";
  if (s.loop)
    json += R"(,{"stage":"core","sites":[{"name":"a","layers":2,"heads":1,"dim":1,"offset":16)" +
            std::string(s.layerSteps ? R"(,"first_step":0,"step_stride":1)" : "") +
            R"(}],"page_bytes":320,"dtype":"f32","planes":"T"})";
  if (s.coda)
    json += R"(,{"stage":"coda","sites":[{"name":"c","layers":1,"heads":1,"dim":1,"offset":0}],
      "page_bytes":128,"dtype":"f32","planes":"1"})";
  json += R"(],"stages":[{"name":"prelude","arena_row_bytes":0,"scratch_bytes":0,"scratch_row_bytes":0,"syncs":0})";
  for (const char *name : {"core", "coda", "head"})
    if ((s.loop || name != std::string("core")) && (s.coda || name != std::string("coda")))
      json += std::string(R"(,{"name":")") + name + R"(","arena_row_bytes":0,"scratch_bytes":0,"syncs":0})";
  json += R"(],"params":[],"remarks":["one"]})";
  return ModelInfo::parse(json, "fake");
}

int64_t preludeKey(int64_t token, int64_t position, int64_t noise) {
  return mod(token * 131 + position * 7 + noise * 29 + 1);
}
int64_t coreKey(const Token &t, int layer, int64_t d, int64_t limit) {
  return mod(t.h * (5 + layer) + t.e * 3 + d * 17 + limit * 101 + 2);
}
int64_t valueOf(int64_t key) { return mod(key * key + 5); }
void attend(int64_t &sum, int64_t position, int64_t at, int layer, int64_t key, int64_t value) {
  sum = mod(sum + (position - at + 1 + layer) * mod(value * (key + 1)));
}
void preludeEnd(Token &t, int64_t token, int64_t position, int64_t noise, int64_t sum) {
  t = Token();
  t.e = mod(token * 31 + sum + noise);
  t.h = mod(t.e * 2 + 1);
}
void coreLayerEnd(Token &t, int layer, int64_t d, int64_t sum) { t.h = mod(t.h * 3 + sum + 11 * d + t.e + layer); }
bool coreEnd(Token &t, float threshold) {
  t.acc = mod(t.acc + t.h);
  return float(t.acc % 100) < threshold;
}
int64_t codaKey(const Token &t) { return mod(t.h * 5 + 1); }
void codaEnd(Token &t, int64_t sum) { t.c = mod(t.h + sum * 3); }
int64_t logit(const Token &t, int64_t v) { return mod(t.c * (v + 1) * 13 + v * v); }

//===- The executor -------------------------------------------------------------------------------------------------===//

float *FakeExecutor::field(const loopc_call &c, uint32_t lane, const char *name) {
  return reinterpret_cast<float *>(memory.bank + uint64_t(c.slot[lane]) * memory.bankRowBytes +
                                   model.field(name)->offset);
}

int64_t FakeExecutor::number(const float *p) {
  if (p && *p >= 0 && *p < float(prime) && *p == std::floor(*p))
    return int64_t(*p);
  ++badReads;
  return 4242;
}

float *FakeExecutor::row(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int32_t position, int layer,
                         int kv) {
  const loopc_sequence &s = c.records[c.sequence[lane]];
  int pool = model.poolOf(stage);
  if (stage == Stage::Core && model.policy.steps > 1) {
    plane = plane * uint32_t(layers) + uint32_t(layer);
    layer = 0;
  }
  int32_t id = s.rows[pool][size_t(plane) * s.stride + size_t(position)];
  if (id < 0)
    return nullptr;
  const SiteInfo &site = model.pools[size_t(pool)].sites[0];
  auto *page = reinterpret_cast<float *>(memory.pools[pool].base +
                                         uint64_t(id) / LOOPC_PAGE_ROWS * memory.pools[pool].page_bytes);
  return page + site.offset + uint64_t(layer * 2 + kv) * LOOPC_PAGE_ROWS + uint64_t(id) % LOOPC_PAGE_ROWS;
}

void FakeExecutor::writeRow(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int layer, int64_t key) {
  float *k = row(stage, c, lane, plane, c.position[lane], layer, 0);
  float *v = row(stage, c, lane, plane, c.position[lane], layer, 1);
  if (!k || !v) {
    ++badReads;
    return;
  }
  *k = float(key);
  *v = float(valueOf(key));
}

int64_t FakeExecutor::readRows(Stage stage, const loopc_call &c, uint32_t lane, uint32_t plane, int layer) {
  int64_t sum = 0;
  for (int32_t j = 0; j <= c.position[lane]; ++j)
    attend(sum, c.position[lane], j, layer, number(row(stage, c, lane, plane, j, layer, 0)),
           number(row(stage, c, lane, plane, j, layer, 1)));
  return sum;
}

void FakeExecutor::core(loopc_call &c) {
  auto get = [&](uint32_t i) {
    return Token{number(field(c, i, "e")), number(field(c, i, "h")), number(field(c, i, "acc")), 0};
  };
  for (uint32_t r = 0; r < c.rounds; ++r) {
    std::vector<uint32_t> active;
    for (uint32_t i = 0; i < c.lanes; ++i)
      if (c.iteration[i] < c.limit[i] && (!c.exited[i] || (c.flags & LOOPC_CALL_KEEP_RUNNING)))
        active.push_back(i);
    for (int layer = 0; layer < layers; ++layer) {
      auto plane = [&](uint32_t i) { return model.policy.planeZero ? 0u : uint32_t(c.iteration[i]); };
      for (uint32_t i : active)
        writeRow(Stage::Core, c, i, plane(i), layer, coreKey(get(i), layer, c.iteration[i], c.limit[i]));
      for (uint32_t i : active) {
        Token t = get(i);
        coreLayerEnd(t, layer, c.iteration[i], readRows(Stage::Core, c, i, plane(i), layer));
        *field(c, i, "h") = float(t.h);
      }
    }
    for (uint32_t i : active) {
      Token t = get(i);
      bool fired = coreEnd(t, c.records[c.sequence[i]].knobs[0]);
      *field(c, i, "acc") = float(t.acc);
      ++c.iteration[i];
      if (model.exit && fired)
        c.exited[i] = 1;
    }
  }
}

void FakeExecutor::run(Stage stage, loopc_call &c) {
  if (failAt >= 0 && failAt-- == 0)
    throw Error("", "stage " + std::string(stageName(stage)), "0", "stopped with 7");
  if (stage == Stage::Core)
    return core(c);
  auto noise = [&](uint32_t i) { return model.draws.empty() ? 0 : int64_t(*field(c, i, "draw.n")); };
  if (stage == Stage::Prelude) {
    for (uint32_t i = 0; i < c.lanes; ++i)
      writeRow(stage, c, i, 0, 0, preludeKey(c.token[i], c.position[i], noise(i)));
    for (uint32_t i = 0; i < c.lanes; ++i) {
      Token t;
      preludeEnd(t, c.token[i], c.position[i], noise(i), readRows(stage, c, i, 0, 0));
      *field(c, i, "e") = float(t.e);
      *field(c, i, "h") = float(t.h);
      *field(c, i, "acc") = 0;
      *field(c, i, "c") = float(t.h);
    }
  } else if (stage == Stage::Coda) {
    for (uint32_t i = 0; i < c.lanes; ++i)
      writeRow(stage, c, i, 0, 0, codaKey({0, number(field(c, i, "h")), 0, 0}));
    for (uint32_t i = 0; i < c.lanes; ++i) {
      Token t{0, number(field(c, i, "h")), 0, 0};
      codaEnd(t, readRows(stage, c, i, 0, 0));
      *field(c, i, "c") = float(t.c);
      *field(c, i, "h") = float(mod(t.h + 1)); // whoever reads the state again must not see this
    }
  } else {
    for (uint32_t i = 0; i < c.lanes; ++i) {
      Token t{0, 0, 0, number(field(c, i, model.stage(Stage::Coda) ? "c" : "h"))};
      auto *out = reinterpret_cast<float *>(static_cast<uint8_t *>(c.out) + uint64_t(i) * c.out_stride);
      for (uint32_t v = 0; v < vocab; ++v)
        out[v] = float(logit(t, v));
    }
  }
}

//===- The oracle ---------------------------------------------------------------------------------------------------===//

namespace {

/// kv-and-schedules.md §1, written again without looking at Policy.cpp.
int plane(const std::string &policy, int T, int d) {
  size_t open = policy.find('(');
  std::string map = policy.substr(0, open);
  int k = open == std::string::npos ? 0 : std::stoi(policy.substr(open + 1));
  int n = open == std::string::npos || policy.find(',') == std::string::npos ? 0 : std::stoi(policy.substr(policy.find(',') + 1));
  if (map == "single")
    return 0;
  if (map == "ring")
    return d % k;
  if (map == "stride")
    return d / k;
  if (map == "first_then_shared")
    return d < k ? d : k - 1;
  if (map == "anchor")
    return d < k ? d : k + (d - k) % n;
  if (map == "last")
    return k >= T ? d : d < T - k ? 0 : d - (T - k) + 1;
  if (map == "boundaries")
    return T > 1 && d == T - 1 ? 1 : 0;
  return d;
}

} // namespace

int version(const Shape &shape, int loops, int d, int layer, int last) {
  if (shape.keep == "first")
    return layer;
  int unit = shape.layerSteps ? layers : 1, end = (last + 1) * unit;
  auto newest = [&](int step) { // what was written last into the plane of the step
    for (int t = end - 1; t >= 0; --t)
      if (plane(shape.policy, loops * unit, t) == plane(shape.policy, loops * unit, step))
        return unit > 1 ? t : t * layers + layer;
    return -1;
  };
  int at = unit > 1 ? d * unit + layer : d, exit = unit > 1 ? last * unit + layer : last;
  int found = shape.policy == "always_last" ? -1 : newest(at);
  return found < 0 ? newest(exit) : found; // a plane the token never wrote stands for that of its last row
}

std::string Story::describe() const {
  std::string text = "loops " + std::to_string(loops) + ", exit mode " + std::to_string(int(exit)) + ", threshold " +
                     std::to_string(int(threshold)) + ", min " + std::to_string(options.minLoops) + ", every " +
                     std::to_string(options.checkEvery) + ", given exits " + std::to_string(options.exitAfter.size()) +
                     ", order " + std::to_string(int(order)) + ", chunks";
  for (int c : chunk)
    text += " " + std::to_string(c);
  return text;
}

Answer decode(const Story &s) {
  Answer out;
  struct Past {
    int64_t preludeKey, codaKey;
    std::vector<std::vector<int64_t>> core; ///< [iteration][layer]
    std::vector<int64_t> codaAfter;         ///< [iteration]: coda key had the loop ended there
    int last;                               ///< last iteration run
  };
  std::vector<Past> past;
  const DrawInfo *draw = nullptr;
  ModelInfo info = metadata(s.shape);
  if (!info.draws.empty())
    draw = &info.draws[0];
  for (size_t n = 0; n < s.tokens.size(); ++n) {
    int64_t p = int64_t(n), noise = 0;
    if (draw) {
      float v = 0;
      auto given = s.options.draws.find(draw->name);
      if (given != s.options.draws.end())
        v = given->second.values[n - given->second.first];
      else
        keyedDraw({s.options.seed, nameHash(draw->name), s.options.request, uint32_t(n), 0}, draw->law, 0, {&v, 1});
      noise = int64_t(v);
    }
    past.push_back({});
    Past &own = past.back();
    own.preludeKey = preludeKey(s.tokens[n], p, noise);
    int64_t sum = 0;
    for (size_t j = 0; j <= n; ++j)
      attend(sum, p, int64_t(j), 0, past[j].preludeKey, valueOf(past[j].preludeKey));
    Token t, selected;
    preludeEnd(t, s.tokens[n], p, noise, sum);

    auto readout = [&](Token x, int after) { // after: iteration, or -1 for the final one
      if (!s.shape.coda) {
        x.c = x.h;
      } else {
        int64_t total = 0;
        for (size_t j = 0; j <= n; ++j) {
          int64_t k = j == n ? codaKey(x) : past[j].codaKey;
          if (after >= 0 && j < n && s.everyIteration[j])
            k = past[j].codaAfter[size_t(std::min(after, past[j].last))];
          attend(total, p, int64_t(j), 0, k, valueOf(k));
        }
        codaEnd(x, total);
      }
      std::vector<float> logits(vocab);
      for (uint32_t v = 0; v < vocab; ++v)
        logits[v] = float(logit(x, v));
      return logits;
    };

    int depth = 0, executed = 0;
    selected = t;
    out.iterationLogits.emplace_back();
    out.states.emplace_back();
    for (int d = 0; d < s.loops; ++d) {
      own.core.push_back(std::vector<int64_t>(layers));
      for (int layer = 0; layer < layers; ++layer) {
        own.core[size_t(d)][size_t(layer)] = coreKey(t, layer, d, s.loops);
        int64_t total = 0;
        for (size_t j = 0; j <= n; ++j) {
          int see = d * layers + layer;
          bool together = (s.order == Order::Chunk || s.order == Order::Pass) && s.chunk[j] == s.chunk[n];
          if (j < n && !(together && d <= past[j].last))
            see = version(s.shape, s.loops, d, layer, past[j].last);
          int64_t k = past[j].core[size_t(see / layers)][size_t(see % layers)];
          attend(total, p, int64_t(j), layer, k, valueOf(k));
        }
        coreLayerEnd(t, layer, d, total);
      }
      bool fired = coreEnd(t, s.threshold);
      executed = d + 1;
      out.states.back().push_back(float(t.h));
      own.codaAfter.push_back(codaKey(t));
      out.iterationLogits.back().push_back(readout(t, d));
      bool act = false;
      if (!s.options.exitAfter.empty())
        act = n < s.options.exitAfter.size() && s.options.exitAfter[n] == executed;
      else if (s.shape.exit)
        act = fired && executed >= std::max(1, s.options.minLoops) &&
              (executed - std::max(1, s.options.minLoops)) % std::max(1, s.options.checkEvery) == 0;
      if (s.exit != ExitMode::Off && act && depth == 0) {
        depth = executed;
        selected = t;
        if (s.exit == ExitMode::Leave)
          break;
      }
    }
    if (depth == 0) {
      depth = executed;
      selected = t;
    }
    own.last = executed - 1;
    own.codaKey = codaKey(selected);
    out.logits.push_back(readout(selected, -1));
    out.depth.push_back(depth);
    out.executed.push_back(executed);
  }
  return out;
}

bool mayLeave(const std::string &policy) {
  return policy == "last_exited" || policy == "always_last" || policy == "single" || policy.starts_with("stride") ||
         policy.starts_with("first_then_shared") || policy.starts_with("anchor");
}

Shape shapeOf(std::string policy) {
  Shape s;
  auto word = [&](const char *prefix) {
    bool found = policy.starts_with(prefix);
    if (found)
      policy = policy.substr(std::string(prefix).size());
    return found;
  };
  if (word("pass "))
    s.order = "pass";
  s.layerSteps = word("layer ");
  if (word("first "))
    s.keep = "first";
  s.policy = policy;
  return s;
}

} // namespace loopc::rt::fake
