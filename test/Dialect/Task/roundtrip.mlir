// The syntax of the task dialect.
// RUN: loopc-opt %s | loopc-opt | FileCheck %s

#plane = affine_map<(d) -> (d)>
// CHECK: task.program @core pool 0
task.program @core pool 0 {
  %all = task.all
  // CHECK: task.field "h" at 64 : <4, f32>
  %h = task.field "h" at 64 : !task.mem<4, f32>
  %x = task.buffer : !task.mem<4, f32>
  // CHECK: task.phase "enter" rows of
  task.phase "enter" rows of %all {
    task.map ins(%h : !task.mem<4, f32>) outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%a: f32):
      task.yield %a : f32
    }
  }
  // CHECK: task.rounds
  task.rounds {
  ^bb0(%on: !task.list):
    // CHECK: task.layers 2
    task.layers 2 {
    ^bb0(%l: index):
      // CHECK: task.param "w" entry 3 panel[%{{.*}}] strides [1] : <128, f32>
      %w = task.param "w" entry 3 panel [%l] strides [1] : !task.mem<128, f32>
      %y = task.buffer : !task.mem<4, f32>
      // CHECK: task.phase "linear" panels of
      task.phase "linear" panels of %on {
        // CHECK: task.gemm k 4 groups 1 ins
        task.gemm k 4 groups 1 ins(%x, %w, %x : !task.mem<4, f32>, !task.mem<128, f32>, !task.mem<4, f32>) outs(%y : !task.mem<4, f32>)
            shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
        ^bb0(%sum: f32, %old: f32):
          %new = arith.addf %sum, %old : f32
          task.yield %new : f32
        }
      }
      // CHECK: task.sync 7
      task.sync 7
      task.phase "attend" heads of %on {
        // CHECK: task.attend pool 0 offset 0[%{{.*}}] strides [1] heads 1 dim 2 plane #map rows f32 scale 5.000000e-01 window 8
        task.attend pool 0 offset 0 [%l] strides [1] heads 1 dim 2 plane #plane rows f32 scale 0.5 window 8
            ins(%y : !task.mem<4, f32>) outs(%x : !task.mem<4, f32>) shape [2, 2] views [#task.view<0, [2, 1]>, #task.view<0, [2, 1]>]
      }
    }
    // CHECK: task.advance
    task.phase "end" rows of %on {
      task.advance views []
    }
  }
}
