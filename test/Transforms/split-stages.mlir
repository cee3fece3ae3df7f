// Stages, bank fields, schedule; observed taps become fields.
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-to-lanes=observe=gate --cse --loop-split-stages --cse | FileCheck %s --check-prefix=OURO
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-to-lanes=observe=u,ve,e --cse --loop-split-stages --cse | FileCheck %s --check-prefix=PARCAE
// RUN: loopc-opt %S/Inputs/looped_middle.mlir --loop-to-lanes --cse --loop-split-stages --cse | FileCheck %s --check-prefix=MIDDLE

// The head reads only the state; the survival stays in the bank for the next iteration.
// OURO: loop.site @layers.attn kv heads 2 dim 2 tables [2] stage @core
// OURO: loop.bank @slot [#loop.field<h : tensor<8xf32>>, #loop.field<stay : tensor<f32>>, #loop.field<obs.gate : tensor<f32>>]
// OURO: loop.schedule [#loop.edge<prelude -> core, always>, #loop.edge<core -> core, running>, #loop.edge<core -> head, finished>]
// OURO: loop.stage @prelude
// OURO: ^bb0(%{{.*}}: !loop.lanes<lane>, %{{.*}}: index, %{{.*}}: !loop.bank<@slot>):
// OURO: loop.store {{.*}}["h"]
// OURO: loop.store {{.*}}["stay"]
// OURO: loop.store {{.*}}["obs.gate"]
// OURO: loop.stage @core
// OURO: !loop.cache<@core>
// OURO: loop.load {{.*}}["h"]
// OURO: loop.load {{.*}}["stay"]
// OURO: loop.load {{.*}}["obs.gate"]
// OURO: %[[L:.*]], %[[S:.*]]:3, %{{.*}} = loop.recur @ut
// OURO: loop.store %[[S]]#0 to {{.*}}["h"] at %[[L]]
// OURO: loop.store %[[S]]#1 to {{.*}}["stay"] at %[[L]]
// OURO: loop.store %[[S]]#2 to {{.*}}["obs.gate"] at %[[L]]
// OURO: loop.stage @head
// OURO-NOT: loop.store
// OURO: loop.return %{{.*}}, %{{.*}} : !loop.bank<@slot>, tensor<?x32xf32, #loop.rows<lane>>

// PARCAE: loop.site @prelude.attn {{.*}} stage @prelude
// PARCAE: loop.site @core.attn {{.*}} stage @core
// PARCAE: loop.site @coda.attn {{.*}} stage @coda
// PARCAE: loop.bank @slot [#loop.field<core.0 : tensor<4xf32>>, #loop.field<obs.u : tensor<4xf32>>, #loop.field<obs.ve : tensor<2x2xf32>>, #loop.field<e : tensor<4xf32>>, #loop.field<coda.1 : tensor<4xf32>>, #loop.field<draw.s0 : tensor<4xf32>>, #loop.field<obs.e : tensor<4xf32>>]
// PARCAE: loop.schedule [{{.*}}#loop.edge<core -> coda, finished>, #loop.edge<coda -> head, always>]
// PARCAE: loop.stage @prelude
// PARCAE: %[[S0:.*]] = loop.load {{.*}}["draw.s0"]
// PARCAE: loop.store %[[S0]] to {{.*}}["core.0"]
// PARCAE: loop.stage @coda
// PARCAE: loop.load {{.*}}["core.0"]
// PARCAE: loop.store {{.*}}["coda.1"]
// PARCAE: loop.stage @head
// PARCAE: loop.load {{.*}}["coda.1"]
// PARCAE: text = "stages prelude, core, coda, head; a lane keeps 112 bytes between them"

// A count that may be 0 lets a lane pass the core by.
// MIDDLE: loop.schedule [#loop.edge<prelude -> core, running>, #loop.edge<prelude -> coda, finished>
// MIDDLE: loop.stage @core
// MIDDLE: loop.count_value @loops at %{{.*}} in !loop.lanes<lane.mid>

// Without a loop the stack is the prelude, the readout the head.
// RUN: loopc-opt %S/Inputs/plain.mlir --loop-lanes --loop-check=phase=lanes | FileCheck %s --check-prefix=PLAIN
// PLAIN: loop.site @attn {{.*}} plan(<write (d0) -> (0), read (d0) -> (0), planes (d0) -> (1), rows f32>) stage @prelude
// PLAIN: loop.bank @slot [#loop.field<prelude.0 : tensor<4xf32>>]
// PLAIN: loop.schedule [#loop.edge<prelude -> head, always>]
// PLAIN-NOT: @core
// PLAIN: loop.stage @head
// PLAIN: loop.norm
