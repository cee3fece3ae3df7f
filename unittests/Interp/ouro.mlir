// Ouro at the size of test/conformance/ouro, written by hand in the SOURCE form. KV_POLICY is replaced by the tests.
loop.model @ouro phase(source) {
  loop.count @loops default 4 range 1, 16
  loop.knob @threshold default 1.0
  loop.weight @model.embed_tokens.weight : tensor<97x32xf32>
  loop.weight @"model.layers.{}.input_layernorm.weight" : tensor<32xf32> tables [2]
  loop.weight @"model.layers.{}.input_layernorm_2.weight" : tensor<32xf32> tables [2]
  loop.weight @"model.layers.{}.post_attention_layernorm.weight" : tensor<32xf32> tables [2]
  loop.weight @"model.layers.{}.post_attention_layernorm_2.weight" : tensor<32xf32> tables [2]
  loop.weight @"layers.q.weight" : tensor<32x32xf32> tables [2] from "model.layers.{}.self_attn.q_proj.weight" indices [0, 1]
  loop.weight @"layers.k.weight" : tensor<32x32xf32> tables [2] from "model.layers.{}.self_attn.k_proj.weight" indices [0, 1]
  loop.weight @"layers.v.weight" : tensor<32x32xf32> tables [2] from "model.layers.{}.self_attn.v_proj.weight" indices [0, 1]
  loop.weight @"layers.o.weight" : tensor<32x32xf32> tables [2] from "model.layers.{}.self_attn.o_proj.weight" indices [0, 1]
  loop.weight @"model.layers.{}.mlp.gate_proj.weight" : tensor<80x32xf32> tables [2]
  loop.weight @"model.layers.{}.mlp.up_proj.weight" : tensor<80x32xf32> tables [2]
  loop.weight @"model.layers.{}.mlp.down_proj.weight" : tensor<32x80xf32> tables [2]
  loop.weight @model.norm.weight : tensor<32xf32>
  loop.weight @model.early_exit_gate.weight : tensor<32xf32>
  loop.weight @model.early_exit_gate.bias : tensor<f32>
  loop.weight @lm_head.weight : tensor<97x32xf32>
  loop.site @attn kv heads 4 dim 8 tables [2]
  loop.forward @main {
    %t = loop.token : tensor<i32>
    %E = loop.param @model.embed_tokens.weight : tensor<97x32xf32>
    %e = loop.embed %t, %E : (tensor<i32>, tensor<97x32xf32>) -> tensor<32xf32>
    loop.tap %e, "embed" : tensor<32xf32>
    %one = arith.constant dense<1.0> : tensor<f32>
    %h, %stay = loop.recur @ut count @loops state(%e, %one : tensor<32xf32>, tensor<f32>) KV_POLICY exit(#loop.exit<early, lane>) {
    ^bb0(%i: index, %x: tensor<32xf32>, %s: tensor<f32>):
      %y = loop.stack @layers layers 2 state(%x : tensor<32xf32>) {
      ^bb0(%l: index, %a: tensor<32xf32>):
        %w1 = loop.param @"model.layers.{}.input_layernorm.weight"[%l] : tensor<32xf32>
        %w2 = loop.param @"model.layers.{}.input_layernorm_2.weight"[%l] : tensor<32xf32>
        %w3 = loop.param @"model.layers.{}.post_attention_layernorm.weight"[%l] : tensor<32xf32>
        %w4 = loop.param @"model.layers.{}.post_attention_layernorm_2.weight"[%l] : tensor<32xf32>
        %Wq = loop.param @layers.q.weight[%l] : tensor<32x32xf32>
        %Wk = loop.param @layers.k.weight[%l] : tensor<32x32xf32>
        %Wv = loop.param @layers.v.weight[%l] : tensor<32x32xf32>
        %Wo = loop.param @layers.o.weight[%l] : tensor<32x32xf32>
        %Wg = loop.param @"model.layers.{}.mlp.gate_proj.weight"[%l] : tensor<80x32xf32>
        %Wu = loop.param @"model.layers.{}.mlp.up_proj.weight"[%l] : tensor<80x32xf32>
        %Wd = loop.param @"model.layers.{}.mlp.down_proj.weight"[%l] : tensor<32x80xf32>
        %n = loop.norm rms %a, %w1 : tensor<32xf32> in eps(1.0e-6) : tensor<32xf32> -> tensor<32xf32>
        %q0 = loop.linear %n, %Wq : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
        %k0 = loop.linear %n, %Wk : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
        %v0 = loop.linear %n, %Wv : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
        %q1 = loop.reshape %q0 : tensor<32xf32> -> tensor<4x8xf32>
        %k1 = loop.reshape %k0 : tensor<32xf32> -> tensor<4x8xf32>
        %v = loop.reshape %v0 : tensor<32xf32> -> tensor<4x8xf32>
        %q = loop.rope %q1 base(1.0e4) pairs(halves) : tensor<4x8xf32> -> tensor<4x8xf32>
        %k = loop.rope %k1 base(1.0e4) pairs(halves) : tensor<4x8xf32> -> tensor<4x8xf32>
        %o = loop.attend %q, %k, %v at @attn[%l] scale(0.35355339059327379) : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32> -> tensor<4x8xf32>
        %of = loop.reshape %o : tensor<4x8xf32> -> tensor<32xf32>
        %p = loop.linear %of, %Wo : (tensor<32xf32>, tensor<32x32xf32>) -> tensor<32xf32>
        %pn = loop.norm rms %p, %w2 : tensor<32xf32> in eps(1.0e-6) : tensor<32xf32> -> tensor<32xf32>
        %b = arith.addf %a, %pn : tensor<32xf32>
        %m = loop.norm rms %b, %w3 : tensor<32xf32> in eps(1.0e-6) : tensor<32xf32> -> tensor<32xf32>
        %g = loop.linear %m, %Wg : (tensor<32xf32>, tensor<80x32xf32>) -> tensor<80xf32>
        %u = loop.linear %m, %Wu : (tensor<32xf32>, tensor<80x32xf32>) -> tensor<80xf32>
        %ga = loop.act silu %g : tensor<80xf32>
        %gu = arith.mulf %ga, %u : tensor<80xf32>
        %d = loop.linear %gu, %Wd : (tensor<80xf32>, tensor<32x80xf32>) -> tensor<32xf32>
        %dn = loop.norm rms %d, %w4 : tensor<32xf32> in eps(1.0e-6) : tensor<32xf32> -> tensor<32xf32>
        %c = arith.addf %b, %dn : tensor<32xf32>
        loop.yield %c : tensor<32xf32>
      } -> tensor<32xf32>
      %wn = loop.param @model.norm.weight : tensor<32xf32>
      %z = loop.norm rms %y, %wn : tensor<32xf32> in eps(1.0e-6) : tensor<32xf32> -> tensor<32xf32>
      %wg = loop.param @model.early_exit_gate.weight : tensor<32xf32>
      %bg = loop.param @model.early_exit_gate.bias : tensor<f32>
      %gate = loop.linear %z, %wg bias %bg : (tensor<32xf32>, tensor<32xf32>, tensor<f32>) -> tensor<f32>
      loop.tap %gate, "gate" : tensor<f32>
      %lam = loop.act sigmoid %gate : tensor<f32>
      %pt = arith.mulf %lam, %s : tensor<f32>
      loop.tap %pt, "p" : tensor<f32>
      %not = arith.subf %one, %lam : tensor<f32>
      %s1 = arith.mulf %s, %not : tensor<f32>
      %cdf = arith.subf %one, %s1 : tensor<f32>
      %th = loop.knob_value @threshold : tensor<f32>
      %stop = arith.cmpf oge, %cdf, %th : tensor<f32>
      loop.yield %z, %s1 : tensor<32xf32>, tensor<f32> exit(%stop : tensor<i1>)
    } -> tensor<32xf32>, tensor<f32>
    %H = loop.param @lm_head.weight : tensor<97x32xf32>
    %logits = loop.linear %h, %H : (tensor<32xf32>, tensor<97x32xf32>) -> tensor<97xf32>
    loop.return %logits : tensor<97xf32>
  }
}
