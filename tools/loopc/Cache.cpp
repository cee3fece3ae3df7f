// The compile cache: artefacts by the hash of everything that decides them.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Model.h"
#include "loopc/runtime/Artifact.h"
#include "loopc/runtime/Packing.h"
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <unistd.h>
#include <xxhash.h>

namespace loopc::driver {
namespace {

std::string hexHash(const std::string &text) {
  XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return digits;
}

/// Identity of this program: two builds of one version must not share artefacts.
std::string buildIdentity() {
  std::error_code code;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code)
    return versionText();
  auto size = std::filesystem::file_size(self, code);
  auto time = std::filesystem::last_write_time(self, code);
  return versionText() + " " + std::to_string(size) + " " + std::to_string(time.time_since_epoch().count());
}

} // namespace

std::string cacheDirectory() {
  if (const char *own = std::getenv("LOOPC_CACHE"))
    return own;
  if (const char *base = std::getenv("XDG_CACHE_HOME"); base && *base == '/')
    return std::string(base) + "/loopc";
  if (const char *home = std::getenv("HOME"); home && *home == '/')
    return std::string(home) + "/.cache/loopc";
  return "";
}

CompileRequest makeRequest(const frontend::Program &program, const SpecText &spec, const TargetOptions &target,
                           const Weights &weights, const std::vector<std::string> &observe, int64_t context) {
  CompileRequest request;
  request.context = context && program.context ? std::min(context, program.context) : std::max(context, program.context);
  request.leaving = target.leaving;
  request.profile = target.profile;
  request.program = &program;
  request.checkpoint = weights.checkpoint();
  request.maxMsPerToken = target.maxMsPerToken;
  if (!target.kv.empty())
    request.kv = parseKvClause(target.kv, "--kv");
  request.dtype = target.dtype == "stored" ? "f32" : target.dtype;
  if (target.dtype == "stored" && weights.tensors)
    for (const rt::TensorView &tensor : weights.tensors->tensors())
      if (std::string_view format = rt::weightFormatName(tensor.dtype); !format.empty() && format != "f32")
        request.stored[tensor.name] = format;
  request.kvDtype = target.kvDtype;
  request.cpu = target.cpu;
  request.bf16Order = target.bf16Order;
  request.observe = observe;
  std::string key = spec.text;
  auto add = [&](const std::string &part) {
    key += '\0';
    key += part;
  };
  for (const frontend::ProgramConfigEntry &entry : program.config)
    add(entry.name + "=" + entry.value);
  for (const frontend::ProgramOption &option : program.options) {
    char number[40];
    std::snprintf(number, sizeof number, "%.17g", option.initial);
    add(option.name + "=" + number);
  }
  for (const frontend::ProgramAccident &accident : program.accidents)
    add(accident.name + (accident.on ? " on" : " off"));
  for (const frontend::ProgramLoop &loop : program.loops) // which of the named exits is on
    add(loop.hasExit ? "exit " + loop.exitName : "");
  add(request.checkpoint);
  for (const auto &[name, format] : request.stored)
    add(name + ":" + format);
  add(std::to_string(request.maxMsPerToken));
  add(request.kv.map + "(" + std::to_string(request.kv.sizes[0]) + ", " + std::to_string(request.kv.sizes[1]) + ", " +
      request.kv.unit + ", " + request.kv.keep + (request.kv.codaOverwrites ? ", coda) " : ") ") + request.kv.holes + " " + request.kv.order);
  add(request.dtype + " " + request.kvDtype + " " + std::to_string(context) + (request.leaving ? " leaving" : "") +
      (request.profile ? " profile" : ""));
  add(targetText(request.cpu) + " " + request.bf16Order);
  for (const std::string &name : observe)
    add(name);
  for (const frontend::ProgramDraw &draw : program.draws)
    add(draw.name);
  add(buildIdentity());
  request.hash = hexHash(key);
  return request;
}

namespace {
void compileTo(const CompileRequest &request, const std::string &path) {
  std::string error;
  CompileTimes times;
  std::unique_ptr<Compilation> compilation = Compilation::create(request, error);
  if (!compilation || !compilation->writeArtifact(path, times, error)) {
    std::remove(path.c_str());
    fail(error);
  }
}
} // namespace

std::string cachedArtifact(const CompileRequest &request, const TargetOptions &target, LoadTimes &times) {
  Timer timer;
  std::string directory = cacheDirectory();
  std::error_code code;
  if (!target.noCache && !directory.empty())
    std::filesystem::create_directories(directory, code);
  if (target.noCache || directory.empty() || code || ::access(directory.c_str(), W_OK) != 0) {
    if (!target.noCache)
      printWarning(directory + ": expected a directory that can be written for compiled models, but got none; "
                               "compiling without it");
    const char *base = std::getenv("TMPDIR");
    std::string path = std::string(base && *base ? base : "/tmp") + "/loopc-" + std::to_string(::getpid()) + "-" +
                       request.hash + ".so";
    compileTo(request, path);
    times.compile = timer.seconds();
    times.artifactBytes = std::filesystem::file_size(path, code);
    return path;
  }
  std::string path = directory + "/" + request.hash + ".so";
  if (isFile(path)) {
    try {
      rt::checkArtifactFile(path);
      times.cached = true;
    } catch (const rt::Error &) {
      std::filesystem::remove(path, code); // damaged: made again
    }
  }
  if (!times.cached) {
    std::string temporary = temporaryBeside(path);
    compileTo(request, temporary);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
      std::remove(temporary.c_str());
      failExpected(path, "a place that can be written", "none");
    }
  }
  times.compile = timer.seconds();
  times.artifactBytes = std::filesystem::file_size(path, code);
  return path;
}

} // namespace loopc::driver
