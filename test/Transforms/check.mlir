// Each violation of a form is named where it stands.
// RUN: loopc-opt %s -split-input-file --loop-check -verify-diagnostics

// expected-error@+1 {{expected a loop.forward, but got none}}
loop.model @empty phase(source) {
}

// -----

loop.model @lanes_op phase(lanes) {
  // expected-error@+1 {{expected an op of the form lanes, but this op does not stand in it}}
  loop.forward @main {
    %p = loop.position : tensor<i32>
    loop.return %p : tensor<i32>
  }
}

// -----

loop.model @foreign phase(source) {
  loop.forward @main {
    %x = loop.position : tensor<i32>
    // expected-error@+1 {{expected an op of the loop dialect, an element function or a rearrangement of features, but got `tensor.empty`}}
    %y = tensor.empty() : tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}

// -----

loop.model @dynamic phase(source) {
  loop.forward @main {
    // expected-error@+1 {{expected static feature axes and no rows, but got 'tensor<?xi32>'}}
    %x = loop.position : tensor<?xi32>
    loop.return %x : tensor<?xi32>
  }
}

// -----

loop.model @shared_site phase(source) {
  loop.site @attn kv heads 1 dim 4
  loop.forward @main {
    %q = arith.constant dense<1.0> : tensor<1x4xf32>
    // expected-note@+1 {{first used here}}
    %a = loop.attend %q, %q, %q at @attn scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
    // expected-error@+1 {{expected a site of its own, but @attn is used twice}}
    %b = loop.attend %q, %a, %q at @attn scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
    loop.return %b : tensor<1x4xf32>
  }
}

// -----

loop.model @wrong_heads phase(source) {
  loop.site @attn kv heads 2 dim 4
  loop.forward @main {
    %q = arith.constant dense<1.0> : tensor<1x4xf32>
    // expected-error@+1 {{expected keys [2, 4] of site @attn, but got [1, 4]}}
    %a = loop.attend %q, %q, %q at @attn scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
    loop.return %a : tensor<1x4xf32>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @captured phase(lanes) {
  loop.count @loops default 2 range 1, 4
  loop.bank @slot [#loop.field<h : tensor<4xf32>>]
  loop.stage @core {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %L1, %y = loop.recur @r count @loops rounds(%R) of %L : !loop.lanes<lane> state(%h : tensor<?x4xf32, #lane>) {
    ^bb0(%A: !loop.lanes<lane.r>, %x: tensor<?x4xf32, #loop.rows<lane.r>>):
      // expected-error@+1 {{expected rows to enter @r through `state` or `with`, but an operand has rows of lane}}
      %z = arith.addf %h, %h : tensor<?x4xf32, #lane>
      loop.yield %x : tensor<?x4xf32, #loop.rows<lane.r>>
    } lanes !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    loop.return %b : !loop.bank<@slot>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @bank_twice phase(lanes) {
  loop.bank @slot [#loop.field<h : tensor<4xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %zero = arith.constant dense<0.0> : tensor<4xf32>
    %x = loop.spread %zero over %L : tensor<4xf32>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %b1 = loop.store %x to %b["h"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    // expected-error@+1 {{it is used up twice}}
    %b2 = loop.store %x to %b["h"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b2 : !loop.bank<@slot>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @not_stored phase(lanes) {
  loop.bank @slot [#loop.field<h : tensor<4xf32>>]
  loop.schedule [#loop.edge<prelude -> head, always>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    loop.return %b : !loop.bank<@slot>
  }
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    // expected-error@+1 {{expected field h to be stored on every way to @head, but it is not}}
    %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    loop.return %b, %h : !loop.bank<@slot>, tensor<?x4xf32, #lane>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @unknown_field phase(lanes) {
  loop.bank @slot []
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    // expected-error@+1 {{expected a field of @slot, but got h}}
    %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    loop.return %b, %h : !loop.bank<@slot>, tensor<?x4xf32, #lane>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @no_append phase(lanes) {
  loop.site @attn kv heads 1 dim 4
  loop.bank @slot [#loop.field<q : tensor<1x4xf32>>]
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>, %c: !loop.cache<@head>):
    %q = loop.load %b["q"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x1x4xf32, #lane>
    // expected-error@+1 {{expected a kv.append of @attn before it, but got none}}
    %o = loop.kv.attend %q in %c at @attn lanes %L scale(0.5) : tensor<?x1x4xf32, #lane>, !loop.cache<@head>, !loop.lanes<lane> -> tensor<?x1x4xf32, #lane>
    loop.return %b, %c, %o : !loop.bank<@slot>, !loop.cache<@head>, tensor<?x1x4xf32, #lane>
  }
}
