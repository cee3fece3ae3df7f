// Pages of K/V rows: reference counts, free list, budget.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/ModelInfo.h"
#include "loopc/runtime/abi.h"
#include <cstdint>
#include <string>
#include <vector>

namespace loopc::rt {

/// Fill of rows that hold nothing: zero (masked keys of a block are multiplied by +0, so they must be finite), or, in
/// tests, a pattern that is NaN in f32 and bf16, so that any use shows.
enum class Poison : uint8_t { Off, On };

/// Bytes that several pools may use together.
class KvBudget {
public:
  explicit KvBudget(uint64_t bytes) : limit(bytes) {}
  uint64_t limitBytes() const { return limit; }
  uint64_t usedBytes() const { return used; }

private:
  friend class KvPool;
  uint64_t limit, used = 0;
};

/// Rows of one stage. A page is LOOPC_PAGE_ROWS rows; row id = page * LOOPC_PAGE_ROWS + index. The engine keeps
/// index = position mod LOOPC_PAGE_ROWS, so 16 consecutive positions of one plane of one sequence lie in one page unless
/// a fork or an early exit came between. A page is free if no row is referenced and nobody holds it.
class KvPool {
public:
  /// Reserves address space for the whole budget (it is not committed); the base never moves.
  KvPool(const PoolInfo &info, KvBudget &budget, Poison poison);
  ~KvPool();
  KvPool(const KvPool &) = delete;
  KvPool &operator=(const KvPool &) = delete;

  loopc_pool abi() const { return {base, pageBytes}; }
  const PoolInfo &info() const { return layout; }

  /// A page with one hold, its rows unreferenced and filled. Throws Error if the budget has no room.
  int32_t takePage();
  /// A row of zeros that stays; references to it are not counted.
  int32_t zeroRow();
  bool isZeroRow(int32_t row) const { return zeroPage >= 0 && row == zeroPage * int32_t(LOOPC_PAGE_ROWS); }
  void holdPage(int32_t page);
  void dropPage(int32_t page);
  /// Counts references of a row of a page. The last one to go fills the row.
  void addRow(int32_t row);
  void dropRow(int32_t row);
  /// Row `into` becomes the mean of `rows`, which it may be one of: sums in f32, in their order.
  void mean(const std::vector<int32_t> &rows, int32_t into);
  /// Layer `layer` of `row` becomes a layer of a row of another pool. Throws Error if they differ in shape.
  void copyLayer(int32_t row, int64_t layer, const KvPool &from, int32_t source, int64_t sourceLayer);
  uint32_t references(int32_t row) const { return rows[size_t(row)]; }
  uint32_t holds(int32_t page) const { return pages[size_t(page)].holds - (page == zeroPage); }

  /// The values of a row as they are kept, without gaps: site, layer, keys then values, head.
  uint64_t rowBytes() const;
  void readRow(int32_t row, uint8_t *to) const;
  void writeRow(int32_t row, const uint8_t *from);

  uint64_t pagesInUse() const { return inUse - (zeroPage >= 0); }
  uint64_t pagesPeak() const { return peak; }
  /// Rows with at least one reference.
  uint64_t rowsInUse() const;
  /// Gives the memory of free pages back to the system; returns bytes.
  uint64_t trim();

private:
  struct Page {
    uint32_t live = 0;  ///< rows with references
    uint32_t holds = 0;
    bool resident = false;
  };
  void release(int32_t page);
  void fillRow(int32_t row);
  /// Calls f(bytes, elements) for each contiguous piece of a row.
  template <typename F> void pieces(int32_t row, F f) const;

  PoolInfo layout;
  uint64_t pageBytes, maxPages, reserved;
  KvBudget &budget;
  Poison poison;
  uint8_t *base = nullptr;
  std::vector<Page> pages;
  std::vector<uint16_t> rows;
  std::vector<int32_t> freePages;
  uint64_t inUse = 0, peak = 0;
  int32_t zeroPage = -1;
};

} // namespace loopc::rt
