// Weights of the iteration: lanes of one call may be at different ones, so a rolled stack goes through the table and
// each lane keeps the value of its own entry. A linear multiplies with each entry; a vector is chosen as a value.
// RUN: loopc-opt %s --loop-to-lanes | FileCheck %s

// CHECK-LABEL: loop.stage @step
loop.model @tables phase(source) {
  loop.count @loops default 2 range 1, 3
  loop.weight @a : tensor<8x4xf32> tables [2, 3]
  loop.weight @g : tensor<4xf32> tables [3]
  loop.weight @w : tensor<4x8xf32>
  loop.forward @main {
    %e = arith.constant dense<1.0> : tensor<4xf32>
    // CHECK: loop.recur @r
    %y = loop.recur @r count @loops state(%e : tensor<4xf32>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      // CHECK: %[[T:.*]] = loop.column {{ *}}iteration
      // CHECK: %[[G:.*]] = loop.stack @entry layers 3
      // CHECK: ^bb0(%[[C:.*]]: index, %[[OLD:.*]]: tensor<?x4xf32, #loop.rows<lane.r>>):
      // CHECK: loop.param @g[%[[C]]]
      // CHECK: %[[IS:.*]] = arith.cmpi eq, %[[T]], %{{.*}} : tensor<?xi32, #loop.rows<lane.r>>
      // CHECK: arith.select %{{.*}}, %{{.*}}, %[[OLD]]
      %g = loop.param @g[%t] : tensor<4xf32>
      // CHECK: %[[N:.*]] = loop.norm {{ *}}rms %{{.*}} eps
      // CHECK: arith.mulf %[[N]], %[[G]]
      %n = loop.norm rms %h, %g : tensor<4xf32> in eps(1.0e-6) : tensor<4xf32> -> tensor<4xf32>
      // CHECK: loop.stack @i layers 2
      // CHECK-NEXT: ^bb0(%[[I:.*]]: index
      %s = loop.stack @i layers 2 state(%n : tensor<4xf32>) {
      ^bb0(%i: index, %x: tensor<4xf32>):
        // CHECK: loop.stack @entry layers 3
        // CHECK: ^bb0(%[[D:.*]]: index, %{{.*}}: tensor<?x8xf32, #loop.rows<lane.r>>):
        // CHECK: %[[A:.*]] = loop.param @a[%[[I]], %[[D]]]
        // CHECK: loop.linear %{{.*}}, %[[A]]
        // CHECK-NOT: loop.param @a
        %a = loop.param @a[%i, %t] : tensor<8x4xf32>
        %u = loop.linear %x, %a : (tensor<4xf32>, tensor<8x4xf32>) -> tensor<8xf32>
        %w = loop.param @w : tensor<4x8xf32>
        %v = loop.linear %u, %w : (tensor<8xf32>, tensor<4x8xf32>) -> tensor<4xf32>
        loop.yield %v : tensor<4xf32>
      } -> tensor<4xf32>
      loop.yield %s : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}
