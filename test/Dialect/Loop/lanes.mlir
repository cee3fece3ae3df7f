// A whole model in the LANES form: prelude, core with an exit, head; two layers, two heads of two, four features.
// RUN: loopc-opt %s | loopc-opt | FileCheck %s

#lane = #loop.rows<lane>
#on = #loop.rows<lane.core>
// CHECK: loop.model @tiny phase({{ *}}lanes) contract(<lag none, group lane, order free, couple lane>)
loop.model @tiny phase(lanes) contract(<lag none, group lane, order free, couple lane>) {
  loop.count @loops default 3 range 1, 8
  loop.knob @threshold default 1.0
  loop.weight @embed.weight : tensor<8x4xf32>
  loop.weight @layers.wq : tensor<4x4xf32> tables [2]
  loop.weight @layers.wk : tensor<2x4xf32> tables [2]
  loop.weight @layers.wv : tensor<2x4xf32> tables [2]
  loop.weight @layers.wq_layers.wk_layers.wv : tensor<8x4xf32> tables [2] merged [@layers.wq, @layers.wk, @layers.wv]
  loop.weight @layers.wo : tensor<4x4xf32> tables [2]
  loop.weight @norm.weight : tensor<4xf32>
  loop.weight @gate.weight : tensor<4xf32>
  // CHECK: loop.site @layers.attn kv heads 1 dim 2 tables [2] plan(<write (d0) -> (d0), read (d0) -> (d0), planes (d0) -> (d0), rows f32>) stage @core
  loop.site @layers.attn kv heads 1 dim 2 tables [2]
    plan(#loop.site_plan<write (d) -> (d), read (d) -> (d), planes (d) -> (d), rows f32>) stage @core
  // CHECK: loop.bank @slot [#loop.field<h : tensor<4xf32>>
  loop.bank @slot [#loop.field<h : tensor<4xf32>>, #loop.field<stay : tensor<f32>>, #loop.field<e : tensor<4xf32>>,
                   #loop.field<draw.s0 : tensor<4xf32>>, #loop.field<obs.gate : tensor<f32>>]
  // CHECK: loop.draw @s0 field "draw.s0" law(<truncated_normal, std = 2.280000e-02, cut = 3.000000e+00>) : tensor<4xf32>
  loop.draw @s0 field "draw.s0" law(<truncated_normal, std = 0.0228, cut = 3.0>) : tensor<4xf32>
  // CHECK: loop.schedule [#loop.edge<prelude -> core, always>
  loop.schedule [#loop.edge<prelude -> core, always>, #loop.edge<core -> core, running>, #loop.edge<core -> head, finished>]

  // CHECK: loop.stage @prelude
  loop.stage @prelude {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %id = loop.column token of %L : !loop.lanes<lane> -> tensor<?xi32, #lane>
    %E = loop.param @embed.weight : tensor<8x4xf32>
    %e = loop.embed %id, %E : (tensor<?xi32, #lane>, tensor<8x4xf32>) -> tensor<?x4xf32, #lane>
    %one = arith.constant dense<1.0> : tensor<f32>
    %ones = loop.spread %one over %L : tensor<f32>, !loop.lanes<lane> -> tensor<?xf32, #lane>
    %zero = arith.constant dense<0.0> : tensor<f32>
    %zeros = loop.spread %zero over %L : tensor<f32>, !loop.lanes<lane> -> tensor<?xf32, #lane>
    %s0 = loop.load %b["draw.s0"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %b1 = loop.store %s0 to %b["h"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    %b2 = loop.store %ones to %b1["stay"] at %L : tensor<?xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    %b3 = loop.store %e to %b2["e"] at %L : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    %b4 = loop.store %zeros to %b3["obs.gate"] at %L : tensor<?xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b4 : !loop.bank<@slot>
  }
  // CHECK: loop.stage @core
  loop.stage @core {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>, %c: !loop.cache<@core>):
    %h0 = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %st0 = loop.load %b["stay"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?xf32, #lane>
    %g0 = loop.load %b["obs.gate"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?xf32, #lane>
    %e0 = loop.load %b["e"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    // CHECK: loop.recur @core count @loops rounds(%{{.*}}) of %{{.*}} : !loop.lanes<lane> state(
    %L1, %hT, %stT, %gT, %cT = loop.recur @core count @loops rounds(%R) of %L : !loop.lanes<lane>
        state(%h0, %st0, %g0 : tensor<?x4xf32, #lane>, tensor<?xf32, #lane>, tensor<?xf32, #lane>)
        with(%e0 : tensor<?x4xf32, #lane>) cache(%c : !loop.cache<@core>)
        kv(<depth_indexed holes last_exited>) exit(<early, lane>) plan(<scheduled, default 3, range 1, 8>) {
    ^bb0(%A: !loop.lanes<lane.core>, %h: tensor<?x4xf32, #on>, %st: tensor<?xf32, #on>, %g: tensor<?xf32, #on>,
         %e: tensor<?x4xf32, #on>, %k0: !loop.cache<@core>):
      %u = arith.addf %h, %e : tensor<?x4xf32, #on>
      %y, %kN = loop.stack @layers layers 2 state(%u : tensor<?x4xf32, #on>) cache(%k0 : !loop.cache<@core>) {
      ^bb0(%l: index, %x: tensor<?x4xf32, #on>, %k: !loop.cache<@core>):
        %n = loop.norm rms %x eps(1.0e-5) order(<panel, 32>) : tensor<?x4xf32, #on> -> tensor<?x4xf32, #on>
        %W = loop.param @layers.wq_layers.wk_layers.wv[%l] : tensor<8x4xf32>
        %f = loop.linear %n, %W order(<chain>) : (tensor<?x4xf32, #on>, tensor<8x4xf32>) -> tensor<?x8xf32, #on>
        %q0 = loop.slice %f axis 0 from 0 : tensor<?x8xf32, #on> -> tensor<?x4xf32, #on>
        %kk0 = loop.slice %f axis 0 from 4 : tensor<?x8xf32, #on> -> tensor<?x2xf32, #on>
        %v0 = loop.slice %f axis 0 from 6 : tensor<?x8xf32, #on> -> tensor<?x2xf32, #on>
        %q1 = loop.reshape %q0 : tensor<?x4xf32, #on> -> tensor<?x2x2xf32, #on>
        %kk1 = loop.reshape %kk0 : tensor<?x2xf32, #on> -> tensor<?x1x2xf32, #on>
        %v = loop.reshape %v0 : tensor<?x2xf32, #on> -> tensor<?x1x2xf32, #on>
        %q = loop.rope %q1 at %A in !loop.lanes<lane.core> base(1.0e4) pairs(halves) : tensor<?x2x2xf32, #on> -> tensor<?x2x2xf32, #on>
        %kk = loop.rope %kk1 at %A in !loop.lanes<lane.core> base(1.0e4) pairs(halves) : tensor<?x1x2xf32, #on> -> tensor<?x1x2xf32, #on>
        %k1 = loop.kv.append %kk, %v to %k at @layers.attn[%l] lanes %A
          : tensor<?x1x2xf32, #on>, tensor<?x1x2xf32, #on>, !loop.cache<@core>, !loop.lanes<lane.core> -> !loop.cache<@core>
        // CHECK: loop.kv.attend %{{.*}} in %{{.*}} at @layers.attn[%{{.*}}] lanes %{{.*}} scale(5.000000e-01) order(<keys, 64, 512>)
        %o = loop.kv.attend %q in %k1 at @layers.attn[%l] lanes %A scale(0.5) order(<keys, 64, 512>)
          : tensor<?x2x2xf32, #on>, !loop.cache<@core>, !loop.lanes<lane.core> -> tensor<?x2x2xf32, #on>
        %o1 = loop.reshape %o : tensor<?x2x2xf32, #on> -> tensor<?x4xf32, #on>
        %Wo = loop.param @layers.wo[%l] : tensor<4x4xf32>
        %p = loop.linear %o1, %Wo order(<chain>) : (tensor<?x4xf32, #on>, tensor<4x4xf32>) -> tensor<?x4xf32, #on>
        %x1 = arith.addf %x, %p : tensor<?x4xf32, #on>
        loop.yield %x1, %k1 : tensor<?x4xf32, #on>, !loop.cache<@core>
      } -> tensor<?x4xf32, #on> cache !loop.cache<@core>
      %wn = loop.param @norm.weight : tensor<4xf32>
      %hn = loop.norm rms %y, %wn : tensor<4xf32> in eps(1.0e-5) order(<panel, 32>) : tensor<?x4xf32, #on> -> tensor<?x4xf32, #on>
      %wg = loop.param @gate.weight : tensor<4xf32>
      %z = loop.linear %hn, %wg order(<chain>) : (tensor<?x4xf32, #on>, tensor<4xf32>) -> tensor<?xf32, #on>
      %gate = loop.act sigmoid %z : tensor<?xf32, #on>
      %one = arith.constant dense<1.0> : tensor<f32>
      %ones = loop.spread %one over %A : tensor<f32>, !loop.lanes<lane.core> -> tensor<?xf32, #on>
      %keep = arith.subf %ones, %gate : tensor<?xf32, #on>
      %st1 = arith.mulf %st, %keep : tensor<?xf32, #on>
      %cdf = arith.subf %ones, %st1 : tensor<?xf32, #on>
      %th = loop.knob_value @threshold at %A in !loop.lanes<lane.core> : tensor<?xf32, #on>
      %stop = arith.cmpf oge, %cdf, %th : tensor<?xf32, #on>
      // CHECK: loop.yield {{.*}} exit(%{{.*}} : tensor<?xi1, #loop.rows<lane.core>>)
      loop.yield %hn, %st1, %gate, %kN : tensor<?x4xf32, #on>, tensor<?xf32, #on>, tensor<?xf32, #on>, !loop.cache<@core>
        exit(%stop : tensor<?xi1, #on>)
    } lanes !loop.lanes<lane> -> tensor<?x4xf32, #lane>, tensor<?xf32, #lane>, tensor<?xf32, #lane> cache !loop.cache<@core>
    %b1 = loop.store %hT to %b["h"] at %L1 : tensor<?x4xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    %b2 = loop.store %stT to %b1["stay"] at %L1 : tensor<?xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    %b3 = loop.store %gT to %b2["obs.gate"] at %L1 : tensor<?xf32, #lane>, !loop.bank<@slot>, !loop.lanes<lane> -> !loop.bank<@slot>
    loop.return %b3, %cT : !loop.bank<@slot>, !loop.cache<@core>
  }
  // CHECK: loop.stage @head
  loop.stage @head {
  ^bb0(%L: !loop.lanes<lane>, %R: index, %b: !loop.bank<@slot>):
    %h = loop.load %b["h"] at %L : !loop.bank<@slot>, !loop.lanes<lane> -> tensor<?x4xf32, #lane>
    %E = loop.param @embed.weight : tensor<8x4xf32>
    %z = loop.linear %h, %E order(<chain>) : (tensor<?x4xf32, #lane>, tensor<8x4xf32>) -> tensor<?x8xf32, #lane>
    loop.return %b, %z : !loop.bank<@slot>, tensor<?x8xf32, #lane>
  }
}
