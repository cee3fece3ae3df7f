// Optimizers: what an update does to one weight.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An update of a model by a section (frontend::ProgramTraining) with the gradients of all weights:
//   factor = clipFactor(root of the sum of squares of all gradients, section.clip->at(update)), 1 without a clip;
//   every weight w with section.groupOf[w] != kNone (others are frozen) has a group section.groups[groupOf[w]]:
//     kind = optimizerNamed(group.optimizer); for all group.settings: *settings.named(name) = value.at(update);
//     settings.rate = section.schedule->at(update), 1 without a schedule;
//     optimize(kind, settings, rows, columns, the weight, its gradient times factor, a state that stays with the weight).
// `update` counts from 1. section.missing names what a number of the section reads and this version gives no value.
#ifndef LOOPC_RUNTIME_OPTIMIZER_H
#define LOOPC_RUNTIME_OPTIMIZER_H

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace loopc::rt {

enum class OptimizerKind : uint8_t {
#define LOOPC_OPTIMIZER(NAME) NAME,
#include "loopc/runtime/Optimizers.def"
};
std::optional<OptimizerKind> optimizerNamed(std::string_view name);

struct OptimizerSettings {
#define LOOPC_OPTIMIZER_SETTING(NAME, VALUE) double NAME = VALUE;
#include "loopc/runtime/Optimizers.def"
  /// Null for a name that no setting has.
  double *named(std::string_view name);
};

/// What stays between the steps of one weight.
template <typename T> struct OptimizerState {
  int64_t steps = 0;
  std::vector<T> first, second;
  double norm = 0; ///< of the weight at the first step
};

/// One step of a weight of `rows` rows; one row if it is no matrix. Every element has one order of summation.
template <typename T>
void optimize(OptimizerKind kind, const OptimizerSettings &settings, int64_t rows, int64_t columns, T *weight,
              const T *gradient, OptimizerState<T> &state);

/// The factor that brings gradients of this norm under `limit`.
double clipFactor(double norm, double limit);

} // namespace loopc::rt

#endif
