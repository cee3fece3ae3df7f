// Kernels of linears: rows of f32 times packed panels, in the order "chain".
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each output is one fused multiply-add chain over ascending k from +0, however many rows, panels and k are worked on at
// once: accumulators may rest in memory between two blocks of k, which changes no bit. So a row's bits do not depend on
// the rows beside it.
//
//   1 row         several panels side by side, all k: as many streams from memory as registers allow; bf16 rows on
//                 machines with vdpbf16ps: its two additions are the chain's, upper half of a word first
//   a tile        rows times a group of columns in registers, weights decoded where they are used
//   two tiles     the same with a block of k of one panel, if decoding costs less than to write it down (bf16, f16)
//   more rows     a block of k of one panel (widened to f32 once, if it is not) times tile after tile of rows
#include "Context.h"
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {

/// k of a block: 32 columns of it are half of an L1 cache of 32 KB.
constexpr int64_t blockK = 128;
/// Fewer rows than this leave a stream of weights its caches.
constexpr int64_t streamRows = 32;
/// Bytes that a stream of weights is asked for ahead of its use.
constexpr int64_t aheadBytes = 2048;

class KernelWriter {
public:
  KernelWriter(Emit &e, const WeightFormat &format, bool dots, Block *entry) : e(e), format(format), dots(dots) {
    auto arg = [&](int n) -> Value { return entry->getArgument(n); };
    x = arg(0), ldx = arg(1), rows = arg(2), w = arg(3), panels = arg(4), blocks = arg(5), out = arg(6), ldo = arg(7), widened = arg(8);
    panelBytes = e.mul(blocks, format.blockBytes());
    columns = 32 / e.lanes();
    group = std::min(columns, e.registers >= 32 ? std::max<int64_t>(2, 16 / e.lanes()) : 2);
  }

  void write() {
    is(rows, 1, [&] { dots ? oneRowOfDots() : oneRow(); }, [&] {
      e.loop(e.c(0), rows, e.c(1), [&](Value i) {
        e.loop(e.c(0), e.mul(panels, 4), e.c(1), [&](Value j) {
          e.store(e.splatF32(0.0, 8), e.at(e.at(out, e.mul(i, ldo)), e.mul(j, 32)));
        });
      });
      int64_t direct = tileRows(format);
      auto most = [&](int64_t n) { return e.cmp(arith::CmpIPredicate::sle, rows, e.c(n)); };
      e.when(most(direct), [&] { fewRows(direct); }, [&] {
        if (isF32() || format.unit() != format.block())
          return manyRows(direct, weightFormat("f32"));
        e.when(most(2 * direct), [&] { manyRows(direct, format); }, [&] { manyRows(2 * direct, weightFormat("f32")); });
      });
    });
  }

private:
  bool isF32() const { return &format == &weightFormat("f32"); }
  void is(Value v, int64_t n, llvm::function_ref<void()> yes, llvm::function_ref<void()> no) {
    e.when(e.cmp(arith::CmpIPredicate::eq, v, e.c(n)), yes, no);
  }
  Value panelAt(Value n) { return e.at(w, e.mul(n, panelBytes)); }
  Value tileAt(Value n) { return e.at(out, e.mul(n, 128)); }

  /// Rows whose accumulators fit into the registers beside the weights of a unit, a factor and a constant.
  int64_t tileRows(const WeightFormat &of) const {
    int64_t held = of.unit() + (of.unit() == of.block() ? 0 : 1);
    return std::clamp<int64_t>((e.registers - 2 - group * held) / group, 1, 12);
  }

  /// Column registers of a tile of `m` rows: all of a panel if they fit beside a weight and the rows' factors, for few rows have few chains.
  int64_t tileColumns(const WeightFormat &of, int64_t m) const {
    return of.unit() == of.block() && m * (columns + of.unit()) + of.unit() <= e.registers ? columns : group;
  }

  /// What a tile works on. Addresses of its first k; `blocks` of it are worked on.
  struct Tile {
    const WeightFormat &format;
    int64_t rows, panels, first, columns; // column registers [first, first + columns) of adjacent panels
    Value x, w, blocks, out;
    Value ahead;                          // address to prefetch at, in step with the k; may be null
    int64_t aheadStep = 0;                // bytes there of one unit
    bool begin = false;                   // sums begin at +0, else at what `out` has
  };

  void tile(const Tile &t) {
    int64_t lanes = e.lanes(), all = t.panels * t.columns, unit = t.format.unit(), units = t.format.block() / unit;
    SmallVector<Value> factors, streams, targets, sums;
    for (int64_t i = 0; i < t.rows; ++i)
      factors.push_back(i ? e.at(t.x, e.mul(ldx, i)) : t.x);
    for (int64_t p = 0; p < t.panels; ++p)
      streams.push_back(p ? e.at(t.w, e.mul(panelBytes, p)) : t.w);
    auto columnOf = [&](int64_t n) { return (t.first + n % t.columns) * lanes; };
    for (int64_t i = 0; i < t.rows; ++i)
      for (int64_t n = 0; n < all; ++n) {
        targets.push_back(e.at(i ? e.at(t.out, e.mul(ldo, i)) : t.out, (n / t.columns * 32 + columnOf(n)) * 4));
        sums.push_back(t.begin ? e.splatF32(0.0, lanes) : e.load(e.vecF32(lanes), targets.back()));
      }

    // Unit number `number` of a block that begins at activation number `at`; `shared` is what its group shares. Loads stand where the fewest registers are
    // alive: what there is less of, rows or column registers, is loaded first.
    auto step = [&](ArrayRef<Value> lines, ArrayRef<SmallVector<Value>> shared, Value at, Value number, ArrayRef<Value> before) {
      SmallVector<Value> after(before);
      Value bytes = e.mul(e.add(at, e.mul(number, unit)), 4);
      auto factor = [&](int64_t i, int64_t u) { return e.splat(e.load(e.f32(), e.at(e.at(factors[i], bytes), 4 * u)), lanes); };
      auto weights = [&](int64_t n) { return t.format.decode(e, lines[n / t.columns], number, e.c(columnOf(n)), shared[n]); };
      auto add = [&](int64_t i, int64_t n, Value a, Value b) {
        Value &sum = after[i * all + n];
        sum = e.fma(a, b, sum);
      };
      SmallVector<SmallVector<Value>> held;
      if (t.rows <= all) {
        for (int64_t i = 0; i < t.rows; ++i)
          for (int64_t u = 0; u < unit; ++u)
            held.emplace_back().push_back(factor(i, u));
        for (int64_t n = 0; n < all; ++n) {
          SmallVector<Value> b = weights(n);
          for (int64_t u = 0; u < unit; ++u)
            for (int64_t i = 0; i < t.rows; ++i)
              add(i, n, held[i * unit + u][0], b[u]);
        }
      } else {
        for (int64_t n = 0; n < all; ++n)
          held.push_back(weights(n));
        for (int64_t u = 0; u < unit; ++u)
          for (int64_t i = 0; i < t.rows; ++i) {
            Value a = factor(i, u);
            for (int64_t n = 0; n < all; ++n)
              add(i, n, a, held[n][u]);
          }
      }
      return after;
    };
    // One row has few chains and cheap steps: several k in a round.
    const int64_t several = t.rows == 1 ? 4 : 1;
    auto prefetch = [&](Value base, Value number, int64_t count) {
      // Groups of columns share the lines of a unit among them.
      int64_t groups = columns / t.columns, mine = t.first / t.columns;
      for (int64_t line = 0; line * 64 < count * t.aheadStep; ++line)
        if (line % groups == mine)
          LLVM::Prefetch::create(e.b, e.loc, e.at(e.at(base, e.mul(number, t.aheadStep)), line * 64), 0, 3, 1);
    };
    auto wholeBlock = [&](Value block, ArrayRef<Value> before) -> SmallVector<Value> {
      Value at = e.mul(block, t.format.block()), bytes = e.mul(block, t.format.blockBytes());
      SmallVector<Value> lines, aheads;
      for (Value stream : streams)
        lines.push_back(e.at(stream, bytes));
      if (t.ahead)
        for (int64_t p = 0; p < t.panels; ++p)
          aheads.push_back(e.at(p ? e.at(t.ahead, e.mul(panelBytes, p)) : t.ahead, e.mul(block, units * t.aheadStep)));
      SmallVector<SmallVector<Value>> opened;
      for (int64_t n = 0; n < all; ++n)
        opened.push_back(t.format.open(e, lines[n / t.columns], e.c(columnOf(n))));
      int64_t inGroup = t.format.group() / unit, together = std::min(inGroup, std::max<int64_t>(1, several / unit));
      return e.loop(t.format.block() / t.format.group(), before, [&](Value number, ArrayRef<Value> carried) {
        SmallVector<SmallVector<Value>> shared;
        for (int64_t n = 0; n < all; ++n)
          shared.push_back(t.format.openGroup(e, lines[n / t.columns], number, e.c(columnOf(n)), opened[n]));
        return e.loop(inGroup / together, carried, [&](Value local, ArrayRef<Value> carried) {
          SmallVector<Value> values(carried);
          Value first = e.add(e.mul(number, inGroup), e.mul(local, together));
          for (Value base : aheads)
            prefetch(base, first, together);
          for (int64_t u = 0; u < together; ++u)
            values = step(lines, shared, at, e.add(first, u), values);
          return values;
        });
      });
    };
    int64_t unroll = t.format.block() == 1 ? 4 : 1; // steps are short: several in a round
    Value whole = e.mul(e.div(t.blocks, unroll), unroll);
    sums = e.loop(e.c(0), whole, e.c(unroll), sums, [&](Value block, ValueRange carried) {
      SmallVector<Value> values(carried);
      for (int64_t u = 0; u < unroll; ++u)
        values = wholeBlock(e.add(block, u), values);
      return values;
    });
    if (unroll > 1)
      sums = e.loop(whole, t.blocks, e.c(1), sums, [&](Value block, ValueRange carried) { return wholeBlock(block, SmallVector<Value>(carried)); });
    for (auto [sum, target] : llvm::zip(sums, targets))
      e.store(sum, target);
  }

  int64_t unitBytes(const WeightFormat &of) const { return of.blockBytes() * of.unit() / of.block(); }

  void oneRow() {
    // Blocks keep the execution units busy with four chains, and their scales need the registers of more.
    int64_t chains = format.group() > format.unit() ? 4 : 8, together = std::max<int64_t>(1, chains / columns);
    auto some = [&](Value n, int64_t count) {
      tile({format, 1, count, 0, columns, x, panelAt(n), blocks, tileAt(n), e.at(panelAt(n), aheadBytes), unitBytes(format), true});
    };
    Value grouped = e.mul(e.div(panels, together), together);
    e.loop(e.c(0), grouped, e.c(together), [&](Value n) { some(n, together); });
    if (together > 1)
      e.loop(grouped, panels, e.c(1), [&](Value n) { some(n, 1); });
  }

  void oneRowOfDots() {
    int64_t lanes = e.lanes();
    auto words = [&](int64_t n) { return e.vec(n, e.i32()); };
    auto pairs = [&](Value v) -> Value { return LLVM::BitcastOp::create(e.b, e.loc, e.vec(2 * lanes, e.b.getBF16Type()), v); };
    // The row as words of two k, like the weights. Reads and writes up to a line more than there is.
    e.loop(e.c(0), blocks, e.c(8), [&](Value i) {
      Value both = e.load(words(16), e.at(x, e.mul(i, 8)));
      auto every = [&](int64_t first) { return e.shuffle(both, both, {first, first + 2, first + 4, first + 6, first + 8, first + 10, first + 12, first + 14}); };
      auto constant = [&](int32_t v) -> Value { return arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(words(8), e.b.getI32IntegerAttr(v))); };
      Value upper = arith::AndIOp::create(e.b, e.loc, every(0), constant(static_cast<int32_t>(0xffff0000)));
      Value lower = arith::ShRUIOp::create(e.b, e.loc, every(1), constant(16));
      e.store(arith::OrIOp::create(e.b, e.loc, upper, lower), e.at(widened, e.mul(i, 4)));
    });
    auto some = [&](Value n, int64_t count) {
      SmallVector<Value> sums(count * columns, e.splatF32(0.0, lanes));
      sums = e.loop(e.c(0), blocks, e.c(1), sums, [&](Value block, ValueRange carried) {
        SmallVector<Value> next;
        Value factor = pairs(e.splat(e.load(e.i32(), e.at(widened, e.mul(block, 4))), lanes));
        for (int64_t p = 0; p < count; ++p) {
          Value line = e.at(e.at(panelAt(n), e.mul(panelBytes, p)), e.mul(block, format.blockBytes()));
          for (int64_t ahead = 0; ahead < format.blockBytes(); ahead += 64)
            LLVM::Prefetch::create(e.b, e.loc, e.at(line, aheadBytes + ahead), 0, 3, 1);
          for (int64_t c = 0; c < columns; ++c)
            next.push_back(LLVM::CallIntrinsicOp::create(e.b, e.loc, e.vecF32(lanes), e.b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps.512"),
                                                         ValueRange{carried[next.size()], factor, pairs(e.load(words(lanes), e.at(line, c * lanes * 4)))})
                               .getResult(0));
        }
        return next;
      });
      for (auto [i, sum] : llvm::enumerate(sums))
        e.store(sum, e.at(tileAt(n), static_cast<int64_t>(i) * lanes * 4));
    };
    Value grouped = e.mul(e.div(panels, 4), 4);
    e.loop(e.c(0), grouped, e.c(4), [&](Value n) { some(n, 4); });
    e.loop(grouped, panels, e.c(1), [&](Value n) { some(n, 1); });
  }

  /// Calls `body(m)` with the number of rows as a constant of [low, high].
  void choose(Value m, int64_t low, int64_t high, llvm::function_ref<void(int64_t)> body) {
    if (low == high)
      return body(low);
    is(m, high, [&] { body(high); }, [&] { choose(m, low, high - 1, body); });
  }

  /// Calls `body(block, blocks)` for pieces of k.
  void pieces(llvm::function_ref<void(Value, Value)> body) {
    int64_t piece = std::max<int64_t>(1, blockK / format.block());
    e.loop(e.c(0), blocks, e.c(piece), [&](Value block) { body(block, e.min(e.c(piece), e.sub(blocks, block))); });
  }

  void fewRows(int64_t most) {
    if (most < 2)
      return;
    e.loop(e.c(0), panels, e.c(1), [&](Value n) {
      pieces([&](Value block, Value count) {
        Value line = e.at(panelAt(n), e.mul(block, format.blockBytes()));
        Value from = e.at(x, e.mul(block, format.block() * 4));
        choose(rows, 2, most, [&](int64_t m) {
          int64_t width = tileColumns(format, m);
          for (int64_t first = 0; first < columns; first += width)
            tile({format, m, 1, first, width, from, line, count, tileAt(n), e.at(line, aheadBytes), unitBytes(format)});
        });
      });
    });
  }

  /// More than `fewer` rows: tile after tile of them with a piece of weights, as stored or widened to f32.
  void manyRows(int64_t fewer, const WeightFormat &of) {
    bool stored = &of == &format;
    int64_t most = tileRows(of), least = std::min(std::max<int64_t>(fewer, 1) + 1, (most + 1) / 2);
    Value tiles = e.div(e.add(rows, most - 1), most);
    // One piece of panel `n` for all rows. `ahead`: the piece that comes next.
    auto piece = [&](Value n, Value block, Value count, Value ahead) {
      Value from = e.at(x, e.mul(block, format.block() * 4)), weights = e.at(panelAt(n), e.mul(block, format.blockBytes()));
      if (!stored) {
        widen(weights, count);
        weights = widened;
      }
      Value blocks = stored ? count : e.mul(count, format.block());
      int64_t step = std::max<int64_t>(1, stored ? unitBytes(format) : format.blockBytes() / format.block());
      e.loop(e.c(0), tiles, e.c(1), [&](Value t) { // rows spread evenly over the tiles
        Value begin = e.div(e.mul(t, rows), tiles), end = e.div(e.mul(e.add(t, 1), rows), tiles);
        choose(e.sub(end, begin), least, most, [&](int64_t m) {
          int64_t width = tileColumns(of, m);
          for (int64_t first = 0; first < columns; first += width)
            tile({of, m, 1, first, width, e.at(from, e.mul(begin, ldx)), weights, blocks, e.at(tileAt(n), e.mul(begin, ldo)), ahead, step});
        });
      });
    };
    // Few rows leave a stream of weights its caches: one panel after the other. Many: all panels use a piece of them.
    Value together = e.select(e.cmp(arith::CmpIPredicate::slt, rows, e.c(streamRows)), e.c(1), panels);
    e.loop(e.c(0), panels, together, [&](Value first) {
      pieces([&](Value block, Value count) {
        Value last = e.min(panels, e.add(first, together));
        e.loop(first, last, e.c(1), [&](Value n) {
          Value more = e.cmp(arith::CmpIPredicate::slt, e.add(n, 1), last), next = e.add(block, count);
          piece(n, block, count, e.at(panelAt(e.select(more, e.add(n, 1), first)), e.mul(e.select(more, block, next), format.blockBytes())));
        });
      });
    });
  }

  /// A piece of a panel as f32 [k][32].
  void widen(Value line, Value count) {
    int64_t unit = format.unit(), inGroup = format.group() / unit;
    e.loop(e.c(0), count, e.c(1), [&](Value block) {
      Value from = e.at(line, e.mul(block, format.blockBytes())), to = e.at(widened, e.mul(block, format.block() * 128));
      SmallVector<SmallVector<Value>> opened;
      for (int64_t n = 0; n < columns; ++n)
        opened.push_back(format.open(e, from, e.c(n * e.lanes())));
      e.loop(format.block() / format.group(), [&](Value group) {
        SmallVector<SmallVector<Value>> shared;
        for (int64_t n = 0; n < columns; ++n)
          shared.push_back(format.openGroup(e, from, group, e.c(n * e.lanes()), opened[n]));
        e.loop(inGroup, [&](Value local) {
          Value number = e.add(e.mul(group, inGroup), local), target = e.at(to, e.mul(number, unit * 128));
          for (int64_t n = 0; n < columns; ++n)
            for (auto [u, value] : llvm::enumerate(format.decode(e, from, number, e.c(n * e.lanes()), shared[n])))
              e.store(value, e.at(target, static_cast<int64_t>(u) * 128 + n * e.lanes() * 4));
        });
      });
    });
  }

  Emit &e;
  const WeightFormat &format;
  bool dots;
  Value x, ldx, rows, w, panels, blocks, out, ldo, widened, panelBytes;
  int64_t columns, group; // registers of a panel, of a tile
};
} // namespace

int64_t loopc::codegen::widenedBytes(const WeightFormat &format, int64_t k) {
  return std::max(std::max(blockK, format.block()) * 128, format.blocks(k) * 4 + 64);
}

bool loopc::codegen::isAmx32(const Emit &e, const WeightFormat &format, Type input) {
  return e.amx32 && format.name() == "bf16" && input.isBF16();
}

LLVM::LLVMFuncOp loopc::codegen::getGemmKernel(PhaseContext &ctx, const WeightFormat &format, Type input) {
  bool amx32 = isAmx32(ctx.e, format, input);
  bool dots = !amx32 && format.name() == "bf16" && input.isBF16() && ctx.e.has("avx512bf16") && ctx.e.lanes() == 16;
  std::string name = "gemm_" + format.name().str() + (amx32 ? "_amx32" : dots ? "_dot" : "");
  if (auto known = ctx.module.lookupSymbol<LLVM::LLVMFuncOp>(name))
    return known;
  Emit e = ctx.e;
  e.b.setInsertionPointToStart(ctx.module.getBody());
  Type p = e.ptrType(), i = e.i64();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.b.getContext()), {p, i, i, p, i, i, p, i, p});
  auto func = LLVM::LLVMFuncOp::create(e.b, e.loc, name, type, LLVM::Linkage::Internal);
  func.setNoInline(true);
  Block *entry = func.addEntryBlock(e.b);
  e.b.setInsertionPointToStart(entry);
  amx32 ? writeAmx32Kernel(e, entry) : KernelWriter(e, format, dots, entry).write();
  LLVM::ReturnOp::create(e.b, e.loc, ValueRange());
  return func;
}
