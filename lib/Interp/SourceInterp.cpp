// Sequences, chunks and results around the SOURCE machine.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Interp/SourceInterp.h"
#include "SourceMachine.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {
namespace {

template <typename T> class SourceInterpImpl final : public SourceInterp {
public:
  SourceInterpImpl(ModelOp model, ForwardOp forward, ParamProvider &params, DrawFunction draw)
      : machine(model, forward, params, std::move(draw)) {}

  bool open(uint32_t id, const SequenceConfig &config, std::string &error) override {
    if (sequences.count(id)) {
      error = ("expected a new sequence, but got " + Twine(id) + ", which is open").str();
      return false;
    }
    for (auto count : machine.model.template getOps<CountOp>()) {
      int64_t value = machine.countOf(config, count.getSymName());
      if (value < int64_t(count.getMin()) || value > int64_t(count.getMax())) {
        error = ("expected `" + count.getSymName() + "` within " + Twine(count.getMin()) + ".." +
                 Twine(count.getMax()) + ", but got " + Twine(value))
                    .str();
        return false;
      }
    }
    for (auto &[name, value] : config.knobs)
      if (!isa_and_nonnull<KnobOp>(SymbolTable::lookupSymbolIn(machine.model, name))) {
        error = "expected an option of the model, but got `" + name + "`";
        return false;
      }
    for (auto &[name, value] : config.counts)
      if (!isa_and_nonnull<CountOp>(SymbolTable::lookupSymbolIn(machine.model, name))) {
        error = "expected a count of the model, but got `" + name + "`";
        return false;
      }
    sequences[id].config = config;
    return true;
  }

  void close(uint32_t id) override { sequences.erase(id); }

  void rollback(uint32_t id, uint32_t position) override {
    if (auto found = sequences.find(id); found != sequences.end())
      found->second.truncate(position);
  }

  bool feed(const std::vector<SourceChunk> &chunks, const SourceFeed &options, std::vector<SourceResult> &results,
            std::string &error) override {
    results.assign(chunks.size(), {});
    size_t longest = 0;
    for (auto [chunk, result] : llvm::zip(chunks, results)) {
      auto found = sequences.find(chunk.sequence);
      uint32_t id = chunk.sequence;
      size_t same = llvm::count_if(chunks, [id](const SourceChunk &other) { return other.sequence == id; });
      if (found == sequences.end() || same > 1) {
        error = ("expected one chunk for each of some open sequences, but got " + Twine(same) + " for sequence " +
                 Twine(chunk.sequence))
                    .str();
        return false;
      }
      SourceSequence<T> &sequence = found->second;
      if (sequence.tokens.empty() && sequence.config.prefix == 0)
        sequence.config.prefix = uint32_t(chunk.tokens.size());
      result.first = uint32_t(sequence.tokens.size());
      result.count = uint32_t(chunk.tokens.size());
      result.loops = machine.scheduled ? uint32_t(machine.countOf(sequence.config, machine.scheduled.getCount())) : 0;
      result.depth.assign(chunk.tokens.size(), 0);
      result.executed.assign(chunk.tokens.size(), 0);
      sequence.labels.resize(sequence.tokens.size(), -1);
      sequence.labels.insert(sequence.labels.end(), chunk.labels.begin(), chunk.labels.end());
      sequence.tokens.insert(sequence.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
      longest = std::max(longest, chunk.tokens.size());
    }
    // One step takes everything, or token i of every chunk.
    bool tokenOrder = machine.tokenOrder();
    std::vector<SourceResult> again(chunks.size()); // of older tokens, where later ones change what they compute
    for (size_t step = 0; step < (tokenOrder ? longest : size_t(longest > 0)); ++step) {
      std::vector<SourceRow<T>> rows;
      for (auto [chunk, result, old] : llvm::zip(chunks, results, again)) {
        if (machine.wholeSequence()) {
          old.loops = result.loops;
          old.count = result.first;
          old.depth.resize(result.first);
          old.executed.resize(result.first);
          for (uint32_t i = 0; i < result.first; ++i)
            rows.push_back({&sequences[chunk.sequence], chunk.sequence, i, &old, i});
        }
        for (size_t i = 0; i < chunk.tokens.size(); ++i)
          if (!tokenOrder || i == step)
            rows.push_back({&sequences[chunk.sequence], chunk.sequence, uint32_t(result.first + i), &result, i});
      }
      if (failed(machine.run(std::move(rows), options))) {
        error = machine.error;
        for (auto [chunk, result] : llvm::zip(chunks, results))
          sequences[chunk.sequence].truncate(result.first);
        return false;
      }
    }
    return true;
  }

  Gradients gradients() override {
    Gradients result;
    std::string error; // they were read by these names
    for (auto &[key, values] : machine.gradients)
      result[publishedName(cast<WeightOp>(key.first), key.second, error)].assign(values.begin(), values.end());
    return result;
  }

private:
  SourceMachine<T> machine;
  std::map<uint32_t, SourceSequence<T>> sequences;
};

} // namespace

std::unique_ptr<SourceInterp> SourceInterp::create(ModelOp model, ParamProvider &params, Precision precision,
                                                   DrawFunction draw, std::string &error,
                                                   const std::string &program) {
  ForwardOp forward;
  for (ForwardOp one : model.getOps<ForwardOp>())
    if (!forward && (program.empty() || one.getSymName() == program))
      forward = one;
  if (model.getPhase() == Phase::lanes || !forward) {
    error = locatedMessage(model, "expected a model in the form source or planned with a program, but got the form " +
                                      stringifyPhase(model.getPhase()));
    return nullptr;
  }
  if (precision == Precision::F64)
    return std::make_unique<SourceInterpImpl<double>>(model, forward, params, std::move(draw));
  return std::make_unique<SourceInterpImpl<float>>(model, forward, params, std::move(draw));
}

} // namespace loopc::interp
