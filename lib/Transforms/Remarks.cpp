// Recording and reading remarks.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Transforms/Remarks.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;

namespace loopc {
namespace {

struct Entry {
  const char *name, *pass, *format;
  RemarkKind kind;
};
constexpr Entry kEntries[] = {
#define LOOPC_REMARK(ID, PASS, KIND, TEXT) {#ID, PASS, TEXT, RemarkKind::KIND},
#include "loopc/Transforms/Remarks.def"
};
constexpr StringLiteral kAttribute = "loop.remarks";

const Entry &entry(RemarkId id) { return kEntries[static_cast<size_t>(id)]; }

} // namespace

StringRef remarkKindName(RemarkKind kind) {
  switch (kind) {
  case RemarkKind::Chosen:
    return "chosen";
  case RemarkKind::Refused:
    return "refused";
  case RemarkKind::Missed:
    return "missed";
  }
  return "";
}

const char *remarkFormat(RemarkId id) { return entry(id).format; }

void recordRemark(loop::ModelOp model, RemarkId id, std::string text) {
  Builder b(model.getContext());
  SmallVector<Attribute> all;
  if (auto old = model->getAttrOfType<ArrayAttr>(kAttribute))
    all.append(old.begin(), old.end());
  all.push_back(b.getDictionaryAttr({b.getNamedAttr("kind", b.getStringAttr(remarkKindName(entry(id).kind))),
                                     b.getNamedAttr("name", b.getStringAttr(entry(id).name)),
                                     b.getNamedAttr("text", b.getStringAttr(text))}));
  model->setAttr(kAttribute, b.getArrayAttr(all));
}

InFlightDiagnostic emitPlanError(Operation *op, PlanError code) {
  constexpr const char *codes[] = {
#define LOOPC_PLAN_ERROR(CODE, TITLE) "[" #CODE "] ",
#include "loopc/Transforms/PlanErrors.def"
  };
  return mlir::emitError(op->getLoc()) << codes[static_cast<size_t>(code)];
}

std::vector<Remark> readRemarks(loop::ModelOp model) {
  std::vector<Remark> out;
  auto all = model->getAttrOfType<ArrayAttr>(kAttribute);
  if (!all)
    return out;
  for (auto dict : all.getAsRange<DictionaryAttr>()) {
    auto name = dict.getAs<StringAttr>("name"), text = dict.getAs<StringAttr>("text");
    if (!name || !text)
      continue;
    for (const Entry &known : kEntries)
      if (name == known.name)
        out.push_back({known.name, known.pass, known.kind, text.str()});
  }
  return out;
}

} // namespace loopc
