// Pages of K/V rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/KvPool.h"
#include <algorithm>
#include <cstring>
#include <sys/mman.h>

namespace loopc::rt {

namespace {
constexpr uint64_t hugePage = uint64_t(1) << 21;
uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }
} // namespace

KvPool::KvPool(const PoolInfo &info, KvBudget &budget, Poison poison)
    : layout(info), pageBytes(info.pageBytes), budget(budget), poison(poison) {
  // Row ids are i32, so that many pages at most.
  maxPages = std::min<uint64_t>(budget.limitBytes() / pageBytes, uint64_t(INT32_MAX) / LOOPC_PAGE_ROWS);
  if (maxPages == 0)
    throw Error("", "K/V memory of stage " + std::string(stageName(info.stage)),
                "room for a page of " + std::to_string(pageBytes) + " bytes",
                "a budget of " + std::to_string(budget.limitBytes()) + " bytes");
  reserved = roundUp(maxPages * pageBytes, hugePage) + hugePage;
  void *at = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw Error("", "K/V memory of stage " + std::string(stageName(info.stage)),
                "address space for " + std::to_string(reserved) + " bytes", "a refusal by the system");
  base = static_cast<uint8_t *>(at);
  madvise(at, reserved, MADV_DONTDUMP);
  if (pageBytes >= hugePage / 8)
    madvise(at, reserved, MADV_HUGEPAGE);
}

KvPool::~KvPool() {
  for (Page &p : pages)
    if (p.resident)
      budget.used -= pageBytes;
  munmap(base, reserved);
}

int32_t KvPool::takePage() {
  int32_t page;
  if (!freePages.empty()) {
    page = freePages.back();
    freePages.pop_back();
  } else if (pages.size() < maxPages) {
    page = int32_t(pages.size());
    pages.emplace_back();
    rows.resize(rows.size() + LOOPC_PAGE_ROWS, 0);
  } else {
    page = -1;
  }
  bool fits = page >= 0 && (pages[size_t(page)].resident || budget.used + pageBytes <= budget.limit);
  if (!fits) {
    if (page >= 0)
      freePages.push_back(page);
    throw Error("", "K/V memory of stage " + std::string(stageName(layout.stage)),
                "at most " + std::to_string(budget.limit) + " bytes",
                "a need for " + std::to_string(budget.used + pageBytes) +
                    " bytes: close or shorten sequences, or give more K/V memory");
  }
  Page &p = pages[size_t(page)];
  uint8_t *at = base + uint64_t(page) * pageBytes;
  if (poison == Poison::On)
    std::memset(at, 0xff, pageBytes);
  else if (p.resident)
    std::memset(at, 0, pageBytes); // fresh memory of the system is zero already
  if (!p.resident) {
    p.resident = true;
    budget.used += pageBytes;
  }
  p.holds = 1;
  peak = std::max(peak, ++inUse);
  return page;
}

int32_t KvPool::zeroRow() {
  if (zeroPage < 0) {
    zeroPage = takePage();
    std::memset(base + uint64_t(zeroPage) * pageBytes, 0, pageBytes);
  }
  return zeroPage * int32_t(LOOPC_PAGE_ROWS);
}

void KvPool::holdPage(int32_t page) { ++pages[size_t(page)].holds; }

void KvPool::dropPage(int32_t page) {
  Page &p = pages[size_t(page)];
  if (p.holds == 0)
    throw Error("", "K/V page " + std::to_string(page), "a hold to drop", "none");
  if (--p.holds == 0 && p.live == 0)
    release(page);
}

void KvPool::addRow(int32_t row) {
  uint16_t &count = rows[size_t(row)];
  if (count == UINT16_MAX)
    throw Error("", "K/V row " + std::to_string(row), "at most 65535 references", "one more: too many forks");
  if (count++ == 0)
    ++pages[size_t(row) / LOOPC_PAGE_ROWS].live;
}

void KvPool::dropRow(int32_t row) {
  uint16_t &count = rows[size_t(row)];
  if (count == 0)
    throw Error("", "K/V row " + std::to_string(row), "a reference to drop", "none");
  if (--count > 0)
    return;
  int32_t page = row / int32_t(LOOPC_PAGE_ROWS);
  Page &p = pages[size_t(page)];
  --p.live;
  if (p.holds == 0 && p.live == 0)
    release(page);
  else
    fillRow(row); // the page lives on: keys behind the end of a block are multiplied by +0
}

void KvPool::release(int32_t page) {
  if (poison == Poison::On)
    std::memset(base + uint64_t(page) * pageBytes, 0xff, pageBytes);
  freePages.push_back(page);
  --inUse;
}

template <typename F> void KvPool::pieces(int32_t row, F f) const {
  uint8_t *page = base + uint64_t(row / int32_t(LOOPC_PAGE_ROWS)) * pageBytes;
  uint64_t element = uint64_t(blockBytes(layout.dtype)), r = uint64_t(row) % LOOPC_PAGE_ROWS;
  for (const SiteInfo &site : layout.sites) {
    uint64_t bytes = uint64_t(site.dim) * element;
    for (int64_t block = 0; block < site.layersOfRow() * 2 * site.heads; ++block)
      f(page + site.offset * element + (uint64_t(block) * LOOPC_PAGE_ROWS + r) * bytes, size_t(site.dim));
  }
}

void KvPool::fillRow(int32_t row) {
  pieces(row, [&](uint8_t *at, size_t n) {
    std::memset(at, poison == Poison::On ? 0xff : 0, n * size_t(blockBytes(layout.dtype)));
  });
}

void KvPool::mean(const std::vector<int32_t> &rows, int32_t into) {
  const size_t bytes = size_t(blockBytes(layout.dtype));
  const bool bf16 = layout.dtype == DType::BF16;
  std::vector<float> sum;
  for (int32_t row : rows) {
    size_t at = 0;
    pieces(row, [&](const uint8_t *from, size_t n) {
      sum.resize(std::max(sum.size(), at + n), 0.0f);
      for (size_t i = 0; i < n; ++i, ++at) {
        uint16_t half;
        float value;
        std::memcpy(bytes == 2 ? static_cast<void *>(&half) : &value, from + i * bytes, bytes);
        sum[at] += bytes == 4 ? value : bf16 ? bf16ToF32(half) : f16ToF32(half);
      }
    });
  }
  size_t at = 0;
  pieces(into, [&](uint8_t *to, size_t n) {
    for (size_t i = 0; i < n; ++i, ++at) {
      const float value = sum[at] / float(rows.size());
      const uint16_t half = bf16 ? f32ToBF16(value) : f32ToF16(value);
      std::memcpy(to + i * bytes, bytes == 2 ? static_cast<const void *>(&half) : &value, bytes);
    }
  });
}

void KvPool::copyLayer(int32_t row, int64_t layer, const KvPool &from, int32_t source, int64_t sourceLayer) {
  const SiteInfo &to = layout.sites.front(), &other = from.layout.sites.front();
  auto shape = [](const KvPool &pool) {
    return std::to_string(pool.layout.sites.size()) + " site of " + std::to_string(pool.layout.sites.front().heads) +
           " heads of " + std::to_string(pool.layout.sites.front().dim) + " in " + std::string(dtypeName(pool.layout.dtype));
  };
  if (shape(*this) != shape(from) || layout.sites.size() != 1)
    throw Error("", "rows of stage " + std::string(stageName(from.layout.stage)) + " in the place of those of stage " +
                        std::string(stageName(layout.stage)),
                shape(*this), shape(from));
  uint64_t bytes = uint64_t(to.dim) * uint64_t(blockBytes(layout.dtype));
  auto at = [&](const KvPool &pool, const SiteInfo &site, int32_t r, int64_t l, int64_t block) {
    return pool.base + uint64_t(r / int32_t(LOOPC_PAGE_ROWS)) * pool.pageBytes +
           site.offset * uint64_t(blockBytes(layout.dtype)) +
           (uint64_t(l * 2 * site.heads + block) * LOOPC_PAGE_ROWS + uint64_t(r) % LOOPC_PAGE_ROWS) * bytes;
  };
  for (int64_t block = 0; block < 2 * to.heads; ++block)
    std::memcpy(at(*this, to, row, layer, block), at(from, other, source, sourceLayer, block), bytes);
}

uint64_t KvPool::rowBytes() const {
  uint64_t elements = 0;
  for (const SiteInfo &site : layout.sites)
    elements += uint64_t(site.layersOfRow() * 2 * site.heads * site.dim);
  return elements * uint64_t(blockBytes(layout.dtype));
}

void KvPool::readRow(int32_t row, uint8_t *to) const {
  pieces(row, [&](const uint8_t *at, size_t n) {
    std::memcpy(to, at, n * size_t(blockBytes(layout.dtype)));
    to += n * size_t(blockBytes(layout.dtype));
  });
}

void KvPool::writeRow(int32_t row, const uint8_t *from) {
  pieces(row, [&](uint8_t *at, size_t n) {
    std::memcpy(at, from, n * size_t(blockBytes(layout.dtype)));
    from += n * size_t(blockBytes(layout.dtype));
  });
}

uint64_t KvPool::rowsInUse() const {
  return uint64_t(std::count_if(rows.begin(), rows.end(), [](uint16_t n) { return n > 0; }));
}

uint64_t KvPool::trim() {
  uint64_t bytes = 0;
  for (int32_t page : freePages) {
    Page &p = pages[size_t(page)];
    if (!p.resident)
      continue;
    // Only whole system pages can go back; the rest of a page is cleared so that fresh means zero.
    uint8_t *begin = base + uint64_t(page) * pageBytes, *end = begin + pageBytes;
    std::memset(begin, 0, pageBytes);
    auto *first = reinterpret_cast<uint8_t *>(roundUp(reinterpret_cast<uintptr_t>(begin), 4096));
    auto *last = reinterpret_cast<uint8_t *>(reinterpret_cast<uintptr_t>(end) / 4096 * 4096);
    if (first < last)
      madvise(first, size_t(last - first), MADV_DONTNEED);
    p.resident = false;
    budget.used -= pageBytes;
    bytes += pageBytes;
  }
  return bytes;
}

} // namespace loopc::rt
