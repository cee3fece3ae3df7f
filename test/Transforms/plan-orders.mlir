// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-orders | FileCheck %s
// RUN: loopc-opt %S/Inputs/ouro.mlir --loop-plan-orders="panel=16 keys=32 split=64" | FileCheck %s --check-prefix=OTHER

// CHECK: loop.norm {{.*}} order(<panel, 32>)
// CHECK: loop.linear {{.*}} order(<chain>)
// CHECK: loop.attend {{.*}} order(<keys, 64, 512>)
// CHECK: text = "9 linears chain, 3 norms panel<32>, 1 attends keys<64, split 512>"
// OTHER: loop.norm {{.*}} order(<panel, 16>)
// OTHER: loop.attend {{.*}} order(<keys, 32, 64>)
