// Whose rows attention reads: those of the first iteration, of all so far, of the token before. Attends of the same keys
// share what is kept; tokens that a branch leaves out leave a row that is none.
// RUN: loopc-opt %s --loop-lanes --loop-check=phase=lanes | FileCheck %s

// CHECK: loop.recur @r
// CHECK: %[[P:.*]] = loop.kv.append %{{.*}} at @both
// CHECK: loop.kv.attend %{{.*}} in %[[P]] at @both lanes %{{.*}} scale(5.000000e-01) first order
// CHECK-NOT: loop.kv.append
// CHECK: loop.kv.attend %{{.*}} in %[[P]] at @both lanes %{{.*}} scale(5.000000e-01) window(2) log_sum order({{.*}}-> tensor<?x1x5xf32
// CHECK: loop.kv.attend {{.*}} at @all lanes {{.*}} upto order
// CHECK: loop.kv.attend {{.*}} at @last lanes {{.*}} window(1) before(1) order
// CHECK: %[[C:.*]] = arith.cmpf ogt
// CHECK: arith.constant dense<0x7FC00000>
// CHECK: %[[K:.*]] = arith.select
// CHECK: %[[V:.*]] = arith.select
// CHECK: loop.kv.append %[[K]], %[[V]] to %{{.*}} at @some
// CHECK: loop.kv.attend {{.*}} at @some lanes {{.*}} sparse order
loop.model @m phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.site @both kv heads 1 dim 4
  loop.site @all kv heads 1 dim 4
  loop.site @last kv heads 1 dim 4
  loop.site @some kv heads 1 dim 4
  loop.forward @main {
    %p = loop.position : tensor<i32>
    %f = arith.sitofp %p : tensor<i32> to tensor<f32>
    %e = loop.broadcast %f dims [] : tensor<f32> -> tensor<1x4xf32>
    %y = loop.recur @r count @loops state(%e : tensor<1x4xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%t: index, %h: tensor<1x4xf32>):
      %a = loop.attend %h, %h, %h at @both scale(0.5) first : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
      %b = loop.attend %a, %h, %h at @both scale(0.5) window(2) log_sum : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x5xf32>
      %b4 = loop.slice %b axis 1 from 0 : tensor<1x5xf32> -> tensor<1x4xf32>
      %c = loop.attend %b4, %a, %a at @all scale(0.5) upto : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
      %d = loop.attend %c, %c, %c at @last scale(0.5) window(1) before(1) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
      %s4 = loop.reduce sum %d over 0 : tensor<1x4xf32> -> tensor<4xf32>
      %s = loop.reduce sum %s4 over 0 : tensor<4xf32> -> tensor<f32>
      %zero = arith.constant dense<0.0> : tensor<f32>
      %some = arith.cmpf ogt, %s, %zero : tensor<f32>
      %g = loop.where %some : tensor<i1> state(%d : tensor<1x4xf32>) {
      ^bb0(%x: tensor<1x4xf32>):
        %o = loop.attend %x, %x, %x at @some scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
        loop.yield %o : tensor<1x4xf32>
      } -> tensor<1x4xf32>
      loop.yield %g : tensor<1x4xf32>
    } -> tensor<1x4xf32>
    loop.return %y : tensor<1x4xf32>
  }
}
