// What a test expects of a refusal.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include "loopc/runtime/Error.h"
#include <gtest/gtest.h>
#include <string>

namespace loopc::rt::test {

/// The message of the Error that `action` throws; empty if it throws none.
template <typename F> std::string refusalOf(F action) {
  try {
    action();
  } catch (const Error &error) {
    return error.what();
  }
  return "";
}

/// The same where there must be one.
template <typename F> std::string messageOf(F action) {
  std::string message = refusalOf(action);
  EXPECT_NE(message, "") << "expected an Error, but got none";
  return message;
}

} // namespace loopc::rt::test
