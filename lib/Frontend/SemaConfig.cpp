// Binding of config and options: defaults, published files, --set, ranges, requirements, unknown keys.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "Elaborator.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace loopc::frontend::sema {

using nlohmann::json;

/// The value of a key, directly or through nested objects; null if there is none.
static const json *findKey(const json &object, const std::string &key) {
  if (!object.is_object())
    return nullptr;
  if (auto direct = object.find(key); direct != object.end())
    return &*direct;
  for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', dot + 1))
    if (auto nested = object.find(key.substr(0, dot)); nested != object.end() && nested->is_object())
      if (const json *found = findKey(*nested, key.substr(dot + 1)))
        return found;
  return nullptr;
}

static void listKeys(const json &object, const std::string &prefix, std::vector<std::pair<std::string, const json *>> &keys,
                     unsigned depth = 0) {
  if (!object.is_object() || depth > 8)
    return;
  for (auto item = object.begin(); item != object.end(); ++item) {
    const std::string key = prefix + item.key();
    if (item->is_object() && !item->empty())
      listKeys(*item, key + ".", keys, depth + 1);
    else
      keys.push_back({key, &*item});
  }
}

static std::string brief(const json &value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() > 60 ? text.substr(0, 57) + "..." : text;
}

static std::string underscored(std::string word) {
  std::replace(word.begin(), word.end(), '-', '_');
  return word;
}

void Elaborator::bindConfig() {
  configMode = true;
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  for (const std::string &name : slotOrder)
    (void)configValue(name);
  for (const auto &[name, text] : input.sets)
    if (!slots.count(name) && configSection) {
      Diagnostic &diagnostic = error(ErrorCode::L0707, configSection->range.begin < configSection->range.end
                                                           ? SourceRange{configSection->range.begin, configSection->range.begin + 6}
                                                           : configSection->range,
                                     "`--set " + name + "=" + text + "`: this model has no entry `" + name + "`");
      std::string close = nearest(name, slotOrder);
      if (!close.empty())
        diagnostic.help("did you mean `" + close + "`?");
    } else if (!slots.count(name))
      error(ErrorCode::L0707, {0, 0}, "`--set " + name + "=" + text + "`: this model has no `config`");
  if (input.published && !input.ignoreUnknownKeys)
    checkPublishedKeys();
  for (const StmtPtr &stmt : spec.statements) {
    const Block *body = nullptr;
    if (const auto *section = as<ConfigStmt>(stmt))
      body = &section->body;
    if (const auto *section = as<OptionsStmt>(stmt))
      body = &section->body;
    if (body)
      for (const StmtPtr &entry : body->statements)
        if (const auto *require = as<RequireStmt>(entry))
          checkRequire(*require);
  }
  environments.pop_back();
  configMode = false;
}

/// The value of an entry, bound when first asked for: entries may be written in any order.
Val Elaborator::configValue(const std::string &name) {
  ConfigSlot &slot = slots[name];
  if (slot.state == ConfigSlot::State::Bound)
    return slot.value;
  if (slot.state == ConfigSlot::State::Binding) {
    error(ErrorCode::L0709, slot.entry->range, "`" + name + "` is defined by itself")
        .label("its value needs its own value")
        .help("break the circle with a number, or with `from \"key\"`");
    slot.state = ConfigSlot::State::Bound;
    slot.value = {};
    return {};
  }
  slot.state = ConfigSlot::State::Binding;
  const bool savedMode = std::exchange(configMode, true);
  environments.emplace_back();
  environments.back().scopes.emplace_back();
  const ConfigEntryStmt &entry = *slot.entry;
  bool given = bindSet(slot, name) || bindPublished(slot);
  if (!given) {
    slot.origin = "default";
    if (!entry.value) {
      Diagnostic &diagnostic = error(ErrorCode::L0705, entry.name.range, "`" + name + "` has no default and is not given");
      if (entry.from && !entry.from->keys.empty())
        diagnostic.help("give `" + entry.from->keys[0] + "` in the published file, or `--set " + name + "=…`");
    } else if (const auto *word = as<NameExpr>(entry.value); word && entryIsWord(entry, word->name).value_or(false))
      slot.value = Val::ofWord(word->name);
    else if (word && as<SetExpr>(entry.domain) && !slots.count(word->name) && word->name != "none")
      error(ErrorCode::L0708, entry.value->range, "expected `" + name + "` in " + sourceText(entry.domain->range) + ", but got " + word->name);
    else
      slot.value = evaluate(entry.value.get());
    if (slot.value.is(Kind::Index) || slot.value.is(Kind::Runtime) || slot.value.is(Kind::Option)) {
      error(ErrorCode::L0703, entry.value->range, "`config` and `options` hold numbers, words and lists, but `" + name + "` got " +
                                                      describe(slot.value))
          .help("a value that depends on an option is a statement of the model: `" + name + " = …` outside the section");
      slot.value = {};
    }
  }
  // A declared type.
  if (entry.type && entry.type->form == TypeSyntax::Form::Word && !slot.value.poison() && !slot.value.is(Kind::None)) {
    const std::string &word = entry.type->word.text;
    if (word == "float" && slot.value.is(Kind::Int))
      slot.value = Val::ofFloat(slot.value.number());
    const bool fits = word == "int" ? slot.value.is(Kind::Int) : word == "float" ? slot.value.is(Kind::Float)
                      : word == "flag" || word == "bool" ? slot.value.is(Kind::Bool) : true;
    if (!fits) {
      error(ErrorCode::L0704, entry.name.range, "expected " + word + " for `" + name + "`, but got " + describe(slot.value));
      slot.value = {};
    }
  }
  checkDomain(slot, name);
  environments.pop_back();
  configMode = savedMode;
  slot.state = ConfigSlot::State::Bound;
  if (slot.value.is(Kind::Int))
    slot.value.size = SizeExpr::named(name); // an entry is an axis of its own, whatever it equals
  if (slot.option && !slot.value.poison()) {
    ProgramOption option;
    option.name = name;
    option.loc = loc(entry.range);
    option.kind = slot.value.is(Kind::Int)    ? OptionKind::Int
                  : slot.value.is(Kind::Bool) ? OptionKind::Bool
                  : slot.value.is(Kind::Word) ? OptionKind::Word
                                              : OptionKind::Float;
    option.initial = slot.value.is(Kind::None) ? NAN : slot.value.is(Kind::Word) ? 0 : slot.value.number();
    if (const auto *range = as<RangeExpr>(entry.domain)) {
      environments.emplace_back();
      environments.back().scopes.emplace_back();
      configMode = true;
      if (range->low)
        if (Val low = evaluate(range->low.get()); low.numeric())
          option.min = low.number();
      if (range->high)
        if (Val high = evaluate(range->high.get()); high.numeric())
          option.max = high.number();
      environments.pop_back();
      configMode = savedMode;
    }
    if (slot.value.is(Kind::None) || slot.value.is(Kind::List))
      defer("the option `" + name + "` that is not a number", entry.range);
    slot.optionIndex = static_cast<uint32_t>(program.options.size());
    program.options.push_back(option);
    Val value = Val::make(slot.value.is(Kind::Word) || slot.value.is(Kind::List) || slot.value.is(Kind::None) ? slot.value.kind
                                                                                                              : Kind::Option);
    if (value.is(Kind::Option))
      value.ref = slot.optionIndex;
    else
      value = slot.value;
    slot.value = value;
  } else if (!slot.value.poison())
    program.config.push_back({name, describe(slot.value), slot.origin});
  return slot.value;
}

std::optional<bool> Elaborator::entryIsWord(const ConfigEntryStmt &entry, const std::string &word) const {
  const auto *set = as<SetExpr>(entry.domain);
  if (!set)
    return std::nullopt;
  return std::any_of(set->elements.begin(), set->elements.end(), [&](const ExprPtr &element) {
    const auto *name = as<NameExpr>(element);
    return name && name->name == word;
  });
}

bool Elaborator::bindSet(ConfigSlot &slot, const std::string &name) {
  const std::string *text = nullptr;
  for (const auto &[key, value] : input.sets)
    if (key == name)
      text = &value;
  if (!text)
    return false;
  slot.origin = "--set";
  json value = json::parse(*text, nullptr, false);
  if (*text == "none")
    value = nullptr;
  else if (value.is_discarded())
    value = *text;
  if (!convertPublished(slot, value, "--set " + name, slot.entry->name.range, slot.value))
    slot.value = {};
  return true;
}

bool Elaborator::bindPublished(ConfigSlot &slot) {
  if (!input.published || !slot.entry->from)
    return false;
  const FromClause &from = *slot.entry->from;
  for (size_t k = 0; k < from.keys.size(); ++k) {
    const json *value = findKey(*input.published, from.keys[k]);
    if (!value)
      continue;
    readKeys.insert(from.keys[k]);
    if (slot.state == ConfigSlot::State::Binding && !slot.origin.empty())
      continue; // an older key beside the newer one
    // `null` is what a published file writes for "as usual".
    if (value->is_null() && !(slot.entry->type && slot.entry->type->optional)) {
      bool mapped = false;
      for (const auto &[ours, published] : from.words)
        if (const auto *word = as<NameExpr>(published); word && word->name == "none")
          mapped = true;
      if (!mapped)
        continue;
    }
    slot.origin = from.keys[k];
    if (!convertPublished(slot, *value, from.keys[k], from.keyRanges[k], slot.value))
      slot.value = {};
  }
  return !slot.origin.empty();
}

bool Elaborator::convertPublished(const ConfigSlot &slot, const json &value, const std::string &what, SourceRange range, Val &result) {
  const ConfigEntryStmt &entry = *slot.entry;
  // Words: `from "key" (ours = "published", …)`.
  if (entry.from)
    for (const auto &[ours, published] : entry.from->words) {
      bool matches = false;
      if (const auto *text = as<StringExpr>(published))
        matches = value.is_string() && value.get<std::string>() == text->value;
      else if (const auto *number = as<NumberExpr>(published))
        matches = value.is_number() && value.get<double>() == number->value;
      else if (const auto *boolean = as<BoolExpr>(published))
        matches = value.is_boolean() && value.get<bool>() == boolean->value;
      else if (const auto *word = as<NameExpr>(published))
        matches = word->name == "none" && value.is_null();
      if (!matches)
        continue;
      if (const auto *word = as<NameExpr>(ours); word && entryIsWord(entry, word->name).value_or(false))
        result = Val::ofWord(word->name);
      else
        result = evaluate(ours.get());
      return true;
    }
  if (value.is_null()) {
    result = Val::make(Kind::None);
    return true;
  }
  if (const auto *set = as<SetExpr>(entry.domain); set && value.is_string()) {
    const std::string given = underscored(value.get<std::string>());
    if (entryIsWord(entry, given).value_or(false)) {
      result = Val::ofWord(given);
      return true;
    }
    std::string known;
    std::vector<std::string> candidates;
    for (const ExprPtr &element : set->elements)
      candidates.push_back(sourceText(element->range));
    if (entry.from)
      for (const auto &word : entry.from->words)
        if (const auto *text = as<StringExpr>(word.second))
          candidates.push_back(text->value);
    for (const std::string &candidate : candidates)
      known += (known.empty() ? "" : ", ") + candidate;
    error(ErrorCode::L0708, range, "expected one of " + known + " for `" + what + "`, but got " + brief(value));
    return false;
  }
  // The default says whether an integer, a number, a flag or a list is meant.
  Kind wanted = Kind::Poison;
  if (entry.type && entry.type->form == TypeSyntax::Form::Word) {
    const std::string &word = entry.type->word.text;
    wanted = word == "float" ? Kind::Float : word == "int" ? Kind::Int : word == "flag" || word == "bool" ? Kind::Bool : Kind::Poison;
  } else if (const auto *number = as<NumberExpr>(entry.value))
    wanted = number->integer ? Kind::Int : Kind::Float;
  else if (as<BoolExpr>(entry.value))
    wanted = Kind::Bool;
  auto mismatch = [&](const char *expected) {
    error(ErrorCode::L0704, range, std::string("expected ") + expected + " for `" + what + "`, but got " + brief(value))
        .also(entry.name.range, "bound to `" + entry.name.text + "`");
    return false;
  };
  if (value.is_boolean()) {
    if (wanted == Kind::Int || wanted == Kind::Float)
      return mismatch("a number");
    result = Val::ofBool(value.get<bool>());
    return true;
  }
  if (value.is_number()) {
    if (wanted == Kind::Bool)
      return mismatch("true or false");
    const double number = value.get<double>();
    if (!std::isfinite(number))
      return mismatch("a finite number");
    const bool whole = number == std::floor(number) && std::fabs(number) < 9e15;
    if (!whole && (wanted == Kind::Int || (wanted != Kind::Float && value.is_number_integer())))
      return mismatch("a whole number below 9e15");
    if (wanted == Kind::Float || (wanted != Kind::Int && !value.is_number_integer()))
      result = Val::ofFloat(number);
    else
      result = Val::ofInt(static_cast<int64_t>(number));
    return true;
  }
  if (value.is_array()) {
    result = Val::make(Kind::List);
    for (const json &element : value) {
      Val converted;
      if (element.is_number_integer())
        converted = Val::ofInt(element.get<int64_t>());
      else if (element.is_number())
        converted = Val::ofFloat(element.get<double>());
      else if (element.is_boolean())
        converted = Val::ofBool(element.get<bool>());
      else if (element.is_string())
        converted = Val::ofWord(element.get<std::string>());
      else
        return mismatch("a list of numbers or words");
      result.elements.push_back(converted);
    }
    return true;
  }
  return mismatch(wanted == Kind::Bool ? "true or false" : wanted == Kind::Poison ? "a value of its kind" : "a number");
}

void Elaborator::checkDomain(ConfigSlot &slot, const std::string &name) {
  const ConfigEntryStmt &entry = *slot.entry;
  if (!entry.domain || slot.value.poison() || slot.value.is(Kind::None))
    return;
  if (const auto *range = as<RangeExpr>(entry.domain)) {
    Val low = range->low ? evaluate(range->low.get()) : Val(), high = range->high ? evaluate(range->high.get()) : Val();
    if (!slot.value.numeric() || (range->low && low.poison()) || (range->high && high.poison()))
      return;
    const double value = slot.value.number();
    if ((low.numeric() && value < low.number()) || (high.numeric() && value > high.number())) {
      error(ErrorCode::L0703, entry.name.range,
            "expected `" + name + "` in " + (low.numeric() ? describe(low) : "") + ".." + (high.numeric() ? describe(high) : "") +
                ", but got " + describe(slot.value) + (slot.origin == "default" ? "" : " from `" + slot.origin + "`"))
          .also(entry.domain->range, "both ends belong to the range");
      slot.value = {};
    }
    return;
  }
  if (const auto *set = as<SetExpr>(entry.domain)) {
    for (const ExprPtr &element : set->elements) {
      if (const auto *word = as<NameExpr>(element); word && slot.value.is(Kind::Word) && word->name == slot.value.text)
        return;
      if (as<NameExpr>(element))
        continue;
      Val value = evaluate(element.get());
      if (value.constant()) {
        if (value.numeric() != slot.value.numeric())
          continue;
        Val equal = foldBinary(Fn::Eq, value, slot.value, element->range);
        if (equal.integer)
          return;
      }
    }
    error(ErrorCode::L0708, entry.name.range, "expected `" + name + "` in " + sourceText(entry.domain->range) + ", but got " + describe(slot.value));
    slot.value = {};
  }
}

static bool ignoredKey(const std::string &key) {
  auto ends = [&](std::string_view suffix) {
    return key.size() >= suffix.size() && key.compare(key.size() - suffix.size(), suffix.size(), suffix) == 0;
  };
#define LOOPC_IGNORED_KEY(KEY)                                                                                                     \
  if (key == KEY)                                                                                                                  \
    return true;
#define LOOPC_IGNORED_KEY_PREFIX(PREFIX)                                                                                           \
  if (key.rfind(PREFIX, 0) == 0)                                                                                                   \
    return true;
#define LOOPC_IGNORED_KEY_SUFFIX(SUFFIX)                                                                                           \
  if (ends(SUFFIX))                                                                                                                \
    return true;
#include "PublishedKeys.def"
  return false;
}

void Elaborator::checkPublishedKeys() {
  if (!configSection)
    return;
  std::map<std::string, const AcceptStmt::Entry *> accepted;
  std::vector<std::string> known;
  for (const StmtPtr &stmt : configSection->body.statements)
    if (const auto *accept = as<AcceptStmt>(stmt))
      for (const AcceptStmt::Entry &entry : accept->entries)
        accepted[entry.key] = &entry;
  for (const auto &[name, slot] : slots)
    if (slot.entry->from)
      for (const std::string &key : slot.entry->from->keys) {
        known.push_back(key);
        readKeys.insert(key);
      }
  for (const auto &entry : accepted)
    known.push_back(entry.first);
  std::vector<std::pair<std::string, const json *>> keys;
  listKeys(*input.published, "", keys);
  for (const auto &[key, value] : keys) {
    if (auto found = accepted.find(key); found != accepted.end()) {
      const AcceptStmt::Entry &entry = *found->second;
      if (!entry.value)
        continue;
      bool same = false;
      if (const auto *text = as<StringExpr>(entry.value))
        same = value->is_string() && value->get<std::string>() == text->value;
      else {
        Val wanted;
        if (const auto *word = as<NameExpr>(entry.value); word && word->name != "none" && !slots.count(word->name))
          wanted = Val::ofWord(word->name);
        else
          wanted = evaluate(entry.value.get());
        same = wanted.is(Kind::None)   ? value->is_null()
               : wanted.is(Kind::Bool) ? value->is_boolean() && value->get<bool>() == (wanted.integer != 0)
               : wanted.is(Kind::Word) ? (wanted.text == "any" || (value->is_string() && value->get<std::string>() == wanted.text))
               : wanted.numeric()      ? value->is_number() && value->get<double>() == wanted.number()
                                       : false;
      }
      // A switch that is not given at all, or null, is off.
      if (!same && !value->is_null())
        error(ErrorCode::L0702, entry.keyRange,
              "expected " + sourceText(entry.value->range) + " for \"" + key + "\", but " + input.publishedName + " says " + brief(*value))
            .label("this spec does not have that switch")
            .help("another value is another model; extend the spec rather than the list");
      continue;
    }
    // Null is what a published file writes for a feature that is not used; an object may be accepted as a whole.
    bool covered = readKeys.count(key) || ignoredKey(key) || value->is_null();
    for (size_t dot = key.find('.'); dot != std::string::npos && !covered; dot = key.find('.', dot + 1)) {
      auto whole = accepted.find(key.substr(0, dot));
      covered = whole != accepted.end() && !whole->second->value;
    }
    if (covered)
      continue;
    Diagnostic &diagnostic = error(ErrorCode::L0701, {configSection->range.begin, configSection->range.begin + 6},
                                   "nothing in this spec reads the key \"" + key + "\" of " + input.publishedName);
    diagnostic.label("its value there is " + brief(*value));
    std::string close = nearest(key, known);
    if (!close.empty())
      diagnostic.note("the nearest key that is read is \"" + close + "\"");
    diagnostic.help("bind it with `from \"" + key + "\"`, or say that it may be ignored: `accept \"" + key + "\" any`");
  }
}

std::string Elaborator::expandText(const std::string &text) {
  std::string result;
  for (size_t k = 0; k < text.size(); ++k) {
    const size_t end = text[k] == '{' ? text.find('}', k) : std::string::npos;
    if (end == std::string::npos) {
      result += text[k];
      continue;
    }
    const std::string name = text.substr(k + 1, end - k - 1);
    if (slots.count(name)) {
      Val value = configValue(name);
      result += value.is(Kind::Option) ? describe(Val::ofFloat(program.options[value.ref].initial)) : describe(value);
    } else
      result += text.substr(k, end - k + 1);
    k = end;
  }
  return result;
}

void Elaborator::checkRequire(const RequireStmt &stmt) {
  const bool saved = std::exchange(configMode, true);
  Val condition = evaluate(stmt.condition.get());
  configMode = saved;
  if (condition.poison())
    return;
  if (condition.is(Kind::Bool)) {
    if (!condition.integer)
      error(ErrorCode::L0706, stmt.condition->range, expandText(stmt.why)).label("does not hold for this configuration");
    return;
  }
  if (condition.constant())
    error(ErrorCode::L0207, stmt.condition->range, "expected a condition after `require`, but got " + describe(condition));
  else
    defer("`require` of an option", stmt.range);
}

} // namespace loopc::frontend::sema
