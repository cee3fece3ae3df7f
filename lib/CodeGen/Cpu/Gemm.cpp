// Linears: rows are gathered, multiplied with packed panels, and finished by the epilogue.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Context.h"
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

void loopc::codegen::emitGemm(PhaseContext &ctx, task::GemmOp op, ScratchPlan &scratch) {
  Emit &e = ctx.e;
  int64_t n = op.getShape()[0], k = op.getK(), groups = op.getGroups();
  const WeightFormat &format = weightFormat(op.getIns()[1].getDefiningOp<task::ParamOp>());
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
  Value widened = e.at(ctx.scratch, scratch.reserve(widenedBytes(format, k)));
  Value weights = ctx.row(op.getIns()[1], e.c(0));
  Value input = op.getIns()[0];
  Type inputElement = cast<task::MemType>(input.getType()).getElement();
  int64_t inputWidth = task::getByteWidth(inputElement);
  LLVM::LLVMFuncOp kernel = getGemmKernel(ctx, format, inputElement);
  bool words = isAmx32(e, format, inputElement) && hasTiles(e);

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

  // Rounds of equally many rows.
  Value rounds = e.max(e.c(1), e.div(e.add(ctx.count, gemmRows - 1), gemmRows));
  Value most = e.max(e.c(1), e.div(e.add(ctx.count, e.sub(rounds, e.c(1))), rounds));
  e.loop(e.c(0), ctx.count, most, [&](Value first) {
    Value rows = e.min(most, e.sub(ctx.count, first));
    e.loop(e.c(0), rows, e.c(1), [&](Value i) {
      Value from = e.at(ctx.row(input, ctx.listed(e.add(first, i))), viewOf(0).getOffset() * inputWidth);
      Value to = e.at(xs, e.mul(i, ldx));
      auto asF32 = [&] {
        e.pieces(k, 4 * e.lanes(), [&](Value j, int64_t width) {
          e.store(e.loadF32(inputElement, width, e.at(from, e.mul(j, inputWidth))), e.at(to, e.mul(j, 4)));
        });
        e.pieces(filled - k, e.lanes(), [&](Value j, int64_t width) { e.store(e.splatF32(0.0, width), e.at(to, e.mul(e.add(j, k), 4))); });
      };
      words ? e.when(rowsAreWords(e, rows), [&] { gatherWords(e, k, from, to); }, asF32) : asF32();
    });
    ctx.deal(e.c(panels), gemmPanels, [&](Value panel, Value end) {
      Value count = e.sub(end, panel);
      for (int64_t g = 0; g < groups; ++g) {
        Value w = e.at(e.at(weights, g * panels * panelBytes), e.mul(panel, panelBytes));
        LLVM::CallOp::create(e.b, e.loc, kernel,
                             ValueRange{xs, e.c(ldx), rows, w, count, e.c(format.blocks(k)), e.at(tiles, g * tileBytes), e.c(ldt), widened});
      }
      e.loop(e.c(0), rows, e.c(1), [&](Value i) {
        Value row = ctx.listed(e.add(first, i));
        e.loop(e.c(0), count, e.c(1), [&](Value local) { epilogue(row, e.at(tiles, e.mul(i, ldt)), e.add(panel, local), local); });
      });
    });
  });
}
