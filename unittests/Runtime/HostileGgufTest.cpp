// GGUF files that lie, each with its whole message.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Bytes.h"

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

struct Case {
  const char *name;
  std::string bytes;
  std::string message; ///< after "x: "
};

GgufBuilder make() { return {}; }
template <typename F> std::string lie(F change) {
  GgufBuilder builder;
  change(builder);
  return builder.build();
}

const std::string readable = "F64, F32, F16, BF16, I64, I32, I16, I8, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, Q8_K";

TEST(HostileGguf, EveryLieHasItsMessage) {
  const Case cases[] = {
      {"empty", "", "byte 0 (magic): expected 'GGUF', but got ''"},
      {"other magic", "GGML" + std::string(20, '\0'), "byte 0 (magic): expected 'GGUF', but got 'GGML'"},
      {"only magic", "GGUF", "byte 4 (version): expected 4 bytes, but got 0 before the end of the file"},
      {"version 2", lie([](GgufBuilder &b) { b.version = 2; }),
       "byte 4 (version): expected version 3, but got version 2"},
      {"big-endian", lie([](GgufBuilder &b) { b.version = 0x03000000; }),
       "byte 4 (version): expected version 3, but got a big-endian file"},
      {"tensor count", lie([](GgufBuilder &b) { b.tensorCount = UINT64_MAX; }),
       "byte 8 (tensor count): expected tensors inside the file, but got 18446744073709551615 tensors"},
      {"key count", lie([](GgufBuilder &b) { b.keyCount = uint64_t(1) << 63; }),
       "byte 16 (key count): expected keys inside the file, but got 9223372036854775808 keys"},
      {"key length", lie([](GgufBuilder &b) { b.keys = bytesOf(UINT64_MAX) + "abcdefgh", b.keyCount = 1; }),
       "byte 24 (key 0): expected a string inside the file, but got a length of 18446744073709551615"},
      {"long key", lie([](GgufBuilder &b) { b.u32(std::string(70000, 'k'), 1); }),
       "byte 24 (key 0): expected a name of at most 65536 bytes, but got a length of 70000"},
      {"value type", lie([](GgufBuilder &b) { b.raw("k", GgufType(13), ""); }),
       "byte 37 (key 'k'): expected a value type of 0..12, but got 13 at byte 33"},
      {"string length", lie([](GgufBuilder &b) { b.raw("k", GgufType::String, bytesOf(uint64_t(1) << 63)); }),
       "byte 37 (key 'k'): expected a string inside the file, but got a length of 9223372036854775808"},
      {"boolean 2", lie([](GgufBuilder &b) { b.raw("k", GgufType::Bool, "\x02"); }),
       "byte 38 (key 'k'): expected a boolean of 0 or 1, but got 2"},
      {"array of arrays", lie([](GgufBuilder &b) { b.raw("k", GgufType::Array, bytesOf(uint32_t(9)) + bytesOf(uint64_t(1))); }),
       "byte 41 (key 'k'): expected an array of scalars or strings, but got an array of arrays"},
      {"array length", lie([](GgufBuilder &b) { b.raw("k", GgufType::Array, bytesOf(uint32_t(4)) + bytesOf(UINT64_MAX)); }),
       "byte 49 (key 'k'): expected an array inside the file, but got 18446744073709551615 elements of u32"},
      {"key twice", lie([](GgufBuilder &b) { b.u32("k", 1).u32("k", 2); }),
       "byte 58 (key 'k'): expected a key that occurs once, but got a second 'k'"},
      {"alignment 0", lie([](GgufBuilder &b) { b.u32("general.alignment", 0); }),
       "key 'general.alignment': expected a power of two of 8 or more, but got 0"},
      {"alignment 33", lie([](GgufBuilder &b) { b.u32("general.alignment", 33); }),
       "key 'general.alignment': expected a power of two of 8 or more, but got 33"},
      {"alignment is a string", lie([](GgufBuilder &b) { b.string("general.alignment", "32"); }),
       "key 'general.alignment': expected an integer of 0..4294967295, but got string"},
      {"five dimensions", lie([](GgufBuilder &b) { b.info("t", {1, 1, 1, 1, 1}, 0, 0); }),
       "byte 37 (tensor 't'): expected at most 4 dimensions, but got 5"},
      {"dimension of 2^63", lie([](GgufBuilder &b) { b.info("t", {uint64_t(1) << 63}, 0, 0); }),
       "byte 45 (tensor 't'): expected dimensions below 2^63, but got 9223372036854775808"},
      {"product overflows", lie([](GgufBuilder &b) { b.info("t", {1ull << 32, 1ull << 32}, 24, 0); }),
       "tensor 't': expected a tensor of fewer than 2^63 bytes, but got shape [4294967296, 4294967296]"},
      {"Q2_K", lie([](GgufBuilder &b) { b.info("t", {256}, 10, 0); }),
       "tensor 't': expected one of the types " + readable + ", but got Q2_K"},
      {"type number 999", lie([](GgufBuilder &b) { b.info("t", {256}, 999, 0); }),
       "tensor 't': expected one of the types " + readable + ", but got unknown type number 999"},
      {"type number 2^32-1", lie([](GgufBuilder &b) { b.info("t", {256}, UINT32_MAX, 0); }),
       "tensor 't': expected one of the types " + readable + ", but got unknown type number 4294967295"},
      {"half a block", lie([](GgufBuilder &b) { b.info("t", {48, 2}, 8, 0); }),
       "tensor 't': expected rows of a multiple of 32 elements for Q8_0, but got shape [2, 48]"},
      {"half a block of 256", lie([](GgufBuilder &b) { b.info("t", {384, 2}, 12, 0); }),
       "tensor 't': expected rows of a multiple of 256 elements for Q4_K, but got shape [2, 384]"},
      {"a row of Q6_K cut off", lie([](GgufBuilder &b) { b.info("t", {256, 2}, 14, 0).data = std::string(416, '\0'); }),
       "tensor 't': expected data inside the 416 bytes of tensor data, but got bytes 0..420"},
      {"unaligned offset", lie([](GgufBuilder &b) { b.info("t", {1}, 0, 4).data = std::string(64, '\0'); }),
       "tensor 't': expected an offset that is a multiple of 32, but got offset 4"},
      {"offset wraps", lie([](GgufBuilder &b) { b.info("t", {64}, 0, UINT64_MAX - 31).data = std::string(64, '\0'); }),
       "tensor 't': expected data inside the file, but got offset 18446744073709551584 and 256 bytes"},
      {"offset past the end", lie([](GgufBuilder &b) { b.info("t", {4}, 0, 64).data = std::string(64, '\0'); }),
       "tensor 't': expected data inside the 64 bytes of tensor data, but got bytes 64..80"},
      {"data cut off", lie([](GgufBuilder &b) { b.info("t", {17}, 0, 0).data = std::string(64, '\0'); }),
       "tensor 't': expected data inside the 64 bytes of tensor data, but got bytes 0..68"},
      {"overlap", lie([](GgufBuilder &b) { b.info("a", {16}, 0, 0).info("b", {4}, 0, 32).data = std::string(64, '\0'); }),
       "tensor 'b': expected data after those of 'a', which end at byte 64, but got data from byte 32"},
      {"tensor twice", lie([](GgufBuilder &b) { b.info("a", {4}, 0, 0).info("a", {4}, 0, 32).data = std::string(64, '\0'); }),
       "tensor 'a': expected a name that occurs once, but got a second tensor of that name"},
  };
  for (const Case &c : cases)
    EXPECT_EQ(messageOf([&] { GgufFile::parse(MappedFile::fromBytes("x", c.bytes)); }), "x: " + c.message) << c.name;
}

TEST(HostileGguf, EveryTruncationIsRefused) {
  std::string good = make()
                         .u32("a", 1)
                         .string("b", "text")
                         .strings("c", {"x", "y"})
                         .tensor("t", {32, 2}, 8, std::string(68, 'q'))
                         .build();
  GgufFile::parse(MappedFile::fromBytes("x", good));
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(GgufFile::parse(MappedFile::fromBytes("x", good.substr(0, size))), Error) << size;
}

} // namespace
