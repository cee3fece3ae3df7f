// A training step: states of iterations and layers in planes, loops that go back, linears with transposed panels, sums into gradients.
// RUN: loopc-opt %S/../Transforms/reverse.mlir --loop-reverse --loop-form-phases=step=train | FileCheck %s
// RUN: loopc-opt %S/../Transforms/reverse.mlir --loop-reverse --loop-form-phases=step=train --task-fuse --task-plan-memory --task-place-syncs --task-check | FileCheck %s --check-prefix=PLANNED

// CHECK-LABEL: task.program @step pool -1
// CHECK: %[[LABEL:.*]] = task.given 0 : <1, i32>
// CHECK: %[[KEPT:.*]] = task.buffer planes 8 : <4, f32>
// CHECK: %[[LIMIT:.*]] = task.given 1 : <1, i32>
// CHECK: task.turns of %{{.*}} limit %[[LIMIT]] : <1, i32> {
// CHECK-NEXT: ^bb0(%[[T:.*]]: index, %[[ON:.*]]: !task.list):
// CHECK: task.plane %[[KEPT]][%[[T]]]
// CHECK: task.gemm k 4 groups 1
// CHECK: task.layers 2 {
// What is as wide as the logits has 256 rows.
// CHECK: task.chunks 256 of
// CHECK: task.buffer rows 256 : <5, f32>
// CHECK: task.cross_entropy
// CHECK: task.one_hot
// CHECK: task.param "E" entry 1 panel strides [] : <160, f32>
// CHECK: task.accumulate outer {{.*}} shape [5, 4]
// CHECK: task.turns of %{{.*}} limit %{{.*}} first %{{.*}} backward {
// CHECK: task.buffer planes 2 : <4, f32>
// CHECK: task.layers 2 backward {
// CHECK: task.gradient "V.{}" entry {{.*}} : <4, f32>
// CHECK: task.accumulate ins
// CHECK: task.accumulate outer {{.*}} shape [4, 4]
// CHECK: task.accumulate row

// What two workers may touch at once is apart: a sync before the gradient's next sum.
// PLANNED-LABEL: task.program @step pool -1 arena {{[0-9]+}} fixed {{[0-9]+}}
// PLANNED: task.buffer at {{[0-9]+}} planes 8
// PLANNED: task.sync
