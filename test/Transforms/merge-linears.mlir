// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-merge-linears | FileCheck %s --check-prefix=OURO
// RUN: loopc-opt %s --loop-merge-linears -split-input-file | FileCheck %s

// OURO: loop.weight @"layers.{}.q.weight+layers.{}.k.weight+layers.{}.v.weight" : tensor<16x8xf32> tables [2] merged [@"layers.{}.q.weight", @"layers.{}.k.weight", @"layers.{}.v.weight"]
// OURO: loop.weight @"layers.{}.gate.weight+layers.{}.up.weight" : tensor<24x8xf32>
// OURO: %[[W:.*]] = loop.param @"layers.{}.q.weight+layers.{}.k.weight+layers.{}.v.weight"[%{{.*}}] : tensor<16x8xf32>
// OURO: %[[F:.*]] = loop.linear %{{.*}}, %[[W]]
// OURO: loop.slice %[[F]] axis 0 from 0 : tensor<16xf32> -> tensor<8xf32>
// OURO: loop.slice %[[F]] axis 0 from 8 : tensor<16xf32> -> tensor<4xf32>
// OURO: loop.slice %[[F]] axis 0 from 12 : tensor<16xf32> -> tensor<4xf32>
// OURO-NOT: loop.param @"layers.{}.q.weight"[

// One joined weight for all places that read the same company.
// RUN: loopc-opt %s --loop-merge-linears -split-input-file | FileCheck %s --check-prefix=TWICE
// TWICE-LABEL: loop.model @twice
// TWICE: loop.weight @"q+k" : tensor<8x4xf32> tables [5] merged [@q, @k]
// TWICE-NOT: loop.weight
// TWICE: loop.param @"q+k"[%{{.*}}]
// TWICE: loop.param @"q+k"[%{{.*}}]

loop.model @m phase(source) {
  loop.weight @a : tensor<4x4xf32> tables [2]
  loop.weight @b : tensor<4x4xf32>
  loop.weight @c : tensor<4x4xf32>
  loop.weight @d : tensor<4x4xf32>
  loop.weight @bias : tensor<4xf32>
  loop.forward @main {
    %p = loop.position : tensor<i32>
    %f = arith.sitofp %p : tensor<i32> to tensor<f32>
    %e = loop.broadcast %f dims [] : tensor<f32> -> tensor<4xf32>
    %i = arith.constant 1 : index
    // Other indices, a bias, a weight read twice: each stays.
    // CHECK: loop.param @a
    // CHECK: loop.param @b
    // CHECK: loop.param @c
    // CHECK: loop.param @d
    // CHECK: name = "LinearsKept", text = "1 linears of one input kept apart: their weights vary over other indices"
    // CHECK-SAME: name = "LinearsKept", text = "2 linears of one input kept apart: one of their weights is read elsewhere"
    %A = loop.param @a[%i] : tensor<4x4xf32>
    %B = loop.param @b : tensor<4x4xf32>
    %C = loop.param @c : tensor<4x4xf32>
    %D = loop.param @d : tensor<4x4xf32>
    %D1 = loop.param @d : tensor<4x4xf32>
    %v = loop.param @bias : tensor<4xf32>
    %ya = loop.linear %e, %A : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
    %yb = loop.linear %e, %B : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
    %yc = loop.linear %e, %C bias %v : (tensor<4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<4xf32>
    %yd = loop.linear %e, %D : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
    %s1 = arith.addf %ya, %yb : tensor<4xf32>
    %s2 = arith.addf %yc, %yd : tensor<4xf32>
    %s3 = arith.addf %s1, %s2 : tensor<4xf32>
    %y2 = loop.linear %s3, %D1 : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
    loop.return %y2 : tensor<4xf32>
  }
}

// -----

loop.model @twice phase(source) {
  loop.weight @q : tensor<4x4xf32> tables [5]
  loop.weight @k : tensor<4x4xf32> tables [5]
  loop.forward @main {
    %e = arith.constant dense<1.0> : tensor<4xf32>
    %x = loop.stack @front layers 2 state(%e : tensor<4xf32>) {
    ^bb0(%l: index, %h: tensor<4xf32>):
      %Q = loop.param @q[%l] : tensor<4x4xf32>
      %K = loop.param @k[%l] : tensor<4x4xf32>
      %q = loop.linear %h, %Q : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %k = loop.linear %h, %K : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %s = arith.addf %q, %k : tensor<4xf32>
      loop.yield %s : tensor<4xf32>
    } -> tensor<4xf32>
    %y = loop.stack @back layers 3 state(%x : tensor<4xf32>) {
    ^bb0(%l: index, %h: tensor<4xf32>):
      %two = arith.constant 2 : index
      %i = arith.addi %l, %two : index
      %Q = loop.param @q[%i] : tensor<4x4xf32>
      %K = loop.param @k[%i] : tensor<4x4xf32>
      %q = loop.linear %h, %Q : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %k = loop.linear %h, %K : (tensor<4xf32>, tensor<4x4xf32>) -> tensor<4xf32>
      %s = arith.addf %q, %k : tensor<4xf32>
      loop.yield %s : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}
