// A model parsed from text, for tests.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/Dialect/Loop/Loop.h"
#include "loopc/Interp/SourceInterp.h"
#include "loopc/Interp/TensorParams.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <memory>
#include <string>

/// Holds the context, the module and the first model in it; fails the test if the text does not parse.
struct Loaded {
  explicit Loaded(const std::string &text);
  std::unique_ptr<mlir::MLIRContext> context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::loop::ModelOp model;
};

/// The text of a file of this project.
std::string projectFile(const std::string &path);

/// unittests/Interp/ouro.mlir with a policy, for example "kv(#loop.kv<single order by_call>)".
std::string ouroText(const std::string &kv);

/// Weights given as numbers by name.
class GivenParams final : public loopc::interp::ParamProvider {
public:
  std::map<std::string, std::vector<float>> tensors;
  bool read(const loopc::interp::TensorRequest &request, std::vector<float> &values, std::string &error) override {
    auto found = tensors.find(request.name);
    if (found == tensors.end()) {
      error = "expected a tensor " + request.name + ", but got none";
      return false;
    }
    values = found->second;
    return true;
  }
};
