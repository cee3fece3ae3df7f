// RUN: loopc-opt %s --loop-plan-counts --loop-plan-kv --loop-plan-numerics --loop-plan-orders --loop-merge-linears | FileCheck %s
// RUN: loopc-opt %s --loop-plan-counts --loop-plan-kv --loop-plan-numerics=dtype=q8_0 | FileCheck %s --check-prefix=ALL
// RUN: loopc-opt %s --loop-plan-counts --loop-plan-kv --loop-plan-numerics=dtype=bf16 | FileCheck %s --check-prefix=NUMBERS

// A matrix keeps the format of the file where only products and embeddings read it in whole blocks. No op is rounded.
// CHECK: loop.weight @embed : tensor<8x64xf32> format "q4_1"
// CHECK: loop.weight @head : tensor<8x64xf32> format "q4_1" tie @embed
// CHECK: loop.weight @q : tensor<64x64xf32> format "q8_0"
// CHECK: loop.weight @k : tensor<32x64xf32> format "q8_0"
// CHECK: loop.weight @"q+k" : tensor<96x64xf32> format "q8_0" merged [@q, @k]
// CHECK: loop.weight @v : tensor<32x64xf32> format "q4_0"
// CHECK: loop.weight @narrow : tensor<64x48xf32>{{$}}
// CHECK: loop.weight @odd : tensor<2x64xf32>{{$}}
// CHECK-NOT: arith.truncf
// CHECK-DAG: text = "2 matrices kept in the format q8_0, read as f32"
// CHECK-DAG: text = "@narrow stays f32: its 48 columns are no multiple of the 32 of a block of q8_0"
// CHECK-DAG: text = "@odd stays f32: it is read by arith.mulf, which is no matrix product"
// CHECK-DAG: text = "1 linears of one input kept apart: their weights are stored in other formats"

// ALL: loop.weight @embed : tensor<8x64xf32> format "q8_0"
// ALL: loop.weight @v : tensor<32x64xf32> format "q8_0"
// ALL: loop.weight @narrow : tensor<64x48xf32>{{$}}
// ALL-NOT: arith.truncf

// NUMBERS: loop.weight @embed : tensor<8x64xbf16>{{$}}
// NUMBERS: loop.weight @q : tensor<64x64xbf16>{{$}}
loop.model @formats phase(source) {
  loop.weight @embed : tensor<8x64xf32> format "q4_1"
  loop.weight @head : tensor<8x64xf32> tie @embed
  loop.weight @q : tensor<64x64xf32> format "q8_0"
  loop.weight @k : tensor<32x64xf32> format "q8_0"
  loop.weight @v : tensor<32x64xf32> format "q4_0"
  loop.weight @narrow : tensor<64x48xf32> format "q8_0"
  loop.weight @odd : tensor<2x64xf32> format "q8_0"
  loop.forward @main {
    %id = loop.token : tensor<i32>
    %E = loop.param @embed : tensor<8x64xf32>
    %H = loop.param @head : tensor<8x64xf32>
    %Q = loop.param @q : tensor<64x64xf32>
    %K = loop.param @k : tensor<32x64xf32>
    %V = loop.param @v : tensor<32x64xf32>
    %N = loop.param @narrow : tensor<64x48xf32>
    %O = loop.param @odd : tensor<2x64xf32>
    %x = loop.embed %id, %E : (tensor<i32>, tensor<8x64xf32>) -> tensor<64xf32>
    %q = loop.linear %x, %Q : (tensor<64xf32>, tensor<64x64xf32>) -> tensor<64xf32>
    %k = loop.linear %x, %K : (tensor<64xf32>, tensor<32x64xf32>) -> tensor<32xf32>
    %v = loop.linear %x, %V : (tensor<64xf32>, tensor<32x64xf32>) -> tensor<32xf32>
    %s = loop.slice %q axis 0 from 0 : tensor<64xf32> -> tensor<48xf32>
    %n = loop.linear %s, %N : (tensor<48xf32>, tensor<64x48xf32>) -> tensor<64xf32>
    %o = arith.mulf %O, %O : tensor<2x64xf32>
    %p = loop.linear %x, %O : (tensor<64xf32>, tensor<2x64xf32>) -> tensor<2xf32>
    %kv = arith.addf %k, %v : tensor<32xf32>
    %c = loop.concat %kv, %kv : tensor<32xf32>, tensor<32xf32> -> tensor<64xf32>
    %h0 = arith.addf %n, %c : tensor<64xf32>
    %pb = loop.slice %p axis 0 from 0 : tensor<2xf32> -> tensor<1xf32>
    %logits = loop.linear %h0, %H : (tensor<64xf32>, tensor<8x64xf32>) -> tensor<8xf32>
    loop.return %logits : tensor<8xf32>
  }
}
