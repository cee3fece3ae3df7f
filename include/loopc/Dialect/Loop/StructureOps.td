// Model, weights, sites, counts and options of a model.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_ModelOp : Loop_Op<"model", AnyForm, [Symbol, SymbolTable, NoTerminator, NoRegionArguments, SingleBlock, IsolatedFromAbove]> {
  let summary = "one looped language model in one of the forms SOURCE, PLANNED, LANES";
  let description = [{
    Holds the model's weights, sites, counts and knobs, and its program: `loop.forward` in SOURCE and PLANNED,
    `loop.stage`s in LANES. `config` records the bound configuration for `explain` and the artefact.

    ```mlir
    loop.model @tiny phase(source) {
      loop.weight @embed.weight : tensor<8x4xf32>
      loop.forward @main {
        %t = loop.token : tensor<i32>
        %E = loop.param @embed.weight : tensor<8x4xf32>
        %x = loop.embed %t, %E : (tensor<i32>, tensor<8x4xf32>) -> tensor<4xf32>
        loop.return %x : tensor<4xf32>
      }
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Loop_PhaseAttr:$phase, OptionalAttr<Loop_ContractAttr>:$contract,
                       OptionalAttr<DictionaryAttr>:$config);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `phase` `(` $phase `)` (`contract` `(` $contract^ `)`)? (`config` $config^)? $body attr-dict";
  let hasRegionVerifier = 1;
}

def Loop_CountOp : Loop_Op<"count", AnyForm, [Symbol]> {
  let summary = "a run-time loop count with its default and legal range (both ends included)";
  let description = [{
    ```mlir
    loop.count @loops default 4 range 1, 64
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$value, I64Attr:$min, I64Attr:$max);
  let assemblyFormat = "$sym_name `default` $value `range` $min `,` $max attr-dict";
  let hasVerifier = 1;
}

def Loop_KnobOp : Loop_Op<"knob", AnyForm, [Symbol]> {
  let summary = "a scalar that every request may set (a threshold, a tolerance)";
  let description = [{
    ```mlir
    loop.knob @threshold default 1.0 range 0.0, 1.0
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, F64Attr:$value, OptionalAttr<F64Attr>:$min, OptionalAttr<F64Attr>:$max);
  let assemblyFormat = "$sym_name `default` $value (`range` $min^ `,` $max)? attr-dict";
}

def Loop_WeightOp : Loop_Op<"weight", AnyForm, [Symbol]> {
  let summary = "a trained parameter; with `tables`, one entry for each value of the indices over which it varies";
  let description = [{
    `type` is the type of one entry. The symbol is the path in which the index segments are written `{}`.
    `source` is the published tensor name with the same holes, `indices` the values that stand in them table by table
    (row-major over `tables`; -1: this entry does not exist, it is read only under a `loop.where` on the same condition).
    `row_map` names a permutation of the rows between the file and the model (`adjacent_pairs`), `row_block` its period.
    `tie` names the weight whose values are used instead of values of its own.
    `merged` lists the weights whose rows are joined, in order, into this one (`loop-merge-linears`); their `source`,
    `indices` and row maps hold for their own rows, and they have the same tables.
    `format` names how the file stores the elements, and how code keeps and reads them: a type of numbers or of blocks
    (`WeightFormats.def`) whose values are exactly those of `type`. It changes no number, only the bytes read.

    ```mlir
    loop.weight @"layers.{}.q.weight" : tensor<4x4xf32> tables [2] from "model.layers.{}.q_proj.weight" indices [0, 1]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, OptionalAttr<DenseI64ArrayAttr>:$tables,
                       OptionalAttr<StrAttr>:$source, OptionalAttr<DenseI64ArrayAttr>:$indices,
                       OptionalAttr<StrAttr>:$row_map, OptionalAttr<I64Attr>:$row_block, OptionalAttr<FlatSymbolRefAttr>:$tie,
                       OptionalAttr<FlatSymbolRefArrayAttr>:$merged, OptionalAttr<StrAttr>:$format);
  let assemblyFormat = "$sym_name `:` $type (`format` $format^)? (`tables` $tables^)? (`from` $source^)? (`indices` $indices^)? (`tie` $tie^)? (`merged` $merged^)? attr-dict";
  let hasVerifier = 1;
}

def Loop_SiteOp : Loop_Op<"site", AnyForm, [Symbol]> {
  let summary = "a place that leaves keys and values behind, or a state; with `tables`, one for each layer";
  let description = [{
    `state`: what is left is one f32 value of `dim` elements (`loop.keep`), kept in the bytes of a key and a value.

    ```mlir
    loop.site @attn kv heads 2 dim 64 tables [24]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, I64Attr:$heads, I64Attr:$dim, UnitAttr:$state, OptionalAttr<DenseI64ArrayAttr>:$tables,
                       OptionalAttr<Loop_SitePlanAttr>:$plan, OptionalAttr<FlatSymbolRefAttr>:$stage);
  let assemblyFormat = [{$sym_name `kv` `heads` $heads `dim` $dim (`state` $state^)? (`tables` $tables^)? (`plan` `(` $plan^ `)`)?
                         (`stage` $stage^)? attr-dict}];
}

def Loop_ForwardOp : Loop_Op<"forward", SourceForm, [Symbol, NoRegionArguments, SingleBlock]> {
  let summary = "the program of one token: from its id to its logits";
  let description = [{
    ```mlir
    loop.forward @main {
      %t = loop.token : tensor<i32>
      loop.return %t : tensor<i32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $body attr-dict";
}

def Loop_ReturnOp : Loop_Op<"return", AnyForm, [Terminator, Pure, ReturnLike, ParentOneOf<["ForwardOp", "StageOp"]>]> {
  let summary = "ends a forward program with the logits, or a stage with its lanes, bank and cache";
  let description = [{
    ```mlir
    loop.return %z : tensor<8xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

def Loop_ParamOp : Loop_Op<"param", AnyForm, [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "one entry of a weight; one index per table dimension";
  let description = [{
    ```mlir
    loop.weight @norm.weight : tensor<4xf32>
    %w = loop.param @norm.weight : tensor<4xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, Variadic<Index>:$index);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$weight (`[` $index^ `]`)? attr-dict `:` type($result)";
}

def Loop_TokenOp : Loop_Op<"token", SourceForm, [Pure]> {
  let summary = "the id of this token";
  let description = [{
    ```mlir
    %t = loop.token : tensor<i32>
    ```
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}
def Loop_PositionOp : Loop_Op<"position", SourceForm, [Pure]> {
  let summary = "the position of this token in its sequence, from 0";
  let description = [{
    ```mlir
    %p = loop.position : tensor<i32>
    ```
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}
def Loop_CountValueOp : Loop_Op<"count_value", AnyForm, [Pure]> {
  let summary = "the loop count of this token's request, as a number";
  let description = [{
    In LANES it is read from the lane's `limit`.

    ```mlir
    loop.count @loops default 4 range 1, 64
    %T = loop.count_value @loops : tensor<f32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$count, Optional<Loop_LanesType>:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$count (`at` $lanes^ `in` type($lanes))? attr-dict `:` type($result)";
}
def Loop_KnobValueOp : Loop_Op<"knob_value", AnyForm, [Pure]> {
  let summary = "the value of a knob in this token's request";
  let description = [{
    ```mlir
    loop.knob @threshold default 1.0
    %q = loop.knob_value @threshold : tensor<f32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$knob, Optional<Loop_LanesType>:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$knob (`at` $lanes^ `in` type($lanes))? attr-dict `:` type($result)";
}
def Loop_TapOp : Loop_Op<"tap", AnyForm> {
  let summary = "gives a value a name under which it can be observed; no effect on the numbers";
  let description = [{
    ```mlir
    // with %g : tensor<f32>
    loop.tap %g, "gate" : tensor<f32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$value, StrAttr:$name);
  let assemblyFormat = "$value `,` $name attr-dict `:` type($value)";
}
