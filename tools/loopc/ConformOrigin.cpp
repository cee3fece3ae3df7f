// Expected tensors that are weights of the model, or products of two.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"

namespace loopc::driver {

bool isOfWeights(const words::Expr &value) {
  return value.kind == words::Expr::Kind::Call && (value.text == "weight" || value.text == "product");
}

namespace {

struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;
};

Matrix matrixOf(const words::Expr &value, const words::Table &table, const words::Scope &scope, const rt::TensorSource &weights) {
  if (!isOfWeights(value))
    table.fail(value.place, "`weight(\"NAME\")`", "something else");
  if (value.text == "weight") {
    if (value.args[0].kind != words::Expr::Kind::Text)
      table.fail(value.place, "the published name of a weight as a text", "something else");
    const rt::TensorView &tensor = weights.get(words::interpolate(table, value.args[0].text, value.place, scope));
    std::vector<float> values = rt::readF32(tensor);
    return {tensor.rows(), tensor.cols(), {values.begin(), values.end()}};
  }
  Matrix left = matrixOf(value.args[0], table, scope, weights), right = matrixOf(value.args[1], table, scope, weights);
  if (left.cols != right.rows)
    table.fail(value.place, std::to_string(left.cols) + " rows of the second matrix", std::to_string(right.rows));
  Matrix product{left.rows, right.cols, std::vector<double>(size_t(left.rows * right.cols))};
  for (int64_t i = 0; i < left.rows; ++i)
    for (int64_t k = 0; k < left.cols; ++k)
      for (int64_t j = 0; j < right.cols; ++j)
        product.values[size_t(i * right.cols + j)] += left.values[size_t(i * left.cols + k)] * right.values[size_t(k * right.cols + j)];
  return product;
}

} // namespace

TensorResult compareWeights(const CaseOutput &output, const words::Table &table, const rt::TensorSource &weights) {
  return compareElements(output, matrixOf(output.rule->value, table, output.scope, weights).values);
}

} // namespace loopc::driver
