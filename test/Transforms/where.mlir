// A branch per token without keys becomes a select; one that depends on the iteration too. Inner loops of a fixed count
// are stacks without weights of their own.
// RUN: loopc-opt %s --loop-lanes --loop-check=phase=lanes | FileCheck %s

// CHECK: loop.recur @r
// CHECK: ^bb0(%[[A:.*]]: !loop.lanes<lane.r>, %[[H:.*]]: tensor<?x4xf32, #loop.rows<lane.r>>
// CHECK: %[[T:.*]] = loop.column {{ *}}iteration of %[[A]] : {{.*}} -> tensor<?xi32, #loop.rows<lane.r>>
// CHECK: %[[TWO:.*]] = loop.spread %{{.*}} : tensor<i32>, {{.*}} -> tensor<?xi32, #loop.rows<lane.r>>
// CHECK: %[[C:.*]] = arith.cmpi slt, %[[T]], %[[TWO]] : tensor<?xi32, #loop.rows<lane.r>>
// CHECK: %[[X:.*]] = arith.addf %[[H]], %[[H]]
// CHECK: %[[CB:.*]] = loop.broadcast %[[C]] dims [] : tensor<?xi1, #loop.rows<lane.r>> -> tensor<?x4xi1, #loop.rows<lane.r>>
// CHECK: %[[Y:.*]] = arith.select %[[CB]], %[[X]], %[[H]]
// CHECK: %[[TF:.*]] = arith.sitofp %[[T]] : tensor<?xi32, #loop.rows<lane.r>> to tensor<?xf32, #loop.rows<lane.r>>
// CHECK: %[[TB:.*]] = loop.broadcast %[[TF]]
// CHECK: arith.mulf %[[Y]], %[[TB]]
// CHECK: loop.stack @inner layers 3
// CHECK: arith.cmpf ogt
// CHECK-NOT: loop.where
// CHECK: arith.select
loop.model @m phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.count @three default 3 range 3, 3
  loop.forward @main {
    %p = loop.position : tensor<i32>
    %f = arith.sitofp %p : tensor<i32> to tensor<f32>
    %e = loop.broadcast %f dims [] : tensor<f32> -> tensor<4xf32>
    %y = loop.recur @r count @loops state(%e : tensor<4xf32>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      %two = arith.constant 2 : index
      %early = arith.cmpi slt, %t, %two : index
      %a = loop.where %early : i1 state(%h : tensor<4xf32>) {
      ^bb0(%x: tensor<4xf32>):
        %x1 = arith.addf %x, %x : tensor<4xf32>
        loop.yield %x1 : tensor<4xf32>
      } -> tensor<4xf32>
      %ti = arith.index_cast %t : index to i32
      %tf = arith.sitofp %ti : i32 to f32
      %tt = tensor.from_elements %tf : tensor<f32>
      %tb = loop.broadcast %tt dims [] : tensor<f32> -> tensor<4xf32>
      %b = arith.mulf %a, %tb : tensor<4xf32>
      %c = loop.recur @inner count @three state(%b : tensor<4xf32>) {
      ^bb0(%j: index, %z: tensor<4xf32>):
        %z1 = loop.act tanh %z : tensor<4xf32>
        loop.yield %z1 : tensor<4xf32>
      } -> tensor<4xf32>
      %sum = loop.reduce sum %c over 0 : tensor<4xf32> -> tensor<f32>
      %zero = arith.constant dense<0.0> : tensor<f32>
      %pos = arith.cmpf ogt, %sum, %zero : tensor<f32>
      %d = loop.where %pos : tensor<i1> state(%c : tensor<4xf32>) {
      ^bb0(%x: tensor<4xf32>):
        %x1 = arith.negf %x : tensor<4xf32>
        loop.yield %x1 : tensor<4xf32>
      } -> tensor<4xf32>
      loop.yield %d : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}
