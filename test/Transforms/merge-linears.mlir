// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-merge-linears | FileCheck %s --check-prefix=OURO
// RUN: loopc-opt %s --loop-merge-linears | FileCheck %s

// OURO: loop.weight @"layers.{}.q.weight+layers.{}.k.weight+layers.{}.v.weight" : tensor<16x8xf32> tables [2] merged [@"layers.{}.q.weight", @"layers.{}.k.weight", @"layers.{}.v.weight"]
// OURO: loop.weight @"layers.{}.gate.weight+layers.{}.up.weight" : tensor<24x8xf32>
// OURO: %[[W:.*]] = loop.param @"layers.{}.q.weight+layers.{}.k.weight+layers.{}.v.weight"[%{{.*}}] : tensor<16x8xf32>
// OURO: %[[F:.*]] = loop.linear %{{.*}}, %[[W]]
// OURO: loop.slice %[[F]] axis 0 from 0 : tensor<16xf32> -> tensor<8xf32>
// OURO: loop.slice %[[F]] axis 0 from 8 : tensor<16xf32> -> tensor<4xf32>
// OURO: loop.slice %[[F]] axis 0 from 12 : tensor<16xf32> -> tensor<4xf32>
// OURO-NOT: loop.param @"layers.{}.q.weight"[

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
