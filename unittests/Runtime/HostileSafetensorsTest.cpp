// Safetensors files that lie, each with its whole message.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Bytes.h"
#include "loopc/runtime/Safetensors.h"

using namespace loopc::rt;
using namespace loopc::rt::testing;

namespace {

struct Case {
  const char *name;
  std::string bytes;
  const char *message; ///< after "x: "
};

std::string oneTensor(const std::string &fields, size_t data = 8) {
  return safetensors("{\"t\":{" + fields + "}}", data);
}

TEST(HostileSafetensors, EveryLieHasItsMessage) {
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const Case cases[] = {
      {"empty", "", "byte 0: expected a header length of 8 bytes, but got a file of 0 bytes"},
      {"short", "1234567", "byte 0: expected a header length of 8 bytes, but got a file of 7 bytes"},
      {"header past the end", bytesOf(uint64_t(100)) + "{}",
       "byte 0: expected a header inside the file of 10 bytes, but got a header length of 100 bytes"},
      {"header of 2^63", bytesOf(uint64_t(1) << 63) + "{}",
       "byte 0: expected a header of at most 100000000 bytes, but got a header length of 9223372036854775808 bytes"},
      {"header of 2^64-1", bytesOf(UINT64_MAX) + "{}",
       "byte 0: expected a header of at most 100000000 bytes, but got a header length of 18446744073709551615 bytes"},
      {"empty header", bytesOf(uint64_t(0)), "byte 8: expected '{', but got an empty header"},
      {"array", safetensors("[1]"), "byte 8: expected '{', but got '['"},
      {"end of truncated JSON", safetensors("{\"t\":"),
       "byte 13: expected a JSON header, but got 'syntax error while parsing value - unexpected end of input; expected "
       "'[', '{', or a literal'"},
      {"bytes after JSON", safetensors("{}{"),
       "byte 10: expected a JSON header, but got 'syntax error while parsing value - unexpected '{'; expected end of input'"},
      {"name that is not UTF-8", safetensors("{\"\xff\":{" + good + "}}", 8),
       "byte 10: expected a JSON header, but got 'syntax error while parsing object key - invalid string: ill-formed "
       "UTF-8 byte; last read: '\"\\xff'; expected string literal'"},
      {"tensor is a number", safetensors("{\"t\":5}"),
       "'t': expected an object that describes a tensor, but got the number 5"},
      {"tensor is null", safetensors("{\"t\":null}"), "'t': expected an object that describes a tensor, but got null"},
      {"no dtype", oneTensor(R"("shape":[2],"data_offsets":[0,8])"),
       "tensor 't': expected a key 'dtype', but got none"},
      {"no shape", oneTensor(R"("dtype":"F32","data_offsets":[0,8])"),
       "tensor 't': expected a key 'shape', but got none"},
      {"no offsets", oneTensor(R"("dtype":"F32","shape":[2])"),
       "tensor 't': expected a key 'data_offsets', but got none"},
      {"foreign key", oneTensor(good + R"(,"x":1)"),
       "tensor 't', 'x': expected the keys dtype, shape and data_offsets, but got 'x'"},
      {"two dtypes", oneTensor(good + R"(,"dtype":"F16")"),
       "tensor 't', 'dtype': expected each key once, but got a second 'dtype'"},
      {"dtype is a number", oneTensor(R"("dtype":7,"shape":[2],"data_offsets":[0,8])"),
       "tensor 't', 'dtype': expected a string, but got the number 7"},
      {"unknown dtype", oneTensor(R"("dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8])"),
       "tensor 't': expected a dtype of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL, but got 'F8_E4M3'"},
      {"block dtype", oneTensor(R"("dtype":"Q8_0","shape":[8],"data_offsets":[0,8])"),
       "tensor 't': expected a dtype of F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL, but got 'Q8_0'"},
      {"negative dimension", oneTensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"),
       "tensor 't', 'shape': expected integers of 0 or more, but got the negative number -2"},
      {"dimension of 2^63", oneTensor(R"("dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8])"),
       "tensor 't', 'shape': expected dimensions below 2^63, but got 9223372036854775808"},
      {"dimension of 2^64", oneTensor(R"("dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8])"),
       "tensor 't', 'shape': expected integers of 0 or more, but got the number 18446744073709551616"},
      {"dimension 2.0", oneTensor(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"),
       "tensor 't', 'shape': expected integers of 0 or more, but got the number 2.0"},
      {"nested shape", oneTensor(R"("dtype":"F32","shape":[[2]],"data_offsets":[0,8])"),
       "tensor 't', 'shape': expected integers of 0 or more, but got an array"},
      {"product overflows", oneTensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,8])"),
       "tensor 't': expected a tensor of fewer than 2^63 bytes, but got shape [4294967296, 4294967296]"},
      {"bytes overflow", oneTensor(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8])"),
       "tensor 't': expected a tensor of fewer than 2^63 bytes, but got shape [2305843009213693952]"},
      {"product overflows behind a zero",
       oneTensor(R"("dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"),
       "tensor 't': expected a tensor of fewer than 2^63 bytes, but got shape [4294967296, 4294967296, 0]"},
      {"17 dimensions", oneTensor(R"("dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4])"),
       "tensor 't', 'shape': expected at most 16 dimensions, but got more"},
      {"negative offset", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[-8,0])"),
       "tensor 't', 'data_offsets': expected integers of 0 or more, but got the negative number -8"},
      {"offset past the end", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,16])"),
       "tensor 't': expected data_offsets inside the 8 bytes of tensor data, but got [8, 16]"},
      {"offset of 2^64-1", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615])"),
       "tensor 't': expected data_offsets inside the 8 bytes of tensor data, but got [0, 18446744073709551615]"},
      {"offsets backwards", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"),
       "tensor 't': expected data_offsets in ascending order, but got [8, 0]"},
      {"one offset", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[8])"),
       "tensor 't': expected two data_offsets, but got 1"},
      {"three offsets", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8,9])"),
       "tensor 't', 'data_offsets': expected two offsets, but got more than two"},
      {"size does not fit shape", oneTensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"),
       "tensor 't': expected 12 bytes for F32 [3], but got 8 bytes at data_offsets [0, 8]"},
      {"same name twice", safetensors("{\"t\":{" + good + R"(},"t":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})", 16),
       "tensor 't': expected a name that occurs once, but got a second tensor of that name"},
      {"overlap", safetensors("{\"a\":{" + good + R"(},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
       "tensor 'b': expected tensor data from byte 8 on (no overlap, no hole), but got data from byte 4"},
      {"same bytes twice", safetensors("{\"a\":{" + good + "},\"b\":{" + good + "}}", 8),
       "tensor 'b': expected tensor data from byte 8 on (no overlap, no hole), but got data from byte 0"},
      {"hole", oneTensor(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])", 12),
       "tensor 't': expected tensor data from byte 0 on (no overlap, no hole), but got data from byte 4"},
      {"trailing bytes", oneTensor(good, 9),
       "byte 70: expected the end of the file after the last tensor, but got 1 bytes more"},
      {"metadata is a list", safetensors(R"({"__metadata__":[]})"),
       "'__metadata__': expected an object that describes a tensor, but got an array"},
      {"metadata holds a number", safetensors(R"({"__metadata__":{"format":1}})"),
       "__metadata__: expected a string, but got the number 1"},
      {"metadata holds an object", safetensors(R"({"__metadata__":{"format":{}}})"),
       "__metadata__: expected a string, but got an object"},
      {"metadata twice", safetensors(R"({"__metadata__":{},"__metadata__":{}})"),
       "'__metadata__': expected one __metadata__, but got a second one"},
      {"metadata key twice", safetensors(R"({"__metadata__":{"a":"b","a":"c"}})"),
       "__metadata__: expected a key that occurs once, but got a second key 'a'"},
  };
  for (const Case &c : cases)
    EXPECT_EQ(messageOf([&] { SafetensorsFile::parse(MappedFile::fromBytes("x", c.bytes)); }),
              std::string("x: ") + c.message)
        << c.name;
}

TEST(HostileSafetensors, EveryTruncationIsRefused) {
  std::string good = safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  SafetensorsFile::parse(MappedFile::fromBytes("x", good));
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THROW(SafetensorsFile::parse(MappedFile::fromBytes("x", good.substr(0, size))), Error) << size;
}

TEST(HostileSafetensors, DeepNestingIsRefusedWithoutRecursion) {
  std::string header = "{\"t\":{\"shape\":" + std::string(1'000'000, '[') + "}}";
  EXPECT_EQ(messageOf([&] { SafetensorsFile::parse(MappedFile::fromBytes("x", safetensors(header))); }),
            "x: tensor 't', 'shape': expected integers of 0 or more, but got an array");
}

} // namespace
