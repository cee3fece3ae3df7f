// The rule of `loop.recur` in SOURCE: iterations in lockstep, exits as frozen rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SourceMachine.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {

template <typename T> ExitUse SourceMachine<T>::exitUse(RecurOp op, const SequenceConfig &config) {
  if (config.exit != ExitUse::Default)
    return config.exit;
  KVAttr kv = op.getKvAttr();
  return !kv || kv.getHoles() != Holes::refuse || kv.getMap() == KVMap::single || kv.getMap() == KVMap::recompute ? ExitUse::Leave : ExitUse::Select;
}

template <typename T> bool SourceMachine<T>::due(RecurOp op, const SequenceConfig &config, int64_t t) {
  bool isScheduled = op == scheduled;
  int64_t first = isScheduled && config.minLoops > 0 ? config.minLoops : op.getExit()->getMin();
  int64_t every = isScheduled && config.checkEvery > 0 ? config.checkEvery : op.getExit()->getEvery();
  return t + 1 >= first && (t + 1 - first) % std::max<int64_t>(1, every) == 0;
}

template <typename T> LogicalResult SourceMachine<T>::evalCheck(CheckOp op) {
  RecurOp recur = frames.back().op;
  int64_t t = frames.back().iteration;
  std::vector<uint8_t> outer = this->active, runs = outer;
  for (size_t r = 0; r < tokens.size(); ++r) {
    const SequenceConfig &config = tokens[r].sequence->config;
    runs[r] = outer[r] && exitUse(recur, config) != ExitUse::Off && due(recur, config, t);
  }
  SmallVector<V> states;
  for (Value state : op.getStates())
    states.push_back(this->spread(this->get(state)));
  V stop = V::makeWhole(false, this->rows, 1);
  for (size_t r = 0; r < tokens.size(); ++r)
    *stop.wholeRow(r) = 0;
  if (llvm::any_of(runs, [](uint8_t on) { return on; })) {
    Block &body = op.getBody().front();
    for (auto [argument, state] : llvm::zip(body.getArguments(), states))
      this->set(argument, state);
    this->active = runs;
    checking = true;
    LogicalResult done = this->runBlock(body);
    checking = false;
    this->active = outer;
    if (failed(done))
      return failure();
    auto yield = cast<YieldOp>(body.getTerminator());
    for (auto [state, value] : llvm::zip(states, yield.getValues()))
      state = this->merge(state, this->get(value), runs);
    stop = this->merge(stop, this->spread(this->get(yield.getExit())), runs);
  }
  for (auto [result, state] : llvm::zip(op.getResults(), states))
    this->set(result, state);
  this->set(op.getStop(), stop);
  return success();
}

/// Over the tokens of the sequence, or of all sequences, that run together.
template <typename T> LogicalResult SourceMachine<T>::evalFold(FoldOp op) {
  V x = this->spread(this->get(op.getInput())), out = this->make(op.getResult(), false);
  for (size_t r = 0; r < tokens.size(); ++r)
    for (int64_t i = 0; i < x.width; ++i) {
      T value = 0;
      size_t count = 0;
      for (size_t o = 0; o < tokens.size(); ++o) {
        if (!this->active[o] || (tokens[o].sequence != tokens[r].sequence && !op.getBatch()))
          continue;
        T next = x.realRow(o)[i];
        bool first = count++ == 0;
        switch (op.getKind()) {
        case ReduceKind::max:
          value = first ? next : std::max(value, next);
          break;
        case ReduceKind::min:
          value = first ? next : std::min(value, next);
          break;
        case ReduceKind::first:
          value = first ? next : value;
          break;
        case ReduceKind::last:
          value = next;
          break;
        default:
          value += next;
        }
      }
      out.realRow(r)[i] = op.getKind() == ReduceKind::mean && count ? value / T(count) : value;
    }
  this->set(op.getResult(), out);
  return success();
}

/// Which of the rows that have just run iteration `t` exit, and what that does to them.
template <typename T>
void SourceMachine<T>::applyExit(RecurOp op, int64_t t, const std::vector<uint8_t> &runs, std::vector<uint8_t> &left,
                                 std::vector<int32_t> &depth, ArrayRef<V> states, SmallVectorImpl<V> &selected) {
  auto yield = cast<YieldOp>(op.getBody().front().getTerminator());
  bool isScheduled = frames.empty() && op == scheduled;
  std::vector<uint8_t> fires(tokens.size(), 0);
  for (size_t r = 0; r < tokens.size(); ++r) {
    const SequenceConfig &config = tokens[r].sequence->config;
    ExitUse use = isScheduled ? exitUse(op, config) : ExitUse::Leave;
    if (!runs[r] || depth[r] || use == ExitUse::Off)
      continue;
    if (isScheduled && !config.exitAfter.empty()) {
      fires[r] = tokens[r].position < config.exitAfter.size() && config.exitAfter[tokens[r].position] == t + 1;
    } else if (yield.getExit()) {
      fires[r] = due(op, config, t) && *this->get(yield.getExit()).wholeRow(r) != 0;
    }
    if (fires[r]) {
      depth[r] = int32_t(t + 1);
      left[r] = use == ExitUse::Leave;
    }
  }
  for (auto [kept, state] : llvm::zip(selected, states))
    kept = this->merge(kept, state, fires);
}

template <typename T> LogicalResult SourceMachine<T>::evalRecur(RecurOp op) {
  Block &body = op.getBody().front();
  auto yield = cast<YieldOp>(body.getTerminator());
  bool outermost = frames.empty(), isScheduled = outermost && op == scheduled;
  std::vector<uint8_t> entered = this->active, left(tokens.size(), 0), runs(tokens.size(), 0);
  std::vector<int32_t> depth(tokens.size(), 0), executed(tokens.size(), 0);
  std::vector<int64_t> limit;
  int64_t most = 0;
  for (size_t r = 0; r < tokens.size(); ++r) {
    limit.push_back(countOf(tokens[r].sequence->config, op.getCount()));
    most = std::max(most, limit.back());
    if (outermost) {
      std::vector<int32_t> &done = tokens[r].sequence->done[{op, context}];
      done.resize(std::max<size_t>(done.size(), tokens[r].position + 1), 0);
      done[tokens[r].position] = 0;
    }
  }
  SmallVector<V> states, selected;
  for (Value state : op.getStates())
    states.push_back(this->spread(this->get(state)));
  selected = states;

  for (int64_t t = 0; t < most; ++t) {
    for (size_t r = 0; r < tokens.size(); ++r)
      runs[r] = entered[r] && t < limit[r] && !left[r];
    if (llvm::none_of(runs, [](uint8_t on) { return on; }))
      break;
    this->set(body.getArgument(0), V::scalar(t));
    for (auto [i, state] : llvm::enumerate(states))
      this->set(body.getArgument(i + 1), state);
    frames.push_back({op, t});
    this->active = runs;
    LogicalResult done = this->runBlock(body);
    if (succeeded(done)) {
      for (auto [i, value] : llvm::enumerate(yield.getValues()))
        states[i] = this->merge(states[i], this->get(value), runs);
      if (isScheduled) {
        auto names = op->getAttrOfType<ArrayAttr>("state_names");
        for (auto [i, state] : llvm::enumerate(states))
          record(names && i < names.size() ? cast<StringAttr>(names[i]).getValue().str()
                                           : (op.getName() + "." + Twine(i)).str(),
                 yield.getValues()[i].getType(), state);
      }
    }
    frames.pop_back();
    this->active = entered;
    if (failed(done))
      return failure();
    for (size_t r = 0; r < tokens.size(); ++r)
      if (runs[r]) {
        executed[r] = int32_t(t + 1);
        if (outermost)
          tokens[r].sequence->done[{op, context}][tokens[r].position] = executed[r];
      }
    applyExit(op, t, runs, left, depth, states, selected);
    if (isScheduled && options.everyIteration && context == 0) {
      for (auto [result, state] : llvm::zip(op.getResults(), states))
        this->set(result, state);
      if (failed(readout(t)))
        return failure();
    }
  }
  std::vector<uint8_t> fired;
  for (int32_t iterations : depth)
    fired.push_back(iterations != 0);
  for (auto [result, state, chosen] : llvm::zip(op.getResults(), states, selected))
    this->set(result, this->merge(state, chosen, fired));
  for (size_t r = 0; isScheduled && context == 0 && r < tokens.size(); ++r) {
    tokens[r].result->depth[tokens[r].index] = depth[r] ? depth[r] : executed[r];
    tokens[r].result->executed[tokens[r].index] = executed[r];
  }
  return success();
}

template class SourceMachine<float>;
template class SourceMachine<double>;

} // namespace loopc::interp
