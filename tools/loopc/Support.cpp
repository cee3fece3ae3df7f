// What every command needs: messages, exit codes, files, time.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Support.h"
#include "Words.h"
#include "loopc/runtime/Error.h"
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <new>
#include <sys/stat.h>
#include <unistd.h>

namespace loopc::driver {

void fail(const std::string &message) { throw Failure(message); }

void failExpected(const std::string &place, const std::string &expected, const std::string &found) {
  throw Failure((place.empty() ? "" : place + ": ") + "expected " + expected + ", but got " + found);
}

void printError(const std::string &message) { std::fprintf(stderr, "loopc: error: %s\n", message.c_str()); }
void printWarning(const std::string &message) { std::fprintf(stderr, "loopc: warning: %s\n", message.c_str()); }

int guarded(const std::function<int()> &command) {
  try {
    return command();
  } catch (const Reported &reported) {
    return reported.code;
  } catch (const UsageError &error) {
    printError(error.what());
    return Usage;
  } catch (const std::bad_alloc &) {
    printError("expected enough memory for the request, but got none from the system");
  } catch (const std::exception &error) {
    printError(error.what());
  }
  return Failed;
}

std::string readFile(const std::string &path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    failExpected(path, "a file that can be read", std::strerror(errno));
  struct stat status;
  if (::fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(descriptor);
    failExpected(path, "a file", "a directory");
  }
  std::string result;
  char buffer[1 << 16];
  while (true) {
    ssize_t got = ::read(descriptor, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      int error = errno;
      ::close(descriptor);
      failExpected(path, "a file that can be read", std::strerror(error));
    }
    if (got == 0)
      break;
    result.append(buffer, size_t(got));
    if (result.size() > (size_t(1) << 32)) {
      ::close(descriptor);
      failExpected(path, "a text of less than 4 GiB", "a longer one");
    }
  }
  ::close(descriptor);
  return result;
}

std::string temporaryBeside(const std::string &path) {
  static std::atomic<unsigned> counter{0};
  return path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
}

void writeFileAtomically(const std::string &path, std::string_view bytes) {
  std::string temporary = temporaryBeside(path);
  std::FILE *file = std::fopen(temporary.c_str(), "wbe");
  if (!file)
    failExpected(path, "a place that can be written", std::strerror(errno));
  bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  int error = errno;
  if (std::fclose(file) != 0 && written) {
    written = false;
    error = errno;
  }
  if (written && std::rename(temporary.c_str(), path.c_str()) == 0)
    return;
  if (written)
    error = errno;
  std::remove(temporary.c_str());
  failExpected(path, "a place that can be written", std::strerror(error));
}

bool isFile(const std::string &path) {
  std::error_code code;
  return std::filesystem::is_regular_file(path, code);
}

bool isDirectory(const std::string &path) {
  std::error_code code;
  return std::filesystem::is_directory(path, code);
}

nlohmann::json parseJson(const std::string &text, const std::string &name) {
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error &error) {
    std::string found =
        error.byte > text.size() ? "the end of the file" : "something else (" + rt::quoted(error.what(), 160) + ")";
    failExpected(name + ": byte " + std::to_string(error.byte), "JSON", found);
  }
}

std::string durationText(double seconds) {
  char text[32];
  if (seconds < 0.9995)
    std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  else
    std::snprintf(text, sizeof text, "%.2f s", seconds);
  return text;
}

std::string bytesText(double bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

std::string countText(double count) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%.0f", count);
  std::string text = digits;
  for (size_t i = text.size(); i > 3 && text[i - 4] != '-';) {
    i -= 3;
    text.insert(i, ",");
  }
  return text;
}

void print(const std::string &text) {
  bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (std::fflush(stdout) != 0 || !written)
    failExpected("stdout", "a place that can be written", std::strerror(errno));
}

namespace {
volatile std::sig_atomic_t interrupts = 0;
void onInterrupt(int) {
  if (interrupts++)
    ::_exit(Interrupted);
}
} // namespace

void catchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupted() { return interrupts != 0; }

std::string versionText() { return "loopc " LOOPC_VERSION; }

} // namespace loopc::driver
