// A small model in three parts that all attend: prelude, a core with injected input and a drawn initial state, coda.
loop.model @parts phase(source) {
  loop.count @loops default 3 range 1, 8
  loop.weight @embed : tensor<11x8xf32>
  loop.weight @"pre.{}.qkv" : tensor<24x8xf32> tables [2]
  loop.weight @"pre.{}.o" : tensor<8x8xf32> tables [2]
  loop.weight @inject.weight : tensor<8x8xf32>
  loop.weight @decay : tensor<8xf32>
  loop.weight @core.q : tensor<8x8xf32>
  loop.weight @core.k : tensor<4x8xf32>
  loop.weight @core.v : tensor<4x8xf32>
  loop.weight @core.o : tensor<8x8xf32>
  loop.weight @core.norm : tensor<8xf32>
  loop.weight @coda.qkv : tensor<24x8xf32>
  loop.weight @head.weight : tensor<11x8xf32>
  loop.site @pre.attn kv heads 2 dim 4 tables [2]
  loop.site @core.attn kv heads 1 dim 4
  loop.site @coda.attn kv heads 2 dim 4
  loop.forward @main {
    %t = loop.token : tensor<i32>
    %E = loop.param @embed : tensor<11x8xf32>
    %x = loop.embed %t, %E : (tensor<i32>, tensor<11x8xf32>) -> tensor<8xf32>
    %e = loop.stack @pre layers 2 state(%x : tensor<8xf32>) {
    ^bb0(%l: index, %a: tensor<8xf32>):
      %W = loop.param @"pre.{}.qkv"[%l] : tensor<24x8xf32>
      %f = loop.linear %a, %W : (tensor<8xf32>, tensor<24x8xf32>) -> tensor<24xf32>
      %q0 = loop.slice %f axis 0 from 0 : tensor<24xf32> -> tensor<8xf32>
      %k0 = loop.slice %f axis 0 from 8 : tensor<24xf32> -> tensor<8xf32>
      %v0 = loop.slice %f axis 0 from 16 : tensor<24xf32> -> tensor<8xf32>
      %q1 = loop.reshape %q0 : tensor<8xf32> -> tensor<2x4xf32>
      %k1 = loop.reshape %k0 : tensor<8xf32> -> tensor<2x4xf32>
      %v = loop.reshape %v0 : tensor<8xf32> -> tensor<2x4xf32>
      %q = loop.rope %q1 base(1.0e4) pairs(adjacent) : tensor<2x4xf32> -> tensor<2x4xf32>
      %k = loop.rope %k1 base(1.0e4) pairs(adjacent) : tensor<2x4xf32> -> tensor<2x4xf32>
      %o = loop.attend %q, %k, %v at @pre.attn[%l] scale(0.5) : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>
      %o1 = loop.reshape %o : tensor<2x4xf32> -> tensor<8xf32>
      %Wo = loop.param @"pre.{}.o"[%l] : tensor<8x8xf32>
      %p = loop.linear %o1, %Wo : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
      %b = arith.addf %a, %p : tensor<8xf32>
      loop.yield %b : tensor<8xf32>
    } -> tensor<8xf32>
    %s0 = loop.noise "s0" law(#loop.law<truncated_normal, std = 0.5, cut = 3.0>) : tensor<8xf32>
    %n = loop.count_value @loops : tensor<f32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %step = arith.divf %one, %n : tensor<f32>
    %damp = loop.broadcast %step dims [] : tensor<f32> -> tensor<8xf32>
    %h = loop.recur @core count @loops state(%s0 : tensor<8xf32>) KV_POLICY {
    ^bb0(%i: index, %s: tensor<8xf32>):
      %Wi = loop.param @inject.weight : tensor<8x8xf32>
      %in = loop.linear %e, %Wi : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
      %d = loop.param @decay : tensor<8xf32>
      %dg = loop.act sigmoid %d : tensor<8xf32>
      %sd = arith.mulf %s, %dg : tensor<8xf32>
      %u = arith.addf %sd, %in : tensor<8xf32>
      loop.tap %u, "u" : tensor<8xf32>
      %g = loop.param @core.norm : tensor<8xf32>
      %un = loop.norm rms %u, %g : tensor<8xf32> in eps(1.0e-5) : tensor<8xf32> -> tensor<8xf32>
      %Wq = loop.param @core.q : tensor<8x8xf32>
      %Wk = loop.param @core.k : tensor<4x8xf32>
      %Wv = loop.param @core.v : tensor<4x8xf32>
      %Wo = loop.param @core.o : tensor<8x8xf32>
      %q0 = loop.linear %un, %Wq : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
      %k0 = loop.linear %un, %Wk : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4xf32>
      %v0 = loop.linear %un, %Wv : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4xf32>
      %q1 = loop.reshape %q0 : tensor<8xf32> -> tensor<2x4xf32>
      %k1 = loop.reshape %k0 : tensor<4xf32> -> tensor<1x4xf32>
      %v = loop.reshape %v0 : tensor<4xf32> -> tensor<1x4xf32>
      %q = loop.rope %q1 base(1.0e4) pairs(halves) : tensor<2x4xf32> -> tensor<2x4xf32>
      %k = loop.rope %k1 base(1.0e4) pairs(halves) : tensor<1x4xf32> -> tensor<1x4xf32>
      %o = loop.attend %q, %k, %v at @core.attn scale(0.5) : tensor<2x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<2x4xf32>
      %o1 = loop.reshape %o : tensor<2x4xf32> -> tensor<8xf32>
      %p = loop.linear %o1, %Wo : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
      %pd = arith.mulf %p, %damp : tensor<8xf32>
      %y = arith.addf %u, %pd : tensor<8xf32>
      loop.yield %y : tensor<8xf32>
    } -> tensor<8xf32>
    %Wc = loop.param @coda.qkv : tensor<24x8xf32>
    %f = loop.linear %h, %Wc : (tensor<8xf32>, tensor<24x8xf32>) -> tensor<24xf32>
    %q0 = loop.slice %f axis 0 from 0 : tensor<24xf32> -> tensor<8xf32>
    %k0 = loop.slice %f axis 0 from 8 : tensor<24xf32> -> tensor<8xf32>
    %v0 = loop.slice %f axis 0 from 16 : tensor<24xf32> -> tensor<8xf32>
    %q = loop.reshape %q0 : tensor<8xf32> -> tensor<2x4xf32>
    %k = loop.reshape %k0 : tensor<8xf32> -> tensor<2x4xf32>
    %v = loop.reshape %v0 : tensor<8xf32> -> tensor<2x4xf32>
    %o = loop.attend %q, %k, %v at @coda.attn scale(0.5) : tensor<2x4xf32>, tensor<2x4xf32>, tensor<2x4xf32> -> tensor<2x4xf32>
    %o1 = loop.reshape %o : tensor<2x4xf32> -> tensor<8xf32>
    %z = arith.addf %h, %o1 : tensor<8xf32>
    %H = loop.param @head.weight : tensor<11x8xf32>
    %logits = loop.linear %z, %H : (tensor<8xf32>, tensor<11x8xf32>) -> tensor<11xf32>
    loop.return %logits : tensor<11xf32>
  }
}
