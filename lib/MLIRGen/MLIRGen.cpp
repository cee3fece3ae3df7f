// Model, symbols, loops and stacks of a program in SOURCE form.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/MLIRGen/MLIRGen.h"
#include "Generator.h"
#include "loopc/Frontend/Checkpoint.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace loopc;
using namespace loopc::frontend;

Generator::Generator(MLIRContext &context, const Program &program, StringRef format)
    : context(context), program(program), format(format), b(&context) {
  for (StringRef name : {"main", "slot", "prelude", "core", "check", "coda", "head"}) // what later passes name themselves
    taken.insert(name);
}

Location Generator::at(const ProgramLoc &loc) { return FileLineColLoc::get(&context, program.filename, loc.line, loc.column); }

std::string Generator::symbol(StringRef path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    out += path[i];
    if (path[i] == '{')
      i = path.find('}', i) - 1;
  }
  while (!taken.insert(out).second)
    out += "_";
  return out;
}

Type Generator::element(ElementType kind) {
  switch (kind) {
  case ElementType::F64:
  case ElementType::F32:
    return b.getF32Type();
  case ElementType::BF16:
    return b.getBF16Type();
  case ElementType::F16:
    return b.getF16Type();
  case ElementType::Bool:
    return b.getI1Type();
  case ElementType::Int:
    return b.getI32Type();
  case ElementType::Index:
    return b.getIndexType();
  }
  return {};
}

RankedTensorType Generator::tensor(ValueId id) { return RankedTensorType::get(typeOf(id).shape(), element(typeOf(id).element)); }

Type Generator::type(ValueId id) {
  if (typeOf(id).element == ElementType::Index)
    return b.getIndexType();
  return tensor(id);
}

OwningOpRef<ModuleOp> Generator::run(bool training) {
  Location top = FileLineColLoc::get(&context, program.filename, 1, 1);
  OwningOpRef<ModuleOp> module = ModuleOp::create(top);
  b.setInsertionPointToStart(module->getBody());
  SmallVector<NamedAttribute> config;
  for (const ProgramConfigEntry &entry : program.config)
    config.push_back(b.getNamedAttr(entry.name, b.getStringAttr(entry.value)));
  auto model = loop::ModelOp::create(b, top, program.model, loop::Phase::source, loop::ContractAttr(), b.getDictionaryAttr(config));
  model.getBody().emplaceBlock();
  b.setInsertionPointToStart(&model.getBody().front());
  if (failed(declarations()))
    return nullptr;
  auto forward = loop::ForwardOp::create(b, top, "main");
  forward.getBody().emplaceBlock();
  symbols = OpBuilder::InsertPoint(&model.getBody().front(), Block::iterator(forward));
  b.setInsertionPointToStart(&forward.getBody().front());
  if (failed(region(program.body)))
    return nullptr;
  Value logits;
  for (auto [name, id] : llvm::zip(program.outputs, program.body.yields))
    if (name == "logits" || !logits)
      logits = values.lookup(id);
  if (!logits) {
    emitError(top) << "expected an output `logits`, but the model has none";
    return nullptr;
  }
  loop::ReturnOp::create(b, top, logits);
  if (training)
    for (const ProgramTraining &one : program.trainings) {
      b.setInsertionPointToEnd(&model.getBody().front());
      auto step = loop::ForwardOp::create(b, top, one.name);
      b.setInsertionPointToStart(&step.getBody().emplaceBlock());
      values.clear();
      if (failed(region(one.body)))
        return nullptr;
      loop::ReturnOp::create(b, top, values.lookup(one.body.yields[0]));
    }
  if (failed(verify(*module)))
    return nullptr;
  return module;
}

LogicalResult Generator::declarations() {
  for (const ProgramOption &option : program.options) {
    Location loc = at(option.loc);
    if (!taken.insert(option.name).second)
      return refuse(option.loc) << "expected an option with a name of its own, but `" << option.name << "` is a stage of every model";
    if (option.isCount) {
      loop::CountOp::create(b, loc, option.name, static_cast<int64_t>(option.initial), static_cast<int64_t>(option.min.value_or(1)),
                            static_cast<int64_t>(option.max.value_or(65535)));
      continue;
    }
    if (option.kind == OptionKind::Word)
      return refuse(option.loc) << "option `" << option.name << "` is a word; this version runs options that are numbers";
    FloatAttr min, max;
    if (option.min && option.max) {
      min = b.getF64FloatAttr(*option.min);
      max = b.getF64FloatAttr(*option.max);
    }
    loop::KnobOp::create(b, loc, b.getStringAttr(option.name), b.getF64FloatAttr(option.initial), min, max);
  }
  for (uint32_t i = 0; i < program.weights.size(); ++i)
    if (failed(weight(i)))
      return failure();
  for (const ProgramSite &site : program.sites) {
    if (site.keyDim != site.valueDim)
      return refuse(site.loc) << "expected keys and values of one size, but got " << site.keyDim << " and " << site.valueDim;
    if (site.memory != kNone) {
      siteSymbols.push_back(siteSymbols[site.memory]);
      continue;
    }
    SmallVector<int64_t> tables;
    for (const WeightTable &table : site.tables)
      tables.push_back(table.size);
    siteSymbols.push_back(symbol(site.path));
    loop::SiteOp::create(b, at(site.loc), b.getStringAttr(siteSymbols.back()), b.getI64IntegerAttr(site.kvHeads), b.getI64IntegerAttr(site.keyDim),
                         site.state ? b.getUnitAttr() : UnitAttr(), tables.empty() ? DenseI64ArrayAttr() : b.getDenseI64ArrayAttr(tables), loop::SitePlanAttr(), FlatSymbolRefAttr());
  }
  return success();
}

LogicalResult Generator::weight(uint32_t index) {
  const ProgramWeight &weight = program.weights[index];
  const CheckpointMap *map = program.checkpoint(format.str());
  if (!map)
    return refuse(weight.loc) << "the spec has no `checkpoint \"" << format << "\"` section, but the weights are in that form";
  std::optional<CheckpointPattern> pattern = checkpointPattern(program, *map, index);
  if (!pattern)
    return refuse(weight.loc) << "expected published names of `" << weight.path << "` that differ in numbers, but they differ in more";
  // A matrix of one row is a vector, its product a number: no kernel computes 32 columns for one.
  ArrayRef<int64_t> shape(weight.shape);
  if (weight.role == WeightRole::Matrix && shape.size() == 2 && shape[0] == 1)
    shape = shape.drop_front();
  SmallVector<int64_t> tables;
  for (const WeightTable &table : weight.tables)
    tables.push_back(table.size);
  weightSymbols.push_back(symbol(weight.path));
  auto op = loop::WeightOp::create(b, at(weight.loc), b.getStringAttr(weightSymbols.back()), TypeAttr::get(RankedTensorType::get(shape, b.getF32Type())),
                                   tables.empty() ? DenseI64ArrayAttr() : b.getDenseI64ArrayAttr(tables), b.getStringAttr(pattern->pattern),
                                   pattern->indices.empty() ? DenseI64ArrayAttr() : b.getDenseI64ArrayAttr(pattern->indices), StringAttr(),
                                   IntegerAttr(), FlatSymbolRefAttr(), ArrayAttr(), StringAttr());
  if (pattern->rows == RowOrder::AdjacentPairs) {
    op.setRowMap("adjacent_pairs");
    op.setRowBlock(pattern->rowBlock);
  }
  return success();
}

LogicalResult Generator::region(const ProgramRegion &body) {
  for (const ProgramOp &each : body.ops)
    if (failed(op(each)))
      return failure();
  return success();
}

LogicalResult Generator::op(const ProgramOp &op) {
  for (auto [place, id] : llvm::enumerate(op.operands))
    if (!values.lookup(id) && !(op.kind == OpKind::Loop && place == 0))
      return refuse(op.loc) << "`" << std::string(opKindName(op.kind)) << "` reads value %" << id << " (" << program.values[id].name
                            << ") before it is made";
  switch (op.kind) {
  case OpKind::Loop:
    return loop(op);
  case OpKind::Stack:
    return stack(op);
  case OpKind::Check:
    return check(op);
  case OpKind::If:
  case OpKind::Where:
    return where(op);
  case OpKind::Attend:
    return attend(op);
  case OpKind::Recall:
  case OpKind::Keep:
    return carry(op);
  case OpKind::Tap:
    if (isa<RankedTensorType>(value(op, 0).getType()))
      loop::TapOp::create(b, at(op.loc), value(op, 0), op.name);
    return success();
  case OpKind::Deferred:
    return refuse(op.loc) << "`" << op.name << "` is checked, but this version does not run it";
  default: {
    FailureOr<Value> result = feature(op);
    if (failed(result))
      return failure();
    values[op.results[0]] = *result;
    return success();
  }
  }
}

FailureOr<loop::KVAttr> Generator::policy(const ProgramLoop &loop) {
  const KvPolicy &kv = loop.kv;
  auto map = loop::symbolizeKVMap(kv.map);
  if (!map)
    return refuse(kv.loc) << "policy `" << kv.text << "` is checked, but this version does not run it";
  loop::Holes holes = static_cast<loop::Holes>(0);
  switch (kv.holes) {
  case KvHoles::Refuse: holes = loop::Holes::refuse; break;
  case KvHoles::Latest: holes = loop::Holes::latest; break;
  case KvHoles::AlwaysLast: holes = loop::Holes::always_last; break;
  case KvHoles::LastExited: holes = loop::Holes::last_exited; break;
  case KvHoles::Skip: holes = loop::Holes::skip; break;
  case KvHoles::Zero: holes = loop::Holes::zero; break;
  case KvHoles::LastIfHole: holes = loop::Holes::last_if_hole; break;
  }
  loop::CallOrder order = kv.order == KvOrder::Free ? loop::CallOrder::free : kv.order == KvOrder::Token ? loop::CallOrder::token
                          : kv.order == KvOrder::Pass ? loop::CallOrder::pass : loop::CallOrder::by_call;
  return loop::KVAttr::get(&context, *map, kv.sizes[0], kv.sizes[1], *loop::symbolizeKVUnit(kv.unit), *loop::symbolizeKVKeep(kv.keep), kv.codaOverwrites, holes, order);
}

LogicalResult Generator::loop(const ProgramOp &op) {
  const ProgramLoop &info = program.loops[op.ref];
  std::string count;
  if (info.countOption != kNone) {
    count = program.options[info.countOption].name;
  } else {
    count = "count." + std::to_string(info.fixedCount);
    if (taken.insert(count).second) {
      OpBuilder::InsertionGuard guard(b);
      b.restoreInsertionPoint(symbols);
      loop::CountOp::create(b, at(info.loc), count, info.fixedCount, info.fixedCount, info.fixedCount);
    }
  }
  loop::KVAttr kv;
  if (info.hasKv) {
    FailureOr<loop::KVAttr> found = policy(info);
    if (failed(found))
      return failure();
    kv = *found;
  }
  const ProgramRegion &body = op.regions[0];
  loop::ExitAttr exit;
  if (body.exit != kNone) {
    auto grain = info.exitScope == ValueScope::Token ? loop::Grain::lane : info.exitScope == ValueScope::Sequence ? loop::Grain::sequence : loop::Grain::call;
    exit = loop::ExitAttr::get(&context, info.exitName.empty() ? "exit" : info.exitName, grain, 1, 1);
  }
  SmallVector<Value> states = operands(op, 0);
  std::string name = !info.label.empty() ? info.label : info.index;
  auto recur = loop::RecurOp::create(b, at(op.loc), Type(), ValueRange(states).getTypes(), Type(), b.getStringAttr(name), FlatSymbolRefAttr::get(&context, count), states,
                                     ValueRange(), Value(), Value(), Value(), kv, exit, loop::RecurPlanAttr());
  if (info.states.size() == states.size()) {
    SmallVector<StringRef> names(info.states.begin(), info.states.end());
    recur->setAttr("state_names", b.getStrArrayAttr(names));
  }
  return fill(op, recur, true);
}

LogicalResult Generator::stack(const ProgramOp &op) {
  const ProgramStack &info = program.stacks[op.ref];
  SmallVector<Value> states = operands(op, 0);
  std::string name = !info.label.empty() ? info.label : info.index;
  auto stack = loop::StackOp::create(b, at(op.loc), ValueRange(states).getTypes(), Type(), b.getStringAttr(name), b.getI64IntegerAttr(info.end - info.begin), states, Value());
  return fill(op, stack, true, info.begin);
}

LogicalResult Generator::where(const ProgramOp &op) {
  SmallVector<Value> states = operands(op, 1);
  return fill(op, loop::WhereOp::create(b, at(op.loc), ValueRange(states).getTypes(), Type(), value(op, 0), states, Value()), false);
}

LogicalResult Generator::check(const ProgramOp &op) {
  SmallVector<Value> states = operands(op, 0);
  return fill(op, loop::CheckOp::create(b, at(op.loc), ValueRange(states).getTypes(), tensor(op.results.back()), Type(), states, Value()), false);
}

SmallVector<Value> Generator::operands(const ProgramOp &op, size_t first) {
  SmallVector<Value> result;
  for (size_t i = first; i < op.operands.size(); ++i)
    result.push_back(value(op, i));
  return result;
}

LogicalResult Generator::fill(const ProgramOp &op, Operation *made, bool indexed, int64_t begin) {
  const ProgramRegion &body = op.regions[0];
  OpBuilder::InsertionGuard guard(b);
  Block &block = made->getRegion(0).emplaceBlock();
  if (indexed)
    block.addArgument(b.getIndexType(), at(op.loc));
  for (Type state : TypeRange(made->getResultTypes()).take_front(body.yields.size()))
    block.addArgument(state, at(op.loc));
  for (auto [id, argument] : llvm::zip(body.arguments, block.getArguments()))
    values[id] = argument;
  b.setInsertionPointToStart(&block);
  if (begin)
    values[body.arguments[0]] = arith::AddIOp::create(b, at(op.loc), block.getArgument(0), arith::ConstantIndexOp::create(b, at(op.loc), begin));
  if (failed(region(body)))
    return failure();
  SmallVector<Value> yields;
  for (ValueId id : body.yields)
    yields.push_back(values.lookup(id));
  loop::YieldOp::create(b, at(op.loc), yields, body.exit == kNone ? Value() : values.lookup(body.exit));
  for (auto [id, result] : llvm::zip(op.results, made->getResults()))
    values[id] = result;
  return success();
}

LogicalResult Generator::attend(const ProgramOp &op) {
  const ProgramSite &site = program.sites[op.ref];
  SmallVector<Value> indices;
  const size_t end = op.operands.size() - site.keep;
  for (size_t i = 3; i < end; ++i) {
    FailureOr<Value> number = index(op, i);
    if (failed(number))
      return failure();
    indices.push_back(*number);
  }
  auto flag = [&](bool on) { return on ? b.getUnitAttr() : UnitAttr(); };
  auto result = loop::AttendOp::create(b, at(op.loc), tensor(op.results[0]), value(op, 0), value(op, 1), value(op, 2),
                                       site.keep ? value(op, end) : Value(), FlatSymbolRefAttr::get(&context, siteSymbols[op.ref]), indices, b.getF64FloatAttr(site.scale),
                                       site.window ? b.getI64IntegerAttr(site.window) : IntegerAttr(),
                                       site.softcap != 0 ? b.getF64FloatAttr(site.softcap) : FloatAttr(),
                                       site.mask == MaskKind::Causal ? loop::MaskAttr()
                                       : loop::MaskAttr::get(&context, site.mask == MaskKind::Prefix ? loop::Mask::prefix : loop::Mask::whole),
                                       site.before ? b.getI64IntegerAttr(site.before) : IntegerAttr(), flag(site.first), flag(site.upto),
                                       flag(site.logSum), loop::OrderAttr());
  values[op.results[0]] = result;
  return success();
}

LogicalResult Generator::carry(const ProgramOp &op) {
  SmallVector<Value> indices;
  size_t end = op.operands.size() - (op.number != 0); // a position is the last operand
  for (size_t i = 1; i < end; ++i) {
    FailureOr<Value> number = index(op, i);
    if (failed(number))
      return failure();
    indices.push_back(*number);
  }
  auto site = FlatSymbolRefAttr::get(&context, siteSymbols[op.ref]);
  if (op.kind == OpKind::Keep)
    loop::KeepOp::create(b, at(op.loc), Type(), value(op, 0), site, indices, Value(), Value());
  else
    values[op.results[0]] = loop::RecallOp::create(b, at(op.loc), tensor(op.results[0]), site, indices, value(op, 0),
                                                     end < op.operands.size() ? value(op, end) : Value(), Value(), Value());
  return success();
}

OwningOpRef<ModuleOp> loopc::generateSource(MLIRContext &context, const Program &program, StringRef format, bool training) {
  context.loadDialect<loop::LoopDialect, arith::ArithDialect, math::MathDialect>();
  return Generator(context, program, format).run(training);
}
