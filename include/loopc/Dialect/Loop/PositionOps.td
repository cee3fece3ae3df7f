// The ops that cross positions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

def Loop_AttendOp : Loop_Op<"attend", SourceForm> {
  let summary = "softmax attention of this token over the keys its site has left at positions up to its own";
  let description = [{
    q is [heads, dim], k is [kv heads, dim], v is [kv heads, dim]; heads must be a multiple of kv heads and query head j
    uses key head j / (heads / kv heads). All tokens of a chunk write their key and value, then all read. `window` w: the
    last w keys, the own included. `softcap` c: scores become c * tanh(score / c). `mask` prefix: besides older positions
    all of the prompt are seen, by the prompt too; whole: all positions of the sequence. `before` n: the keys end n
    positions before the own; without a key the result is zero. `first`: the rows that iteration 0 left; `upto`: those of
    all iterations up to the own, a token without one is not seen there. `log_sum`: the result has one more feature, the
    logarithm of the sum of the exponentials of the scores. Attends of one site in one block have the same k and v.
    Sources: Vaswani et al., arXiv 1706.03762; Ainslie et al., arXiv 2305.13245.

    ```mlir
    // with %q : tensor<4x64xf32>, %k : tensor<2x64xf32>, %v : tensor<2x64xf32>, %l : index
    loop.site @attn kv heads 2 dim 64 tables [24]
    %o = loop.attend %q, %k, %v at @attn[%l] scale(0.125) : tensor<4x64xf32>, tensor<2x64xf32>, tensor<2x64xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$q, AnyRankedTensor:$k, AnyRankedTensor:$v, FlatSymbolRefAttr:$site, Variadic<Index>:$index,
                       F64Attr:$scale, OptionalAttr<I64Attr>:$window, OptionalAttr<F64Attr>:$softcap, OptionalAttr<Loop_MaskAttr>:$mask, OptionalAttr<I64Attr>:$before,
                       UnitAttr:$first, UnitAttr:$upto, UnitAttr:$log_sum, OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$q `,` $k `,` $v `at` $site (`[` $index^ `]`)? `scale` `(` $scale `)` (`window` `(` $window^ `)`)?
    (`softcap` `(` $softcap^ `)`)? (`mask` `(` $mask^ `)`)? (`before` `(` $before^ `)`)? (`first` $first^)? (`upto` $upto^)? (`log_sum` $log_sum^)? (`order` `(` $order^ `)`)? attr-dict `:` type($q) `,` type($k) `,` type($v) `->` type($result)}];
  let hasVerifier = 1;
}
