// Programs that LANES cannot say, with what is wanted instead.
// RUN: loopc-opt %s -split-input-file --loop-to-lanes -verify-diagnostics

loop.model @inner_count phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.forward @main {
    %e = arith.constant dense<1.0> : tensor<4xf32>
    %y = loop.stack @s layers 2 state(%e : tensor<4xf32>) {
    ^bb0(%l: index, %h: tensor<4xf32>):
      // expected-error@+1 {{expected a fixed count for a loop inside another, but @loops is chosen at run time}}
      %z = loop.recur @r count @loops state(%h : tensor<4xf32>) {
      ^bb0(%t: index, %x: tensor<4xf32>):
        loop.yield %x : tensor<4xf32>
      } -> tensor<4xf32>
      loop.yield %z : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}

// -----

loop.model @iteration_table phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.weight @w : tensor<4xf32> tables [4, 4]
  loop.forward @main {
    %e = arith.constant dense<1.0> : tensor<4xf32>
    %y = loop.recur @r count @loops state(%e : tensor<4xf32>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      // expected-error@+1 {{expected at most one index that depends on the iteration, but got more}}
      %w = loop.param @w[%t, %t] : tensor<4xf32>
      %z = arith.addf %h, %w : tensor<4xf32>
      loop.yield %z : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}

// -----

loop.model @second_loop phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.count @three default 3 range 3, 3
  loop.site @attn kv heads 1 dim 4
  loop.forward @main {
    %e = arith.constant dense<1.0> : tensor<1x4xf32>
    %y = loop.recur @first count @loops state(%e : tensor<1x4xf32>) {
    ^bb0(%t: index, %h: tensor<1x4xf32>):
      loop.yield %h : tensor<1x4xf32>
    } -> tensor<1x4xf32>
    // expected-error@+1 {{expected attention in the first loop of the program, but got it in another}}
    %z = loop.recur @second count @three state(%y : tensor<1x4xf32>) {
    ^bb0(%t: index, %h: tensor<1x4xf32>):
      %a = loop.attend %h, %h, %h at @attn scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
      loop.yield %a : tensor<1x4xf32>
    } -> tensor<1x4xf32>
    loop.return %z : tensor<1x4xf32>
  }
}
