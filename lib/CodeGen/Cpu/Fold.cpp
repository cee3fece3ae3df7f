// Reductions over the rows of a sequence, or of the call.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of a sequence stand side by side in the list, oldest first, and are taken in that order whoever does it: items
// are pieces of the features, so a worker has every row of its piece.
#include "Context.h"
#include "loopc/runtime/abi.h"
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

void loopc::codegen::emitFold(PhaseContext &ctx, task::FoldOp op) {
  Emit &e = ctx.e;
  Value in = op.getIns()[0], out = op.getOuts()[0];
  ctx.root(in);
  ctx.root(out);
  Type from = cast<task::MemType>(in.getType()).getElement(), to = cast<task::MemType>(out.getType()).getElement();
  int64_t offset = cast<task::ViewAttr>(op.getViews()[0]).getOffset() * task::getByteWidth(from);
  loop::ReduceKind kind = op.getKind();
  Value yes = arith::ConstantIntOp::create(e.b, e.loc, 1, 1);
  // Whether entry j of the list belongs to another sequence than entry i.
  auto differ = [&](Value i, Value j) -> Value {
    if (op.getBatch())
      return arith::ConstantIntOp::create(e.b, e.loc, 0, 1);
    auto sequence = [&](Value at) { return ctx.column(offsetof(loopc_call, sequence), ctx.listed(at)); };
    return e.cmp(arith::CmpIPredicate::ne, sequence(i), sequence(j));
  };
  auto fold = [&](Value first, int64_t n) {
    Value last = e.sub(ctx.count, e.c(1));
    e.loop(e.c(0), ctx.count, e.c(1), ValueRange{e.splatF32(0.0, n), e.c(0)}, [&](Value i, ValueRange carried) {
      Value next = e.loadF32(from, n, e.at(e.at(ctx.row(in, ctx.listed(i)), offset), e.mul(first, task::getByteWidth(from))));
      Value before = e.max(e.sub(i, e.c(1)), e.c(0)), after = e.min(e.add(i, 1), last);
      Value starts = e.select(e.cmp(arith::CmpIPredicate::eq, i, e.c(0)), yes, differ(before, i));
      Value ends = e.select(e.cmp(arith::CmpIPredicate::eq, i, last), yes, differ(i, after));
      Value combined = next;
      switch (kind) {
      case loop::ReduceKind::first:
        combined = carried[0];
        break;
      case loop::ReduceKind::last:
        break;
      case loop::ReduceKind::max:
        combined = e.maxF(carried[0], next);
        break;
      case loop::ReduceKind::min:
        combined = arith::MinNumFOp::create(e.b, e.loc, carried[0], next);
        break;
      default:
        combined = e.addF(carried[0], next);
      }
      combined = e.select(starts, next, combined);
      Value begin = e.select(starts, i, carried[1]);
      e.when(ends, [&] {
        Value result = combined;
        if (kind == loop::ReduceKind::mean) {
          Value rows = arith::SIToFPOp::create(e.b, e.loc, e.f32(), e.sub(e.add(i, 1), begin));
          result = e.divF(result, e.splat(rows, n));
        }
        e.loop(begin, e.add(i, 1), e.c(1), [&](Value j) {
          e.storeF32(to, result, e.at(ctx.row(out, ctx.listed(j)), e.mul(first, task::getByteWidth(to))));
        });
      });
      return SmallVector<Value>{combined, begin};
    });
  };
  int64_t features = op.getShape()[0], width = 2 * e.lanes(), whole = features / width;
  auto [begin, end] = ctx.cut(e.c(whole + (features % width ? 1 : 0)));
  e.loop(begin, end, e.c(1), [&](Value piece) {
    Value full = e.cmp(arith::CmpIPredicate::slt, piece, e.c(whole));
    e.when(full, [&] { fold(e.mul(piece, width), width); },
           [&] { e.pieces(features % width, width / 2, [&](Value at, int64_t n) { fold(e.add(e.c(whole * width), at), n); }); });
  });
}
