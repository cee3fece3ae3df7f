// Rules of the LANES ops: columns, bank fields, K/V rows in pages, the loop over active lanes.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Interp/StageInterp.h"
#include "Machine.h"
#include "loopc/runtime/Half.h"
#include <cmath>

#include <cstring>

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {
namespace {

size_t elementBytes(Element element) { return element == Element::BF16 || element == Element::F16 ? 2 : 4; }

void loadElements(const uint8_t *from, Element element, float *to, int64_t count) {
  if (element == Element::F32) {
    std::memcpy(to, from, size_t(count) * 4);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, 2);
    to[i] = element == Element::F16 ? rt::f16ToF32(bits) : rt::bf16ToF32(bits);
  }
}
void storeElements(uint8_t *to, Element element, const float *from, int64_t count) {
  if (element == Element::F32) {
    std::memcpy(to, from, size_t(count) * 4);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits = element == Element::F16 ? rt::f32ToF16(from[i]) : rt::f32ToBF16(from[i]);
    std::memcpy(to + 2 * i, &bits, 2);
  }
}

class StageMachine final : public Machine<float>, public StageInterp {
public:
  using V = Val<float>;
  StageMachine(ModelOp model, ParamProvider &provider, StageLayout layout)
      : Machine<float>(provider), model(model), layout(std::move(layout)) {
    for (auto stage : model.getOps<StageOp>())
      stages[stage.getSymName()] = stage;
  }

  bool run(const std::string &stage, loopc_call &newCall, const StageMemory &newMemory, std::string &why) override {
    auto found = stages.find(stage);
    if (found == stages.end()) {
      why = "expected a stage of the model, but got `" + stage + "`";
      return false;
    }
    call = &newCall;
    memory = &newMemory;
    this->error.clear();
    if (succeeded(runStage(found->second)))
      return true;
    why = this->error;
    return false;
  }

  LogicalResult evalOwn(Operation *op) override {
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case<ColumnOp, LoadOp, StoreOp, SpreadOp, CountValueOp, KnobValueOp, KVAppendOp, KVAttendOp, FoldOp, RecallOp, KeepOp, RecurOp>(
            [&](auto known) { return eval(known); })
        .Case<TapOp>([](auto) { return success(); })
        .Default([&](Operation *other) {
          return fail(other, "expected an op that the interpreter has a rule for, but got `" +
                                 other->getName().getStringRef() + "`");
        });
  }
  std::vector<int64_t> positions(Value lanes) override {
    std::vector<int64_t> result;
    for (int32_t lane : get(lanes).lanes->index)
      result.push_back(call->position[lane]);
    return result;
  }

private:
  void enter(std::vector<int32_t> lanes) {
    rows = int64_t(lanes.size());
    active.assign(lanes.size(), 1);
    running = std::move(lanes);
  }
  static V lanesValue(std::vector<int32_t> index) {
    V value = V::scalar(0);
    value.lanes = std::make_shared<LaneSet>(LaneSet{std::move(index)});
    return value;
  }
  ArrayRef<int32_t> lanesOf(Value lanes) { return get(lanes).lanes->index; }

  LogicalResult runStage(StageOp stage) {
    Block &body = stage.getBody().front();
    std::vector<int32_t> all(call->lanes);
    for (uint32_t lane = 0; lane < call->lanes; ++lane)
      all[lane] = int32_t(lane);
    enter(all);
    for (BlockArgument argument : body.getArguments())
      set(argument, V::scalar(argument.getType().isIndex() ? call->rounds : 0));
    set(body.getArgument(0), lanesValue(std::move(all)));
    if (failed(runBlock(body)))
      return failure();
    for (Value value : cast<ReturnOp>(body.getTerminator()).getValues()) {
      if (!getRows(value.getType()) || !call->out)
        continue;
      const V &logits = get(value);
      for (int64_t r = 0; r < rows; ++r)
        std::memcpy(static_cast<uint8_t *>(call->out) + size_t(r) * call->out_stride, logits.realRow(r),
                    size_t(logits.width) * sizeof(float));
    }
    return success();
  }

  LogicalResult eval(ColumnOp op) {
    V out = make(op.getResult(), false);
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes())))
      *out.wholeRow(r) = op.getColumn() == Column::token       ? call->token[lane]
                         : op.getColumn() == Column::position  ? call->position[lane]
                         : op.getColumn() == Column::iteration ? call->iteration[lane]
                                                               : call->limit[lane];
    set(op.getResult(), out);
    return success();
  }
  LogicalResult eval(CountValueOp op) {
    V out = make(op.getResult(), false);
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes())))
      if (out.real)
        *out.realRow(r) = float(call->limit[lane]);
      else
        *out.wholeRow(r) = call->limit[lane];
    set(op.getResult(), out);
    return success();
  }
  LogicalResult eval(KnobValueOp op) {
    V out = make(op.getResult(), false);
    uint32_t index = layout.knobs.at(op.getKnob().str());
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      float value = call->records[call->sequence[lane]].knobs[index];
      if (out.real)
        *out.realRow(r) = value;
      else
        *out.wholeRow(r) = int64_t(value);
    }
    set(op.getResult(), out);
    return success();
  }
  LogicalResult eval(SpreadOp op) {
    set(op.getResult(), spread(get(op.getInput())));
    return success();
  }

  uint8_t *fieldAt(const StageLayout::Field &field, int32_t lane) {
    return memory->bank + uint64_t(call->slot[lane]) * memory->bankRowBytes + field.offset;
  }
  LogicalResult eval(LoadOp op) {
    const StageLayout::Field &field = layout.fields.at(op.getField().str());
    V out = make(op.getResult(), false);
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (out.real) {
        loadElements(fieldAt(field, lane), field.element, out.realRow(r), out.width);
        continue;
      }
      const auto *whole = reinterpret_cast<const int32_t *>(fieldAt(field, lane));
      std::copy_n(whole, out.width, out.wholeRow(r));
    }
    set(op.getResult(), out);
    return success();
  }
  LogicalResult eval(StoreOp op) {
    const StageLayout::Field &field = layout.fields.at(op.getField().str());
    V value = get(op.getValue());
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (value.real) {
        storeElements(fieldAt(field, lane), field.element, value.realRow(r), value.width);
        continue;
      }
      auto *whole = reinterpret_cast<int32_t *>(fieldAt(field, lane));
      for (int64_t i = 0; i < value.width; ++i)
        whole[i] = int32_t(value.wholeRow(r)[i]);
    }
    set(op.getResult(), V::scalar(0));
    return success();
  }

  /// Where the rows of a site lie.
  struct SiteAt {
    StageLayout::Site site;
    int64_t heads, dim, layer;
    SitePlanAttr plan;
    bool looped; ///< its iterations count
  };
  FailureOr<SiteAt> siteOf(Operation *op, FlatSymbolRefAttr name, OperandRange index) {
    auto site = dyn_cast_or_null<SiteOp>(SymbolTable::lookupNearestSymbolFrom(op, name));
    if (!site || !site.getPlan())
      return fail(op, "expected the name of a site with a plan, but got `" + name.getValue() + "`");
    int64_t layer = 0;
    for (auto [value, size] : llvm::zip(index, site.getTables().value_or(ArrayRef<int64_t>())))
      layer = layer * size + (*get(value).whole)[0];
    return SiteAt{layout.sites.at(name.getValue().str()), int64_t(site.getHeads()), int64_t(site.getDim()), layer,
                  *site.getPlan(), site.getStage() == "core"};
  }
  /// Row id of (site, plane, position) for a lane, -1 if there is none.
  int32_t rowId(const SiteAt &at, int32_t lane, int64_t plane, int64_t position) {
    const loopc_sequence &sequence = call->records[call->sequence[lane]];
    return sequence.rows[at.site.pool][plane * sequence.stride + position];
  }
  uint8_t *rowAt(const SiteAt &at, int32_t row, int kv, int64_t head) {
    const loopc_pool &pool = memory->pools[at.site.pool];
    int64_t layer = at.plan.ofLayers() ? 0 : at.layer;
    int64_t element = int64_t(at.site.offset) + ((layer * 2 + kv) * at.heads + head) * LOOPC_PAGE_ROWS * at.dim +
                      int64_t(row % LOOPC_PAGE_ROWS) * at.dim;
    return pool.base + uint64_t(row / LOOPC_PAGE_ROWS) * pool.page_bytes +
           size_t(element) * elementBytes(at.site.element);
  }
  static int64_t planeAt(AffineMap map, int64_t iteration, int64_t layer) {
    Builder builder(map.getContext());
    SmallVector<Attribute> result, dims = {builder.getIndexAttr(iteration), builder.getIndexAttr(layer)};
    if (map.getNumInputs() == 0)
      return cast<AffineConstantExpr>(map.getResult(0)).getValue();
    if (failed(map.constantFold(ArrayRef(dims).take_front(map.getNumInputs()), result)))
      return 0;
    return cast<IntegerAttr>(result[0]).getInt();
  }

  LogicalResult eval(KVAppendOp op) {
    FailureOr<SiteAt> at = siteOf(op, op.getSiteAttr(), op.getIndex());
    if (failed(at))
      return failure();
    const V &k = get(op.getK()), &v = get(op.getV());
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (!active[r])
        continue;
      int64_t plane = planeAt(at->plan.getWrite(), call->iteration[lane], at->layer);
      int32_t row = rowId(*at, lane, plane, call->position[lane]);
      if (row < 0)
        return fail(op, "expected a row for position " + Twine(call->position[lane]) + " of plane " + Twine(plane) +
                            ", but got none");
      for (int64_t head = 0; head < at->heads; ++head) {
        storeElements(rowAt(*at, row, 0, head), at->site.element, k.realRow(r) + head * at->dim, at->dim);
        storeElements(rowAt(*at, row, 1, head), at->site.element, v.realRow(r) + head * at->dim, at->dim);
      }
    }
    set(op.getResult(), V::scalar(0));
    return success();
  }

  /// A state is f32 in the bytes of a key row, then those of a value row.
  void copyState(const SiteAt &at, int32_t row, float *values, int64_t count, bool write) {
    int64_t half = (count + 1) / 2;
    for (int part = 0; part < 2; ++part) {
      uint8_t *kept = rowAt(at, row, part, 0);
      float *here = values + part * half;
      size_t bytes = size_t(part ? count - half : half) * sizeof(float);
      write ? std::memcpy(kept, here, bytes) : std::memcpy(here, kept, bytes);
    }
  }
  LogicalResult eval(RecallOp op) {
    FailureOr<SiteAt> at = siteOf(op, op.getSiteAttr(), op.getIndex());
    if (failed(at))
      return failure();
    bool one = at->looped && at->plan.getPlanes().isConstant();
    V out = get(op.getInit()), past = op.getPast() ? spread(get(op.getPast())) : V();
    V result = make(op.getResult(), false);
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (!active[r])
        continue;
      std::copy_n(out.realRow(r), out.width, result.realRow(r));
      int64_t iteration = call->iteration[lane], position = call->position[lane] - (one && iteration > 0 ? 0 : 1);
      if (op.getPast())
        position = pastPosition(*past.realRow(r), call->position[lane]);
      int32_t row = position < 0 ? -1 : rowId(*at, lane, planeAt(at->plan.getRead(), iteration, at->layer), position);
      if (row >= 0)
        copyState(*at, row, result.realRow(r), out.width, false);
    }
    set(op.getResult(), result);
    return success();
  }
  LogicalResult eval(KeepOp op) {
    FailureOr<SiteAt> at = siteOf(op, op.getSiteAttr(), op.getIndex());
    if (failed(at))
      return failure();
    V value = get(op.getValue());
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (!active[r])
        continue;
      int32_t row = rowId(*at, lane, planeAt(at->plan.getWrite(), call->iteration[lane], at->layer), call->position[lane]);
      if (row < 0)
        return fail(op, "expected a row for position " + Twine(call->position[lane]) + ", but got none");
      copyState(*at, row, value.realRow(r), value.width, true);
    }
    set(op.getResult(), V::scalar(0));
    return success();
  }

  LogicalResult eval(KVAttendOp op) {
    FailureOr<SiteAt> at = siteOf(op, op.getSiteAttr(), op.getIndex());
    if (failed(at))
      return failure();
    int64_t heads = getFeatureShape(op.getQ().getType())[0], dim = at->dim, groups = at->heads;
    AttendShape shape{dim, dim, op.getScale().convertToDouble(),
                      op.getSoftcap() ? op.getSoftcap()->convertToDouble() : 0.0, op.getLogSum()};
    int64_t made = getFeatureShape(op.getType())[1];
    const V &q = get(op.getQ());
    const V *least = op.getLeast() ? &get(op.getLeast()) : nullptr;
    V out = make(op.getResult(), false);
    std::vector<float> scores, widened;
    std::vector<int32_t> rowIds;
    std::vector<const float *> keys, values;
    for (auto [r, lane] : llvm::enumerate(lanesOf(op.getLanes()))) {
      if (!active[r])
        continue;
      int64_t position = call->position[lane];
      int64_t before = op.getBefore().value_or(0), end = position + 1 - before;
      if (op.getMask())
        end = std::max<int64_t>(end, call->records[call->sequence[lane]].prefix);
      int64_t begin = op.getWindow() ? std::max<int64_t>(0, position + 1 - before - int64_t(*op.getWindow())) : 0;
      int64_t last = op.getFirst() ? 0 : call->iteration[lane];
      rowIds.clear();
      for (int64_t iteration = op.getUpto() ? 0 : last; iteration <= last; ++iteration) {
        int64_t plane = planeAt(at->plan.getRead(), iteration, at->layer);
        for (int64_t i = begin; i < end; ++i) {
          int32_t id = rowId(*at, lane, plane, i);
          if (id < 0 && layout.skipsHoles)
            continue;
          if (id < 0)
            return fail(op, "expected a row for position " + Twine(i) + " of plane " + Twine(plane) + " for position " +
                                Twine(position) + ", but got none");
          float mark = 0;
          if (op.getSparse())
            loadElements(rowAt(*at, id, 0, 0), at->site.element, &mark, 1);
          if (!std::isnan(mark))
            rowIds.push_back(id);
        }
      }
      for (int64_t group = 0; group < groups; ++group) {
        keys.clear();
        values.clear();
        widened.resize(rowIds.size() * size_t(dim) * 2);
        for (auto [n, row] : llvm::enumerate(rowIds)) {
          float *key = widened.data() + n * size_t(dim) * 2, *value = key + dim;
          loadElements(rowAt(*at, row, 0, group), at->site.element, key, dim);
          loadElements(rowAt(*at, row, 1, group), at->site.element, value, dim);
          keys.push_back(key);
          values.push_back(value);
        }
        for (int64_t head = group * (heads / groups); head < (group + 1) * (heads / groups); ++head)
          attendHead(shape, q.realRow(r) + head * dim, keys, values, scores, out.realRow(r) + head * made,
                     least ? least->realRow(r) + head : nullptr);
      }
    }
    set(op.getResult(), out);
    return success();
  }

  /// Over the rows of a sequence, which stand side by side, or over all; ascending.
  LogicalResult eval(FoldOp op) {
    const V &x = get(op.getInput());
    V out = make(op.getResult(), false);
    for (size_t begin = 0, end; begin < running.size(); begin = end) {
      for (end = begin + 1; end < running.size() && (op.getBatch() || call->sequence[running[end]] == call->sequence[running[begin]]);)
        ++end;
      for (int64_t i = 0; i < x.width; ++i) {
        float value = x.realRow(begin)[i];
        for (size_t r = begin + 1; r < end; ++r) {
          float next = x.realRow(r)[i];
          value = op.getKind() == ReduceKind::first  ? value
                  : op.getKind() == ReduceKind::last ? next
                  : op.getKind() == ReduceKind::max  ? std::max(value, next)
                  : op.getKind() == ReduceKind::min  ? std::min(value, next)
                                                     : value + next;
        }
        if (op.getKind() == ReduceKind::mean)
          value /= float(end - begin);
        for (size_t r = begin; r < end; ++r)
          out.realRow(r)[i] = value;
      }
    }
    set(op.getResult(), out);
    return success();
  }

  /// Rows `index` of a value.
  V gather(const V &value, ArrayRef<int32_t> index) {
    if (value.uniform)
      return value;
    V out = value.real ? V::makeReal(false, int64_t(index.size()), value.width)
                       : V::makeWhole(false, int64_t(index.size()), value.width);
    for (auto [r, from] : llvm::enumerate(index))
      if (value.real)
        std::copy_n(value.realRow(from), value.width, out.realRow(r));
      else
        std::copy_n(value.wholeRow(from), value.width, out.wholeRow(r));
    return out;
  }
  /// `kept` with row index[r] replaced by row r of `fresh`.
  V scatter(const V &kept, const V &fresh, ArrayRef<int32_t> index) {
    V out = kept.real ? V::makeReal(false, kept.rows, kept.width) : V::makeWhole(false, kept.rows, kept.width);
    if (out.real)
      *out.real = *kept.real;
    else
      *out.whole = *kept.whole;
    for (auto [r, to] : llvm::enumerate(index))
      if (out.real)
        std::copy_n(fresh.realRow(r), fresh.width, out.realRow(to));
      else
        std::copy_n(fresh.wholeRow(r), fresh.width, out.wholeRow(to));
    return out;
  }

  LogicalResult eval(RecurOp op) {
    Block &body = op.getBody().front();
    auto yield = cast<YieldOp>(body.getTerminator());
    std::vector<int32_t> outer = get(op.getLanes()).lanes->index;
    int64_t rounds = (*get(op.getRounds()).whole)[0];
    SmallVector<V> states;
    for (Value state : op.getStates())
      states.push_back(spread(get(state)));
    bool goesOn = call->flags & LOOPC_CALL_KEEP_RUNNING;
    for (int64_t round = 0; round < rounds; ++round) {
      std::vector<int32_t> index, lanes;
      for (auto [r, lane] : llvm::enumerate(outer))
        if (call->iteration[lane] < call->limit[lane] && (goesOn || !call->exited[lane])) {
          index.push_back(int32_t(r));
          lanes.push_back(lane);
        }
      if (lanes.empty())
        break;
      set(body.getArgument(0), lanesValue(lanes));
      size_t next = 1;
      for (V &state : states)
        set(body.getArgument(next++), gather(state, index));
      for (Value with : op.getWith())
        set(body.getArgument(next++), gather(get(with), index));
      for (; next < body.getNumArguments(); ++next)
        set(body.getArgument(next), V::scalar(0));
      enter(lanes);
      if (failed(runBlock(body)))
        return failure();
      for (auto [i, state] : llvm::enumerate(states))
        state = scatter(state, get(yield.getValues()[i]), index);
      for (auto [r, lane] : llvm::enumerate(lanes)) {
        ++call->iteration[lane];
        if (yield.getExit() && *get(yield.getExit()).wholeRow(r) != 0)
          call->exited[lane] = 1;
      }
    }
    enter(outer);
    set(op.getOutLanes(), get(op.getLanes()));
    for (auto [result, state] : llvm::zip(op.getResults(), states))
      set(result, state);
    if (op.getOutCache())
      set(op.getOutCache(), V::scalar(0));
    return success();
  }

  ModelOp model;
  StageLayout layout;
  std::vector<int32_t> running; ///< lanes of the rows in which the current region works
  llvm::StringMap<StageOp> stages;
  loopc_call *call = nullptr;
  const StageMemory *memory = nullptr;
};

} // namespace

std::unique_ptr<StageInterp> StageInterp::create(ModelOp model, ParamProvider &params, const StageLayout &layout,
                                                 std::string &error) {
  if (model.getPhase() != Phase::lanes) {
    error = locatedMessage(model,
                           "expected a model in the form lanes, but got the form " + stringifyPhase(model.getPhase()));
    return nullptr;
  }
  auto missing = [&](StringRef what, StringRef name) {
    error = locatedMessage(model, "expected a layout with the " + what + " `" + name + "`, but it has none");
    return nullptr;
  };
  for (auto bank : model.getOps<BankOp>())
    for (auto field : bank.getFields().getAsRange<FieldAttr>())
      if (!layout.fields.count(field.getName().str()))
        return missing("field", field.getName());
  for (auto site : model.getOps<SiteOp>())
    if (!layout.sites.count(site.getSymName().str()))
      return missing("site", site.getSymName());
  for (auto knob : model.getOps<KnobOp>())
    if (!layout.knobs.count(knob.getSymName().str()))
      return missing("knob", knob.getSymName());
  return std::make_unique<StageMachine>(model, params, layout);
}

} // namespace loopc::interp
