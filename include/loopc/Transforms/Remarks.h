// Remarks of plan passes: recorded in the model's attribute `loop.remarks`, read by `explain` and by tests.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_TRANSFORMS_REMARKS_H
#define LOOPC_TRANSFORMS_REMARKS_H

#include "loopc/Dialect/Loop/Loop.h"
#include "llvm/Support/FormatVariadic.h"

#include <string>
#include <vector>

namespace loopc {

enum class RemarkKind { Chosen, Refused, Missed };

enum class RemarkId {
#define LOOPC_REMARK(ID, PASS, KIND, TEXT) ID,
#include "loopc/Transforms/Remarks.def"
};

/// Refusals of plan passes.
enum class PlanError {
#define LOOPC_PLAN_ERROR(CODE, TITLE) CODE,
#include "loopc/Transforms/PlanErrors.def"
};

/// An error at `op` whose text begins with the code in brackets: "[L0602] ".
mlir::InFlightDiagnostic emitPlanError(mlir::Operation *op, PlanError code);

/// One recorded remark. `text` has its arguments filled in.
struct Remark {
  std::string name; ///< the identifier of Remarks.def
  std::string pass;
  RemarkKind kind;
  std::string text;
};

llvm::StringRef remarkKindName(RemarkKind kind);

/// The text of a remark with {0} … in the place of its arguments.
const char *remarkFormat(RemarkId id);

/// Appends a remark whose arguments are filled in already.
void recordRemark(mlir::loop::ModelOp model, RemarkId id, std::string text);

template <typename... Args> void addRemark(mlir::loop::ModelOp model, RemarkId id, Args &&...args) {
  recordRemark(model, id, llvm::formatv(false, remarkFormat(id), std::forward<Args>(args)...).str());
}

/// All remarks recorded in `model`, oldest first.
std::vector<Remark> readRemarks(mlir::loop::ModelOp model);

} // namespace loopc

#endif
