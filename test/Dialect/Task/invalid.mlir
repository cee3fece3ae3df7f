// What the verifiers of the task dialect refuse.
// RUN: loopc-opt %s -split-input-file -verify-diagnostics

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected view 0 inside '!task.mem<4, f32>', but its last element is 5}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<2, [1]>] {
      %c = arith.constant 1.0 : f32
      task.yield %c : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected 1 strides in view 0, but got 2}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1, 1]>] {
      %c = arith.constant 1.0 : f32
      task.yield %c : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected 1 views, but got 2}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>] {
      %c = arith.constant 1.0 : f32
      task.yield %c : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected 0 block arguments, but got 1}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>] {
    ^bb0(%a: f32):
      task.yield %a : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected the block argument of '!task.mem<4, f32>' to be an element, but got 'i32'}}
    task.map ins(%x : !task.mem<4, f32>) outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%a: i32):
      %c = arith.constant 1.0 : f32
      task.yield %c : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected 1 yielded values, but got 0}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>] {
      task.yield
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  task.phase "rows" rows of %all {
    // expected-error@+1 {{expected an element of '!task.mem<4, f32>' to be yielded, but got 'i32'}}
    task.map outs(%x : !task.mem<4, f32>) shape [4] views [#task.view<0, [1]>] {
      %c = arith.constant 1 : i32
      task.yield %c : i32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  %w = task.param "w" entry 0 panel strides [] : !task.mem<64, f32>
  %y = task.buffer : !task.mem<4, f32>
  task.phase "linear" panels of %all {
    // expected-error@+1 {{expected panels of 4 x 4 elements, padded to 32 rows, but got 64}}
    task.gemm k 4 groups 1 ins(%x, %w : !task.mem<4, f32>, !task.mem<64, f32>) outs(%y : !task.mem<4, f32>)
        shape [4] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%sum: f32):
      task.yield %sum : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  %w = task.param "w" entry 0 panel strides [] : !task.mem<128, f32>
  %y = task.buffer : !task.mem<2, f32>
  task.phase "linear" panels of %all {
    // expected-error@+1 {{expected groups of whole panels, but got 2 columns}}
    task.gemm k 4 groups 2 ins(%x, %w : !task.mem<4, f32>, !task.mem<128, f32>) outs(%y : !task.mem<2, f32>)
        shape [2] views [#task.view<0, [1]>, #task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%a: f32, %b: f32):
      task.yield %a : f32
    }
  }
}

// -----

task.program @p pool -1 {
  %all = task.all
  %x = task.buffer : !task.mem<4, f32>
  %y = task.buffer : !task.mem<2, f32>
  task.phase "linear" panels of %all {
    // expected-error@+1 {{expected a row and panels among ins, but got 1 operands}}
    task.gemm k 4 groups 1 ins(%x : !task.mem<4, f32>) outs(%y : !task.mem<2, f32>) shape [2] views [#task.view<0, [1]>, #task.view<0, [1]>] {
    ^bb0(%a: f32):
      task.yield %a : f32
    }
  }
}
