// Matching a checkpoint file's tensors with a program's weights, strictly.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "loopc/Frontend/Checkpoint.h"

#include <algorithm>
#include <map>

namespace loopc::frontend {

static bool matchFrom(const std::string &pattern, size_t p, const std::string &name, size_t n, unsigned &budget) {
  if (budget == 0)
    return false;
  --budget;
  while (p < pattern.size()) {
    if (pattern[p] != '{') {
      if (n >= name.size() || name[n] != pattern[p])
        return false;
      ++p;
      ++n;
      continue;
    }
    const size_t end = pattern.find('}', p);
    if (end == std::string::npos)
      return false;
    const std::string hole = pattern.substr(p + 1, end - p - 1);
    const bool many = hole == "rest" || hole == "*";
    for (size_t k = n; k <= name.size(); ++k) {
      if (k > n && !many && name[k - 1] == '.')
        break;
      if ((k > n || many) && matchFrom(pattern, end + 1, name, k, budget))
        return true;
    }
    return false;
  }
  return n == name.size();
}

bool matchesPublished(const std::string &pattern, const std::string &name) {
  unsigned budget = 20000;
  return matchFrom(pattern, 0, name, 0, budget);
}

bool sameTensorShape(const std::vector<int64_t> &file, const std::vector<int64_t> &weight) {
  if (file == weight)
    return true;
  auto core = [](const std::vector<int64_t> &shape) {
    std::vector<int64_t> result;
    for (int64_t size : shape)
      if (size != 1)
        result.push_back(size);
    return result;
  };
  // Only a vector may be stored with axes of one element.
  return core(weight).size() <= 1 && core(file) == core(weight);
}

static std::string show(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

static size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t k = 0; k <= b.size(); ++k)
    row[k] = k;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t k = 0; k < b.size(); ++k) {
      const size_t substituted = diagonal + (a[i] != b[k]);
      diagonal = row[k + 1];
      row[k + 1] = std::min({row[k] + 1, row[k + 1] + 1, substituted});
    }
  }
  return row.back();
}

CheckpointBinding bindCheckpoint(const Program &program, const CheckpointMap &map, const std::vector<FileTensor> &file) {
  CheckpointBinding binding;
  binding.fileIndex.assign(map.tensors.size(), kNone);
  std::map<std::string, uint32_t> byName;
  for (uint32_t k = 0; k < file.size(); ++k)
    byName[file[k].name] = k;
  std::vector<bool> taken(file.size(), false);
  std::vector<std::string> missing;
  for (size_t k = 0; k < map.tensors.size(); ++k) {
    const CheckpointTensor &tensor = map.tensors[k];
    const ProgramWeight &weight = program.weights[tensor.weight];
    auto found = byName.find(tensor.name);
    if (found == byName.end()) {
      if (!tensor.optional)
        missing.push_back("the tensor `" + tensor.name + "` of shape " + show(weight.shape) + " is missing");
      continue;
    }
    taken[found->second] = true;
    binding.fileIndex[k] = found->second;
    if (!sameTensorShape(file[found->second].shape, weight.shape))
      binding.errors.push_back("expected shape " + show(weight.shape) + " for the tensor `" + tensor.name + "`, but got " + show(file[found->second].shape));
  }
  constexpr size_t most = 20;
  for (size_t k = 0; k < std::min(missing.size(), most); ++k)
    binding.errors.push_back(missing[k]);
  if (missing.size() > most)
    binding.errors.push_back(std::to_string(missing.size() - most) + " more tensors are missing");
  size_t unexpected = 0;
  for (size_t k = 0; k < file.size(); ++k) {
    if (taken[k])
      continue;
    const auto ignored = std::find_if(map.ignored.begin(), map.ignored.end(), [&](const CheckpointIgnored &i) { return matchesPublished(i.pattern, file[k].name); });
    if (ignored != map.ignored.end()) {
      if (ignored->shape && *ignored->shape != file[k].shape)
        binding.errors.push_back("expected shape " + show(*ignored->shape) + " for the unused tensor `" + file[k].name + "`, but got " + show(file[k].shape));
      else
        binding.notes.push_back("`" + file[k].name + "` is " + (ignored->recomputed ? "recomputed" : "not read by this configuration"));
      continue;
    }
    if (++unexpected > most)
      continue;
    std::string message = "the tensor `" + file[k].name + "` of shape " + show(file[k].shape) + " belongs to no weight";
    const CheckpointTensor *nearest = nullptr;
    size_t best = file[k].name.size() / 2 + 1;
    for (size_t t = 0; t < std::min<size_t>(map.tensors.size(), 2000); ++t)
      if (map.tensors[t].name.size() < 200 && file[k].name.size() < 200)
        if (const size_t d = distance(map.tensors[t].name, file[k].name); d < best) {
          best = d;
          nearest = &map.tensors[t];
        }
    if (nearest)
      message += "; the nearest name is `" + nearest->name + "`";
    binding.errors.push_back(message);
  }
  if (unexpected > most)
    binding.errors.push_back(std::to_string(unexpected - most) + " more tensors belong to no weight");
  return binding;
}

std::optional<CheckpointPattern> checkpointPattern(const Program &program, const CheckpointMap &map, uint32_t weight) {
  std::vector<const CheckpointTensor *> tensors;
  for (const CheckpointTensor &tensor : map.tensors)
    if (tensor.weight == weight)
      tensors.push_back(&tensor);
  CheckpointPattern result;
  if (tensors.empty())
    return std::nullopt;
  result.rows = tensors[0]->rows;
  result.rowBlock = tensors[0]->rowBlock;
  if (program.weights[weight].tables.empty()) {
    result.pattern = tensors[0]->name;
    return result;
  }
  // The runs of digits in which the names differ are the holes (`layers.0.experts.3.w`).
  auto parts = [](const std::string &name) { // text, digits, text, …
    std::vector<std::string> result{""};
    for (char c : name) {
      if (static_cast<bool>(isdigit(static_cast<unsigned char>(c))) != (result.size() % 2 == 0))
        result.emplace_back();
      result.back() += c;
    }
    return result;
  };
  const std::vector<std::string> first = parts(tensors[0]->name);
  std::vector<bool> hole(first.size(), false);
  for (const CheckpointTensor *tensor : tensors) {
    const std::vector<std::string> name = parts(tensor->name);
    if (name.size() != first.size() || tensor->rows != result.rows)
      return std::nullopt;
    for (size_t k = 0; k < name.size(); ++k) {
      if (k % 2 == 0 && name[k] != first[k])
        return std::nullopt;
      hole[k] = hole[k] || name[k] != first[k];
    }
  }
  if (std::find(hole.begin(), hole.end(), true) == hole.end()) {
    if (first.size() < 2)
      return std::nullopt;
    hole[1] = true;
  }
  const size_t holes = static_cast<size_t>(std::count(hole.begin(), hole.end(), true));
  result.indices.assign(static_cast<size_t>(program.weights[weight].entries()) * holes, -1);
  for (const CheckpointTensor *tensor : tensors) {
    const std::vector<std::string> name = parts(tensor->name);
    size_t next = static_cast<size_t>(tensor->entry) * holes;
    for (size_t k = 0; k < name.size(); ++k)
      if (hole[k] && name[k].size() > 9)
        return std::nullopt;
      else if (hole[k])
        result.indices[next++] = std::stoll(name[k]);
  }
  for (size_t k = 0; k < first.size(); ++k)
    result.pattern += hole[k] ? "{}" : first[k];
  return result;
}

} // namespace loopc::frontend
