// A prelude, a core with a diagonal injection and a noisy initial state, a coda; value embeddings in the last core layer.
loop.model @parcae phase(source) {
  loop.count @loops default 8 range 1, 64
  loop.weight @embed.weight : tensor<16x4xf32>
  loop.weight @"prelude.{}.qkv" : tensor<4x4xf32> tables [2]
  loop.weight @core.A_log : tensor<4xf32>
  loop.weight @core.dt_bias : tensor<4xf32>
  loop.weight @core.B : tensor<4x4xf32>
  loop.weight @"core.{}.w" : tensor<4x4xf32> tables [2]
  loop.weight @"core.{}.ve" : tensor<16x4xf32> tables [2] indices [-1, 1]
  loop.weight @"coda.{}.w" : tensor<4x4xf32> tables [2]
  loop.weight @coda.C : tensor<4x4xf32>
  loop.weight @head.weight : tensor<16x4xf32>
  loop.site @prelude.attn kv heads 2 dim 2 tables [2]
  loop.site @core.attn kv heads 2 dim 2 tables [2]
  loop.site @coda.attn kv heads 2 dim 2 tables [2]
  loop.forward @main {
    %id = loop.token : tensor<i32>
    %E = loop.param @embed.weight : tensor<16x4xf32>
    %x0 = loop.embed %id, %E : (tensor<i32>, tensor<16x4xf32>) -> tensor<4xf32>
    %p = loop.stack @prelude layers 2 state(%x0 : tensor<4xf32>) {
    ^bb0(%l: index, %x: tensor<4xf32>):
      %W = loop.param @"prelude.{}.qkv"[%l] : tensor<4x4xf32>
      %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
      %qr = loop.rope %qh base(5.0e4) pairs(adjacent) : tensor<2x2xf32> -> tensor<2x2xf32>
      %o = loop.attend %qr, %qr, %qh at @prelude.attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
      %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
      %y = arith.addf %x, %of : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %e = loop.norm rms %p eps(1.0e-5) : tensor<4xf32> -> tensor<4xf32>
    loop.tap %e, "e" : tensor<4xf32>
    %s0 = loop.noise "s0" law(<truncated_normal, std = 0.0228, cut = 3.0>) : tensor<4xf32>
    %s = loop.recur @core count @loops state(%s0 : tensor<4xf32>) kv(<depth_indexed>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      %dt = loop.param @core.dt_bias : tensor<4xf32>
      %D = loop.act softplus %dt : tensor<4xf32>
      %Al = loop.param @core.A_log : tensor<4xf32>
      %A = math.exp %Al : tensor<4xf32>
      %DA = arith.mulf %D, %A : tensor<4xf32>
      %nDA = arith.negf %DA : tensor<4xf32>
      %a = math.exp %nDA : tensor<4xf32>
      %B = loop.param @core.B : tensor<4x4xf32>
      %Be = loop.linear %e, %B : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %i = arith.mulf %D, %Be : tensor<4xf32>
      %g = arith.mulf %a, %h : tensor<4xf32>
      %u = arith.addf %g, %i : tensor<4xf32>
      loop.tap %u, "u" : tensor<4xf32>
      %y = loop.stack @core.layers layers 2 state(%u : tensor<4xf32>) {
      ^bb0(%l: index, %x: tensor<4xf32>):
        %W = loop.param @"core.{}.w"[%l] : tensor<4x4xf32>
        %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
        %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
        %one = arith.constant 1 : index
        %last = arith.cmpi eq, %l, %one : index
        %v = loop.where %last : i1 state(%qh : tensor<2x2xf32>) {
        ^bb0(%v0: tensor<2x2xf32>):
          %V = loop.param @"core.{}.ve"[%l] : tensor<16x4xf32>
          %ve = loop.embed %id, %V : (tensor<i32>, tensor<16x4xf32>) -> tensor<4xf32>
          %veh = loop.reshape %ve : tensor<4xf32> -> tensor<2x2xf32>
          %v1 = arith.addf %v0, %veh : tensor<2x2xf32>
          loop.tap %v1, "ve" : tensor<2x2xf32>
          loop.yield %v1 : tensor<2x2xf32>
        } -> tensor<2x2xf32>
        %qr = loop.rope %qh base(5.0e4) pairs(adjacent) : tensor<2x2xf32> -> tensor<2x2xf32>
        %o = loop.attend %qr, %qr, %v at @core.attn[%l] scale(0.5) softcap(15.0) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
        %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
        %y1 = arith.addf %x, %of : tensor<4xf32>
        loop.yield %y1 : tensor<4xf32>
      } -> tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %C = loop.param @coda.C : tensor<4x4xf32>
    %c0 = loop.linear %s, %C : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
    %c = loop.stack @coda layers 2 state(%c0 : tensor<4xf32>) {
    ^bb0(%l: index, %x: tensor<4xf32>):
      %W = loop.param @"coda.{}.w"[%l] : tensor<4x4xf32>
      %q = loop.linear %x, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
      %o = loop.attend %qh, %qh, %qh at @coda.attn[%l] scale(0.5) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
      %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
      %y = arith.addf %x, %of : tensor<4xf32>
      loop.yield %y : tensor<4xf32>
    } -> tensor<4xf32>
    %n = loop.norm rms %c eps(1.0e-5) : tensor<4xf32> -> tensor<4xf32>
    %H = loop.param @head.weight : tensor<16x4xf32>
    %z = loop.linear %n, %H : (tensor<4xf32>, tensor<16x4xf32>) -> tensor<16xf32>
    %cap = arith.constant dense<15.0> : tensor<16xf32>
    %zc = arith.divf %z, %cap : tensor<16xf32>
    %th = math.tanh %zc : tensor<16xf32>
    %logits = arith.mulf %th, %cap : tensor<16xf32>
    loop.return %logits : tensor<16xf32>
  }
}
