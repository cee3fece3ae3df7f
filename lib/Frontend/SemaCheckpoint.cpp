// Checkpoint sections: which published tensor holds which entry of which weight.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every entry of every weight is a concrete path (`layers.3.attn.q.weight`). A line `"published" = pattern` applies to
// the paths that its right side matches; the captures build the published name. The first line that applies wins; a
// path that no line matches keeps itself as its name.

#include "Elaborator.h"
#include "NamePattern.h"

#include <algorithm>

namespace loopc::frontend::sema {

namespace {

struct Line {
  std::vector<Piece> published, target;
  RowOrder rows = RowOrder::Same;
  int64_t rowBlock = 0;
  bool optional = false;
  const CheckpointEntryStmt *stmt = nullptr;
};

} // namespace

std::function<std::optional<int64_t>(const std::string &)> Elaborator::configNumbers() const {
  return [this](const std::string &name) -> std::optional<int64_t> {
    auto slot = slots.find(name);
    if (slot == slots.end() || !slot->second.value.is(Kind::Int))
      return std::nullopt;
    return slot->second.value.integer;
  };
}

void Elaborator::buildCheckpoints() {
  // The published form is the first section without a name, or named after the format of the published file.
  const CheckpointStmt *published = nullptr;
  for (const CheckpointStmt *section : checkpointSections)
    if (!section->name || *section->name == "published" || *section->name == "huggingface") {
      if (published)
        error(ErrorCode::L0330, section->range, "two checkpoint sections describe the published form").also(published->range, "the first");
      published = section;
    }
  CheckpointMap map;
  buildCheckpoint(published, map);
  program.checkpoints.push_back(std::move(map));
  for (const CheckpointStmt *section : checkpointSections) {
    if (section == published || !section->name)
      continue;
    CheckpointMap other;
    other.format = *section->name;
    buildCheckpoint(section, other);
    program.checkpoints.push_back(std::move(other));
  }
}

void Elaborator::buildCheckpoint(const CheckpointStmt *stmt, CheckpointMap &map) {
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  configMode = true;
  const Constants constants = configNumbers();
  std::vector<Line> lines;
  std::string prefix;
  bool prefixOptional = false;
  if (stmt) {
    map.identity = false;
    for (const StmtPtr &child : stmt->body.statements) {
      const auto *entry = as<CheckpointEntryStmt>(child);
      if (!entry)
        continue;
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
      using Form = CheckpointEntryStmt::Form;
      if (entry->form == Form::Prefix) {
        prefix = entry->published;
        prefixOptional = entry->optional;
        continue;
      }
      if (entry->form == Form::Ignored || entry->form == Form::Unused || entry->form == Form::Recomputed || entry->form == Form::Duplicates) {
        CheckpointIgnored ignored;
        ignored.pattern = entry->published;
        ignored.recomputed = entry->form == Form::Recomputed;
        if (entry->shape) {
          std::vector<ProgramAxis> axes;
          if (!resolveDims(entry->shape->dims, axes))
            continue;
          ignored.shape.emplace();
          for (const ProgramAxis &axis : axes)
            ignored.shape->push_back(axis.size);
        }
        map.ignored.push_back(std::move(ignored));
        continue;
      }
      Line line;
      line.stmt = entry;
      line.optional = entry->optional;
      if (entry->rows) {
        const auto *call = as<CallExpr>(entry->rows);
        const auto *callee = call ? as<NameExpr>(call->callee) : nullptr;
        if (!callee || callee->name != "adjacent_pairs" || call->args.size() != 1) {
          error(ErrorCode::L0331, entry->rows->range, "expected `rows adjacent_pairs(head size)`, but got `rows " + sourceText(entry->rows->range) + "`");
          continue;
        }
        std::optional<int64_t> block = compileTimeInt(call->args[0].value.get(), "a head size");
        if (!block)
          continue;
        if (*block < 2 || *block % 2) {
          error(ErrorCode::L0331, entry->rows->range, "expected an even head size, but got " + std::to_string(*block));
          continue;
        }
        line.rows = RowOrder::AdjacentPairs;
        line.rowBlock = *block;
      }
      // `for w in [q, k]` writes the line once for each word.
      std::vector<std::pair<std::string, std::string>> texts = {{entry->published, entry->target ? entry->target->text : ""}};
      for (const auto &[variable, values] : entry->variables) {
        const auto *list = as<ListExpr>(values);
        if (!list) {
          error(ErrorCode::L0331, values->range, "expected a list of words, but got `" + sourceText(values->range) + "`");
          texts.clear();
          break;
        }
        std::vector<std::pair<std::string, std::string>> expanded;
        for (const auto &[left, right] : texts)
          for (const ExprPtr &word : list->elements)
            expanded.push_back({replaceAll(left, "{" + variable.text + "}", sourceText(word->range)),
                                replaceAll(right, "{" + variable.text + "}", sourceText(word->range))});
        texts = std::move(expanded);
      }
      for (const auto &[left, right] : texts) {
        line.published = pieces(left);
        line.target = pathPieces(right);
        lines.push_back(line);
      }
    }
  }
  std::map<std::string, std::pair<uint32_t, int64_t>> names;
  for (uint32_t w = 0; w < program.weights.size(); ++w) {
    const ProgramWeight &weight = program.weights[w];
    for (int64_t entry = 0; entry < weight.entries(); ++entry) {
      if (!weight.present[static_cast<size_t>(entry)])
        continue;
      CheckpointTensor tensor;
      tensor.weight = w;
      tensor.entry = entry;
      const std::string path = entryPath(weight, entry);
      tensor.name = path;
      for (Line &line : lines) {
        Captures captures;
        if (!matchPath(line.target, path, captures, constants))
          continue;
        std::optional<std::string> name = fill(line.published, captures, constants);
        if (!name) {
          error(ErrorCode::L0331, line.stmt->publishedRange, "the published name has a hole that its path does not fill for `" + path + "`")
              .help("holes of both sides have the same names; arithmetic is a sum of names and numbers");
          name = path;
        }
        tensor.name = *name;
        tensor.rows = line.rows;
        tensor.rowBlock = line.rowBlock;
        tensor.optional = line.optional;
        break;
      }
      if (tensor.rows == RowOrder::AdjacentPairs && (weight.shape.empty() || weight.shape[0] % tensor.rowBlock))
        error(ErrorCode::L0331, {weight.loc.begin, weight.loc.end},
              "the rows of `" + path + "` (" + std::to_string(weight.shape.empty() ? 0 : weight.shape[0]) + ") are not heads of " + std::to_string(tensor.rowBlock));
      if (!prefix.empty() && !prefixOptional)
        tensor.name = prefix + tensor.name;
      auto [known, fresh] = names.try_emplace(tensor.name, w, entry);
      if (!fresh && known->second.first != w)
        error(ErrorCode::L0330, stmt ? stmt->range : SourceRange{weight.loc.begin, weight.loc.end},
              "the published tensor `" + tensor.name + "` would hold both `" + entryPath(program.weights[known->second.first], known->second.second) +
                  "` and `" + path + "`")
            .also({weight.loc.begin, weight.loc.end}, "made here");
      map.tensors.push_back(std::move(tensor));
    }
  }
  configMode = false;
  environments.pop_back();
}

} // namespace loopc::frontend::sema
