// Weights of a model made from those of another (`init "name"` of a page).
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "Model.h"
#include "loopc/Frontend/Checkpoint.h"
#include <map>

namespace loopc::driver {

/// Makes each tensor when it is asked for. Throws Failure where a tensor of the other model is missing or of another shape.
class OriginWeights {
public:
  OriginWeights(const frontend::Program &program, const frontend::ProgramOrigin &origin, std::shared_ptr<const rt::TensorSource> source);
  /// By its published name, row-major.
  std::vector<float> tensor(const std::string &name);
  std::shared_ptr<const rt::TensorSource> all();

private:
  struct Value {
    std::vector<int64_t> shape;
    std::vector<double> values;
  };
  struct Made {
    const frontend::MadeTensor *value = nullptr; ///< null: the tensor of its own name
    std::vector<int64_t> shape;
  };
  Value named(const std::string &name, const std::string &wantedBy);
  Value evaluate(const frontend::MadeTensor &t, const std::string &of, const std::vector<int64_t> &shape);

  const frontend::Program &program;
  const frontend::CheckpointMap &map;
  std::shared_ptr<const rt::TensorSource> source;
  std::map<std::string, Made> made;                       ///< by published name
  std::map<std::string, std::pair<Value, Value>> pairs;   ///< factors of which one is still to be taken
  int depth = 0;                                          ///< of weights made from weights
};

/// The section of that name; "": the only one. Throws Failure.
const frontend::ProgramOrigin &originOf(const frontend::Program &program, const std::string &name);

} // namespace loopc::driver
