// Depth: loops over shared weights, stacks of layers, uniform branches, draws.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_YieldOp : Loop_Op<"yield", AnyForm, [Terminator, Pure, ReturnLike, AttrSizedOperandSegments,
                                               ParentOneOf<["RecurOp", "StackOp", "WhereOp", "CheckOp", "RewindOp"]>]> {
  let summary = "the next states of a body; `exit` is the exit test of a recur that has one";
  let description = [{
    ```mlir
    // with %x : tensor<4xf32>
    %y = loop.stack @one layers 1 state(%x : tensor<4xf32>) {
    ^bb0(%l: index, %h: tensor<4xf32>):
      loop.yield %h : tensor<4xf32>
    } -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$values, Optional<AnyType>:$exit);
  let assemblyFormat = "($values^ `:` type($values))? (`exit` `(` $exit^ `:` type($exit) `)`)? attr-dict";
}

def Loop_RecurOp : Loop_Op<"recur", AnyForm, [AttrSizedOperandSegments, AttrSizedResultSegments, SingleBlock]> {
  let summary = "the looped block: the same weights in every iteration, the count known only at run time";
  let description = [{
    SOURCE, PLANNED: block arguments are (iteration: index, states…), results are the final states. A value captured
    from outside is loop invariant; nothing else is.

    LANES: operands `rounds` and `lanes` are there; block arguments are (active lanes, states…, with…, cache?). Up to
    `rounds` times the lanes with iteration < limit that have not exited run the body, their states are written back
    and their iteration grows by one; the others keep their states and write no cache row. Results are
    (lanes, states…, cache?). Row values enter only through `states` and `with`.

    ```mlir
    // with %s : tensor<4xf32>, %e : tensor<4xf32>
    %h = loop.recur @core count @loops state(%s : tensor<4xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%t: index, %x: tensor<4xf32>):
      %y = arith.addf %x, %e : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$name, FlatSymbolRefAttr:$count, Variadic<AnyRankedTensor>:$states,
                       Variadic<AnyRankedTensor>:$with, Optional<Loop_LanesType>:$lanes, Optional<Index>:$rounds,
                       Optional<Loop_CacheType>:$cache, OptionalAttr<Loop_KVAttr>:$kv, OptionalAttr<Loop_ExitAttr>:$exit,
                       OptionalAttr<Loop_RecurPlanAttr>:$plan);
  let results = (outs Optional<Loop_LanesType>:$outLanes, Variadic<AnyRankedTensor>:$results, Optional<Loop_CacheType>:$outCache);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $name `count` $count (`rounds` `(` $rounds^ `)`)? (`of` $lanes^ `:` type($lanes))? (`state` `(` $states^ `:` type($states) `)`)?
    (`with` `(` $with^ `:` type($with) `)`)? (`cache` `(` $cache^ `:` type($cache) `)`)? (`kv` `(` $kv^ `)`)?
    (`exit` `(` $exit^ `)`)? (`plan` `(` $plan^ `)`)? $body (`lanes` type($outLanes)^)? (`->` type($results)^)? (`cache` type($outCache)^)? attr-dict}];
  let hasRegionVerifier = 1;
}

def Loop_StackOp : Loop_Op<"stack", AnyForm, [AttrSizedOperandSegments, AttrSizedResultSegments, SingleBlock]> {
  let summary = "a rolled stack of layers: own weights for each index, the body is compiled once";
  let description = [{
    Block arguments are (layer: index, states…, cache?). The index runs from 0 to `layers` - 1.

    ```mlir
    // with %x : tensor<4xf32>
    %y = loop.stack @layers layers 24 state(%x : tensor<4xf32>) {
    ^bb0(%l: index, %h: tensor<4xf32>):
      %n = loop.act relu %h : tensor<4xf32>
      loop.yield %n : tensor<4xf32>
    } -> tensor<4xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$name, I64Attr:$layers, Variadic<AnyRankedTensor>:$states, Optional<Loop_CacheType>:$cache);
  let results = (outs Variadic<AnyRankedTensor>:$results, Optional<Loop_CacheType>:$outCache);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $name `layers` $layers (`state` `(` $states^ `:` type($states) `)`)? (`cache` `(` $cache^ `:` type($cache) `)`)? $body
    (`->` type($results)^)? (`cache` type($outCache)^)? attr-dict}];
  let hasRegionVerifier = 1;
}

def Loop_WhereOp : Loop_Op<"where", AnyForm, [AttrSizedOperandSegments, AttrSizedResultSegments, SingleBlock]> {
  let summary = "runs the body where the condition holds; elsewhere the states are kept and nothing is written";
  let description = [{
    Block arguments are (states…, cache?). A condition of type `i1` (of indices, counts, options) is uniform: one branch
    for all rows. A condition per row (`tensor<i1>`) makes a subset of rows.

    ```mlir
    // with %c : i1, %v : tensor<4xf32>
    %y = loop.where %c : i1 state(%v : tensor<4xf32>) {
    ^bb0(%x: tensor<4xf32>):
      %n = arith.addf %x, %x : tensor<4xf32>
      loop.yield %n : tensor<4xf32>
    } -> tensor<4xf32>
    ```
  }];
  let arguments = (ins AnyType:$condition, Variadic<AnyRankedTensor>:$states, Optional<Loop_CacheType>:$cache);
  let results = (outs Variadic<AnyRankedTensor>:$results, Optional<Loop_CacheType>:$outCache);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{$condition `:` type($condition) (`state` `(` $states^ `:` type($states) `)`)? (`cache` `(` $cache^ `:` type($cache) `)`)? $body
    (`->` type($results)^)? (`cache` type($outCache)^)? attr-dict}];
  let hasRegionVerifier = 1;
}

def Loop_CheckOp : Loop_Op<"check", AnyForm, [AttrSizedOperandSegments, AttrSizedResultSegments, SingleBlock]> {
  let summary = "an exit test beside the iteration: runs only where a test is due; may read the readout as if the loop ended now";
  let description = [{
    Block arguments are (states…, cache?), the body yields them and the flag. Elsewhere the states are kept and the flag
    is false. In SOURCE and PLANNED it stands in the body of the scheduled recur, which yields its flag as exit; a site
    of the readout that attends here writes the token's own row, which the final readout writes again. In LANES it
    follows the recur and becomes the stages `check` and, behind a `loop.fold`, `decide`.

    ```mlir
    // with %e : tensor<f32>, %p : tensor<f32>
    %q, %stop = loop.check state(%p : tensor<f32>) {
    ^bb0(%old: tensor<f32>):
      %less = arith.cmpf olt, %e, %old : tensor<f32>
      loop.yield %e : tensor<f32> exit(%less : tensor<i1>)
    } -> tensor<f32> exit tensor<i1>
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$states, Optional<Loop_CacheType>:$cache);
  let results = (outs Variadic<AnyRankedTensor>:$results, AnyRankedTensor:$stop, Optional<Loop_CacheType>:$outCache);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{(`state` `(` $states^ `:` type($states) `)`)? (`cache` `(` $cache^ `:` type($cache) `)`)? $body
    (`->` type($results)^)? `exit` type($stop) (`cache` type($outCache)^)? attr-dict}];
  let hasRegionVerifier = 1;
}

def Loop_NoiseOp : Loop_Op<"noise", SourceForm, [Pure]> {
  let summary = "a named draw: an input of every token with a default distribution, keyed by (seed, name, position)";
  let description = [{
    `iteration`: another value in each iteration of the loop around; `shared`: one for all sequences and positions.

    ```mlir
    %s0 = loop.noise "s0" law(#loop.law<truncated_normal, std = 0.02, cut = 3.0>) : tensor<32xf32>
    ```
  }];
  let arguments = (ins StrAttr:$name, Loop_LawAttr:$law, UnitAttr:$iteration, UnitAttr:$shared);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$name `law` `(` $law `)` (`iteration` $iteration^)? (`shared` $shared^)? attr-dict `:` type($result)";
}

def Loop_StopGradientOp : Loop_Op<"stop_gradient", AnyForm, [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "the identity; in training no gradient passes";
  let description = [{
    ```mlir
    // with %x : tensor<4xf32>
    %y = loop.stop_gradient %x : tensor<4xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}
