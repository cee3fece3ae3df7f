// The functions of a program: one of the C interface, one for each phase, kernels shared by all linears.
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases --task-fuse --task-plan-memory --task-place-syncs --task-to-cpu | FileCheck %s

// CHECK-DAG: llvm.func internal @core_linear(
// CHECK-DAG: llvm.func internal @core_attend(
// CHECK-DAG: llvm.func internal @gemm_f32(
// CHECK-DAG: llvm.func @loopc_stage_core(%{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: !llvm.ptr, %{{.*}}: i32) -> i32 attributes {loopc.arena_bytes = {{[0-9]+}} : i64, loopc.arena_row_bytes = {{[0-9]+}} : i64, loopc.scratch_bytes = {{[0-9]+}} : i64, loopc.scratch_row_bytes = 8 : i64, loopc.syncs = {{[0-9]+}} : i64}
// CHECK-NOT: task.program
