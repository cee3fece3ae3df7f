// Programs that task-check refuses.
// RUN: loopc-opt %s --task-check -split-input-file -verify-diagnostics

task.program @missing pool -1 {
  %all = task.all
  %a = task.buffer : !task.mem<4, f32>
  %b = task.buffer : !task.mem<4, f32>
  %w = task.param "w" entry 0 panel strides [] : !task.mem<128, f32>
  task.phase "before" rows of %all {
    task.softmax ins(%b : !task.mem<4, f32>) outs(%a : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
  // expected-error@+1 {{expected a task.sync between it and phase "before", but got none}}
  task.phase "linear" panels of %all {
    task.gemm k 4 groups 1 ins(%a, %w : !task.mem<4, f32>, !task.mem<128, f32>) outs(%b : !task.mem<4, f32>)
        shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%sum: f32):
      task.yield %sum : f32
    }
  }
}

// -----

task.program @overlap pool -1 {
  %all = task.all
  %a = task.buffer at 0 : !task.mem<4, f32>
  // expected-error@+1 {{expected bytes of its own, but got those of a buffer that is alive at the same time}}
  %b = task.buffer at 0 : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    task.softmax ins(%a : !task.mem<4, f32>) outs(%b : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
}
