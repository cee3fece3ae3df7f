// The LANES form: stages, schedule, state bank, columns, explicit K/V rows.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_BankOp : Loop_Op<"bank", LanesForm, [Symbol]> {
  let summary = "fields that every state bank slot has";
  let description = [{
    ```mlir
    loop.bank @slot [#loop.field<h : tensor<4xf32>>, #loop.field<"obs.gate" : tensor<f32>>]
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Loop_FieldArrayAttr:$fields);
  let assemblyFormat = "$sym_name $fields attr-dict";
}
def Loop_DrawOp : Loop_Op<"draw", LanesForm, [Symbol]> {
  let summary = "a named draw: the runtime fills bank field `field` of every lane before the first stage runs";
  let description = [{
    The values of a request are given with it, or drawn from `law`, keyed by (seed, name, position).

    ```mlir
    loop.draw @s0 field "draw.s0" law(#loop.law<truncated_normal, std = 0.02, cut = 3.0>) : tensor<32xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$field, Loop_LawAttr:$law, TypeAttr:$type, UnitAttr:$iteration, UnitAttr:$shared);
  let assemblyFormat = "$sym_name `field` $field `law` `(` $law `)` `:` $type (`iteration` $iteration^)? (`shared` $shared^)? attr-dict";
}
def Loop_ScheduleOp : Loop_Op<"schedule", LanesForm> {
  let summary = "the ways a lane takes through the stages; the first stage named is where it is born";
  let description = [{
    ```mlir
    loop.schedule [#loop.edge<prelude -> core, always>, #loop.edge<core -> core, running>, #loop.edge<core -> head, finished>]
    ```
  }];
  let arguments = (ins Loop_EdgeArrayAttr:$edges);
  let assemblyFormat = "$edges attr-dict";
}
def Loop_StageOp : Loop_Op<"stage", LanesForm, [Symbol, SingleBlock, IsolatedFromAbove]> {
  let summary = "advances a vector of lanes by one step";
  let description = [{
    Block arguments are (lanes, rounds: index, bank, cache?). Returns (bank, cache?, values…): the stage `head` returns
    the logits too. The form of the stages is described in lib/Transforms/ToLanes.cpp.

    ```mlir
    loop.model @example phase(lanes) {
      loop.stage @head {
      ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
        %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x8xf32, #loop.rows<lane>>
        loop.return %b, %h : !loop.bank<@slot>, tensor<?x8xf32, #loop.rows<lane>>
      }
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $body attr-dict";
}
def Loop_ColumnOp : Loop_Op<"column", LanesForm, [Pure]> {
  let summary = "a column of the lanes as a value";
  let description = [{
    ```mlir
    // with %L : !loop.lanes<lane>
    %p = loop.column position of %L : !loop.lanes<lane> -> tensor<?xi32, #loop.rows<lane>>
    ```
  }];
  let arguments = (ins Loop_ColumnAttr:$column, Loop_LanesType:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$column `of` $lanes attr-dict `:` type($lanes) `->` type($result)";
}
def Loop_LoadOp : Loop_Op<"load", LanesForm> {
  let summary = "a bank field of every lane's slot";
  let description = [{
    ```mlir
    // with %b : !loop.bank<@slot>, %L : !loop.lanes<lane>
    %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #loop.rows<lane>>
    ```
  }];
  let arguments = (ins Loop_BankType:$bank, StrAttr:$field, Loop_LanesType:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$bank `[` $field `]` `at` $lanes attr-dict `:` type($bank) `,` type($lanes) `->` type($result)";
}
def Loop_StoreOp : Loop_Op<"store", LanesForm> {
  let summary = "writes a bank field of every lane's slot";
  let description = [{
    ```mlir
    // with %b : !loop.bank<@slot>, %L : !loop.lanes<lane>, %h : tensor<?x4xf32, #loop.rows<lane>>
    %c = loop.store %h to %b["h"] at %L : tensor<?x4xf32, #loop.rows<lane>>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$value, Loop_BankType:$bank, StrAttr:$field, Loop_LanesType:$lanes);
  let results = (outs Loop_BankType:$result);
  let assemblyFormat = "$value `to` $bank `[` $field `]` `at` $lanes attr-dict `:` type($value) `,` type($bank) `,` type($lanes) `->` type($result)";
}
def Loop_SpreadOp : Loop_Op<"spread", LanesForm, [Pure]> {
  let summary = "the same value (of parameters, constants) for every row";
  let description = [{
    ```mlir
    // with %w : tensor<4xf32>, %L : !loop.lanes<lane>
    %x = loop.spread %w over %L : tensor<4xf32>, !loop.lanes<lane> -> tensor<?x4xf32, #loop.rows<lane>>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, Loop_LanesType:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `over` $lanes attr-dict `:` type($input) `,` type($lanes) `->` type($result)";
  let hasVerifier = 1;
}
def Loop_KVAppendOp : Loop_Op<"kv.append", LanesForm> {
  let summary = "every lane writes its key and value row of this site into the plane `write(iteration)` of the site's plan";
  let description = [{
    ```mlir
    // with %k : tensor<?x2x4xf32, #loop.rows<lane>>, %c : !loop.cache<@core>, %L : !loop.lanes<lane>, %l : index
    %d = loop.kv.append %k, %k to %c at @attn[%l] lanes %L : tensor<?x2x4xf32, #loop.rows<lane>>, tensor<?x2x4xf32, #loop.rows<lane>>, !loop.cache<@core>, !loop.lanes<lane> -> !loop.cache<@core>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$k, AnyRankedTensor:$v, Loop_CacheType:$cache, FlatSymbolRefAttr:$site, Variadic<Index>:$index,
                       Loop_LanesType:$lanes);
  let results = (outs Loop_CacheType:$result);
  let assemblyFormat = [{$k `,` $v `to` $cache `at` $site (`[` $index^ `]`)? `lanes` $lanes attr-dict
    `:` type($k) `,` type($v) `,` type($cache) `,` type($lanes) `->` type($result)}];
}
def Loop_KVAttendOp : Loop_Op<"kv.attend", LanesForm, [AttrSizedOperandSegments]> {
  let summary = "attention of every lane over rows of plane `read(iteration)`, positions 0 … its own, or under a `mask` those of the prompt or sequence too";
  let description = [{
    `sparse`: a row whose key is not a number is no row; so lanes that are not meant leave one. The rest is as in
    loop.attend.

    ```mlir
    // with %q : tensor<?x2x4xf32, #loop.rows<lane>>, %c : !loop.cache<@core>, %L : !loop.lanes<lane>, %l : index
    %o = loop.kv.attend %q in %c at @attn[%l] lanes %L scale(0.5) : tensor<?x2x4xf32, #loop.rows<lane>>, !loop.cache<@core>, !loop.lanes<lane> -> tensor<?x2x4xf32, #loop.rows<lane>>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$q, Optional<AnyRankedTensor>:$least, Loop_CacheType:$cache, FlatSymbolRefAttr:$site, Variadic<Index>:$index, Loop_LanesType:$lanes,
                       F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap, OptionalAttr<Loop_MaskAttr>:$mask, OptionalAttr<I64Attr>:$before,
                       UnitAttr:$first, UnitAttr:$upto, UnitAttr:$log_sum, UnitAttr:$sparse, OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$q `in` $cache `at` $site (`[` $index^ `]`)? `lanes` $lanes `scale` `(` $scale `)` (`window` `(` $window^ `)`)?
    (`softcap` `(` $softcap^ `)`)? (`mask` `(` $mask^ `)`)? (`before` `(` $before^ `)`)? (`first` $first^)? (`upto` $upto^)? (`log_sum` $log_sum^)? (`sparse` $sparse^)?
    (`least` `(` $least^ `:` type($least) `)`)? (`order` `(` $order^ `)`)? attr-dict `:` type($q) `,` type($cache) `,` type($lanes) `->` type($result)}];
}
