// The profile of a benchmark as table, JSON and page.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Machine.h"
#include "Support.h"
#include <string>
#include <vector>

namespace loopc::driver {

/// One phase over an average step; seconds.
struct ProfileRow {
  const codegen::PhaseCost *cost;
  PhaseWork work;
  std::vector<double> busy, waited; ///< of each worker; waited: in the syncs before the phase
};

struct Profile {
  std::string title;
  Machine machine;
  double step = 0; ///< seconds of an average step
  std::vector<ProfileRow> rows;
};

std::string profileText(const Profile &profile);
Json profileJson(const Profile &profile);
/// One HTML page that needs nothing else.
std::string profilePage(const Profile &profile);

} // namespace loopc::driver
