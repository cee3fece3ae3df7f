// Tile instructions in software: code for CPUs with tiles runs anywhere, with the bits that the manual promises.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "SoftTiles.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/Module.h"
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

/// 16 rows of 64 bytes.
struct Tile {
  uint32_t words[16][16];
};

float asF32(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

} // namespace

// Intel SDM vol. 2: TILELOADD, TILESTORED, TDPBF16PS. All tiles here are whole.
extern "C" void loopc_soft_tileload(Tile *tile, const char *base, int64_t stride) {
  for (int i = 0; i < 16; ++i)
    std::memcpy(tile->words[i], base + i * stride, 64);
}

extern "C" void loopc_soft_tilestore(const Tile *tile, char *base, int64_t stride) {
  for (int i = 0; i < 16; ++i)
    std::memcpy(base + i * stride, tile->words[i], 64);
}

std::atomic<uint64_t> loopc::test::softProducts = 0;

extern "C" void loopc_soft_tdpbf16ps(Tile *sum, const Tile *a, const Tile *b) {
  ++loopc::test::softProducts;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 16; ++n) {
      float lower = 0, upper = 0;
      for (int k = 0; k < 16; ++k) {
        uint32_t x = a->words[m][k], y = b->words[k][n];
        lower = std::fmaf(asF32(x << 16), asF32(y << 16), lower);
        upper = std::fmaf(asF32(x & 0xffff0000u), asF32(y & 0xffff0000u), upper);
      }
      float value = asF32(sum->words[m][n]) + (lower + upper);
      std::memcpy(&sum->words[m][n], &value, 4);
    }
}

void loopc::test::softenTiles(llvm::Module &module) {
  llvm::LLVMContext &context = module.getContext();
  auto *pointer = llvm::PointerType::get(context, 0);
  auto *number = llvm::Type::getInt64Ty(context);
  auto *tile = llvm::FixedVectorType::get(llvm::Type::getInt32Ty(context), 256);
  auto declare = [&](const char *name, llvm::Type *second) {
    return module.getOrInsertFunction(name, llvm::FunctionType::get(llvm::Type::getVoidTy(context), {pointer, pointer, second}, false));
  };
  llvm::FunctionCallee load = declare("loopc_soft_tileload", number), store = declare("loopc_soft_tilestore", number),
                       multiply = declare("loopc_soft_tdpbf16ps", pointer);
  for (llvm::Function &function : module) {
    llvm::SmallVector<llvm::IntrinsicInst *> calls;
    for (llvm::Instruction &i : llvm::instructions(function)) {
      if (auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&i); call && call->getCalledFunction()->getName().starts_with("llvm.x86.t"))
        calls.push_back(call);
      if (i.getType()->isX86_AMXTy())
        i.mutateType(tile);
    }
    if (calls.empty())
      continue;
    llvm::IRBuilder<> entry(&function.getEntryBlock(), function.getEntryBlock().begin());
    llvm::Value *memory[3];
    for (llvm::Value *&one : memory)
      one = entry.CreateAlloca(tile);
    for (llvm::IntrinsicInst *call : calls) {
      llvm::IRBuilder<> b(call);
      llvm::Value *result = nullptr;
      auto argument = [&](unsigned i) { return call->getArgOperand(i); };
      switch (call->getIntrinsicID()) {
      case llvm::Intrinsic::x86_tilezero_internal:
        result = llvm::Constant::getNullValue(tile);
        break;
      case llvm::Intrinsic::x86_tileloadd64_internal:
        b.CreateCall(load, {memory[0], argument(2), argument(3)});
        result = b.CreateLoad(tile, memory[0]);
        break;
      case llvm::Intrinsic::x86_tilestored64_internal:
        b.CreateStore(argument(4), memory[0]);
        b.CreateCall(store, {memory[0], argument(2), argument(3)});
        break;
      case llvm::Intrinsic::x86_tdpbf16ps_internal:
        for (unsigned i = 0; i < 3; ++i)
          b.CreateStore(argument(3 + i), memory[i]);
        b.CreateCall(multiply, {memory[0], memory[1], memory[2]});
        result = b.CreateLoad(tile, memory[0]);
        break;
      default:
        continue;
      }
      if (result)
        call->replaceAllUsesWith(result);
      call->eraseFromParent();
    }
  }
}
