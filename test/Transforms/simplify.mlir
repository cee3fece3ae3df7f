// A spread constant is a constant, a square a product.
// RUN: loopc-opt %s --loop-simplify --cse | FileCheck %s

// CHECK: %[[X:.*]] = loop.broadcast %{{.*}} dims [] : tensor<f32> -> tensor<4xf32>
// CHECK-NEXT: %[[SQUARE:.*]] = arith.mulf %[[X]], %[[X]]
// CHECK-NEXT: %[[HALF:.*]] = arith.constant dense<5.000000e-01> : tensor<4xf32>
// CHECK-NEXT: arith.mulf %[[SQUARE]], %[[HALF]]
// CHECK-NEXT: %[[THREE:.*]] = arith.constant dense<3.000000e+00> : tensor<4xf32>
// CHECK-NEXT: math.powf %{{.*}}, %[[THREE]]
loop.model @m phase(source) {
  loop.forward @main {
    %p = loop.position : tensor<i32>
    %f = arith.sitofp %p : tensor<i32> to tensor<f32>
    %x = loop.broadcast %f dims [] : tensor<f32> -> tensor<4xf32>
    %two = arith.constant dense<2.0> : tensor<f32>
    %twos = loop.broadcast %two dims [] : tensor<f32> -> tensor<4xf32>
    %s = math.powf %x, %twos : tensor<4xf32>
    %half = arith.constant dense<0.5> : tensor<1xf32>
    %h0 = loop.reshape %half : tensor<1xf32> -> tensor<f32>
    %h = loop.broadcast %h0 dims [] : tensor<f32> -> tensor<4xf32>
    %y = arith.mulf %s, %h : tensor<4xf32>
    %three = arith.constant dense<3.0> : tensor<f32>
    %threes = loop.broadcast %three dims [] : tensor<f32> -> tensor<4xf32>
    %z = math.powf %y, %threes : tensor<4xf32>
    loop.return %z : tensor<4xf32>
  }
}
