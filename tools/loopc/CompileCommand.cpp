// loopc compile: a spec to one file, or to the text of one of its forms.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/runtime/Gguf.h"
#include <cstdio>
#include <filesystem>
#include <map>

namespace loopc::driver {

int runCompile(const CompileCommandOptions &options) {
  bool artifact = options.emit == "artifact";
  if (options.output.empty() && (artifact || options.emit == "obj"))
    throw UsageError("expected -o OUT for " + std::string(artifact ? "an artefact" : "an object file") +
                     ", but got none");
  Weights weights;
  if (!options.weights.weights.empty())
    weights = openWeights(options.weights);
  SpecText spec = readSpec(options.spec.spec);
  Timer timer;
  Published published = publishedFor(options.spec, weights);
  frontend::Program program = elaborateSpec(spec, options.spec, published);
  if (options.emit == "program") {
    std::string text = frontend::printProgram(program);
    options.output.empty() ? print(text) : writeFileAtomically(options.output, text);
    return Ok;
  }
  CompileRequest request =
      makeRequest(program, spec, options.target, weights, options.observe, published.context());
  request.sanitize = options.sanitize;
  std::string error;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  if (!compilation)
    fail(error);
  if (artifact) {
    std::string temporary = temporaryBeside(options.output);
    CompileTimes times;
    if (!compilation->writeArtifact(temporary, times, error)) {
      std::remove(temporary.c_str());
      fail(error);
    }
    if (std::rename(temporary.c_str(), options.output.c_str()) != 0) {
      std::remove(temporary.c_str());
      failExpected(options.output, "a place that can be written", "none");
    }
    if (options.json)
      print(Json{{"code_bytes", times.codeBytes},
                 {"file_bytes", std::filesystem::file_size(options.output)},
                 {"seconds", timer.seconds()},
                 {"form_seconds", times.form},
                 {"lower_seconds", times.lower},
                 {"optimize_seconds", times.optimize},
                 {"emit_seconds", times.emit},
                 {"link_seconds", times.link}}
                .dump() +
            "\n");
    std::fprintf(stderr, "loopc: %s: %s of code, %s in all; compiled in %s\n", options.output.c_str(),
                 bytesText(double(times.codeBytes)).c_str(),
                 bytesText(double(std::filesystem::file_size(options.output))).c_str(),
                 durationText(timer.seconds()).c_str());
  } else {
    static const std::map<std::string, Form> forms = {
        {"source", Form::Source}, {"planned", Form::Planned}, {"lanes", Form::Lanes}, {"task", Form::Task},
        {"llvm", Form::Llvm},     {"asm", Form::Asm},         {"obj", Form::Object}};
    std::string text;
    if (!compilation->lower(forms.at(options.emit), error) || !compilation->emit(text, error))
      fail(error);
    options.output.empty() ? print(text) : writeFileAtomically(options.output, text);
  }
  if (options.remarks)
    for (const CompileRemark &remark : compilation->remarks())
      std::fprintf(stderr, "loopc: remark: %s: %s: %s\n", remark.pass.c_str(), remark.kind.c_str(),
                   remark.text.c_str());
  return Ok;
}

} // namespace loopc::driver
