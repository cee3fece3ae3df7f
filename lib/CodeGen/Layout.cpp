// Offsets of bank fields, numbers of parameter tables, layout of K/V pages.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Layout.h"
#include "loopc/runtime/abi.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace loopc::codegen;

static int64_t product(ArrayRef<int64_t> values) {
  int64_t result = 1;
  for (int64_t value : values)
    result *= value;
  return result;
}

// Row-major strides of table indices.
static SmallVector<int64_t> tableStrides(std::optional<ArrayRef<int64_t>> tables) {
  SmallVector<int64_t> strides(tables ? tables->size() : 0, 1);
  for (int i = static_cast<int>(strides.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * (*tables)[i + 1];
  return strides;
}

/// Rows and columns of a table.
static std::pair<int64_t, int64_t> matrixShape(loop::WeightOp weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t cols = type.getRank() ? type.getShape().back() : 1;
  return {type.getNumElements() / std::max<int64_t>(cols, 1), cols};
}

static int64_t byteWidth(Type element) { return (element.getIntOrFloatBitWidth() + 7) / 8; }

FailureOr<ModelLayout> ModelLayout::get(loop::ModelOp model) {
  ModelLayout layout;
  Block &body = model.getBody().front();

  for (auto bank : body.getOps<loop::BankOp>())
    for (auto field : bank.getFields().getAsRange<loop::FieldAttr>()) {
      auto type = cast<RankedTensorType>(field.getType());
      int64_t bytes = type.getNumElements() * byteWidth(type.getElementType());
      int64_t align = std::min<int64_t>(64, llvm::PowerOf2Ceil(std::max<int64_t>(bytes, 4)));
      layout.bankRowBytes = llvm::alignTo(layout.bankRowBytes, align);
      layout.fields.push_back({field.getName().str(), type, layout.bankRowBytes});
      layout.bankRowBytes += bytes;
    }
  layout.bankRowBytes = llvm::alignTo(std::max<int64_t>(layout.bankRowBytes, 64), 64);

  for (auto knob : body.getOps<loop::KnobOp>())
    layout.knobs.push_back(knob);

  for (auto site : body.getOps<loop::SiteOp>()) {
    if (!site.getPlan() || !site.getStage())
      return site.emitOpError("expected a plan and a stage in LANES, but got none");
    StringRef stage = *site.getStage();
    int64_t pool = layout.poolOf(stage);
    if (pool < 0) {
      pool = layout.pools.size();
      if (pool >= LOOPC_MAX_POOLS)
        return site.emitOpError("expected at most ") << LOOPC_MAX_POOLS << " stages with sites, but got more";
      layout.pools.emplace_back();
      layout.pools.back().stage = stage.str();
      layout.pools.back().element = site.getPlan()->getRows();
    }
    PoolSlot &slot = layout.pools[pool];
    if (slot.element != site.getPlan()->getRows())
      return site.emitOpError("expected rows of ")
             << slot.element << " as the other sites of @" << stage << ", but got " << site.getPlan()->getRows();
    slot.perIteration |= !site.getPlan()->getPlanes().isConstant();
    std::optional<ArrayRef<int64_t>> tables = site.getTables();
    int64_t layers = tables ? product(*tables) : 1;
    int64_t width = byteWidth(slot.element);
    // Rows of one layer are shared by the layers of all sites; else each site has its place in a row.
    bool ofLayers = site.getPlan()->ofLayers();
    layout.sites.push_back(
        {site.getSymName().str(), site, pool, ofLayers ? 0 : slot.pageBytes / width, layers, tableStrides(tables)});
    slot.sites.push_back(site.getSymName().str());
    int64_t bytes =
        llvm::alignTo((ofLayers ? 1 : layers) * 2 * static_cast<int64_t>(site.getHeads()) *
                          static_cast<int64_t>(LOOPC_PAGE_ROWS) * static_cast<int64_t>(site.getDim()) * width,
                      64);
    slot.pageBytes = ofLayers ? std::max(slot.pageBytes, bytes) : slot.pageBytes + bytes;
  }

  layout.addParams(model, model);
  return layout;
}

loop::WeightOp loopc::codegen::getUntied(Operation *from, FlatSymbolRefAttr name) {
  auto weight = SymbolTable::lookupNearestSymbolFrom<loop::WeightOp>(from, name);
  while (weight.getTie())
    weight = SymbolTable::lookupNearestSymbolFrom<loop::WeightOp>(from, weight.getTieAttr());
  return weight;
}

ModelLayout ModelLayout::getStep(loop::ModelOp model, loop::ForwardOp step) {
  ModelLayout layout;
  layout.step = true;
  for (auto knob : model.getOps<loop::KnobOp>())
    layout.knobs.push_back(knob);
  layout.addParams(model, step);
  llvm::StringSet<> used;
  step.walk([&](loop::AccumulateOp op) { used.insert(getUntied(op, op.getWeightAttr()).getSymName()); });
  int64_t index = 0;
  for (auto weight : model.getOps<loop::WeightOp>()) {
    if (!used.contains(weight.getSymName()))
      continue;
    auto [rows, cols] = matrixShape(weight);
    std::optional<ArrayRef<int64_t>> tables = weight.getTables();
    layout.gradients.push_back(
        {weight.getSymName().str(), weight, index, tables ? product(*tables) : 1, rows, cols, tableStrides(tables)});
    index += layout.gradients.back().count;
  }
  layout.givens.push_back({"label", "", 1});
  for (auto count : model.getOps<loop::CountOp>())
    for (const char *what : {"limit", "first"})
      layout.givens.push_back({what, count.getSymName().str(), 1});
  step.walk([&](loop::NoiseOp noise) {
    if (noise.getLaw().getKind() != loop::LawKind::position && layout.given("draw", noise.getName()) < 0)
      layout.givens.push_back({"draw", noise.getName().str(), loop::getFeatureCount(noise.getType())});
  });
  return layout;
}

loop::ParamOp loopc::codegen::getMatrix(Value weight, bool &transposed) {
  auto turned = weight.getDefiningOp<loop::TransposeOp>();
  transposed = turned != nullptr;
  return (turned ? turned.getInput() : weight).getDefiningOp<loop::ParamOp>();
}

// A weight that is both a matrix and a table has an entry for each use, but one with a format is always panels.
void ModelLayout::addParams(loop::ModelOp model, Operation *program) {
  struct Uses {
    bool panel = false, transposed = false, rows = false;
  };
  llvm::StringMap<Uses> uses;
  auto isMatrix = [](OpOperand &operand) {
    auto linear = dyn_cast<loop::LinearOp>(operand.getOwner());
    return linear && operand.getOperandNumber() == 1 && cast<RankedTensorType>(operand.get().getType()).getRank() == 2;
  };
  program->walk([&](loop::ParamOp param) {
    Uses &use = uses[param.getWeight()];
    bool formatted = cast<loop::WeightOp>(SymbolTable::lookupSymbolIn(model, param.getWeightAttr().getAttr()))
                         .getFormat()
                         .has_value();
    for (OpOperand &operand : param->getUses()) {
      auto turned = dyn_cast<loop::TransposeOp>(operand.getOwner());
      if (turned && llvm::all_of(turned->getUses(), isMatrix))
        use.transposed = true;
      else
        (formatted || isMatrix(operand) ? use.panel : use.rows) = true;
    }
  });
  int64_t index = 0;
  for (auto weight : model.getOps<loop::WeightOp>()) {
    auto found = uses.find(weight.getSymName());
    if (found == uses.end())
      continue;
    const Uses &use = found->second;
    std::optional<ArrayRef<int64_t>> tables = weight.getTables();
    auto add = [&](bool panel, bool transposed) {
      auto [rows, cols] = matrixShape(weight);
      ParamSlot slot{weight.getSymName().str(),
                     weight,
                     panel,
                     index,
                     tables ? product(*tables) : 1,
                     rows,
                     cols,
                     cast<RankedTensorType>(weight.getType()).getElementType(),
                     tableStrides(tables),
                     weight.getFormatAttr(),
                     transposed};
      index += slot.count;
      params.push_back(std::move(slot));
    };
    if (use.panel)
      add(true, false);
    if (use.transposed)
      add(true, true);
    if (use.rows)
      add(false, false);
  }
}

const FieldSlot *ModelLayout::field(StringRef name) const {
  for (const FieldSlot &slot : fields)
    if (slot.name == name)
      return &slot;
  return nullptr;
}
const ParamSlot *ModelLayout::param(StringRef weight, bool panel, bool transposed) const {
  for (const ParamSlot &slot : params)
    if (slot.name == weight && slot.panel == panel && slot.transposed == transposed)
      return &slot;
  return nullptr;
}
const GradientSlot *ModelLayout::gradient(StringRef weight) const {
  for (const GradientSlot &slot : gradients)
    if (slot.name == weight)
      return &slot;
  return nullptr;
}
int64_t ModelLayout::given(StringRef what, StringRef name) const {
  for (auto [i, slot] : llvm::enumerate(givens))
    if (slot.what == what && slot.name == name)
      return i;
  return -1;
}
const SiteSlot *ModelLayout::site(StringRef name) const {
  for (const SiteSlot &slot : sites)
    if (slot.name == name)
      return &slot;
  return nullptr;
}
int64_t ModelLayout::poolOf(StringRef stage) const {
  for (auto [i, slot] : llvm::enumerate(pools))
    if (slot.stage == stage)
      return i;
  return -1;
}
int64_t ModelLayout::knob(StringRef name) const {
  for (auto [i, knob] : llvm::enumerate(knobs))
    if (loop::KnobOp(knob).getSymName() == name)
      return i;
  return -1;
}
