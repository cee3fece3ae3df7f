// The listing of a program.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "loopc/Frontend/Program.h"

#include <cstdio>

namespace loopc::frontend {

std::string_view opKindName(OpKind kind) {
  static constexpr std::string_view names[] = {
#define LOOPC_PROGRAM_OP(NAME, TEXT) TEXT,
#include "loopc/Frontend/ProgramOps.def"
  };
  return names[static_cast<size_t>(kind)];
}

std::string_view fnName(Fn fn) {
  static constexpr std::string_view names[] = {
      "",
#define LOOPC_PROGRAM_FN(NAME, TEXT, OPERANDS) TEXT,
#include "loopc/Frontend/ProgramOps.def"
  };
  return names[static_cast<size_t>(fn)];
}

static std::string number(double value) {
  char buffer[40];
  snprintf(buffer, sizeof buffer, "%.9g", value);
  return buffer;
}

static std::string typeText(const ProgramType &type) {
  static constexpr const char *elements[] = {"f32", "f64", "bf16", "f16", "i1", "i32", "index"};
  std::string text = "[";
  for (const ProgramAxis &axis : type.axes)
    text += (text.size() > 1 ? ", " : "") + axis.name + "=" + std::to_string(axis.size);
  text += std::string("] ") + elements[static_cast<size_t>(type.element)];
  static constexpr const char *scopes[] = {" per run", " per batch", " per sequence", ""};
  return text + scopes[static_cast<size_t>(type.scope)];
}

static void printRegion(const Program &program, const ProgramRegion &region, unsigned indent, std::string &out) {
  const std::string pad(indent, ' ');
  auto list = [](const std::vector<ValueId> &values) {
    std::string text;
    for (ValueId value : values)
      text += (text.empty() ? "%" : ", %") + std::to_string(value);
    return text;
  };
  for (const ProgramOp &op : region.ops) {
    out += pad + (op.results.empty() ? "" : list(op.results) + " = ") + std::string(opKindName(op.kind));
    if (op.fn != Fn::None)
      out += " " + std::string(fnName(op.fn));
    switch (op.kind) {
    case OpKind::Param:
      out += " " + program.weights[op.ref].path;
      break;
    case OpKind::Option:
      out += " " + program.options[op.ref].name;
      break;
    case OpKind::Draw:
      out += " " + program.draws[op.ref].name;
      break;
    case OpKind::Attend:
    case OpKind::Recall:
    case OpKind::Keep:
      out += " " + program.sites[op.ref].path;
      break;
    case OpKind::Stack:
      out += " " + program.stacks[op.ref].index + " in " + std::to_string(program.stacks[op.ref].begin) + ".." + std::to_string(program.stacks[op.ref].end);
      break;
    case OpKind::Loop: {
      const ProgramLoop &loop = program.loops[op.ref];
      out += " " + loop.index + " < " + (loop.countOption == kNone ? std::to_string(loop.fixedCount) : program.options[loop.countOption].name);
      break;
    }
    case OpKind::Constant:
    case OpKind::Rope:
    case OpKind::Norm:
      out += " " + number(op.number);
      break;
    case OpKind::Tap:
    case OpKind::Deferred:
    case OpKind::Input:
      out += " " + op.name;
      break;
    default:
      break;
    }
    if (!op.operands.empty())
      out += "(" + list(op.operands) + ")";
    if (!op.ints.empty()) {
      out += " {";
      for (size_t k = 0; k < op.ints.size(); ++k)
        out += (k ? ", " : "") + std::to_string(op.ints[k]);
      out += "}";
    }
    for (size_t k = 0; k < op.results.size(); ++k)
      out += (k ? ", " : " : ") + typeText(program.values[op.results[k]].type);
    out += "\n";
    for (const ProgramRegion &inner : op.regions) {
      out += pad + "  (" + list(inner.arguments) + ")\n";
      printRegion(program, inner, indent + 2, out);
    }
  }
  if (!region.yields.empty() || region.exit != kNone)
    out += pad + "yield " + list(region.yields) + (region.exit != kNone ? " exit %" + std::to_string(region.exit) : "") + "\n";
}

std::string printProgram(const Program &program) {
  std::string out = "model " + program.model + "\n";
  for (const ProgramOption &option : program.options)
    out += "option " + option.name + " = " + number(option.initial) + " in " + (option.min ? number(*option.min) : "") + ".." +
           (option.max ? number(*option.max) : "") + (option.isCount ? " count\n" : "\n");
  for (const ProgramWeight &weight : program.weights) {
    out += "weight " + weight.path + " [";
    for (size_t k = 0; k < weight.shape.size(); ++k)
      out += (k ? ", " : "") + std::to_string(weight.shape[k]);
    out += "]";
    for (const WeightTable &table : weight.tables)
      out += " " + table.index + ":" + std::to_string(table.size);
    bool whole = true;
    for (bool present : weight.present)
      whole = whole && present;
    if (!whole) {
      out += " present ";
      for (bool present : weight.present)
        out += present ? '1' : '0';
    }
    out += "\n";
  }
  for (const ProgramSite &site : program.sites) {
    out += "site " + site.path + " kv " + std::to_string(site.kvHeads) + "x" + std::to_string(site.keyDim);
    for (const WeightTable &table : site.tables)
      out += " " + table.index + ":" + std::to_string(table.size);
    out += "\n";
  }
  printRegion(program, program.body, 0, out);
  return out;
}

} // namespace loopc::frontend
