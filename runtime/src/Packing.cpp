// Packing weights.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/runtime/Packing.h"
#include "Quants.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>
#include <exception>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <thread>

namespace loopc::rt {

namespace {

uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/// Gives rows of one source tensor as f32.
struct RowReader {
  std::string name;
  int64_t cols = 0;
  const TensorView *view = nullptr; ///< as [rows, cols]; nullptr: random
  TensorView reshaped;
  Law law;
  uint64_t seed = 0;

  void read(int64_t first, int64_t last, float *out) const {
    if (view)
      readF32(*view, first, last, out);
    else
      keyedDraw({seed, nameHash(name)}, law, uint64_t(first) * uint64_t(cols),
                {out, size_t((last - first) * cols)});
  }
};

/// Rows of one table: sources one below the other.
struct Table {
  const ParamInfo *param;
  void *out;
  struct Part {
    int64_t first; ///< row of the table where it begins
    const ParamSourceInfo *source;
    RowReader reader;
  };
  std::vector<Part> parts;

  /// Rows [first, last) of the table into out[(last - first) * cols].
  void read(int64_t first, int64_t last, float *values) const {
    for (const Part &part : parts) {
      int64_t a = std::max(first, part.first), b = std::min(last, part.first + part.source->rows);
      if (a >= b)
        continue;
      float *at = values + (a - first) * param->cols;
      const std::vector<int64_t> &map = part.source->rowMap;
      if (map.empty()) {
        part.reader.read(a - part.first, b - part.first, at);
      } else {
        for (int64_t r = a; r < b; ++r, at += param->cols)
          part.reader.read(map[size_t(r - part.first)], map[size_t(r - part.first)] + 1, at);
      }
      check(part, a, b, values + (a - first) * param->cols);
    }
  }

  /// Block `block` of row `row`, as the file has it.
  void readBlock(int64_t row, int64_t block, Quants &out) const {
    const Part *part = &parts.front();
    while (row >= part->first + part->source->rows)
      ++part;
    const TensorView &view = *part->reader.view;
    const std::vector<int64_t> &map = part->source->rowMap;
    int64_t stored = map.empty() ? row - part->first : map[size_t(row - part->first)];
    unpackBlock(view.dtype, view.row(stored).data() + block * blockBytes(view.dtype), out);
    if ((out.d >> 10 & 31) == 31 || (out.m >> 10 & 31) == 31)
      throw Error(view.file, "tensor " + part->reader.name, "scales that are finite",
                  std::to_string(f16ToF32((out.d >> 10 & 31) == 31 ? out.d : out.m)) + " at row " + std::to_string(stored) +
                      ", block " + std::to_string(block));
  }

  void check(const Part &part, int64_t first, int64_t last, const float *values) const {
    // From here on, rounding gives infinity (the largest number plus half a step).
    const float limit = param->dtype == DType::BF16 ? 3.3961775e38f : param->dtype == DType::F16 ? 65520.0f : HUGE_VALF;
    for (int64_t i = 0; i < (last - first) * param->cols; ++i)
      if (!(std::fabs(values[i]) < limit)) {
        int64_t row = first + i / param->cols - part.first;
        if (!part.source->rowMap.empty())
          row = part.source->rowMap[size_t(row)];
        throw Error(part.reader.view ? part.reader.view->file : "", "tensor " + part.reader.name,
                    "values that are finite in " + std::string(dtypeName(param->dtype)),
                    std::to_string(values[i]) + " at row " + std::to_string(row) + ", column " +
                        std::to_string(i % param->cols));
      }
  }
};

/// Rows a piece of work covers: panels stay whole, pieces are about a megabyte.
int64_t pieceRows(const ParamInfo &p) {
  int64_t rows = std::max<int64_t>(1, (int64_t(1) << 18) / p.cols);
  return std::max<int64_t>(LOOPC_PANEL, rows / LOOPC_PANEL * LOOPC_PANEL);
}

float unchanged(float v) { return v; }

template <auto convert> void store(const Table &table, int64_t first, int64_t last, const float *values) {
  using T = decltype(convert(0.0f));
  const ParamInfo &p = *table.param;
  T *out = static_cast<T *>(table.out);
  if (p.kind == PackKind::Rows) {
    for (int64_t i = 0; i < (last - first) * p.cols; ++i)
      out[first * p.cols + i] = convert(values[i]);
    return;
  }
  if (p.kind == PackKind::Transposed) {
    for (int64_t r = first; r < last; ++r)
      for (int64_t c = 0; c < p.cols; ++c)
        out[(c / LOOPC_PANEL * p.rows + r) * LOOPC_PANEL + c % LOOPC_PANEL] = convert(values[(r - first) * p.cols + c]);
    return;
  }
  const int64_t block = panelBlock(p.dtype).k;
  for (int64_t r0 = first; r0 < last; r0 += LOOPC_PANEL) {
    T *panel = out + r0 * int64_t(roundUp(uint64_t(p.cols), uint64_t(block))); // r0 is a multiple of 32
    int64_t n = std::min<int64_t>(LOOPC_PANEL, last - r0);
    const float *source = values + (r0 - first) * p.cols;
    for (int64_t k = 0; k < p.cols; ++k)
      for (int64_t j = 0; j < n; ++j)
        panel[(k / block * int64_t(LOOPC_PANEL) + j) * block + (block - 1 - k % block)] = convert(source[j * p.cols + k]);
  }
}

/// Panels of quantised blocks: taken from the file as they are, or, for random weights, near their values.
void storeQuants(const Table &table, int64_t first, int64_t last) {
  const ParamInfo &p = *table.param;
  const PanelBlock shape = panelBlock(p.dtype);
  std::vector<float> values;
  if (!table.parts.front().reader.view) {
    values.resize(size_t((last - first) * p.cols));
    table.read(first, last, values.data());
  }
  std::vector<Quants> columns(LOOPC_PANEL);
  for (int64_t r0 = first; r0 < last; r0 += LOOPC_PANEL) {
    auto *out = static_cast<std::byte *>(table.out) + r0 / LOOPC_PANEL * (p.cols / shape.k) * shape.bytes;
    for (int64_t k = 0; k < p.cols; k += shape.k, out += shape.bytes) {
      std::fill(columns.begin(), columns.end(), Quants());
      for (int64_t r = r0; r < std::min(last, r0 + int64_t(LOOPC_PANEL)); ++r) {
        Quants &column = columns[size_t(r - r0)];
        if (values.empty()) {
          table.readBlock(r, k / shape.k, column);
          if (p.dtype == DType::KMix)
            regroup(column);
        } else
          quantiseBlock(p.dtype, &values[size_t((r - first) * p.cols + k)], column);
      }
      storePanelBlock(p.dtype, columns.data(), out);
    }
  }
}

/// Runs `work(piece)` for all pieces on `threads` threads; the first exception (of the lowest piece) is thrown.
void parallelFor(uint64_t pieces, uint32_t threads, const std::function<void(uint64_t)> &work) {
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  uint64_t failedAt = pieces;
  std::exception_ptr failure;
  auto body = [&] {
    for (uint64_t i; (i = next.fetch_add(1)) < pieces;) {
      try {
        work(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex);
        if (i < failedAt)
          failedAt = i, failure = std::current_exception();
        next.store(pieces);
      }
    }
  };
  std::vector<std::thread> team;
  for (uint32_t t = 1; t < threads && t < pieces; ++t)
    team.emplace_back(body);
  body();
  for (std::thread &t : team)
    t.join();
  if (failure)
    std::rethrow_exception(failure);
}

void fillTables(const std::vector<Table> &tables, uint32_t threads) {
  struct Piece {
    const Table *table;
    int64_t first, last;
  };
  std::vector<Piece> pieces;
  for (const Table &t : tables)
    for (int64_t r = 0, step = pieceRows(*t.param); r < t.param->rows; r += step)
      pieces.push_back({&t, r, std::min(t.param->rows, r + step)});
  parallelFor(pieces.size(), threads, [&](uint64_t i) {
    const Piece &p = pieces[i];
    if (blockElements(p.table->param->dtype) > 1)
      return storeQuants(*p.table, p.first, p.last);
    std::vector<float> values(size_t((p.last - p.first) * p.table->param->cols));
    p.table->read(p.first, p.last, values.data());
    if (p.table->param->dtype == DType::BF16)
      store<f32ToBF16>(*p.table, p.first, p.last, values.data());
    else if (p.table->param->dtype == DType::F16)
      store<f32ToF16>(*p.table, p.first, p.last, values.data());
    else
      store<unchanged>(*p.table, p.first, p.last, values.data());
  });
}

/// The tensor as [rows, cols]: some split of its dimensions must give exactly these.
void bindShape(RowReader &reader, const TensorView &view, const ParamSourceInfo &source) {
  int64_t needRows =
      source.rowMap.empty() ? source.rows : *std::max_element(source.rowMap.begin(), source.rowMap.end()) + 1;
  int64_t rows = 1, total = view.elements();
  for (size_t split = 0; split <= view.shape.size(); ++split) {
    bool fits = source.rowMap.empty() ? rows == needRows : rows >= needRows;
    if (fits && rows > 0 && total % rows == 0 && total / rows == reader.cols) {
      reader.reshaped = view;
      reader.reshaped.shape = {rows, reader.cols};
      reader.view = &reader.reshaped;
      return;
    }
    if (split < view.shape.size())
      rows *= view.shape[split];
  }
  int64_t want[] = {needRows, reader.cols};
  throw Error(view.file, "tensor " + view.name,
              "shape " + shapeText(want) + (source.rowMap.empty() ? "" : " or more rows"), shapeText(view.shape));
}

} // namespace

PanelBlock panelBlock(DType type) {
  switch (type) {
#define LOOPC_WEIGHT_FORMAT(name, dtype, k, bytes)                                                                     \
  case DType::dtype:                                                                                                   \
    return {k, bytes};
#include "loopc/runtime/WeightFormats.def"
  default:
    return {1, 0};
  }
}

std::optional<DType> weightFormat(std::string_view name) {
#define LOOPC_WEIGHT_FORMAT(format, dtype, k, bytes)                                                                   \
  if (name == #format)                                                                                                 \
    return DType::dtype;
#include "loopc/runtime/WeightFormats.def"
  return std::nullopt;
}

std::string_view weightFormatName(DType type) {
  switch (type) {
#define LOOPC_WEIGHT_FORMAT(name, dtype, k, bytes)                                                                     \
  case DType::dtype:                                                                                                   \
    return #name;
#include "loopc/runtime/WeightFormats.def"
  default:
    return "";
  }
}

void roundToFormat(std::string_view name, std::span<float> values) {
  std::optional<DType> type = weightFormat(name);
  if (!type || blockElements(*type) == 1)
    return;
  Quants quants;
  for (size_t i = 0, size = size_t(blockElements(*type)); i + size <= values.size(); i += size) {
    quantiseBlock(*type, &values[i], quants);
    elementsOf(quants, &values[i]);
  }
}

uint64_t packedBytes(const ParamInfo &p) {
  if (p.kind == PackKind::Rows)
    return uint64_t(p.rows) * uint64_t(p.cols / blockElements(p.dtype) * blockBytes(p.dtype));
  if (p.kind == PackKind::Transposed)
    return roundUp(uint64_t(p.cols), LOOPC_PANEL) * uint64_t(p.rows) * sizeof(float);
  PanelBlock block = panelBlock(p.dtype);
  uint64_t panels = roundUp(uint64_t(p.rows), LOOPC_PANEL) / LOOPC_PANEL;
  return panels * (roundUp(uint64_t(p.cols), uint64_t(block.k)) / uint64_t(block.k)) * uint64_t(block.bytes);
}

std::string sourceName(const ParamSourceInfo &source, uint64_t table) {
  std::string name = source.name;
  size_t holes = 0;
  for (size_t at = name.find("{}"); at != std::string::npos; at = name.find("{}", at + 2))
    ++holes;
  for (size_t hole = 0, at = 0; hole < holes; ++hole) {
    int64_t index = source.indices[table * holes + hole];
    if (index < 0)
      return {};
    at = name.find("{}", at);
    name.replace(at, 2, std::to_string(index));
  }
  return name;
}

/// Bytes that the system can give without swapping; no limit where it does not say.
static uint64_t availableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);)
    if (line.rfind("MemAvailable:", 0) == 0)
      return std::strtoull(line.c_str() + 13, nullptr, 10) * 1024;
  return UINT64_MAX;
}

void PackedParams::allocate(const ModelInfo &info, bool hugePages) {
  constexpr uint64_t huge = uint64_t(1) << 21;
  std::vector<uint64_t> offsets(info.paramTables());
  for (const ParamInfo &p : info.params)
    for (uint64_t t = 0; t < p.count; ++t) {
      offsets[p.index + t] = size;
      size += roundUp(packedBytes(p), 64);
    }
  mapped = roundUp(size, huge) + huge;
  if (uint64_t available = availableMemory(); mapped > available)
    throw Error("", "weights", "at most " + std::to_string(available) + " bytes, the memory that is free", std::to_string(mapped) + " bytes");
  void *at = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED)
    throw Error("", "weights", "memory for " + std::to_string(mapped) + " bytes", "a refusal by the system");
  base = at;
  if (hugePages)
    madvise(at, mapped, MADV_HUGEPAGE); // a refusal costs speed only
  auto *first = reinterpret_cast<uint8_t *>(roundUp(reinterpret_cast<uintptr_t>(at), huge));
  tables.resize(offsets.size());
  for (size_t i = 0; i < offsets.size(); ++i)
    tables[i] = first + offsets[i];
}

PackedParams::~PackedParams() {
  if (base)
    munmap(base, mapped);
}

namespace {

/// Describes every table; `find` makes the reader of a source tensor.
std::vector<Table> describe(const ModelInfo &info, const loopc_params &params,
                            const std::function<void(RowReader &, const ParamInfo &, const ParamSourceInfo &)> &find) {
  std::vector<Table> tables;
  for (const ParamInfo &p : info.params)
    for (uint64_t t = 0; t < p.count; ++t) {
      Table table{&p, const_cast<void *>(params.data[p.index + t]), {}};
      int64_t row = 0;
      for (const ParamSourceInfo &source : p.sources) {
        std::string name = sourceName(source, t);
        if (!name.empty()) {
          Table::Part part{row, &source, {}};
          part.reader.name = name;
          part.reader.cols = p.cols;
          find(part.reader, p, source);
          table.parts.push_back(std::move(part));
        }
        row += source.rows;
      }
      if (table.parts.empty())
        continue; // absent: stays zero
      if (table.parts.size() != p.sources.size())
        throw Error("", "parameter " + p.name, "all or none of the sources of table " + std::to_string(t),
                    std::to_string(table.parts.size()) + " of " + std::to_string(p.sources.size()));
      tables.push_back(std::move(table));
    }
  // Vectors move when they grow; readers point into themselves.
  for (Table &t : tables)
    for (Table::Part &part : t.parts)
      if (part.reader.view)
        part.reader.view = &part.reader.reshaped;
  return tables;
}

} // namespace

std::shared_ptr<PackedParams> PackedParams::pack(const ModelInfo &info, const TensorSource &source, const PackOptions &options) {
  std::shared_ptr<PackedParams> packed(new PackedParams);
  packed->allocate(info, options.hugePages);
  packed->repack(info, source, options);
  return packed;
}

void PackedParams::repack(const ModelInfo &info, const TensorSource &source, const PackOptions &options) {
  std::set<std::string> used;
  std::vector<Table> filled = describe(info, abi(), [&](RowReader &reader, const ParamInfo &param, const ParamSourceInfo &from) {
    const TensorView &view = source.get(reader.name);
    used.insert(reader.name);
    bool mixed = view.dtype == DType::Q4_K || view.dtype == DType::Q5_K || view.dtype == DType::Q6_K;
    if ((param.stored || blockElements(param.dtype) > 1) && view.dtype != param.dtype && !(mixed && param.dtype == DType::KMix))
      throw Error(view.file, "tensor " + view.name,
                  "values of type " + std::string(dtypeName(param.dtype)) + ", as in the file that the model was compiled for",
                  std::string(dtypeName(view.dtype)));
    bindShape(reader, view, from);
  });
  unusedNames.clear();
  for (const TensorView &view : source.tensors())
    if (!used.count(view.name)) {
      if (options.refuseUnused)
        throw Error(view.file, "tensor " + view.name, "a parameter of the model that takes it", "none");
      unusedNames.push_back(view.name);
    }
  fillTables(filled, options.threads);
}

std::shared_ptr<const PackedParams> PackedParams::random(const ModelInfo &info, uint64_t seed,
                                                         const PackOptions &options) {
  std::shared_ptr<PackedParams> packed(new PackedParams);
  packed->allocate(info, options.hugePages);
  fillTables(describe(info, packed->abi(),
                      [&](RowReader &reader, const ParamInfo &p, const ParamSourceInfo &source) {
                        reader.law = p.init ? *p.init : randomWeightLaw(reader.name, source.rows, p.cols);
                        reader.seed = seed;
                      }),
             options.threads);
  return packed;
}

} // namespace loopc::rt
