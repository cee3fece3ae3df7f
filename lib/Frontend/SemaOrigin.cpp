// `init "name" { … }`: how the weights of this model are made from those of another.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A line `core.{i}.{rest} = "layers.{i + P}.{rest}.weight"` applies to the entries of weights that its left side matches; what the holes took
// fills the names of tensors on the right. The first line that applies wins.

#include "Elaborator.h"
#include "NamePattern.h"

namespace loopc::frontend::sema {

/// What fills the names of a line: for which entry, with which captures.
struct Elaborator::OriginName {
  std::string path;
  Captures captures;
  Constants constants;
};

std::optional<MadeTensor> Elaborator::madeTensor(const Expr *expr, OriginName &name) {
  auto refuse = [&](const std::string &expected) -> std::optional<MadeTensor> {
    error(ErrorCode::L0331, expr->range, "expected " + expected + ", but got `" + sourceText(expr->range) + "`")
        .help("a tensor is \"its.name.{i}\", mean(\"name.{c}\", c = count), left(e, rank), right(e, rank), a + b, a - b, a number, or a number times a tensor");
    return std::nullopt;
  };
  MadeTensor made;
  if (const auto *text = as<StringExpr>(expr)) {
    std::optional<std::string> filled = fill(pieces(text->value), name.captures, name.constants);
    if (!filled)
      return refuse("holes that the path `" + name.path + "` fills");
    made.name = *filled;
    return made;
  }
  if (as<NumberExpr>(expr)) {
    Val value = evaluate(expr);
    if (!value.is(Kind::Int) && !value.is(Kind::Float))
      return refuse("a number");
    made.op = MadeTensor::Op::Constant;
    made.factor = value.is(Kind::Int) ? double(value.integer) : value.real;
    return made;
  }
  if (const auto *binary = as<BinaryExpr>(expr)) {
    std::optional<MadeTensor> left = madeTensor(binary->lhs.get(), name), right = left ? madeTensor(binary->rhs.get(), name) : std::nullopt;
    if (!right)
      return std::nullopt;
    if (binary->op == BinaryOp::Mul && left->op == MadeTensor::Op::Constant) {
      made.op = MadeTensor::Op::Scale;
      made.factor = left->factor;
      made.parts.push_back(std::move(*right));
      return made;
    }
    if (binary->op != BinaryOp::Add && binary->op != BinaryOp::Sub)
      return refuse("a sum or a difference of tensors, or a number times a tensor");
    made.op = binary->op == BinaryOp::Add ? MadeTensor::Op::Add : MadeTensor::Op::Subtract;
    made.parts.push_back(std::move(*left));
    made.parts.push_back(std::move(*right));
    return made;
  }
  const auto *call = as<CallExpr>(expr);
  const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
  if (!callee || call->args.size() != 2)
    return refuse("a tensor");
  const Argument &first = call->args[0], &second = call->args[1];
  if (callee->name == "mean" && !second.name.text.empty()) {
    std::optional<int64_t> count = compileTimeInt(second.value.get(), "how many tensors there are");
    if (!count)
      return std::nullopt;
    constexpr int64_t most = 1 << 16;
    if (*count < 1 || *count > most)
      return refuse("a mean of 1 to " + std::to_string(most) + " tensors");
    made.op = MadeTensor::Op::Mean;
    for (int64_t i = 0; i < *count; ++i) {
      name.captures[second.name.text] = std::to_string(i);
      std::optional<MadeTensor> part = madeTensor(first.value.get(), name);
      if (!part)
        return std::nullopt;
      made.parts.push_back(std::move(*part));
    }
    name.captures.erase(second.name.text);
    return made;
  }
  if ((callee->name != "left" && callee->name != "right") || !first.name.text.empty() || !second.name.text.empty())
    return refuse("a tensor");
  std::optional<int64_t> rank = compileTimeInt(second.value.get(), "a rank");
  std::optional<MadeTensor> part = rank ? madeTensor(first.value.get(), name) : std::nullopt;
  if (!part)
    return std::nullopt;
  if (*rank < 1)
    return refuse("a rank of at least 1");
  made.op = callee->name == "left" ? MadeTensor::Op::Left : MadeTensor::Op::Right;
  made.rank = *rank;
  made.parts.push_back(std::move(*part));
  return made;
}

void Elaborator::buildOrigins() {
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  configMode = true;
  const Constants constants = configNumbers();
  for (const InitStmt *section : originSections) {
    struct Line {
      std::vector<std::vector<Piece>> targets;
      const Expr *value;
    };
    std::vector<Line> lines;
    for (const StmtPtr &child : section->body.statements) {
      const auto *entry = as<InitEntryStmt>(child);
      if (!entry)
        continue;
      if (!entry->value) {
        error(ErrorCode::L0331, entry->range, "expected a tensor of the other model, in double quotes, but got `" + sourceText(entry->copy->range) + "`");
        continue;
      }
      if (entry->when) {
        Val condition = evaluate(entry->when.get());
        if (!condition.is(Kind::Bool)) {
          if (!condition.poison())
            error(ErrorCode::L0207, entry->when->range, "expected a condition known when compiled, but got " + describe(condition));
          continue;
        }
        if (!condition.integer)
          continue;
      }
      Line line{{}, entry->value.get()};
      for (const Selector &selector : entry->weights)
        line.targets.push_back(pathPieces(selector.text));
      lines.push_back(std::move(line));
    }
    ProgramOrigin origin;
    origin.name = *section->name;
    bool fine = true;
    for (uint32_t w = 0; w < program.weights.size() && fine; ++w) {
      const ProgramWeight &weight = program.weights[w];
      for (int64_t entry = 0; entry < weight.entries() && fine; ++entry) {
        if (!weight.present[static_cast<size_t>(entry)])
          continue;
        OriginName name{entryPath(weight, entry), {}, constants};
        for (const Line &line : lines) {
          bool matched = false;
          for (const std::vector<Piece> &target : line.targets)
            if (!matched) {
              name.captures.clear();
              matched = matchPath(target, name.path, name.captures, constants);
            }
          if (!matched)
            continue;
          std::optional<MadeTensor> made = madeTensor(line.value, name);
          fine = made.has_value(); // one mistake in a line is one message
          if (made)
            origin.lines.push_back({w, entry, std::move(*made)});
          break;
        }
      }
    }
    program.origins.push_back(std::move(origin));
  }
  configMode = false;
  environments.pop_back();
}

} // namespace loopc::frontend::sema
