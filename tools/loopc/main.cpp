// Entry of the loopc command.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Commands.h"
#include "Support.h"

int main(int argc, char **argv) {
  loopc::driver::catchInterrupts();
  return loopc::driver::runCommandLine(argc, argv);
}
