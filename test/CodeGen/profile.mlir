// Time stamps at the borders of phases and syncs, only with a clock.
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases --task-fuse --task-plan-memory --task-place-syncs --task-to-cpu="clock=llvm.readcyclecounter" | FileCheck %s
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases --task-fuse --task-plan-memory --task-place-syncs --task-to-cpu | FileCheck %s --check-prefix=OFF

// CHECK: llvm.func @loopc_stage_core({{.*}}loopc.timed_phases = {{[0-9]+}} : i64
// CHECK: llvm.call_intrinsic "llvm.readcyclecounter"() : () -> i64
// CHECK: llvm.call @core_
// CHECK-NEXT: llvm.call_intrinsic "llvm.readcyclecounter"()

// OFF-NOT: readcyclecounter
// OFF-NOT: timed_phases
