// Rows of a sequence as bytes: prefill here, decode there (kv-and-schedules.md §5).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// magic, u64 bytes of the header, header (JSON), then for each pool: i32 entries [tables, positions] (index of a row of
// this pool in this file, -1: none) and the rows, then XXH3 64 of all before. Rows have no gaps and no page order, so
// the page size of the reader does not matter. A row belongs to one position; several tables may name it (an alias).
#include "EngineImpl.h"
#include "JsonFile.h"
#include "loopc/runtime/TensorFile.h"
#include <cstring>
#include <unordered_map>
#include <xxhash.h>

namespace loopc::rt {

namespace {

constexpr char magic[8] = {'l', 'o', 'o', 'p', 'c', 'K', 'V', '1'};
constexpr int32_t zeros = -2; ///< entry of the row of zeros (Holes::Zero)
constexpr uint64_t fixedBytes = sizeof magic + sizeof(uint64_t);
using Json = nlohmann::ordered_json;

std::string hex(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Draws that were given instead of drawn, as a number.
std::string drawsOf(const SequenceOptions &o) {
  uint64_t hash = 0;
  for (const auto &[name, draw] : o.draws) {
    hash = XXH3_64bits_withSeed(name.data(), name.size(), hash + draw.first);
    hash = XXH3_64bits_withSeed(draw.values.data(), draw.values.size() * sizeof(float), hash);
  }
  return hex(hash);
}

/// What has to agree before rows mean the same: all that decides their values, but for the tokens.
Json identityOf(const ModelInfo &info, const KvPools &pools, const Sequence &s) {
  Json id;
  id["model"] = info.model;
  id["hash"] = info.hash;
  id["policy"] = info.policy.name;
  id["holes"] = info.policy.holes;
  id["order"] = s.order == Order::Free    ? "free"
                : s.order == Order::Token ? "token"
                : s.order == Order::Chunk ? "chunk"
                                          : "pass";
  id["loops"] = s.policy.loops;
  id["exit"] = s.exit == ExitMode::Off ? "off" : s.exit == ExitMode::Leave ? "leave" : "select";
  id["min_loops"] = s.minLoops;
  id["check_every"] = s.checkEvery;
  id["given_exits"] = s.options.exitAfter;
  id["options"] = Json::object();
  for (size_t i = 0; i < info.knobs.size(); ++i)
    id["options"][info.knobs[i].name] = s.knobs[i];
  id["seed"] = s.options.seed;
  id["request"] = s.options.request;
  id["draws"] = drawsOf(s.options);
  id["prefix"] = s.options.prefix;
  id["pools"] = Json::array();
  for (const auto &pool : pools) {
    const PoolInfo &p = pool->info();
    Json sites = Json::array();
    for (const SiteInfo &site : p.sites)
      sites.push_back({{"name", site.name}, {"layers", site.layers}, {"heads", site.heads}, {"dim", site.dim}});
    id["pools"].push_back({{"stage", stageName(p.stage)},
                           {"dtype", dtypeName(p.dtype)},
                           {"row_bytes", pool->rowBytes()},
                           {"sites", sites}});
  }
  return id;
}

/// Throws at the first place where the two differ.
void expectSame(const Json &ours, const nlohmann::json &theirs, const std::string &place) {
  auto text = [](const nlohmann::json &v) {
    std::string dump = v.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return v.is_string() ? rt::quoted(v.get_ref<const std::string &>()) : v.is_structured() ? rt::quoted(dump) : dump;
  };
  if (ours.is_object() && theirs.is_object() && ours.size() == theirs.size()) {
    for (const auto &[key, value] : ours.items()) {
      if (!theirs.contains(key))
        throw Error("", place, "a key '" + key + "'", "none");
      expectSame(value, theirs.at(key), place + "." + key);
    }
  } else if (ours.is_array() && theirs.is_array() && ours.size() == theirs.size()) {
    for (size_t i = 0; i < ours.size(); ++i)
      expectSame(ours[i], theirs[i], place + "[" + std::to_string(i) + "]");
  } else if (nlohmann::json(ours) != theirs) {
    throw Error("", place, text(ours), text(theirs));
  }
}

template <typename T> void append(std::vector<uint8_t> &to, const T *values, size_t count) {
  const auto *bytes = reinterpret_cast<const uint8_t *>(values);
  to.insert(to.end(), bytes, bytes + count * sizeof(T));
}

/// Reads what `append` wrote; refuses to go beyond the end.
struct Reader {
  std::span<const uint8_t> bytes;
  uint64_t at = 0;
  std::span<const uint8_t> take(uint64_t count, const char *what) {
    if (count > bytes.size() - at)
      throw Error("", std::string("K/V rows, byte ") + std::to_string(at), std::to_string(count) + " bytes of " + what,
                  std::to_string(bytes.size() - at));
    at += count;
    return bytes.subspan(at - count, count);
  }
};

/// A header has five levels; what reads and prints JSON recurses.
void checkNesting(std::span<const uint8_t> text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      quoted = !quoted;
    else if (!quoted)
      depth += (text[i] == '[' || text[i] == '{') - (text[i] == ']' || text[i] == '}');
    if (depth > 16)
      throw Error("", "K/V rows, byte " + std::to_string(fixedBytes + i), "a header of at most 16 levels", "more");
  }
}

std::vector<int32_t> integers(const JsonAt &list, size_t count, int64_t low, int64_t high) {
  if (list.size() != count)
    list.fail(std::to_string(count) + " entries", std::to_string(list.size()));
  std::vector<int32_t> out;
  for (size_t i = 0; i < count; ++i) {
    int64_t v = list.item(i).integer();
    if (v < low || v > high)
      list.item(i).fail(std::to_string(low) + " .. " + std::to_string(high), std::to_string(v));
    out.push_back(int32_t(v));
  }
  return out;
}

} // namespace

std::vector<uint8_t> Engine::Impl::pack(const Sequence &s) const {
  uint32_t n = s.final();
  Json header;
  header["identity"] = identityOf(info, pools, s);
  header["positions"] = {0, n};
  header["settled"] = s.settled;
  header["tokens"] = std::vector<int32_t>(s.tokens.begin(), s.tokens.begin() + n);
  header["depths"] = std::vector<int32_t>(s.depths.begin(), s.depths.begin() + n);
  header["executed"] = std::vector<int32_t>(s.executed.begin(), s.executed.begin() + n);
  header["feeds"] = Json::array();
  for (const Feed &f : s.feeds)
    if (f.first < n)
      header["feeds"].push_back({f.first, std::min(f.end, n), f.chunk, int(f.everyIteration)});
  std::vector<uint8_t> body;
  Json tables = Json::array();
  for (size_t p = 0; p < pools.size(); ++p) {
    std::unordered_map<int32_t, int32_t> index;
    std::vector<int32_t> entries, rows;
    for (uint32_t t = 0; t < s.tables.tableCount(p); ++t)
      for (uint32_t position = 0; position < n; ++position) {
        int32_t row = s.tables.entry(p, t, position);
        bool zero = pools[p]->isZeroRow(row);
        if (row >= 0 && !zero && index.try_emplace(row, int32_t(rows.size())).second)
          rows.push_back(row);
        entries.push_back(zero ? zeros : row < 0 ? -1 : index[row]);
      }
    tables.push_back({s.tables.tableCount(p), rows.size()});
    append(body, entries.data(), entries.size());
    for (int32_t row : rows) {
      body.resize(body.size() + pools[p]->rowBytes());
      pools[p]->readRow(row, body.data() + body.size() - pools[p]->rowBytes());
    }
  }
  header["tables"] = tables;
  std::string text = header.dump();
  std::vector<uint8_t> out;
  uint64_t length = text.size();
  append(out, magic, sizeof magic);
  append(out, &length, 1);
  append(out, text.data(), text.size());
  append(out, body.data(), body.size());
  uint64_t sum = XXH3_64bits(out.data(), out.size());
  append(out, &sum, 1);
  return out;
}

void Engine::Impl::unpack(Sequence &s, std::span<const uint8_t> bytes, bool own) {
  std::string place = "K/V rows";
  if (bytes.size() < fixedBytes + sizeof(uint64_t) || std::memcmp(bytes.data(), magic, sizeof magic) != 0)
    throw Error("", place, "bytes that begin with loopcKV1",
                rt::quoted({reinterpret_cast<const char *>(bytes.data()), std::min<size_t>(bytes.size(), 8)}));
  uint64_t sum, length;
  std::memcpy(&sum, bytes.data() + bytes.size() - sizeof sum, sizeof sum);
  bytes = bytes.first(bytes.size() - sizeof sum);
  if (uint64_t found = XXH3_64bits(bytes.data(), bytes.size()); found != sum)
    throw Error("", place, "checksum " + hex(sum), hex(found));
  std::memcpy(&length, bytes.data() + sizeof magic, sizeof length);
  Reader in{bytes, fixedBytes};
  std::span<const uint8_t> text = in.take(length, "header");
  checkNesting(text);
  nlohmann::json json = parseJson({reinterpret_cast<const char *>(text.data()), text.size()}, place);
  JsonAt header(json, place);
  if (!own)
    expectSame(identityOf(info, pools, s), header.at("identity").value, place + ": identity");
  std::vector<int32_t> range = integers(header.at("positions"), 2, 0, info.context ? info.context : INT32_MAX);
  uint32_t n = uint32_t(range[1]), keep = own ? std::min(n, s.swappedKeep) : n;
  if (range[0] != 0)
    header.at("positions").fail("positions from 0", std::to_string(range[0]));
  int64_t settled64 = header.at("settled").integer();
  if (settled64 < 0 || settled64 > n)
    header.at("settled").fail("0 .. " + std::to_string(n), std::to_string(settled64));
  uint32_t settled = uint32_t(settled64);
  std::vector<int32_t> tokens = integers(header.at("tokens"), n, 0, int64_t(info.vocab) - 1);
  std::vector<int32_t> depths = integers(header.at("depths"), n, 0, s.policy.loops);
  std::vector<int32_t> executed = integers(header.at("executed"), n, 0, s.policy.loops);
  std::vector<Feed> feeds;
  for (size_t i = 0; i < header.at("feeds").size(); ++i) {
    JsonAt item = header.at("feeds").item(i);
    std::vector<int32_t> f = integers(item, 4, 0, INT32_MAX);
    if (uint32_t(f[0]) != (feeds.empty() ? 0 : feeds.back().end) || f[1] <= f[0] || uint32_t(f[1]) > n || f[3] > 1)
      item.fail("feeds one after another up to position " + std::to_string(n),
                std::to_string(f[0]) + " .. " + std::to_string(f[1]));
    if (s.order == Order::Chunk && (f[2] ? std::min(f[2], f[1] - f[0]) : f[1] - f[0]) > int32_t(options.capacity))
      item.fail("chunks of at most " + std::to_string(options.capacity) + " tokens", std::to_string(f[1] - f[0]));
    feeds.push_back({uint32_t(f[0]), uint32_t(f[1]), uint32_t(f[2]), f[3] == 1});
  }
  if ((feeds.empty() ? 0 : feeds.back().end) != n)
    header.at("feeds").fail("feeds up to position " + std::to_string(n),
                            std::to_string(feeds.empty() ? 0 : feeds.back().end));
  try {
    s.tables.reserve(n);
    if (header.at("tables").size() != pools.size())
      header.at("tables").fail(std::to_string(pools.size()) + " pools", std::to_string(header.at("tables").size()));
    for (size_t p = 0; p < pools.size(); ++p) {
      JsonAt item = header.at("tables").item(p);
      std::vector<int32_t> counts = integers(item, 2, 0, INT32_MAX);
      if (uint32_t(counts[0]) != s.tables.tableCount(p) && int(p) == info.poolOf(Stage::Coda))
        s.tables.addReadouts();
      if (uint32_t(counts[0]) != s.tables.tableCount(p))
        item.fail(std::to_string(s.tables.tableCount(p)) + " tables", std::to_string(counts[0]));
      uint64_t rowBytes = pools[p]->rowBytes();
      std::span<const uint8_t> entries = in.take(uint64_t(counts[0]) * n * sizeof(int32_t), "row tables");
      std::span<const uint8_t> payload = in.take(uint64_t(counts[1]) * rowBytes, "rows");
      std::unordered_map<int32_t, std::pair<int32_t, uint32_t>> rows; // by index in the file: our row, its position
      for (uint32_t t = 0; t < uint32_t(counts[0]); ++t)
        for (uint32_t position = 0; position < n; ++position) {
          int32_t index;
          std::memcpy(&index, entries.data() + (size_t(t) * n + position) * sizeof index, sizeof index);
          if (index == zeros && s.policy.holes == Holes::Zero && !s.tables.needed(p, t, executed[position])) {
            if (position < keep)
              s.tables.adopt(p, t, position, pools[p]->zeroRow());
            continue;
          }
          auto known = rows.find(index);
          if (known != rows.end() && known->second.second != position)
            item.fail("rows of position " + std::to_string(position),
                      "one of position " + std::to_string(known->second.second));
          if (index >= counts[1] || index < (s.tables.needed(p, t, executed[position]) ? 0 : -1))
            item.fail("rows 0 .. " + std::to_string(counts[1] - 1), std::to_string(index));
          if (index < 0 || position >= keep)
            continue;
          int32_t row = s.tables.adopt(p, t, position, known == rows.end() ? -1 : known->second.first);
          if (known == rows.end()) {
            rows.emplace(index, std::pair(row, position));
            pools[p]->writeRow(row, payload.data() + uint64_t(index) * rowBytes);
          }
        }
    }
    if (in.at != bytes.size())
      throw Error("", place, std::to_string(in.at) + " bytes and a checksum", std::to_string(bytes.size()));
  } catch (...) {
    s.tables.truncate(0);
    throw;
  }
  s.computed = keep;
  s.settled = std::min(settled, keep);
  if (!own) {
    s.tokens = std::move(tokens);
    s.depths = std::move(depths);
    s.executed = std::move(executed);
    s.feeds = std::move(feeds);
  }
  settleFeeds(s);
}

std::vector<uint8_t> Engine::exportRows(SequenceId id) const {
  const Sequence &s = impl->find(id);
  if (s.final() < s.known())
    throw Error("", "request " + std::to_string(id), "rows of " + std::to_string(s.known()) + " positions",
                std::to_string(s.final()) + ": the others were freed");
  if (!s.options.warm.empty() || s.policy.holes == Holes::LastIfHole)
    throw Error("", "request " + std::to_string(id), "a state that its rows hold",
                s.options.warm.empty() ? "holes last_if_hole" : "warm starts");
  return impl->pack(s);
}

void Engine::importRows(SequenceId id, std::span<const uint8_t> bytes) {
  Sequence &s = impl->find(id);
  if (!s.tokens.empty())
    throw Error("", "request " + std::to_string(id), "a sequence without tokens", std::to_string(s.tokens.size()));
  impl->unpack(s, bytes, false);
}

} // namespace loopc::rt
