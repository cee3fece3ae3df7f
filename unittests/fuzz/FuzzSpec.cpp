// libFuzzer target: any bytes through lexer, parser, checks, rendering and layout.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "loopc/Frontend/Formatter.h"
#include "loopc/Frontend/Parser.h"
#include "loopc/Frontend/Sema.h"

#include <cstdio>
#include <cstdlib>

using namespace loopc;
using namespace loopc::frontend;

namespace {

void require(bool condition, const char *what) {
  if (condition)
    return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  SourceText source("fuzz.loop", std::string(reinterpret_cast<const char *>(data), size));
  DiagnosticEngine engine(source);
  ast::Spec spec = parse(source, engine);
  std::string listing = dump(spec);
  renderText(engine, /*colour=*/true);
  renderJson(engine);
  if (engine.hasErrors())
    return 0;

  std::string once = format(spec, source);
  SourceText laidOut("laid-out.loop", once);
  DiagnosticEngine second(laidOut);
  ast::Spec again = parse(laidOut, second);
  require(!second.hasErrors(), "the layout of a correct text has an error");
  require(dump(again) == listing, "the layout changes the tree");
  require(format(again, laidOut) == once, "the layout is not stable");
  require(again.comments.size() == spec.comments.size(), "the layout loses a comment");

  ConfigInput input;
  std::optional<Program> program = elaborate(spec, input, engine);
  require(program.has_value() != engine.hasErrors(), "a program is given exactly when there is no error");
  if (program)
    checkExecutable(*program, engine);
  renderText(engine);
  return 0;
}
