// Row tables of one sequence.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/RowTables.h"
#include <algorithm>

namespace loopc::rt {

RowTables::RowTables(const ModelInfo &info, KvPools &pools, const Policy &policy)
    : info(info), pools(pools), policy(policy), corePool(info.poolOf(Stage::Core)), codaPool(info.poolOf(Stage::Coda)) {
  firstStep.assign(policy.writtenPlanes(), 0);
  for (int32_t s = policy.loops * policy.steps - 1; s >= 0; --s)
    firstStep[policy.written(s)] = s;
  planes.resize(pools.size());
  openPages.resize(pools.size());
  shallowest = policy.loops;
  for (size_t p = 0; p < pools.size(); ++p)
    openPages[p].resize(int(p) == corePool ? std::max<size_t>(policy.writtenPlanes(), 1) : 1);
}

uint32_t RowTables::planeCount(size_t pool) const { return int(pool) == corePool ? policy.logicalPlanes : 1; }

void RowTables::reserve(uint32_t positions) {
  if (positions <= room)
    return;
  uint32_t grown = std::max<uint32_t>(room, 64);
  while (grown < positions)
    grown *= 2;
  for (size_t p = 0; p < pools.size(); ++p) {
    std::vector<int32_t> wide(size_t(planeCount(p)) * grown, -1);
    for (uint32_t plane = 0; plane < planeCount(p); ++plane)
      std::copy_n(planes[p].begin() + ptrdiff_t(size_t(plane) * room), room,
                  wide.begin() + ptrdiff_t(size_t(plane) * grown));
    planes[p] = std::move(wide);
  }
  for (std::vector<int32_t> &r : readout)
    r.resize(grown, -1);
  room = grown;
}

int32_t RowTables::takePage(size_t pool) {
  try {
    return pools[pool]->takePage();
  } catch (const Error &) {
    uint64_t freed = 0;
    for (auto &p : pools)
      freed += p->trim();
    if (freed == 0)
      throw;
  }
  return pools[pool]->takePage();
}

int32_t RowTables::takeRow(size_t pool, Plane &plane, uint32_t position) {
  size_t block = position / LOOPC_PAGE_ROWS;
  if (plane.pages.size() <= block)
    plane.pages.resize(block + 1, -1);
  int32_t &page = plane.pages[block];
  uint32_t index = position % LOOPC_PAGE_ROWS;
  // A row of our page may still belong to a fork that was taken before a rollback of ours.
  if (page >= 0 && pools[pool]->references(page * int32_t(LOOPC_PAGE_ROWS) + int32_t(index)) > 0 && !faultShare) {
    pools[pool]->dropPage(page);
    page = -1;
  }
  if (page < 0)
    page = takePage(pool);
  return page * int32_t(LOOPC_PAGE_ROWS) + int32_t(index);
}

void RowTables::set(size_t pool, int32_t &entry, int32_t row) {
  if (row >= 0 && !pools[pool]->isZeroRow(row))
    pools[pool]->addRow(row);
  int32_t old = entry;
  entry = row;
  if (old >= 0 && !pools[pool]->isZeroRow(old))
    pools[pool]->dropRow(old);
}

void RowTables::open(Stage stage, int32_t d, uint32_t position) {
  int pool = info.poolOf(stage);
  if (pool < 0)
    return;
  size_t p = size_t(pool);
  if (pool != corePool) {
    int32_t &entry = planes[p][position];
    if (entry < 0)
      set(p, entry, takeRow(p, openPages[p][0], position));
    return;
  }
  for (int32_t step = d * policy.steps; step < (d + 1) * policy.steps; ++step) {
    int32_t &entry = core(step, position);
    if (entry >= 0)
      continue;
    uint32_t plane = policy.written(step);
    int32_t row = core(firstStep[plane], position);
    set(p, entry, row >= 0 ? row : takeRow(p, openPages[p][plane], position));
  }
}

int32_t &RowTables::core(int32_t step, uint32_t position) {
  uint32_t plane = policy.logicalPlanes == 1 ? 0 : uint32_t(step);
  return planes[size_t(corePool)][size_t(plane) * room + position];
}

int32_t RowTables::row(Stage stage, uint32_t plane, uint32_t position) const {
  int pool = info.poolOf(stage);
  if (pool < 0 || plane >= planeCount(size_t(pool)) || position >= room)
    return -1;
  return planes[size_t(pool)][size_t(plane) * room + position];
}

bool RowTables::exclusive(Stage stage, int32_t d, uint32_t position) const {
  int pool = info.poolOf(stage);
  if (pool < 0)
    return true;
  int32_t steps = pool == corePool ? policy.steps : 1;
  for (int32_t l = 0; l < steps; ++l) {
    int32_t own = row(stage, pool == corePool ? policy.logical(d, l) : 0, position);
    if (own < 0)
      return false;
    uint32_t uses = 0;
    for (uint32_t plane = 0; plane < planeCount(size_t(pool)); ++plane)
      uses += planes[size_t(pool)][size_t(plane) * room + position] == own;
    if (pools[size_t(pool)]->references(own) != uses)
      return false;
  }
  return true;
}

void RowTables::leave(uint32_t position, int32_t done) {
  if (policy.holes == Holes::LastIfHole && corePool >= 0 && done < shallowest) {
    // Older tokens have finished: what they have in their deepest plane of a layer is their last row.
    for (uint32_t older = 0; older < position; ++older)
      for (int32_t s = done * policy.steps; s < shallowest * policy.steps; ++s)
        if (int32_t row = core((policy.loops - 1) * policy.steps + s % policy.steps, older); row >= 0)
          set(size_t(corePool), core(s, older), row);
    shallowest = done;
  }
  if (corePool >= 0 && done > 0 && policy.logicalPlanes > 1)
    collapse(position, done, policy.pass ? done * policy.steps : 0);
}

void RowTables::collapse(uint32_t position, int32_t done, int32_t first) {
  size_t p = size_t(corePool);
  int32_t all = policy.loops * policy.steps;
  if (policy.keep == Keep::Mean && first == 0)
    for (int32_t l = 0; l < policy.steps; ++l) {
      std::vector<int32_t> rows;
      for (int32_t d = 0; d < done; ++d)
        rows.push_back(core(d * policy.steps + l, position));
      int32_t &into = core(l, position);
      if (pools[p]->references(into) > 1) // a fork reads it
        set(p, into, takeRow(p, openPages[p][policy.written(l)], position));
      pools[p]->mean(rows, into);
    }
  // A call of several iterations opened rows that an early exit left unwritten: those go too.
  std::vector<int32_t> rows;
  for (int32_t s = first; s < all; ++s) {
    bool last = policy.holes == Holes::LastIfHole && s >= shallowest * policy.steps;
    int32_t source = policy.source(last ? (done - 1) * policy.steps + s % policy.steps : s, done);
    rows.push_back(source >= 0                      ? core(source, position)
                   : policy.holes == Holes::Zero ? pools[p]->zeroRow()
                                                   : -1);
  }
  for (int32_t s = first; s < all; ++s)
    if (int32_t &entry = core(s, position); entry != rows[size_t(s - first)])
      set(p, entry, rows[size_t(s - first)]);
}

void RowTables::settle(uint32_t first, std::span<const int32_t> done) {
  if (corePool < 0 || !policy.flight)
    return;
  if (policy.pass && policy.logicalPlanes > 1)
    for (size_t i = 0; i < done.size(); ++i)
      if (done[i] > 0)
        collapse(first + uint32_t(i), done[i], 0);
  // Pages stay open only for planes whose rows are kept.
  std::vector<bool> keeps(policy.writtenPlanes());
  for (int32_t s = 0; s < policy.loops * policy.steps; ++s)
    keeps[size_t(policy.source(s, policy.loops))] = true;
  size_t p = size_t(corePool);
  for (size_t plane = 0; plane < keeps.size(); ++plane)
    if (!keeps[plane])
      for (int32_t &page : openPages[p][plane].pages)
        if (page >= 0) {
          pools[p]->dropPage(page);
          page = -1;
        }
}

void RowTables::overwrite(uint32_t position) {
  if (policy.overwritten.empty() || corePool < 0 || codaPool < 0)
    return;
  KvPool &core = *pools[size_t(corePool)], &coda = *pools[size_t(codaPool)];
  const SiteInfo &to = core.info().sites.front(), &from = coda.info().sites.front();
  for (int32_t d = 0; d < policy.loops; ++d)
    for (int64_t l = 0; policy.overwritten[size_t(d)] >= 0 && l < to.layers; ++l)
      if (int64_t layer = policy.overwritten[size_t(d)] * to.layers + l; layer < from.layers)
        core.copyLayer(row(Stage::Core, policy.logical(d), position), l, coda, row(Stage::Coda, 0, position), layer);
}

void RowTables::openReadout(int32_t d, uint32_t first, std::span<const uint32_t> lanes) {
  if (codaPool < 0)
    return;
  size_t p = size_t(codaPool);
  addReadouts();
  std::vector<int32_t> &rows = readout[size_t(d)];
  for (uint32_t position = 0; position < first; ++position)
    if (rows[position] < 0)
      set(p, rows[position], planes[p][position]);
  for (uint32_t position : lanes)
    if (rows[position] < 0)
      set(p, rows[position], takeRow(p, readoutOpen[size_t(d)], position));
}

void RowTables::leaveReadout(uint32_t position, int32_t done) {
  if (codaPool < 0 || readout.empty() || done < 1)
    return;
  int32_t last = readout[size_t(done) - 1][position];
  for (int32_t d = done; d < policy.loops; ++d)
    if (last >= 0 && readout[size_t(d)][position] < 0)
      set(size_t(codaPool), readout[size_t(d)][position], last);
}

void RowTables::addReadouts() {
  if (!readout.empty())
    return;
  readout.assign(size_t(policy.loops), std::vector<int32_t>(room, -1));
  readoutOpen.resize(size_t(policy.loops));
}

uint32_t RowTables::tableCount(size_t pool) const { return planeCount(pool) + readoutCount(pool); }

bool RowTables::needed(size_t pool, uint32_t table, int32_t done) const {
  if (int(pool) != corePool)
    return table < planeCount(pool);
  return policy.loops > 0 && (policy.logicalPlanes == 1 || policy.source(int32_t(table), done) >= 0);
}

int32_t RowTables::entry(size_t pool, uint32_t table, uint32_t position) const {
  uint32_t own = planeCount(pool);
  return table < own ? planes[pool][size_t(table) * room + position] : readout[table - own][position];
}

int32_t RowTables::adopt(size_t pool, uint32_t table, uint32_t position, int32_t row) {
  uint32_t own = planeCount(pool);
  int32_t &to = table < own ? planes[pool][size_t(table) * room + position] : readout[table - own][position];
  if (row < 0) {
    bool core = int(pool) == corePool && policy.loops > 0;
    row = takeRow(pool, table < own ? openPages[pool][core ? policy.written(int32_t(table)) : 0] : readoutOpen[table - own],
                  position);
  }
  set(pool, to, row);
  return row;
}

void RowTables::truncate(uint32_t position) {
  if (position == 0)
    shallowest = policy.loops;
  size_t keep = (size_t(position) + LOOPC_PAGE_ROWS - 1) / LOOPC_PAGE_ROWS;
  auto cut = [&](size_t pool, Plane &plane) {
    for (size_t b = keep; b < plane.pages.size(); ++b)
      if (plane.pages[b] >= 0)
        pools[pool]->dropPage(plane.pages[b]);
    plane.pages.resize(std::min(plane.pages.size(), keep));
  };
  for (size_t p = 0; p < planes.size(); ++p) {
    for (Plane &plane : openPages[p])
      cut(p, plane);
    if (room > 0)
      for (uint32_t plane = 0; plane < planeCount(p); ++plane)
        for (uint32_t at = position; at < room; ++at)
          if (int32_t &entry = planes[p][size_t(plane) * room + at]; entry >= 0)
            set(p, entry, -1);
  }
  for (size_t d = 0; d < readout.size(); ++d) {
    cut(size_t(codaPool), readoutOpen[d]);
    for (uint32_t at = position; at < room; ++at)
      if (readout[d][at] >= 0)
        set(size_t(codaPool), readout[d][at], -1);
  }
}

void RowTables::share(const RowTables &other, uint32_t position, bool faultShareOpen) {
  reserve(other.room);
  shallowest = other.shallowest;
  for (size_t p = 0; p < planes.size(); ++p)
    for (uint32_t plane = 0; plane < planeCount(p); ++plane)
      for (uint32_t at = 0; at < position; ++at)
        set(p, planes[p][size_t(plane) * room + at], other.row(pools[p]->info().stage, plane, at));
  if (!other.readout.empty()) {
    readout.assign(other.readout.size(), std::vector<int32_t>(room, -1));
    readoutOpen.resize(other.readout.size());
    for (size_t d = 0; d < readout.size(); ++d)
      for (uint32_t at = 0; at < position; ++at)
        set(size_t(codaPool), readout[d][at], other.readout[d][at]);
  }
  if (faultShareOpen) {
    faultShare = true;
    openPages = other.openPages;
    for (size_t p = 0; p < openPages.size(); ++p)
      for (Plane &plane : openPages[p])
        for (int32_t page : plane.pages)
          if (page >= 0)
            pools[p]->holdPage(page);
  }
}

void RowTables::count(std::vector<std::vector<uint32_t>> &rows, std::vector<std::vector<uint32_t>> &holds) const {
  auto add = [](std::vector<uint32_t> &to, int32_t index) {
    if (index < 0)
      return;
    if (to.size() <= size_t(index))
      to.resize(size_t(index) + 1);
    ++to[size_t(index)];
  };
  for (size_t p = 0; p < planes.size(); ++p) {
    for (int32_t row : planes[p])
      if (!pools[p]->isZeroRow(row))
        add(rows[p], row);
    for (const Plane &plane : openPages[p])
      for (int32_t page : plane.pages)
        add(holds[p], page);
  }
  for (size_t d = 0; d < readout.size(); ++d) {
    for (int32_t row : readout[d])
      add(rows[size_t(codaPool)], row);
    for (int32_t page : readoutOpen[d].pages)
      add(holds[size_t(codaPool)], page);
  }
}

} // namespace loopc::rt
