// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv=rows=bf16 --loop-plan-numerics=dtype=bf16 --cse | FileCheck %s
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-counts --loop-plan-kv --loop-plan-numerics | FileCheck %s --check-prefix=F32
// RUN: not loopc-opt %S/Inputs/ouro.mlir --loop-plan-numerics=dtype=f8 2>&1 | FileCheck %s --check-prefix=BAD

// CHECK: loop.weight @embed.weight : tensor<32x8xbf16>
// CHECK: loop.weight @"layers.{}.ln1.weight" : tensor<8xf32>
// CHECK: loop.weight @exit.weight : tensor<8xbf16>
// CHECK: loop.weight @exit.bias : tensor<f32>
// CHECK: %[[E:.*]] = loop.embed {{.*}} -> tensor<8xbf16>
// CHECK-NEXT: arith.extf %[[E]] : tensor<8xbf16> to tensor<8xf32>
// CHECK: %[[N:.*]] = loop.norm
// One rounding of the input serves q, k and v.
// CHECK: %[[R:.*]] = arith.truncf %[[N]] : tensor<8xf32> to tensor<8xbf16>
// CHECK-NEXT: loop.linear %[[R]], {{.*}} -> tensor<8xf32>
// CHECK-NOT: arith.truncf %[[N]]
// CHECK: %[[KR:.*]] = loop.rope
// CHECK: %[[Q:.*]] = loop.rope
// CHECK: loop.linear %[[R]]
// CHECK: %[[K:.*]] = arith.truncf
// CHECK-NEXT: %[[V:.*]] = arith.truncf
// CHECK-NEXT: loop.attend %{{.*}}, %[[K]], %[[V]] {{.*}} : tensor<4x2xf32>, tensor<2x2xbf16>, tensor<2x2xbf16>
// CHECK: text = "10 matrices stored as bf16; sums and residuals in f32"

// F32-NOT: bf16
// BAD: error: [L0613] expected dtype f32, bf16, f16 or a format of blocks, but got f8
