// The passes from SOURCE to LANES, in the order in which the pipeline runs them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef LOOPC_TRANSFORMS_PASSES
#define LOOPC_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

class ModelPass<string name> : Pass<name, "::mlir::loop::ModelOp"> {
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::loop::LoopDialect", "::mlir::tensor::TensorDialect"];
}

def LoopCheck : ModelPass<"loop-check"> {
  let summary = "checks the invariants of the form a model is in";
  let description = [{
    S1-S6 of SOURCE, P1-P7 of PLANNED, L1-L7 of LANES as far as the ops' own verifiers do not, and that every op is
    legal in the form. `phase` is the form expected; by default the one the model names.
  }];
  let options = [Option<"phase", "phase", "std::string", "\"\"", "expected form: source, planned or lanes">];
}

def LoopSimplify : ModelPass<"loop-simplify"> {
  let summary = "says in fewer ops what is the same to the bit";
}

def LoopPlanCounts : ModelPass<"loop-plan-counts"> {
  let summary = "decides who runs each recurrence and its default count";
  let description = [{
    The outermost recurrence on the way from the token to the logits is `scheduled`, all others are `inline`.
    The default count is `loops` if positive; else, with `max-ms-per-token`, the largest count of the range whose
    modelled decode time fits; else the count's own default.

    Model of the time of one token, batch of one: the bytes of all weights read (a layer's weights once an iteration)
    divided by `gigabytes-per-second`. Decode of one sequence is bound by memory on every machine this targets, so
    arithmetic is left out.
  }];
  let options = [
    Option<"loops", "loops", "int64_t", "0", "default loop count; 0: not given">,
    Option<"maxMsPerToken", "max-ms-per-token", "double", "0.0", "budget of one decoded token; 0: none">,
    Option<"gigabytesPerSecond", "gigabytes-per-second", "double", "20.0", "memory bandwidth of the cost model">,
    Option<"weightBytes", "weight-bytes", "double", "4", "bytes of a stored matrix element">];
}

def LoopPlanKV : ModelPass<"loop-plan-kv"> {
  let summary = "writes down which plane each iteration writes and reads, and refuses policies that have no meaning";
  let options = [
    Option<"policy", "policy", "std::string", "\"\"", "map that replaces the spec's (KvMaps.def); last_exited, latest and always_last are depth_indexed with a rule for holes">,
    Option<"size", "size", "int64_t", "0", "first size of the map: ring(size), anchor(size, period)">,
    Option<"period", "period", "int64_t", "0", "second size of the map">,
    Option<"unit", "unit", "std::string", "\"\"", "what the map counts: recurrence, layer_step">,
    Option<"keep", "keep", "std::string", "\"\"", "row of a finished token that single keeps: last, first, mean">,
    Option<"codaOverwrites", "coda-overwrites", "bool", "false", "published accident: rows of the coda take the place of the loop's where the map names their planes">,
    Option<"holes", "holes", "std::string", "\"\"", "rule for holes that replaces the spec's">,
    Option<"order", "order", "std::string", "\"\"", "order of a prompt that replaces the spec's">,
    Option<"rows", "rows", "std::string", "\"f32\"", "element type of stored rows: f32, bf16, f16">,
    Option<"leaving", "leaving", "bool", "false", "an exit ends the iterations of its lane; else it only selects the readout">];
}

def LoopPlanContract : ModelPass<"loop-plan-contract"> {
  let summary = "derives which lanes may share a call from the ops and policies";
}

def LoopHoist : ModelPass<"loop-hoist"> {
  let summary = "moves what does not change out of recurrences and stacks";
}

def LoopPlanNumerics : ModelPass<"loop-plan-numerics"> {
  let summary = "writes every rounding as an op";
  let description = [{
    bf16, f16: matrices of linear and tables of embed have this type; the input of a linear is rounded by
    `arith.truncf`; sums, norms, residuals and gains are f32. K and V get the row type of their site's plan.
    f32: a matrix that has a `format` keeps it where only products and embeddings read it and its rows are whole
    blocks. A format of blocks (q8_0, …): every such matrix gets it.
  }];
  let options = [Option<"dtype", "dtype", "std::string", "\"f32\"", "type or format of matrices">];
}

def LoopPlanOrders : ModelPass<"loop-plan-orders"> {
  let summary = "gives every reducing op the order in which the target sums";
  let options = [
    Option<"panel", "panel", "int64_t", "32", "columns of a panel (norm, softmax, reduce)">,
    Option<"keys", "keys", "int64_t", "64", "keys of a block of attention">,
    Option<"split", "split", "int64_t", "512", "keys after which partial results of attention are merged">];
}

def LoopMergeLinears : ModelPass<"loop-merge-linears"> {
  let summary = "joins linears of one input into one (q, k, v; gate and up)";
  let description = "Columns are independent sums, so no bit changes.";
}

def LoopToLanes : ModelPass<"loop-to-lanes"> {
  let summary = "adds the row dimension and explicit K/V rows; the program becomes one stage `step`";
  let options = [ListOption<"observe", "observe", "std::string", "names of taps to keep; `*` keeps all">];
}

def LoopSplitStages : ModelPass<"loop-split-stages"> {
  let summary = "cuts the stage `step` into prelude, core, coda and head, with bank fields between them";
}

def LoopReverse : ModelPass<"loop-reverse"> {
  let summary = "appends to every program that returns a loss its reverse: the gradient of every weight it uses";
  let description = [{
    A program named `train…` returns the loss, whose mean over the tokens of the call is what is minimised. Loops and
    stacks are reversed rolled (`loop.rewind`); every use of a weight adds to one `loop.accumulate`d sum.
  }];
}

#endif
