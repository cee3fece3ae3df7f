// Attention of one lane and one key head over rows of a K/V pool.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Order keys<64, split 512>: blocks of 64 keys anchored at logical positions; inside 512 keys the online softmax of
// Milakov and Gimelshein (arXiv 1805.02867); partial results of 512 keys merged ascending. A score is a sum over panels
// of 32 elements (lanes of fused multiply-adds, then a halving tree). An item never looks at another lane, so its bits
// do not depend on who shares the call.
#include "Context.h"
#include "loopc/runtime/abi.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

namespace {
constexpr int64_t blockKeys = 64, splitKeys = 512;

class AttendEmitter {
public:
  AttendEmitter(PhaseContext &ctx, task::AttendOp op, ScratchPlan &scratch)
      : ctx(ctx), e(ctx.e), op(op), dim(op.getDim()), keyHeads(op.getHeads()), group(op.getShape()[0] / keyHeads),
        rowElement(op.getRows()), rowWidth(task::getByteWidth(rowElement)) {
    query = e.at(ctx.scratch, scratch.reserve(4 * padded() * group));
    offsets = e.at(ctx.scratch, scratch.reserve(8 * blockKeys));
    scores = e.at(ctx.scratch, scratch.reserve(4 * blockKeys));
    zeros = e.at(ctx.scratch, scratch.reserve(4 * padded()));
    part = e.at(ctx.scratch, scratch.reserve(stateBytes() * group));
    total = e.at(ctx.scratch, scratch.reserve(stateBytes() * group));
  }

  void emit() {
    ctx.root(op.getIns()[0]);
    ctx.root(op.getOuts()[0]);
    size_t pool = offsetof(loopc_memory, pools) + sizeof(loopc_pool) * op.getPool();
    base = ctx.field(ctx.memory, pool + offsetof(loopc_pool, base), e.ptrType());
    pageBytes = ctx.field(ctx.memory, pool + offsetof(loopc_pool, page_bytes), e.i64());
    Value layer = e.c(0);
    for (auto [value, step] : llvm::zip(op.getIndex(), op.getStrides()))
      layer = e.add(layer, e.mul(ctx.index(value), step));
    siteBase = e.at(e.at(base, static_cast<int64_t>(op.getOffset()) * rowWidth), e.mul(layer, 2 * keyHeads * headBytes()));
    e.pieces(padded(), 32, [&](Value i, int64_t n) { e.store(e.splatF32(0.0, n), e.at(zeros, e.mul(i, 4))); });
    auto [begin, end] = ctx.cut(e.mul(ctx.count, keyHeads));
    e.loop(begin, end, e.c(1), [&](Value item) { emitItem(ctx.listed(e.div(item, keyHeads)), e.rem(item, keyHeads)); });
  }

private:
  int64_t padded() const { return (dim + 31) / 32 * 32; }
  int64_t stateBytes() const { return 64 + 4 * padded(); } // maximum, sum, then the weighted values
  int64_t headBytes() const { return LOOPC_PAGE_ROWS * dim * rowWidth; }

  void emitItem(Value row, Value head) {
    Value iteration = ctx.column(offsetof(loopc_call, iteration), row);
    Value position = ctx.column(offsetof(loopc_call, position), row);
    Value sequence = ctx.column(offsetof(loopc_call, sequence), row);
    Value record = e.at(ctx.field(ctx.call, offsetof(loopc_call, records), e.ptrType()), e.mul(sequence, sizeof(loopc_sequence)));
    Value table = ctx.field(record, offsetof(loopc_sequence, rows) + 8 * op.getPool(), e.ptrType());
    Value stride = e.widenU(ctx.field(record, offsetof(loopc_sequence, stride), e.i32()));
    Value prefix = e.widenU(ctx.field(record, offsetof(loopc_sequence, prefix), e.i32()));
    Value planeRows = e.at(table, e.mul(e.mul(emitAffine(e, op.getPlane(), iteration), stride), 4));
    Value end = e.max(e.add(position, 1), prefix);
    Value first = op.getWindow() ? e.max(e.c(0), e.sub(e.add(position, 1), e.c(*op.getWindow()))) : e.c(0);
    headBase = e.at(siteBase, e.mul(head, headBytes()));

    // The queries of the group, padded with zeros.
    auto inView = cast<task::ViewAttr>(op.getViews()[0]), outView = cast<task::ViewAttr>(op.getViews()[1]);
    Type inElement = cast<task::MemType>(op.getIns()[0].getType()).getElement();
    int64_t inWidth = task::getByteWidth(inElement);
    Value in = e.at(ctx.row(op.getIns()[0], row), inView.getOffset() * inWidth);
    in = e.at(in, e.mul(head, group * inView.getStrides()[0] * inWidth));
    e.loop(group, [&](Value g) {
      Value from = e.at(in, e.mul(g, inView.getStrides()[0] * inWidth)), to = e.at(query, e.mul(g, 4 * padded()));
      e.panels(dim, 32, e.c(0), [&](Value i, int64_t valid, Value carry) {
        e.store(e.padTo(e.loadF32(inElement, valid, e.at(from, e.mul(i, inWidth))), 32, 0.0), e.at(to, e.mul(i, 4)));
        return carry;
      });
      reset(e.at(total, e.mul(g, stateBytes())));
    });

    Value firstSplit = e.mul(e.div(first, splitKeys), splitKeys);
    e.loop(firstSplit, end, e.c(splitKeys), [&](Value split) {
      e.loop(group, [&](Value g) { reset(e.at(part, e.mul(g, stateBytes()))); });
      Value splitEnd = e.min(e.add(split, splitKeys), end);
      Value from = e.max(split, e.mul(e.div(first, blockKeys), blockKeys));
      e.loop(from, splitEnd, e.c(blockKeys), [&](Value block) { emitBlock(block, e.min(e.add(block, blockKeys), splitEnd), first, planeRows); });
      e.loop(group, [&](Value g) { merge(e.at(total, e.mul(g, stateBytes())), e.at(part, e.mul(g, stateBytes()))); });
    });

    Type outElement = cast<task::MemType>(op.getOuts()[0].getType()).getElement();
    int64_t outWidth = task::getByteWidth(outElement);
    Value out = e.at(ctx.row(op.getOuts()[0], row), outView.getOffset() * outWidth);
    out = e.at(out, e.mul(head, group * outView.getStrides()[0] * outWidth));
    e.loop(group, [&](Value g) {
      Value state = e.at(total, e.mul(g, stateBytes())), to = e.at(out, e.mul(g, outView.getStrides()[0] * outWidth));
      Value sum = e.load(e.f32(), e.at(state, 4));
      Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, sum, e.cf32(0.0));
      Value scale = e.select(none, e.cf32(0.0), e.divF(e.cf32(1.0), sum));
      e.pieces(dim, 2 * e.lanes(), [&](Value i, int64_t n) {
        Value v = e.load(e.vecF32(n), e.at(e.at(state, 64), e.mul(i, 4)));
        e.storeF32(outElement, e.mulF(v, e.splat(scale, n)), e.at(to, e.mul(i, outWidth)));
      });
    });
  }

  void reset(Value state) {
    e.store(e.cf32(-INFINITY), state);
    e.store(e.cf32(0.0), e.at(state, 4));
    e.pieces(padded(), 32, [&](Value i, int64_t n) { e.store(e.splatF32(0.0, n), e.at(e.at(state, 64), e.mul(i, 4))); });
  }

  // Keys [block, end) of one block, for every query of the group.
  void emitBlock(Value block, Value end, Value first, Value planeRows) {
    Value keys = e.sub(end, block);
    e.loop(e.c(0), keys, e.c(1), [&](Value j) {
      Value position = e.add(block, j);
      Value id = e.widen(e.load(e.i32(), e.at(planeRows, e.mul(position, 4))));
      if (op.getWindow())
        id = e.select(e.cmp(arith::CmpIPredicate::slt, position, first), e.c(-1), id);
      Value offset = e.add(e.mul(e.div(id, LOOPC_PAGE_ROWS), pageBytes), e.mul(e.rem(id, LOOPC_PAGE_ROWS), dim * rowWidth));
      offset = e.select(e.cmp(arith::CmpIPredicate::slt, id, e.c(0)), e.c(-1), offset);
      e.store(offset, e.at(offsets, e.mul(j, 8)));
    });
    e.loop(group, [&](Value g) {
      Value q = e.at(query, e.mul(g, 4 * padded())), state = e.at(part, e.mul(g, stateBytes()));
      e.pieces(blockKeys, 32, [&](Value i, int64_t n) { e.store(e.splatF32(-INFINITY, n), e.at(scores, e.mul(i, 4))); });
      e.loop(e.c(0), keys, e.c(1), [&](Value j) {
        Value offset = e.load(e.i64(), e.at(offsets, e.mul(j, 8)));
        e.when(e.cmp(arith::CmpIPredicate::sge, offset, e.c(0)), [&] {
          e.store(score(q, e.at(headBase, offset)), e.at(scores, e.mul(j, 4)));
        });
      });
      Value s = e.load(e.vecF32(blockKeys), scores, 4);
      Value before = e.load(e.f32(), state);
      Value top = e.maxF(before, e.treeMax(s));
      Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, top, e.cf32(-INFINITY));
      Value shift = e.select(none, e.cf32(0.0), top);
      Value p = e.exp(e.subF(s, e.splat(shift, blockKeys)));
      // A key without a row has weight +0, also where nothing was seen yet.
      Value scale = e.extract(e.exp(e.splat(e.subF(before, shift), 1)), 0);
      e.store(p, scores, 4);
      e.store(top, state);
      e.store(e.addF(e.mulF(e.load(e.f32(), e.at(state, 4)), scale), e.treeAdd(p)), e.at(state, 4));
      Value values = e.at(headBase, keyHeads * headBytes());
      // Weighted values: a chain over ascending keys for every element.
      e.pieces(dim, 8 * e.lanes(), [&](Value i, int64_t n) {
        Value at = e.at(e.at(state, 64), e.mul(i, 4));
        Value sum = e.mulF(e.load(e.vecF32(n), at), e.splat(scale, n));
        sum = e.loop(e.c(0), keys, e.c(1), ValueRange(sum), [&](Value j, ValueRange carried) {
          Value weight = e.splat(e.load(e.f32(), e.at(scores, e.mul(j, 4))), n);
          Value offset = e.load(e.i64(), e.at(offsets, e.mul(j, 8)));
          // Where there is no row the weight is +0; zeros instead of what lies there, which may be a NaN.
          Value source = e.select(e.cmp(arith::CmpIPredicate::slt, offset, e.c(0)), zeros, e.at(values, offset));
          Value v = e.loadF32(rowElement, n, e.at(source, e.mul(i, rowWidth)));
          return SmallVector<Value>{e.fma(weight, v, carried[0])};
        })[0];
        e.store(sum, at);
      });
    });
  }

  Value score(Value q, Value key) {
    Value sums = e.splatF32(0.0, 32);
    for (int64_t i = 0; i < dim; i += 32) {
      int64_t valid = std::min<int64_t>(32, dim - i);
      Value k = e.padTo(e.loadF32(rowElement, valid, e.at(key, i * rowWidth)), 32, 0.0);
      sums = e.fma(e.load(e.vecF32(32), e.at(q, 4 * i)), k, sums);
    }
    Value s = e.mulF(e.treeAdd(sums), e.cf32(op.getScale().convertToDouble()));
    if (op.getSoftcap()) {
      Value cap = e.cf32(op.getSoftcap()->convertToDouble());
      s = e.mulF(cap, math::TanhOp::create(e.b, e.loc, e.divF(s, cap)));
    }
    return s;
  }

  // total = total and part under one maximum.
  void merge(Value into, Value from) {
    Value m0 = e.load(e.f32(), into), m1 = e.load(e.f32(), from), top = e.maxF(m0, m1);
    Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, top, e.cf32(-INFINITY));
    Value shift = e.select(none, e.cf32(0.0), top);
    auto factor = [&](Value m) { return e.extract(e.exp(e.splat(e.subF(m, shift), 1)), 0); };
    Value f0 = factor(m0), f1 = factor(m1);
    auto join = [&](Value l, Value r, int64_t n) {
      auto wide = [&](Value f) { return n ? e.splat(f, n) : f; };
      return e.addF(e.mulF(l, wide(f0)), e.mulF(r, wide(f1)));
    };
    e.store(top, into);
    e.store(join(e.load(e.f32(), e.at(into, 4)), e.load(e.f32(), e.at(from, 4)), 0), e.at(into, 4));
    e.pieces(padded(), 32, [&](Value i, int64_t n) {
      Value at = e.mul(i, 4), to = e.at(e.at(into, 64), at);
      e.store(join(e.load(e.vecF32(n), to), e.load(e.vecF32(n), e.at(e.at(from, 64), at)), n), to);
    });
  }

  PhaseContext &ctx;
  Emit &e;
  task::AttendOp op;
  int64_t dim, keyHeads, group;
  Type rowElement;
  int64_t rowWidth;
  Value query, offsets, scores, zeros, part, total;
  Value base, pageBytes, siteBase, headBase;
};
} // namespace

void loopc::codegen::emitAttend(PhaseContext &ctx, task::AttendOp op, ScratchPlan &scratch) { AttendEmitter(ctx, op, scratch).emit(); }
