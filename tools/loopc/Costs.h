// What the stages of a LANES model cost.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Compile.h"

namespace mlir::loop {
class ModelOp;
}

namespace loopc::driver {

std::vector<StageCost> stageCosts(mlir::loop::ModelOp model);

} // namespace loopc::driver
