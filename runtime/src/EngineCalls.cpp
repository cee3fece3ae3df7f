// Building stage calls and moving values in and out of the state bank.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "EngineImpl.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <tuple>

namespace loopc::rt {

namespace {

/// (x - mean) / (std + 1e-8) in double, std with n - 1.
void standardise(std::span<float> x) {
  double mean = 0, square = 0;
  for (float v : x)
    mean += double(v) / double(x.size());
  for (float v : x)
    square += (double(v) - mean) * (double(v) - mean);
  double std = x.size() > 1 ? std::sqrt(square / double(x.size() - 1)) : 0;
  for (float &v : x)
    v = float((double(v) - mean) / (std + 1e-8));
}

} // namespace

void Engine::Impl::laws(Stage stage, std::span<const Member> lanes, int32_t rounds) {
  arrays.lawLanes.clear();
  arrays.lawSequences.clear();
  std::vector<size_t> begins;
  for (size_t i = 0; i < lanes.size();) {
    Sequence &s = *lanes[i].sequence;
    size_t end = i;
    while (end < lanes.size() && lanes[end].sequence == &s)
      ++end;
    begins.push_back(arrays.lawLanes.size());
    for (Lane &l : s.lanes) {
      LawLane law;
      law.position = l.position;
      law.slot = l.slot;
      law.chunk = l.chunk;
      law.done = l.done;
      law.prelude = l.prelude;
      law.exited = l.exited;
      law.codaFinal = l.codaFinal;
      while (i < end && lanes[i].lane->position < l.position)
        ++i;
      law.inCall = i < end && lanes[i].lane == &l;
      if (law.inCall && stage != Stage::Head)
        for (int32_t d = l.done; d < l.done + rounds; ++d)
          law.exclusive &= (options.faults & FaultForkShares) || s.tables.exclusive(stage, d, l.position);
      arrays.lawLanes.push_back(law);
    }
    i = end;
    arrays.lawSequences.push_back({s.id, &s.policy, s.order, s.pending(), {}});
  }
  begins.push_back(arrays.lawLanes.size());
  for (size_t i = 0; i < arrays.lawSequences.size(); ++i)
    arrays.lawSequences[i].lanes = std::span(arrays.lawLanes).subspan(begins[i], begins[i + 1] - begins[i]);
  LawCall c;
  c.stage = stage;
  c.rounds = rounds;
  c.capacity = c.slots = options.capacity;
  checkLaws(info, c, arrays.lawSequences);
}

void Engine::Impl::call(Stage stage, std::span<const Member> lanes, int32_t rounds, uint32_t flags) {
  Arrays &a = arrays;
  size_t n = lanes.size();
  for (std::vector<int32_t> *v : {&a.token, &a.position, &a.sequence, &a.slot, &a.limit, &a.iteration})
    v->resize(n);
  a.exited.resize(n);
  a.records.clear();
  for (size_t i = 0; i < n; ++i) {
    const Member &m = lanes[i];
    if (i == 0 || lanes[i - 1].sequence != m.sequence || lanes[i - 1].readout != m.readout) {
      loopc_sequence record = {};
      for (size_t p = 0; p < pools.size(); ++p)
        record.rows[p] = m.sequence->tables.table(p);
      if (m.readout >= 0 && info.poolOf(Stage::Coda) >= 0)
        record.rows[info.poolOf(Stage::Coda)] = m.sequence->tables.readoutTable(m.readout);
      record.stride = m.sequence->tables.stride();
      record.prefix = m.sequence->seenByAll(info);
      record.knobs = m.sequence->knobs.data();
      a.records.push_back(record);
    }
    a.token[i] = m.lane->token;
    a.position[i] = int32_t(m.lane->position);
    a.sequence[i] = int32_t(a.records.size()) - 1;
    a.slot[i] = int32_t(m.slot);
    a.limit[i] = m.sequence->policy.loops;
    a.iteration[i] = m.lane->done;
    a.exited[i] = m.lane->fired;
  }
  loopc_call c = {};
  c.size = sizeof(loopc_call);
  c.abi = LOOPC_ABI_VERSION;
  c.lanes = uint32_t(n);
  c.rounds = uint32_t(rounds);
  c.token = a.token.data();
  c.position = a.position.data();
  c.sequence = a.sequence.data();
  c.slot = a.slot.data();
  c.limit = a.limit.data();
  c.iteration = a.iteration.data();
  c.exited = a.exited.data();
  c.records = a.records.data();
  if (stage == Stage::Head) {
    c.out = logits;
    c.out_stride = logitsStride;
  }
  c.flags = flags;
  auto begin = std::chrono::steady_clock::now();
  executor.run(stage, c);
  stats.seconds[size_t(stage)] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ++stats.calls[size_t(stage)];
  stats.laneCalls[size_t(stage)] += n;
  for (size_t p = 0; p < pools.size(); ++p)
    stats.peakPages[p] = pools[p]->pagesPeak();
}

void Engine::Impl::head(std::span<const Member> lanes, const std::function<float *(const Member &)> &to) {
  if (lanes.empty())
    return;
  call(Stage::Head, lanes, 1, 0);
  for (size_t i = 0; i < lanes.size(); ++i)
    std::memcpy(to(lanes[i]), reinterpret_cast<const uint8_t *>(logits) + i * logitsStride,
                size_t(info.vocab) * sizeof(float));
}

void Engine::Impl::iterationReadouts(std::span<const Member> lanes) {
  // Lanes of one sequence and one iteration share a table of coda rows; canonical order inside each.
  std::vector<Member> copies;
  for (const Member &m : lanes)
    if (m.sequence->everyIteration(*m.lane)) {
      copies.push_back({m.sequence, m.lane, m.slot + options.capacity, m.lane->done - 1});
      std::memcpy(slot(m.slot + options.capacity), slot(m.slot), info.bankRowBytes);
    }
  if (copies.empty())
    return;
  std::sort(copies.begin(), copies.end(), [](const Member &a, const Member &b) {
    return std::tuple(a.sequence->id, a.readout, a.lane->position) <
           std::tuple(b.sequence->id, b.readout, b.lane->position);
  });
  if (info.stage(Stage::Coda))
    call(Stage::Coda, copies, 1, 0);
  std::erase_if(copies, [](const Member &m) {
    return m.sequence->job->result.iterationLogits.empty() || m.sequence->job->rowOf(m.lane->position) < 0;
  });
  head(copies, [](const Member &m) {
    FeedResult &r = m.sequence->job->result;
    size_t row = size_t(m.sequence->job->rowOf(m.lane->position)) * r.loops + size_t(m.readout);
    return r.iterationLogits.data() + row * r.vocab;
  });
}

void Engine::Impl::writeDraws(const Sequence &s, const Lane &l, bool iteration) {
  for (const DrawInfo &d : info.draws) {
    if (d.iteration != iteration)
      continue;
    const FieldInfo &f = *info.field(d.field);
    std::span<float> to(reinterpret_cast<float *>(slot(l.slot) + f.offset), size_t(f.elements()));
    auto given = s.options.draws.find(d.name);
    if (given != s.options.draws.end() && uint32_t(l.position) < given->second.first)
      given = s.options.draws.end(); // given from a later token on
    if (given == s.options.draws.end() && d.position) {
      std::fill(to.begin(), to.end(), float(l.position));
      continue;
    }
    if (given == s.options.draws.end()) {
      uint32_t place = options.faults & FaultDrawBySlot ? l.slot : d.shared ? 0 : l.position;
      keyedDraw({s.options.seed, nameHash(d.name), d.shared ? 0 : s.options.request, place, uint32_t(l.done)}, d.law, 0,
                to);
      if (d.standardise)
        standardise(to);
      continue;
    }
    size_t rounds = iteration ? size_t(s.policy.loops) : 1;
    size_t at = (size_t(l.position - given->second.first) * rounds + (iteration ? size_t(l.done) : 0)) * to.size();
    if (given->second.values.size() >= at + to.size()) // else a warm start takes its place
      std::copy_n(given->second.values.begin() + ptrdiff_t(at), to.size(), to.begin());
  }
}

/// Fields `fold.KIND` become their reduction over the lanes of the sequence.
void Engine::Impl::foldFields(std::span<const Member> lanes) {
  for (const FieldInfo &f : info.fields) {
    if (f.name.rfind("fold.", 0) != 0)
      continue;
    std::string kind = f.name.substr(5, f.name.find('.', 5) - 5);
    for (size_t begin = 0, end; begin < lanes.size(); begin = end) {
      for (end = begin; end < lanes.size() && lanes[end].sequence == lanes[begin].sequence;)
        ++end;
      for (int64_t i = 0; i < f.elements(); ++i) {
        auto at = [&](size_t lane) { return reinterpret_cast<float *>(slot(lanes[lane].slot) + f.offset) + i; };
        float value = *at(begin);
        for (size_t lane = begin + 1; lane < end; ++lane)
          value = kind == "last"  ? *at(lane)
                  : kind == "max" ? std::max(value, *at(lane))
                  : kind == "min" ? std::min(value, *at(lane))
                                  : value + *at(lane);
        if (kind == "mean")
          value /= float(end - begin);
        for (size_t lane = begin; lane < end; ++lane)
          *at(lane) = value;
      }
    }
  }
}

void Engine::Impl::startWarm(const Sequence &s, const Lane &l) {
  if (s.feedOf(l.position).first > 0)
    for (const auto &[field, kept] : s.warm) {
      const FieldInfo &to = *info.field(field);
      std::memcpy(slot(l.slot) + to.offset, kept.data() + (s.final() - 1) * to.bytes(), to.bytes());
    }
}

void Engine::Impl::keepWarm(Sequence &s, const Lane &l, uint32_t at) {
  for (const auto &[field, source] : s.options.warm) {
    const FieldInfo &from = *info.field(source);
    const uint8_t *begin = slot(at) + from.offset;
    std::vector<uint8_t> &kept = s.warm[field];
    kept.resize(std::max<size_t>(kept.size(), (l.position + 1) * from.bytes()));
    std::memcpy(kept.data() + l.position * from.bytes(), begin, from.bytes());
  }
}

void Engine::Impl::observe(const Sequence &s, const Lane &l, uint32_t at, Moment moment, Job &job) {
  int64_t row = job.rowOf(l.position);
  if (row < 0)
    return;
  for (auto &[name, out] : job.result.observed) {
    const FieldInfo &f = *info.field(name);
    size_t n = size_t(f.elements());
    float *to = moment == Moment::Prelude ? out.prelude.data() + size_t(row) * n
                : moment == Moment::Final
                    ? out.final.data() + size_t(row) * n
                    : out.iterations.data() + (size_t(row) * size_t(s.policy.loops) + size_t(l.done - 1)) * n;
    const uint8_t *from = slot(at) + f.offset;
    for (size_t i = 0; i < n; ++i)
      to[i] = elementToF32(f.dtype, from + i * size_t(blockBytes(f.dtype)));
  }
}

} // namespace loopc::rt
