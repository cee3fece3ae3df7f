// The whole stack is looped, its final norm and the exit gate are inside the loop (arXiv 2510.25741). Tiny sizes.
loop.model @ouro phase(source) {
  loop.count @loops default 4 range 1, 16
  loop.knob @threshold default 1.0 range 0.0, 1.0
  loop.weight @embed.weight : tensor<32x8xf32>
  loop.weight @"layers.{}.q.weight" : tensor<8x8xf32> tables [2]
  loop.weight @"layers.{}.k.weight" : tensor<4x8xf32> tables [2]
  loop.weight @"layers.{}.v.weight" : tensor<4x8xf32> tables [2]
  loop.weight @"layers.{}.o.weight" : tensor<8x8xf32> tables [2]
  loop.weight @"layers.{}.ln1.weight" : tensor<8xf32> tables [2]
  loop.weight @"layers.{}.ln2.weight" : tensor<8xf32> tables [2]
  loop.weight @"layers.{}.gate.weight" : tensor<12x8xf32> tables [2]
  loop.weight @"layers.{}.up.weight" : tensor<12x8xf32> tables [2]
  loop.weight @"layers.{}.down.weight" : tensor<8x12xf32> tables [2]
  loop.weight @norm.weight : tensor<8xf32>
  loop.weight @exit.weight : tensor<8xf32>
  loop.weight @exit.bias : tensor<f32>
  loop.weight @head.weight : tensor<32x8xf32>
  loop.site @layers.attn kv heads 2 dim 2 tables [2]
  loop.forward @main {
    %id = loop.token : tensor<i32>
    %E = loop.param @embed.weight : tensor<32x8xf32>
    %e = loop.embed %id, %E : (tensor<i32>, tensor<32x8xf32>) -> tensor<8xf32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %h, %stay = loop.recur @ut count @loops state(%e, %one : tensor<8xf32>, tensor<f32>)
        kv(<depth_indexed holes last_exited>) exit(<early, lane>) {
    ^bb0(%t: index, %h0: tensor<8xf32>, %st: tensor<f32>):
      %y = loop.stack @layers layers 2 state(%h0 : tensor<8xf32>) {
      ^bb0(%l: index, %x: tensor<8xf32>):
        %w1 = loop.param @"layers.{}.ln1.weight"[%l] : tensor<8xf32>
        %n = loop.norm rms %x, %w1 : tensor<8xf32> in eps(1.0e-6) : tensor<8xf32> -> tensor<8xf32>
        %Wq = loop.param @"layers.{}.q.weight"[%l] : tensor<8x8xf32>
        %q0 = loop.linear %n, %Wq : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
        %q1 = loop.reshape %q0 : tensor<8xf32> -> tensor<4x2xf32>
        %q = loop.rope %q1 base(1.0e6) pairs(halves) : tensor<4x2xf32> -> tensor<4x2xf32>
        %Wk = loop.param @"layers.{}.k.weight"[%l] : tensor<4x8xf32>
        %k0 = loop.linear %n, %Wk : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4xf32>
        %k1 = loop.reshape %k0 : tensor<4xf32> -> tensor<2x2xf32>
        %k = loop.rope %k1 base(1.0e6) pairs(halves) : tensor<2x2xf32> -> tensor<2x2xf32>
        %Wv = loop.param @"layers.{}.v.weight"[%l] : tensor<4x8xf32>
        %v0 = loop.linear %n, %Wv : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4xf32>
        %v = loop.reshape %v0 : tensor<4xf32> -> tensor<2x2xf32>
        %o = loop.attend %q, %k, %v at @layers.attn[%l] scale(0.70710678) : tensor<4x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<4x2xf32>
        %o1 = loop.reshape %o : tensor<4x2xf32> -> tensor<8xf32>
        %Wo = loop.param @"layers.{}.o.weight"[%l] : tensor<8x8xf32>
        %p = loop.linear %o1, %Wo : (tensor<8xf32>, tensor<8x8xf32>) -> tensor<8xf32>
        %x1 = arith.addf %x, %p : tensor<8xf32>
        %w2 = loop.param @"layers.{}.ln2.weight"[%l] : tensor<8xf32>
        %m = loop.norm rms %x1, %w2 : tensor<8xf32> in eps(1.0e-6) : tensor<8xf32> -> tensor<8xf32>
        %Wg = loop.param @"layers.{}.gate.weight"[%l] : tensor<12x8xf32>
        %g0 = loop.linear %m, %Wg : (tensor<8xf32>, tensor<12x8xf32>) -> tensor<12xf32>
        %g = loop.act silu %g0 : tensor<12xf32>
        %Wu = loop.param @"layers.{}.up.weight"[%l] : tensor<12x8xf32>
        %u = loop.linear %m, %Wu : (tensor<8xf32>, tensor<12x8xf32>) -> tensor<12xf32>
        %gu = arith.mulf %g, %u : tensor<12xf32>
        %Wd = loop.param @"layers.{}.down.weight"[%l] : tensor<8x12xf32>
        %d = loop.linear %gu, %Wd : (tensor<12xf32>, tensor<8x12xf32>) -> tensor<8xf32>
        %x2 = arith.addf %x1, %d : tensor<8xf32>
        loop.yield %x2 : tensor<8xf32>
      } -> tensor<8xf32>
      %wn = loop.param @norm.weight : tensor<8xf32>
      %hn = loop.norm rms %y, %wn : tensor<8xf32> in eps(1.0e-6) : tensor<8xf32> -> tensor<8xf32>
      loop.tap %hn, "h" : tensor<8xf32>
      %We = loop.param @exit.weight : tensor<8xf32>
      %be = loop.param @exit.bias : tensor<f32>
      %z = loop.linear %hn, %We bias %be : (tensor<8xf32>, tensor<8xf32>, tensor<f32>) -> tensor<f32>
      %gate = loop.act sigmoid %z : tensor<f32>
      loop.tap %gate, "gate" : tensor<f32>
      %one1 = arith.constant dense<1.0> : tensor<f32>
      %rest = arith.subf %one1, %gate : tensor<f32>
      %st1 = arith.mulf %st, %rest : tensor<f32>
      loop.tap %st1, "stay" : tensor<f32>
      %cdf = arith.subf %one1, %st1 : tensor<f32>
      %th = loop.knob_value @threshold : tensor<f32>
      %stop = arith.cmpf oge, %cdf, %th : tensor<f32>
      loop.yield %hn, %st1 : tensor<8xf32>, tensor<f32> exit(%stop : tensor<i1>)
    } -> tensor<8xf32>, tensor<f32>
    %H = loop.param @head.weight : tensor<32x8xf32>
    %logits = loop.linear %h, %H : (tensor<8xf32>, tensor<32x8xf32>) -> tensor<32xf32>
    loop.return %logits : tensor<32xf32>
  }
}
