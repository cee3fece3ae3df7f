// The laws of stage calls, checked at the door of every call (ir.md §3: C1-C6). O(lanes).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Policy.h"
#include <span>

namespace loopc::rt {

/// What order says about tokens that share planes: Free: nothing beyond need(d). Pass: the tokens given together read
/// the rows of their own iteration.
enum class Order : uint8_t { Free, Token, Pass, Chunk };

/// Iterations that an older live token must have completed, or complete in this call, before iteration `d` of another.
inline int32_t needOf(const Policy &policy, Order order, int32_t d) {
  return order == Order::Chunk || order == Order::Pass ? d + 1 : policy.need[size_t(d)];
}

/// One live lane of a sequence.
struct LawLane {
  uint32_t position = 0, slot = 0, chunk = 0;
  int32_t done = 0;       ///< iterations completed
  bool prelude = true;    ///< the prelude has run
  bool exited = false, codaFinal = false;
  bool inCall = false;
  bool exclusive = true;  ///< the rows it is to write belong to nobody else
};

/// All live lanes of one sequence, oldest first.
struct LawSequence {
  uint64_t request = 0;
  const Policy *policy = nullptr;
  Order order = Order::Free;
  uint32_t pending = 0; ///< tokens appended that have no lane yet
  std::span<const LawLane> lanes;
};

struct LawCall {
  Stage stage = Stage::Core;
  int32_t rounds = 1;
  uint32_t capacity = 0, slots = 0;
  bool scratch = false; ///< a readout on copies: no rows that others see are written, so only C1 and C2 apply
};

/// Throws Error naming request, lane and both values of the first law that fails. `sequences` ascending by request.
void checkLaws(const ModelInfo &info, const LawCall &call, std::span<const LawSequence> sequences);

} // namespace loopc::rt
