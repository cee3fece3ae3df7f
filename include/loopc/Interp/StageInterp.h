// Runs one call of one stage of a LANES module by interpreting it.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_INTERP_STAGEINTERP_H
#define LOOPC_INTERP_STAGEINTERP_H

#include "loopc/Interp/Params.h"
#include "loopc/runtime/abi.h"
#include <map>
#include <memory>

namespace mlir::loop {
class ModelOp;
}

namespace loopc::interp {

enum class Element : uint8_t { F32, BF16, F16, I32 };

/// Where the values of a call lie in memory; the same numbers that generated code has as constants.
struct StageLayout {
  struct Field {
    uint64_t offset = 0; ///< bytes from the start of a slot
    Element element = Element::F32;
  };
  struct Site {
    uint32_t pool = 0;
    uint64_t offset = 0; ///< elements from the start of a page
    Element element = Element::F32;
  };
  std::map<std::string, Field> fields;
  std::map<std::string, Site> sites;
  bool skipsHoles = false; ///< a token without a row of the plane is not seen
  std::map<std::string, uint32_t> knobs; ///< index into loopc_sequence::knobs
};

struct StageMemory {
  uint8_t *bank = nullptr;
  uint64_t bankRowBytes = 0;
  loopc_pool pools[LOOPC_MAX_POOLS] = {};
};

class StageInterp {
public:
  virtual ~StageInterp() = default;
  /// The model and the provider must outlive the interpreter. Fails if the module is not in the LANES form or the
  /// layout lacks a field, a site or a knob of it.
  static std::unique_ptr<StageInterp> create(mlir::loop::ModelOp model, ParamProvider &params,
                                             const StageLayout &layout, std::string &error);
  /// One call to its end: `stage` is prelude, core, coda or head.
  virtual bool run(const std::string &stage, loopc_call &call, const StageMemory &memory, std::string &error) = 0;
};

} // namespace loopc::interp

#endif
