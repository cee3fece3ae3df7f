// loopc init: the weights of a model from those of another, as its page's `init "name"` says.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Origin.h"
#include "loopc/runtime/Safetensors.h"
#include <Eigen/Dense>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace loopc::driver {

using frontend::MadeTensor;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// U S and V^T of the best approximation of a rank. From the eigenvectors of the smaller product of the matrix with itself: the spectrum is
/// squared, which costs only singular values below 1e-8 of the largest, and those are taken as none. Rows of V^T stay orthonormal where the
/// singular value is zero, so that both factors of a zero matrix can be trained.
static std::pair<Matrix, Matrix> factors(const Matrix &m, int64_t rank) {
  const bool wide = m.rows() <= m.cols();
  Matrix square = wide ? Matrix(m * m.transpose()) : Matrix(m.transpose() * m);
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver{Eigen::MatrixXd(square)}; // ascending
  Eigen::MatrixXd vectors = solver.eigenvectors().rightCols(rank).rowwise().reverse();
  if (!wide)
    return {Matrix(m * vectors), Matrix(vectors.transpose())};
  Eigen::MatrixXd image = m.transpose() * vectors; // V S
  const double least = 1e-8 * std::max(image.colwise().norm().maxCoeff(), 1e-300);
  Eigen::VectorXd sigma = image.colwise().norm();
  for (int64_t k = 0; k < rank; ++k)
    if (sigma[k] <= least)
      sigma[k] = 0, image.col(k).setZero();
  Eigen::HouseholderQR<Eigen::MatrixXd> qr(image);
  Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(image.rows(), rank);
  for (int64_t k = 0; k < rank; ++k)
    if (qr.matrixQR()(k, k) < 0)
      q.col(k) = -q.col(k);
  return {Matrix(vectors * sigma.asDiagonal()), Matrix(q.transpose())};
}

OriginWeights::OriginWeights(const frontend::Program &program, const frontend::ProgramOrigin &origin, std::shared_ptr<const rt::TensorSource> source)
    : program(program), map(program.checkpoints.at(0)), source(std::move(source)) {
  std::map<std::pair<uint32_t, int64_t>, const MadeTensor *> lines;
  for (const frontend::ProgramOrigin::Line &line : origin.lines)
    lines[{line.weight, line.entry}] = &line.value;
  for (const frontend::CheckpointTensor &tensor : map.tensors) {
    auto line = lines.find({tensor.weight, tensor.entry});
    made[tensor.name] = {line == lines.end() ? nullptr : line->second, program.weights[tensor.weight].shape};
  }
}

static std::string keyOf(const MadeTensor &t) {
  std::string key = std::to_string(int(t.op)) + "/" + t.name + "/" + std::to_string(t.factor) + "(";
  for (const MadeTensor &part : t.parts)
    key += keyOf(part) + ",";
  return key + ")";
}

[[noreturn]] static void wrongShape(const std::string &what, const std::vector<int64_t> &expected, const std::vector<int64_t> &got) {
  throw Failure(what + ": expected shape " + rt::shapeText(expected) + ", but got " + rt::shapeText(got));
}

OriginWeights::Value OriginWeights::named(const std::string &name, const std::string &wantedBy) {
  if (const rt::TensorView *tensor = source->find(name)) {
    std::vector<float> values = rt::readF32(*tensor);
    return {tensor->shape, {values.begin(), values.end()}};
  }
  auto own = made.find(name);
  if (own == made.end() || !own->second.value)
    throw Failure(source->describe() + ": expected the tensor `" + name + "`, from which `" + wantedBy + "` is made, but there is none of that name");
  if (++depth > 100)
    throw Failure("`" + name + "` is made from itself");
  Value value = evaluate(*own->second.value, name, own->second.shape);
  --depth;
  return value;
}

OriginWeights::Value OriginWeights::evaluate(const MadeTensor &t, const std::string &of, const std::vector<int64_t> &shape) {
  using Op = MadeTensor::Op;
  switch (t.op) {
  case Op::Tensor:
    return named(t.name, of);
  case Op::Constant: {
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    return {shape, std::vector<double>(size_t(count), t.factor)};
  }
  case Op::Mean:
  case Op::Add:
  case Op::Subtract:
  case Op::Scale: {
    Value sum = evaluate(t.parts[0], of, shape);
    for (size_t k = 1; k < t.parts.size(); ++k) {
      Value part = evaluate(t.parts[k], of, sum.shape);
      if (part.shape != sum.shape)
        wrongShape("`" + of + "` is made from tensors of one shape", sum.shape, part.shape);
      for (size_t i = 0; i < sum.values.size(); ++i)
        sum.values[i] += t.op == Op::Subtract ? -part.values[i] : part.values[i];
    }
    if (t.op == Op::Mean || t.op == Op::Scale)
      for (double &value : sum.values)
        value = t.op == Op::Mean ? value / double(t.parts.size()) : value * t.factor;
    return sum;
  }
  case Op::Left:
  case Op::Right: {
    std::string key = keyOf(t.parts[0]) + std::to_string(t.rank);
    auto known = pairs.find(key);
    bool first = known == pairs.end();
    if (first) {
      Value whole = evaluate(t.parts[0], of, shape);
      if (whole.shape.size() != 2)
        throw Failure("`" + of + "`: expected a matrix to approximate, but got shape " + rt::shapeText(whole.shape));
      int64_t rows = whole.shape[0], cols = whole.shape[1];
      if (t.rank > std::min(rows, cols))
        throw Failure("`" + of + "`: expected a rank of at most " + std::to_string(std::min(rows, cols)) + ", but got " + std::to_string(t.rank));
      auto [left, right] = factors(Eigen::Map<const Matrix>(whole.values.data(), rows, cols), t.rank);
      auto value = [](const Matrix &m) { return Value{{m.rows(), m.cols()}, {m.data(), m.data() + m.size()}}; };
      known = pairs.emplace(key, std::pair(value(left), value(right))).first;
    }
    Value result = t.op == Op::Left ? known->second.first : known->second.second;
    if (!first)
      pairs.erase(known); // the other factor was taken before
    return result;
  }
  }
  throw Failure("`" + of + "` is made in a way that is not known");
}

std::vector<float> OriginWeights::tensor(const std::string &name) {
  const Made &made = this->made.at(name);
  Value value = made.value ? evaluate(*made.value, name, made.shape) : named(name, name);
  if (!frontend::sameTensorShape(value.shape, made.shape))
    wrongShape("`" + name + "` as made from " + source->describe(), made.shape, value.shape);
  return {value.values.begin(), value.values.end()};
}

std::shared_ptr<const rt::TensorSource> OriginWeights::all() {
  auto tensors = std::make_shared<rt::MemoryTensors>(source->describe());
  for (const frontend::CheckpointTensor &t : map.tensors)
    if (!tensors->find(t.name)) // the entries of a shared tensor
      tensors->addF32(t.name, program.weights[t.weight].shape, tensor(t.name));
  return tensors;
}

const frontend::ProgramOrigin &originOf(const frontend::Program &program, const std::string &name) {
  std::string names;
  for (const frontend::ProgramOrigin &origin : program.origins) {
    if (origin.name == name || (name.empty() && program.origins.size() == 1))
      return origin;
    names += (names.empty() ? "" : ", ") + rt::quoted(origin.name);
  }
  if (program.origins.empty())
    throw Failure(program.filename + ": expected a section `init \"name\"` that makes its weights from those of another model, but there is none");
  throw Failure(program.filename + ": expected --as one of " + names + ", but got " + (name.empty() ? "nothing" : rt::quoted(name)));
}

int runInit(const InitOptions &options) {
  Weights from = openWeights({options.from, {}});
  SpecText spec = readSpec(options.spec.spec);
  frontend::Program program = elaborateSpec(spec, options.spec, publishedFor(options.spec, from));
  OriginWeights weights(program, originOf(program, options.as), from.tensors);
  std::vector<rt::SafetensorsWriter::Entry> entries;
  std::set<std::string> seen;
  for (const frontend::CheckpointTensor &tensor : program.checkpoints.at(0).tensors)
    if (seen.insert(tensor.name).second)
      entries.push_back({tensor.name, rt::DType::F32, program.weights[tensor.weight].shape});
  rt::SafetensorsWriter writer(options.out, entries, {{"format", "pt"}});
  const bool shows = isatty(STDERR_FILENO);
  auto begin = std::chrono::steady_clock::now();
  for (size_t i = 0; i < entries.size(); ++i) {
    std::vector<float> values = weights.tensor(entries[i].name);
    writer.append(std::as_bytes(std::span(values)));
    if (shows) {
      double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      std::fprintf(stderr, "\r%zu of %zu tensors, %.0f s left ", i + 1, entries.size(), spent / double(i + 1) * double(entries.size() - i - 1));
    }
  }
  if (shows)
    std::fputc('\n', stderr);
  writer.commit();
  print("wrote " + std::to_string(entries.size()) + " tensors to " + options.out + "\n");
  return Ok;
}

} // namespace loopc::driver
