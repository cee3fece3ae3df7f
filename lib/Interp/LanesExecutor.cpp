// The executor of `--target interp`.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Interp/LanesExecutor.h"

namespace loopc::interp {

static Element elementOf(rt::DType type, const std::string &place) {
  switch (type) {
  case rt::DType::F32:
    return Element::F32;
  case rt::DType::BF16:
    return Element::BF16;
  case rt::DType::F16:
    return Element::F16;
  case rt::DType::I32:
    return Element::I32;
  default:
    throw rt::Error("", place, "an element type F32, BF16, F16 or I32", std::string(rt::dtypeName(type)));
  }
}

StageLayout layoutOf(const rt::ModelInfo &info) {
  StageLayout layout;
  layout.skipsHoles = info.policy.holes == "skip";
  for (const rt::FieldInfo &field : info.fields)
    layout.fields[field.name] = {field.offset, elementOf(field.dtype, field.name)};
  for (size_t pool = 0; pool < info.pools.size(); ++pool)
    for (const rt::SiteInfo &site : info.pools[pool].sites)
      layout.sites[site.name] = {uint32_t(pool), site.offset, elementOf(info.pools[pool].dtype, site.name)};
  for (size_t i = 0; i < info.knobs.size(); ++i)
    layout.knobs[info.knobs[i].name] = uint32_t(i);
  return layout;
}

void LanesExecutor::bind(const rt::EngineMemory &engine) {
  memory.bank = engine.bank;
  memory.bankRowBytes = engine.bankRowBytes;
  for (size_t pool = 0; pool < LOOPC_MAX_POOLS; ++pool)
    memory.pools[pool] = engine.pools[pool];
}

void LanesExecutor::run(rt::Stage stage, loopc_call &call) {
  std::string error;
  if (!stages->run(std::string(rt::stageName(stage)), call, memory, error))
    throw rt::Error(error);
}

} // namespace loopc::interp
