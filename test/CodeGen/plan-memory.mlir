// Buffers whose lives do not meet share bytes; one that lives across a loop does not.
// RUN: loopc-opt %s --task-plan-memory | FileCheck %s

// Four buffers of a chain: the first is free again when the fourth is written.
// CHECK-LABEL: task.program @chain pool -1 arena 192
task.program @chain pool -1 {
  %all = task.all
  // CHECK: task.buffer at 0 : <16, f32>
  // CHECK: task.buffer at 64 : <16, f32>
  // CHECK: task.buffer at 128 : <16, f32>
  // CHECK: task.buffer at 0 : <16, f32>
  %a = task.buffer : !task.mem<16, f32>
  %b = task.buffer : !task.mem<16, f32>
  %c = task.buffer : !task.mem<16, f32>
  %d = task.buffer : !task.mem<16, f32>
  task.phase "1" rows of %all {
    task.softmax ins(%a : !task.mem<16, f32>) outs(%b : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
  task.phase "2" rows of %all {
    task.softmax ins(%b : !task.mem<16, f32>) outs(%c : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
  task.phase "3" rows of %all {
    task.softmax ins(%c : !task.mem<16, f32>) outs(%d : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
  }
}

// CHECK-LABEL: task.program @loop pool -1 arena 192
task.program @loop pool -1 {
  %all = task.all
  // CHECK: task.buffer at 0 : <16, f32>
  %a = task.buffer : !task.mem<16, f32>
  task.layers 4 {
  ^bb0(%l: index):
    // CHECK: task.buffer at 64 : <16, f32>
    // CHECK: task.buffer at 128 : <16, f32>
    %b = task.buffer : !task.mem<16, f32>
    %c = task.buffer : !task.mem<16, f32>
    task.phase "1" rows of %all {
      task.softmax ins(%a : !task.mem<16, f32>) outs(%b : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
    }
    task.phase "2" rows of %all {
      task.softmax ins(%b : !task.mem<16, f32>) outs(%c : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
      task.softmax ins(%c : !task.mem<16, f32>) outs(%a : !task.mem<16, f32>) shape [16] views [#task.view<0, [1]>, #task.view<0, [1]>]
    }
  }
}
