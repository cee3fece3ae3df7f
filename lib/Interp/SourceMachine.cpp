// Rules of the SOURCE ops that look at tokens, positions, draws and older keys.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SourceMachine.h"
#include <deque>

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {

template <typename T>
SourceMachine<T>::SourceMachine(ModelOp model, ForwardOp forward, ParamProvider &provider, DrawFunction draw)
    : Machine<T>(provider), model(model), forward(forward), draw(std::move(draw)) {
  auto recurs = forward.getBody().front().getOps<RecurOp>();
  if (!recurs.empty())
    scheduled = *recurs.begin();
}

template <typename T> bool SourceMachine<T>::tokenOrder() {
  for (RecurOp recur : forward.getBody().front().getOps<RecurOp>())
    if (KVAttr kv = recur.getKvAttr())
      if (kv.getOrder() == CallOrder::token || kv.getHoles() == Holes::always_last || kv.getHoles() == Holes::last_if_hole)
        return true;
  return forward.walk([](RecallOp) { return WalkResult::interrupt(); }).wasInterrupted();
}

template <typename T> bool SourceMachine<T>::wholeSequence() {
  return forward
      .walk([](Operation *op) {
        auto recur = dyn_cast<RecurOp>(op);
        auto attend = dyn_cast<AttendOp>(op);
        bool whole = recur && recur.getKvAttr() && recur.getKvAttr().getMap() == KVMap::recompute;
        whole |= attend && attend.getMask() == Mask::whole;
        return whole ? WalkResult::interrupt() : WalkResult::advance();
      })
      .wasInterrupted();
}

template <typename T> int64_t SourceMachine<T>::countOf(const SequenceConfig &config, StringRef count) {
  if (scheduled && count == scheduled.getCount() && config.loops >= 0)
    return config.loops;
  if (auto found = config.counts.find(count.str()); found != config.counts.end())
    return found->second;
  return cast<CountOp>(SymbolTable::lookupSymbolIn(model, count)).getValue();
}

template <typename T> std::vector<int64_t> SourceMachine<T>::positions(Value) {
  std::vector<int64_t> result;
  for (const SourceRow<T> &row : tokens)
    result.push_back(row.position);
  return result;
}

template <typename T> LogicalResult SourceMachine<T>::run(std::vector<SourceRow<T>> rows, const SourceFeed &feed) {
  tokens = std::move(rows);
  options = feed;
  this->rows = int64_t(tokens.size());
  this->active.assign(tokens.size(), 1);
  this->error.clear();
  frames.clear();
  gradients.clear();
  rewinding = 0;
  context = 0;
  Block &body = forward.getBody().front();
  if (failed(this->runBlock(body)))
    return failure();
  auto end = dyn_cast<ReturnOp>(body.getTerminator());
  if (!end || end.getValues().empty())
    return this->fail(forward, "expected a program that returns its logits, but got none");
  V logits = this->spread(this->get(end.getValues()[0]));
  for (size_t r = 0; r < tokens.size(); ++r) {
    SourceResult &result = *tokens[r].result;
    result.vocab = uint32_t(logits.width);
    result.logits.resize(size_t(result.count) * result.vocab);
    std::copy_n(logits.realRow(r), logits.width, result.logits.begin() + tokens[r].index * result.vocab);
  }
  return success();
}

template <typename T> bool SourceMachine<T>::ran(const SourceRow<T> &row, int64_t iteration) {
  return row.sequence->done[{scheduled, 0}][row.position] > iteration;
}

// What follows the loop, as if it ended after `iteration`: the loop's results are already set.
template <typename T> LogicalResult SourceMachine<T>::readout(int64_t iteration) {
  context = iteration + 1;
  Block &body = forward.getBody().front();
  if (failed(this->runBlock(body, scheduled)))
    return failure();
  V logits = this->spread(this->get(cast<ReturnOp>(body.getTerminator()).getValues()[0]));
  for (size_t r = 0; r < tokens.size(); ++r) {
    SourceResult &result = *tokens[r].result;
    if (!ran(tokens[r], iteration))
      continue;
    result.iterationLogits.resize(size_t(result.count) * result.loops * logits.width);
    std::copy_n(logits.realRow(r), logits.width,
                result.iterationLogits.begin() + (tokens[r].index * result.loops + iteration) * logits.width);
  }
  context = 0;
  return success();
}

template <typename T> void SourceMachine<T>::record(StringRef name, Type type, const V &value) {
  if (!options.taps)
    return;
  int64_t iteration = context ? context - 1 : !frames.empty() && frames[0].op == scheduled ? frames[0].iteration : -1;
  for (size_t r = 0; r < tokens.size(); ++r) {
    SourceResult &result = *tokens[r].result;
    if (!this->active[r] || (context && !ran(tokens[r], iteration)))
      continue;
    TapValues &tap = result.taps[name.str()];
    ArrayRef<int64_t> shape = getFeatureShape(type);
    tap.shape.assign(shape.begin(), shape.end());
    size_t width = size_t(value.width), at = tokens[r].index;
    std::vector<double> &values = iteration < 0 ? tap.outside : tap.iterations;
    values.resize(result.count * width * (iteration < 0 ? 1 : result.loops));
    if (iteration >= 0)
      at = at * result.loops + size_t(iteration);
    for (size_t i = 0; i < width; ++i)
      values[at * width + i] = value.real ? double(value.realRow(r)[i]) : double(value.wholeRow(r)[i]);
  }
}

template <typename T> LogicalResult SourceMachine<T>::evalNoise(NoiseOp op) {
  V out = this->make(op.getResult(), false);
  for (size_t r = 0; r < tokens.size(); ++r) {
    const SourceRow<T> &row = tokens[r];
    auto given = row.sequence->config.draws.find(op.getName().str());
    if (given != row.sequence->config.draws.end()) {
      uint64_t index = uint64_t(row.position - given->second.first);
      if (op.getIteration() && !frames.empty())
        index = index * uint64_t(countOf(row.sequence->config, frames[0].op.getCount())) + uint64_t(frames[0].iteration);
      uint64_t begin = index * uint64_t(out.width);
      if (row.position < given->second.first || begin + out.width > given->second.values.size())
        return this->fail(op, "expected a given value of `" + op.getName() + "` for position " + Twine(row.position) +
                                  ", but got " + Twine(given->second.values.size() / std::max<int64_t>(1, out.width)) +
                                  " from position " + Twine(given->second.first));
      for (int64_t i = 0; i < out.width; ++i)
        out.realRow(r)[i] = T(given->second.values[begin + i]);
      continue;
    }
    if (op.getLaw().getKind() == LawKind::position) {
      std::fill_n(out.realRow(r), out.width, T(row.position));
      continue;
    }
    if (!draw)
      return this->fail(op, "expected values of `" + op.getName() + "`, but none were given");
    LawAttr law = op.getLaw();
    DrawRequest request;
    request.name = op.getName().str();
    request.law = stringifyLawKind(law.getKind()).str();
    request.mean = law.getMean();
    request.std = law.getStd();
    request.cut = law.getCut();
    request.sequence = row.id;
    request.position = op.getShared() ? 0 : row.position;
    request.iteration = op.getIteration() && !frames.empty() ? uint32_t(frames[0].iteration) : 0;
    std::vector<float> values(static_cast<size_t>(out.width));
    draw(request, values);
    std::copy(values.begin(), values.end(), out.realRow(r));
  }
  this->set(op.getResult(), out);
  return success();
}

// All active rows write, then all active rows read.
template <typename T> LogicalResult SourceMachine<T>::evalAttend(AttendOp op) {
  Operation *site = SymbolTable::lookupNearestSymbolFrom(op, op.getSiteAttr());
  if (!isa_and_nonnull<SiteOp>(site))
    return this->fail(op, "expected the name of a site, but got `" + op.getSite() + "`");
  if (rewinding)
    return attendTogether(op);
  int64_t layer = 0;
  for (auto [index, size] : llvm::zip(op.getIndex(), cast<SiteOp>(site).getTables().value_or(ArrayRef<int64_t>())))
    layer = layer * size + (*this->get(index).whole)[0];
  KVAttr kv;
  bool outside = frames.empty() || checking; // of the loop
  for (Frame &frame : frames)
    if (frame.op.getKvAttr() && !checking)
      kv = frame.op.getKvAttr();
  if (!outside && !kv)
    return this->fail(op, "expected a kv policy of the loop around, but got none");

  ArrayRef<int64_t> qShape = getFeatureShape(op.getQ().getType()), vShape = getFeatureShape(op.getV().getType());
  int64_t heads = qShape[0], groups = vShape[0];
  AttendShape shape{qShape[1], vShape[1], op.getScale().convertToDouble(),
                    op.getSoftcap() ? op.getSoftcap()->convertToDouble() : 0.0, op.getLogSum()};
  V q = this->spread(this->get(op.getQ())), k = this->spread(this->get(op.getK())),
    v = this->spread(this->get(op.getV())), least = op.getLeast() ? this->spread(this->get(op.getLeast())) : V();
  int64_t outer = outside ? 0 : frames[0].iteration;
  if (kv && kv.getCodaOverwrites())
    return this->fail(op, "expected a policy whose planes are the loop's own, but got " + Twine(kv.describe()));
  std::optional<LayerStep> step;
  if (kv && kv.getUnit() == KVUnit::layer_step && !(step = getLayerStep(op)))
    return this->fail(op, "expected layers in the order of site `" + op.getSite() + "`, but got another");
  auto planeOf = [&](const SourceRow<T> &row, int64_t outerIteration) -> int64_t {
    if (!kv)
      return 0;
    int64_t d = outerIteration, count = countOf(row.sequence->config, frames[0].op.getCount());
    if (kv.getKeep() != KVKeep::last)
      return d; // which row is kept is decided by who reads
    if (step) {
      d = d * step->count + step->first + step->stride * layer;
      count *= step->count;
    }
    return rt::planeOfStep(rt::KvMap(kv.getMap()), kv.getSize(), kv.getPeriod(), d, count);
  };
  auto keyOf = [&](const SourceRow<T> &row, int64_t in, int64_t iteration) {
    return step ? PlaneKey{nullptr, 0, in, planeOf(row, iteration)} : PlaneKey{site, layer, in, planeOf(row, iteration)};
  };
  std::map<std::pair<SourceSequence<T> *, int64_t>, bool> running; // positions that run this iteration
  std::map<SourceSequence<T> *, int64_t> given;                    // first position that was given with them
  for (const SourceRow<T> &row : tokens)
    given.try_emplace(row.sequence, row.position);
  for (size_t r = 0; r < tokens.size(); ++r) {
    if (!this->active[r])
      continue;
    const SourceRow<T> &row = tokens[r];
    row.sequence->planes[keyOf(row, context, outer)].put(row.position, k.realRow(r), k.width, v.realRow(r), v.width);
    running[{row.sequence, row.position}] = true;
  }

  V out = this->make(op.getResult(), false);
  std::vector<T> scores, zeros(size_t(std::max(k.width, v.width)), T(0));
  std::vector<const T *> keyRows, valueRows, keys, values;
  std::deque<std::vector<T>> means;
  for (size_t r = 0; r < tokens.size(); ++r) {
    if (!this->active[r])
      continue;
    const SourceRow<T> &row = tokens[r];
    int64_t position = row.position;
    int64_t before = op.getBefore().value_or(0), all = int64_t(row.sequence->tokens.size()), end = position + 1 - before;
    if (op.getMask())
      end = op.getMask() == Mask::whole ? all : std::max(end, std::min<int64_t>(row.sequence->config.prefix, all));
    int64_t begin = op.getWindow() ? std::max<int64_t>(0, position + 1 - before - int64_t(*op.getWindow())) : 0;
    int64_t newest = op.getFirst() ? 0 : outer; // whose rows are read
    const std::vector<int32_t> *done = outside ? nullptr : &row.sequence->done[{frames[0].op, context}];
    keyRows.clear();
    valueRows.clear();
    means.clear();
    int64_t fromBefore = -1;
    const PlaneRows<T> *rows = nullptr;
    auto runOf = [&](int64_t i) {
      return int64_t(i < int64_t(done->size()) ? (*done)[i] : 0) + int64_t(running.count({row.sequence, i}));
    };
    bool hole = false;
    for (int64_t i = begin; kv && i < end; ++i)
      hole |= runOf(i) <= newest;
    for (int64_t d = op.getUpto() ? 0 : newest, i = begin; d <= newest; ++i) {
      if (i >= end) {
        ++d;
        i = begin - 1;
        continue;
      }
      int64_t from = d;
      KeyUse use = KeyUse::Read;
      if (kv) {
        int64_t run = runOf(i);
        use = rowRead(kv, d, run, hole, [&](int64_t t) { return planeOf(row, t); }, from);
        if (kv.getKeep() != KVKeep::last && i < given[row.sequence] && run > 0) {
          use = KeyUse::Read;
          from = 0;
        }
        if (use == KeyUse::Refuse && this->masked)
          use = KeyUse::Skip; // left out by the branch
        if (use == KeyUse::Refuse)
          return this->fail(op, "expected keys of position " + Twine(i) + " at iteration " + Twine(d) +
                                    " for position " + Twine(position) + ", but it ended after " + Twine(run) +
                                    " iterations and the policy is `holes refuse`");
      }
      if (use == KeyUse::Skip)
        continue;
      if (use == KeyUse::Zero) {
        keyRows.push_back(zeros.data());
        valueRows.push_back(zeros.data());
        continue;
      }
      auto planeRows = [&](int64_t in) -> const PlaneRows<T> * {
        auto found = row.sequence->planes.find(keyOf(row, in, from));
        return found == row.sequence->planes.end() ? nullptr : &found->second;
      };
      if (from != fromBefore)
        rows = planeRows(context);
      fromBefore = from;
      const PlaneRows<T> *source = rows;
      if (context && outside && !(source && source->has(i)))
        source = planeRows(0); // no readout after this iteration was made at that position
      if (!source || !source->has(i)) {
        if (this->masked)
          continue;
        return this->fail(op, "expected keys of position " + Twine(i) + " for position " + Twine(position) +
                                  ", but it left none");
      }
      if (kv && kv.getKeep() == KVKeep::mean && i < given[row.sequence]) {
        int64_t run = (*done)[i];
        std::vector<T> &mean = means.emplace_back(size_t(k.width + v.width), T(0));
        for (from = 0; from < run; ++from) {
          const PlaneRows<T> *one = planeRows(context);
          for (int64_t c = 0; c < k.width; ++c)
            mean[size_t(c)] += one->k[size_t(i * k.width + c)];
          for (int64_t c = 0; c < v.width; ++c)
            mean[size_t(k.width + c)] += one->v[size_t(i * v.width + c)];
        }
        for (T &value : mean)
          value /= T(run);
        keyRows.push_back(mean.data());
        valueRows.push_back(mean.data() + k.width);
        continue;
      }
      keyRows.push_back(source->k.data() + i * k.width);
      valueRows.push_back(source->v.data() + i * v.width);
    }
    for (int64_t head = 0; head < heads; ++head) {
      int64_t group = head / (heads / groups);
      keys.clear();
      values.clear();
      for (const T *key : keyRows)
        keys.push_back(key + group * shape.dim);
      for (const T *value : valueRows)
        values.push_back(value + group * shape.valueDim);
      attendHead(shape, q.realRow(r) + head * shape.dim, keys, values, scores, out.realRow(r) + head * getFeatureShape(op.getType())[1],
                 op.getLeast() ? least.realRow(r) + head : nullptr);
    }
  }
  this->set(op.getResult(), out);
  return success();
}

// Tokens of a sequence run one after the other (tokenOrder()): what the one before left is there.
template <typename T> LogicalResult SourceMachine<T>::evalState(Operation *op, OperandRange index) {
  auto site = SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, op->getAttrOfType<FlatSymbolRefAttr>("site"));
  int64_t layer = 0;
  for (auto [value, size] : llvm::zip(index, site.getTables().value_or(ArrayRef<int64_t>())))
    layer = layer * size + (*this->get(value).whole)[0];
  KVAttr kv;
  for (Frame &frame : frames)
    if (frame.op.getKvAttr() && !checking)
      kv = frame.op.getKvAttr();
  bool one = kv && kv.shares();
  int64_t iteration = kv ? frames[0].iteration : 0;
  auto recall = dyn_cast<RecallOp>(op);
  V given = this->spread(this->get(recall ? recall.getInit() : cast<KeepOp>(op).getValue()));
  V out = recall ? this->make(recall.getResult(), false) : V();
  V past = recall && recall.getPast() ? this->spread(this->get(recall.getPast())) : V();
  for (size_t r = 0; r < tokens.size(); ++r) {
    if (!this->active[r])
      continue;
    const SourceRow<T> &row = tokens[r];
    PlaneRows<T> &rows = row.sequence->planes[{site, layer, context, one ? 0 : iteration}];
    if (!recall) {
      rows.put(row.position, given.realRow(r), given.width, given.realRow(r), 0);
      continue;
    }
    int64_t from = row.position - (one && iteration > 0 ? 0 : 1);
    if (recall.getPast())
      from = pastPosition(double(*past.realRow(r)), row.position);
    if (from >= 0 && !rows.has(from))
      return this->fail(op, "expected a state that position " + Twine(from) + " left, but it left none");
    std::copy_n(from < 0 ? given.realRow(r) : rows.k.data() + from * given.width, given.width, out.realRow(r));
  }
  if (recall)
    this->set(recall.getResult(), out);
  return success();
}

template <typename T> LogicalResult SourceMachine<T>::evalOwn(Operation *op) {
  auto whole = [&](auto column) {
    V out = V::makeWhole(false, this->rows, 1);
    for (size_t r = 0; r < tokens.size(); ++r)
      *out.wholeRow(r) = column(tokens[r]);
    this->set(op->getResult(0), out);
    return success();
  };
  if (isa<TokenOp>(op))
    return whole([](const SourceRow<T> &row) { return int64_t(row.sequence->tokens[row.position]); });
  if (isa<PositionOp>(op))
    return whole([](const SourceRow<T> &row) { return int64_t(row.position); });
  if (isa<LabelOp>(op))
    return whole([](const SourceRow<T> &row) {
      const std::vector<int32_t> &labels = row.sequence->labels;
      return row.position < labels.size() ? int64_t(labels[row.position]) : -1;
    });
  if (isa<CountValueOp, KnobValueOp>(op)) {
    V out = this->make(op->getResult(0), false);
    for (size_t r = 0; r < tokens.size(); ++r) {
      const SequenceConfig &config = tokens[r].sequence->config;
      double number;
      if (auto count = dyn_cast<CountValueOp>(op)) {
        number = double(countOf(config, count.getCount()));
      } else {
        StringRef name = cast<KnobValueOp>(op).getKnob();
        auto given = config.knobs.find(name.str());
        number = given != config.knobs.end()
                     ? given->second
                     : cast<KnobOp>(SymbolTable::lookupSymbolIn(model, name)).getValue().convertToDouble();
      }
      if (out.real)
        *out.realRow(r) = T(number);
      else
        *out.wholeRow(r) = int64_t(number);
    }
    this->set(op->getResult(0), out);
    return success();
  }
  if (auto tap = dyn_cast<TapOp>(op)) {
    record(tap.getName(), tap.getValue().getType(), this->get(tap.getValue()));
    return success();
  }
  if (auto noise = dyn_cast<NoiseOp>(op))
    return evalNoise(noise);
  if (auto attend = dyn_cast<AttendOp>(op))
    return evalAttend(attend);
  if (auto recall = dyn_cast<RecallOp>(op))
    return evalState(op, recall.getIndex());
  if (auto keep = dyn_cast<KeepOp>(op))
    return evalState(op, keep.getIndex());
  if (auto recur = dyn_cast<RecurOp>(op))
    return evalRecur(recur);
  if (auto check = dyn_cast<CheckOp>(op))
    return evalCheck(check);
  if (auto fold = dyn_cast<FoldOp>(op))
    return evalFold(fold);
  if (auto rewind = dyn_cast<RewindOp>(op))
    return evalRewind(rewind);
  if (auto accumulate = dyn_cast<AccumulateOp>(op))
    return evalAccumulate(accumulate);
  if (auto attend = dyn_cast<AttendAdjointOp>(op))
    return evalAttendAdjoint(attend);
  return this->fail(op, "expected an op that the interpreter has a rule for, but got `" + op->getName().getStringRef() +
                            "`");
}

template class SourceMachine<float>;
template class SourceMachine<double>;

} // namespace loopc::interp
