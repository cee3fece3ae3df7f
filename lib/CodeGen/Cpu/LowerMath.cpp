// cpu-lower-math: element functions become polynomials, so that no library is called and every lane is the same code.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/CodeGen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Approximation.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace {
struct LowerMathPass : PassWrapper<LowerMathPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowerMathPass)
  StringRef getArgument() const final { return "cpu-lower-math"; }
  StringRef getDescription() const final { return "element functions become polynomials"; }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect>();
  }
  void runOnOperation() final {
    RewritePatternSet expand(&getContext());
    math::populateExpansionPatterns(expand, {"rsqrt", "exp2", "powf", "sinh", "cosh", "tan", "fpowi"});
    if (failed(applyPatternsGreedily(getOperation(), std::move(expand))))
      return signalPassFailure();
    RewritePatternSet approximate(&getContext());
    populateMathPolynomialApproximationPatterns(approximate);
    if (failed(applyPatternsGreedily(getOperation(), std::move(approximate))))
      return signalPassFailure();
  }
};
} // namespace

std::unique_ptr<Pass> loopc::codegen::createLowerMathPass() { return std::make_unique<LowerMathPass>(); }
