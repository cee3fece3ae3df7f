// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts | FileCheck %s --check-prefix=SPEC
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts=loops=7 | FileCheck %s --check-prefix=GIVEN
// RUN: not loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts=loops=17 2>&1 | FileCheck %s --check-prefix=RANGE
// One iteration reads 2·(64+32+32+64+8+8+96+96+96)+8+8+1 floats = 4036 bytes, the rest 256+8 floats = 1056 bytes.
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts="max-ms-per-token=0.01 gigabytes-per-second=0.001" | FileCheck %s --check-prefix=SLOW
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts="max-ms-per-token=10 gigabytes-per-second=0.001" | FileCheck %s --check-prefix=TWO
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts="max-ms-per-token=10 gigabytes-per-second=0.001 weight-bytes=2" | FileCheck %s --check-prefix=FOUR

// SPEC: phase({{ *}}planned)
// SPEC: loop.count @loops default 4 range 1, 16
// SPEC: plan(<scheduled, default 4, range 1, 16>)
// SPEC: text = "@ut: 4 iterations by default, range 1..16, as the spec says"

// GIVEN: loop.count @loops default 7
// GIVEN: plan(<scheduled, default 7, range 1, 16>)

// RANGE: error: [L0612] expected a loop count in 1..16, but got 17

// SLOW: plan(<scheduled, default 1,
// SLOW: kind = "missed", name = "CountTooSlow", text = "@ut: no count fits 0.010 ms a token: 1 iterations take 5.092 ms"

// TWO: plan(<scheduled, default 2,
// TWO: name = "CountFitted", text = "@ut: 2 iterations fit 10.000 ms a token: 9.128 ms, of which 4.036 ms an iteration"

// FOUR: plan(<scheduled, default 4,
