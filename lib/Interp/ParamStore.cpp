// Reads one entry of a weight: which published tensor it is, ties, merged weights, element type.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ParamStore.h"

using namespace mlir;
using namespace mlir::loop;

namespace loopc::interp {

// Holes are filled by the index of the entry if the weight lists indices, else by one table index each.
std::string publishedName(WeightOp weight, int64_t table, std::string &error) {
  StringRef name = weight.getSource() ? *weight.getSource() : weight.getSymName();
  ArrayRef<int64_t> tables = weight.getTables().value_or(ArrayRef<int64_t>());
  SmallVector<int64_t> fills(tables.size());
  int64_t rest = table;
  for (size_t i = tables.size(); i-- > 0;) {
    fills[i] = rest % tables[i];
    rest /= tables[i];
  }
  if (weight.getIndices()) {
    size_t holes = std::max<size_t>(1, name.count("{}"));
    ArrayRef<int64_t> own = weight.getIndices()->slice(size_t(table) * holes, holes);
    if (own[0] < 0) {
      error =
          ("expected an entry of `" + weight.getSymName() + "` for table " + Twine(table) + ", but got an absent one")
              .str();
      return {};
    }
    fills.assign(own.begin(), own.end());
  }
  std::string filled;
  size_t next = 0;
  while (true) {
    auto [before, after] = name.split("{}");
    filled += before;
    if (before.size() == name.size())
      return filled;
    filled += std::to_string(fills.empty() ? 0 : fills[std::min(next++, fills.size() - 1)]);
    name = after;
  }
}

bool readWeight(WeightOp weight, int64_t table, ParamProvider &provider, std::vector<float> &values,
                std::string &error) {
  ModelOp model = getModel(weight);
  auto lookup = [&](StringRef name) {
    auto found = SymbolTable::lookupSymbolIn(model, name);
    if (!isa_and_nonnull<WeightOp>(found))
      error = ("expected `" + weight.getSymName() + "` to name a weight, but got `" + name + "`").str();
    return dyn_cast_or_null<WeightOp>(found);
  };
  auto type = cast<RankedTensorType>(weight.getType());
  if (ArrayAttr merged = weight.getMergedAttr()) {
    values.clear();
    for (Attribute part : merged) {
      WeightOp one = lookup(cast<FlatSymbolRefAttr>(part).getValue());
      std::vector<float> rows;
      if (!one || !readWeight(one, table, provider, rows, error))
        return false;
      values.insert(values.end(), rows.begin(), rows.end());
    }
  } else if (weight.getTie()) {
    WeightOp other = lookup(*weight.getTie());
    if (!other || !readWeight(other, table, provider, values, error))
      return false;
  } else {
    TensorRequest request;
    request.name = publishedName(weight, table, error);
    if (request.name.empty())
      return false;
    request.shape.assign(type.getShape().begin(), type.getShape().end());
    request.rowMap = weight.getRowMap().value_or(StringRef()).str();
    request.rowBlock = weight.getRowBlock().value_or(0);
    request.format = weight.getFormat().value_or(StringRef()).str();
    if (!provider.read(request, values, error))
      return false;
  }
  if (int64_t(values.size()) != type.getNumElements()) {
    error = ("expected " + Twine(type.getNumElements()) + " values for `" + weight.getSymName() + "`, but got " +
             Twine(values.size()))
                .str();
    return false;
  }
  if (type.getElementType().isBF16())
    for (float &value : values)
      value = roundToBF16(value);
  else if (type.getElementType().isF16())
    for (float &value : values)
      value = roundToF16(value);
  return true;
}

} // namespace loopc::interp
