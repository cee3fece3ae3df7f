// Compiles a LANES model given as text, loads the artefact and calls its stages with memory of the test.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Packing.h"
#include "loopc/runtime/abi.h"
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace loopc::test {

/// The parts of the metadata that a caller needs.
struct Described {
  struct Field { uint64_t offset, elements; };
  struct Param { uint64_t index, count, rows, cols; bool panel; std::string dtype; };
  struct Stage { uint64_t arenaRowBytes, scratchBytes, scratchRowBytes, timedPhases; };
  std::map<std::string, Field> fields;
  std::map<std::string, Param> params;
  std::map<std::string, Stage> stages;
  std::vector<uint64_t> pageBytes;
  uint64_t bankRowBytes = 0, vocab = 0;
};

/// A loaded artefact. `error` is not empty if something went wrong on the way.
struct Compiled {
  std::string error, metadata;
  const loopc_artifact *artifact = nullptr;
  Described described;
  void *handle = nullptr;
  ~Compiled();
};
struct How {
  bool fuse = true;            ///< with the pass task-fuse
  unsigned vectorBits = 0;     ///< another width of vectors than the registers have
  bool profile = false;        ///< phases are timed
  std::string bf16Order = "chain"; ///< of linears of bf16 rows and weights
  bool softTiles = false;      ///< as for a CPU with tiles; their instructions in software
};
std::unique_ptr<Compiled> compile(const std::string &text, const How &how = {});

/// Text of the TASK form, and the machine code as text.
std::string taskForm(const std::string &text);
std::string assembly(const std::string &text, bool profile = false);

struct Lane {
  int32_t token = 0, position = 0, sequence = 0, slot = 0, limit = 1, iteration = 0;
  uint8_t exited = 0;
};

/// Memory for calls: parameters, bank, pages, arena, workers.
class Machine {
public:
  Machine(const Compiled &compiled, uint32_t capacity, uint32_t workers, uint32_t slots = 64, uint32_t pages = 64);
  /// Values of a parameter, row-major, table after table; packed as the metadata says by the runtime.
  void set(const std::string &param, const std::vector<float> &values);
  /// The same with values as a file stores them.
  void set(const std::string &param, rt::DType stored, const std::vector<std::byte> &bytes);
  void setField(const std::string &field, int slot, const std::vector<float> &values);
  std::vector<float> field(const std::string &field, int slot) const;
  /// Runs a stage over `lanes` (columns are written back). Returns the first worker's nonzero value, or 0.
  int run(const std::string &stage, std::vector<Lane> &lanes, uint32_t rounds = 1, uint32_t flags = 0);
  /// Row tables: planes x stride entries per sequence, the same for all pools. Row ids are dense: sequence, plane, position.
  void sequences(uint32_t count, uint32_t planes, uint32_t stride);

  std::vector<float> logits; ///< [lanes, vocab] of the last call of head
  std::vector<uint64_t> times; ///< loopc_call.profile of the last call
  std::vector<loopc_sequence> records;
  std::vector<std::vector<int32_t>> rows;
  std::vector<float> knobs;
  int32_t poison = 0; ///< what every sync gives
  std::vector<std::vector<uint8_t>> pools;

private:
  uint8_t *aligned(std::vector<uint8_t> &bytes, uint64_t size);
  const Compiled &compiled;
  uint32_t capacity, workers;
  std::vector<std::shared_ptr<const rt::PackedParams>> packed;
  std::vector<const void *> tables;
  std::vector<uint8_t> bankBytes;
  uint8_t *bank;
};

} // namespace loopc::test
