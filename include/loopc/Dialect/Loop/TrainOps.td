// Training: labels, losses, the reverse of a loop, gradients of weights.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_LabelOp : Loop_Op<"label", SourceForm, [Pure]> {
  let summary = "what this token is to predict: an id; a number that is none means that nothing is asked";
  let description = [{
    ```mlir
    %l = loop.label : tensor<i32>
    ```
  }];
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
}

def Loop_OneHotOp : Loop_Op<"one_hot", SourceForm, [Pure]> {
  let summary = "1 at feature `id` and 0 elsewhere; all 0 where there is no such feature";
  let description = [{
    ```mlir
    // with %t : tensor<i32>
    %e = loop.one_hot %t : tensor<i32> -> tensor<8xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$id);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$id attr-dict `:` type($id) `->` type($result)";
}

def Loop_CrossEntropyOp : Loop_Op<"cross_entropy", SourceForm, [Pure]> {
  let summary = "-log softmax(logits)[label] of each token; 0 where the label is no id";
  let description = [{
    ```mlir
    // with %z : tensor<8xf32>, %l : tensor<i32>
    %c = loop.cross_entropy %z, %l : (tensor<8xf32>, tensor<i32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$logits, AnyRankedTensor:$label);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$logits `,` $label attr-dict `:` functional-type(operands, results)";
}

def Loop_TransposeOp : Loop_Op<"transpose", SourceForm, [Pure]> {
  let summary = "a matrix with its two feature axes exchanged";
  let description = [{
    ```mlir
    // with %W : tensor<4x8xf32>
    %V = loop.transpose %W : tensor<4x8xf32> -> tensor<8x4xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Loop_AccumulateOp : Loop_Op<"accumulate", SourceForm, [AttrSizedOperandSegments]> {
  let summary = "adds to the gradient of a weight: one sum for the whole step, however often the weight was used";
  let description = [{
    The sum over the tokens, in ascending order, of `value`; with `outer`, of value ⊗ outer; with `row`, of `value` at
    that row of the weight. Executions add in the order in which they happen: of a loop, the latest iteration first.

    ```mlir
    // with %d : tensor<4xf32>, %x : tensor<8xf32>, %l : index
    loop.weight @W : tensor<4x8xf32> tables [2]
    loop.accumulate @W[%l] %d outer(%x : tensor<8xf32>) : tensor<4xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight, Variadic<Index>:$index, AnyRankedTensor:$value,
                       Optional<AnyRankedTensor>:$outer, Optional<AnyRankedTensor>:$row);
  let assemblyFormat = [{$weight (`[` $index^ `]`)? $value (`outer` `(` $outer^ `:` type($outer) `)`)?
    (`row` `(` $row^ `:` type($row) `)`)? attr-dict `:` type($value)}];
}

def Loop_AttendAdjointOp : Loop_Op<"attend_adjoint", SourceForm, [AllTypesMatch<["q", "dq"]>, AllTypesMatch<["k", "dk"]>, AllTypesMatch<["v", "dv"]>]> {
  let summary = "the adjoints of q, k and v of a loop.attend over the tokens of the call, from that of its result";
  let description = [{
    ```mlir
    // with %q : tensor<4x64xf32>, %k : tensor<2x64xf32>, %v : tensor<2x64xf32>, %d : tensor<4x64xf32>
    %dq, %dk, %dv = loop.attend_adjoint %q, %k, %v, %d scale(0.125) : tensor<4x64xf32>, tensor<2x64xf32>, tensor<2x64xf32>, tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$q, AnyRankedTensor:$k, AnyRankedTensor:$v, AnyRankedTensor:$adjoint, F64Attr:$scale,
                       OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap, OptionalAttr<Loop_MaskAttr>:$mask,
                       OptionalAttr<I64Attr>:$before);
  let results = (outs AnyRankedTensor:$dq, AnyRankedTensor:$dk, AnyRankedTensor:$dv);
  let assemblyFormat = [{$q `,` $k `,` $v `,` $adjoint `scale` `(` $scale `)` (`window` `(` $window^ `)`)? (`softcap` `(` $softcap^ `)`)?
    (`mask` `(` $mask^ `)`)? (`before` `(` $before^ `)`)? attr-dict `:` type($q) `,` type($k) `,` type($v) `,` type($adjoint)}];
}

def Loop_RewindOp : Loop_Op<"rewind", SourceForm, [AttrSizedOperandSegments, AttrSizedResultSegments]> {
  let summary = "the reverse of a loop.recur (`count`) or loop.stack (`layers`): its iterations once more, from the last to the first";
  let description = [{
    `advance` is the body of the loop: block arguments (iteration: index, states…), it yields the next states. `reverse`
    has (iteration, states before it…, adjoints of the states after it…) and yields the adjoints of the states before
    it, then terms of the adjoints of what the body reads from outside. Results are the adjoints of the initial states
    and the sums of those terms, the latest iteration first. Which states are kept and which are found again by
    `advance` is a choice of the plan, not of the program. `window`: only the last iterations that the request names
    are reversed; no gradient passes into the state before them.

    ```mlir
    // with %s : tensor<4xf32>, %e : tensor<4xf32>, %d : tensor<4xf32>
    %ds, %de = loop.rewind @core count @loops state(%s : tensor<4xf32>) adjoint(%d : tensor<4xf32>) advance {
    ^bb0(%t: index, %x: tensor<4xf32>):
      %y = arith.mulf %x, %e : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } reverse {
    ^bb0(%t: index, %x: tensor<4xf32>, %dy: tensor<4xf32>):
      %dx = arith.mulf %dy, %e : tensor<4xf32>
      %df = arith.mulf %dy, %x : tensor<4xf32>
      loop.yield %dx, %df : tensor<4xf32>, tensor<4xf32>
    } -> tensor<4xf32> sums tensor<4xf32>
    ```
  }];
  let arguments = (ins SymbolNameAttr:$name, OptionalAttr<FlatSymbolRefAttr>:$count, OptionalAttr<I64Attr>:$layers,
                       Variadic<AnyRankedTensor>:$states, Variadic<AnyRankedTensor>:$adjoints, UnitAttr:$window);
  let results = (outs Variadic<AnyRankedTensor>:$results, Variadic<AnyRankedTensor>:$sums);
  let regions = (region SizedRegion<1>:$advance, SizedRegion<1>:$reverse);
  let assemblyFormat = [{$name (`count` $count^)? (`layers` $layers^)? (`window` $window^)? (`state` `(` $states^ `:` type($states) `)`)?
    (`adjoint` `(` $adjoints^ `:` type($adjoints) `)`)? `advance` $advance `reverse` $reverse (`->` type($results)^)? (`sums` type($sums)^)? attr-dict}];
}
