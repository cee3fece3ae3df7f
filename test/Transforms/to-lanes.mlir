// Row spaces, carried values, threaded caches, columns; where on a layer index stays a uniform branch.
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-to-lanes | FileCheck %s --check-prefix=OURO
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-to-lanes | FileCheck %s --check-prefix=PARCAE

// OURO: loop.model @ouro phase({{ *}}lanes)
// OURO: loop.bank @slot []
// OURO: loop.stage @step
// OURO: ^bb0(%[[L:.*]]: !loop.lanes<lane>, %[[R:.*]]: index, %[[B:.*]]: !loop.bank<@slot>, %[[C:.*]]: !loop.cache<@step>):
// OURO: %[[ID:.*]] = loop.column {{ *}}token of %[[L]]
// OURO: loop.embed %[[ID]]
// OURO: %[[ONES:.*]] = loop.spread %{{.*}} over %[[L]] : tensor<f32>
// OURO: loop.recur @ut count @loops rounds(%[[R]]) of %[[L]]
// OURO-SAME: cache(%[[C]] : !loop.cache<@step>) kv(<depth_indexed holes last_exited>) exit(<early, lane>)
// OURO-NEXT: ^bb0(%[[A:.*]]: !loop.lanes<lane.ut>, %{{.*}}: tensor<?x8xf32, #loop.rows<lane.ut>>, %{{.*}}: tensor<?xf32, #loop.rows<lane.ut>>, %[[K0:.*]]: !loop.cache<@step>):
// OURO-NEXT: loop.stack @layers layers 2 {{.*}} cache(%[[K0]] : !loop.cache<@step>)
// OURO: loop.rope %{{.*}} at %[[A]] in !loop.lanes<lane.ut>
// OURO: %[[K1:.*]] = loop.kv.append
// OURO-NEXT: loop.kv.attend %{{.*}} in %[[K1]]
// OURO: loop.knob_value @threshold at %[[A]]
// OURO: %[[STOP:.*]] = arith.cmpf oge
// OURO: loop.yield {{.*}} exit(%[[STOP]] : tensor<?xi1, #loop.rows<lane.ut>>)
// OURO-NOT: loop.tap

// PARCAE: loop.draw @s0 field "draw.s0" law(<truncated_normal, std = 2.280000e-02, cut = 3.000000e+00>) : tensor<4xf32>
// PARCAE: loop.bank @slot [#loop.field<draw.s0 : tensor<4xf32>>]
// PARCAE: %[[S0:.*]] = loop.load %{{.*}}["draw.s0"]
// PARCAE: loop.recur @core count @loops {{.*}} state(%[[S0]] : {{.*}}) with(%{{.*}} : tensor<?x4xf32, #loop.rows<lane>>)
// The value embeddings read the token id again inside the loop: it is a column, not a value to carry.
// PARCAE: %[[ID:.*]] = loop.column {{ *}}token of %{{.*}} : <lane.core>
// PARCAE: loop.where %{{.*}} : i1 state(
// PARCAE: loop.embed %[[ID]]
// PARCAE: loop.linear %{{.*}} : (tensor<?x4xf32, #loop.rows<lane>>, tensor<4x4xf32>) -> tensor<?x4xf32, #loop.rows<lane>>
