// Compiled models for tests, and what decoding them one token after another gives.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Compiled.h"
#include "loopc/runtime/Policy.h"
#include "loopc/runtime/Random.h"
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <sstream>

namespace loopc::rt::test {

bool Model::mayLeave() const {
  try {
    Policy::make(info().policy, info().count->max, true);
    return true;
  } catch (const Error &) {
    return false;
  }
}

std::unique_ptr<CpuExecutor> Model::executor(uint32_t workers) const {
  return std::make_unique<CpuExecutor>(artifact, params, TeamOptions{.workers = workers});
}

const std::vector<std::string> &modelNames() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
    std::error_code none; // no directory: no names, which GoogleTest reports
    for (const auto &entry : std::filesystem::directory_iterator(LOOPC_TEST_ARTEFACTS, none))
      if (entry.path().extension() == ".so" && entry.path().stem().string().rfind("together-", 0) != 0 && entry.path().stem().string().rfind("rows-", 0) != 0)
        found.push_back(entry.path().stem());
    std::sort(found.begin(), found.end());
    return found;
  }();
  return names;
}

const Model &load(const std::string &name) {
  static std::map<std::string, Model> models;
  Model &m = models[name];
  if (!m.artifact) {
    m.name = name;
    m.artifact = Artifact::load(LOOPC_TEST_ARTEFACTS "/" + name + ".so");
    m.params = PackedParams::random(m.info(), 7);
  }
  return m;
}

Request requestOf(const Model &model, uint64_t i, uint32_t promptTokens, uint32_t count) {
  const ModelInfo &info = model.info();
  uint64_t draw = 0;
  auto random = [&](uint64_t below) { return mixKeys(i * 1000 + draw++, 0x72657175) % below; };
  Request r;
  for (uint32_t p = 0; p < promptTokens; ++p)
    r.prompt.push_back(int32_t(random(info.vocab)));
  r.count = count;
  r.options.loops = int32_t(1 + random(6));
  r.options.seed = random(100);
  r.options.request = random(100);
  if (random(2)) {
    r.sampling.temperature = 0.5f + 0.1f * float(random(10));
    r.sampling.topK = int32_t(random(2) * 5);
    r.sampling.topP = random(2) ? 0.8f : 1.f;
    r.sampling.repetitionPenalty = random(2) ? 1.2f : 1.f;
    r.sampling.seed = random(100);
  }
  uint64_t exits = random(4);
  if (exits == 0) {
    r.options.exit = ExitMode::Off;
    return r;
  }
  r.options.exit = model.mayLeave() && random(4) ? ExitMode::Leave : ExitMode::Select;
  if (info.exit && exits != 1) {
    r.options.knobs["threshold"] = 0.4f + 0.1f * float(random(6));
    if (random(3) == 0) {
      r.options.minLoops = int32_t(1 + random(3));
      r.options.checkEvery = int32_t(1 + random(3));
    }
  } else {
    for (uint32_t p = 0; p < promptTokens + count; ++p)
      r.options.exitAfter.push_back(int32_t(random(uint64_t(r.options.loops) + 1)));
  }
  return r;
}

void Trace::add(const FeedResult &r) {
  depth.insert(depth.end(), r.depth.begin(), r.depth.end());
  executed.insert(executed.end(), r.executed.begin(), r.executed.end());
  logits.insert(logits.end(), r.logits.begin(), r.logits.end());
}

Trace decodeAlone(const Model &model, const Request &request) {
  std::unique_ptr<CpuExecutor> executor = model.executor(1);
  bool chunk = model.info().policy.order == "chunk";
  Engine engine(*executor,
                {.capacity = chunk ? std::max<uint32_t>(1, uint32_t(request.prompt.size())) : 1, .kvBytes = 1 << 24});
  SequenceId id = engine.open(request.options);
  Sampler sampler(request.sampling);
  Trace t;
  FeedOptions all{.logits = LogitsFor::All};
  if (chunk)
    t.add(engine.feed(id, request.prompt, all));
  else
    for (int32_t token : request.prompt)
      t.add(engine.feed(id, {&token, 1}, all));
  for (uint32_t n = 0; n < request.count; ++n) {
    std::span<const float> last(t.logits.end() - ptrdiff_t(model.info().vocab), t.logits.end());
    int32_t token = sampler.sample(last, engine.tokens(id), engine.length(id));
    t.add(engine.feed(id, {&token, 1}, all));
  }
  t.tokens.assign(engine.tokens(id).begin(), engine.tokens(id).end());
  return t;
}

std::string difference(const Trace &expected, const Trace &found, uint32_t vocab) {
  auto says = [](const char *what, size_t position) { return what + (" of position " + std::to_string(position)); };
  for (size_t p = 0; p < expected.tokens.size(); ++p) {
    if (p >= found.tokens.size() || p >= found.depth.size() || (p + 1) * vocab > found.logits.size())
      return says("absence", p);
    if (expected.tokens[p] != found.tokens[p])
      return says("token", p);
    if (expected.depth[p] != found.depth[p] || expected.executed[p] != found.executed[p])
      return says("exit depth", p);
    if (std::memcmp(&expected.logits[p * vocab], &found.logits[p * vocab], vocab * sizeof(float)) != 0)
      return says("logits", p);
  }
  return found.tokens.size() > expected.tokens.size() ? says("presence", expected.tokens.size()) : "";
}

std::string describe(const Request &r) {
  std::ostringstream out;
  out << r.prompt.size() << " + " << r.count << " tokens, loops " << r.options.loops << ", exit mode "
      << int(r.options.exit) << (r.options.exitAfter.empty() ? "" : " given");
  for (const auto &[name, value] : r.options.knobs)
    out << ", " << name << " " << value;
  out << ", temperature " << r.sampling.temperature;
  return out.str();
}

} // namespace loopc::rt::test
