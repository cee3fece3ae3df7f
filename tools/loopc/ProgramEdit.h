// Changes of a checked model for measurements: values that are given, values of single layers that are kept.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/Frontend/Program.h"
#include <string>
#include <utility>
#include <vector>

namespace loopc::driver {

/// The value `name` of the outermost loop is no longer computed: iteration t takes element t of the draw `given.NAME`,
/// which has `iterations` elements for each token. Throws Failure if the loop has no scalar value of that name.
void giveValue(frontend::Program &program, const std::string &name, int64_t iterations);

/// Keeps the value `name` of layer `index` of stack number `number`, or of that iteration of a loop with a fixed count (in
/// the order of the text, from 0), and taps it behind the stack or loop as `tap`. `name` is a value bound in the body or in
/// functions that it calls (the last of several), a state, as it is after the body, or the last labels of a `carry`. Throws Failure if there is none.
void keepLayerValue(frontend::Program &program, frontend::OpKind kind, uint32_t number, int64_t index,
                    const std::string &name, const std::string &tap);

/// Taps a value that functions called in the outermost loop bind (without a loop: in the text), if nothing of that name
/// is tapped.
void keepLoopValue(frontend::Program &program, const std::string &name);

/// Layers that bind a name: those of neighbouring stacks, in order. In the loop they are executed in every iteration.
struct LayerGroup {
  bool looped = false;
  std::vector<std::pair<uint32_t, int64_t>> layers; ///< number of the stack, index
};
std::vector<LayerGroup> layersThatBind(const frontend::Program &program, const std::string &name);

} // namespace loopc::driver
