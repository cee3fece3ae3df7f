// Attention of the rows of a call to each other, and its reverse: a training step has whole sequences and no cache.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Blocks of 64 queries and 64 keys, anchored at the beginning of a sequence. Forward: one head and block of queries,
// the online softmax over ascending keys (Milakov and Gimelshein, arXiv 1805.02867). Backward: one key head of a
// sequence, for each block of keys the blocks of queries that see it, ascending, and their heads; the weights are found
// again from the logarithms of the sums (Dao et al., arXiv 2205.14135). Products are those of linears: a tile of rows
// times panels.
#include "Context.h"
#include "Weights.h"
#include "loopc/runtime/abi.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

namespace {
constexpr int64_t block = 64;

class AttendRowsEmitter {
public:
  AttendRowsEmitter(PhaseContext &ctx, task::AttendRowsOp op, ScratchPlan &scratch)
      : ctx(ctx), e(ctx.e), op(op), scratch(scratch) {
    heads = op.getHeads()[0], keyHeads = op.getHeads()[1], dim = op.getHeads()[2], valueDim = op.getHeads()[3];
    shared = heads / keyHeads;
    for (Value memory : op.getIns())
      ctx.root(memory);
    for (Value memory : op.getOuts())
      ctx.root(memory);
    kernel = getGemmKernel(ctx, weightFormat("f32"), e.f32());
    widened = area(widenedBytes(weightFormat("f32"), std::max(block, std::max(dim, valueDim))));
  }

  void emit() { op.getBackward() ? backward() : forward(); }

private:
  static int64_t padded(int64_t n) { return (n + 31) / 32 * 32; }
  static constexpr int64_t wide = block * 4 + 64; ///< bytes of a row of a tile of `block` columns
  int64_t rowBytes(int64_t n) const { return padded(n) * 4 + 64; }
  Value area(int64_t bytes) { return e.at(ctx.scratch, scratch.reserve(bytes)); }

  //===-- rows ----------------------------------------------------------------------------------------------------===//

  Value memoryOf(unsigned i) { return i < op.getIns().size() ? op.getIns()[i] : op.getOuts()[i - op.getIns().size()]; }
  Type elementOf(unsigned i) { return cast<task::MemType>(memoryOf(i).getType()).getElement(); }
  /// Head `head` of operand `i` (ins, then outs) at entry `at` of the list.
  Value rowOf(unsigned i, Value at, Value head) {
    auto view = cast<task::ViewAttr>(op.getViews()[i]);
    int64_t width = task::getByteWidth(elementOf(i));
    return e.at(e.at(ctx.row(memoryOf(i), ctx.listed(at)), view.getOffset() * width),
                e.mul(head, view.getStrides()[0] * width));
  }
  /// Rows of a tile [rows][n] of operand `i` from entry `at` on, in rows of `step` bytes, filled up with zeros to 32
  /// columns.
  void gather(unsigned i, Value at, Value rows, Value head, int64_t n, Value to, int64_t step) {
    int64_t width = task::getByteWidth(elementOf(i));
    e.loop(e.c(0), rows, e.c(1), [&](Value r) {
      Value from = rowOf(i, e.add(at, r), head), out = e.at(to, e.mul(r, step));
      e.pieces(n, 2 * e.lanes(), [&](Value j, int64_t w) {
        e.store(e.loadF32(elementOf(i), w, e.at(from, e.mul(j, width))), e.at(out, e.mul(j, 4)), 4);
      });
      e.pieces(padded(n) - n, e.lanes(),
               [&](Value j, int64_t w) { e.store(e.splatF32(0.0, w), e.at(out, e.mul(e.add(j, n), 4)), 4); });
    });
  }
  /// Of a tile [rows][n] the panels [n / 32][64][32] (rows are k; zeros behind them).
  void panelsOf(Value tile, int64_t step, Value rows, int64_t n, Value to) {
    e.loop(e.c(0), e.c(block), e.c(1), [&](Value r) {
      Value is = e.cmp(arith::CmpIPredicate::slt, r, rows), from = e.at(tile, e.mul(r, step));
      e.loop(padded(n) / 32, [&](Value p) {
        Value out = e.at(to, e.mul(e.add(e.mul(p, block), r), 128));
        e.when(
            is, [&] { e.store(e.load(e.vecF32(32), e.at(from, e.mul(p, 128)), 4), out, 4); },
            [&] { e.store(e.splatF32(0.0, 32), out, 4); });
      });
    });
  }
  /// Of a tile [rows][n] the panels [2][n][32] of its transpose (columns are k; zeros where there is no row).
  void turnedPanelsOf(Value tile, int64_t step, Value rows, int64_t n, Value to) {
    e.loop(e.c(0), e.c(block), e.c(1), [&](Value r) {
      Value is = e.cmp(arith::CmpIPredicate::slt, r, rows), from = e.at(tile, e.mul(r, step));
      Value out = e.at(to, e.add(e.mul(e.div(r, 32), n * 128), e.mul(e.rem(r, 32), 4)));
      e.pieces(n, e.lanes(), [&](Value j, int64_t w) {
        Value v = e.select(is, e.load(e.vecF32(w), e.at(from, e.mul(j, 4)), 4), e.splatF32(0.0, w));
        for (int64_t u = 0; u < w; ++u)
          e.store(e.extract(v, u), e.at(out, e.mul(e.add(j, u), 128)), 4);
      });
    });
  }
  /// out[rows][n] = x[rows][k] times panels.
  void product(Value x, int64_t ldx, Value rows, Value panels, int64_t n, int64_t k, Value out, int64_t ldo) {
    LLVM::CallOp::create(e.b, e.loc, kernel,
                         ValueRange{x, e.c(ldx), rows, panels, e.c(padded(n) / 32), e.c(k), out, e.c(ldo), widened});
  }
  void zero(Value to, int64_t floats) {
    e.pieces(floats, 32, [&](Value i, int64_t n) { e.store(e.splatF32(0.0, n), e.at(to, e.mul(i, 4)), 4); });
  }

  //===-- what a row sees -----------------------------------------------------------------------------------------===//

  Value sequenceOf(Value at) { return ctx.column(offsetof(loopc_call, sequence), ctx.listed(at)); }
  /// Calls `body(first entry, length)` for each sequence of the list.
  void sequences(llvm::function_ref<void(Value, Value)> body) {
    Value last = e.sub(ctx.count, e.c(1));
    e.loop(e.c(0), ctx.count, e.c(1), ValueRange(e.c(0)), [&](Value i, ValueRange begin) -> SmallVector<Value> {
      Value ends =
          arith::OrIOp::create(e.b, e.loc, e.cmp(arith::CmpIPredicate::eq, i, last),
                               e.cmp(arith::CmpIPredicate::ne, sequenceOf(i), sequenceOf(e.min(e.add(i, 1), last))));
      Value next = e.add(i, 1);
      e.when(ends, [&] { body(begin[0], e.sub(next, begin[0])); });
      return {e.select(ends, next, begin[0])};
    });
  }
  Value prefixOf(Value entry) {
    Value record = e.at(ctx.field(ctx.call, offsetof(loopc_call, records), e.ptrType()),
                        e.mul(sequenceOf(entry), sizeof(loopc_sequence)));
    return e.widenU(ctx.field(record, offsetof(loopc_sequence, prefix), e.i32()));
  }
  /// Keys [begin, end) of the row at `position` of a sequence.
  Value endOf(Value position, Value length, Value prefix) {
    if (op.getWhole())
      return length;
    Value end = e.max(e.c(0), e.add(position, 1 - static_cast<int64_t>(op.getBefore().value_or(0))));
    return op.getAhead() ? e.max(end, e.min(prefix, length)) : end;
  }
  Value beginOf(Value position) {
    if (!op.getWindow())
      return e.c(0);
    return e.max(e.c(0), e.add(position, 1 - static_cast<int64_t>(op.getBefore().value_or(0)) -
                                             static_cast<int64_t>(*op.getWindow())));
  }
  Value numbers() {
    SmallVector<int32_t> values;
    for (int64_t i = 0; i < block; ++i)
      values.push_back(static_cast<int32_t>(i));
    return arith::ConstantOp::create(e.b, e.loc,
                                     DenseElementsAttr::get(e.vec(block, e.i32()), ArrayRef<int32_t>(values)));
  }
  Value narrow(Value v) { return e.splat(arith::TruncIOp::create(e.b, e.loc, e.i32(), v), block); }
  Value between(Value v, Value begin, Value end) {
    return arith::AndIOp::create(e.b, e.loc, e.cmp(arith::CmpIPredicate::sge, v, begin),
                                 e.cmp(arith::CmpIPredicate::slt, v, end));
  }
  /// Scores of products; `slope`: the derivative by the product, without the scale.
  Value score(Value s, Value *slope = nullptr) {
    s = e.mulF(s, e.splatF32(op.getScale().convertToDouble(), block));
    if (slope)
      *slope = e.splatF32(1.0, block);
    if (!op.getSoftcap())
      return s;
    Value cap = e.splatF32(op.getSoftcap()->convertToDouble(), block);
    Value bent = math::TanhOp::create(e.b, e.loc, e.divF(s, cap));
    if (slope)
      *slope = e.subF(*slope, e.mulF(bent, bent));
    return e.mulF(cap, bent);
  }

  //===-- forward -------------------------------------------------------------------------------------------------===//

  void forward() {
    int64_t stepQ = rowBytes(dim), stepV = rowBytes(valueDim);
    Value queries = area(block * stepQ), keys = area(block * stepQ), values = area(block * stepV);
    Value turned = area(2 * dim * 128), panels = area(padded(valueDim) * block * 4);
    Value scores = area(block * wide), part = area(block * stepV), sums = area(block * stepV), states = area(block * 8);
    Value all = numbers();
    // One item after the other, counted over all sequences: its number says whose it is.
    Value item = LLVM::AllocaOp::create(e.b, e.loc, e.ptrType(), e.i64(), e.c32(1));
    e.store(e.c(0), item);
    sequences([&](Value start, Value length) {
      Value prefix = op.getAhead() ? prefixOf(start) : Value();
      Value blocks = e.div(e.add(length, block - 1), block);
      e.loop(e.c(0), e.mul(blocks, heads), e.c(1), [&](Value unit) {
        Value number = e.load(e.i64(), item);
        e.store(e.add(number, 1), item);
        e.when(
            e.cmp(arith::CmpIPredicate::eq, Value(arith::RemUIOp::create(e.b, e.loc, number, ctx.workers)), ctx.worker),
            [&] {
              Value head = e.rem(unit, heads), keyHead = e.div(head, shared), first = e.mul(e.div(unit, heads), block);
              Value rows = e.min(e.c(block), e.sub(length, first));
              gather(0, e.add(start, first), rows, head, dim, queries, stepQ);
              e.loop(e.c(0), rows, e.c(1), [&](Value r) {
                e.store(e.cf32(-INFINITY), e.at(states, e.mul(r, 8)));
                e.store(e.cf32(0.0), e.at(states, e.add(e.mul(r, 8), 4)));
                zero(e.at(sums, e.mul(r, stepV)), padded(valueDim));
              });
              Value begin = e.mul(e.div(beginOf(first), block), block),
                    end = endOf(e.sub(e.add(first, rows), e.c(1)), length, prefix);
              e.loop(begin, end, e.c(block), [&](Value key) {
                Value some = e.min(e.c(block), e.sub(length, key));
                gather(1, e.add(start, key), some, keyHead, dim, keys, stepQ);
                gather(2, e.add(start, key), some, keyHead, valueDim, values, stepV);
                turnedPanelsOf(keys, stepQ, some, dim, turned);
                panelsOf(values, stepV, some, valueDim, panels);
                product(queries, stepQ, rows, turned, block, dim, scores, wide);
                e.loop(e.c(0), rows, e.c(1), [&](Value r) {
                  Value position = e.add(first, r), state = e.at(states, e.mul(r, 8)),
                        at = e.at(scores, e.mul(r, wide));
                  Value here = between(arith::AddIOp::create(e.b, e.loc, all, narrow(key)), narrow(beginOf(position)),
                                       narrow(endOf(position, length, prefix)));
                  Value s = e.select(here, score(e.load(e.vecF32(block), at, 4)), e.splatF32(-INFINITY, block));
                  Value before = e.load(e.f32(), state), top = e.maxF(before, e.treeMax(s));
                  Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, top, e.cf32(-INFINITY));
                  Value shift = e.select(none, e.cf32(0.0), top);
                  Value p = e.exp(e.subF(s, e.splat(shift, block))),
                        fade = e.extract(e.exp(e.splat(e.subF(before, shift), 1)), 0);
                  e.store(p, at, 4);
                  e.store(top, state);
                  Value sum = e.at(state, 4);
                  e.store(e.addF(e.mulF(e.load(e.f32(), sum), fade), e.treeAdd(p)), sum);
                  e.pieces(valueDim, 2 * e.lanes(), [&](Value j, int64_t n) {
                    Value to = e.at(e.at(sums, e.mul(r, stepV)), e.mul(j, 4));
                    e.store(e.mulF(e.load(e.vecF32(n), to, 4), e.splat(fade, n)), to, 4);
                  });
                });
                product(scores, wide, rows, panels, valueDim, block, part, stepV);
                addRows(part, sums, rows, valueDim, stepV);
              });
              e.loop(e.c(0), rows, e.c(1), [&](Value r) {
                Value state = e.at(states, e.mul(r, 8)), top = e.load(e.f32(), state),
                      sum = e.load(e.f32(), e.at(state, 4));
                Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, sum, e.cf32(0.0));
                Value scale = e.select(none, e.cf32(0.0), e.divF(e.cf32(1.0), sum)),
                      row = e.add(e.add(start, first), r);
                Value out = rowOf(3, row, head);
                e.pieces(valueDim, 2 * e.lanes(), [&](Value j, int64_t n) {
                  Value v = e.load(e.vecF32(n), e.at(e.at(sums, e.mul(r, stepV)), e.mul(j, 4)), 4);
                  e.storeF32(elementOf(3), e.mulF(v, e.splat(scale, n)),
                             e.at(out, e.mul(j, task::getByteWidth(elementOf(3)))));
                });
                Value log = e.addF(e.extract(math::LogOp::create(e.b, e.loc, e.splat(sum, 1)), 0), top);
                e.store(e.select(none, e.cf32(0.0), log), rowOf(4, row, head));
              });
            });
      });
    });
  }

  /// to[rows][n] += from[rows][n]
  void addRows(Value from, Value to, Value rows, int64_t n, int64_t step) {
    e.loop(e.c(0), rows, e.c(1), [&](Value r) {
      e.pieces(n, 2 * e.lanes(), [&](Value j, int64_t w) {
        Value at = e.add(e.mul(r, step), e.mul(j, 4)), sum = e.at(to, at);
        e.store(e.addF(e.load(e.vecF32(w), sum, 4), e.load(e.vecF32(w), e.at(from, at), 4)), sum, 4);
      });
    });
  }

  //===-- backward ------------------------------------------------------------------------------------------------===//

  void backward() {
    int64_t stepQ = rowBytes(dim), stepV = rowBytes(valueDim);
    Value queries = area(block * stepQ), keys = area(block * stepQ), values = area(block * stepV),
          given = area(block * stepV);
    Value turnedQ = area(2 * dim * 128), turnedD = area(2 * valueDim * 128);
    Value panelsK = area(padded(dim) * block * 4), panelsQ = area(padded(dim) * block * 4),
          panelsD = area(padded(valueDim) * block * 4);
    Value weights = area(block * wide), slopes = area(block * wide), turnedSlopes = area(block * wide);
    Value sumK = area(block * stepQ), sumV = area(block * stepV), partQ = area(block * stepQ),
          partV = area(block * stepV);
    Value logs = area(block * 4), means = area(block * 4), begins = area(block * 4), ends = area(block * 4);
    Value item = LLVM::AllocaOp::create(e.b, e.loc, e.ptrType(), e.i64(), e.c32(1));
    e.store(e.c(0), item);
    auto stored = [&](Value at) { return e.load(e.vecF32(block), at, 4); };
    auto whole = [&](Value at) { return e.load(e.vec(block, e.i32()), at, 4); };
    sequences([&](Value start, Value length) {
      Value prefix = op.getAhead() ? prefixOf(start) : Value();
      e.loop(e.c(0), e.c(keyHeads), e.c(1), [&](Value keyHead) {
        Value number = e.load(e.i64(), item);
        e.store(e.add(number, 1), item);
        e.when(
            e.cmp(arith::CmpIPredicate::eq, Value(arith::RemUIOp::create(e.b, e.loc, number, ctx.workers)), ctx.worker),
            [&] {
              e.loop(e.c(0), length, e.c(1), [&](Value r) {
                e.loop(e.c(0), e.c(shared), e.c(1), [&](Value g) {
                  Value to = rowOf(6, e.add(start, r), e.add(e.mul(keyHead, shared), g));
                  e.pieces(dim, 2 * e.lanes(), [&](Value j, int64_t n) {
                    e.storeF32(elementOf(6), e.splatF32(0.0, n), e.at(to, e.mul(j, task::getByteWidth(elementOf(6)))));
                  });
                });
              });
              e.loop(e.c(0), length, e.c(block), [&](Value key) {
                Value some = e.min(e.c(block), e.sub(length, key)), keyEnd = e.add(key, some);
                gather(1, e.add(start, key), some, keyHead, dim, keys, stepQ);
                gather(2, e.add(start, key), some, keyHead, valueDim, values, stepV);
                panelsOf(keys, stepQ, some, dim, panelsK);
                zero(sumK, block * stepQ / 4);
                zero(sumV, block * stepV / 4);
                e.loop(e.c(0), length, e.c(block), [&](Value first) {
                  Value rows = e.min(e.c(block), e.sub(length, first)), last = e.sub(e.add(first, rows), e.c(1));
                  Value seen = arith::AndIOp::create(e.b, e.loc,
                                                     e.cmp(arith::CmpIPredicate::sgt, endOf(last, length, prefix), key),
                                                     e.cmp(arith::CmpIPredicate::slt, beginOf(first), keyEnd));
                  e.when(seen, [&] {
                    e.loop(e.c(0), e.c(shared), e.c(1), [&](Value g) {
                      Value head = e.add(e.mul(keyHead, shared), g);
                      gather(0, e.add(start, first), rows, head, dim, queries, stepQ);
                      gather(5, e.add(start, first), rows, head, valueDim, given, stepV);
                      turnedPanelsOf(queries, stepQ, rows, dim, turnedQ);
                      turnedPanelsOf(given, stepV, rows, valueDim, turnedD);
                      panelsOf(queries, stepQ, rows, dim, panelsQ);
                      panelsOf(given, stepV, rows, valueDim, panelsD);
                      // Of each query: the logarithm of its sum, the mean of what its keys are given, which keys it
                      // sees.
                      e.store(arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(e.vec(block, e.i32()))), ends, 4);
                      zero(logs, block);
                      zero(means, block);
                      e.loop(e.c(0), rows, e.c(1), [&](Value r) {
                        Value row = e.add(e.add(start, first), r), position = e.add(first, r), at = e.mul(r, 4),
                              o = rowOf(3, row, head);
                        e.store(e.load(e.f32(), rowOf(4, row, head)), e.at(logs, at));
                        auto asI32 = [&](Value v) -> Value { return arith::TruncIOp::create(e.b, e.loc, e.i32(), v); };
                        e.store(asI32(beginOf(position)), e.at(begins, at));
                        e.store(asI32(endOf(position, length, prefix)), e.at(ends, at));
                        Value mean = e.panels(valueDim, 32, e.cf32(0.0), [&](Value j, int64_t n, Value sum) {
                          Value a = e.loadF32(elementOf(3), n, e.at(o, e.mul(j, task::getByteWidth(elementOf(3)))));
                          Value d = e.load(e.vecF32(n), e.at(e.at(given, e.mul(r, stepV)), e.mul(j, 4)), 4);
                          return e.addF(sum, e.treeAdd(e.padTo(e.mulF(a, d), 32, 0.0)));
                        });
                        e.store(mean, e.at(means, at));
                      });
                      product(keys, stepQ, some, turnedQ, block, dim, weights, wide);
                      product(values, stepV, some, turnedD, block, valueDim, slopes, wide);
                      e.loop(e.c(0), some, e.c(1), [&](Value j) {
                        Value at = e.mul(j, wide), position = narrow(e.add(key, j)), slope;
                        Value s = score(stored(e.at(weights, at)), &slope), none = e.splatF32(0.0, block);
                        Value here = between(position, whole(begins), whole(ends));
                        Value p = e.exp(e.subF(e.select(here, s, none), e.select(here, stored(logs), none)));
                        p = e.select(here, p, none);
                        Value d = e.mulF(p, e.subF(stored(e.at(slopes, at)), stored(means)));
                        d = e.mulF(e.mulF(d, slope), e.splatF32(op.getScale().convertToDouble(), block));
                        e.store(p, e.at(weights, at), 4);
                        e.store(d, e.at(slopes, at), 4);
                      });
                      product(weights, wide, some, panelsD, valueDim, block, partV, stepV);
                      addRows(partV, sumV, some, valueDim, stepV);
                      product(slopes, wide, some, panelsQ, dim, block, partQ, stepQ);
                      addRows(partQ, sumK, some, dim, stepQ);
                      // The adjoint of the queries: of the transposed tile.
                      zero(turnedSlopes, block * wide / 4);
                      e.loop(e.c(0), some, e.c(1), [&](Value j) {
                        Value v = stored(e.at(slopes, e.mul(j, wide)));
                        for (int64_t u = 0; u < block; ++u)
                          e.store(e.extract(v, u), e.at(turnedSlopes, e.add(e.mul(j, 4), u * wide)), 4);
                      });
                      product(turnedSlopes, wide, rows, panelsK, dim, block, partQ, stepQ);
                      e.loop(e.c(0), rows, e.c(1), [&](Value r) {
                        put(6, e.add(e.add(start, first), r), head, e.at(partQ, e.mul(r, stepQ)), dim, true);
                      });
                    });
                  });
                });
                e.loop(e.c(0), some, e.c(1), [&](Value j) {
                  Value row = e.add(e.add(start, key), j);
                  put(7, row, keyHead, e.at(sumK, e.mul(j, stepQ)), dim, false);
                  put(8, row, keyHead, e.at(sumV, e.mul(j, stepV)), valueDim, false);
                });
              });
            });
      });
    });
  }

  void put(unsigned i, Value row, Value head, Value from, int64_t n, bool add) {
    Value to = rowOf(i, row, head);
    Type element = elementOf(i);
    e.pieces(n, 2 * e.lanes(), [&](Value j, int64_t w) {
      Value at = e.at(to, e.mul(j, task::getByteWidth(element))), v = e.load(e.vecF32(w), e.at(from, e.mul(j, 4)), 4);
      e.storeF32(element, add ? e.addF(e.loadF32(element, w, at), v) : v, at);
    });
  }

  PhaseContext &ctx;
  Emit &e;
  task::AttendRowsOp op;
  ScratchPlan &scratch;
  LLVM::LLVMFuncOp kernel;
  Value widened;
  int64_t heads, keyHeads, dim, valueDim, shared;
};
} // namespace

void loopc::codegen::emitAttendRows(PhaseContext &ctx, task::AttendRowsOp op, ScratchPlan &scratch) {
  AttendRowsEmitter(ctx, op, scratch).emit();
}
