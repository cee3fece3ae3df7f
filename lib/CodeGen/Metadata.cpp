// Metadata of an artefact from a LANES model and its layout.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Metadata.h"
#include "llvm/Support/JSON.h"

using namespace mlir;
using namespace loopc::codegen;
namespace json = llvm::json;

#ifndef LOOPC_VERSION
#define LOOPC_VERSION "0.1.0"
#endif

static std::string typeName(Type type) {
  if (type.isF32())
    return "f32";
  if (type.isBF16())
    return "bf16";
  if (type.isF16())
    return "f16";
  return "i" + std::to_string(type.getIntOrFloatBitWidth());
}

static json::Array numbers(ArrayRef<int64_t> values) {
  json::Array out;
  for (int64_t value : values)
    out.push_back(value);
  return out;
}

static json::Value fromAttribute(Attribute attr) {
  if (auto text = dyn_cast<StringAttr>(attr))
    return text.getValue().str();
  if (auto flag = dyn_cast<BoolAttr>(attr))
    return flag.getValue();
  if (auto number = dyn_cast<IntegerAttr>(attr))
    return number.getInt();
  if (auto number = dyn_cast<FloatAttr>(attr))
    return number.getValueAsDouble();
  if (auto list = dyn_cast<ArrayAttr>(attr)) {
    json::Array out;
    for (Attribute element : list)
      out.push_back(fromAttribute(element));
    return out;
  }
  if (auto dictionary = dyn_cast<DictionaryAttr>(attr)) {
    json::Object out;
    for (NamedAttribute entry : dictionary)
      out[entry.getName().getValue()] = fromAttribute(entry.getValue());
    return out;
  }
  return nullptr;
}

/// Which stored row each row of the weight is; empty for the identity.
static json::Array rowMap(loop::WeightOp weight, int64_t rows) {
  json::Array out;
  if (!weight.getRowMap() || *weight.getRowMap() != "adjacent_pairs")
    return out;
  int64_t block = weight.getRowBlock() ? static_cast<int64_t>(*weight.getRowBlock()) : rows;
  for (int64_t row = 0; row < rows; ++row) {
    int64_t r = row % block, half = block / 2;
    out.push_back(row - r + (r < half ? 2 * r : 2 * (r - half) + 1));
  }
  return out;
}

static json::Object source(loop::WeightOp weight, int64_t count) {
  auto type = cast<RankedTensorType>(weight.getType());
  int64_t cols = type.getRank() ? type.getShape().back() : 1, rows = type.getNumElements() / std::max<int64_t>(cols, 1);
  StringRef name = weight.getSource() ? *weight.getSource() : weight.getSymName();
  json::Object out{{"name", name}, {"rows", rows}, {"shape", numbers(type.getShape())}};
  if (name.contains("{}")) {
    SmallVector<int64_t> indices(weight.getIndices().value_or(ArrayRef<int64_t>()));
    if (indices.empty())
      indices.append(llvm::seq<int64_t>(0, count).begin(), llvm::seq<int64_t>(0, count).end());
    out["indices"] = numbers(indices);
  }
  if (json::Array map = rowMap(weight, rows); !map.empty())
    out["row_map"] = std::move(map);
  return out;
}

static json::Object parameter(loop::ModelOp model, const ParamSlot &slot) {
  json::Array sources;
  auto symbol = [&](StringRef name) { return cast<loop::WeightOp>(SymbolTable::lookupSymbolIn(model, name)); };
  loop::WeightOp own = slot.weight;
  if (auto merged = own.getMerged())
    for (auto part : merged->getAsRange<FlatSymbolRefAttr>()) {
      loop::WeightOp weight = symbol(part.getValue());
      sources.push_back(source(weight.getTie() ? symbol(*weight.getTie()) : weight, slot.count));
    }
  else
    sources.push_back(source(own.getTie() ? symbol(*own.getTie()) : own, slot.count));
  json::Object out{{"name", slot.name}, {"index", slot.index}, {"count", slot.count},
                   {"kind", slot.transposed ? "transposed" : slot.panel ? "panel" : "rows"},
                   {"dtype", slot.format ? slot.format.str() : typeName(slot.element)}, {"rows", slot.rows}, {"cols", slot.cols},
                   {"sources", std::move(sources)}};
  if (slot.format)
    out["stored"] = true;
  return out;
}

static json::Object law(loop::LawAttr law) {
  json::Object out{{"kind", loop::stringifyLawKind(law.getKind())}};
  if (law.getKind() == loop::LawKind::constant)
    out["value"] = law.getMean();
  else if (law.getKind() == loop::LawKind::uniform) {
    out["low"] = law.getMean();
    out["high"] = law.getMean() + law.getStd();
  } else {
    out["mean"] = law.getMean();
    out["std"] = law.getStd();
    if (law.getCut() > 0)
      out["cut"] = law.getCut();
  }
  return out;
}

static StringRef orderName(loop::CallOrder order) {
  return order == loop::CallOrder::free ? "free" : order == loop::CallOrder::token ? "token"
         : order == loop::CallOrder::pass  ? "pass"
                                           : "chunk";
}

static int64_t planeAt(AffineMap map, int64_t iteration, int64_t layer) {
  Builder b(map.getContext());
  SmallVector<Attribute> result;
  (void)map.constantFold({b.getIndexAttr(iteration), b.getIndexAttr(layer)}, result);
  return cast<IntegerAttr>(result[0]).getInt();
}

static StringRef grainName(loop::Grain grain) { return loop::stringifyGrain(grain); }

std::string loopc::codegen::buildMetadata(loop::ModelOp model, const ModelLayout &layout, const TargetDescription &target,
                                          ArrayRef<StageMemory> stages, const MetadataOptions &options) {
  json::Object root{{"format", "loopc artefact"}, {"model", model.getSymName()}, {"compiler", "loopc " LOOPC_VERSION},
                    {"hash", options.hash}, {"context", options.context}};
  json::Array features;
  for (const std::string &feature : target.features)
    features.push_back(feature);
  root["target"] = json::Object{{"triple", target.triple}, {"cpu", target.cpu}, {"features", std::move(features)},
                                {"vector_bits", target.vectorBits}, {"bf16_order", target.amx32 ? "amx32" : "chain"}};

  std::string dtype = "f32", kvDtype = "f32";
  for (const ParamSlot &slot : layout.params)
    if (slot.panel && !slot.element.isF32())
      dtype = typeName(slot.element);
  json::Array params;
  for (const ParamSlot &slot : layout.params)
    params.push_back(parameter(model, slot));
  root["params"] = std::move(params);

  json::Array pools;
  int64_t steps = 1; // layer-steps of an iteration, where planes belong to them
  for (const PoolSlot &pool : layout.pools) {
    json::Array sites;
    for (const std::string &name : pool.sites) {
      const SiteSlot &site = *layout.site(name);
      loop::SiteOp op = site.site;
      json::Object entry{{"name", name}, {"layers", site.layers}, {"heads", static_cast<int64_t>(op.getHeads())},
                         {"dim", static_cast<int64_t>(op.getDim())}, {"offset", site.offset}};
      if (loop::SitePlanAttr plan = *op.getPlan(); plan.ofLayers()) {
        auto stepOf = [&](int64_t layer) { return planeAt(plan.getWrite(), 0, layer); };
        entry["first_step"] = stepOf(0);
        entry["step_stride"] = stepOf(1) - stepOf(0);
        steps = planeAt(plan.getWrite(), 1, 0) - stepOf(0);
      }
      sites.push_back(std::move(entry));
    }
    kvDtype = typeName(pool.element);
    pools.push_back(json::Object{{"stage", pool.stage}, {"sites", std::move(sites)}, {"page_bytes", pool.pageBytes},
                                 {"dtype", typeName(pool.element)}, {"planes", pool.perIteration ? "T" : "1"}});
  }
  root["pools"] = std::move(pools);
  root["dtype"] = dtype;
  root["kv_dtype"] = kvDtype;

  json::Array fields, knobs, draws;
  for (const FieldSlot &slot : layout.fields)
    fields.push_back(json::Object{{"name", slot.name}, {"offset", slot.offset}, {"shape", numbers(slot.type.getShape())},
                                  {"dtype", typeName(slot.type.getElementType())},
                                  {"observed", StringRef(slot.name).starts_with("obs.")}});
  root["bank"] = json::Object{{"row_bytes", layout.bankRowBytes}, {"fields", std::move(fields)}};
  for (loop::KnobOp knob : layout.knobs) {
    json::Object entry{{"name", knob.getSymName()}, {"default", knob.getValue().convertToDouble()}};
    if (knob.getMin()) {
      entry["min"] = knob.getMin()->convertToDouble();
      entry["max"] = knob.getMax()->convertToDouble();
    }
    knobs.push_back(std::move(entry));
  }
  root["knobs"] = std::move(knobs);
  Block &body = model.getBody().front();
  for (auto draw : body.getOps<loop::DrawOp>())
    draws.push_back(json::Object{{"name", draw.getSymName()}, {"field", draw.getField()}, {"law", law(draw.getLaw())},
                                 {"per", draw.getIteration() ? "iteration" : "token"}, {"shared", draw.getShared()}});
  root["draws"] = std::move(draws);

  loop::RecurOp recur;
  int64_t vocab = 0;
  json::Array entries;
  for (auto stage : body.getOps<loop::StageOp>()) {
    stage.walk([&](loop::RecurOp op) { recur = recur ? recur : op; });
    if (stage.getSymName() == "head")
      if (Operation *end = stage.getBody().front().getTerminator(); end->getNumOperands())
        if (auto logits = dyn_cast<RankedTensorType>(end->getOperand(end->getNumOperands() - 1).getType()))
          vocab = logits.getShape().back();
    StageMemory memory;
    for (const StageMemory &known : stages)
      if (known.name == stage.getSymName())
        memory = known;
    json::Object entry{{"name", stage.getSymName()}, {"arena_row_bytes", memory.arenaRowBytes}, {"scratch_bytes", memory.scratchBytes},
                       {"scratch_row_bytes", memory.scratchRowBytes}, {"syncs", memory.syncs}};
    if (memory.timedPhases)
      entry["timed_phases"] = memory.timedPhases;
    entries.push_back(std::move(entry));
  }
  if (layout.step) {
    const StageMemory &memory = stages.front();
    entries.clear();
    entries.push_back(json::Object{{"name", memory.name}, {"arena_row_bytes", memory.arenaRowBytes}, {"arena_bytes", memory.arenaBytes}, {"scratch_bytes", memory.scratchBytes},
                                   {"scratch_row_bytes", memory.scratchRowBytes}, {"syncs", memory.syncs}});
    if (memory.timedPhases)
      (*entries[0].getAsObject())["timed_phases"] = memory.timedPhases;
    vocab = 1;
    model.walk([&](loop::CrossEntropyOp loss) { vocab = std::max(vocab, loop::getFeatureCount(loss.getLogits().getType())); });
    json::Array gradients, given;
    for (const GradientSlot &slot : layout.gradients)
      gradients.push_back(json::Object{{"name", slot.name}, {"index", slot.index}, {"count", slot.count}, {"rows", slot.rows},
                                       {"cols", slot.cols}, {"source", source(slot.weight, slot.count)}});
    for (const GivenSlot &slot : layout.givens) {
      json::Object entry{{"what", slot.what}, {"name", slot.name}, {"elements", slot.elements}};
      if (slot.what == "limit" || slot.what == "first") {
        auto count = cast<loop::CountOp>(SymbolTable::lookupSymbolIn(model, slot.name));
        entry["default"] = slot.what == "limit" ? static_cast<int64_t>(count.getValue()) : 0;
        entry["max"] = static_cast<int64_t>(count.getMax());
      }
      given.push_back(std::move(entry));
    }
    root["gradients"] = std::move(gradients);
    root["given"] = std::move(given);
  }
  root["stages"] = std::move(entries);
  root["vocab"] = vocab;
  if (recur) {
    auto count = cast<loop::CountOp>(SymbolTable::lookupSymbolIn(model, recur.getCountAttr()));
    int64_t usual = recur.getPlan() ? recur.getPlan()->getCount() : static_cast<int64_t>(count.getValue());
    root["count"] = json::Object{{"name", count.getSymName()}, {"default", usual}, {"min", static_cast<int64_t>(count.getMin())},
                                 {"max", static_cast<int64_t>(count.getMax())}};
    auto beside = model->getAttrOfType<loop::ExitAttr>("loop.exit"); // tested by a stage of its own
    if (loop::ExitAttr exit = beside ? beside : recur.getExitAttr())
      root["exit"] = json::Object{{"name", exit.getName()}, {"grain", exit.getGrain() == loop::Grain::lane ? "token" : "sequence"},
                                  {"present", true}, {"min", exit.getMin()}, {"every", exit.getEvery()}, {"check", bool(beside)}};
    if (auto kv = recur.getKv()) {
      bool zero = kv->onePlane();
      std::string name = loop::stringifyKVMap(kv->getMap()).str();
      if (kv->getSize())
        name += "(" + std::to_string(kv->getSize()) + (kv->getPeriod() ? ", " + std::to_string(kv->getPeriod()) : "") + ")";
      json::Object policy{{"name", name}, {"order", orderName(kv->getOrder())}, {"write", zero ? "0" : "d"}, {"read", zero ? "0" : "d"},
                          {"planes", zero ? "1" : "T"}, {"steps", steps}, {"keep", loop::stringifyKVKeep(kv->getKeep())}};
      if (kv->getCodaOverwrites())
        policy["coda_overwrites"] = true;
      if (!zero || kv->getHoles() != loop::Holes::refuse)
        policy["holes"] = loop::stringifyHoles(kv->getHoles());
      root["policy"] = std::move(policy);
    }
  }
  if (auto contract = model.getContract()) {
    json::Object out{{"group", contract->getGroup() == loop::Grain::sequence ? "whole" : grainName(contract->getGroup())}, {"order", orderName(contract->getOrder())},
                     {"couple", grainName(contract->getCouple())}};
    if (contract->getLag() == loop::Lag::end)
      out["lag"] = "end";
    else
      out["lag"] = static_cast<int64_t>(contract->getLag());
    root["contract"] = std::move(out);
  }
  if (auto config = model.getConfig())
    root["config"] = fromAttribute(*config);
  json::Array remarks;
  if (auto list = model->getAttrOfType<ArrayAttr>("loop.remarks"))
    for (Attribute remark : list)
      if (auto dictionary = dyn_cast<DictionaryAttr>(remark))
        if (auto text = dictionary.getAs<StringAttr>("text"))
          remarks.push_back(text.getValue());
  root["remarks"] = std::move(remarks);

  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << json::Value(std::move(root));
  return text;
}
