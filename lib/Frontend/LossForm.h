// What the lines of a training section may be made of.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_LIB_FRONTEND_LOSSFORM_H
#define LOOPC_LIB_FRONTEND_LOSSFORM_H

#include "loopc/Frontend/AST.h"

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace loopc::frontend::sema {

using namespace loopc::ast;

/// The lines of a section that give a name a value, and its loss.
struct TrainLines {
  explicit TrainLines(const TrainStmt &section);
  std::map<std::string, const Expr *> named;
  std::vector<std::string> order;
  std::vector<const Expr *> values; ///< of the names, then of the loss
  const LossStmt *loss = nullptr;
};

/// Is it a sum, mean or entropy over the loop of this index?
bool isFoldOver(const Expr &expr, const std::string &index);

/// What a loss may be made of in this version. A name that a line of the section gives a value stands for that line.
struct LossForm {
  std::map<std::string, const Expr *> lines;
  std::set<std::string> needed;                      ///< lines that were read
  std::function<bool(const std::string &)> known;    ///< names of the model
  std::function<bool(const Expr &)> summed;          ///< folds over iterations that have a value
  std::string iteration;                             ///< the index of the loop at the end of whose body it stands

  bool runs(const Expr &expr);
  /// The parts of a fold over iterations.
  bool runsInIteration(const Expr &fold);

private:
  bool childrenRun(const Expr &expr);
  bool callRuns(const CallExpr &call);
  bool isIteration(const Expr *expr) const;
};

} // namespace loopc::frontend::sema

#endif
