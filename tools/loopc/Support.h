// What every command needs: messages, exit codes, files, time.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace loopc::driver {

using Json = nlohmann::ordered_json;

/// Exit statuses of the program.
enum ExitCode : int { Ok = 0, Failed = 1, Usage = 2, Interrupted = 130 };

/// A located message, one line, without a leading "error: ".
class Failure : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fail(const std::string &message);
/// A Failure that reads `PLACE: expected EXPECTED, but got FOUND`.
[[noreturn]] void failExpected(const std::string &place, const std::string &expected, const std::string &found);

/// A mistake in how the program was called: exit status 2.
class UsageError : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Messages were printed already; only the status is left.
struct Reported {
  int code = Failed;
};

/// Runs a command: turns every exception into one line on stderr and a status.
int guarded(const std::function<int()> &command);

/// `loopc: error: …` on stderr.
void printError(const std::string &message);
void printWarning(const std::string &message);

/// The whole file. Throws Failure naming it.
std::string readFile(const std::string &path);
/// Writes to a temporary name beside `path` and renames it: nothing half-written is ever visible.
void writeFileAtomically(const std::string &path, std::string_view bytes);
/// A fresh name in the directory of `path` for a file that will be renamed to it.
std::string temporaryBeside(const std::string &path);
bool isFile(const std::string &path);
bool isDirectory(const std::string &path);
/// Parses JSON. Throws Failure naming the file and the byte of the first mistake.
nlohmann::json parseJson(const std::string &text, const std::string &name);

/// Seconds since construction.
class Timer {
public:
  Timer() : begin(std::chrono::steady_clock::now()) {}
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(); }

private:
  std::chrono::steady_clock::time_point begin;
};

/// "1.23 s", "45 ms"; "12.3 MiB"; 123,456,789.
std::string durationText(double seconds);
std::string bytesText(double bytes);
std::string countText(double count);

/// stdout; flushes, and throws Failure when nobody reads any more or the disk is full.
void print(const std::string &text);

/// Installs handlers for SIGINT and SIGTERM; `interrupted` says whether one came. A second one ends the process.
void catchInterrupts();
bool interrupted();

std::string versionText();

} // namespace loopc::driver
