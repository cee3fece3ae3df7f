// The ops that cross positions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_AttendOp : Loop_Op<"attend", SourceForm, [AttrSizedOperandSegments]> {
  let summary = "softmax attention of this token over the keys its site has left at positions up to its own";
  let description = [{
    q is [heads, dim], k is [kv heads, dim], v is [kv heads, dim]; heads must be a multiple of kv heads and query head j
    uses key head j / (heads / kv heads). All tokens of a chunk write their key and value, then all read. `window` w: the
    last w keys, the own included. `softcap` c: scores become c * tanh(score / c). `mask` prefix: besides older positions
    all of the prompt are seen, by the prompt too; whole: all positions of the sequence. `before` n: the keys end n
    positions before the own; without a key the result is zero. `first`: the rows that iteration 0 left; `upto`: those of
    all iterations up to the own, a token without one is not seen there. `log_sum`: the result has one more feature, the
    logarithm of the sum of the exponentials of the scores. `least` [heads]: only keys whose product with the query is at
    least that number are seen; without any the result is zero. Attends of one site in one block have the same k and v.
    Sources: Vaswani et al., arXiv 1706.03762; Ainslie et al., arXiv 2305.13245.

    ```mlir
    // with %q : tensor<4x64xf32>, %k : tensor<2x64xf32>, %v : tensor<2x64xf32>, %l : index
    loop.site @attn kv heads 2 dim 64 tables [24]
    %o = loop.attend %q, %k, %v at @attn[%l] scale(0.125) : tensor<4x64xf32>, tensor<2x64xf32>, tensor<2x64xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$q, AnyRankedTensor:$k, AnyRankedTensor:$v, Optional<AnyRankedTensor>:$least,
                       FlatSymbolRefAttr:$site, Variadic<Index>:$index, F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap, OptionalAttr<Loop_MaskAttr>:$mask, OptionalAttr<I64Attr>:$before,
                       UnitAttr:$first, UnitAttr:$upto, UnitAttr:$log_sum, OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$q `,` $k `,` $v `at` $site (`[` $index^ `]`)? `scale` `(` $scale `)` (`window` `(` $window^ `)`)?
    (`softcap` `(` $softcap^ `)`)? (`mask` `(` $mask^ `)`)? (`before` `(` $before^ `)`)? (`first` $first^)? (`upto` $upto^)? (`log_sum` $log_sum^)? (`least` `(` $least^ `:` type($least) `)`)? (`order` `(` $order^ `)`)? attr-dict `:` type($q) `,` type($k) `,` type($v) `->` type($result)}];
  let hasVerifier = 1;
}
def Loop_RecallOp : Loop_Op<"recall", AnyForm, [AttrSizedOperandSegments, AllTypesMatch<["init", "result"]>]> {
  let summary = "the state that the position before has left at its site; `init` where there is none";
  let description = [{
    Reads the row of the position before in the plane of the iteration. Under `single` it reads the plane that all
    iterations write: the row of the iteration before, or, in the first one, of the position before. `past`: the row of
    that position, whole part counts; `init` if it is not an older one. In LANES `cache` and `lanes` are there.

    ```mlir
    // with %zero : tensor<4xf32>, %x : tensor<4xf32>
    loop.site @S kv heads 1 dim 4 state
    %s = loop.recall @S init(%zero) : tensor<4xf32>
    %n = arith.addf %s, %x : tensor<4xf32>
    loop.keep %n at @S : tensor<4xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$site, Variadic<Index>:$index, AnyRankedTensor:$init, Optional<AnyRankedTensor>:$past, Optional<Loop_CacheType>:$cache,
                       Optional<Loop_LanesType>:$lanes);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$site (`[` $index^ `]`)? `init` `(` $init `)` (`past` `(` $past^ `:` type($past) `)`)? (`in` $cache^ `lanes` $lanes `(` type($cache) `,` type($lanes) `)`)?
    attr-dict `:` type($result)}];
}
def Loop_KeepOp : Loop_Op<"keep", AnyForm, [AttrSizedOperandSegments]> {
  let summary = "leaves a state at its site for the next position; f32, whatever type keys have";
  let description = [{
    ```mlir
    // with %x : tensor<4xf32>
    loop.site @S kv heads 1 dim 4 state
    loop.keep %x at @S : tensor<4xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$value, FlatSymbolRefAttr:$site, Variadic<Index>:$index, Optional<Loop_CacheType>:$cache,
                       Optional<Loop_LanesType>:$lanes);
  let results = (outs Optional<Loop_CacheType>:$result);
  let assemblyFormat = [{$value `at` $site (`[` $index^ `]`)? `:` type($value) (`in` $cache^ `lanes` $lanes `(` type($cache) `,` type($lanes) `)`)?
    attr-dict (`->` type($result)^)?}];
}
