// What a stage becomes: phases of rows, panels and heads; element functions of one shape in one map; views for the rest.
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases | FileCheck %s
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases --task-fuse | FileCheck %s --check-prefix=FUSED

// CHECK-LABEL: task.program @core pool 0
// CHECK: task.field "h" at 0 : <4, f32>
// CHECK: task.rounds
// CHECK-NEXT: ^bb0(%[[ON:.*]]: !task.list):
// CHECK: task.phase "rows_2" rows of %[[ON]]
// CHECK: arith.addf
// CHECK: task.layers 2
// CHECK-NEXT: ^bb0(%[[L:.*]]: index):
// CHECK: task.norm rms
// CHECK: task.param "layers.wq_layers.wk_layers.wv" entry 2 panel[%[[L]]] strides [1] : <128, f32>
// CHECK: task.phase "linear" panels of %[[ON]]
// CHECK: task.gemm k 4 groups 1
// q, k and v are views of one buffer: elements 0, 4 and 6 on.
// CHECK: task.rope base 1.000000e+04 halves ins(%[[F:.*]] : !task.mem<8, f32>) {{.*}} shape [2, 2] views [#task.view<0, [2, 1]>
// CHECK: task.rope base 1.000000e+04 halves ins(%[[F]] : !task.mem<8, f32>) {{.*}} shape [1, 2] views [#task.view<4, [2, 1]>
// CHECK: task.append pool 0 offset 0[%[[L]]] {{.*}} views [#task.view<0, [2, 1]>, #task.view<6, [2, 1]>]
// CHECK: task.phase "attend" heads of %[[ON]]
// CHECK: task.dot
// CHECK: task.advance
// CHECK-LABEL: task.program @head
// CHECK: task.out : <8, f32>

// The residual is added where the sum is made, in place; the logits go straight out.
// FUSED-LABEL: task.program @core
// FUSED: task.buffer : <4, f32>
// FUSED: task.buffer : <1, f32>
// FUSED: task.rounds
// FUSED: %[[X:.*]] = task.buffer : <4, f32>
// FUSED: task.layers
// FUSED: task.phase "linear_2" panels
// FUSED-NEXT: task.gemm k 4 groups 1 ins(%{{.*}}, %{{.*}}, %[[X]] : {{.*}}) outs(%[[X]] : !task.mem<4, f32>)
// FUSED-LABEL: task.program @head
// FUSED: %[[OUT:.*]] = task.out
// FUSED: task.gemm {{.*}} outs(%[[OUT]] : !task.mem<8, f32>)
// FUSED-NOT: task.map
