// Kernels of linears of bf16 rows and weights in the order "amx32", that of tdpbf16ps.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// 32 k at a time: the first elements of 16 pairs in one chain of fused multiply-adds from +0, the second ones in another,
// and the sum of both is added to what came before. So does the instruction (Intel SDM vol. 2, TDPBF16PS, with denormals
// as zero), and vectors can do the same: bits depend neither on the number of rows nor on which kernel took them.
//
//   few rows      vectors: several panels side by side, two short chains for each sum
//   more rows     tiles of 16 rows by 16 columns, two by two; where the CPU has no tiles, vectors again
#include "Context.h"
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {

constexpr int64_t words = 16;         ///< 32-bit words, each two k, of a step of the order
constexpr int64_t tileRows = 16;      ///< rows of a tile; a row has 16 words
constexpr int64_t wordRowBytes = 128; ///< a word of each column of a panel
/// Rows up to which vectors read weights from memory faster than tiles do.
constexpr int64_t vectorRows = 2;
/// Bytes that a stream of weights is asked for ahead of its use.
constexpr int64_t aheadBytes = 2048;

class KernelWriter {
public:
  KernelWriter(Emit &e, Block *entry) : e(e), format(weightFormat("bf16")) {
    auto arg = [&](int n) -> Value { return entry->getArgument(n); };
    x = arg(0), ldx = arg(1), rows = arg(2), w = arg(3), panels = arg(4), blocks = arg(5), out = arg(6), ldo = arg(7), rest = arg(8);
    panelBytes = e.mul(blocks, wordRowBytes);
    columns = 32 / e.lanes();
    whole = e.mul(e.div(blocks, words), words);
  }

  void write() {
    if (!hasTiles(e))
      return byVectors();
    e.when(rowsAreWords(e, rows), [&] { byTiles(); }, [&] { byVectors(); });
  }

private:
  Value panelAt(Value n) { return e.at(w, e.mul(n, panelBytes)); }

  /// Sums of `m` rows times `width` column registers of `together` panels, all k.
  void vectors(int64_t m, int64_t together, int64_t first, int64_t width, Value from, Value panel, Value to) {
    int64_t lanes = e.lanes(), all = together * width;
    SmallVector<Value> factors, streams;
    for (int64_t i = 0; i < m; ++i)
      factors.push_back(i ? e.at(from, e.mul(ldx, i)) : from);
    for (int64_t p = 0; p < together; ++p)
      streams.push_back(e.at(p ? e.at(panel, e.mul(panelBytes, p)) : panel, first * lanes * 4));
    Value zero = e.splatF32(0.0, lanes);
    // Word number `at`: one more product in each of the chains of first and of second elements.
    auto word = [&](Value at, ArrayRef<Value> before) {
      SmallVector<Value> chains(before);
      Value bytes = e.mul(at, wordRowBytes);
      auto factor = [&](int64_t i, int64_t k) { return e.splat(e.load(e.f32(), e.at(factors[i], e.add(e.mul(at, 8), 4 * k))), lanes); };
      SmallVector<std::pair<Value, Value>> held;
      for (int64_t i = 0; i < m; ++i)
        held.push_back({factor(i, 0), factor(i, 1)});
      for (int64_t n = 0; n < all; ++n) {
        Value line = e.at(streams[n / width], bytes);
        if (n % width * lanes % words == 0)
          LLVM::Prefetch::create(e.b, e.loc, e.at(line, aheadBytes + n % width * lanes * 4), 0, 3, 1);
        SmallVector<Value> pair = format.decode(e, line, Value(), e.c(n % width * lanes), {});
        for (int64_t i = 0; i < m; ++i) {
          Value *both = &chains[2 * (i * all + n)];
          both[0] = e.fma(held[i].first, pair[0], both[0]);
          both[1] = e.fma(held[i].second, pair[1], both[1]);
        }
      }
      return chains;
    };
    auto step = [&](Value begin, Value count, int64_t several, ValueRange sums) {
      SmallVector<Value> chains(2 * m * all, zero), next;
      chains = e.loop(begin, e.add(begin, count), e.c(several), chains, [&](Value at, ValueRange carried) {
        SmallVector<Value> values(carried);
        for (int64_t u = 0; u < several; ++u)
          values = word(e.add(at, u), values);
        return values;
      });
      for (auto [i, sum] : llvm::enumerate(sums))
        next.push_back(e.addF(sum, e.addF(chains[2 * i], chains[2 * i + 1])));
      return next;
    };
    SmallVector<Value> sums(m * all, zero);
    sums = e.loop(e.c(0), whole, e.c(words), sums, [&](Value at, ValueRange carried) { return step(at, e.c(words), 4, carried); });
    sums = e.loop(whole, blocks, e.c(words), sums, [&](Value at, ValueRange carried) { return step(at, e.sub(blocks, at), 1, carried); });
    for (int64_t i = 0; i < m; ++i)
      for (int64_t n = 0; n < all; ++n)
        e.store(sums[i * all + n], e.at(e.at(to, e.mul(ldo, i)), n / width * 128 + (first + n % width) * lanes * 4));
  }

  void byVectors() {
    // Two chains and a sum for each column register of each row, beside two factors of a row, a word's halves and a mask.
    auto widest = [&](int64_t m) { return std::max<int64_t>(1, (e.registers - 3 - 2 * m) / (3 * m)); };
    auto some = [&](int64_t m, Value begin) {
      int64_t room = widest(m), together = std::max<int64_t>(1, room / columns), width = columns;
      while (width > room)
        width /= 2;
      auto at = [&](Value n, int64_t count) {
        for (int64_t first = 0; first < columns; first += width)
          vectors(m, count, first, width, e.at(x, e.mul(begin, ldx)), panelAt(n), e.at(e.at(out, e.mul(begin, ldo)), e.mul(n, 128)));
      };
      Value grouped = e.mul(e.div(panels, together), together);
      e.loop(e.c(0), grouped, e.c(together), [&](Value n) { at(n, together); });
      if (together > 1)
        e.loop(grouped, panels, e.c(1), [&](Value n) { at(n, 1); });
    };
    Value even = e.mul(e.div(rows, vectorRows), vectorRows);
    e.loop(e.c(0), even, e.c(vectorRows), [&](Value begin) { some(vectorRows, begin); });
    e.loop(even, rows, e.c(1), [&](Value begin) { some(1, begin); });
  }

  // Tiles have 16 rows of 64 bytes whatever they hold: rows of x behind the last are memory that belongs to x, their sums
  // memory that belongs to out, and nobody reads them.
  Value intrinsic(StringRef name, Type result, ArrayRef<Value> operands) {
    SmallVector<Value> all{i16(tileRows), i16(64)};
    all.append(operands.begin(), operands.end());
    StringAttr full = e.b.getStringAttr("llvm.x86." + name + ".internal");
    if (result)
      return LLVM::CallIntrinsicOp::create(e.b, e.loc, result, full, all).getResult(0);
    LLVM::CallIntrinsicOp::create(e.b, e.loc, full, all);
    return {};
  }
  Value i16(int64_t value) { return arith::ConstantIntOp::create(e.b, e.loc, value, 16); }
  Type tile() { return LLVM::LLVMX86AMXType::get(e.b.getContext()); }

  /// Sums of `down` tiles of rows times the two tiles of columns of a panel.
  void tiles(int64_t down, Value from, Value panel, Value to, Value tail) {
    SmallVector<Value> sums;
    for (int64_t i = 0; i < 2 * down; ++i)
      sums.push_back(intrinsic("tilezero", tile(), {}));
    auto step = [&](Value at, Value weights, ValueRange before) {
      SmallVector<Value> next(before), halves;
      for (int64_t c = 0; c < 2; ++c)
        halves.push_back(intrinsic("tileloadd64", tile(), {e.at(weights, c * 64), e.c(wordRowBytes)}));
      for (int64_t i = 0; i < down; ++i) {
        Value factor = intrinsic("tileloadd64", tile(), {e.at(e.at(from, e.mul(ldx, i * tileRows)), e.mul(at, 4)), ldx});
        for (int64_t c = 0; c < 2; ++c)
          next[2 * i + c] = intrinsic("tdpbf16ps", tile(), {i16(64), next[2 * i + c], factor, halves[c]});
      }
      return next;
    };
    sums = e.loop(e.c(0), whole, e.c(words), sums, [&](Value at, ValueRange before) {
      Value weights = e.at(panel, e.mul(at, wordRowBytes));
      for (int64_t line = 0; line < words; ++line)
        for (int64_t c = 0; c < 2; ++c)
          LLVM::Prefetch::create(e.b, e.loc, e.at(weights, aheadBytes + line * wordRowBytes + c * 64), 0, 3, 1);
      return step(at, weights, before);
    });
    sums = e.loop(whole, blocks, e.c(words), sums, [&](Value at, ValueRange before) { return step(at, tail, before); });
    for (int64_t i = 0; i < down; ++i)
      for (int64_t c = 0; c < 2; ++c)
        intrinsic("tilestored64", Type(), {e.at(e.at(to, e.mul(ldo, i * tileRows)), c * 64), ldo, sums[2 * i + c]});
  }

  void byTiles() {
    Value down = e.div(e.add(rows, tileRows - 1), tileRows), even = e.mul(e.div(down, 2), 2);
    e.loop(e.c(0), panels, e.c(1), [&](Value n) {
      // What is left of k is filled up with zeros: a tile takes 32 of them.
      Value panel = panelAt(n);
      e.loop(whole, blocks, e.c(words), [&](Value at) {
        e.loop(e.c(0), e.c(words), e.c(1), [&](Value word) {
          Value inside = e.cmp(arith::CmpIPredicate::slt, e.add(at, word), blocks);
          Value source = e.at(panel, e.mul(e.select(inside, e.add(at, word), at), wordRowBytes));
          Type line = e.vec(32, e.i32());
          Value zero = arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(line));
          e.store(e.select(inside, e.load(line, source), zero), e.at(rest, e.mul(word, wordRowBytes)));
        });
      });
      auto some = [&](int64_t count, Value t) {
        Value row = e.mul(t, tileRows);
        tiles(count, e.at(x, e.mul(row, ldx)), panel, e.at(e.at(out, e.mul(row, ldo)), e.mul(n, 128)), rest);
      };
      e.loop(e.c(0), even, e.c(2), [&](Value t) { some(2, t); });
      e.loop(even, down, e.c(1), [&](Value t) { some(1, t); });
    });
  }

  Emit &e;
  const WeightFormat &format;
  Value x, ldx, rows, w, panels, blocks, out, ldo, rest, panelBytes, whole;
  int64_t columns; // registers of a panel
};

} // namespace

bool loopc::codegen::hasTiles(const Emit &e) { return e.has("amx-tile") && e.has("amx-bf16"); }

Value loopc::codegen::rowsAreWords(Emit &e, Value rows) { return e.cmp(arith::CmpIPredicate::sgt, rows, e.c(vectorRows)); }

void loopc::codegen::gatherWords(Emit &e, int64_t k, Value from, Value to) {
  // A word of a panel has the first k in its upper half: the halves of the row's words change places.
  auto halves = [&](Value both) -> Value {
    auto type = cast<VectorType>(both.getType());
    Value sixteen = arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(type, e.b.getI32IntegerAttr(16)));
    return arith::OrIOp::create(e.b, e.loc, arith::ShLIOp::create(e.b, e.loc, both, sixteen), arith::ShRUIOp::create(e.b, e.loc, both, sixteen));
  };
  e.pieces(k / 2, 2 * e.lanes(), [&](Value i, int64_t width) {
    e.store(halves(e.load(e.vec(width, e.i32()), e.at(from, e.mul(i, 4)))), e.at(to, e.mul(i, 4)));
  });
  int64_t done = k / 2;
  if (k % 2) {
    Value last = arith::ExtUIOp::create(e.b, e.loc, e.i32(), e.load(e.b.getI16Type(), e.at(from, done * 4)));
    e.store(arith::ShLIOp::create(e.b, e.loc, last, e.c32(16)), e.at(to, done++ * 4));
  }
  e.pieces((done + words - 1) / words * words - done, e.lanes(), [&](Value i, int64_t width) {
    Value zero = arith::ConstantOp::create(e.b, e.loc, e.b.getZeroAttr(e.vec(width, e.i32())));
    e.store(zero, e.at(to, e.mul(e.add(i, done), 4)));
  });
}

void loopc::codegen::writeAmx32Kernel(Emit &e, Block *entry) { KernelWriter(e, entry).write(); }
