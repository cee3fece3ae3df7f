// Ops along the feature axes of a token. A row dimension (LANES) is never cut, moved or reduced by them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

class Loop_FeatureOp<string mnemonic, list<Trait> traits = []> : Loop_Op<mnemonic, AnyForm, !listconcat([Pure], traits)>;

def Loop_LinearOp : Loop_FeatureOp<"linear"> {
  let summary = "y = W x (+ b): W is [outputs, inputs], or [inputs] for one scalar output";
  let description = [{
    The input has one feature axis of K elements. Products are accumulated in f32 (f64 in the f64 interpreter) in the
    given order.

    ```mlir
    // with %x : tensor<768xf32>, %W : tensor<32x768xf32>
    %y = loop.linear %x, %W : (tensor<768xf32>, tensor<32x768xf32>) -> tensor<32xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$bias,
                       OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$input `,` $weight (`bias` $bias^)? (`order` `(` $order^ `)`)? attr-dict `:` functional-type(operands, results)}];
  let hasVerifier = 1;
}

def Loop_NormOp : Loop_FeatureOp<"norm"> {
  let summary = "normalisation over the last feature axis, statistics in f32; optional gain";
  let description = [{
    `rms`: x / sqrt(mean(x^2) + eps) * gain; `layer`: (x - mean) / sqrt(var + eps) * gain.
    Sources: Zhang and Sennrich, arXiv 1910.07467; Ba et al., arXiv 1607.06450.

    ```mlir
    // with %x : tensor<768xf32>, %w : tensor<768xf32>
    %y = loop.norm rms %x, %w : tensor<768xf32> in eps(1.0e-6) : tensor<768xf32> -> tensor<768xf32>
    ```
  }];
  let arguments = (ins Loop_NormKindAttr:$kind, AnyRankedTensor:$input, Optional<AnyRankedTensor>:$gain, F64Attr:$eps,
                       OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$kind $input (`,` $gain^ `:` type($gain) `in`)? `eps` `(` $eps `)` (`order` `(` $order^ `)`)? attr-dict
                         `:` type($input) `->` type($result)}];
  let hasVerifier = 1;
}

def Loop_ActOp : Loop_FeatureOp<"act", [AllTypesMatch<["input", "result"]>]> {
  let summary = "an activation function, element by element";
  let description = [{
    ```mlir
    // with %x : tensor<768xf32>
    %y = loop.act silu %x : tensor<768xf32>
    ```
  }];
  let arguments = (ins Loop_ActKindAttr:$kind, AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($result)";
}

def Loop_SoftmaxOp : Loop_FeatureOp<"softmax", [AllTypesMatch<["input", "result"]>]> {
  let summary = "softmax over the last feature axis";
  let description = [{
    ```mlir
    // with %x : tensor<8xf32>
    %p = loop.softmax %x : tensor<8xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input (`order` `(` $order^ `)`)? attr-dict `:` type($result)";
}

def Loop_ReduceOp : Loop_FeatureOp<"reduce"> {
  let summary = "reduces one feature axis; an empty mean is 0; argmax gives the first index of the maximum, as a real";
  let description = [{
    ```mlir
    // with %x : tensor<4x8xf32>
    %y = loop.reduce max %x over 1 : tensor<4x8xf32> -> tensor<4xf32>
    ```
  }];
  let arguments = (ins Loop_ReduceKindAttr:$kind, AnyRankedTensor:$input, I64Attr:$axis, OptionalAttr<Loop_OrderAttr>:$order);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind $input `over` $axis (`order` `(` $order^ `)`)? attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Loop_FoldOp : Loop_Op<"fold", AnyForm, [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "reduces a value over the tokens of its sequence that a call takes in together; every token gets the result";
  let description = [{
    Kinds sum, mean, max, min, first and last, tokens in ascending order. In a `loop.check` the tokens are those of the
    chunk; elsewhere all tokens of the sequence run together (contract `group sequence`). `batch`: over all sequences
    that run together (`couple call`).

    ```mlir
    // with %x : tensor<f32>
    %y = loop.fold mean %x : tensor<f32>
    ```
  }];
  let arguments = (ins Loop_ReduceKindAttr:$kind, AnyRankedTensor:$input, UnitAttr:$batch);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$kind (`batch` $batch^)? $input attr-dict `:` type($input)";
  let hasVerifier = 1;
}

def Loop_EmbedOp : Loop_FeatureOp<"embed"> {
  let summary = "row `id` of a table";
  let description = [{
    ```mlir
    // with %t : tensor<i32>, %E : tensor<97x32xf32>
    %x = loop.embed %t, %E : (tensor<i32>, tensor<97x32xf32>) -> tensor<32xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$id, AnyRankedTensor:$table);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$id `,` $table attr-dict `:` functional-type(operands, results)";
}

def Loop_RopeOp : Loop_FeatureOp<"rope", [AttrSizedOperandSegments]> {
  let summary = "rotary position embedding on the last feature axis, angles position * base^(-2i/dim), computed in f32";
  let description = [{
    Source: Su et al., arXiv 2104.09864. The position is `place`, else the token's own, in LANES a column of the lanes.
    `backward`: by the negative angle. `table`: sines and cosines are rounded to this type.

    ```mlir
    // with %q : tensor<4x64xf32>
    %r = loop.rope %q base(1.0e4) pairs(halves) : tensor<4x64xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, Optional<Loop_LanesType>:$lanes, Optional<AnyRankedTensor>:$place, F64Attr:$base,
                       Loop_PairsAttr:$pairs, UnitAttr:$backward, OptionalAttr<TypeAttr>:$table);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{$input (`at` $lanes^ `in` type($lanes))? (`place` $place^ `:` type($place))? `base` `(` $base `)` `pairs` `(` $pairs `)` (`backward` $backward^)? (`table` $table^)? attr-dict `:` type($input) `->` type($result)}];
}

def Loop_ReshapeOp : Loop_FeatureOp<"reshape"> {
  let summary = "the same features under other axes, row-major";
  let description = [{
    ```mlir
    // with %x : tensor<256xf32>
    %q = loop.reshape %x : tensor<256xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}
def Loop_SliceOp : Loop_FeatureOp<"slice"> {
  let summary = "elements begin, begin+1, … of one feature axis; the result type says how many";
  let description = [{
    ```mlir
    // with %x : tensor<768xf32>
    %y = loop.slice %x axis 0 from 256 : tensor<768xf32> -> tensor<256xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, I64Attr:$axis, I64Attr:$begin);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `axis` $axis `from` $begin attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}
def Loop_ConcatOp : Loop_FeatureOp<"concat"> {
  let summary = "joins values along the last feature axis";
  let description = [{
    ```mlir
    // with %s : tensor<4xf32>, %e : tensor<6xf32>
    %y = loop.concat %s, %e : tensor<4xf32>, tensor<6xf32> -> tensor<10xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$inputs);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$inputs attr-dict `:` type($inputs) `->` type($result)";
  let hasVerifier = 1;
}
def Loop_BroadcastOp : Loop_FeatureOp<"broadcast"> {
  let summary = "repeats a value over feature axes it does not have; feature axis i becomes axis dims[i]";
  let description = [{
    ```mlir
    // with %g : tensor<4xf32>
    %y = loop.broadcast %g dims [0] : tensor<4xf32> -> tensor<4x64xf32>
    ```
  }];
  let arguments = (ins AnyRankedTensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `dims` $dims attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}
