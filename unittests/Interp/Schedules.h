// SOURCE and LANES of one model, compared under random legal schedules.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Loaded.h"

#include "loopc/Interp/LanesExecutor.h"
#include "loopc/Transforms/Passes.h"
#include "loopc/runtime/Engine.h"
#include <random>

/// One model in both forms, with seeded weights.
class Twins {
public:
  /// In bf16, or with another policy than the model has, the oracle runs PLANNED, which says so.
  Twins(const std::string &text, const loopc::PlanOptions &plan);
  std::unique_ptr<loopc::rt::Engine> engine(uint32_t capacity, uint64_t shuffleSeed);

  Loaded source, lanes;
  loopc::interp::RandomParams params;
  std::unique_ptr<loopc::interp::SourceInterp> oracle;
  std::unique_ptr<loopc::interp::LanesExecutor> executor;
};

std::vector<int32_t> randomTokens(std::mt19937 &random, size_t count, int32_t vocab);

struct Request {
  loopc::rt::SequenceOptions options;
  std::vector<int32_t> tokens;
  loopc::interp::SourceResult expected;
};

/// Several sequences at once in the engine, tokens cut at random, lanes picked at random; everything is compared with
/// SOURCE, where each sequence ran alone and uncut.
void compare(Twins &twins, std::vector<Request> requests, unsigned schedules, bool everyIteration);
