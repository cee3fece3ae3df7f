// RUN: loopc-opt %s | loopc-opt | FileCheck %s
// RUN: loopc-opt %s -mlir-print-op-generic | loopc-opt | FileCheck %s
// RUN: loopc-opt %s -emit-bytecode | loopc-opt | FileCheck %s
// A looped model of one page in SOURCE form: every part round-trips as text, in generic form and as bytecode.

// CHECK-LABEL: loop.model @tiny
// CHECK: loop.recur @core count @loops
// CHECK: loop.stack @layers layers 2
// CHECK: loop.attend
// CHECK: exit(

loop.model @tiny phase(source) {
  loop.count @loops default 4 range 1, 16
  loop.knob @threshold default 1.0 range 0.0, 1.0
  loop.weight @embed.weight : tensor<8x4xf32>
  loop.weight @"layers.{}.q.weight" : tensor<4x4xf32> tables [2] from "model.layers.{}.q.weight" indices [0, 1]
  loop.weight @gate.weight : tensor<4xf32>
  loop.site @attn kv heads 2 dim 2 tables [2]
  loop.forward @main {
    %t = loop.token : tensor<i32>
    %E = loop.param @embed.weight : tensor<8x4xf32>
    %x = loop.embed %t, %E : (tensor<i32>, tensor<8x4xf32>) -> tensor<4xf32>
    %s0 = loop.noise "s0" law(#loop.law<truncated_normal, std = 0.02, cut = 3.0>) : tensor<4xf32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %h, %st = loop.recur @core count @loops state(%x, %one : tensor<4xf32>, tensor<f32>) kv(#loop.kv<depth_indexed holes last_exited>) exit(#loop.exit<hazard, lane>) {
    ^bb0(%i: index, %a: tensor<4xf32>, %stay: tensor<f32>):
      %b = loop.stack @layers layers 2 state(%a : tensor<4xf32>) {
      ^bb0(%l: index, %y: tensor<4xf32>):
        %n = loop.norm rms %y eps(1.0e-6) : tensor<4xf32> -> tensor<4xf32>
        %W = loop.param @"layers.{}.q.weight"[%l] : tensor<4x4xf32>
        %q = loop.linear %n, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
        %qh = loop.reshape %q : tensor<4xf32> -> tensor<2x2xf32>
        %qr = loop.rope %qh base(1.0e4) pairs(halves) : tensor<2x2xf32> -> tensor<2x2xf32>
        %o = loop.attend %qr, %qr, %qh at @attn[%l] scale(0.7) : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<2x2xf32>
        %of = loop.reshape %o : tensor<2x2xf32> -> tensor<4xf32>
        %z = arith.addf %y, %of : tensor<4xf32>
        loop.yield %z : tensor<4xf32>
      } -> tensor<4xf32>
      %wg = loop.param @gate.weight : tensor<4xf32>
      %g = loop.linear %b, %wg : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
      %lam = loop.act sigmoid %g : tensor<f32>
      loop.tap %lam, "gate" : tensor<f32>
      %q = loop.knob_value @threshold : tensor<f32>
      %stop = arith.cmpf oge, %lam, %q : tensor<f32>
      loop.yield %b, %lam : tensor<4xf32>, tensor<f32> exit(%stop : tensor<i1>)
    } -> tensor<4xf32>, tensor<f32>
    loop.return %h : tensor<4xf32>
  }
}
