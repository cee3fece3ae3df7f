// K/V pages: references, holds, budget, fill.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Half.h"
#include "loopc/runtime/KvPool.h"
#include <cstring>
#include <gtest/gtest.h>

using namespace loopc::rt;

namespace {

PoolInfo layout() {
  PoolInfo p;
  p.sites.push_back({"a", 2, 1, 4, 0});
  p.pageBytes = 2 * 2 * 4 * 16 * 4;
  return p;
}
float *row(const KvPool &pool, int32_t id, int block) {
  return reinterpret_cast<float *>(pool.abi().base + uint64_t(id / 16) * pool.abi().page_bytes) + (block * 16 + id % 16) * 4;
}

TEST(KvPool, FreesAPageWhenNothingNamesIt) {
  KvBudget budget(1 << 16);
  KvPool pool(layout(), budget, Poison::Off);
  int32_t page = pool.takePage();
  pool.addRow(page * 16 + 3);
  pool.addRow(page * 16 + 3);
  EXPECT_EQ(pool.references(page * 16 + 3), 2u);
  pool.dropPage(page);
  EXPECT_EQ(pool.pagesInUse(), 1u);
  pool.dropRow(page * 16 + 3);
  EXPECT_EQ(pool.pagesInUse(), 1u);
  pool.dropRow(page * 16 + 3);
  EXPECT_EQ(pool.pagesInUse(), 0u);
  EXPECT_EQ(pool.rowsInUse(), 0u);
  EXPECT_THROW(pool.dropRow(page * 16 + 3), Error);
  EXPECT_THROW(pool.dropPage(page), Error);
  EXPECT_EQ(pool.takePage(), page); // and takes it again
}

TEST(KvPool, ClearsRowsAndPages) {
  KvBudget budget(1 << 16);
  KvPool pool(layout(), budget, Poison::Off);
  int32_t page = pool.takePage(), id = page * 16 + 5;
  pool.addRow(id);
  for (int block = 0; block < 4; ++block)
    row(pool, id, block)[0] = row(pool, id + 1, block)[3] = 7;
  pool.dropRow(id); // the page lives: only this row is cleared
  for (int block = 0; block < 4; ++block) {
    EXPECT_EQ(row(pool, id, block)[0], 0);
    EXPECT_EQ(row(pool, id + 1, block)[3], 7);
  }
  pool.dropPage(page);
  pool.takePage();
  EXPECT_EQ(row(pool, id + 1, 2)[3], 0);
}

TEST(KvPool, PoisonIsNotANumber) {
  KvBudget budget(1 << 16);
  KvPool pool(layout(), budget, Poison::On);
  int32_t page = pool.takePage();
  EXPECT_NE(row(pool, page * 16, 1)[2], row(pool, page * 16, 1)[2]);
  EXPECT_EQ(pool.abi().base, pool.abi().base);
}

TEST(KvPool, PoolsShareABudget) {
  KvBudget budget(3 * layout().pageBytes);
  KvPool a(layout(), budget, Poison::Off), b(layout(), budget, Poison::Off);
  int32_t p = a.takePage(), q = a.takePage();
  b.takePage();
  try {
    b.takePage();
    FAIL();
  } catch (const Error &e) {
    EXPECT_NE(std::string(e.what()).find("expected at most 3072 bytes, but got a need for 4096 bytes"),
              std::string::npos)
        << e.what();
  }
  row(a, q * 16, 0)[0] = 9;
  a.dropPage(q);
  EXPECT_THROW(b.takePage(), Error);
  EXPECT_EQ(a.trim(), layout().pageBytes); // free pages can go to another pool
  b.takePage();
  a.dropPage(p);
  EXPECT_EQ(a.takePage(), p);
  b.dropPage(0);
  b.trim();
  EXPECT_EQ(row(a, a.takePage() * 16, 0)[0], 0); // fresh again
  EXPECT_EQ(budget.usedBytes(), 3 * layout().pageBytes);
}

TEST(KvPool, MeanOfRowsInEachType) {
  for (DType dtype : {DType::F32, DType::BF16, DType::F16}) {
    PoolInfo info = layout();
    info.dtype = dtype;
    KvBudget budget(1 << 16);
    KvPool pool(info, budget, Poison::Off);
    int32_t first = pool.takePage() * 16, second = first + 3;
    const size_t n = 16, bytes = size_t(blockBytes(dtype)); // 2 layers of keys and values of 4
    ASSERT_EQ(pool.rowBytes(), n * bytes);
    auto write = [&](int32_t id, float base) { // small integers: exact in every type
      std::vector<uint8_t> row(n * bytes);
      for (size_t i = 0; i < n; ++i) {
        float value = base + float(i);
        uint16_t half = dtype == DType::BF16 ? f32ToBF16(value) : f32ToF16(value);
        std::memcpy(&row[i * bytes], bytes == 2 ? static_cast<void *>(&half) : &value, bytes);
      }
      pool.writeRow(id, row.data());
      return row;
    };
    std::vector<uint8_t> want = write(second, 5), found(n * bytes);
    write(first, 2);
    write(second, 8);
    pool.mean({first, second}, first);
    pool.readRow(first, found.data());
    EXPECT_EQ(found, want) << dtypeName(dtype);
  }
}

TEST(KvPool, RefusesABudgetWithoutAPage) {
  KvBudget budget(100);
  EXPECT_THROW(KvPool(layout(), budget, Poison::Off), Error);
}

} // namespace
