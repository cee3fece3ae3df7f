// Reading the metadata of an artefact.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/ModelInfo.h"
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/abi.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace loopc::rt {

namespace {

using Json = nlohmann::json;

/// One JSON value with its path, for messages.
class Node {
public:
  Node(const Json &value, std::string path, const std::string &file) : value(value), path(std::move(path)), file(file) {}

  [[noreturn]] void fail(const std::string &expected, const std::string &found) const {
    throw Error(file, "metadata " + (path.empty() ? std::string("root") : path), expected, found);
  }
  [[noreturn]] void wrongType(const std::string &expected) const { fail(expected, rt::quoted(value.dump(), 60)); }

  bool has(const char *key) const { return value.is_object() && value.contains(key) && !value[key].is_null(); }
  Node at(const char *key) const {
    if (!value.is_object())
      wrongType("an object");
    auto it = value.find(key);
    if (it == value.end())
      fail(std::string("the key \"") + key + "\"", "none");
    return Node(*it, path.empty() ? key : path + "." + key, file);
  }
  template <typename F> void each(F f) const {
    if (!value.is_array())
      wrongType("an array");
    for (size_t i = 0; i < value.size(); ++i)
      f(Node(value[i], path + "[" + std::to_string(i) + "]", file));
  }
  std::string string() const {
    if (!value.is_string())
      wrongType("a string");
    return value.get<std::string>();
  }
  bool boolean() const {
    if (!value.is_boolean())
      wrongType("true or false");
    return value.get<bool>();
  }
  double number() const {
    if (!value.is_number())
      wrongType("a number");
    return value.get<double>();
  }
  int64_t integer(int64_t low, int64_t high) const {
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX)))
      wrongType("an integer");
    int64_t v = value.get<int64_t>();
    if (v < low || v > high)
      fail("an integer in " + std::to_string(low) + " .. " + std::to_string(high), std::to_string(v));
    return v;
  }
  uint64_t size(uint64_t high = uint64_t(1) << 48) const { return uint64_t(integer(0, int64_t(high))); }
  std::string oneOf(std::initializer_list<const char *> names) const {
    std::string s = string(), all;
    for (const char *n : names) {
      if (s == n)
        return s;
      all += (all.empty() ? "" : ", ") + std::string(n);
    }
    fail("one of " + all, rt::quoted(s));
  }
  std::vector<int64_t> shape() const {
    std::vector<int64_t> out;
    int64_t product = 1;
    each([&](const Node &n) {
      out.push_back(n.integer(1, int64_t(1) << 32));
      if (product > (int64_t(1) << 40) / out.back())
        n.fail("a shape of at most 2^40 elements", "more");
      product *= out.back();
    });
    return out;
  }
  DType dtype(bool integers) const {
    std::string s = integers ? oneOf({"f32", "bf16", "f16", "i32"}) : oneOf({"f32", "bf16", "f16"});
    return s == "f32" ? DType::F32 : s == "bf16" ? DType::BF16 : s == "f16" ? DType::F16 : DType::I32;
  }
  DType format() const {
    if (std::optional<DType> type = weightFormat(string()))
      return *type;
    fail("one of the formats of weights", rt::quoted(string()));
  }
  Law law() const {
    Law law;
    std::string kind = at("kind").oneOf({"normal", "truncated_normal", "uniform", "constant", "standardised_normal", "position"});
    auto number = [&](const char *key, double &to) {
      if (has(key))
        to = at(key).number();
    };
    law.kind = kind == "normal" || kind == "standardised_normal" ? Law::Normal
               : kind == "truncated_normal" ? Law::TruncatedNormal
               : kind == "uniform"          ? Law::Uniform
                                            : Law::Constant;
    number("mean", law.mean);
    number("std", law.std);
    number("cut", law.cut);
    number("low", law.low);
    number("high", law.high);
    number("value", law.value);
    if (!(law.std >= 0) || !(law.cut > 0) || !(law.low <= law.high))
      fail("std >= 0, cut > 0 and low <= high", rt::quoted(value.dump(), 80));
    return law;
  }

  const Json &value;
  std::string path;
  const std::string &file;
};

Stage stageOf(const Node &n) {
  std::string s = n.oneOf({"prelude", "core", "check", "decide", "coda", "head", "step"});
  size_t i = 0;
  while (stageName(Stage(i)) != s)
    ++i;
  return Stage(i);
}

/// "anchor(8, 1)" is map anchor with these sizes; last_exited and always_last are depth_indexed with a hole rule.
PolicyInfo readPolicy(const Node &n) {
  PolicyInfo p;
  p.name = n.at("name").string();
  std::string map = p.name.substr(0, p.name.find('('));
  int sizes = 0;
  if (size_t at = p.name.find('('); at != std::string::npos)
    for (const char *from = p.name.c_str() + at + 1; sizes < 2; ++sizes) {
      char *end = nullptr;
      p.sizes[size_t(sizes)] = std::strtol(from, &end, 10);
      if (end == from || p.sizes[size_t(sizes)] < 1 || p.sizes[size_t(sizes)] > 65535)
        break;
      from = end + (*end == ',');
    }
  p.holes = n.has("holes") ? n.at("holes").oneOf({"refuse", "last_exited", "latest", "always_last", "last_if_hole", "skip", "zero"}) : "";
  if (p.holes == "latest") // the newest plane not deeper than the query: a token has all planes up to its exit
    p.holes = "last_exited";
  if (map == "last_exited" || map == "always_last") {
    p.holes = map;
    map = "depth_indexed";
  }
  int found = findKvMap(map);
  if (found < 0) {
    std::string known = "last_exited, always_last";
    for (const KvMapInfo &m : kvMaps)
      known += ", " + std::string(m.name) + (m.sizes == 0 ? "" : m.sizes == 1 ? "(k)" : "(n, k)");
    n.at("name").fail("a policy of " + known, rt::quoted(p.name));
  }
  p.map = KvMap(found);
  if (sizes != kvMaps[found].sizes)
    n.at("name").fail(std::to_string(kvMaps[found].sizes) + " sizes of " + map + " in 1 .. 65535", rt::quoted(p.name));
  if (n.has("steps"))
    p.steps = int32_t(n.at("steps").integer(1, 65535));
  if (n.has("keep")) {
    std::string keep = n.at("keep").oneOf({"last", "first", "mean"});
    p.keep = keep == "first" ? Keep::First : keep == "mean" ? Keep::Mean : Keep::Last;
  }
  if (n.has("coda_overwrites")) {
    if (!n.at("coda_overwrites").value.is_boolean())
      n.at("coda_overwrites").fail("true or false", rt::quoted(n.at("coda_overwrites").value.dump()));
    p.codaOverwrites = n.at("coda_overwrites").value.get<bool>();
  }
  if (p.holes.empty()) {
    bool shallow = p.map == KvMap::single || p.map == KvMap::stride || p.map == KvMap::first_then_shared ||
                   p.map == KvMap::anchor || p.map == KvMap::recompute;
    p.holes = shallow ? "last_exited" : "refuse";
  }
  p.order = n.at("order").oneOf({"free", "token", "pass", "chunk"});
  p.planeZero = n.at("write").oneOf({"d", "0"}) == "0";
  if (n.at("read").oneOf({"d", "0"}) != n.at("write").string())
    n.at("read").fail("the plane that is written (" + n.at("write").string() + ")", n.at("read").string());
  if (p.planeZero && ((p.map != KvMap::single && p.map != KvMap::recompute) || p.keep != Keep::Last))
    n.at("write").fail("d, for a policy with several planes", "0");
  return p;
}

void readPools(const Node &root, ModelInfo &m) {
  std::set<Stage> seen;
  root.at("pools").each([&](const Node &n) {
    PoolInfo p;
    p.stage = stageOf(n.at("stage"));
    if (!seen.insert(p.stage).second)
      n.at("stage").fail("one pool for each stage", "a second for " + std::string(stageName(p.stage)));
    p.pageBytes = n.at("page_bytes").size();
    p.dtype = n.at("dtype").dtype(false);
    const Node planes = n.at("planes");
    if (planes.value.is_number_integer() && planes.value == 1)
      p.perIteration = false;
    else
      p.perIteration = planes.oneOf({"T", "1"}) == "T";
    n.at("sites").each([&](const Node &s) {
      SiteInfo site;
      site.name = s.at("name").string();
      site.layers = s.at("layers").integer(1, 65536);
      site.heads = s.at("heads").integer(1, 65536);
      site.dim = s.at("dim").integer(1, 1 << 30);
      site.offset = s.has("offset") ? s.at("offset").size() : 0;
      if (s.has("step_stride")) {
        site.firstStep = s.at("first_step").integer(0, 65535);
        site.stepStride = s.at("step_stride").integer(1, 65535);
      }
      uint64_t end = site.offset + uint64_t(site.layersOfRow() * 2 * site.heads * site.dim) * LOOPC_PAGE_ROWS;
      if (end * uint64_t(blockBytes(p.dtype)) > p.pageBytes)
        s.fail("a site inside the page of " + std::to_string(p.pageBytes) + " bytes",
               "its end at byte " + std::to_string(end * uint64_t(blockBytes(p.dtype))));
      p.sites.push_back(std::move(site));
    });
    if (p.sites.empty() || p.pageBytes == 0)
      n.fail("at least one site and a page of at least one byte", "none");
    m.pools.push_back(std::move(p));
  });
  if (m.pools.size() > LOOPC_MAX_POOLS)
    root.at("pools").fail("at most " + std::to_string(LOOPC_MAX_POOLS) + " pools", std::to_string(m.pools.size()));
}

void readBank(const Node &root, ModelInfo &m) {
  const Node bank = root.at("bank");
  m.bankRowBytes = bank.at("row_bytes").size(uint64_t(1) << 32);
  std::set<std::string> names;
  bank.at("fields").each([&](const Node &n) {
    FieldInfo f;
    f.name = n.at("name").string();
    if (!names.insert(f.name).second)
      n.at("name").fail("names that are unique", "a second " + rt::quoted(f.name));
    f.offset = n.at("offset").size();
    f.shape = n.at("shape").shape();
    f.dtype = n.at("dtype").dtype(true);
    f.observed = n.has("observed") && n.at("observed").boolean();
    if (f.offset + f.bytes() > m.bankRowBytes)
      n.fail("a field inside the slot of " + std::to_string(m.bankRowBytes) + " bytes",
             "its end at byte " + std::to_string(f.offset + f.bytes()));
    if (f.offset % uint64_t(blockBytes(f.dtype)) != 0)
      n.at("offset").fail("a multiple of the element size", std::to_string(f.offset));
    m.fields.push_back(std::move(f));
  });
  root.at("draws").each([&](const Node &n) {
    DrawInfo d;
    d.name = n.at("name").string();
    d.field = n.at("field").string();
    d.law = n.at("law").law();
    d.standardise = n.at("law").at("kind").string() == "standardised_normal";
    const FieldInfo *field = m.field(d.field);
    if (!field)
      n.at("field").fail("a field of the bank", rt::quoted(d.field));
    if (field->dtype != DType::F32)
      n.at("field").fail("a field of dtype f32", std::string(dtypeName(field->dtype)));
    d.position = n.at("law").at("kind").string() == "position";
    d.iteration = n.has("per") && n.at("per").oneOf({"token", "iteration"}) == "iteration";
    d.shared = n.has("shared") && n.at("shared").boolean();
    m.draws.push_back(std::move(d));
  });
}

ParamSourceInfo readSource(const Node &s, uint64_t count, int64_t rows) {
  ParamSourceInfo source;
  source.name = s.at("name").string();
  source.rows = s.has("rows") ? s.at("rows").integer(1, int64_t(1) << 32) : rows;
  if (s.has("indices"))
    s.at("indices").each([&](const Node &i) { source.indices.push_back(i.integer(-1, 1 << 20)); });
  size_t holes = 0;
  for (size_t at = source.name.find("{}"); at != std::string::npos; at = source.name.find("{}", at + 2))
    ++holes;
  if (source.indices.size() != count * holes)
    s.fail("one index for each of the " + std::to_string(count) + " tables and each {} of the name",
           std::to_string(source.indices.size()) + " for " + rt::quoted(source.name));
  if (s.has("row_map"))
    s.at("row_map").each([&](const Node &i) { source.rowMap.push_back(i.integer(0, int64_t(1) << 32)); });
  if (!source.rowMap.empty() && int64_t(source.rowMap.size()) != source.rows)
    s.at("row_map").fail(std::to_string(source.rows) + " entries", std::to_string(source.rowMap.size()));
  return source;
}

/// What only a training step has.
void readStep(const Node &root, ModelInfo &m) {
  root.at("gradients").each([&](const Node &n) {
    GradientInfo g;
    g.name = n.at("name").string();
    g.index = n.at("index").size(1 << 24);
    g.count = uint64_t(n.at("count").integer(1, 1 << 20));
    g.rows = n.at("rows").integer(1, int64_t(1) << 32);
    g.cols = n.at("cols").integer(1, int64_t(1) << 32);
    g.source = readSource(n.at("source"), g.count, g.rows);
    m.gradients.push_back(std::move(g));
  });
  root.at("given").each([&](const Node &n) {
    GivenInfo g;
    g.what = n.at("what").oneOf({"label", "limit", "first", "draw"});
    g.name = n.at("name").string();
    g.elements = n.at("elements").integer(1, int64_t(1) << 32);
    if (n.has("max")) {
      g.max = int32_t(n.at("max").integer(0, 65535));
      g.value = int32_t(n.at("default").integer(0, g.max));
    }
    m.given.push_back(std::move(g));
  });
}

void readParams(const Node &root, ModelInfo &m) {
  std::vector<bool> used;
  root.at("params").each([&](const Node &n) {
    ParamInfo p;
    p.name = n.at("name").string();
    p.index = n.at("index").size(1 << 24);
    p.count = uint64_t(n.at("count").integer(1, 1 << 20));
    std::string kind = n.at("kind").oneOf({"panel", "rows", "transposed"});
    p.kind = kind == "panel" ? PackKind::Panel : kind == "rows" ? PackKind::Rows : PackKind::Transposed;
    p.dtype = n.at("dtype").format();
    if (p.kind == PackKind::Transposed && p.dtype != DType::F32)
      n.at("dtype").fail("f32 for a transposed matrix", std::string(dtypeName(p.dtype)));
    p.stored = n.has("stored") && n.at("stored").boolean();
    p.rows = n.at("rows").integer(1, int64_t(1) << 32);
    p.cols = n.at("cols").integer(1, int64_t(1) << 32);
    if (int64_t block = blockElements(p.dtype); block > 1 && (p.kind == PackKind::Rows || p.cols % block))
      n.at("dtype").fail("a panel of a multiple of " + std::to_string(block) + " columns for " + std::string(weightFormatName(p.dtype)),
                         (p.kind == PackKind::Rows ? "rows of " : "a panel of ") + std::to_string(p.cols));
    int64_t total = 0;
    n.at("sources").each([&](const Node &s) {
      p.sources.push_back(readSource(s, p.count, p.rows));
      total += p.sources.back().rows;
    });
    if (total != p.rows)
      n.at("rows").fail("the sum of the rows of its sources (" + std::to_string(total) + ")", std::to_string(p.rows));
    if (n.has("init"))
      p.init = n.at("init").law();
    if (used.size() < p.index + p.count)
      used.resize(p.index + p.count);
    for (uint64_t i = p.index; i < p.index + p.count; ++i) {
      if (used[i])
        n.at("index").fail("tables that belong to one parameter", "table " + std::to_string(i) + " used twice");
      used[i] = true;
    }
    m.params.push_back(std::move(p));
  });
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i])
      root.at("params").fail("a parameter for each table", "none for table " + std::to_string(i));
}

void readLoop(const Node &root, ModelInfo &m) {
  if (root.has("count")) {
    const Node n = root.at("count");
    CountInfo c;
    c.name = n.at("name").string();
    c.min = int32_t(n.at("min").integer(0, 65535));
    c.max = int32_t(n.at("max").integer(c.min, 65535));
    c.value = int32_t(n.at("default").integer(c.min, c.max));
    m.count = c;
  }
  root.at("knobs").each([&](const Node &n) {
    KnobInfo k;
    k.name = n.at("name").string();
    k.min = n.has("min") ? n.at("min").number() : -std::numeric_limits<double>::infinity();
    k.max = n.has("max") ? n.at("max").number() : std::numeric_limits<double>::infinity();
    k.value = n.at("default").number();
    if (!(k.min <= k.value && k.value <= k.max))
      n.at("default").fail("a default between min and max", std::to_string(k.value));
    m.knobs.push_back(std::move(k));
  });
  if (root.has("exit")) {
    const Node n = root.at("exit");
    if (!n.has("present") || n.at("present").boolean()) {
      ExitInfo e;
      e.name = n.at("name").string();
      if (n.has("grain"))
        n.at("grain").oneOf({"token", "sequence"});
      e.check = n.has("check") && n.at("check").boolean();
      e.mode = n.has("mode") ? n.at("mode").oneOf({"leave", "select"}) : "";
      e.min = n.has("min") ? int32_t(n.at("min").integer(0, 65535)) : 1;
      e.every = n.has("every") ? int32_t(n.at("every").integer(1, 65535)) : 1;
      m.exit = e;
    }
  }
  if (root.has("policy"))
    m.policy = readPolicy(root.at("policy"));
  else if (m.poolOf(Stage::Core) >= 0)
    root.fail("a policy, since the loop attends", "none");
  else {
    m.policy.name = "depth_indexed";
    m.policy.holes = "last_exited";
    m.policy.order = "free";
  }
  if (root.has("contract")) {
    const Node n = root.at("contract");
    const Node lag = n.at("lag");
    if (lag.value.is_string())
      lag.oneOf({"end"}), m.contract.lag = -1;
    else
      m.contract.lag = int32_t(lag.integer(0, 1));
    m.contract.group = n.at("group").oneOf({"lane", "prompt", "whole"});
    m.contract.order = n.at("order").oneOf({"free", "token", "pass", "chunk"});
    m.contract.couple = n.at("couple").oneOf({"lane", "sequence", "call"});
  }
}

} // namespace

std::string_view stageName(Stage stage) {
  static constexpr std::string_view names[stageCount] = {"prelude", "core", "check",
                                                                  "decide",  "coda", "head",  "step"};
  return names[size_t(stage)];
}

int64_t FieldInfo::elements() const {
  int64_t n = 1;
  for (int64_t s : shape)
    n *= s;
  return n;
}

const StageInfo *ModelInfo::stage(Stage s) const {
  for (const StageInfo &i : stages)
    if (i.stage == s)
      return &i;
  return nullptr;
}

const FieldInfo *ModelInfo::field(std::string_view name) const {
  for (const FieldInfo &f : fields)
    if (f.name == name)
      return &f;
  return nullptr;
}

int ModelInfo::poolOf(Stage s) const {
  for (size_t i = 0; i < pools.size(); ++i)
    if (pools[i].stage == s)
      return int(i);
  return -1;
}

uint64_t ModelInfo::paramTables() const {
  uint64_t n = 0;
  for (const ParamInfo &p : params)
    n = std::max(n, p.index + p.count);
  return n;
}

ModelInfo ModelInfo::parse(std::string_view text, const std::string &file) {
  Json json;
  try {
    json = Json::parse(text.begin(), text.end());
  } catch (const Json::exception &e) {
    throw Error(file, "metadata", "JSON", rt::quoted(e.what(), 160));
  }
  const Node root(json, "", file);
  ModelInfo m;
  m.json = std::string(text);
  m.model = root.at("model").string();
  m.compiler = root.at("compiler").string();
  m.hash = root.at("hash").string();
  const Node target = root.at("target");
  m.triple = target.at("triple").string();
  m.cpu = target.at("cpu").string();
  target.at("features").each([&](const Node &n) {
    std::string f = n.string();
    if (!f.empty() && f[0] == '-')
      return;
    m.features.push_back(!f.empty() && f[0] == '+' ? f.substr(1) : f);
  });
  m.dtype = root.at("dtype").dtype(false);
  m.kvDType = root.at("kv_dtype").dtype(false);
  m.vocab = uint32_t(root.at("vocab").integer(1, INT32_MAX));
  m.context = uint32_t(root.at("context").integer(0, INT32_MAX));
  readPools(root, m);
  readLoop(root, m);
  readBank(root, m);
  std::set<Stage> seen;
  root.at("stages").each([&](const Node &n) {
    StageInfo s;
    s.stage = stageOf(n.at("name"));
    if (!seen.insert(s.stage).second)
      n.at("name").fail("stages that are unique", "a second " + std::string(stageName(s.stage)));
    s.arenaRowBytes = n.at("arena_row_bytes").size(uint64_t(1) << 36);
    s.arenaBytes = n.has("arena_bytes") ? n.at("arena_bytes").size(uint64_t(1) << 36) : 0;
    s.scratchBytes = n.at("scratch_bytes").size(uint64_t(1) << 36);
    s.scratchRowBytes = n.has("scratch_row_bytes") ? n.at("scratch_row_bytes").size(uint64_t(1) << 36) : 0;
    s.syncs = n.has("syncs") ? uint32_t(n.at("syncs").size(UINT32_MAX)) : 0;
    s.timedPhases = n.has("timed_phases") ? uint32_t(n.at("timed_phases").size(1 << 20)) : 0;
    m.stages.push_back(s);
  });
  if (!m.stage(Stage::Prelude) && !m.stage(Stage::Step))
    root.at("stages").fail("a stage prelude or step", "none");
  if (m.count.has_value() != (m.stage(Stage::Core) != nullptr))
    root.fail("a stage core exactly if there is a loop count", m.count ? "a count and no core" : "a core and no count");
  for (const PoolInfo &p : m.pools)
    if (!m.stage(p.stage))
      root.at("pools").fail("pools of stages that exist", "one of " + std::string(stageName(p.stage)));
  if (m.exit && m.exit->check && (!m.field("exit.stop") || !m.stage(Stage::Check)))
    root.at("exit").fail("a stage check and a field exit.stop", "none");
  readParams(root, m);
  if (m.stage(Stage::Step))
    readStep(root, m);
  if (root.has("remarks") && root.at("remarks").value.is_array())
    root.at("remarks").each([&](const Node &n) {
      m.remarks.push_back(n.value.is_string() ? n.value.get<std::string>() : n.value.dump());
    });
  return m;
}

} // namespace loopc::rt
