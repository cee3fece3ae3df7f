// Does this CPU have what the code of an artefact uses?
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Artifact.h"
#include <cstring>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace loopc::rt {

namespace {

#if defined(__x86_64__)
enum Register { EAX, EBX, ECX, EDX };
/// Bit of a CPUID leaf (Intel SDM vol. 2, CPUID; names are LLVM's).
struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  uint32_t bit;
  uint64_t state; ///< XCR0 bits the system must have enabled
};
constexpr uint64_t sse = 0x2, avx = 0x6, avx512 = 0xe6, amx = 0x60000;
constexpr Feature table[] = {
#define LOOPC_CPU_FEATURE(name, leaf, subleaf, reg, bit, state) {name, leaf, subleaf, reg, bit, state},
#include "CpuFeatures.def"
};

uint64_t enabledState() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
    return sse;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

/// 1: present, 0: absent, -1: not in the table.
int hasFeature(const std::string &name) {
  for (const Feature &f : table) {
    if (name != f.name)
      continue;
    uint32_t r[4] = {};
    if (!__get_cpuid_count(f.leaf, f.subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
      return 0;
    return ((r[f.reg] >> f.bit) & 1) && (enabledState() & f.state) == f.state;
  }
  return -1;
}
#elif defined(__aarch64__)
int hasFeature(const std::string &name) {
  unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
  if (name == "neon" || name == "fp-armv8")
    return (caps & 3) == 3;
  if (name == "fullfp16")
    return (caps >> 10) & 1;
  if (name == "dotprod")
    return (caps >> 20) & 1;
  if (name == "sve")
    return (caps >> 22) & 1;
  if (name == "bf16")
    return (caps2 >> 14) & 1;
  if (name == "i8mm")
    return (caps2 >> 13) & 1;
  return -1;
}
#endif

} // namespace

void checkCpuFeatures(const ModelInfo &info, const std::string &file) {
#if defined(__x86_64__)
  const char *machine = "x86_64";
#else
  const char *machine = "aarch64";
#endif
  if (info.triple.rfind(machine, 0) != 0)
    throw Error(file, "metadata target.triple", std::string(machine) + " (this machine)", rt::quoted(info.triple));
  for (const std::string &f : info.features)
    // Features that no table line names change no instruction of the artefact (tuning, system instructions).
    if (hasFeature(f) == 0)
      throw Error(file, "metadata target.features", "a CPU with " + f + " (compiled for " + info.cpu + ")",
                  "one without: compile for this machine");
}

} // namespace loopc::rt
