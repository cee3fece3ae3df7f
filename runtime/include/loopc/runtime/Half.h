// Numbers of 16 bits.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <cstdint>

namespace loopc::rt {

/// f16 and bf16 bits to f32 (exact) and f32 to bf16/f16 (round to nearest even; NaN stays NaN).
float f16ToF32(uint16_t bits);
float bf16ToF32(uint16_t bits);
uint16_t f32ToF16(float value);
uint16_t f32ToBF16(float value);

} // namespace loopc::rt
