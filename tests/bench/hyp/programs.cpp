// SPDX-License-Identifier: Apache-2.0
// Debian's own programs: `openssl speed` for a second an algorithm, and `hackbench`. Where the machine's clock counts
// instructions, "per second" is "per 10^9 instructions".
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>

#include "tests/bench/hyp/measure.hpp"

namespace bench {
namespace {

constexpr double second_ns = 1e9;
constexpr int block_bytes = 1024;

// What it prints; its errors go to the console.
std::string output_of(const char* const* arguments) {
  int ends[2];
  require(pipe(ends) == 0, "pipe");
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    for (const int fd : ends) close(fd);
    execv(arguments[0], const_cast<char* const*>(arguments));
    _exit(1);
  }
  close(ends[1]);
  std::string text;
  std::array<char, 512> part;
  for (ssize_t got; (got = read(ends[0], part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  require(waitpid(child, &status, 0) == child && status == 0, arguments[0]);
  return text;
}

// The number behind the `colons`-th colon of the line that begins so (openssl speed -mr).
double field(const std::string& text, const char* line, int colons) {
  std::size_t at = text.find(line);
  for (; colons > 0 && at != std::string::npos; --colons) at = text.find(':', at + 1);
  require(at != std::string::npos, "openssl speed -mr says something else");
  return std::strtod(text.c_str() + at + 1, nullptr);
}

void measure_blocks(const char* name, const char* algorithm) {
  const std::string bytes = std::to_string(block_bytes);
  const char* const arguments[] = {"/bin/openssl", "speed",       "-elapsed", "-mr",     "-seconds", "1",
                                   "-bytes",       bytes.c_str(), "-evp",     algorithm, nullptr};
  value(name, second_ns * block_bytes / field(output_of(arguments), "+F:", 3));
}

}  // namespace

void measure_openssl() {
  setenv("OPENSSL_CONF", "/etc/openssl.cnf", 1);
  measure_blocks("openssl_sha256_1KiB", "sha256");
  measure_blocks("openssl_aes128gcm_1KiB", "aes-128-gcm");
  const char* const arguments[] = {"/bin/openssl", "speed", "-elapsed", "-mr", "-seconds", "1", "rsa2048", nullptr};
  const std::string said = output_of(arguments);
  value("openssl_rsa2048_sign", second_ns / field(said, "+F2:", 3));
  value("openssl_rsa2048_verify", second_ns / field(said, "+F2:", 4));
}

// Eight processes that send 200 messages of 100 bytes each to each of the other eight, over sockets.
void measure_hackbench() {
  static const char* const arguments[] = {"/bin/hackbench", "-g", "1", "-f", "8", "-l", "200", nullptr};
  value("hackbench", typical(5, 1, [] { output_of(arguments); }));
}

}  // namespace bench
