// What loop-form-phases refuses.
// RUN: loopc-opt %s --loop-form-phases -split-input-file -verify-diagnostics

// expected-error@+1 {{expected phase(lanes), but got phase(source)}}
loop.model @m phase(source) {
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    // expected-error@+1 {{expected a field of the bank, but got `y`}}
    %x = loop.load %b["y"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    loop.return %b, %x : !loop.bank<@slot>, tensor<?x4xf32, #lane>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.weight @w : tensor<4x4xf32>
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %w = loop.param @w : tensor<4x4xf32>
    %v = arith.addf %w, %w : tensor<4x4xf32>
    // expected-error@+1 {{expected a parameter as the matrix of a linear, but got a computed value}}
    %y = loop.linear %x, %v order(<chain>) : (tensor<?x4xf32, #lane>, tensor<4x4xf32>) -> tensor<?x4xf32, #lane>
    loop.return %b, %y : !loop.bank<@slot>, tensor<?x4xf32, #lane>
  }
}
