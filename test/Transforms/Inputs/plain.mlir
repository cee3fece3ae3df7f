// No loop: one stack of layers.
loop.model @plain phase(source) {
  loop.weight @embed.weight : tensor<16x4xf32>
  loop.weight @"layers.{}.w" : tensor<4x4xf32> tables [3]
  loop.site @attn kv heads 2 dim 2 tables [3]
  loop.forward @main {
    %id = loop.token : tensor<i32>
    %E = loop.param @embed.weight : tensor<16x4xf32>
    %x0 = loop.embed %id, %E : (tensor<i32>, tensor<16x4xf32>) -> tensor<4xf32>
    %p = loop.stack @layers layers 3 state(%x0 : tensor<4xf32>) {
    ^bb0(%l: index, %x: tensor<4xf32>):
      %W = loop.param @"layers.{}.w"[%l] : tensor<4x4xf32>
      %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
      %o = loop.attend %qh, %qh, %qh at @attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
      %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
      %y = arith.addf %x, %of : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %n = loop.norm rms %p eps(1.0e-5) : tensor<4xf32> -> tensor<4xf32>
    %logits = loop.linear %n, %E : (tensor<4xf32>, tensor<16x4xf32>) -> tensor<16xf32>
    loop.return %logits : tensor<16xf32>
  }
}
