// A value of the interpreter: features of every row, or one entry that all rows share.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_INTERP_VALUE_H
#define LOOPC_LIB_INTERP_VALUE_H

#include <cstdint>
#include <memory>
#include <vector>

namespace loopc::interp {

/// Lanes of a LANES call that a region works on: row r is lane index[r] of the call.
struct LaneSet {
  std::vector<int32_t> index;
};

/// Floating point elements are kept in T, whatever their type (casts round); integers, booleans and indices as int64.
/// Handles are cheap to copy; the elements behind them are never changed once a rule has returned them.
template <typename T> struct Val {
  bool uniform = true; ///< does not vary over rows: parameters, constants, indices
  int64_t rows = 1;    ///< 1 if uniform
  int64_t width = 1;   ///< elements of a row
  std::shared_ptr<std::vector<T>> real;
  std::shared_ptr<std::vector<int64_t>> whole;
  std::shared_ptr<const LaneSet> lanes;

  static Val makeReal(bool uniform, int64_t rows, int64_t width) {
    Val value = shaped(uniform, rows, width);
    value.real = std::make_shared<std::vector<T>>(size_t(value.rows * width));
    return value;
  }
  static Val makeWhole(bool uniform, int64_t rows, int64_t width) {
    Val value = shaped(uniform, rows, width);
    value.whole = std::make_shared<std::vector<int64_t>>(size_t(value.rows * width));
    return value;
  }
  static Val scalar(int64_t number) {
    Val value = makeWhole(true, 1, 1);
    (*value.whole)[0] = number;
    return value;
  }
  T *realRow(int64_t r) const { return real->data() + (uniform ? 0 : r * width); }
  int64_t *wholeRow(int64_t r) const { return whole->data() + (uniform ? 0 : r * width); }

private:
  static Val shaped(bool uniform, int64_t rows, int64_t width) {
    Val value;
    value.uniform = uniform;
    value.rows = uniform ? 1 : rows;
    value.width = width;
    return value;
  }
};

} // namespace loopc::interp

#endif
