// Phases whose items are rows: element functions, norms, reductions, rope, embedding, K/V append, end of an iteration.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Context.h"
#include "Weights.h"
#include "loopc/runtime/abi.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>
#include <cstddef>

using namespace mlir;
using namespace loopc::codegen;

namespace {

// One operand at the row being worked on.
struct Operand {
  Value address; // of element `offset` of the row
  Type element;
  ArrayRef<int64_t> strides;
  int64_t width() const { return task::getByteWidth(element); }
};

class RowEmitter {
public:
  RowEmitter(PhaseContext &ctx, ScratchPlan &scratch) : ctx(ctx), e(ctx.e), scratch(scratch) {}

  void emit(task::PhaseOp phase) {
    auto items = phase.getBody().front().getOps<task::ItemOpInterface>();
    for (task::ItemOpInterface item : items) { // addresses that do not depend on the row
      for (Value memory : item.getIns())
        ctx.root(memory);
      for (Value memory : item.getOuts())
        ctx.root(memory);
    }
    auto [begin, end] = ctx.cut(ctx.count);
    e.loop(begin, end, e.c(1), [&](Value i) {
      row = ctx.listed(i);
      for (task::ItemOpInterface item : items)
        emitItem(item);
    });
  }

private:
  void emitItem(task::ItemOpInterface item) {
    SmallVector<Operand> operands;
    unsigned i = 0;
    auto addOperand = [&](Value memory) {
      auto view = cast<task::ViewAttr>(item.getViews()[i++]);
      Operand operand{ctx.row(memory, row), cast<task::MemType>(memory.getType()).getElement(), view.getStrides()};
      operand.address = e.at(operand.address, view.getOffset() * operand.width());
      operands.push_back(operand);
    };
    for (Value memory : item.getIns())
      addOperand(memory);
    for (Value memory : item.getOuts())
      addOperand(memory);
    llvm::TypeSwitch<Operation *>(item.getOperation())
        .Case([&](task::MapOp op) { map(op, operands); })
        .Case([&](task::NormOp op) { norm(op, operands); })
        .Case([&](task::SoftmaxOp op) { softmax(op, operands); })
        .Case([&](task::ReduceOp op) { reduce(op, operands); })
        .Case([&](task::DotOp op) { dot(op, operands); })
        .Case([&](task::RopeOp op) { rope(op, operands); })
        .Case([&](task::EmbedOp op) { embed(op, operands); })
        .Case([&](task::AppendOp op) { append(op, operands); })
        .Case([&](task::KeepOp op) { keep(op, operands); })
        .Case([&](task::RecallOp op) { recall(op, operands); })
        .Case([&](task::CrossEntropyOp op) { crossEntropy(op, operands); })
        .Case([&](task::OneHotOp op) { oneHot(op, operands); })
        .Case([&](task::AdvanceOp op) { advance(op, operands); });
  }

  // Walks all dimensions but the last; the operands' addresses are those of the inner row.
  void outer(ArrayRef<int64_t> shape, ArrayRef<Operand> operands, llvm::function_ref<void(ArrayRef<Operand>)> body, size_t dim = 0) {
    if (dim + 1 >= shape.size())
      return body(operands);
    e.loop(shape[dim], [&](Value i) {
      SmallVector<Operand> inner(operands);
      if (shape[dim] != 1)
        for (Operand &operand : inner)
          if (int64_t step = operand.strides[dim] * operand.width())
            operand.address = e.at(operand.address, e.mul(i, step));
      outer(shape, inner, body, dim + 1);
    });
  }

  // n elements at inner index i.
  Value read(const Operand &operand, Value i, int64_t n) {
    int64_t stride = operand.strides.back();
    if (stride == 0 || n == 1) {
      Value address = stride ? e.at(operand.address, e.mul(i, stride * operand.width())) : operand.address;
      Value one = e.loadVector(operand.element, 1, address);
      if (n == 1)
        return one;
      return e.splat(e.extract(one, 0), n);
    }
    return e.loadVector(operand.element, n, e.at(operand.address, e.mul(i, operand.width())));
  }
  Value readF32(const Operand &operand, Value i, int64_t n) {
    return e.loadF32(operand.element, n, e.at(operand.address, e.mul(i, operand.width())));
  }
  void writeF32(const Operand &operand, Value i, Value value) {
    e.storeF32(operand.element, value, e.at(operand.address, e.mul(i, operand.width())));
  }

  void map(task::MapOp op, ArrayRef<Operand> operands) {
    int64_t n = op.getShape().back();
    bool dense = llvm::all_of(operands, [&](const Operand &o) { return o.strides.back() == 0 || o.strides.back() == 1; });
    size_t ins = op.getIns().size();
    outer(op.getShape(), operands, [&](ArrayRef<Operand> inner) {
      auto body = [&](Value i, int64_t width) {
        SmallVector<Value> arguments;
        for (const Operand &operand : inner.take_front(ins))
          arguments.push_back(read(operand, i, width));
        SmallVector<Value> results = emitElements(ctx, op.getBody().front(), arguments, width);
        for (auto [operand, value] : llvm::zip(inner.drop_front(ins), results))
          e.storeVector(operand.element, value, e.at(operand.address, e.mul(i, operand.strides.back() * operand.width())));
      };
      if (dense)
        e.pieces(n, 2 * e.lanes(), body);
      else
        e.loop(n, [&](Value i) { body(i, 1); });
    });
  }

  // Sum over the last axis: a halving tree in each panel of 32, panels ascending. The callback gives a panel's terms.
  Value panelSum(int64_t n, llvm::function_ref<Value(Value, int64_t)> terms) {
    return e.panels(n, 32, e.cf32(0.0), [&](Value i, int64_t valid, Value sum) {
      return e.addF(sum, e.treeAdd(e.padTo(terms(i, valid), 32, 0.0)));
    });
  }

  void norm(task::NormOp op, ArrayRef<Operand> operands) {
    int64_t n = op.getShape().back();
    outer(op.getShape(), operands, [&](ArrayRef<Operand> inner) {
      const Operand &x = inner.front(), &y = inner.back();
      Value count = e.cf32(static_cast<double>(n));
      Value mean;
      if (op.getKind() == loop::NormKind::layer)
        mean = e.divF(panelSum(n, [&](Value i, int64_t width) { return readF32(x, i, width); }), count);
      Value squares = panelSum(n, [&](Value i, int64_t width) {
        Value v = readF32(x, i, width);
        if (mean)
          v = e.subF(v, e.splat(mean, width));
        return e.mulF(v, v);
      });
      Value variance = e.addF(e.divF(squares, count), e.cf32(op.getEps().convertToDouble()));
      Value scale = e.divF(e.cf32(1.0), math::SqrtOp::create(e.b, e.loc, variance));
      e.pieces(n, 2 * e.lanes(), [&](Value i, int64_t width) {
        Value v = readF32(x, i, width);
        if (mean)
          v = e.subF(v, e.splat(mean, width));
        v = e.mulF(v, e.splat(scale, width));
        if (inner.size() == 3)
          v = e.mulF(v, readF32(inner[1], i, width));
        writeF32(y, i, v);
      });
    });
  }

  void softmax(task::SoftmaxOp op, ArrayRef<Operand> operands) {
    int64_t n = op.getShape().back();
    double lowest = -INFINITY;
    outer(op.getShape(), operands, [&](ArrayRef<Operand> inner) {
      const Operand &x = inner[0], &y = inner[1];
      Value top = e.treeMax(e.panels(n, 32, e.splatF32(lowest, 32), [&](Value i, int64_t valid, Value best) {
        return e.maxF(best, e.padTo(readF32(x, i, valid), 32, lowest));
      }));
      auto term = [&](Value i, int64_t width) { return e.exp(e.subF(readF32(x, i, width), e.splat(top, width))); };
      Value sum = panelSum(n, term);
      Value scale = e.divF(e.cf32(1.0), sum);
      e.pieces(n, 2 * e.lanes(), [&](Value i, int64_t width) { writeF32(y, i, e.mulF(term(i, width), e.splat(scale, width))); });
    });
  }

  /// Column that a label names, and whether it names one.
  std::pair<Value, Value> labelled(const Operand &label, int64_t columns) {
    Value id = e.widen(e.load(e.i32(), label.address));
    Value is = e.cmp(arith::CmpIPredicate::ult, id, e.c(columns));
    return {e.select(is, id, e.c(0)), is};
  }
  void crossEntropy(task::CrossEntropyOp op, ArrayRef<Operand> operands) {
    int64_t n = op.getShape().back();
    const Operand &x = operands[0];
    auto [at, is] = labelled(operands[1], n);
    Value top = e.treeMax(e.panels(n, 32, e.splatF32(-INFINITY, 32), [&](Value i, int64_t valid, Value best) {
      return e.maxF(best, e.padTo(readF32(x, i, valid), 32, -INFINITY));
    }));
    Value sum = panelSum(n, [&](Value i, int64_t width) { return e.exp(e.subF(readF32(x, i, width), e.splat(top, width))); });
    Value log = e.extract(math::LogOp::create(e.b, e.loc, e.splat(sum, 1)), 0);
    Value loss = e.subF(e.addF(top, log), e.extract(readF32(x, at, 1), 0));
    e.storeF32(operands[2].element, e.splat(e.select(is, loss, e.cf32(0.0)), 1), operands[2].address);
  }
  void oneHot(task::OneHotOp op, ArrayRef<Operand> operands) {
    int64_t n = op.getShape().back();
    auto [at, is] = labelled(operands[0], n);
    e.pieces(n, 2 * e.lanes(), [&](Value i, int64_t width) { writeF32(operands[1], i, e.splatF32(0.0, width)); });
    e.when(is, [&, at = at] { writeF32(operands[1], at, e.splatF32(1.0, 1)); });
  }

  Value combine(loop::ReduceKind kind, Value l, Value r) {
    switch (kind) {
    case loop::ReduceKind::max:
      return e.maxF(l, r);
    case loop::ReduceKind::min:
      return arith::MinNumFOp::create(e.b, e.loc, l, r);
    default:
      return e.addF(l, r);
    }
  }

  void reduce(task::ReduceOp op, ArrayRef<Operand> operands) {
    ArrayRef<int64_t> shape = op.getShape();
    size_t axis = op.getAxis();
    loop::ReduceKind kind = op.getKind();
    int64_t n = shape[axis];
    bool sums = kind == loop::ReduceKind::sum || kind == loop::ReduceKind::mean;
    double neutral = sums ? 0.0 : kind == loop::ReduceKind::max ? -INFINITY : INFINITY;
    auto finish = [&](Value v, int64_t width) {
      return kind == loop::ReduceKind::mean ? e.divF(v, e.splatF32(static_cast<double>(n), width)) : v;
    };
    if (axis + 1 == shape.size())
      return outer(shape, operands, [&](ArrayRef<Operand> inner) {
        Value result;
        if (kind == loop::ReduceKind::argmax)
          result = e.loop(e.c(0), e.c(n), e.c(1), ValueRange{e.cf32(-INFINITY), e.cf32(0.0)}, [&](Value i, ValueRange best) {
            Value x = e.extract(readF32(inner[0], i, 1), 0);
            Value more = arith::CmpFOp::create(e.b, e.loc, arith::CmpFPredicate::OGT, x, best[0]);
            Value at = arith::SIToFPOp::create(e.b, e.loc, e.f32(), i);
            return SmallVector<Value>{e.select(more, x, best[0]), e.select(more, at, best[1])};
          })[1];
        else if (sums)
          result = panelSum(n, [&](Value i, int64_t width) { return readF32(inner[0], i, width); });
        else
          result = e.tree(e.panels(n, 32, e.splatF32(neutral, 32),
                                   [&](Value i, int64_t valid, Value best) {
                                     return combine(kind, best, e.padTo(readF32(inner[0], i, valid), 32, neutral));
                                   }),
                          [&](Value l, Value r) { return combine(kind, l, r); });
        e.storeF32(inner[1].element, finish(e.splat(result, 1), 1), inner[1].address);
      });
    // Another axis: walk it for each piece of the last one.
    SmallVector<int64_t> others(shape);
    others[axis] = 1;
    outer(others, operands, [&](ArrayRef<Operand> inner) {
      e.pieces(shape.back(), 2 * e.lanes(), [&](Value i, int64_t width) {
        int64_t step = inner[0].strides[axis] * inner[0].width();
        Value sum = e.loop(e.c(0), e.c(n), e.c(1), ValueRange(e.splatF32(neutral, width)), [&](Value j, ValueRange carried) {
          Operand at = inner[0];
          at.address = e.at(at.address, e.mul(j, step));
          return SmallVector<Value>{combine(kind, carried[0], readF32(at, i, width))};
        })[0];
        writeF32(inner[1], i, finish(sum, width));
      });
    });
  }

  void dot(task::DotOp op, ArrayRef<Operand> operands) {
    Value sum = panelSum(op.getShape().back(), [&](Value i, int64_t width) {
      return e.mulF(readF32(operands[0], i, width), readF32(operands[1], i, width));
    });
    if (operands.size() == 4)
      sum = e.addF(sum, e.extract(e.loadF32(operands[2].element, 1, operands[2].address), 0));
    e.storeF32(operands.back().element, e.splat(sum, 1), operands.back().address);
  }

  // sin and cos of f32 angles of any size: reduced by multiples of pi/2 in f64, then polynomials of Cephes' sinf, cosf.
  std::pair<Value, Value> sinCos(Value angle, int64_t n) {
    auto wide = e.vec(n, e.b.getF64Type());
    auto f64 = [&](double v) -> Value { return arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(wide, v)); };
    auto f32 = [&](double v) { return e.splatF32(v, n); };
    Value x = arith::ExtFOp::create(e.b, e.loc, wide, angle);
    Value turns = math::RoundEvenOp::create(e.b, e.loc, e.mulF(x, f64(M_2_PI)));
    Value rest = e.fma(turns, f64(-6.123233995736766e-17), e.fma(turns, f64(-M_PI_2), x));
    Value r = arith::TruncFOp::create(e.b, e.loc, e.vecF32(n), rest);
    Value quadrant = arith::FPToSIOp::create(e.b, e.loc, e.vec(n, e.i32()), turns);
    Value r2 = e.mulF(r, r);
    Value s = e.fma(r2, f32(-1.9515295891e-4), f32(8.3321608736e-3));
    s = e.fma(r2, s, f32(-1.6666654611e-1));
    s = e.fma(e.mulF(r2, r), s, r);
    Value c = e.fma(r2, f32(2.443315711809948e-5), f32(-1.388731625493765e-3));
    c = e.fma(r2, c, f32(4.166664568298827e-2));
    c = e.fma(e.mulF(r2, r2), c, e.fma(r2, f32(-0.5), f32(1.0)));
    auto i32 = [&](int32_t v) -> Value {
      return arith::ConstantOp::create(e.b, e.loc, DenseElementsAttr::get(e.vec(n, e.i32()), e.b.getI32IntegerAttr(v)));
    };
    auto bit = [&](Value v, int32_t mask) {
      return e.cmp(arith::CmpIPredicate::ne, arith::AndIOp::create(e.b, e.loc, v, i32(mask)), i32(0));
    };
    Value odd = bit(quadrant, 1);
    Value sine = e.select(odd, c, s), cosine = e.select(odd, s, c);
    sine = e.select(bit(quadrant, 2), arith::NegFOp::create(e.b, e.loc, sine), sine);
    cosine = e.select(bit(e.add(quadrant, i32(1)), 2), arith::NegFOp::create(e.b, e.loc, cosine), cosine);
    return {sine, cosine};
  }

  void rope(task::RopeOp op, ArrayRef<Operand> operands) {
    int64_t dim = op.getShape().back(), half = dim / 2;
    double base = op.getBase().convertToDouble();
    SmallVector<float> frequencies;
    for (int64_t i = 0; i < half; ++i)
      frequencies.push_back(static_cast<float>(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dim))));
    Value table = ctx.constantData(DenseElementsAttr::get(RankedTensorType::get({half}, e.f32()), ArrayRef<float>(frequencies)));
    Value sines = e.at(ctx.scratch, scratch.reserve(4 * half)), cosines = e.at(ctx.scratch, scratch.reserve(4 * half));
    Value position = operands.size() > 2 // given, else the token's own
                         ? e.extract(e.loadF32(operands[1].element, 1, operands[1].address), 0)
                         : arith::SIToFPOp::create(e.b, e.loc, e.f32(), ctx.column(offsetof(loopc_call, position), row)).getResult();
    e.pieces(half, e.lanes(), [&](Value i, int64_t n) {
      Value bytes = e.mul(i, 4);
      Value angle = e.mulF(e.splat(position, n), e.load(e.vecF32(n), e.at(table, bytes)));
      auto [s, c] = sinCos(angle, n);
      if (op.getBackward())
        s = arith::NegFOp::create(e.b, e.loc, s);
      if (op.getTable())
        for (Value *entry : {&s, &c})
          *entry = e.extend(e.round(*op.getTable(), *entry));
      e.store(s, e.at(sines, bytes));
      e.store(c, e.at(cosines, bytes));
    });
    outer(op.getShape(), {operands.front(), operands.back()}, [&](ArrayRef<Operand> inner) {
      e.pieces(half, e.lanes(), [&](Value i, int64_t n) {
        Value s = e.load(e.vecF32(n), e.at(sines, e.mul(i, 4))), c = e.load(e.vecF32(n), e.at(cosines, e.mul(i, 4)));
        Value first, second, at = i;
        SmallVector<int64_t> even, odd, zip;
        for (int64_t j = 0; j < n; ++j) {
          even.push_back(2 * j);
          odd.push_back(2 * j + 1);
          zip.append({j, n + j});
        }
        bool halves = op.getPairs() == loop::Pairs::halves;
        if (halves) {
          first = readF32(inner[0], i, n);
          second = readF32(inner[0], e.add(i, half), n);
        } else {
          at = e.mul(i, 2);
          Value both = readF32(inner[0], at, 2 * n);
          first = e.shuffle(both, both, even);
          second = e.shuffle(both, both, odd);
        }
        Value turnedFirst = e.subF(e.mulF(first, c), e.mulF(second, s));
        Value turnedSecond = e.addF(e.mulF(second, c), e.mulF(first, s));
        if (halves) {
          writeF32(inner[1], i, turnedFirst);
          writeF32(inner[1], e.add(i, half), turnedSecond);
        } else {
          writeF32(inner[1], at, e.shuffle(turnedFirst, turnedSecond, zip));
        }
      });
    });
  }

  void embed(task::EmbedOp op, ArrayRef<Operand> operands) {
    int64_t n = 1;
    for (int64_t size : op.getShape())
      n *= size;
    Value id = e.widen(e.load(e.i32(), operands[0].address));
    if (auto param = op.getIns()[1].getDefiningOp<task::ParamOp>(); param && param.getPanel())
      return embedPanels(weightFormat(param), n, id, operands);
    Operand source = operands[1];
    source.address = e.at(source.address, e.mul(id, n * source.width()));
    e.pieces(n, 2 * e.lanes(), [&](Value i, int64_t width) { writeF32(operands[2], i, readF32(source, i, width)); });
  }

  // One column of a panel, element by element.
  void embedPanels(const WeightFormat &format, int64_t n, Value id, ArrayRef<Operand> operands) {
    Value panel = e.at(operands[1].address, e.mul(e.div(id, 32), format.panelBytes(n))), column = e.rem(id, 32);
    auto scalar = [&] {
      Emit one = e;
      one.vectorBits = 32;
      return one;
    };
    e.loop(e.c(0), e.c(n / format.block()), e.c(1), [&](Value number) {
      Value block = e.at(panel, e.mul(number, format.blockBytes())), first = e.mul(number, format.block());
      Emit one = scalar();
      SmallVector<Value> opened = format.open(one, block, column);
      e.loop(format.block() / format.group(), [&](Value group) {
        Emit one = scalar();
        SmallVector<Value> shared = format.openGroup(one, block, group, column, opened);
        e.loop(format.group() / format.unit(), [&](Value local) {
          Value unit = e.add(e.mul(group, format.group() / format.unit()), local);
          Emit one = scalar();
          for (auto [u, value] : llvm::enumerate(format.decode(one, block, unit, column, shared)))
            writeF32(operands[2], e.add(e.add(first, e.mul(unit, format.unit())), u), value);
        });
      });
    });
  }

  /// The row that a site has at a position: its id, and, once it is known to be one, the address of its key.
  template <typename Site> struct SiteRow {
    RowEmitter &rows;
    Site op;
    Value layer, id;
    SiteRow(RowEmitter &rows, Site op, Value position) : rows(rows), op(op) {
      Emit &e = rows.e;
      PhaseContext &ctx = rows.ctx;
      Value iteration = ctx.column(offsetof(loopc_call, iteration), rows.row);
      Value sequence = ctx.column(offsetof(loopc_call, sequence), rows.row);
      Value record = e.at(ctx.field(ctx.call, offsetof(loopc_call, records), e.ptrType()), e.mul(sequence, sizeof(loopc_sequence)));
      Value table = ctx.field(record, offsetof(loopc_sequence, rows) + 8 * op.getPool(), e.ptrType());
      Value stride = e.widenU(ctx.field(record, offsetof(loopc_sequence, stride), e.i32()));
      layer = e.c(0);
      for (auto [value, step] : llvm::zip(op.getIndex(), op.getStrides()))
        layer = e.add(layer, e.mul(ctx.index(value), step));
      Value entry = e.add(e.mul(emitAffine(e, op.getPlane(), {iteration, layer}), stride), position);
      id = e.widen(e.load(e.i32(), e.at(table, e.mul(entry, 4))));
    }
    int64_t width() { return task::getByteWidth(op.getRows()); }
    int64_t headBytes() { return LOOPC_PAGE_ROWS * static_cast<int64_t>(op.getDim()) * width(); }
    Value address() {
      Emit &e = rows.e;
      size_t pool = offsetof(loopc_memory, pools) + sizeof(loopc_pool) * op.getPool();
      Value base = rows.ctx.field(rows.ctx.memory, pool + offsetof(loopc_pool, base), e.ptrType());
      Value pageBytes = rows.ctx.field(rows.ctx.memory, pool + offsetof(loopc_pool, page_bytes), e.i64());
      Value page = e.at(base, e.mul(e.div(id, LOOPC_PAGE_ROWS), pageBytes));
      page = e.at(page, static_cast<int64_t>(op.getOffset()) * width());
      page = e.at(page, e.mul(e.rem(id, LOOPC_PAGE_ROWS), static_cast<int64_t>(op.getDim()) * width()));
      if (!op.getPlane().isFunctionOfDim(1)) // else a row holds one layer
        page = e.at(page, e.mul(layer, 2 * static_cast<int64_t>(op.getHeads()) * headBytes()));
      return page;
    }
  };
  Value exists(Value id) { return e.cmp(arith::CmpIPredicate::sge, id, e.c(0)); }

  void append(task::AppendOp op, ArrayRef<Operand> operands) {
    SiteRow<task::AppendOp> to(*this, op, ctx.column(offsetof(loopc_call, position), row));
    e.when(exists(to.id), [&] {
      int64_t heads = op.getHeads(), dim = op.getDim(), width = to.width();
      Value page = to.address();
      for (int kv = 0; kv < 2; ++kv)
        e.loop(heads, [&](Value head) {
          Operand from = operands[kv];
          from.address = e.at(from.address, e.mul(head, from.strides[0] * from.width()));
          Value target = e.at(page, e.add(e.mul(head, to.headBytes()), kv * heads * to.headBytes()));
          e.pieces(dim, 2 * e.lanes(), [&](Value i, int64_t n) {
            e.storeF32(op.getRows(), readF32(from, i, n), e.at(target, e.mul(i, width)));
          });
        });
    });
  }

  /// The two halves of a state between a list and a row.
  void copyState(int64_t count, Value list, Value kept, int64_t keptStep, bool write) {
    int64_t half = (count + 1) / 2;
    for (int part = 0; part < 2; ++part)
      e.pieces(part ? count - half : half, 2 * e.lanes(), [&](Value i, int64_t n) {
        Value here = e.at(list, e.mul(e.add(i, part * half), 4)), there = e.at(e.at(kept, part * keptStep), e.mul(i, 4));
        e.store(e.load(e.vecF32(n), write ? here : there, 4), write ? there : here, 4);
      });
  }
  void keep(task::KeepOp op, ArrayRef<Operand> operands) {
    SiteRow<task::KeepOp> to(*this, op, ctx.column(offsetof(loopc_call, position), row));
    e.when(exists(to.id), [&] { copyState(op.getShape()[0], operands[0].address, to.address(), to.headBytes(), true); });
  }
  void recall(task::RecallOp op, ArrayRef<Operand> operands) {
    int64_t count = op.getShape()[0];
    Value position = ctx.column(offsetof(loopc_call, position), row), before = e.sub(position, e.c(1));
    if (op.getOwn())
      before = e.select(e.cmp(arith::CmpIPredicate::sgt, ctx.column(offsetof(loopc_call, iteration), row), e.c(0)), position, before);
    if (operands.size() > 2) { // the position that is asked for, if it is an older one
      Value past = e.extract(e.loadF32(operands[1].element, 1, operands[1].address), 0);
      auto is = [&](arith::CmpFPredicate how, float than) -> Value {
        return arith::CmpFOp::create(e.b, e.loc, how, past, arith::ConstantOp::create(e.b, e.loc, e.b.getF32FloatAttr(than)));
      };
      Value sane = arith::AndIOp::create(e.b, e.loc, is(arith::CmpFPredicate::OGE, 0), is(arith::CmpFPredicate::OLT, 0x1p31f));
      Value whole = e.select(sane, e.widen(arith::FPToSIOp::create(e.b, e.loc, e.i32(), past)), e.c(-1));
      before = e.select(e.cmp(arith::CmpIPredicate::slt, whole, position), whole, e.c(-1));
    }
    auto init = [&] {
      e.pieces(count, 2 * e.lanes(), [&](Value i, int64_t n) {
        e.store(e.load(e.vecF32(n), e.at(operands[0].address, e.mul(i, 4)), 4), e.at(operands.back().address, e.mul(i, 4)), 4);
      });
    };
    e.when(exists(before), [&] {
      SiteRow<task::RecallOp> from(*this, op, before);
      e.when(exists(from.id), [&] { copyState(count, operands.back().address, from.address(), from.headBytes(), false); }, init);
    }, init);
  }

  void advance(task::AdvanceOp op, ArrayRef<Operand> operands) {
    Value address = e.at(ctx.field(ctx.call, offsetof(loopc_call, iteration), e.ptrType()), e.mul(row, 4));
    Value done = e.add(e.load(e.i32(), address), e.c32(1));
    e.store(done, address);
    if (operands.empty())
      return;
    Value stop = e.extract(e.loadVector(operands[0].element, 1, operands[0].address), 0);
    e.when(stop, [&] {
      Value exited = e.at(ctx.field(ctx.call, offsetof(loopc_call, exited), e.ptrType()), row);
      e.store(arith::ConstantIntOp::create(e.b, e.loc, 1, 8), exited);
    });
  }

  PhaseContext &ctx;
  Emit &e;
  ScratchPlan &scratch;
  Value row;
};
} // namespace

void loopc::codegen::emitRows(PhaseContext &ctx, task::PhaseOp phase, ScratchPlan &scratch) { RowEmitter(ctx, scratch).emit(phase); }
