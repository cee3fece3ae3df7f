// A sync stands before each phase that conflicts with an earlier one, over the back edge of a loop too, and nowhere else.
// RUN: loopc-opt %s --task-place-syncs | FileCheck %s
// RUN: loopc-opt %s --task-place-syncs --task-check | FileCheck %s

// Rows phases over one list: a row stays with its worker.
// CHECK-LABEL: task.program @rows pool -1 syncs 0
task.program @rows pool -1 {
  %all = task.all
  %a = task.buffer : !task.mem<16, f32>
  %b = task.buffer : !task.mem<16, f32>
  task.phase "1" rows of %all {
    task.softmax ins(%a : !task.mem<16, f32>) outs(%b : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
  // CHECK-NOT: task.sync
  task.phase "2" rows of %all {
    task.softmax ins(%b : !task.mem<16, f32>) outs(%a : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
}

// Panels read whole rows: one sync before, one after; the one before also serves the back edge.
// CHECK-LABEL: task.program @layers pool -1 syncs 2
task.program @layers pool -1 {
  %all = task.all
  %a = task.buffer : !task.mem<4, f32>
  %b = task.buffer : !task.mem<4, f32>
  // CHECK: task.layers
  task.layers 4 {
  ^bb0(%l: index):
    %w = task.param "w" entry 0 panel [%l] strides [1] : !task.mem<128, f32>
    // CHECK: task.sync 0
    // CHECK-NEXT: task.phase "linear"
    task.phase "linear" panels of %all {
      task.gemm k 4 groups 1 ins(%a, %w : !task.mem<4, f32>, !task.mem<128, f32>) outs(%b : !task.mem<4, f32>)
          shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
      ^bb0(%sum: f32):
        task.yield %sum : f32
      }
    }
    // CHECK: task.sync 1
    // CHECK-NEXT: task.phase "rows"
    task.phase "rows" rows of %all {
      task.softmax ins(%b : !task.mem<4, f32>) outs(%a : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>]
    }
  }
}

// The columns that end an iteration are read by every worker at the start of the next.
// CHECK-LABEL: task.program @rounds pool -1 syncs 2
task.program @rounds pool -1 {
  // CHECK: task.rounds
  task.rounds {
  ^bb0(%on: !task.list):
    // CHECK: task.sync 0
    // CHECK-NEXT: task.phase "end"
    task.phase "end" rows of %on {
      task.advance views []
    }
    // CHECK: task.sync 1
    // CHECK-NEXT: }
  }
}
