// Rows of a training step from its sequences.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/TrainStep.h"
#include "loopc/runtime/Packing.h"
#include <algorithm>

namespace loopc::rt {

TrainStep::TrainStep(Executor &executor) : executor(executor) {
  if (!executor.info().stage(Stage::Step))
    throw Error("", "artefact", "a training step", "a model to run");
  for (const GradientInfo &gradient : executor.info().gradients) {
    sums.resize(std::max(sums.size(), size_t(gradient.index + gradient.count)));
    for (uint64_t table = 0; table < gradient.count; ++table)
      sums[gradient.index + table].resize(size_t(gradient.rows * gradient.cols));
  }
  for (std::vector<float> &sum : sums)
    sumTable.push_back(sum.data());
}

void TrainStep::fill(std::span<const StepSequence> sequences) {
  const ModelInfo &info = executor.info();
  for (auto *column : {&token, &position, &sequence, &slot, &limit, &iteration})
    column->clear();
  records.assign(sequences.size(), {});
  knobs.assign(sequences.size(), {});
  columns.assign(info.given.size(), {});
  draws.assign(info.given.size(), {});
  for (size_t s = 0; s < sequences.size(); ++s) {
    const StepSequence &one = sequences[s];
    size_t length = one.tokens.size();
    std::string place = "sequence " + std::to_string(s);
    if (one.labels.size() != length)
      throw Error("", place, std::to_string(length) + " labels", std::to_string(one.labels.size()));
    token.insert(token.end(), one.tokens.begin(), one.tokens.end());
    for (size_t i = 0; i < length; ++i) {
      position.push_back(int32_t(i));
      sequence.push_back(int32_t(s));
    }
    for (const KnobInfo &knob : info.knobs) {
      auto found = one.knobs.find(knob.name);
      knobs[s].push_back(found == one.knobs.end() ? float(knob.value) : found->second);
    }
    records[s].knobs = knobs[s].data();
    records[s].prefix = one.prefix;
    for (size_t g = 0; g < info.given.size(); ++g) {
      const GivenInfo &what = info.given[g];
      if (what.what == "label") {
        columns[g].insert(columns[g].end(), one.labels.begin(), one.labels.end());
      } else if (what.what == "draw") {
        auto found = one.draws.find(what.name);
        if (found == one.draws.end() || found->second.size() < length * size_t(what.elements))
          throw Error("", place + ": " + what.name, std::to_string(length * size_t(what.elements)) + " values",
                      std::to_string(found == one.draws.end() ? 0 : found->second.size()));
        draws[g].insert(draws[g].end(), found->second.begin(), found->second.begin() + int64_t(length) * what.elements);
      } else {
        const GivenInfo &counted = *std::find_if(info.given.begin(), info.given.end(), [&](const GivenInfo &other) {
          return other.what == "limit" && other.name == what.name;
        });
        auto found = one.counts.find(what.name);
        int32_t count = found == one.counts.end() ? counted.value : found->second;
        if (count < 0 || count > counted.max)
          throw Error("", place + ": " + what.name, "at most " + std::to_string(counted.max) + " iterations",
                      std::to_string(count));
        int32_t first = one.window < 0 ? 0 : std::max(0, count - one.window);
        columns[g].insert(columns[g].end(), length, what.what == "limit" ? count : first);
      }
    }
  }
  slot.resize(token.size());
  limit.resize(token.size());
  iteration.resize(token.size());
  exited.assign(token.size(), 0);
  loss.assign(token.size(), 0);
  given.clear();
  for (size_t g = 0; g < info.given.size(); ++g)
    given.push_back(info.given[g].what == "draw" ? static_cast<const void *>(draws[g].data()) : columns[g].data());
}

void TrainStep::run(std::span<const StepSequence> sequences) {
  fill(sequences);
  for (std::vector<float> &sum : sums)
    std::fill(sum.begin(), sum.end(), 0.0f);
  if (token.empty())
    return;
  if (token.size() > capacity) {
    capacity = uint32_t(token.size());
    EngineMemory memory;
    memory.capacity = capacity;
    executor.bind(memory);
  }
  loopc_step step = {};
  loopc_call &call = step.call;
  call.size = sizeof call;
  call.abi = LOOPC_ABI_VERSION;
  call.lanes = uint32_t(token.size());
  call.rounds = 1;
  call.token = token.data();
  call.position = position.data();
  call.sequence = sequence.data();
  call.slot = slot.data();
  call.limit = limit.data();
  call.iteration = iteration.data();
  call.exited = exited.data();
  call.records = records.data();
  call.out = loss.data();
  call.out_stride = sizeof(float);
  step.given = given.data();
  step.gradient = sumTable.data();
  executor.run(Stage::Step, call);
}

std::map<std::string, std::vector<float>> TrainStep::gradients() const {
  std::map<std::string, std::vector<float>> result;
  for (const GradientInfo &gradient : executor.info().gradients)
    for (uint64_t table = 0; table < gradient.count; ++table) {
      std::string name = sourceName(gradient.source, table);
      if (name.empty())
        continue;
      const std::vector<float> &sum = sums[gradient.index + table];
      std::vector<float> &values = result[name] = sum;
      const std::vector<int64_t> &map = gradient.source.rowMap;
      for (size_t row = 0; row < map.size(); ++row)
        std::copy_n(sum.begin() + int64_t(row) * gradient.cols, gradient.cols,
                    values.begin() + map[row] * gradient.cols);
    }
  return result;
}

} // namespace loopc::rt
