// Attention of lanes over rows of a K/V pool.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Order keys<64, split 512>: blocks of 64 keys anchored at logical positions; inside 512 keys the online softmax of
// Milakov and Gimelshein (arXiv 1805.02867); partial results of 512 keys merged ascending. A score is a sum over panels
// of 32 elements (lanes of fused multiply-adds, then a halving tree).
//
// An item is one key head and some lanes. Lanes of one sequence and iteration that stand side by side read the blocks
// that all of them see together; what each computes is the same as alone, so its bits do not depend on who shares the
// call.
#include "Context.h"
#include "loopc/runtime/abi.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

namespace {
constexpr int64_t blockKeys = 64, splitKeys = 512;
/// Queries that share a block of keys, over all lanes of an item.
constexpr int64_t sharedQueries = 16;

class AttendEmitter {
public:
  AttendEmitter(PhaseContext &ctx, task::AttendOp op, ScratchPlan &scratch)
      : ctx(ctx), e(ctx.e), op(op), dim(op.getDim()), keyHeads(op.getHeads()), group(op.getShape()[0] / keyHeads),
        mostLanes(op.getWindow() ? 1 : std::max<int64_t>(1, sharedQueries / group)), rowElement(op.getRows()),
        rowWidth(task::getByteWidth(rowElement)) {
    int64_t queries = mostLanes * group;
    auto area = [&](int64_t bytes) { return e.at(ctx.scratch, scratch.reserve(bytes)); };
    query = area(4 * padded() * queries);
    ends = area(8 * mostLanes);
    if (op.getIns().size() > 1)
      leasts = area(4 * queries);
    offsets = area(8 * blockKeys);
    scores = area(4 * blockKeys * queries);
    sums = area(2 * 8 * 32);
    zeros = area(4 * padded());
    part = area(stateBytes() * queries);
    total = area(stateBytes() * queries);
    if (!rowElement.isF32()) {
      wideKeys = area(4 * padded() * blockKeys);
      wideValues = area(4 * padded() * blockKeys);
    }
  }

  void emit() {
    for (Value in : op.getIns())
      ctx.root(in);
    ctx.root(op.getOuts()[0]);
    size_t pool = offsetof(loopc_memory, pools) + sizeof(loopc_pool) * op.getPool();
    base = ctx.field(ctx.memory, pool + offsetof(loopc_pool, base), e.ptrType());
    pageBytes = ctx.field(ctx.memory, pool + offsetof(loopc_pool, page_bytes), e.i64());
    layer = e.c(0);
    for (auto [value, step] : llvm::zip(op.getIndex(), op.getStrides()))
      layer = e.add(layer, e.mul(ctx.index(value), step));
    siteBase = e.at(base, static_cast<int64_t>(op.getOffset()) * rowWidth);
    if (!op.getPlane().isFunctionOfDim(1)) // else a row holds one layer
      siteBase = e.at(siteBase, e.mul(layer, 2 * keyHeads * headBytes()));
    e.pieces(padded(), 32, [&](Value i, int64_t n) { e.store(e.splatF32(0.0, n), e.at(zeros, e.mul(i, 4))); });

    // Few lanes: an item has one, so that every worker gets some. Many: as many as may share keys.
    Value share = e.div(e.mul(ctx.count, keyHeads), e.mul(ctx.workers, 4));
    Value width = e.min(e.max(share, e.c(1)), e.c(mostLanes));
    Value groups = e.div(e.add(ctx.count, e.sub(width, e.c(1))), width);
    auto [begin, end] = ctx.cut(e.mul(groups, keyHeads));
    e.loop(begin, end, e.c(1), [&](Value item) {
      Value head = e.div(item, groups), first = e.mul(e.sub(item, e.mul(head, groups)), width);
      Value lanes = e.min(width, e.sub(ctx.count, first));
      e.loop(e.c(0), lanes, e.c(1), [&](Value i) {
        Value lane = e.add(first, i);
        Value starts = arith::OrIOp::create(e.b, e.loc, e.cmp(arith::CmpIPredicate::eq, i, e.c(0)),
                                            arith::XOrIOp::create(e.b, e.loc, follows(lane, i), arith::ConstantIntOp::create(e.b, e.loc, 1, 1)));
        e.when(starts, [&] { emitRun(lane, runLength(lane, e.sub(lanes, i)), head); });
      });
    });
  }

private:
  int64_t padded() const { return (dim + 31) / 32 * 32; }
  int64_t stateBytes() const { return 64 + 4 * padded(); } // maximum, sum, scale, then the weighted values
  int64_t headBytes() const { return LOOPC_PAGE_ROWS * dim * rowWidth; }
  Value stateOf(Value states, Value q) { return e.at(states, e.mul(q, stateBytes())); }

  /// Whether the lane before this one in the list reads the same rows. `i`: 0 where there is none (then any answer).
  Value follows(Value lane, Value i) {
    Value row = ctx.listed(lane), before = ctx.listed(e.sub(lane, e.min(i, e.c(1))));
    auto same = [&](size_t column) { return e.cmp(arith::CmpIPredicate::eq, ctx.column(column, row), ctx.column(column, before)); };
    return arith::AndIOp::create(e.b, e.loc, same(offsetof(loopc_call, sequence)), same(offsetof(loopc_call, iteration)));
  }
  Value runLength(Value lane, Value most) {
    Value yes = arith::ConstantIntOp::create(e.b, e.loc, 1, 1);
    return e.loop(e.c(1), most, e.c(1), ValueRange{e.c(1), yes}, [&](Value j, ValueRange carried) {
      Value on = arith::AndIOp::create(e.b, e.loc, carried[1], follows(e.add(lane, j), j));
      return SmallVector<Value>{e.add(carried[0], arith::ExtUIOp::create(e.b, e.loc, e.i64(), on)), on};
    })[0];
  }

  void emitRun(Value lane, Value lanes, Value head) {
    Value row = ctx.listed(lane);
    Value iteration = ctx.column(offsetof(loopc_call, iteration), row);
    Value sequence = ctx.column(offsetof(loopc_call, sequence), row);
    Value record = e.at(ctx.field(ctx.call, offsetof(loopc_call, records), e.ptrType()), e.mul(sequence, sizeof(loopc_sequence)));
    Value table = ctx.field(record, offsetof(loopc_sequence, rows) + 8 * op.getPool(), e.ptrType());
    Value stride = e.widenU(ctx.field(record, offsetof(loopc_sequence, stride), e.i32()));
    Value prefix = e.widenU(ctx.field(record, offsetof(loopc_sequence, prefix), e.i32()));
    keysBase = e.at(siteBase, e.mul(head, headBytes()));
    valuesBase = e.at(keysBase, keyHeads * headBytes());
    first = e.c(0);
    if (op.getWindow())
      first = e.max(e.c(0), e.sub(e.add(ctx.column(offsetof(loopc_call, position), row), 1), e.c(*op.getWindow() + op.getBefore().value_or(0))));

    // The queries, padded with zeros.
    auto inView = cast<task::ViewAttr>(op.getViews()[0]),
         outView = cast<task::ViewAttr>(op.getViews()[op.getIns().size()]);
    Type inElement = cast<task::MemType>(op.getIns()[0].getType()).getElement();
    int64_t inWidth = task::getByteWidth(inElement);
    e.loop(e.c(0), lanes, e.c(1), [&](Value i) {
      Value own = ctx.listed(e.add(lane, i));
      Value end = e.add(ctx.column(offsetof(loopc_call, position), own), 1);
      if (op.getBefore())
        end = e.max(e.sub(end, e.c(*op.getBefore())), e.c(0));
      e.store(op.getAhead() ? e.max(end, prefix) : end, e.at(ends, e.mul(i, 8)));
      Value in = e.at(ctx.row(op.getIns()[0], own), inView.getOffset() * inWidth);
      in = e.at(in, e.mul(head, group * inView.getStrides()[0] * inWidth));
      e.loop(group, [&](Value g) {
        Value q = e.add(e.mul(i, group), g);
        Value from = e.at(in, e.mul(g, inView.getStrides()[0] * inWidth)), to = e.at(query, e.mul(q, 4 * padded()));
        e.panels(dim, 32, e.c(0), [&](Value j, int64_t valid, Value carry) {
          e.store(e.padTo(e.loadF32(inElement, valid, e.at(from, e.mul(j, inWidth))), 32, 0.0), e.at(to, e.mul(j, 4)));
          return carry;
        });
        if (leasts) {
          auto view = cast<task::ViewAttr>(op.getViews()[1]);
          Value from = e.at(ctx.row(op.getIns()[1], own), 4 * view.getOffset());
          e.store(e.load(e.f32(), e.at(from, e.mul(e.add(e.mul(head, group), g), 4 * view.getStrides()[0]))),
                  e.at(leasts, e.mul(q, 4)));
        }
        reset(stateOf(total, q));
      });
    });

    // Positions ascend in a run: the blocks below the first lane's end are whole for all.
    auto endOf = [&](Value i) { return e.load(e.i64(), e.at(ends, e.mul(i, 8))); };
    Value lastEnd = endOf(e.sub(lanes, e.c(1))), sharedEnd = e.mul(e.div(endOf(e.c(0)), blockKeys), blockKeys);
    Value firstBlock = e.mul(e.div(first, blockKeys), blockKeys);
    Value queries = e.mul(lanes, group);
    auto splits = [&](Value split) {
      e.loop(e.c(0), queries, e.c(1), [&](Value q) { reset(stateOf(part, q)); });
      Value from = e.max(split, firstBlock), splitEnd = e.add(split, splitKeys);
      // Turn 0: the blocks of all; turn i + 1: the rest of lane i.
      e.loop(e.c(0), e.add(lanes, 1), e.c(1), [&](Value turn) {
        Value together = e.cmp(arith::CmpIPredicate::eq, turn, e.c(0)), i = e.max(e.sub(turn, e.c(1)), e.c(0));
        Value begin = e.select(together, from, e.max(from, sharedEnd));
        Value end = e.min(splitEnd, e.select(together, sharedEnd, endOf(i)));
        Value some = e.select(together, queries, e.c(group));
        e.loop(begin, end, e.c(blockKeys), [&](Value block) { emitBlock(block, e.min(e.add(block, blockKeys), end), e.mul(i, group), some); });
      });
      e.loop(e.c(0), lanes, e.c(1), [&](Value i) {
        e.when(e.cmp(arith::CmpIPredicate::slt, split, endOf(i)), [&] {
          e.loop(group, [&](Value g) {
            Value q = e.add(e.mul(i, group), g);
            merge(stateOf(total, q), stateOf(part, q));
          });
        });
      });
    };
    auto plane = [&](Value of) { // the planes of several iterations are as one long list
      planeRows = e.at(table, e.mul(e.mul(emitAffine(e, op.getPlane(), {of, layer}), stride), 4));
      e.loop(e.mul(e.div(first, splitKeys), splitKeys), lastEnd, e.c(splitKeys), splits);
    };
    if (op.getUpto())
      e.loop(e.c(0), e.add(iteration, 1), e.c(1), plane);
    else
      plane(iteration);

    Type outElement = cast<task::MemType>(op.getOuts()[0].getType()).getElement();
    int64_t outWidth = task::getByteWidth(outElement);
    e.loop(e.c(0), lanes, e.c(1), [&](Value i) {
      Value out = e.at(ctx.row(op.getOuts()[0], ctx.listed(e.add(lane, i))), outView.getOffset() * outWidth);
      out = e.at(out, e.mul(head, group * outView.getStrides()[0] * outWidth));
      e.loop(group, [&](Value g) {
        Value state = stateOf(total, e.add(e.mul(i, group), g)), to = e.at(out, e.mul(g, outView.getStrides()[0] * outWidth));
        Value sum = e.load(e.f32(), e.at(state, 4));
        Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, sum, e.cf32(0.0));
        Value scale = e.select(none, e.cf32(0.0), e.divF(e.cf32(1.0), sum));
        e.pieces(dim, 2 * e.lanes(), [&](Value j, int64_t n) {
          Value v = e.load(e.vecF32(n), e.at(e.at(state, 64), e.mul(j, 4)));
          e.storeF32(outElement, e.mulF(v, e.splat(scale, n)), e.at(to, e.mul(j, outWidth)));
        });
        if (op.getLogSum()) {
          Value log = math::LogOp::create(e.b, e.loc, e.splat(sum, 1));
          e.storeF32(outElement, e.addF(log, e.load(e.vecF32(1), state)), e.at(to, dim * outWidth));
        }
      });
    });
  }

  void reset(Value state) {
    e.store(e.cf32(-INFINITY), state);
    e.store(e.cf32(0.0), e.at(state, 4));
    e.pieces(padded(), 32, [&](Value i, int64_t n) { e.store(e.splatF32(0.0, n), e.at(e.at(state, 64), e.mul(i, 4))); });
  }

  /// Offset of key j of the block; -1 where there is no row.
  Value offsetOf(Value j) { return e.load(e.i64(), e.at(offsets, e.mul(j, 8))); }
  /// Zeros where there is no row, instead of what lies there, which may be a NaN.
  Value stored(Value rows, Value j) {
    Value offset = offsetOf(j);
    return e.select(e.cmp(arith::CmpIPredicate::slt, offset, e.c(0)), zeros, e.at(rows, offset));
  }
  /// Row j of the block as f32; padded with zeros if it was widened.
  Value wide(Value rows, Value widened, Value j) { return widened ? e.at(widened, e.mul(j, 4 * padded())) : stored(rows, j); }

  /// Keys [block, end) of one block for the queries [q0, q0 + queries).
  void emitBlock(Value block, Value end, Value q0, Value queries) {
    Value keys = e.sub(end, block);
    e.pieces(blockKeys, 8, [&](Value j, int64_t n) {
      Value none = arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(e.vec(n, e.i64()), e.b.getI64IntegerAttr(-1)));
      e.store(none, e.at(offsets, e.mul(j, 8)));
    });
    e.loop(e.c(0), keys, e.c(1), [&](Value j) {
      Value position = e.add(block, j);
      Value id = e.widen(e.load(e.i32(), e.at(planeRows, e.mul(position, 4))));
      if (op.getWindow())
        id = e.select(e.cmp(arith::CmpIPredicate::slt, position, first), e.c(-1), id);
      Value offset = e.add(e.mul(e.div(id, LOOPC_PAGE_ROWS), pageBytes), e.mul(e.rem(id, LOOPC_PAGE_ROWS), dim * rowWidth));
      offset = e.select(e.cmp(arith::CmpIPredicate::slt, id, e.c(0)), e.c(-1), offset);
      e.store(offset, e.at(offsets, e.mul(j, 8)));
    });
    if (wideKeys)
      e.loop(e.c(0), keys, e.c(1), [&](Value j) {
        for (auto [rows, widened] : {std::pair(keysBase, wideKeys), std::pair(valuesBase, wideValues)})
          e.panels(dim, 32, e.c(0), [&, rows = rows, widened = widened](Value i, int64_t valid, Value carry) {
            Value v = e.loadF32(rowElement, valid, e.at(stored(rows, j), e.mul(i, rowWidth)));
            e.store(e.padTo(v, 32, 0.0), e.at(wide(rows, widened, j), e.mul(i, 4)));
            return carry;
          });
      });
    Value last = e.add(q0, queries);
    tiles(q0, last, 2, [&](Value q, int64_t n) {
      e.loop(e.c(0), keys, e.c(8), [&](Value j) { emitScores(q, n, j); });
    });
    e.loop(q0, last, e.c(1), [&](Value q) { emitSoftmax(q, keys); });
    // Weighted values: a chain over ascending keys for every element.
    tiles(q0, last, 4, [&](Value q, int64_t rows) {
      e.pieces(dim, (rows == 1 ? 8 : 2) * e.lanes(), [&](Value i, int64_t n) {
        SmallVector<Value> targets, chains;
        for (int64_t r = 0; r < rows; ++r) {
          Value state = stateOf(part, e.add(q, r));
          targets.push_back(e.at(e.at(state, 64), e.mul(i, 4)));
          chains.push_back(e.mulF(e.load(e.vecF32(n), targets[r]), e.splat(e.load(e.f32(), e.at(state, 8)), n)));
        }
        Value weights = e.at(scores, e.mul(q, 4 * blockKeys));
        chains = e.loop(e.c(0), keys, e.c(1), chains, [&](Value j, ValueRange carried) {
          Value v = e.load(e.vecF32(n), e.at(wide(valuesBase, wideValues, j), e.mul(i, 4)));
          SmallVector<Value> next;
          for (int64_t r = 0; r < rows; ++r)
            next.push_back(e.fma(e.splat(e.load(e.f32(), e.at(e.at(weights, 4 * blockKeys * r), e.mul(j, 4))), n), v, carried[r]));
          return next;
        });
        for (auto [chain, target] : llvm::zip(chains, targets))
          e.store(chain, target);
      });
    });
  }

  /// Calls `body(q, n)` with n = `most` as often as it goes, then 1.
  void tiles(Value begin, Value end, int64_t most, llvm::function_ref<void(Value, int64_t)> body) {
    Value whole = e.add(begin, e.mul(e.div(e.sub(end, begin), most), most));
    e.loop(begin, whole, e.c(most), [&](Value q) { body(q, most); });
    e.loop(whole, end, e.c(1), [&](Value q) { body(q, 1); });
  }

  /// Scores of n queries with the keys [j, j + 8); -infinity where there is no row.
  void emitScores(Value q, int64_t n, Value j) {
    e.loop(e.c(0), e.c(8), e.c(1), [&](Value key) {
      Value from = wide(keysBase, wideKeys, e.add(j, key));
      SmallVector<Value> lanes(n, e.splatF32(0.0, 32));
      for (int64_t i = 0; i < dim; i += 32) {
        int64_t valid = wideKeys ? 32 : std::min<int64_t>(32, dim - i);
        Value k = e.padTo(e.load(e.vecF32(valid), e.at(from, i * 4)), 32, 0.0);
        for (int64_t r = 0; r < n; ++r)
          lanes[r] = e.fma(e.load(e.vecF32(32), e.at(e.at(query, e.mul(e.add(q, r), 4 * padded())), 4 * i)), k, lanes[r]);
      }
      for (int64_t r = 0; r < n; ++r)
        e.store(e.halve(e.halve(lanes[r])), e.at(e.at(sums, 256 * r), e.mul(key, 32)));
    });
    Value rows = e.load(e.vec(8, e.i64()), e.at(offsets, e.mul(j, 8)));
    Value none = e.cmp(arith::CmpIPredicate::slt, rows, arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(rows.getType())));
    for (int64_t r = 0; r < n; ++r) {
      SmallVector<Value> eight;
      for (int64_t key = 0; key < 8; ++key)
        eight.push_back(e.load(e.vecF32(8), e.at(sums, 256 * r + 32 * key)));
      Value product = treesOf(eight), s = e.mulF(product, e.splatF32(op.getScale().convertToDouble(), 8));
      if (op.getSoftcap()) {
        Value cap = e.splatF32(op.getSoftcap()->convertToDouble(), 8);
        s = e.mulF(cap, math::TanhOp::create(e.b, e.loc, e.divF(s, cap)));
      }
      Value hidden = none;
      if (op.getSparse())
        hidden = arith::OrIOp::create(e.b, e.loc, none, arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::UNO, s, s));
      if (leasts) {
        Value least = e.splat(e.load(e.f32(), e.at(leasts, e.mul(e.add(q, r), 4))), 8);
        hidden = arith::OrIOp::create(e.b, e.loc, hidden, arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::ULT, product, least));
      }
      e.store(e.select(hidden, e.splatF32(-INFINITY, 8), s), e.at(e.at(scores, e.mul(e.add(q, r), 4 * blockKeys)), e.mul(j, 4)));
    }
  }

  /// The halving trees of eight vectors of 8, all at once.
  Value treesOf(SmallVector<Value> vectors) {
    for (int64_t width = 8; width > 1; width /= 2) {
      // Two vectors become one: of each group of `width` lanes the lower half plus the upper half.
      SmallVector<int64_t> low, high;
      for (int64_t at = 0; at < 16; at += width)
        for (int64_t i = 0; i < width / 2; ++i) {
          low.push_back(at + i);
          high.push_back(at + width / 2 + i);
        }
      SmallVector<Value> next;
      for (size_t i = 0; i < vectors.size(); i += 2)
        next.push_back(e.addF(e.shuffle(vectors[i], vectors[i + 1], low), e.shuffle(vectors[i], vectors[i + 1], high)));
      vectors = next;
    }
    return vectors[0];
  }

  /// Scores become weights; maximum, sum and the scale of what was summed before.
  void emitSoftmax(Value q, Value keys) {
    Value state = stateOf(part, q), mine = e.at(scores, e.mul(q, 4 * blockKeys));
    e.loop(e.mul(e.div(e.add(keys, 7), 8), 8), e.c(blockKeys), e.c(8), [&](Value j) { e.store(e.splatF32(-INFINITY, 8), e.at(mine, e.mul(j, 4))); });
    Value s = e.load(e.vecF32(blockKeys), mine, 4);
    Value before = e.load(e.f32(), state);
    Value top = e.maxF(before, e.treeMax(s));
    Value none = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OEQ, top, e.cf32(-INFINITY));
    Value shift = e.select(none, e.cf32(0.0), top);
    Value p = e.exp(e.subF(s, e.splat(shift, blockKeys)));
    // A key without a row has weight +0, also where nothing was seen yet.
    Value scale = e.extract(e.exp(e.splat(e.subF(before, shift), 1)), 0);
    e.store(p, mine, 4);
    e.store(top, state);
    e.store(e.addF(e.mulF(e.load(e.f32(), e.at(state, 4)), scale), e.treeAdd(p)), e.at(state, 4));
    e.store(scale, e.at(state, 8));
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
  int64_t dim, keyHeads, group, mostLanes;
  Type rowElement;
  int64_t rowWidth;
  Value query, ends, offsets, scores, sums, zeros, part, total;
  Value leasts;               // products below them are hidden, if there are any
  Value wideKeys, wideValues; // rows of a block as f32, unless they are
  Value layer, base, pageBytes, siteBase, keysBase, valuesBase, planeRows, first;
};
} // namespace

void loopc::codegen::emitAttend(PhaseContext &ctx, task::AttendOp op, ScratchPlan &scratch) { AttendEmitter(ctx, op, scratch).emit(); }
