// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv=rows=bf16 | FileCheck %s --check-prefix=FULL
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=single order=token" --loop-plan-contract | FileCheck %s --check-prefix=SINGLE
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=single order=by_call" --loop-plan-contract | FileCheck %s --check-prefix=BYCALL
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv=policy=last_exited --loop-plan-contract | FileCheck %s --check-prefix=EXITED
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv=policy=depth_indexed | FileCheck %s --check-prefix=SELECT
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv=policy=single 2>&1 | FileCheck %s --check-prefix=L0602
// RUN: not loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv="policy=depth_indexed leaving" 2>&1 | FileCheck %s --check-prefix=L0603
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=ring size=4 order=token" --loop-plan-contract | FileCheck %s --check-prefix=RING
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=ring order=token" 2>&1 | FileCheck %s --check-prefix=SIZE
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=single order=pass" --loop-plan-contract | FileCheck %s --check-prefix=PASS
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=single keep=mean order=by_call" | FileCheck %s --check-prefix=MEAN
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=ring size=2 keep=mean order=by_call" 2>&1 | FileCheck %s --check-prefix=KEEP
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=anchor size=32 period=4 unit=layer_step order=by_call" | FileCheck %s --check-prefix=STEPS
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=ring size=2 unit=layers order=by_call" 2>&1 | FileCheck %s --check-prefix=UNIT
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=anchor size=32 order=by_call" 2>&1 | FileCheck %s --check-prefix=SIZES
// RUN: not loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv="policy=last size=2 order=by_call leaving" 2>&1 | FileCheck %s --check-prefix=L0604
// RUN: not loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv="policy=boundaries order=by_call leaving" 2>&1 | FileCheck %s --check-prefix=ENDS
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv="policy=boundaries order=by_call" | FileCheck %s --check-prefix=SELECTED
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="holes=skip" 2>&1 | FileCheck %s --check-prefix=SKIP
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="order=token" 2>&1 | FileCheck %s --check-prefix=L0614
// RUN: loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv=policy=always_last --loop-plan-contract | FileCheck %s --check-prefix=LAST
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=none" 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="policy=single order=free" 2>&1 | FileCheck %s --check-prefix=L0602
// RUN: not loopc-opt %s --loop-plan-counts --loop-plan-kv 2>&1 | FileCheck %s --check-prefix=L0601
// RUN: not loopc-opt %S/Inputs/parcae.mlir --loop-plan-counts --loop-plan-kv="rows=f8" 2>&1 | FileCheck %s --check-prefix=ROWS

// FULL: loop.site @prelude.attn {{.*}} plan(<write (d0) -> (0), read (d0) -> (0), planes (d0) -> (1), rows bf16>)
// FULL: loop.site @core.attn {{.*}} plan(<write (d0) -> (d0), read (d0) -> (d0), planes (d0) -> (d0), rows bf16>)
// FULL: loop.site @coda.attn {{.*}} plan(<write (d0) -> (0), read (d0) -> (0), planes (d0) -> (1), rows bf16>)
// FULL: a token keeps 32 bytes of keys and values for each iteration

// SINGLE: contract(<lag none, group lane, order token, couple lane>)
// SINGLE: loop.site @core.attn {{.*}} plan(<write (d0) -> (0), read (d0) -> (0), planes (d0) -> (1), rows f32>)
// SINGLE: kv(<single order token>)
// SINGLE: name = "PolicyReplaced", text = "@core: policy single, order token given for this run replaces the spec's depth_indexed"

// BYCALL: contract(<lag none, group lane, order by_call, couple lane>)

// EXITED: contract(<lag none, group lane, order free, couple lane>)
// EXITED: kv(<depth_indexed holes last_exited>)

// SELECT: name = "ExitSelects", text = "exit early selects the readout but all iterations run: depth_indexed has no rule for planes that an exit leaves out"

// L0601: error: [L0601] a loop that attends needs a kv policy: expected one of depth_indexed, single, last_exited, but got none
// L0602: error: [L0602] policy single writes one plane in several iterations, so the order of the prompt changes the result: expected order token, pass or by_call, but got none
// L0603: error: [L0603] exit leaves holes in planes deeper than the exit: expected a policy that defines them (last_exited, always_last, single), but got depth_indexed
// RING: contract(<lag none, group lane, order token, couple lane>)
// RING: loop.site @core.attn {{.*}} plan(<write (d0) -> (d0), read (d0) -> (d0), planes (d0) -> (d0), rows f32>)
// RING: kv(<ring size 4 order token>)
// SIZE: error: [L0611] expected a size, as in ring(2), but got ring, order token
// PASS: contract(<lag none, group lane, order pass, couple lane>)
// PASS: loop.site @core.attn {{.*}} plan(<write (d0) -> (d0), read (d0) -> (d0), planes (d0) -> (d0), rows f32>)
// PASS: kv(<single order pass>)
// MEAN: loop.site @core.attn {{.*}} plan(<write (d0) -> (d0), read (d0) -> (d0), planes (d0) -> (d0), rows f32>)
// MEAN: kv(<single keep mean order by_call>)
// KEEP: error: [L0611] expected `keep` for the one plane of single, but got ring(2, keep = mean), order by_call
// STEPS: loop.site @core.attn {{.*}} plan(<write (d0, d1) -> (d0 * 2 + d1), read (d0, d1) -> (d0 * 2 + d1), planes (d0) -> (d0 * 2), rows f32>)
// STEPS: kv(<anchor size 32 period 4 unit layer_step order by_call>)
// UNIT: error: [L0611] expected unit recurrence or layer_step and keep last, first or mean, but got layers
// SIZES: error: [L0611] expected two sizes, as in anchor(8, 1), but got anchor(32), order by_call
// L0604: error: [L0604] last(2), order by_call needs the loop count when it writes a plane: expected a fixed count or an exit that only selects, but got an exit that leaves
// ENDS: error: [L0604] boundaries, order by_call needs the loop count
// SELECTED: kv(<boundaries order by_call>)
// SKIP: kv(<depth_indexed holes skip>)
// L0614: error: [L0614] expected no order where every iteration has a plane of its own, but got depth_indexed, order token
// LAST: contract(<lag end, group lane, order free, couple lane>)
// LAST: kv(<depth_indexed holes always_last>)
// WORD: error: [L0611] expected a kv policy last_exited, always_last, depth_indexed, single, ring(k), first_then_shared(k), stride(k), anchor(n, k), last(k), boundaries, recompute, but got none
// ROWS: error: [L0613] expected rows f32, bf16 or f16, but got f8

loop.model @without phase(source) {
  loop.count @loops default 2 range 1, 4
  loop.site @attn kv heads 1 dim 4
  loop.forward @main {
    %one = arith.constant dense<1.0> : tensor<4xf32>
    %y = loop.recur @r count @loops state(%one : tensor<4xf32>) {
    ^bb0(%t: index, %h: tensor<4xf32>):
      %q = loop.reshape %h : tensor<4xf32> -> tensor<1x4xf32>
      %o = loop.attend %q, %q, %q at @attn scale(0.5) : tensor<1x4xf32>, tensor<1x4xf32>, tensor<1x4xf32> -> tensor<1x4xf32>
      %z = loop.reshape %o : tensor<1x4xf32> -> tensor<4xf32>
      loop.yield %z : tensor<4xf32>
    } -> tensor<4xf32>
    loop.return %y : tensor<4xf32>
  }
}
