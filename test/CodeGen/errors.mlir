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

// -----

loop.model @m phase(lanes) {
  // expected-error@+1 {{expected a plan and a stage in LANES, but got none}}
  loop.site @a kv heads 1 dim 2
}

// -----

loop.model @m phase(lanes) {
  loop.site @a kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @prelude
  // expected-error@+1 {{expected rows of 'f32' as the other sites of @prelude, but got 'bf16'}}
  loop.site @b kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows bf16>) stage @prelude
}

// -----

loop.model @m phase(lanes) {
  loop.site @a kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @s1
  loop.site @b kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @s2
  loop.site @c kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @s3
  loop.site @d kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @s4
  // expected-error@+1 {{expected at most 4 stages with sites, but got more}}
  loop.site @e kv heads 1 dim 2 plan(#loop.site_plan<write (d) -> (0), read (d) -> (0), planes (d) -> (1), rows f32>) stage @s5
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    // expected-error@+1 {{expected a field of the bank, but got `y`}}
    %b1 = loop.store %x to %b["y"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b1 : !loop.bank<@slot>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<1x2xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>, %c: !loop.cache<@prelude>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x1x2xf32, #lane>
    // expected-error@+1 {{expected a site of the model, but got @gone}}
    %c1 = loop.kv.append %x, %x to %c at @gone lanes %L : tensor<?x1x2xf32, #lane>, tensor<?x1x2xf32, #lane>, !loop.cache<@prelude>, !loop.lanes<lane> -> !loop.cache<@prelude>
    loop.return %b, %c1 : !loop.bank<@slot>, !loop.cache<@prelude>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<1x2xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>, %c: !loop.cache<@prelude>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x1x2xf32, #lane>
    // expected-error@+1 {{expected a site of the model, but got @gone}}
    %o = loop.kv.attend %x in %c at @gone lanes %L scale(1.0) order(<keys, 64, 512>) : tensor<?x1x2xf32, #lane>, !loop.cache<@prelude>, !loop.lanes<lane> -> tensor<?x1x2xf32, #lane>
    %b1 = loop.store %o to %b["x"] at %L : tensor<?x1x2xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b1, %c : !loop.bank<@slot>, !loop.cache<@prelude>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %p = arith.constant dense<true> : tensor<i1>
    // expected-error@+1 {{expected a condition of type i1 in LANES, but got 'tensor<i1>'}}
    %y = loop.where %p : tensor<i1> state(%x : tensor<?x4xf32, #lane>) {
    ^bb0(%s: tensor<?x4xf32, #lane>):
      loop.yield %s : tensor<?x4xf32, #lane>
    } -> tensor<?x4xf32, #lane>
    %b1 = loop.store %y to %b["x"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b1 : !loop.bank<@slot>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    // expected-error@+1 {{expected an op of LANES that the code generator knows, but got `loop.position`}}
    %x = loop.position : tensor<i32>
    %y = loop.stop_gradient %x : tensor<i32>
    %z = loop.spread %y over %L : tensor<i32>, !loop.lanes<lane> -> tensor<?xi32, #lane>
    %b1 = loop.store %z to %b["x"] at %L : tensor<?xi32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b1 : !loop.bank<@slot>
  }
}

// -----

#lane = #loop.rows<lane>
loop.model @m phase(lanes) {
  loop.count @loops default 2 range 1, 4
  loop.bank @slot [#loop.field<"x" : tensor<4xf32>>]
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %x = loop.load %b["x"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    // expected-error@+1 {{expected a scheduled recur (with rounds), but got an inline one}}
    %y = loop.recur @inner count @loops state(%x : tensor<?x4xf32, #lane>) {
    ^bb0(%t: index, %s: tensor<?x4xf32, #lane>):
      loop.yield %s : tensor<?x4xf32, #lane>
    } -> tensor<?x4xf32, #lane>
    %b1 = loop.store %y to %b["x"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b1 : !loop.bank<@slot>
  }
}
