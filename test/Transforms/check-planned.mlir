// What a complete plan must say.
// RUN: loopc-opt %s -split-input-file --loop-check=phase=planned -verify-diagnostics

// expected-error@+1 {{expected the form planned, but got source}}
loop.model @source phase(source) {
}

// -----

// expected-error@+1 {{expected a contract, but got none}}
loop.model @no_contract phase(planned) {
  loop.forward @main {
    %p = loop.position : tensor<i32>
    loop.return %p : tensor<i32>
  }
}

// -----

loop.model @no_order phase(planned) contract(<lag none, group lane, order free, couple lane>) {
  loop.forward @main {
    %p = arith.constant dense<1.0> : tensor<4xf32>
    // expected-error@+1 {{expected an order, but got none}}
    %n = loop.norm rms %p eps(1.0e-5) : tensor<4xf32> -> tensor<4xf32>
    loop.return %n : tensor<4xf32>
  }
}

// -----

loop.model @mixed phase(planned) contract(<lag none, group lane, order free, couple lane>) {
  loop.weight @w : tensor<4x4xbf16>
  loop.forward @main {
    %p = arith.constant dense<1.0> : tensor<4xf32>
    %w = loop.param @w : tensor<4x4xbf16>
    // expected-error@+1 {{expected input and weight of one element type, but got 'f32' and 'bf16'}}
    %n = loop.linear %p, %w order(<chain>) : (tensor<4xf32>, tensor<4x4xbf16>) -> tensor<4xf32>
    loop.return %n : tensor<4xf32>
  }
}

// -----

loop.model @rows phase(planned) contract(<lag none, group lane, order free, couple lane>) {
  loop.site @attn kv heads 1 dim 4 plan(<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows bf16>)
  loop.forward @main {
    %q = arith.constant dense<1.0> : tensor<1x4xf32>
    // expected-error@+1 {{expected rows of 'bf16' as the plan of @attn says, but got 'tensor<1x4xf32>'}}
    %a = loop.attend %q, %q, %q at @attn scale(0.5) order(<keys, 64, 512>) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
    loop.return %a : tensor<1x4xf32>
  }
}
