// What this machine can read and compute, and the time that follows for phases.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/CodeGen/PhaseCosts.h"
#include <cstdint>

namespace loopc::driver {

/// Bytes read and FLOPs done a second by all workers together.
struct Machine {
  double memory = 0; ///< reading all that a step touches
  double core = 0;   ///< reading the weights of an iteration again, which caches may hold
  double cache = 0;  ///< reading what fits into the first caches
  double peak = 0;   ///< f32 multiplies and adds
};

/// Measures for about half a second. `bytes`: all that a step touches; `coreBytes`: weights of an iteration.
Machine measureMachine(double bytes, double coreBytes, uint32_t threads);

/// How often a stage ran, over any number of calls.
struct StageUse {
  double calls = 1, rounds = 1; ///< rounds: iterations
  double rows = 1;              ///< rows of all calls; of the core, of all iterations
  double history = 0;           ///< earlier positions that all rows attended to
  double reach = 0;             ///< the same, but rows of one sequence in one call read theirs together
};

/// What a phase did in the calls of a use, and what that has to take.
struct PhaseWork {
  double times = 0, bytes = 0, flops = 0, seconds = 0;
};
PhaseWork workOf(const codegen::PhaseCost &phase, const StageUse &use, const Machine &machine);

/// Bytes of weights that one iteration of the core reads, or one call of every other stage.
double weightBytes(const codegen::PhaseTable &table, bool core);

} // namespace loopc::driver
