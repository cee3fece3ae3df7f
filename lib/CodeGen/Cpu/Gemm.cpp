// Linears: rows times packed panels in the order "chain", then the epilogue.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each output is one fused multiply-add chain over ascending k from +0, whatever the number of rows
// and however many columns are worked on at once, so a row's bits do not depend on the rows beside it. Accumulators of
// m rows and c column registers stay in registers: m * c <= 12 of 16, or <= 24 of 32 (AVX-512).
#include "Context.h"
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {
struct KernelEmitter {
  Emit &e;
  const WeightFormat &format;
  Value x, ldx, blocks, w, out, ldo; // blocks: of a panel along k; w: of the first panel, out: of the first column

  // m rows, column registers [first, first + columns) of `panels` adjacent panels.
  void block(int64_t m, int64_t panels, int64_t first, int64_t columns, Value xRows, Value wPanel, Value outTile, bool prefetch) {
    int64_t lanes = e.lanes(), all = panels * columns, unit = format.unit();
    Value panelBytes = e.mul(blocks, format.blockBytes());
    SmallVector<Value> rows, streams;
    for (int64_t i = 0; i < m; ++i)
      rows.push_back(i ? e.at(xRows, e.mul(ldx, i)) : xRows);
    for (int64_t p = 0; p < panels; ++p)
      streams.push_back(p ? e.at(wPanel, e.mul(panelBytes, p)) : wPanel);
    SmallVector<Value> sums(m * all, e.splatF32(0.0, lanes));
    auto columnOf = [&](int64_t n) { return (first + n % columns) * lanes; };

    // Unit number `number` of a block that begins at activation number `at`. Loads stand where the fewest registers are
    // alive: what there is less of, rows or column registers, is loaded first.
    using Lines = ArrayRef<Value>;
    auto step = [&](Lines lines, ArrayRef<SmallVector<Value>> opened, Value at, Value number, ArrayRef<Value> before) {
      SmallVector<Value> after(before);
      Value xBytes = e.mul(e.add(at, e.mul(number, unit)), 4);
      auto factor = [&](int64_t i, int64_t u) { return e.splat(e.load(e.f32(), e.at(e.at(rows[i], xBytes), 4 * u)), lanes); };
      auto column = [&](int64_t n) { return format.decode(e, lines[n / columns], number, columnOf(n), opened[n]); };
      auto add = [&](int64_t i, int64_t n, Value a, Value b) {
        Value &sum = after[i * all + n];
        sum = e.fma(a, b, sum);
      };
      if (m <= all) {
        SmallVector<Value> held;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t u = 0; u < unit; ++u)
            held.push_back(factor(i, u));
        for (int64_t n = 0; n < all; ++n) {
          SmallVector<Value> b = column(n);
          for (int64_t u = 0; u < unit; ++u)
            for (int64_t i = 0; i < m; ++i)
              add(i, n, held[i * unit + u], b[u]);
        }
      } else {
        SmallVector<SmallVector<Value>> held;
        for (int64_t n = 0; n < all; ++n)
          held.push_back(column(n));
        for (int64_t u = 0; u < unit; ++u)
          for (int64_t i = 0; i < m; ++i) {
            Value a = factor(i, u);
            for (int64_t n = 0; n < all; ++n)
              add(i, n, a, held[n][u]);
          }
      }
      return after;
    };
    auto wholeBlock = [&](Value block, ArrayRef<Value> before) -> SmallVector<Value> {
      Value at = e.mul(block, format.block()), bytes = e.mul(block, format.blockBytes());
      SmallVector<Value> lines;
      for (int64_t p = 0; p < panels; ++p) {
        lines.push_back(e.at(streams[p], bytes));
        if (prefetch)
          for (int64_t ahead = 0; ahead < format.blockBytes(); ahead += 64)
            LLVM::Prefetch::create(e.b, e.loc, e.at(lines[p], 2048 + ahead), 0, 3, 1);
      }
      SmallVector<SmallVector<Value>> opened;
      for (int64_t n = 0; n < all; ++n)
        opened.push_back(format.open(e, lines[n / columns], columnOf(n)));
      if (unit == format.block())
        return step(lines, opened, at, e.c(0), before);
      return e.loop(e.c(0), e.c(format.block() / unit), e.c(1), before,
                    [&](Value number, ValueRange carried) { return step(lines, opened, at, number, SmallVector<Value>(carried)); });
    };
    // With more rows there are enough independent chains, and no registers to spare.
    int64_t unroll = m == 1 ? std::max<int64_t>(1, 4 / format.block()) : 1;
    Value whole = e.mul(e.div(blocks, unroll), unroll);
    sums = e.loop(e.c(0), whole, e.c(unroll), sums, [&](Value at, ValueRange carried) {
      SmallVector<Value> values(carried);
      for (int64_t u = 0; u < unroll; ++u)
        values = wholeBlock(e.add(at, u), values);
      return values;
    });
    if (unroll > 1)
      sums = e.loop(whole, blocks, e.c(1), sums, [&](Value at, ValueRange carried) { return wholeBlock(at, SmallVector<Value>(carried)); });
    for (int64_t i = 0; i < m; ++i) {
      Value tile = i ? e.at(outTile, e.mul(ldo, i)) : outTile;
      for (int64_t n = 0; n < all; ++n)
        e.store(sums[i * all + n], e.at(tile, (n / columns * 32 + columnOf(n)) * 4));
    }
  }
};
} // namespace

LLVM::LLVMFuncOp loopc::codegen::getGemmKernel(PhaseContext &ctx, const WeightFormat &format) {
  std::string name = "gemm_" + format.name().str();
  if (auto known = ctx.module.lookupSymbol<LLVM::LLVMFuncOp>(name))
    return known;
  Emit e = ctx.e;
  e.b.setInsertionPointToStart(ctx.module.getBody());
  Type p = e.ptrType(), i = e.i64();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(e.b.getContext()), {p, i, i, p, i, i, p, i});
  auto func = LLVM::LLVMFuncOp::create(e.b, e.loc, name, type, LLVM::Linkage::Internal);
  func.setNoInline(true);
  Block *entry = func.addEntryBlock(e.b);
  e.b.setInsertionPointToStart(entry);
  auto arg = [&](int n) -> Value { return entry->getArgument(n); };
  Value x = arg(0), ldx = arg(1), rows = arg(2), w = arg(3), panels = arg(4), blocks = arg(5), out = arg(6), ldo = arg(7);
  KernelEmitter kernel{e, format, x, ldx, blocks, w, out, ldo};
  int64_t columns = 32 / e.lanes(); // registers of a panel
  int64_t budget = e.vectorBits >= 512 ? 24 : 12;
  int64_t most = std::max<int64_t>(1, std::min<int64_t>(12, budget / std::min<int64_t>(columns, 2)));
  Value panelBytes = e.mul(blocks, format.blockBytes());
  auto panelAt = [&](Value n) { return e.at(w, e.mul(n, panelBytes)); };
  auto tileAt = [&](Value n) { return e.at(out, e.mul(n, 128)); };

  // One row: several panels at once, for as many streams from memory.
  int64_t together = std::max<int64_t>(1, 8 / columns);
  e.when(
      e.cmp(arith::CmpIPredicate::eq, rows, e.c(1)),
      [&] {
        Value grouped = e.mul(e.div(panels, together), together);
        e.loop(e.c(0), grouped, e.c(together), [&](Value n) { kernel.block(1, together, 0, columns, x, panelAt(n), tileAt(n), true); });
        if (together > 1)
          e.loop(grouped, panels, e.c(1), [&](Value n) { kernel.block(1, 1, 0, columns, x, panelAt(n), tileAt(n), true); });
      },
      [&] {
        e.loop(e.c(0), panels, e.c(1), [&](Value n) {
          e.loop(e.c(0), rows, e.c(most), [&](Value row) {
            Value m = e.min(e.c(most), e.sub(rows, row));
            Value xRows = e.at(x, e.mul(row, ldx)), tile = e.at(tileAt(n), e.mul(row, ldo));
            std::function<void(int64_t)> choose = [&](int64_t count) {
              auto emit = [&] {
                int64_t part = std::max<int64_t>(1, std::min(columns, budget / count));
                while (columns % part)
                  --part;
                for (int64_t first = 0; first < columns; first += part)
                  kernel.block(count, 1, first, part, xRows, panelAt(n), tile, first == 0);
              };
              if (count == 1)
                return emit();
              e.when(e.cmp(arith::CmpIPredicate::eq, m, e.c(count)), emit, [&] { choose(count - 1); });
            };
            choose(most);
          });
        });
      });
  LLVM::ReturnOp::create(e.b, e.loc, ValueRange());
  return func;
}

void loopc::codegen::emitGemm(PhaseContext &ctx, task::GemmOp op, ScratchPlan &scratch) {
  Emit &e = ctx.e;
  int64_t n = op.getShape()[0], k = op.getK(), groups = op.getGroups();
  auto panelType = cast<task::MemType>(op.getIns()[1].getType());
  const WeightFormat &format = weightFormat(panelType.getElement());
  LLVM::LLVMFuncOp kernel = getGemmKernel(ctx, format);
  for (Value memory : op.getIns())
    ctx.root(memory);
  for (Value memory : op.getOuts())
    ctx.root(memory);
  auto viewOf = [&](unsigned i) { return cast<task::ViewAttr>(op.getViews()[i]); };

  int64_t panels = (n + 31) / 32, panelBytes = format.panelBytes(k), filled = format.blocks(k) * format.block();
  int64_t ldx = (filled * 4 + 63) / 64 * 64 + 64, ldt = gemmPanels * 128; // one line more: rows do not share cache sets
  int64_t tileBytes = gemmRows * ldt;
  Value xs = e.at(ctx.scratch, scratch.reserve(gemmRows * ldx));
  Value tiles = e.at(ctx.scratch, scratch.reserve(groups * tileBytes));
  Value weights = ctx.row(op.getIns()[1], e.c(0));
  Value input = op.getIns()[0];
  Type inputElement = cast<task::MemType>(input.getType()).getElement();
  int64_t inputWidth = task::getByteWidth(inputElement);
  auto [begin, end] = ctx.cut(e.c(panels));

  // The columns of panel `panel` (index `local` in the tile) of one row.
  auto epilogue = [&](Value row, Value tileRow, Value panel, Value local) {
    SmallVector<Value> addresses;
    SmallVector<std::pair<Type, int64_t>> kinds; // element, stride
    for (unsigned i = 2; i < op.getIns().size() + op.getOuts().size(); ++i) {
      Value memory = i < op.getIns().size() ? op.getIns()[i] : op.getOuts()[i - op.getIns().size()];
      Type type = cast<task::MemType>(memory.getType()).getElement();
      int64_t stride = viewOf(i).getStrides()[0], bytes = task::getByteWidth(type);
      Value address = e.at(ctx.row(memory, row), viewOf(i).getOffset() * bytes);
      if (stride)
        address = e.at(address, e.mul(panel, 32 * bytes));
      addresses.push_back(address);
      kinds.push_back({type, stride});
    }
    Value tile = e.at(tileRow, e.mul(local, 128));
    size_t others = op.getIns().size() - 2;
    auto columns = [&](int64_t count) {
      e.pieces(count, 2 * e.lanes(), [&](Value i, int64_t width) {
        SmallVector<Value> arguments;
        Value bytes = e.mul(i, 4);
        for (int64_t g = 0; g < groups; ++g)
          arguments.push_back(e.load(e.vecF32(width), e.at(e.at(tile, g * tileBytes), bytes)));
        for (size_t j = 0; j < others; ++j) {
          auto [type, stride] = kinds[j];
          if (stride)
            arguments.push_back(e.loadVector(type, width, e.at(addresses[j], e.mul(i, task::getByteWidth(type)))));
          else
            arguments.push_back(e.splat(e.extract(e.loadVector(type, 1, addresses[j]), 0), width));
        }
        SmallVector<Value> results = emitElements(ctx, op.getBody().front(), arguments, width);
        for (size_t j = 0; j < results.size(); ++j) {
          Type type = kinds[others + j].first;
          e.storeVector(type, results[j], e.at(addresses[others + j], e.mul(i, task::getByteWidth(type))));
        }
      });
    };
    if (n % 32 == 0)
      return columns(32);
    e.when(
        e.cmp(arith::CmpIPredicate::eq, panel, e.c(panels - 1)), [&] { columns(n % 32); }, [&] { columns(32); });
  };

  e.when(e.cmp(arith::CmpIPredicate::slt, begin, end), [&, begin = begin, end = end] {
    e.loop(e.c(0), ctx.count, e.c(gemmRows), [&](Value first) {
      Value rows = e.min(e.c(gemmRows), e.sub(ctx.count, first));
      e.loop(e.c(0), rows, e.c(1), [&](Value i) {
        Value from = e.at(ctx.row(input, ctx.listed(e.add(first, i))), viewOf(0).getOffset() * inputWidth);
        Value to = e.at(xs, e.mul(i, ldx));
        e.pieces(k, 4 * e.lanes(), [&](Value j, int64_t width) {
          e.store(e.loadF32(inputElement, width, e.at(from, e.mul(j, inputWidth))), e.at(to, e.mul(j, 4)));
        });
        e.pieces(filled - k, e.lanes(), [&](Value j, int64_t width) { e.store(e.splatF32(0.0, width), e.at(to, e.mul(e.add(j, k), 4))); });
      });
      e.loop(begin, end, e.c(gemmPanels), [&](Value panel) {
        Value count = e.min(e.c(gemmPanels), e.sub(end, panel));
        for (int64_t g = 0; g < groups; ++g) {
          Value w = e.at(e.at(weights, g * panels * panelBytes), e.mul(panel, panelBytes));
          LLVM::CallOp::create(e.b, e.loc, kernel,
                               ValueRange{xs, e.c(ldx), rows, w, count, e.c(format.blocks(k)), e.at(tiles, g * tileBytes), e.c(ldt)});
        }
        e.loop(e.c(0), rows, e.c(1), [&](Value i) {
          Value row = ctx.listed(e.add(first, i));
          e.loop(e.c(0), count, e.c(1), [&](Value local) { epilogue(row, e.at(tiles, e.mul(i, ldt)), e.add(panel, local), local); });
        });
      });
    });
  });
}
