// Figures as SVG text.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <string>
#include <vector>

namespace loopc::driver {

/// Loss and agreement over the loop counts, and the exit distribution as bars (may be empty).
std::string evalFigure(const std::string &title, const std::vector<int> &counts, const std::vector<double> &loss,
                       const std::vector<double> &agreement, const std::vector<double> &exits);

} // namespace loopc::driver
