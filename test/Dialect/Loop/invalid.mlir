// What the verifiers of the loop dialect refuse.
// RUN: loopc-opt %s -split-input-file -verify-diagnostics -allow-unregistered-dialect

loop.model @m phase(source) {
  // expected-error@+1 {{expected 0 <= min <= default <= max, but got min 1, default 9, max 8}}
  loop.count @loops default 9 range 1, 8
}

// -----

loop.model @m phase(source) {
  // expected-error@+1 {{expected a static tensor type, but got 'tensor<?x4xf32>'}}
  loop.weight @w : tensor<?x4xf32>
}

// -----

loop.model @m phase(source) {
  // expected-error@+1 {{expected one index for each of 2 tables, but got 1}}
  loop.weight @w : tensor<4x4xf32> tables [2] from "w.{}" indices [0]
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    // expected-error@+1 {{expected the name of a loop.weight, but got @w}}
    %w = loop.param @w : tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.weight @w : tensor<4xf32>
  loop.forward @main {
    // expected-error@+1 {{expected the weight's type 'tensor<4xf32>', but got 'tensor<5xf32>'}}
    %w = loop.param @w : tensor<5xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.weight @w : tensor<4xf32> tables [2]
  loop.forward @main {
    // expected-error@+1 {{expected 1 table indices, but got 0}}
    %w = loop.param @w : tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<2x4xf32>
    %w = "example.value"() : () -> tensor<8x4xf32>
    // expected-error@+1 {{expected an input with one feature axis, but got [2, 4]}}
    %y = loop.linear %x, %w : (tensor<2x4xf32>, tensor<8x4xf32>) -> tensor<8xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<5xf32>
    %w = "example.value"() : () -> tensor<8x4xf32>
    // expected-error@+1 {{expected a weight [outputs, 5] or [5], but got [8, 4]}}
    %y = loop.linear %x, %w : (tensor<5xf32>, tensor<8x4xf32>) -> tensor<8xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %w = "example.value"() : () -> tensor<8x4xf32>
    // expected-error@+1 {{expected a result [8], but got [4]}}
    %y = loop.linear %x, %w : (tensor<4xf32>, tensor<8x4xf32>) -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %w = "example.value"() : () -> tensor<8x4xf32>
    %b = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected a bias [8], but got [4]}}
    %y = loop.linear %x, %w bias %b : (tensor<4xf32>, tensor<8x4xf32>, tensor<4xf32>) -> tensor<8xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<f32>
    // expected-error@+1 {{expected an input with a feature axis, but got a scalar}}
    %y = loop.norm rms %x eps(1.0e-6) : tensor<f32> -> tensor<f32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %w = "example.value"() : () -> tensor<3xf32>
    // expected-error@+1 {{expected a gain over the last axes of [4], but got [3]}}
    %y = loop.norm rms %x, %w : tensor<3xf32> in eps(1.0e-6) : tensor<4xf32> -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected an axis below 1, but got 1}}
    %y = loop.reduce sum %x over 1 : tensor<4xf32> -> tensor<f32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<2x4xf32>
    // expected-error@+1 {{expected a result [4], but got [2]}}
    %y = loop.reduce sum %x over 0 : tensor<2x4xf32> -> tensor<2xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected 4 elements, but got 6}}
    %y = loop.reshape %x : tensor<4xf32> -> tensor<2x3xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %q = "example.value"() : () -> tensor<4x2xf32>
    %k = "example.value"() : () -> tensor<3x2xf32>
    // expected-error@+1 {{expected k and v with equal heads that divide those of q}}
    %o = loop.attend %q, %k, %k at @s scale(1.0) : tensor<4x2xf32>, tensor<3x2xf32>, tensor<3x2xf32> -> tensor<4x2xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %q = "example.value"() : () -> tensor<4x2xf32>
    %k = "example.value"() : () -> tensor<2x2xf32>
    %l = "example.value"() : () -> tensor<2xf32>
    // expected-error@+1 {{expected the least product of each of 4 heads, but got 'tensor<2xf32>'}}
    %o = loop.attend %q, %k, %k at @s scale(1.0) least(%l : tensor<2xf32>) : tensor<4x2xf32>, tensor<2x2xf32>, tensor<2x2xf32> -> tensor<4x2xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected the layer index as first block argument}}
    %y = loop.stack @layers layers 2 state(%x : tensor<4xf32>) {
    ^bb0(%a: tensor<4xf32>):
      loop.yield %a : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %z = "example.value"() : () -> tensor<3xf32>
    // expected-error@+1 {{expected yielded values 0 of type 'tensor<4xf32>', but got 'tensor<3xf32>'}}
    %y = loop.stack @layers layers 2 state(%x : tensor<4xf32>) {
    ^bb0(%l: index, %a: tensor<4xf32>):
      loop.yield %z : tensor<3xf32>
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %stop = "example.value"() : () -> tensor<i1>
    // expected-error@+1 {{expected no exit test outside a recur}}
    %y = loop.stack @layers layers 2 state(%x : tensor<4xf32>) {
    ^bb0(%l: index, %a: tensor<4xf32>):
      loop.yield %a : tensor<4xf32> exit(%stop : tensor<i1>)
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.count @loops default 4 range 1, 8
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    %stop = "example.value"() : () -> tensor<i1>
    // expected-error@+1 {{expected no exit test, but loop.yield has one}}
    %h = loop.recur @core count @loops state(%x : tensor<4xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%i: index, %a: tensor<4xf32>):
      loop.yield %a : tensor<4xf32> exit(%stop : tensor<i1>)
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.count @loops default 4 range 1, 8
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected an exit test in loop.yield, but got none}}
    %h = loop.recur @core count @loops state(%x : tensor<4xf32>) kv(#loop.kv<depth_indexed>) exit(#loop.exit<hazard, lane>) {
    ^bb0(%i: index, %a: tensor<4xf32>):
      loop.yield %a : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.count @loops default 4 range 1, 8
  loop.forward @main {
    %x = "example.value"() : () -> tensor<4xf32>
    // expected-error@+1 {{expected the iteration index as first block argument}}
    %h = loop.recur @core count @loops state(%x : tensor<4xf32>) kv(#loop.kv<depth_indexed>) {
    ^bb0(%a: tensor<4xf32>):
      loop.yield %a : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return
  }
}

// -----

loop.model @m phase(source) {
  loop.forward @main {
    %x = "example.value"() : () -> tensor<?x4xf32, #loop.rows<lane>>
    %y = "example.value"() : () -> tensor<?x4xf32, #loop.rows<sequence>>
    // expected-error@+1 {{expected values of one row space, but got lane and sequence}}
    %z = loop.concat %x, %y : tensor<?x4xf32, #loop.rows<lane>>, tensor<?x4xf32, #loop.rows<sequence>> -> tensor<?x8xf32, #loop.rows<lane>>
    loop.return
  }
}
