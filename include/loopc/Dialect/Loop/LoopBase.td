// The `loop` dialect: recurrent depth, K/V planes and row spaces of looped language models.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_DIALECT_LOOP_LOOPBASE
#define LOOPC_DIALECT_LOOP_LOOPBASE

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/Traits.td"
include "loopc/Dialect/Loop/LoopInterfaces.td"

def Loop_Dialect : Dialect {
  let name = "loop";
  let cppNamespace = "::mlir::loop";
  let summary = "looped (depth-recurrent) language models, from the researcher's page to stages over lanes";
  let description = [{
    A model is a program over *tokens*. It passes through three forms of this dialect:

    - **SOURCE**: a value is one token's features (`tensor<768xf32>`); batch and position do not exist.
    - **PLANNED**: the same ops with every choice written down (loop counts, K/V planes, contract, orders).
    - **LANES**: values have a row dimension (`tensor<?x768xf32, #loop.rows<lane>>`), a lane is one token replica, and
      the model is cut into *stages* that advance a vector of lanes.

    The fourth form, TASK, is the `task` dialect.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let dependentDialects = ["arith::ArithDialect", "math::MathDialect", "tensor::TensorDialect"];
}

//===-- enums ----------------------------------------------------------------------------------------------------===//
class Loop_Enum<string name, string summary, list<I32EnumAttrCase> cases> : I32EnumAttr<name, summary, cases> {
  let cppNamespace = "::mlir::loop";
  let genSpecializedAttr = 0;
}
class Loop_EnumAttr<EnumAttrInfo info, string mnemonic> : EnumAttr<Loop_Dialect, info, mnemonic> {
  let assemblyFormat = "$value";
}

def Loop_Phase : Loop_Enum<"Phase", "the form a model is in", [
  I32EnumAttrCase<"source", 0>, I32EnumAttrCase<"planned", 1>, I32EnumAttrCase<"lanes", 2>]>;
def Loop_PhaseAttr : Loop_EnumAttr<Loop_Phase, "phase">;

def Loop_NormKind : Loop_Enum<"NormKind", "which normalisation", [
  I32EnumAttrCase<"rms", 0>, I32EnumAttrCase<"layer", 1>]>;
def Loop_NormKindAttr : Loop_EnumAttr<Loop_NormKind, "norm_kind">;

def Loop_ActKind : Loop_Enum<"ActKind", "pointwise function with a name in the field", [
  I32EnumAttrCase<"silu", 0>, I32EnumAttrCase<"gelu", 1>, I32EnumAttrCase<"gelu_tanh", 2>, I32EnumAttrCase<"relu", 3>,
  I32EnumAttrCase<"sigmoid", 4>, I32EnumAttrCase<"softplus", 5>, I32EnumAttrCase<"tanh", 6>]>;
def Loop_ActKindAttr : Loop_EnumAttr<Loop_ActKind, "act_kind">;

def Loop_ReduceKind : Loop_Enum<"ReduceKind", "how a feature axis is reduced", [
  I32EnumAttrCase<"sum", 0>, I32EnumAttrCase<"max", 1>, I32EnumAttrCase<"min", 2>, I32EnumAttrCase<"mean", 3>,
  I32EnumAttrCase<"argmax", 4>, I32EnumAttrCase<"last", 5>, I32EnumAttrCase<"first", 6>]>;
def Loop_ReduceKindAttr : Loop_EnumAttr<Loop_ReduceKind, "reduce_kind">;

def Loop_Pairs : Loop_Enum<"Pairs", "which two features a rotation turns", [
  I32EnumAttrCase<"halves", 0>, I32EnumAttrCase<"adjacent", 1>]>;
def Loop_PairsAttr : Loop_EnumAttr<Loop_Pairs, "pairs">;

def Loop_KVMap : Loop_Enum<"KVMap", "which plane an iteration writes", [
  I32EnumAttrCase<"depth_indexed", 0>, I32EnumAttrCase<"single", 1>, I32EnumAttrCase<"ring", 2>,
  I32EnumAttrCase<"first_then_shared", 3>, I32EnumAttrCase<"stride", 4>, I32EnumAttrCase<"anchor", 5>,
  I32EnumAttrCase<"last", 6>, I32EnumAttrCase<"boundaries", 7>, I32EnumAttrCase<"recompute", 8>]>;
def Loop_KVUnit : Loop_Enum<"KVUnit", "what a K/V map counts", [
  I32EnumAttrCase<"recurrence", 0>, I32EnumAttrCase<"layer_step", 1>]>;
def Loop_KVKeep : Loop_Enum<"KVKeep", "which row of a finished token stays in the one plane that is kept", [
  I32EnumAttrCase<"last", 0>, I32EnumAttrCase<"first", 1>, I32EnumAttrCase<"mean", 2>]>;
def Loop_Holes : Loop_Enum<"Holes", "what is read where an older token wrote no plane", [
  I32EnumAttrCase<"refuse", 0>, I32EnumAttrCase<"last_exited", 1>, I32EnumAttrCase<"always_last", 2>,
  I32EnumAttrCase<"latest", 3>, I32EnumAttrCase<"skip", 4>, I32EnumAttrCase<"zero", 5>,
  I32EnumAttrCase<"last_if_hole", 6>]>;
def Loop_CallOrder : Loop_Enum<"CallOrder", "the order in which tokens and iterations of a prompt are processed", [
  I32EnumAttrCase<"free", 0>, I32EnumAttrCase<"token", 1>, I32EnumAttrCase<"pass", 2>, I32EnumAttrCase<"by_call", 3>]>;
def Loop_Mask : Loop_Enum<"Mask", "which keys a token sees", [
  I32EnumAttrCase<"causal", 0>, I32EnumAttrCase<"prefix", 1>, I32EnumAttrCase<"whole", 2>]>;
def Loop_MaskAttr : Loop_EnumAttr<Loop_Mask, "mask">;
def Loop_Grain : Loop_Enum<"Grain", "what leaves, or is called, together", [
  I32EnumAttrCase<"lane", 0>, I32EnumAttrCase<"sequence", 1>, I32EnumAttrCase<"call", 2>, I32EnumAttrCase<"prompt", 3>]>;
def Loop_Lag : Loop_Enum<"Lag", "how far an older token must be ahead", [
  I32EnumAttrCase<"none", 0>, I32EnumAttrCase<"one", 1>, I32EnumAttrCase<"end", 2>]>;
def Loop_Place : Loop_Enum<"Place", "who runs the iterations", [
  I32EnumAttrCase<"scheduled", 0>, I32EnumAttrCase<"inlined", 1, "inline">]>;
def Loop_OrderKind : Loop_Enum<"OrderKind", "the order of a reduction", [
  I32EnumAttrCase<"chain", 0>, I32EnumAttrCase<"panel", 1>, I32EnumAttrCase<"keys", 2>]>;
def Loop_LawKind : Loop_Enum<"LawKind", "a distribution", [
  I32EnumAttrCase<"constant", 0>, I32EnumAttrCase<"normal", 1>, I32EnumAttrCase<"truncated_normal", 2>,
  I32EnumAttrCase<"uniform", 3>, I32EnumAttrCase<"standardised_normal", 4>, I32EnumAttrCase<"position", 5>]>;
def Loop_Column : Loop_Enum<"Column", "a column of the lanes", [
  I32EnumAttrCase<"token", 0>, I32EnumAttrCase<"position", 1>, I32EnumAttrCase<"iteration", 2>,
  I32EnumAttrCase<"limit", 3>]>;
def Loop_ColumnAttr : Loop_EnumAttr<Loop_Column, "column">;
def Loop_EdgeWhen : Loop_Enum<"EdgeWhen", "when a lane takes an edge of the schedule", [
  I32EnumAttrCase<"always", 0>, I32EnumAttrCase<"running", 1>, I32EnumAttrCase<"finished", 2>]>;

//===-- attributes -----------------------------------------------------------------------------------------------===//
/// A name, printed without quotes where it is an identifier.
class Loop_Name<string desc> : StringRefParameter<desc> {
  let parser = "::mlir::loop::parseName($_parser)";
  let printer = "$_printer.printKeywordOrString($_self)";
}

/// A name: printed bare where it is an identifier (dots allowed), else in quotes.
class Loop_NameParameter<string desc> : StringRefParameter<desc> {
  let parser = [{[&]() -> ::mlir::FailureOr<std::string> {
    std::string name;
    if ($_parser.parseKeywordOrString(&name))
      return ::mlir::failure();
    return name;
  }()}];
  let printer = "$_printer.printKeywordOrString($_self)";
}
class Loop_Attr<string name, string mnem> : AttrDef<Loop_Dialect, name> { let mnemonic = mnem; }

def Loop_RowsAttr : Loop_Attr<"Rows", "rows"> {
  let summary = "row space of dimension 0 of a tensor";
  let description = [{
    The encoding of a tensor that varies over rows: dimension 0 has one row per member of the named space
    (`lane`, or a subset that an op makes). Two spaces never mix in one op.
  }];
  let parameters = (ins Loop_Name<"name of the space">:$space);
  let assemblyFormat = "`<` $space `>`";
}
def Loop_KVAttr : Loop_Attr<"KV", "kv"> {
  let summary = "K/V policy of a recurrence: planes written, rule for holes, order of a prompt";
  let description = [{
    The planes of a map are those of `loopc/runtime/KvMaps.def` with `size` and `period` as its sizes. `coda_overwrites`
    is a published accident: the planes of the coda are numbered after those of T iterations, and where a map names
    such a number, the coda's rows take the place of the loop's.
  }];
  let parameters = (ins EnumParameter<Loop_KVMap>:$map, DefaultValuedParameter<"int64_t", "0">:$size,
                        DefaultValuedParameter<"int64_t", "0">:$period,
                        DefaultValuedParameter<"KVUnit", "KVUnit::recurrence">:$unit,
                        DefaultValuedParameter<"KVKeep", "KVKeep::last">:$keep,
                        DefaultValuedParameter<"bool", "false">:$codaOverwrites,
                        DefaultValuedParameter<"Holes", "Holes::refuse">:$holes,
                        DefaultValuedParameter<"CallOrder", "CallOrder::free">:$order);
  let assemblyFormat = "`<` $map (`size` $size^)? (`period` $period^)? (`unit` $unit^)? (`keep` $keep^)? (`coda_overwrites` $codaOverwrites^)? (`holes` $holes^)? (`order` $order^)? `>`";
  let extraClassDeclaration = [{
    /// True if several steps write one plane.
    bool shares() const { return getMap() != KVMap::depth_indexed && getMap() != KVMap::recompute; }
    /// True if all iterations write row 0 of a table of one plane.
    bool onePlane() const {
      return getMap() == KVMap::recompute || (getMap() == KVMap::single && getKeep() == KVKeep::last &&
                                               getUnit() == KVUnit::recurrence && getOrder() != CallOrder::pass);
    }
    /// As a spec writes it.
    std::string describe() const;
  }];
}
def Loop_ExitAttr : Loop_Attr<"Exit", "exit"> {
  let summary = "an exit test: what leaves together, from which iteration on, how often it is asked";
  let parameters = (ins Loop_Name<"name">:$name, EnumParameter<Loop_Grain>:$grain,
                        DefaultValuedParameter<"int64_t", "1">:$min, DefaultValuedParameter<"int64_t", "1">:$every);
  let assemblyFormat = "`<` $name `,` $grain (`min` $min^)? (`every` $every^)? `>`";
}
def Loop_LawAttr : Loop_Attr<"Law", "law"> {
  let summary = "distribution of a named draw; cut is in standard deviations";
  let parameters = (ins EnumParameter<Loop_LawKind>:$kind, "::mlir::FloatAttr":$meanAttr, "::mlir::FloatAttr":$stdAttr,
                        "::mlir::FloatAttr":$cutAttr);
  let builders = [AttrBuilder<(ins "LawKind":$kind, CArg<"double", "0.0">:$mean, CArg<"double", "1.0">:$std,
                                   CArg<"double", "0.0">:$cut), [{
    Type f64 = Float64Type::get($_ctxt);
    return $_get($_ctxt, kind, FloatAttr::get(f64, mean), FloatAttr::get(f64, std), FloatAttr::get(f64, cut));
  }]>];
  let extraClassDeclaration = [{
    double getMean() const { return getMeanAttr().getValueAsDouble(); }
    double getStd() const { return getStdAttr().getValueAsDouble(); }
    double getCut() const { return getCutAttr().getValueAsDouble(); }
  }];
  let hasCustomAssemblyFormat = 1;
}
def Loop_OrderAttr : Loop_Attr<"Order", "order"> {
  let summary = "the one order in which a reduction is done on the target";
  let description = [{
    - `chain`: one fused multiply-add chain over ascending k, from +0.
    - `panel, n`: partial sums of n neighbours (a fixed tree), panels added ascending.
    - `keys, b, s`: blocks of b keys anchored at logical positions, partial results per s keys merged ascending.
  }];
  let parameters = (ins EnumParameter<Loop_OrderKind>:$kind, DefaultValuedParameter<"int64_t", "0">:$size,
                        DefaultValuedParameter<"int64_t", "0">:$split);
  let assemblyFormat = "`<` $kind (`,` $size^)? (`,` $split^)? `>`";
}
def Loop_SitePlanAttr : Loop_Attr<"SitePlan", "site_plan"> {
  let summary = "planes of a site: written and read plane as functions of iteration and layer, how many, row type";
  let description = [{
    A plane that depends on the layer `l` has rows of one layer; else a row holds all layers of the site.
  }];
  let parameters = (ins AttrParameter<"::mlir::AffineMap", "(d, l) -> plane">:$write,
                        AttrParameter<"::mlir::AffineMap", "(d, l) -> plane">:$read,
                        AttrParameter<"::mlir::AffineMap", "(T) -> planes">:$planes, "::mlir::Type":$rows);
  let assemblyFormat = "`<` `write` $write `,` `read` $read `,` `planes` $planes `,` `rows` $rows `>`";
  let extraClassDeclaration = [{
    bool ofLayers() const { return getWrite().isFunctionOfDim(1); }
  }];
}
def Loop_RecurPlanAttr : Loop_Attr<"RecurPlan", "recur_plan"> {
  let summary = "where a recurrence runs and how often";
  let parameters = (ins EnumParameter<Loop_Place>:$place, "int64_t":$count, "int64_t":$min, "int64_t":$max);
  let assemblyFormat = "`<` $place `,` `default` $count `,` `range` $min `,` $max `>`";
}
def Loop_ContractAttr : Loop_Attr<"Contract", "contract"> {
  let summary = "which lanes may share a call; derived from the ops and policies, checked at the door of every call";
  let parameters = (ins EnumParameter<Loop_Lag>:$lag, EnumParameter<Loop_Grain>:$group, EnumParameter<Loop_CallOrder>:$order,
                        EnumParameter<Loop_Grain>:$couple);
  let assemblyFormat = "`<` `lag` $lag `,` `group` $group `,` `order` $order `,` `couple` $couple `>`";
}
def Loop_FieldAttr : Loop_Attr<"Field", "field"> {
  let summary = "a named value that lives in a state bank slot between stages";
  let parameters = (ins Loop_Name<"name">:$name, "::mlir::Type":$type);
  let assemblyFormat = "`<` $name `:` $type `>`";
}
def Loop_FieldArrayAttr : TypedArrayAttrBase<Loop_FieldAttr, "fields of a bank">;
def Loop_EdgeAttr : Loop_Attr<"Edge", "edge"> {
  let summary = "where a lane goes after a stage";
  let parameters = (ins Loop_Name<"stage">:$from, Loop_Name<"stage">:$to, EnumParameter<Loop_EdgeWhen>:$when);
  let assemblyFormat = "`<` $from `->` $to `,` $when `>`";
}
def Loop_EdgeArrayAttr : TypedArrayAttrBase<Loop_EdgeAttr, "edges of a schedule">;

//===-- types ----------------------------------------------------------------------------------------------------===//
class Loop_Type<string name, string mnem> : TypeDef<Loop_Dialect, name> { let mnemonic = mnem; }
def Loop_LanesType : Loop_Type<"Lanes", "lanes"> {
  let summary = "the ordered rows of a space with their columns (token, position, sequence, slot, iteration, limit)";
  let parameters = (ins Loop_Name<"row space">:$space);
  let assemblyFormat = "`<` $space `>`";
}
def Loop_BankType : Loop_Type<"Bank", "bank"> {
  let summary = "the state bank of a model; linear: used up once, threaded by SSA";
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$bank);
  let assemblyFormat = "`<` $bank `>`";
}
def Loop_CacheType : Loop_Type<"Cache", "cache"> {
  let summary = "the K/V rows of one stage; linear: used up once, threaded by SSA";
  let parameters = (ins "::mlir::FlatSymbolRefAttr":$stage);
  let assemblyFormat = "`<` $stage `>`";
}

//===-- op base --------------------------------------------------------------------------------------------------===//
class Loop_Op<string mnemonic, string phases, list<Trait> traits = []>
    : Op<Loop_Dialect, mnemonic, !listconcat(traits, [Loop_PhaseOpInterface])> {
  string baseDeclaration = "static unsigned getLegalPhases() { return " # phases # "; }\n";
  let extraClassDeclaration = baseDeclaration;
}
defvar SourceForm = "1u | 2u";
defvar LanesForm = "4u";
defvar AnyForm = "7u";

#endif
