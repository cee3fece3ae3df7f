// Gradients of weights: sums over the rows of a phase, added to what the phases before it left.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whoever computes an element takes its rows in ascending order, in groups that are anchored at the first row of the
// list, so the number of workers changes no bit. An outer product is a linear: the rows of one operand, transposed,
// times panels made of the rows of the other.
#include "Context.h"
#include "Weights.h"

using namespace mlir;
using namespace loopc::codegen;

namespace {
/// Rows that are summed before their sum is added to the gradient.
constexpr int64_t groupRows = 256;
/// Rows and columns of the piece of a matrix that one worker takes.
constexpr int64_t pieceRows = 128, pieceColumns = 128;

class AccumulateEmitter {
public:
  AccumulateEmitter(PhaseContext &ctx, task::AccumulateOp op, ScratchPlan &scratch)
      : ctx(ctx), e(ctx.e), op(op), scratch(scratch) {
    for (Value memory : op.getIns())
      ctx.root(memory);
    gradient = ctx.row(op.getOuts()[0], e.c(0));
    n = op.getShape()[0];
  }

  void emit() { op.getOuter() ? outer() : op.getRow() ? atRows() : plain(); }

private:
  /// Element 0 of operand `i` at entry `at` of the list, as f32.
  Value operand(unsigned i, Value at) {
    auto type = cast<task::MemType>(op.getIns()[i].getType());
    int64_t offset = cast<task::ViewAttr>(op.getViews()[i]).getOffset() * task::getByteWidth(type.getElement());
    return e.at(ctx.row(op.getIns()[i], ctx.listed(at)), offset);
  }
  Value read(unsigned i, Value address, Value element, int64_t width) {
    Type type = cast<task::MemType>(op.getIns()[i].getType()).getElement();
    return e.loadF32(type, width, e.at(address, e.mul(element, task::getByteWidth(type))));
  }
  void add(Value to, Value values, int64_t width) { e.store(e.addF(e.load(e.vecF32(width), to, 4), values), to, 4); }

  /// Calls `body(first, width)` for this worker's part of n features, in pieces of `width` and a rest of falling ones.
  void features(llvm::function_ref<void(Value, int64_t)> body) {
    int64_t width = 2 * e.lanes(), whole = n / width;
    auto [begin, end] = ctx.cut(e.c(whole + (n % width ? 1 : 0)));
    e.loop(begin, end, e.c(1), [&](Value piece) {
      e.when(
          e.cmp(arith::CmpIPredicate::slt, piece, e.c(whole)), [&] { body(e.mul(piece, width), width); },
          [&] {
            e.pieces(n % width, width / 2, [&](Value at, int64_t rest) { body(e.add(at, whole * width), rest); });
          });
    });
  }

  void plain() {
    features([&](Value first, int64_t width) {
      Value to = e.at(gradient, e.mul(first, 4));
      e.loop(e.c(0), ctx.count, e.c(groupRows), [&](Value group) {
        Value sum = e.loop(group, e.min(ctx.count, e.add(group, groupRows)), e.c(1), ValueRange(e.splatF32(0.0, width)),
                           [&](Value i, ValueRange sum) {
                             return SmallVector<Value>{e.addF(sum[0], read(0, operand(0, i), first, width))};
                           })[0];
        add(to, sum, width);
      });
    });
  }

  void atRows() {
    int64_t rows = cast<task::MemType>(op.getOuts()[0].getType()).getCount() / n;
    features([&](Value first, int64_t width) {
      e.loop(e.c(0), ctx.count, e.c(1), [&](Value i) {
        Value id = e.widen(e.load(e.i32(), operand(1, i)));
        e.when(e.cmp(arith::CmpIPredicate::ult, id, e.c(rows)), [&] {
          add(e.at(gradient, e.mul(e.add(e.mul(id, n), first), 4)), read(0, operand(0, i), first, width), width);
        });
      });
    });
  }

  void outer() {
    int64_t k = op.getShape()[1], lanes = e.lanes();
    int64_t across = (k + pieceColumns - 1) / pieceColumns, down = (n + pieceRows - 1) / pieceRows;
    int64_t ldx = groupRows * 4 + 64, ldt = pieceColumns * 4;
    const WeightFormat &f32 = weightFormat("f32");
    Value turned = e.at(ctx.scratch, scratch.reserve(pieceRows * ldx)),
          panels = e.at(ctx.scratch, scratch.reserve(groupRows * pieceColumns * 4));
    Value tiles = e.at(ctx.scratch, scratch.reserve(pieceRows * ldt)),
          widened = e.at(ctx.scratch, scratch.reserve(widenedBytes(f32, groupRows)));
    LLVM::LLVMFuncOp kernel = getGemmKernel(ctx, f32, e.f32());
    // Columns [0, width) of a panel: all but the last of the matrix are whole.
    auto ofPanel = [&](Value panel, llvm::function_ref<void(int64_t)> body) {
      if (k % 32 == 0)
        return body(32);
      e.when(
          e.cmp(arith::CmpIPredicate::eq, panel, e.c(k / 32)), [&] { body(k % 32); }, [&] { body(32); });
    };
    ctx.deal(e.c(across * down), 1, [&](Value item, Value) {
      Value first = e.mul(e.div(item, across), pieceRows), firstPanel = e.mul(e.rem(item, across), pieceColumns / 32);
      Value rows = e.min(e.c(pieceRows), e.sub(e.c(n), first));
      Value count = e.min(e.c(pieceColumns / 32), e.sub(e.c((k + 31) / 32), firstPanel));
      e.loop(e.c(0), ctx.count, e.c(groupRows), [&](Value group) {
        Value several = e.min(e.c(groupRows), e.sub(ctx.count, group));
        e.loop(e.c(0), several, e.c(1), [&](Value r) {
          Value x = operand(1, e.add(group, r)), d = operand(0, e.add(group, r)), column = e.at(turned, e.mul(r, 4));
          e.loop(e.c(0), count, e.c(1), [&](Value p) {
            Value panel = e.add(firstPanel, p), to = e.at(panels, e.mul(e.add(e.mul(p, several), r), 128));
            ofPanel(panel, [&](int64_t valid) {
              e.pieces(valid, 2 * lanes, [&](Value j, int64_t width) {
                e.store(read(1, x, e.add(e.mul(panel, 32), j), width), e.at(to, e.mul(j, 4)), 4);
              });
              e.pieces(32 - valid, lanes, [&](Value j, int64_t width) {
                e.store(e.splatF32(0.0, width), e.at(to, e.mul(e.add(j, valid), 4)), 4);
              });
            });
          });
          auto turn = [&](Value i, int64_t width) {
            Value v = read(0, d, e.add(first, i), width);
            for (int64_t j = 0; j < width; ++j)
              e.store(e.extract(v, j), e.at(column, e.mul(e.add(i, j), ldx)), 4);
          };
          Value whole = e.mul(e.div(rows, lanes), lanes);
          e.loop(e.c(0), whole, e.c(lanes), [&](Value i) { turn(i, lanes); });
          e.loop(whole, rows, e.c(1), [&](Value i) { turn(i, 1); });
        });
        LLVM::CallOp::create(e.b, e.loc, kernel,
                             ValueRange{turned, e.c(ldx), rows, panels, count, several, tiles, e.c(ldt), widened});
        e.loop(e.c(0), rows, e.c(1), [&](Value i) {
          Value row = e.at(gradient, e.mul(e.add(first, i), k * 4)), tile = e.at(tiles, e.mul(i, ldt));
          e.loop(e.c(0), count, e.c(1), [&](Value p) {
            Value panel = e.add(firstPanel, p), to = e.at(row, e.mul(panel, 128)), from = e.at(tile, e.mul(p, 128));
            ofPanel(panel, [&](int64_t valid) {
              e.pieces(valid, 2 * lanes, [&](Value j, int64_t width) {
                add(e.at(to, e.mul(j, 4)), e.load(e.vecF32(width), e.at(from, e.mul(j, 4)), 4), width);
              });
            });
          });
        });
      });
    });
  }

  PhaseContext &ctx;
  Emit &e;
  task::AccumulateOp op;
  ScratchPlan &scratch;
  Value gradient;
  int64_t n;
};
} // namespace

void loopc::codegen::emitAccumulate(PhaseContext &ctx, task::AccumulateOp op, ScratchPlan &scratch) {
  AccumulateEmitter(ctx, op, scratch).emit();
}
