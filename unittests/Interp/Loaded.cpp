// Parses models for tests.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Loaded.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

using namespace mlir;

Loaded::Loaded(const std::string &text) {
  context = std::make_unique<MLIRContext>();
  context->loadDialect<loop::LoopDialect, arith::ArithDialect, math::MathDialect, tensor::TensorDialect>();
  module = parseSourceString<ModuleOp>(text, context.get());
  if (!module) {
    ADD_FAILURE() << "the module does not parse";
    std::abort();
  }
  model = *module->getOps<loop::ModelOp>().begin();
}

std::string projectFile(const std::string &path) {
  std::ifstream file(std::string(LOOPC_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string ouroText(const std::string &kv) {
  std::string text = projectFile("unittests/Interp/ouro.mlir");
  text = text.substr(text.find("loop.model"));
  return text.replace(text.find("KV_POLICY"), 9, kv);
}
