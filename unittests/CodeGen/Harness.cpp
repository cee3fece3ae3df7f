// Compiles a LANES model given as text, loads the artefact and calls its stages with memory of the test.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Harness.h"
#include "SoftTiles.h"
#include "loopc/CodeGen/Compile.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include <barrier>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <thread>

using namespace loopc::test;
namespace codegen = loopc::codegen;
namespace rt = loopc::rt;

static mlir::OwningOpRef<mlir::ModuleOp> parse(mlir::MLIRContext &context, const std::string &text, std::string &messages) {
  mlir::DialectRegistry registry;
  codegen::registerCodeGenDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
  context.getDiagEngine().registerHandler([&](mlir::Diagnostic &d) { messages += d.str() + "\n"; });
  return mlir::parseSourceString<mlir::ModuleOp>(text, &context);
}

std::unique_ptr<Compiled> loopc::test::compile(const std::string &text, const How &how) {
  auto result = std::make_unique<Compiled>();
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto module = parse(context, text, result->error);
  if (!module)
    return result;
  llvm::SmallString<128> path;
  llvm::sys::fs::createTemporaryFile("loopc-test", "so", path);
  codegen::CompileStats stats;
  codegen::CompileOptions options;
  options.fuse = how.fuse;
  options.vectorBits = how.vectorBits;
  options.profile = how.profile;
  options.bf16Order = how.bf16Order;
  if (how.softTiles)
    options.softenTiles = softenTiles;
  std::string error;
  bool failed = mlir::failed(codegen::compileToArtifact(*module, options, path, stats, error));
  result->error += error;
  if (failed) {
    result->error += "compilation failed";
    return result;
  }
  result->error.clear();
  result->handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  llvm::sys::fs::remove(path);
  if (!result->handle) {
    result->error = dlerror();
    return result;
  }
  result->artifact = static_cast<const loopc_artifact *>(dlsym(result->handle, "loopc_artifact_v1"));
  if (!result->artifact) {
    result->error = "no loopc_artifact_v1";
    return result;
  }
  result->metadata.assign(result->artifact->metadata, result->artifact->metadata_bytes);
  auto parsed = llvm::json::parse(result->metadata);
  if (!parsed) {
    result->error = "metadata is not JSON";
    llvm::consumeError(parsed.takeError());
    return result;
  }
  const llvm::json::Object &root = *parsed->getAsObject();
  Described &d = result->described;
  const llvm::json::Object &bankObject = *root.getObject("bank");
  d.bankRowBytes = *bankObject.getInteger("row_bytes");
  d.vocab = *root.getInteger("vocab");
  for (const auto &value : *bankObject.getArray("fields")) {
    const auto &field = *value.getAsObject();
    uint64_t elements = 1;
    for (const auto &size : *field.getArray("shape"))
      elements *= *size.getAsInteger();
    d.fields[field.getString("name")->str()] = {uint64_t(*field.getInteger("offset")), elements};
  }
  for (const auto &value : *root.getArray("params")) {
    const auto &p = *value.getAsObject();
    std::string name = p.getString("name")->str();
    bool panel = *p.getString("kind") == "panel";
    if (d.params.count(name))
      name += panel ? ":panel" : ":rows";
    d.params[name] = {uint64_t(*p.getInteger("index")), uint64_t(*p.getInteger("count")), uint64_t(*p.getInteger("rows")),
                      uint64_t(*p.getInteger("cols")), panel, p.getString("dtype")->str()};
  }
  for (const auto &value : *root.getArray("stages")) {
    const auto &s = *value.getAsObject();
    d.stages[s.getString("name")->str()] = {uint64_t(*s.getInteger("arena_row_bytes")), uint64_t(*s.getInteger("scratch_bytes")),
                                            uint64_t(*s.getInteger("scratch_row_bytes")), uint64_t(s.getInteger("timed_phases").value_or(0))};
  }
  for (const auto &value : *root.getArray("pools"))
    d.pageBytes.push_back(*value.getAsObject()->getInteger("page_bytes"));
  return result;
}

static std::string formOf(const std::string &text, codegen::CodeForm form, bool profile = false) {
  std::string messages, out, error;
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  auto module = parse(context, text, messages);
  if (!module)
    return messages;
  codegen::CompileStats stats;
  codegen::CompileOptions options;
  options.profile = profile;
  if (mlir::failed(codegen::compileToForm(*module, options, form, out, stats, error)))
    return messages + error;
  return out;
}

std::string loopc::test::taskForm(const std::string &text) { return formOf(text, codegen::CodeForm::Task); }
std::string loopc::test::assembly(const std::string &text, bool profile) {
  return formOf(text, codegen::CodeForm::Assembly, profile);
}

Compiled::~Compiled() {
  if (handle)
    dlclose(handle);
}

uint8_t *Machine::aligned(std::vector<uint8_t> &bytes, uint64_t size) {
  bytes.assign(size + 128, 0);
  auto address = reinterpret_cast<uintptr_t>(bytes.data());
  return bytes.data() + (64 - address % 64) % 64;
}

Machine::Machine(const Compiled &compiled, uint32_t capacity, uint32_t workers, uint32_t slots, uint32_t pages)
    : compiled(compiled), capacity(capacity), workers(workers) {
  bank = aligned(bankBytes, compiled.described.bankRowBytes * slots);
  for (uint64_t bytes : compiled.described.pageBytes) {
    pools.emplace_back();
    aligned(pools.back(), bytes * pages);
  }
  uint64_t entries = 0;
  for (const auto &[name, p] : compiled.described.params)
    entries = std::max(entries, p.index + p.count);
  tables.assign(entries, nullptr);
  sequences(1, 1, 64);
}

void Machine::set(const std::string &name, rt::DType stored, const std::vector<std::byte> &bytes) {
  const Described::Param &p = compiled.described.params.at(name);
  rt::ParamInfo one;
  one.name = name;
  one.count = p.count;
  one.kind = p.panel ? rt::PackKind::Panel : rt::PackKind::Rows;
  one.dtype = *rt::weightFormat(p.dtype);
  one.stored = stored != rt::DType::F32;
  one.rows = int64_t(p.rows);
  one.cols = int64_t(p.cols);
  one.sources.push_back({"t{}", {}, int64_t(p.rows), {}});
  rt::MemoryTensors tensors("test");
  size_t size = bytes.size() / p.count;
  for (size_t table = 0; table < p.count; ++table) {
    one.sources[0].indices.push_back(int64_t(table));
    tensors.add("t" + std::to_string(table), stored, {int64_t(p.rows), int64_t(p.cols)}, {&bytes[table * size], &bytes[table * size] + size});
  }
  rt::ModelInfo info;
  info.params.push_back(one);
  packed.push_back(rt::PackedParams::pack(info, tensors));
  for (size_t table = 0; table < p.count; ++table)
    tables[p.index + table] = packed.back()->abi().data[table];
}

void Machine::set(const std::string &name, const std::vector<float> &values) {
  auto *bytes = reinterpret_cast<const std::byte *>(values.data());
  set(name, rt::DType::F32, {bytes, bytes + values.size() * sizeof(float)});
}

void Machine::setField(const std::string &name, int slot, const std::vector<float> &values) {
  const Described::Field &f = compiled.described.fields.at(name);
  std::memcpy(bank + compiled.described.bankRowBytes * slot + f.offset, values.data(), 4 * f.elements);
}

std::vector<float> Machine::field(const std::string &name, int slot) const {
  const Described::Field &f = compiled.described.fields.at(name);
  std::vector<float> values(f.elements);
  std::memcpy(values.data(), bank + compiled.described.bankRowBytes * slot + f.offset, 4 * f.elements);
  return values;
}

void Machine::sequences(uint32_t count, uint32_t planes, uint32_t stride) {
  rows.assign(count, {});
  records.assign(count, {});
  knobs.assign(count * 8, 1.0f);
  for (uint32_t s = 0; s < count; ++s) {
    rows[s].resize(planes * stride);
    for (uint32_t i = 0; i < planes * stride; ++i)
      rows[s][i] = int32_t(s * planes * stride + i);
    for (auto &table : records[s].rows)
      table = rows[s].data();
    records[s].stride = stride;
    records[s].knobs = knobs.data() + 8 * s;
  }
}

namespace {
struct Team {
  loopc_team abi;
  std::barrier<> barrier;
  int32_t poison;
  std::mutex mutex;
  std::vector<std::pair<uint32_t, uint32_t>> dealt; // by owner: turn, items taken
  Team(uint32_t workers, int32_t poison) : abi{workers, 0, wait, claim}, barrier(workers), poison(poison), dealt(workers) {}
  static uint32_t claim(loopc_team *team, uint32_t owner, uint32_t turn, uint32_t items) {
    auto *self = reinterpret_cast<Team *>(team);
    std::lock_guard lock(self->mutex);
    auto &[at, taken] = self->dealt.at(owner);
    if (at > turn)
      return items;
    if (at < turn)
      at = turn, taken = 0;
    return taken < items ? taken++ : items;
  }
  static int32_t wait(loopc_team *team, uint32_t, uint32_t) {
    auto *self = reinterpret_cast<Team *>(team);
    self->barrier.arrive_and_wait();
    return self->poison;
  }
};
} // namespace

int Machine::run(const std::string &stage, std::vector<Lane> &lanes, uint32_t rounds, uint32_t flags) {
  loopc_stage function = nullptr;
  for (uint32_t i = 0; i < compiled.artifact->stage_count; ++i)
    if (compiled.artifact->stages[i].name == stage)
      function = compiled.artifact->stages[i].run;
  if (!function)
    return -1;
  const Described::Stage &need = compiled.described.stages.at(stage);
  size_t n = lanes.size();
  std::vector<int32_t> token, position, sequence, slot, limit, iteration;
  std::vector<uint8_t> exited;
  for (const Lane &lane : lanes) {
    token.push_back(lane.token);
    position.push_back(lane.position);
    sequence.push_back(lane.sequence);
    slot.push_back(lane.slot);
    limit.push_back(lane.limit);
    iteration.push_back(lane.iteration);
    exited.push_back(lane.exited);
  }
  logits.assign(n * compiled.described.vocab, 0.0f);
  loopc_call call{};
  call.size = sizeof call;
  call.abi = LOOPC_ABI_VERSION;
  call.lanes = uint32_t(n);
  call.rounds = rounds;
  call.token = token.data();
  call.position = position.data();
  call.sequence = sequence.data();
  call.slot = slot.data();
  call.limit = limit.data();
  call.iteration = iteration.data();
  call.exited = exited.data();
  call.records = records.data();
  call.out = logits.data();
  call.out_stride = compiled.described.vocab * 4;
  call.flags = flags;
  times.assign(need.timedPhases ? workers * LOOPC_PROFILE_WORDS(need.timedPhases) : 0, 0);
  call.profile = need.timedPhases ? times.data() : nullptr;
  loopc_params params{tables.data(), tables.size()};
  std::vector<uint8_t> arenaBytes;
  loopc_memory memory{};
  memory.bank = bank;
  memory.bank_row_bytes = compiled.described.bankRowBytes;
  for (size_t i = 0; i < pools.size(); ++i) {
    auto address = reinterpret_cast<uintptr_t>(pools[i].data());
    memory.pools[i] = {pools[i].data() + (64 - address % 64) % 64, compiled.described.pageBytes[i]};
  }
  memory.arena = aligned(arenaBytes, need.arenaRowBytes * capacity);
  std::memset(memory.arena, 0xff, need.arenaRowBytes * capacity); // NaN where nothing was written
  memory.capacity = capacity;
  std::vector<std::vector<uint8_t>> scratchBytes(workers);
  std::vector<uint8_t *> scratch;
  for (auto &bytes : scratchBytes) {
    scratch.push_back(aligned(bytes, need.scratchBytes + need.scratchRowBytes * capacity));
    std::memset(scratch.back(), 0xff, need.scratchBytes + need.scratchRowBytes * capacity);
  }
  memory.scratch = scratch.data();
  Team team(workers, poison);
  std::vector<int> results(workers);
  std::vector<std::thread> threads;
  for (uint32_t w = 1; w < workers; ++w)
    threads.emplace_back([&, w] { results[w] = function(&call, &params, &memory, &team.abi, w); });
  results[0] = function(&call, &params, &memory, &team.abi, 0);
  for (auto &thread : threads)
    thread.join();
  for (size_t i = 0; i < n; ++i) {
    lanes[i].iteration = iteration[i];
    lanes[i].exited = exited[i];
  }
  for (int result : results)
    if (result)
      return result;
  return 0;
}
