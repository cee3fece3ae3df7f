// Tile instructions in software.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <atomic>
#include <cstdint>

namespace llvm {
class Module;
}

namespace loopc::test {

/// Replaces the intrinsics for tiles of 16 rows of 64 bytes by calls of functions of this program.
void softenTiles(llvm::Module &module);
/// Products of tiles so far.
extern std::atomic<uint64_t> softProducts;

} // namespace loopc::test
