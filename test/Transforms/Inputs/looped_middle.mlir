// Three stacks over one table of layers; the middle one is looped, damped by 1 / loops.
loop.model @middle phase(source) {
  loop.count @loops default 2 range 0, 8
  loop.weight @embed.weight : tensor<16x4xf32>
  loop.weight @"layers.{}.w" : tensor<4x4xf32> tables [6]
  loop.site @front.attn kv heads 2 dim 2 tables [2]
  loop.site @mid.attn kv heads 2 dim 2 tables [3]
  loop.site @back.attn kv heads 2 dim 2 tables [1]
  loop.forward @main {
    %id = loop.token : tensor<i32>
    %E = loop.param @embed.weight : tensor<16x4xf32>
    %x0 = loop.embed %id, %E : (tensor<i32>, tensor<16x4xf32>) -> tensor<4xf32>
    %p = loop.stack @front layers 2 state(%x0 : tensor<4xf32>) {
    ^bb0(%l: index, %x: tensor<4xf32>):
      %W = loop.param @"layers.{}.w"[%l] : tensor<4x4xf32>
      %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
      %o = loop.attend %qh, %qh, %qh at @front.attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
      %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
      %y = arith.addf %x, %of : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %m = loop.recur @mid count @loops state(%p : tensor<4xf32>) kv(<depth_indexed>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      %T = loop.count_value @loops : tensor<f32>
      %damp = arith.divf %one, %T : tensor<f32>
      %damps = loop.broadcast %damp dims [] : tensor<f32> -> tensor<4xf32>
      %b = loop.stack @mid.layers layers 3 state(%h : tensor<4xf32>) {
      ^bb0(%l: index, %x: tensor<4xf32>):
        %two = arith.constant 2 : index
        %i = arith.addi %l, %two : index
        %W = loop.param @"layers.{}.w"[%i] : tensor<4x4xf32>
        %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
        %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
        %o = loop.attend %qh, %qh, %qh at @mid.attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
        %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
        %y = arith.addf %x, %of : tensor<4xf32>
        loop.yield %y : tensor<4xf32>
      } -> tensor<4xf32>
      %d = arith.subf %b, %h : tensor<4xf32>
      %dd = arith.mulf %d, %damps : tensor<4xf32>
      %h1 = arith.addf %h, %dd : tensor<4xf32>
      loop.yield %h1 : tensor<4xf32>
    } -> tensor<4xf32>
    %c = loop.stack @back layers 1 state(%m : tensor<4xf32>) {
    ^bb0(%l: index, %x: tensor<4xf32>):
      %five = arith.constant 5 : index
      %i = arith.addi %l, %five : index
      %W = loop.param @"layers.{}.w"[%i] : tensor<4x4xf32>
      %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
      %o = loop.attend %qh, %qh, %qh at @back.attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
      %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
      %y = arith.addf %x, %of : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %logits = loop.linear %c, %E : (tensor<4xf32>, tensor<16x4xf32>) -> tensor<16xf32>
    loop.return %logits : tensor<16xf32>
  }
}
