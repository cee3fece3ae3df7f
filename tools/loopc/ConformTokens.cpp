// Tokens and draws of a case as rows of sequences: packed ones, prompts of their own lengths, leads, restarts,
// segments. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include <algorithm>

namespace loopc::driver {

namespace {

void repeatRows(CaseTensor &tokens, int64_t times) {
  int64_t batch = tokens.size('B'), length = batch > 0 ? int64_t(tokens.values.size()) / batch : 0;
  if (batch < 1 || tokens.layout[0].letter != 'B')
    failExpected(tokens.name, "tokens [B, S] to run several times", rt::shapeText(tokens.shape));
  std::vector<double> all;
  for (int64_t row = 0; row < batch * times; ++row)
    all.insert(all.end(), tokens.values.begin() + row / times * length,
               tokens.values.begin() + (row / times + 1) * length);
  tokens.values = std::move(all);
  tokens.shape[0] *= times;
}

void addLead(CaseTensor &tokens, int64_t lead) {
  int64_t batch = std::max<int64_t>(1, tokens.size('B')), length = int64_t(tokens.values.size()) / batch;
  if (!lead || tokens.values.empty())
    return;
  for (int64_t b = batch; b-- > 0;)
    tokens.values.insert(tokens.values.begin() + b * length, size_t(lead), 0.0);
  for (size_t i = 0; i < tokens.shape.size(); ++i)
    tokens.shape[i] += tokens.layout[i].letter == 'S' ? lead : 0;
}

} // namespace

/// Tokens of sequences of their own lengths as rows of one tensor, -1 behind the shorter ones.
void gatherTokens(CasePlan &plan, const std::string &file) {
  std::vector<std::vector<double>> rows;
  if (plan.tokens.size('J') >= 0) {
    size_t ends = 1; // what follows the last sequence is padding
    while (ends < plan.cuts.size() && plan.cuts[ends] > plan.cuts[ends - 1])
      ++ends;
    plan.cuts.resize(ends);
    if (ends < 2 || plan.cuts.front() != 0 || plan.cuts.back() > plan.tokens.size('J'))
      failExpected((file + ": " + plan.tokens.name), "ascending places from 0 on where its sequences begin (cuts)",
                   "others");
    for (size_t b = 0; b + 1 < ends; ++b)
      rows.emplace_back(plan.tokens.values.begin() + plan.cuts[b], plan.tokens.values.begin() + plan.cuts[b + 1]);
    plan.tokens.values.clear();
    if (plan.labels && plan.labels->size('J') >= plan.cuts.back()) {
      size_t longest = 0;
      for (const std::vector<double> &row : rows)
        longest = std::max(longest, row.size());
      std::vector<double> labels(rows.size() * longest, -100);
      for (size_t b = 0; b < rows.size(); ++b)
        std::copy_n(plan.labels->values.begin() + plan.cuts[b], rows[b].size(), labels.begin() + long(b * longest));
      plan.labels->values = std::move(labels);
    }
  }
  for (const auto &[b, prompt] : plan.tokensOf) {
    if (b != int64_t(rows.size()))
      failExpected((file + ": " + prompt.name), "tokens of sequence " + std::to_string(rows.size()),
                   "those of " + std::to_string(b));
    rows.push_back(prompt.values);
  }
  if (rows.empty())
    return;
  CaseTensor rest = std::move(plan.tokens), &all = plan.tokens;
  all = CaseTensor();
  size_t longest = 0, more = rest.values.size() / rows.size();
  for (const std::vector<double> &row : rows)
    longest = std::max(longest, row.size());
  for (size_t b = 0; b < rows.size(); ++b) {
    rows[b].resize(longest, -1);
    all.values.insert(all.values.end(), rows[b].begin(), rows[b].end());
    all.values.insert(all.values.end(), rest.values.begin() + long(b * more),
                      rest.values.begin() + long((b + 1) * more));
  }
  if (!plan.tokensOf.empty() && !plan.prompt && plan.calls.empty())
    plan.prompt = int64_t(longest);
  all.name = "tokens";
  all.integer = true;
  all.shape = {int64_t(rows.size()), int64_t(longest + more)};
  all.layout = {{'B', "B"}, {'S', "S"}};
}

/// Tokens of the first segment, what stands before them, and each row as often as it is run.
void placeTokens(CasePlan &plan) {
  if (plan.tokens.values.empty() && !plan.tokensAt.empty())
    plan.tokens = plan.tokensAt[0];
  addLead(plan.tokens, plan.lead);
  if (plan.restarts > 1)
    repeatRows(plan.tokens, plan.restarts);
  if (plan.restarts > 1 && plan.labels)
    repeatRows(*plan.labels, plan.restarts);
  for (CaseTensor &tokens : plan.tokensAt)
    addLead(tokens, plan.lead);
}

void inventTokens(CasePlan &plan) {
  if (plan.tokens.values.empty() && !plan.draws.empty()) { // all that is read are draws: tokens of any id
    const CaseTensor &first = plan.draws.begin()->second.front();
    int64_t batch = std::max<int64_t>(1, first.size('B')), length = std::max<int64_t>(1, first.size('S'));
    plan.tokens.name = "tokens";
    plan.tokens.shape = {batch, length};
    plan.tokens.layout = {{'B', "B"}, {'S', "S"}};
    plan.tokens.values.assign(size_t(batch * length), 0);
    plan.tokens.integer = true;
    for (const auto &[name, parts] : plan.draws)
      for (const CaseTensor &part : parts)
        if (int64_t again = part.size('R'); again > 0) {
          plan.tokensAgain = plan.tokens;
          plan.tokensAgain.shape = {batch, again};
          plan.tokensAgain.layout = {{'B', "B"}, {'R', "R"}};
          plan.tokensAgain.values.assign(size_t(batch * again), 0);
        }
  }
}

CasePlan fromSegment(const CasePlan &plan, size_t first, int64_t loops) {
  CasePlan own = plan;
  own.carries = false;
  if (first < plan.tokensAt.size())
    own.tokens = plan.tokensAt[first];
  if (first < plan.labelsAt.size())
    own.labels = plan.labelsAt[first];
  for (const auto &[name, parts] : plan.drawsAt) {
    if (first >= parts.size())
      failExpected("draw " + name, "values for segment " + std::to_string(first), "none");
    CaseTensor all = parts[first];
    if (plan.iterated.count(name)) { // behind the last segment nothing is looked at
      int64_t rounds = loops ? loops : int64_t(parts.size() - first);
      for (int64_t t = 1; t < rounds; ++t) {
        const CaseTensor &next = parts[std::min(first + size_t(t), parts.size() - 1)];
        all.values.insert(all.values.end(), next.values.begin(), next.values.end());
      }
      all.shape.insert(all.shape.begin(), rounds);
      all.layout.insert(all.layout.begin(), words::Axis{'T', "T"});
    }
    own.draws[name] = {std::move(all)};
  }
  return own;
}

} // namespace loopc::driver
