// Which K/V rows a sequence has: row id of (pool, plane, position).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/KvPool.h"
#include "loopc/runtime/Policy.h"
#include <memory>
#include <span>
#include <vector>

namespace loopc::rt {

/// The pools of an engine, in the order of ModelInfo::pools.
using KvPools = std::vector<std::unique_ptr<KvPool>>;

/// Tables of one sequence. Every entry counts as one reference of its row, aliases too. Rows are written only by the
/// sequence that made them, before the position is final; a fork shares entries, so nothing is ever copied.
class RowTables {
public:
  /// `policy` must outlive the tables.
  RowTables(const ModelInfo &info, KvPools &pools, const Policy &policy);
  ~RowTables() { truncate(0); }
  RowTables(const RowTables &) = delete;
  RowTables &operator=(const RowTables &) = delete;

  /// Room for positions below `positions`.
  void reserve(uint32_t positions);
  uint32_t stride() const { return room; }
  /// Row table of a pool as generated code wants it; nullptr if there is no such pool.
  const int32_t *table(size_t pool) const { return pools.size() > pool ? planes[pool].data() : nullptr; }

  /// Gives (pool of stage, position) a row to write in iteration `d` (0 for prelude and coda), unless it has one.
  void open(Stage stage, int32_t d, uint32_t position);
  /// The row, -1 if there is none.
  int32_t row(Stage stage, uint32_t plane, uint32_t position) const;
  /// True if only this position of this sequence refers to the row that iteration `d` writes.
  bool exclusive(Stage stage, int32_t d, uint32_t position) const;

  /// The token left after `done` iterations: planes that it never wrote name the row that stands for them
  /// (Policy::source), and all planes do so unless the token is in flight until the end of its pass.
  void leave(uint32_t position, int32_t done);
  /// The tokens of a pass have all left: position `first + i` after done[i] iterations. Rows that only they read go.
  void settle(uint32_t first, std::span<const int32_t> done);

  /// The coda of a position has run: its rows take the place of the loop's where the policy says so.
  void overwrite(uint32_t position);

  /// Prepares the coda rows of a readout after iteration `d` (0-based): a row of its own for each position of `lanes`;
  /// positions below `first` (final ones) that have none stand for their final coda row.
  void openReadout(int32_t d, uint32_t first, std::span<const uint32_t> lanes);
  /// The table of these rows, [stride].
  const int32_t *readoutTable(int32_t d) const { return readout.empty() ? nullptr : readout[size_t(d)].data(); }
  /// Readouts after iterations >= done see the row of iteration done - 1 of a token that left.
  void leaveReadout(uint32_t position, int32_t done);

  /// Tables of a pool: its planes, then those of readouts if there are any.
  uint32_t tableCount(size_t pool) const;
  uint32_t readoutCount(size_t pool) const { return int(pool) == codaPool ? uint32_t(readout.size()) : 0; }
  /// True if a position that has left after `done` iterations has an entry in that table.
  bool needed(size_t pool, uint32_t table, int32_t done) const;
  int32_t entry(size_t pool, uint32_t table, uint32_t position) const;
  /// Sets an empty entry to a row of its own (`row` < 0) or to a row of the same position; returns the row.
  int32_t adopt(size_t pool, uint32_t table, uint32_t position, int32_t row);
  /// Makes tables for the readouts of each iteration.
  void addReadouts();

  /// Drops positions >= `position`.
  void truncate(uint32_t position);
  /// Shares positions < `position` of another sequence of the same model and loop count.
  void share(const RowTables &other, uint32_t position, bool faultShareOpen);

  /// Adds the references of all entries to count[pool][row] and of page holds to holds[pool][page].
  void count(std::vector<std::vector<uint32_t>> &rows, std::vector<std::vector<uint32_t>> &holds) const;

private:
  struct Plane {
    std::vector<int32_t> pages; ///< open page of each block of LOOPC_PAGE_ROWS positions, -1: none
  };
  uint32_t planeCount(size_t pool) const;
  int32_t takeRow(size_t pool, Plane &plane, uint32_t position);
  int32_t takePage(size_t pool);
  void set(size_t pool, int32_t &entry, int32_t row);
  int32_t &core(int32_t step, uint32_t position);
  void collapse(uint32_t position, int32_t done, int32_t firstStep);

  const ModelInfo &info;
  KvPools &pools;
  const Policy &policy;
  int corePool, codaPool;
  bool faultShare = false;
  uint32_t room = 0;
  int32_t shallowest = 0; ///< Holes::LastIfHole: iterations from here on are last ones
  std::vector<int32_t> firstStep;           ///< [plane with rows of its own] first step that writes it
  std::vector<std::vector<int32_t>> planes; ///< [pool][plane * room + position]
  std::vector<std::vector<Plane>> openPages; ///< [pool][plane with rows of its own]
  std::vector<std::vector<int32_t>> readout; ///< [iteration][position]: coda rows of readouts
  std::vector<Plane> readoutOpen;            ///< [iteration]
};

} // namespace loopc::rt
