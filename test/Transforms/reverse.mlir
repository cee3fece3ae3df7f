// A loss of a looped model and its reverse: loops stay rolled, a weight has one sum, what enters a loop gets one too.
// RUN: loopc-opt %s --loop-reverse | FileCheck %s
// CHECK: %[[X:.*]] = loop.embed
// CHECK: %[[H:.*]] = loop.recur @core
// CHECK: %[[Z:.*]] = loop.linear %[[H]]
// CHECK: %[[LOSS:.*]] = loop.cross_entropy
// CHECK: %[[HOT:.*]] = loop.one_hot
// CHECK: %[[P:.*]] = loop.softmax %[[Z]]
// CHECK: arith.subf %[[P]], %[[HOT]]
// CHECK: arith.mulf
// CHECK-NEXT: %[[DZ:.*]] = arith.mulf
// CHECK: %[[DH:.*]] = loop.linear %[[DZ]]
// CHECK: loop.accumulate @E %[[DZ]] outer(%[[H]] : tensor<4xf32>)
// CHECK: %[[DS:.*]], %[[DX:.*]] = loop.rewind @core count @loops window state(%[[X]] : tensor<4xf32>) adjoint(%[[DH]] : tensor<4xf32>) advance
// CHECK: } reverse {
// CHECK: %[[S:[^ ]*]]: tensor<4xf32>, %[[D:.*]]: tensor<4xf32>):
// CHECK: %[[A:.*]] = loop.linear %[[S]]
// CHECK: %[[B:.*]] = loop.stack @layers
// CHECK: %[[DB:.*]] = arith.mulf %[[D]], %[[X]]
// CHECK: %[[TERM:.*]] = arith.mulf %[[D]], %[[B]]
// CHECK: %[[DA:.*]] = loop.rewind @layers layers 2 state(%[[A]] : tensor<4xf32>) adjoint(%[[DB]] : tensor<4xf32>)
// CHECK: loop.accumulate @"V.{}"[%{{.*}}]
// CHECK: loop.accumulate @W %[[DA]] outer(%[[S]] : tensor<4xf32>)
// CHECK: loop.yield %{{.*}}, %[[TERM]]
// CHECK: %[[SUM:.*]] = arith.addf %[[DS]], %[[DX]]
// CHECK: loop.accumulate @E %[[SUM]] row(%{{.*}} : tensor<i32>)
// CHECK-NEXT: loop.return %[[LOSS]]
loop.model @m phase(source) {
  loop.count @loops default 3 range 0, 8
  loop.weight @E : tensor<5x4xf32>
  loop.weight @W : tensor<4x4xf32>
  loop.weight @"V.{}" : tensor<4xf32> tables [2] indices [0, 1]
  loop.forward @train {
    %token = loop.token : tensor<i32>
    %label = loop.label : tensor<i32>
    %E = loop.param @E : tensor<5x4xf32>
    %x = loop.embed %token, %E : (tensor<i32>, tensor<5x4xf32>) -> tensor<4xf32>
    %h = loop.recur @core count @loops state(%x : tensor<4xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%t: index, %s: tensor<4xf32>):
      %W = loop.param @W : tensor<4x4xf32>
      %a = loop.linear %s, %W : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %b = loop.stack @layers layers 2 state(%a : tensor<4xf32>) {
      ^bb0(%l: index, %u: tensor<4xf32>):
        %V = loop.param @"V.{}"[%l] : tensor<4xf32>
        %v = arith.mulf %u, %V : tensor<4xf32>
        loop.yield %v : tensor<4xf32>
      } -> tensor<4xf32>
      %c = arith.mulf %b, %x : tensor<4xf32>
      loop.yield %c : tensor<4xf32>
    } -> tensor<4xf32>
    %z = loop.linear %h, %E : (tensor<4xf32>, tensor<5x4xf32>) -> tensor<5xf32>
    %loss = loop.cross_entropy %z, %label : (tensor<5xf32>, tensor<i32>) -> tensor<f32>
    loop.return %loss : tensor<f32>
  }
}
