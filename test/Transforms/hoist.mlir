// What leaves a loop: products of what does not change, what only they need, functions of weights.
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-hoist | FileCheck %s --check-prefix=PARCAE
// RUN: loopc-opt %S/Inputs/looped_middle.mlir --loop-hoist | FileCheck %s --check-prefix=MIDDLE
// RUN: loopc-opt %s --loop-hoist | FileCheck %s

// PARCAE: loop.noise
// PARCAE: %[[D:.*]] = loop.act {{ *}}softplus
// PARCAE: %[[A:.*]] = math.exp
// PARCAE: %[[BE:.*]] = loop.linear
// PARCAE: %[[I:.*]] = arith.mulf %[[D]], %[[BE]]
// PARCAE: loop.recur @core
// PARCAE-NEXT: ^bb0
// PARCAE-NEXT: %[[G:.*]] = arith.mulf
// PARCAE-NEXT: %[[U:.*]] = arith.addf %[[G]], %[[I]]
// PARCAE: name = "Hoisted", text = "loop.linear moved out of @core: 32 flops a token and iteration saved"

// One number is carried, not four: the broadcast stays.
// MIDDLE: %[[T:.*]] = loop.count_value @loops
// MIDDLE: %[[DAMP:.*]] = arith.divf %{{.*}}, %[[T]]
// MIDDLE: loop.recur @mid
// MIDDLE: loop.broadcast %[[DAMP]]

loop.model @m phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.weight @w : tensor<4x4xf32> tables [3]
  loop.weight @v : tensor<4x4xf32>
  loop.forward @main {
    %id = loop.position : tensor<i32>
    %f = arith.sitofp %id : tensor<i32> to tensor<f32>
    %e = loop.broadcast %f dims [] : tensor<f32> -> tensor<4xf32>
    // CHECK: loop.broadcast
    // CHECK-NEXT: loop.param @v
    // CHECK-NEXT: %[[P:.*]] = loop.linear
    // CHECK-NEXT: %[[SILU:.*]] = loop.act {{ *}}silu %[[P]]
    // CHECK-NEXT: loop.recur
    %y = loop.recur @r count @loops state(%e : tensor<4xf32>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      // CHECK: loop.stack @s
      %z = loop.stack @s layers 3 state(%h : tensor<4xf32>) {
      ^bb0(%l: index, %x: tensor<4xf32>):
        %V = loop.param @v : tensor<4x4xf32>
        %p = loop.linear %e, %V : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
        %s = loop.act silu %p : tensor<4xf32>
        // It depends on the layer: stays.
        // CHECK: loop.param @w[%{{.*}}]
        // CHECK-NEXT: loop.linear
        %W = loop.param @w[%l] : tensor<4x4xf32>
        %q = loop.linear %e, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
        // Both operands are carried anyway: an element function would only add a field.
        // CHECK-NEXT: arith.addf %[[E:.*]], %[[SILU]]
        %a = arith.addf %e, %s : tensor<4xf32>
        %b = arith.addf %a, %q : tensor<4xf32>
        %c = arith.mulf %b, %s : tensor<4xf32>
        %d = arith.addf %c, %x : tensor<4xf32>
        loop.yield %d : tensor<4xf32>
      } -> tensor<4xf32>
      loop.yield %z : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}
