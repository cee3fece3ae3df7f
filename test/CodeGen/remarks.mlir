// The memory plan and the syncs say what they decided, in the model's remarks.
// RUN: loopc-opt %S/../Dialect/Loop/lanes.mlir --loop-form-phases --task-fuse --task-plan-memory --task-place-syncs | FileCheck %s

// CHECK: loop.remarks = [
// CHECK-SAME: name = "ArenaPlanned", text = "core: {{[0-9]+}} row buffers of {{[0-9]+}} bytes share an arena of {{[0-9]+}} bytes a row"
// CHECK-SAME: name = "SyncsPlaced", text = "prelude: {{[0-9]+}} phases, {{[0-9]+}} syncs a call"
// CHECK-SAME: name = "SyncsPlaced", text = "core: {{[0-9]+}} phases, {{[0-9]+}} syncs an iteration"
