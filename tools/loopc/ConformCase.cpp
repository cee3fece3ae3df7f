// Reading cases and translating them by the words.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConformCase.h"
#include "ProgramEdit.h"
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>

namespace loopc::driver {

using words::Action;
using words::Rule;
using words::Scope;

int64_t CaseTensor::size(char letter) const {
  for (size_t i = 0; i < layout.size(); ++i)
    if (layout[i].letter == letter)
      return shape[i];
  return -1;
}

std::vector<CaseFiles> readCases(const std::string &directory) {
  if (!isDirectory(directory))
    failExpected(directory, "a folder of cases", isFile(directory) ? "a file" : "nothing of that name");
  std::vector<std::string> paths;
  std::error_code code;
  for (const auto &entry : std::filesystem::directory_iterator(directory, code))
    if (entry.path().extension() == ".json")
      paths.push_back(entry.path().string());
  if (code)
    failExpected(directory, "a folder that can be read", code.message());
  std::sort(paths.begin(), paths.end());
  std::vector<CaseFiles> result;
  for (const std::string &path : paths) {
    CaseFiles files;
    files.path = path;
    files.json = parseJson(readFile(path), path);
    if (!files.json.is_object() || !files.json.contains("kind"))
      continue;
    if (!files.json["kind"].is_string())
      failExpected(path + ": kind", "a text", files.json["kind"].dump());
    files.kind = files.json["kind"];
    files.name = std::filesystem::path(path).stem().string();
    if (files.json.contains("run") && !files.json["run"].is_object())
      failExpected(path + ": run", "an object", files.json["run"].type_name());
    std::string data = path.substr(0, path.size() - 5) + ".safetensors";
    if (isFile(data))
      files.tensors = rt::SafetensorsFile::open(data);
    files.facts.name = files.name;
    files.facts.kind = files.kind;
    if (files.json.contains("run"))
      for (const auto &[key, value] : files.json["run"].items()) {
        files.facts.run.insert(key);
        if (value.is_object())
          for (const auto &[inner, each] : value.items())
            files.facts.run.insert(key + "." + inner);
        if (value.is_string())
          files.facts.text[key] = value;
      }
    if (files.tensors)
      for (const rt::TensorView &view : files.tensors->tensors()) {
        if (view.name.rfind("in.", 0) == 0)
          files.facts.in.insert(view.name.substr(3));
        else if (view.name.rfind("out.", 0) == 0)
          files.facts.out.insert(view.name.substr(4));
      }
    result.push_back(std::move(files));
  }
  if (result.empty())
    failExpected(directory, "at least one case (a .json file with `kind`)", "none");
  return result;
}

namespace {

CaseTensor readTensor(const rt::TensorView &view, const std::vector<words::Axis> &layout) {
  CaseTensor result;
  result.name = view.name;
  result.shape = view.shape;
  result.layout = layout;
  switch (view.dtype) {
  case rt::DType::F32:
  case rt::DType::F16:
  case rt::DType::BF16: {
    std::vector<float> values = rt::readF32(view);
    result.values.assign(values.begin(), values.end());
    break;
  }
  default: {
    std::vector<int64_t> values = rt::readI64(view);
    result.values.assign(values.begin(), values.end());
    result.integer = true;
  }
  }
  return result;
}

Scope configScope(const frontend::Program &program) {
  Scope scope;
  for (const frontend::ProgramConfigEntry &entry : program.config) {
    nlohmann::json value = nlohmann::json::parse(entry.value, nullptr, false);
    scope[entry.name] = value.is_discarded() ? nlohmann::json(entry.value) : value;
  }
  for (const frontend::ProgramOption &option : program.options)
    scope[option.name] = option.initial;
  return scope;
}

/// A constant as `--set` takes it.
std::string settingText(const nlohmann::json &value) {
  if (value.is_null())
    return "none";
  if (value.is_boolean())
    return value.get<bool>() ? "true" : "false";
  if (value.is_string())
    return value.get<std::string>();
  double number = value.get<double>();
  char text[40];
  if (number == std::floor(number) && std::fabs(number) < 1e15)
    std::snprintf(text, sizeof text, "%.0f", number);
  else
    std::snprintf(text, sizeof text, "%.17g", number);
  return text;
}

/// Names of values in an `out` expression; whether it needs logits of every iteration.
void collectNames(const words::Expr &expr, const words::Table &table, const Scope &scope, CasePlan &plan) {
  using Kind = words::Expr::Kind;
  if (expr.kind == Kind::Name && !scope.count(expr.text) && expr.text != "logits")
    plan.names.insert(expr.text);
  if ((expr.kind == Kind::Trace || expr.kind == Kind::TraceFrom) && expr.args[0].kind == Kind::Name &&
      expr.args[0].text == "logits")
    plan.everyIteration = true;
  if (isLayer(expr) || (expr.kind == Kind::Call && expr.text == "layers"))
    return;
  if (expr.kind == Kind::If)
    return collectNames(chosen(table, expr, scope), table, scope, plan);
  for (const words::Expr &arg : expr.args)
    collectNames(arg, table, scope, plan);
}

} // namespace

const words::Expr &chosen(const words::Table &table, const words::Expr &expr, const words::Scope &scope) {
  nlohmann::json condition = words::evaluate(table, expr.args[0], scope);
  if (!condition.is_boolean())
    table.fail(expr.args[0].place, "a condition", condition.dump());
  return expr.args[condition.get<bool>() ? 1 : 2];
}

std::string layerTap(const words::Table &table, const words::Expr &expr, const words::Scope &scope) {
  return expr.text + "." + settingText(words::evaluateNumber(table, expr.args[0], scope)) + "." +
         settingText(words::evaluateNumber(table, expr.args[1], scope)) + "." + layerName(table, expr, scope);
}

std::string layerName(const words::Table &table, const words::Expr &expr, const words::Scope &scope) {
  const words::Expr &name = expr.args[2];
  if (isLayer(name))
    return layerTap(table, name, scope);
  return name.kind == words::Expr::Kind::Text ? words::interpolate(table, name.text, name.place, scope) : name.text;
}

std::string layerTap(int64_t stack, int64_t index, const std::string &name) {
  return "layer." + std::to_string(stack) + "." + std::to_string(index) + "." + name;
}

namespace {

class Planner {
public:
  Planner(const CaseFiles &files, const words::Table &table, const std::string &directory)
      : files(files), table(table), directory(directory) {}

  CasePlan run(const SpecText &spec, const SpecOptions &base, std::optional<frontend::Program> &program) {
    plan.spec = base;
    readConfiguration();
    if (!plan.unsupported.empty())
      return std::move(plan);
    readSizes();
    Published published{plan.config, plan.configName, false};
    frontend::Program first = elaborateQuietly(spec, plan.spec, published);
    plan.scope = configScope(first);
    for (const frontend::ProgramOption &option : first.options)
      options.insert(option.name);
    for (const frontend::ProgramConfigEntry &entry : first.config)
      entries.insert(entry.name);
    size_t setsBefore = plan.spec.set.size(), accidentsBefore = plan.spec.accidents.size();
    runRules();
    if (!plan.unsupported.empty())
      return std::move(plan);
    if (plan.spec.set.size() != setsBefore || !plan.spec.exitTest.empty() ||
        plan.spec.accidents.size() != accidentsBefore) {
      program = elaborateQuietly(spec, plan.spec, published);
      plan.scope = configScope(*program);
      for (const auto &[name, value] : plan.scope)
        all[name] = value;
    } else {
      program = std::move(first);
    }
    inRules();
    if (!plan.unsupported.empty())
      return std::move(plan);
    if (!plan.warm.empty() && program->warm.empty())
      failExpected(files.path, "a state of the spec that may start warm (`state s = …, warm z`)", "none");
    for (const frontend::ProgramWarm &warm : program->warm)
      plan.warmStates.push_back(warm.state);
    gatherTokens(plan, files.path);
    for (const frontend::ProgramDraw &draw : program->draws) {
      plan.declared.insert(draw.name);
      if (draw.iteration)
        plan.iterated.insert(draw.name);
    }
    if (!plan.carries && files.kind != "train-run" && (!plan.drawsAt.empty() || !plan.tokensAt.empty()))
      plan = fromSegment(plan, 0, 0);
    placeTokens(plan);
    if (!isTraining(files.kind))
      giveValues(*program);
    inventTokens(plan);
    if (plan.tokens.values.empty())
      failExpected(files.path, "an input that the words call `tokens`", "none");
    outRules(*program);
    return std::move(plan);
  }

private:
  std::string place(const std::string &what) const { return files.path + ": " + what; }

  void readConfiguration() {
    auto text = [&](const char *key, const std::string &fallback) {
      for (const nlohmann::json &at : {files.json, files.json.value("run", nlohmann::json::object())})
        if (at.contains(key)) {
          if (!at[key].is_string())
            failExpected(place(key), "a file name", at[key].dump());
          return at[key].get<std::string>();
        }
      return fallback;
    };
    std::string config = text("config", "config.json"), weights = text("weights", "weights.safetensors");
    if (config == "none" || weights == "none") {
      plan.unsupported = "the case has no model (" + std::string(config == "none" ? "config" : "weights") + " none)";
      return;
    }
    plan.configName = directory + "/" + config;
    plan.weights = directory + "/" + weights;
    plan.config = parseJson(readFile(plan.configName), plan.configName);
    for (const Rule &rule : table.rules) {
      Scope captures;
      if (rule.kind != Rule::Kind::Config || !words::matchText(rule.name, files.name, captures))
        continue;
      std::string key = words::interpolate(table, rule.reason, rule.place, captures);
      if (key.empty()) { // no entry of it
        plan.config = nlohmann::json::object();
        break;
      }
      if (!plan.config.is_object() || !plan.config.contains(key))
        failExpected(plan.configName, "an entry `" + key + "` (" + table.file + ")", "none");
      plan.config = nlohmann::json(plan.config[key]);
      break;
    }
    auto apply = [&](const auto &at) {
      if (!at.contains("config_overrides"))
        return;
      if (!at["config_overrides"].is_object())
        failExpected(place("config_overrides"), "an object", at["config_overrides"].dump());
      for (const auto &[key, value] : at["config_overrides"].items())
        if (key == "weights" && value.is_string()) // a file that fits the changed configuration
          plan.weights = directory + "/" + value.template get<std::string>();
        else
          plan.config[key] = value;
    };
    apply(files.json);
    if (files.json.contains("run"))
      apply(files.json["run"]);
  }

  /// Entries of `config` that the shapes of given tensors tell: the names of axes are sizes there.
  void readSizes() {
    for (const rt::TensorView &view : files.tensors ? files.tensors->tensors() : std::span<const rt::TensorView>()) {
      Scope captures;
      const Rule *rule = view.name.rfind("in.", 0) == 0 ? table.find(Rule::Kind::In, view.name.substr(3), files.facts,
                                                                     nullptr, int(view.shape.size()), captures)
                                                        : nullptr;
      for (size_t i = 0; rule && i < view.shape.size(); ++i)
        captures[rule->layout[i].name] = view.shape[i];
      for (const Action &action : rule ? rule->actions : std::vector<Action>())
        if (action.kind == Action::Kind::Set)
          plan.spec.set.push_back(action.name + "=" + settingText(words::evaluate(table, action.expr, captures)));
    }
  }

  /// First every key finds its rule, so that an action may use the captures of all of them; then the actions run, each
  /// with the captures of its own rule before those of others.
  void runRules() {
    std::vector<std::pair<const Rule *, Scope>> matched;
    std::function<void(const std::string &, const nlohmann::json &)> match = [&](const std::string &key,
                                                                                 const nlohmann::json &value) {
      Scope own;
      const Rule *rule = table.find(Rule::Kind::Run, key, files.facts, &value, -1, own);
      if (!rule && value.is_object()) { // the words of a group
        for (const auto &[inner, each] : value.items())
          match(key + "." + inner, each);
        return;
      }
      if (!rule)
        failExpected(place("run." + key), "a word of " + table.file, value.dump());
      matched.emplace_back(rule, std::move(own));
    };
    if (files.json.contains("run"))
      for (const auto &[key, value] : files.json["run"].items())
        if (key != "config" && key != "weights" && key != "config_overrides") // files, read already
          match(key, value);
    for (const Rule &rule : table.rules) {
      words::Table one{table.file, {rule}};
      Scope own;
      if (one.find(Rule::Kind::Case, "", files.facts, nullptr, -1, own))
        matched.emplace_back(&rule, std::move(own));
    }
    all = plan.scope;
    for (const auto &[rule, own] : matched)
      for (const auto &[name, value] : own)
        all[name] = value;
    for (const auto &[rule, own] : matched) {
      Scope scope = all;
      for (const auto &[name, value] : own)
        scope[name] = value;
      for (const Action &action : rule->actions)
        apply(action, scope);
    }
  }

  int64_t whole(const words::Expr &expr, const Scope &scope) {
    double value = words::evaluateNumber(table, expr, scope);
    if (value != std::floor(value) || value < 0 || value > 1e9)
      table.fail(expr.place, "a whole number", settingText(value));
    return int64_t(value);
  }

  std::vector<int64_t> wholes(const Action &action, const Scope &captures) {
    nlohmann::json list = words::evaluate(table, action.expr, captures);
    if (!list.is_array())
      table.fail(action.place, "a list of whole numbers", list.dump());
    std::vector<int64_t> result;
    for (const auto &one : list) {
      if (!one.is_number() || one.get<double>() != std::floor(one.get<double>()) || one.get<double>() < 0)
        table.fail(action.place, "whole numbers", list.dump());
      result.push_back(one.get<int64_t>());
    }
    return result;
  }

  void apply(const Action &action, const Scope &captures) {
    using Kind = Action::Kind;
    switch (action.kind) {
    case Kind::Set:
      if (options.count(action.name)) {
        plan.settings.push_back({action.name, &action.expr, captures});
      } else if (entries.count(action.name)) {
        plan.spec.set.push_back(action.name + "=" + settingText(words::evaluate(table, action.expr, captures)));
      } else if (action.name == "section" && isTraining(files.kind)) {
        plan.section = settingText(words::evaluate(table, action.expr, captures));
      } else if (action.name == "window" && isTraining(files.kind)) {
        plan.window = CasePlan::Use{&action.expr, captures};
      } else if (action.name == "updates" && files.kind == "train-run") {
        plan.updates = CasePlan::Use{&action.expr, captures};
      } else if (files.kind == "train-run") {
        plan.rates.push_back({action.name, &action.expr, captures});
      } else {
        table.fail(action.place, "an option or a config entry of the spec", "`" + action.name + "`");
      }
      break;
    case Kind::Kv:
      plan.kv = words::interpolate(table, action.name, action.place, captures);
      break;
    case Kind::Order:
      plan.order = action.name == "token"   ? rt::PrefillOrder::Token
                   : action.name == "chunk" ? rt::PrefillOrder::Chunk
                                            : rt::PrefillOrder::Declared;
      break;
    case Kind::Exits:
      plan.exits = action.name == "off"      ? rt::ExitMode::Off
                   : action.name == "select" ? rt::ExitMode::Select
                                             : rt::ExitMode::Leave;
      plan.together = action.name == "together";
      break;
    case Kind::Test:
      plan.spec.exitTest = action.name;
      break;
    case Kind::CheckEvery:
      plan.checkEvery = CasePlan::Use{&action.expr, captures};
      break;
    case Kind::LastCheck:
      plan.lastCheck = true;
      break;
    case Kind::Untested:
      plan.untested = true;
      break;
    case Kind::ExitAfter:
      plan.exitAfter = CasePlan::Use{&action.expr, captures};
      break;
    case Kind::MinLoops:
      plan.minLoops = CasePlan::Use{&action.expr, captures};
      break;
    case Kind::Prompt:
      plan.prompt = whole(action.expr, captures);
      break;
    case Kind::Generate:
      plan.generate = whole(action.expr, captures);
      break;
    case Kind::DraftLoops:
      plan.draftLoops = whole(action.expr, captures);
      break;
    case Kind::DraftTokens:
      plan.draftTokens = whole(action.expr, captures);
      break;
    case Kind::DraftView:
      plan.draftView = action.name;
      plan.draftMask = int32_t(whole(action.expr, captures));
      break;
    case Kind::Stop:
      for (const auto &one : words::evaluate(table, action.expr, captures))
        if (!one.is_number_integer())
          table.fail(action.place, "a list of token ids", one.dump());
        else
          plan.stop.insert(one.get<int32_t>());
      break;
    case Kind::Calls:
      plan.calls = wholes(action, captures);
      break;
    case Kind::CallLoops:
      plan.callLoops = wholes(action, captures);
      break;
    case Kind::CallBack:
      plan.callBack = wholes(action, captures);
      break;
    case Kind::Each: {
      auto list = captures.find(action.name);
      if (list == captures.end() || !list->second.is_array())
        table.fail(action.place, "a captured list", "`" + action.name + "`");
      plan.each = action.name;
      plan.eachValues.assign(list->second.begin(), list->second.end());
      for (const nlohmann::json &element : plan.eachValues)
        if (element.is_object()) // the keys of groups are names; every run brings its own values
          for (const auto &[name, value] : element.items())
            all[name] = value;
      break;
    }
    case Kind::Warm:
      plan.warm = action.name;
      plan.names.insert(action.name);
      break;
    case Kind::DType:
      plan.dtype = action.name;
      break;
    case Kind::Accident:
      plan.spec.accidents.push_back(action.name);
      break;
    case Kind::Unsupported:
      plan.unsupported = words::interpolate(table, action.name, action.place, captures);
      break;
    case Kind::Origin:
      plan.origin = action.name;
      break;
    case Kind::Lead:
      plan.lead = whole(action.expr, captures);
      break;
    case Kind::Again:
      plan.again = whole(action.expr, captures);
      break;
    case Kind::Restarts:
      plan.restarts = whole(action.expr, captures);
      break;
    case Kind::Carry:
      plan.carries = true;
      break;
    case Kind::Nothing:
      break;
    default:
      table.fail(action.place, "an action of `run`", "an action of `in`");
    }
  }

  void inRules() {
    if (!files.tensors)
      failExpected(files.path, "a file of tensors beside it (.safetensors)", "none");
    for (const rt::TensorView &view : files.tensors->tensors()) {
      if (view.name.rfind("in.", 0) != 0)
        continue;
      Scope captures = all;
      const Rule *rule =
          table.find(Rule::Kind::In, view.name.substr(3), files.facts, nullptr, int(view.shape.size()), captures);
      if (!rule)
        failExpected(place(view.name), "a word of " + table.file, "shape " + rt::shapeText(view.shape));
      putSizes(all, *rule, view);
      putSizes(captures, *rule, view);
      for (const Action &action : rule->actions) {
        if (files.kind == "train-run" && view.shape.size() == rule->layout.size() && byStep(view, *rule, action))
          continue;
        switch (action.kind) {
        case Action::Kind::Tokens: {
          if (action.ofSegment) {
            put(plan.tokensAt, action, captures, readTensor(view, rule->layout));
            break;
          }
          CaseTensor tokens = readTensor(view, rule->layout);
          if (!action.name.empty()) {
            plan.tokensOf[whole(action.expr, captures)] = std::move(tokens);
            break;
          }
          if (tokens.size('B') > 0 && tokens.size('P') > 0 && tokens.shape.size() == 2) { // others may follow
            for (int64_t b = 0, length = tokens.size('P'); b < tokens.size('B'); ++b) {
              CaseTensor &row = plan.tokensOf[b];
              row.name = view.name;
              row.values.assign(tokens.values.begin() + b * length, tokens.values.begin() + (b + 1) * length);
            }
            break;
          }
          (tokens.size('R') < 0 ? plan.tokens : plan.tokensAgain) = std::move(tokens);
          break;
        }
        case Action::Kind::Cuts:
        case Action::Kind::Prefix: {
          std::vector<int64_t> &to = action.kind == Action::Kind::Cuts ? plan.cuts : plan.prefixes;
          for (double value : readTensor(view, rule->layout).values)
            to.push_back(int64_t(value));
          break;
        }
        case Action::Kind::Labels:
          if (action.ofSegment)
            put(plan.labelsAt, action, captures, readTensor(view, rule->layout));
          else
            plan.labels = ofNext(readTensor(view, rule->layout), action.name == "next");
          break;
        case Action::Kind::Weight:
          plan.overrides[words::interpolate(table, action.name, action.place, captures)] =
              readTensor(view, rule->layout);
          break;
        case Action::Kind::Mask:
          plan.mask = readTensor(view, rule->layout);
          break;
        case Action::Kind::Draw:
          if (action.ofSegment)
            put(plan.drawsAt[action.name], action, captures, readTensor(view, rule->layout));
          else
            plan.draws[action.name].push_back(drawn(action, captures, readTensor(view, rule->layout)));
          break;
        case Action::Kind::Given:
          plan.given[action.name] = readTensor(view, rule->layout);
          break;
        case Action::Kind::Set: // read already
          break;
        case Action::Kind::ExitAfter:
          plan.exits_ = readTensor(view, rule->layout);
          plan.exitTensorExpr = &action.expr;
          break;
        default:
          apply(action, captures);
        }
      }
    }
  }

  /// What `size("S")` is: of the tensor of the rule, else of the last given one that has such an axis.
  static void putSizes(Scope &scope, const Rule &rule, const rt::TensorView &view) {
    for (size_t i = 0; i < rule.layout.size(); ++i)
      scope["size " + rule.layout[i].name] = view.shape[i];
  }

  /// The tensor, or what the words make of each of its elements.
  CaseTensor drawn(const Action &action, Scope scope, CaseTensor tensor) {
    for (double &value : tensor.values) {
      if (!action.computed)
        break;
      scope["it"] = value;
      value = words::evaluateNumber(table, action.expr, scope);
    }
    return tensor;
  }

  /// Where a label is that of the position before.
  static CaseTensor ofNext(CaseTensor labels, bool next) {
    for (size_t i = 0, length = next ? size_t(labels.shape.back()) : 0; next && i < labels.values.size(); ++i)
      labels.values[i] = (i + 1) % length ? labels.values[i + 1] : -100;
    return labels;
  }

  /// Of a training run, a tensor over all its steps (axis N): one for each, without axes of one entry.
  bool byStep(const rt::TensorView &view, const Rule &rule, const Action &action) {
    CaseTensor all = readTensor(view, rule.layout);
    std::vector<CaseTensor> *to = action.kind == Action::Kind::Tokens   ? &plan.tokensAt
                                  : action.kind == Action::Kind::Labels ? &plan.labelsAt
                                  : action.kind == Action::Kind::Draw   ? &plan.drawsAt[action.name]
                                  : action.kind == Action::Kind::Given  ? &plan.givenAt[action.name]
                                                                        : nullptr;
    if (!to || all.size('N') < 1 || all.layout[0].letter != 'N')
      return false;
    CaseTensor one = all;
    one.shape.clear();
    one.layout.clear();
    for (size_t axis = 1; axis < all.shape.size(); ++axis)
      if (all.shape[axis] != 1 || all.layout[axis].letter != 'F') {
        one.shape.push_back(all.shape[axis]);
        one.layout.push_back(all.layout[axis]);
      }
    auto size = ptrdiff_t(all.values.size()) / ptrdiff_t(all.size('N'));
    for (auto begin = all.values.begin(); begin != all.values.end(); begin += size) {
      one.values.assign(begin, begin + size);
      to->push_back(one);
    }
    return true;
  }

  void put(std::vector<CaseTensor> &to, const Action &action, const Scope &captures, CaseTensor tensor) {
    size_t segment = size_t(whole(action.expr, captures));
    to.resize(std::max(to.size(), segment + 1));
    to[segment] = std::move(tensor);
  }

  /// A case that gives all the values that matter may leave out the tokens: one for each sequence then.
  void giveValues(frontend::Program &program) {
    for (const auto &[name, tensor] : plan.given) {
      int64_t iterations = tensor.size('T'), batch = tensor.size('B');
      if (iterations < 1 || batch < 1 || tensor.shape.size() != 2)
        failExpected(place(tensor.name), "the layout [B, T]", rt::shapeText(tensor.shape));
      giveValue(program, name, iterations);
      if (plan.tokens.values.empty()) {
        plan.tokens.name = "tokens";
        plan.tokens.shape = {batch, 1};
        plan.tokens.layout = {{'B', "B"}, {'S', "S"}};
        plan.tokens.values.assign(size_t(batch), 0);
        plan.tokens.integer = true;
      }
    }
  }

  /// Taps for the values of single layers that outputs name.
  void keepLayers(frontend::Program &program, const words::Expr &expr, const Scope &scope) {
    if (expr.kind == words::Expr::Kind::If) {
      keepLayers(program, chosen(table, expr, scope), scope);
      return;
    }
    if (isLayer(expr)) {
      if (isLayer(expr.args[2])) // of an iteration inside another
        keepLayers(program, expr.args[2], scope);
      else if (expr.args[2].kind != words::Expr::Kind::Name && expr.args[2].kind != words::Expr::Kind::Text)
        table.fail(expr.args[2].place, "the name of a value", "an expression");
      std::string tap = layerTap(table, expr, scope);
      if (plan.names.insert(tap).second)
        keepLayerValue(program, expr.text == "turn" ? frontend::OpKind::Loop : frontend::OpKind::Stack,
                       uint32_t(whole(expr.args[0], scope)), whole(expr.args[1], scope), layerName(table, expr, scope),
                       tap);
      return;
    }
    if (expr.kind == words::Expr::Kind::Call && expr.text == "layers") {
      if (expr.args[0].kind != words::Expr::Kind::Name)
        table.fail(expr.args[0].place, "the name of a value", "an expression");
      const std::string &name = expr.args[0].text;
      if (plan.layers.count(name))
        return;
      for (const LayerGroup &group : layersThatBind(program, name)) {
        LayerTaps &kept = plan.layers[name].emplace_back();
        kept.looped = group.looped;
        for (auto [stack, index] : group.layers) {
          kept.taps.push_back(layerTap(stack, index, name));
          if (plan.names.insert(kept.taps.back()).second)
            keepLayerValue(program, frontend::OpKind::Stack, stack, index, name, kept.taps.back());
        }
      }
      return;
    }
    for (const words::Expr &arg : expr.args)
      keepLayers(program, arg, scope);
  }

  void readTolerance(const nlohmann::json &tolerance, CaseOutput &output) {
    if (!tolerance.contains(output.name) && !output.expected.integer)
      failExpected(place("tolerance." + output.name), "atol and rtol", "none");
    if (tolerance.contains(output.name)) {
      output.atol = tolerance[output.name].value("atol", 0.0);
      output.rtol = tolerance[output.name].value("rtol", 0.0);
    }
  }

  void outRules(frontend::Program &program) {
    std::set<std::string> states;
    for (const frontend::ProgramLoop &loop : program.loops)
      states.insert(loop.states.begin(), loop.states.end());
    nlohmann::json tolerance = files.json.value("tolerance", nlohmann::json::object());
    for (const rt::TensorView &view : files.tensors->tensors()) {
      if (view.name.rfind("out.", 0) != 0)
        continue;
      CaseOutput output;
      output.name = view.name;
      output.scope = all;
      const bool training = isTraining(files.kind);
      if (training && (view.name.rfind("out.grad.", 0) == 0 || view.name.rfind("out.final.", 0) == 0)) {
        // of the weight that is published under this name
        output.expected = readTensor(view, {});
        readTolerance(tolerance, output);
        plan.outputs.push_back(std::move(output));
        continue;
      }
      output.rule =
          table.find(Rule::Kind::Out, view.name.substr(4), files.facts, nullptr, int(view.shape.size()), output.scope);
      if (!output.rule)
        failExpected(place(view.name), "a word of " + table.file, "shape " + rt::shapeText(view.shape));
      putSizes(output.scope, *output.rule, view);
      if (!output.rule->reason.empty()) {
        output.unsupported = output.rule->reason;
        plan.outputs.push_back(std::move(output));
        continue;
      }
      output.expected = readTensor(view, output.rule->layout);
      readTolerance(tolerance, output);
      if (training) {
        const words::Expr &value = output.rule->value;
        if (value.kind != words::Expr::Kind::Name || (value.text != "loss" && value.text != "grad_norm"))
          output.unsupported = "of training the loss, the gradients and the weights are compared";
        plan.outputs.push_back(std::move(output));
        continue;
      }
      if (!isOfWeights(output.rule->value)) {
        collectNames(output.rule->value, table, output.scope, plan);
        keepLayers(program, output.rule->value, output.scope);
      }
      plan.outputs.push_back(std::move(output));
    }
    if (plan.outputs.empty())
      failExpected(files.path, "at least one tensor out.*", "none");
    for (const std::string &name : plan.names)
      if (!states.count(name)) {
        keepLoopValue(program, name);
        plan.observe.push_back(name);
      }
  }

  const CaseFiles &files;
  const words::Table &table;
  std::string directory;
  CasePlan plan;
  Scope all; ///< config entries and the captures of every run rule
  std::set<std::string> options, entries;
};

} // namespace

CasePlan planCase(const CaseFiles &files, const words::Table &table, const std::string &directory, const SpecText &spec,
                  const SpecOptions &base, std::optional<frontend::Program> &program) {
  return Planner(files, table, directory).run(spec, base, program);
}

} // namespace loopc::driver
