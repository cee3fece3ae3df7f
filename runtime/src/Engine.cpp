// The public face of the lane scheduler: sequences, jobs, results.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "EngineImpl.h"
#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace loopc::rt {

namespace {

[[noreturn]] void refuse(const std::string &place, const std::string &expected, const std::string &found) {
  throw Error("", place, expected, found);
}

void *reserve(uint64_t bytes, const char *what) {
  void *at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    refuse(what, "memory for " + std::to_string(bytes) + " bytes", "a refusal by the system");
  return at;
}

uint64_t defaultKvBytes() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? uint64_t(pages) * uint64_t(size) / 2 : uint64_t(1) << 30;
}

/// Tokens run together but leave one by one: who has left is missing where the others look at all of them.
bool leavesGroup(const ModelInfo &info) { return info.contract.group != "lane" && info.contract.couple == "lane"; }

ExitMode resolveExit(const ModelInfo &info, const SequenceOptions &o) {
  if (!info.count)
    return ExitMode::Off;
  if (o.exit != ExitMode::Default)
    return o.exit;
  if (!info.exit && o.exitAfter.empty())
    return ExitMode::Off;
  if (info.exit && info.exit->mode == "leave")
    return ExitMode::Leave;
  if (info.exit && info.exit->mode == "select")
    return ExitMode::Select;
  bool leaves = !leavesGroup(info) && info.policy.holes != "refuse" && !kvMaps[size_t(info.policy.map)].needsCount;
  return leaves ? ExitMode::Leave : ExitMode::Select;
}

Order resolveOrder(const ModelInfo &info, PrefillOrder asked) {
  if (asked == PrefillOrder::Token)
    return Order::Token;
  if (asked == PrefillOrder::Chunk || info.contract.group != "lane" || info.contract.couple == "sequence")
    return Order::Chunk;
  if (asked == PrefillOrder::Causal && info.policy.order == "token" &&
      info.contract.lag == 0)
    return Order::Free;
  for (const std::string &order : {info.policy.order, info.contract.order})
    if (order != "free")
      return order == "token" ? Order::Token : order == "pass" ? Order::Pass : Order::Chunk;
  // A token that waits for the end of the one before it gains nothing from a lane of its own.
  return info.contract.lag == 0 ? Order::Free : Order::Token;
}

std::vector<float> resolveKnobs(const ModelInfo &info, const std::map<std::string, float> &given) {
  std::vector<float> knobs;
  std::string names;
  for (const KnobInfo &k : info.knobs) {
    auto it = given.find(k.name);
    double v = it == given.end() ? k.value : double(it->second);
    if (!(v >= k.min && v <= k.max))
      refuse("option " + k.name, "a value in " + std::to_string(k.min) + " .. " + std::to_string(k.max),
             std::to_string(v));
    knobs.push_back(float(v));
    names += (names.empty() ? "" : ", ") + k.name;
  }
  for (const auto &[name, value] : given)
    if (std::none_of(info.knobs.begin(), info.knobs.end(), [&](const KnobInfo &k) { return k.name == name; }))
      refuse("option " + name, names.empty() ? "no options" : "one of " + names, rt::quoted(name));
  return knobs;
}

/// Elements of one position of a draw that is given as `draw`.
size_t checkDraw(const ModelInfo &info, const std::string &name, const GivenDraw &draw, int32_t loops) {
  for (const DrawInfo &d : info.draws)
    if (d.name == name) {
      size_t elements = size_t(info.field(d.field)->elements()) * (d.iteration ? size_t(std::max(loops, 1)) : 1);
      if (draw.values.size() % elements != 0)
        refuse("draw " + name, "a multiple of " + std::to_string(elements) + " values",
               std::to_string(draw.values.size()));
      return elements;
    }
  refuse("draw " + name, "a draw of the model", rt::quoted(name));
}

/// Options of one feed become those of its positions.
void giveFeed(const ModelInfo &info, Sequence &s, const FeedOptions &o, uint64_t end) {
  if (o.loops != 0) {
    if (o.loops < 0 || o.loops > s.policy.loops || s.exit != ExitMode::Leave)
      refuse("request " + std::to_string(s.id),
             "at most " + std::to_string(s.policy.loops) + " iterations, with exits that leave",
             std::to_string(o.loops) + (s.exit == ExitMode::Leave ? "" : " without"));
    s.options.exitAfter.resize(end, 0);
    std::fill(s.options.exitAfter.begin() + ptrdiff_t(s.tokens.size()), s.options.exitAfter.end(), o.loops);
  }
  for (const auto &[name, draw] : o.draws) {
    size_t elements = checkDraw(info, name, draw, s.policy.loops);
    GivenDraw &kept = s.options.draws.try_emplace(name, GivenDraw{uint32_t(s.tokens.size()), {}}).first->second;
    kept.values.resize((s.tokens.size() - kept.first) * elements);
    kept.values.insert(kept.values.end(), draw.values.begin(), draw.values.end());
  }
}

} // namespace

Engine::Impl::Impl(Executor &executor, const EngineOptions &o)
    : executor(executor), info(executor.info()), options(o), budget(o.kvBytes ? o.kvBytes : defaultKvBytes()),
      randomState(o.shuffleSeed) {
  if (o.capacity < 1 || o.capacity > 65536)
    refuse("capacity", "1 .. 65536 lanes", std::to_string(o.capacity));
  for (const PoolInfo &p : info.pools)
    pools.push_back(std::make_unique<KvPool>(p, budget, o.poison));
  bankBytes = std::max<uint64_t>(info.bankRowBytes * 3 * o.capacity, 64);
  bank = static_cast<uint8_t *>(reserve(bankBytes, "state bank"));
  logitsStride = (uint64_t(info.vocab) * sizeof(float) + 63) / 64 * 64;
  logitsBytes = logitsStride * o.capacity;
  logits = static_cast<float *>(reserve(logitsBytes, "logits"));
  for (uint32_t s = o.capacity; s-- > 0;)
    freeSlots.push_back(s);
  EngineMemory memory;
  memory.bank = bank;
  memory.bankRowBytes = info.bankRowBytes;
  memory.capacity = o.capacity;
  for (size_t p = 0; p < pools.size(); ++p)
    memory.pools[p] = pools[p]->abi();
  executor.bind(memory);
}

Engine::Impl::~Impl() {
  sequences.clear();
  munmap(bank, bankBytes);
  munmap(logits, logitsBytes);
}

Sequence &Engine::Impl::find(SequenceId id) {
  auto it = sequences.find(id);
  if (it == sequences.end())
    refuse("sequence " + std::to_string(id), "an open sequence", "none of that number");
  return *it->second;
}

uint64_t Engine::Impl::random() { return mixKeys(randomState++, 0x6c6f6f70); }

uint32_t Engine::Impl::lanesLive() const {
  uint32_t n = 0;
  for (const auto &[id, s] : sequences)
    n += uint32_t(s->lanes.size());
  return n;
}

Engine::Engine(Executor &executor, const EngineOptions &options) : impl(std::make_unique<Impl>(executor, options)) {}
Engine::~Engine() = default;
const ModelInfo &Engine::info() const { return impl->info; }
uint32_t Engine::capacity() const { return impl->options.capacity; }
const EngineStats &Engine::stats() const { return impl->stats; }
const KvPool &Engine::pool(size_t index) const { return *impl->pools.at(index); }
uint32_t Engine::slotsInUse() const { return impl->options.capacity - uint32_t(impl->freeSlots.size()); }

SequenceId Engine::open(const SequenceOptions &o) {
  const ModelInfo &info = impl->info;
  int32_t loops = 0;
  if (info.count) {
    loops = o.loops < 0 ? info.count->value : o.loops;
    if (loops < info.count->min || loops > info.count->max)
      refuse("option " + info.count->name,
             std::to_string(info.count->min) + " .. " + std::to_string(info.count->max), std::to_string(loops));
  } else if (o.loops >= 0) {
    refuse("option loops", "a model with a loop count", "one without a loop");
  }
  for (int32_t e : o.exitAfter)
    if (e < 0)
      refuse("given exits", "iterations of at least 0", std::to_string(e));
  ExitMode exit = resolveExit(info, o);
  bool leaving = exit == ExitMode::Leave && (info.exit || !o.exitAfter.empty());
  if (leaving && leavesGroup(info))
    refuse("exit mode", "select, since tokens of a sequence run together and each has an exit of its own", "leave");
  Order order = resolveOrder(info, o.order);
  auto s = std::make_unique<Sequence>(impl->nextId, info, impl->pools,
                                      Policy::make(info.policy, loops, leaving, order == Order::Pass));
  if (impl->options.faults & FaultNeedShared)
    for (int32_t d = 0; d < loops; ++d)
      s->policy.need[size_t(d)] = d + 1;
  s->options = o;
  s->exit = exit;
  s->order = order;
  s->minLoops = std::max(1, o.minLoops > 0 ? o.minLoops : info.exit ? info.exit->min : 1);
  s->checkEvery = std::max(1, o.checkEvery > 0 ? o.checkEvery : info.exit ? info.exit->every : 1);
  s->knobs = resolveKnobs(info, o.knobs);
  for (const auto &[name, draw] : o.draws)
    checkDraw(info, name, draw, loops);
  for (const auto &[to, from] : o.warm) {
    const FieldInfo *state = info.field(to), *source = info.field(from);
    if (!state || !source || state->bytes() != source->bytes())
      refuse("warm start of " + to, "two fields of the state bank of one size", rt::quoted(to) + " and " + rt::quoted(from));
    if (s->order == Order::Free)
      s->order = Order::Token;
  }
  SequenceId id = impl->nextId++;
  impl->sequences.emplace(id, std::move(s));
  return id;
}

void Engine::close(SequenceId id) {
  impl->abandon(impl->find(id));
  impl->sequences.erase(id);
}

void Engine::enqueue(SequenceId id, std::span<const int32_t> tokens, const FeedOptions &o) {
  Sequence &s = impl->find(id);
  const ModelInfo &info = impl->info;
  std::string place = "request " + std::to_string(id);
  if (s.job)
    refuse(place, "the last tokens to be taken first", "another feed");
  if (tokens.empty())
    refuse(place, "at least one token", "none");
  for (int32_t t : tokens)
    if (t < 0 || uint32_t(t) >= info.vocab)
      refuse(place, "tokens in 0 .. " + std::to_string(info.vocab - 1), std::to_string(t));
  uint64_t end = s.tokens.size() + tokens.size();
  if (info.context && end > info.context)
    refuse(place, "at most " + std::to_string(info.context) + " positions", std::to_string(end));
  if (end > uint64_t(INT32_MAX))
    refuse(place, "at most 2147483647 positions", std::to_string(end));
  bool together = info.contract.group != "lane"; // what is given is taken in by one call
  if (info.contract.group == "prompt" && s.tokens.empty() && tokens.size() < s.options.prefix)
    refuse(place, "the whole prompt of " + std::to_string(s.options.prefix) + " tokens in one call", std::to_string(tokens.size()));
  giveFeed(info, s, o, end);
  for (const auto &[name, draw] : s.options.draws) {
    uint64_t have = draw.values.size() / checkDraw(info, name, draw, s.policy.loops);
    if (!s.options.warm.empty() && !s.tokens.empty())
      continue; // states start from the token before
    if (draw.first > s.tokens.size() || draw.first + have < end)
      refuse(place, "values of draw " + name + " for positions " + std::to_string(s.tokens.size()) + " .. " +
                        std::to_string(end - 1),
             "positions " + std::to_string(draw.first) + " .. " + std::to_string(int64_t(draw.first + have) - 1));
  }
  if (s.order == Order::Chunk) {
    uint64_t chunk = info.contract.group == "whole" ? end : o.chunk && !together ? std::min<uint64_t>(o.chunk, tokens.size()) : tokens.size();
    if (chunk > impl->options.capacity)
      refuse(place, "a chunk of at most " + std::to_string(impl->options.capacity) +
                        " tokens, since a chunk is one call here",
             std::to_string(chunk));
  }
  Job job;
  job.options = o;
  FeedResult &r = job.result;
  r.first = uint32_t(s.tokens.size());
  r.count = uint32_t(tokens.size());
  r.rows = o.logits == LogitsFor::Last ? 1 : r.count;
  r.vocab = info.vocab;
  r.loops = uint32_t(s.policy.loops);
  if (o.logits != LogitsFor::None) {
    if (!info.stage(Stage::Head))
      refuse(place, "a model with a readout", "one without");
    r.logits.assign(size_t(r.rows) * r.vocab, 0);
    if (o.everyIteration)
      r.iterationLogits.assign(size_t(r.rows) * r.loops * r.vocab, 0);
  }
  for (const std::string &name : o.observe) {
    const FieldInfo *f = info.field(name);
    if (!f)
      refuse(place, "a field of the state bank to observe", rt::quoted(name));
    Observation &out = r.observed[name];
    out.shape = f->shape;
    size_t n = size_t(r.rows) * size_t(f->elements());
    out.prelude.assign(n, 0);
    out.iterations.assign(n * r.loops, 0);
    out.final.assign(n, 0);
  }
  s.tables.reserve(uint32_t(end));
  if (info.contract.group == "whole" && !s.feeds.empty()) { // later tokens change what older ones compute: all run again
    impl->evict(s);
    s.feeds.clear();
  }
  s.feeds.push_back({s.feeds.empty() ? 0 : r.first, uint32_t(end), together ? 0 : o.chunk, o.everyIteration});
  s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
  s.job = std::move(job);
}

bool Engine::step() {
  bool moved = impl->step(nullptr);
  if (impl->options.check)
    checkInvariants();
  return moved;
}
bool Engine::ready(SequenceId id) const {
  Sequence &s = impl->find(id);
  return s.failure || s.finished();
}

std::optional<FeedResult> Engine::take(SequenceId id) {
  Sequence &s = impl->find(id);
  if (s.failure)
    std::rethrow_exception(std::exchange(s.failure, nullptr));
  if (!s.finished())
    return std::nullopt;
  FeedResult r = std::move(s.job->result);
  s.job.reset();
  return r;
}

FeedResult Engine::feed(SequenceId id, std::span<const int32_t> tokens, const FeedOptions &o) {
  Sequence &s = impl->find(id);
  if (s.held)
    refuse("request " + std::to_string(id), "a sequence that may run", "one that is preempted");
  enqueue(id, tokens, o);
  while (!ready(id))
    if (!impl->step(&s)) {
      impl->abandon(s);
      refuse("request " + std::to_string(id), "a step that can be taken", "none: too many lanes of other requests");
    }
  return *take(id);
}

void Engine::rollback(SequenceId id, uint32_t position) {
  Sequence &s = impl->find(id);
  if (position > s.tokens.size())
    refuse("request " + std::to_string(id), "a position of at most " + std::to_string(s.tokens.size()),
           std::to_string(position));
  if (impl->info.contract.group == "prompt" && position > 0 && position < s.seenByAll(impl->info))
    refuse("request " + std::to_string(id), "a position of 0 or from " + std::to_string(s.seenByAll(impl->info)) +
                                                 " on, since tokens of the prompt see each other",
           std::to_string(position));
  cancel(id);
  s.cut(position);
  if (!(impl->options.faults & FaultStaleRows))
    s.tables.truncate(s.final());
  impl->settleFeeds(s);
}

SequenceId Engine::fork(SequenceId id) {
  Sequence &from = impl->find(id);
  auto s = std::make_unique<Sequence>(impl->nextId, impl->info, impl->pools, from.policy);
  s->options = from.options;
  s->exit = from.exit;
  s->order = from.order;
  s->minLoops = from.minLoops;
  s->checkEvery = from.checkEvery;
  s->knobs = from.knobs;
  SequenceId copy = impl->nextId++;
  impl->sequences.emplace(copy, std::move(s));
  restore(copy, id);
  return copy;
}

std::span<const int32_t> Engine::tokens(SequenceId id) const { return impl->find(id).tokens; }
uint32_t Engine::length(SequenceId id) const { return impl->find(id).known(); }
std::span<const int32_t> Engine::depths(SequenceId id) const { return impl->find(id).depths; }
const Policy &Engine::policy(SequenceId id) const { return impl->find(id).policy; }
int32_t Engine::loops(SequenceId id) const { return impl->find(id).policy.loops; }

int32_t Engine::rowOf(SequenceId id, Stage stage, uint32_t plane, uint32_t position) const {
  return impl->find(id).tables.row(stage, plane, position);
}

KvBlock Engine::readKv(SequenceId id, Stage stage, size_t site, int64_t layer, int kv, uint32_t plane, uint32_t first,
                       uint32_t last) const {
  Sequence &s = impl->find(id);
  int pool = impl->info.poolOf(stage);
  std::string place = "K/V of stage " + std::string(stageName(stage));
  if (pool < 0 || site >= impl->info.pools[size_t(pool)].sites.size())
    refuse(place, "a site of the stage", "site " + std::to_string(site));
  const PoolInfo &p = impl->info.pools[size_t(pool)];
  const SiteInfo &at = p.sites[site];
  if (layer < 0 || layer >= at.layers || kv < 0 || kv > 1)
    refuse(place, "layers 0 .. " + std::to_string(at.layers - 1) + ", keys 0 or values 1",
           "layer " + std::to_string(layer) + ", " + std::to_string(kv));
  if (at.stepStride) { // a row holds one layer, and the plane of an iteration is that of the layer-step
    plane = plane * uint32_t(s.policy.steps) + uint32_t(at.firstStep + layer * at.stepStride);
    layer = 0;
  }
  KvBlock out;
  out.positions = int64_t(last) - int64_t(first);
  out.heads = at.heads;
  out.dim = at.dim;
  if (first > last || last > s.final())
    refuse(place, "positions below " + std::to_string(s.final()), std::to_string(first) + " .. " + std::to_string(last));
  out.values.resize(size_t(out.positions * at.heads * at.dim));
  loopc_pool memory = impl->pools[size_t(pool)]->abi();
  float *to = out.values.data();
  for (uint32_t position = first; position < last; ++position) {
    int32_t row = s.tables.row(stage, plane, position);
    if (row < 0)
      refuse(place, "a row of plane " + std::to_string(plane) + " at position " + std::to_string(position), "none");
    const uint8_t *page = memory.base + uint64_t(row) / LOOPC_PAGE_ROWS * memory.page_bytes;
    for (int64_t h = 0; h < at.heads; ++h)
      for (int64_t c = 0; c < at.dim; ++c) {
        uint64_t e = at.offset + uint64_t(((layer * 2 + kv) * at.heads + h) * int64_t(LOOPC_PAGE_ROWS) +
                                          row % int32_t(LOOPC_PAGE_ROWS)) *
                                     uint64_t(at.dim) + uint64_t(c);
        *to++ = elementToF32(p.dtype, page + e * uint64_t(blockBytes(p.dtype)));
      }
  }
  return out;
}

void Engine::checkInvariants() const {
  auto broken = [](const std::string &what, uint64_t expected, uint64_t found) {
    if (expected != found)
      refuse("invariant: " + what, std::to_string(expected), std::to_string(found));
  };
  std::vector<std::vector<uint32_t>> rows(impl->pools.size()), holds(impl->pools.size());
  for (const auto &[id, s] : impl->sequences) {
    s->tables.count(rows, holds);
    broken("positions with rows are known ones", 1, s->final() <= s->known() && s->known() <= s->tokens.size());
    broken("tokens were fed", s->tokens.size(), s->feeds.empty() ? 0 : s->feeds.back().end);
    int32_t least = INT32_MAX; // iterations of the older lane that is least far
    for (size_t i = 0; i < s->lanes.size(); ++i) {
      const Lane &l = s->lanes[i];
      broken("lanes contiguous from the first position without rows", s->final() + i, l.position);
      int32_t need = l.done == 0 ? 0 : needOf(s->policy, s->order, l.done - 1);
      bool mistaken = impl->options.faults & (FaultNeedShared | FaultParentOnly);
      if (!mistaken && least != INT32_MAX && (need == Policy::finished || least < need))
        broken("iterations of the tokens older than position " + std::to_string(l.position), uint64_t(need),
               uint64_t(least));
      if (!l.exited)
        least = std::min(least, l.done);
    }
  }
  broken("slots in use are live lanes", impl->lanesLive(), slotsInUse());
  for (size_t p = 0; p < impl->pools.size(); ++p) {
    const KvPool &pool = *impl->pools[p];
    uint64_t live = 0, used = 0;
    std::vector<bool> pages;
    auto mark = [&](size_t page) {
      if (pages.size() <= page)
        pages.resize(page + 1);
      used += !pages[page];
      pages[page] = true;
    };
    for (size_t r = 0; r < rows[p].size(); ++r) {
      broken("references of row " + std::to_string(r), rows[p][r], pool.references(int32_t(r)));
      live += rows[p][r] > 0;
      if (rows[p][r] > 0)
        mark(r / LOOPC_PAGE_ROWS);
    }
    for (size_t page = 0; page < holds[p].size(); ++page) {
      broken("holds of page " + std::to_string(page), holds[p][page], pool.holds(int32_t(page)));
      if (holds[p][page] > 0)
        mark(page);
    }
    broken("rows in use of pool " + std::to_string(p), live, pool.rowsInUse());
    broken("pages in use of pool " + std::to_string(p), used, pool.pagesInUse());
  }
}

} // namespace loopc::rt
