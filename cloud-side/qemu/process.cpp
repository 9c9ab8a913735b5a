// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

extern char** environ;

namespace amphion::qemu {
namespace {

using namespace std::chrono_literals;
using link::ErrorCode;

constexpr std::size_t max_output_bytes = 64 << 10;

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

// Runs it with `captured` (1 or 2) read by us; the result is that output, `exit_code` its end.
link::Result<std::string> run(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                              int captured, int& exit_code) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return link::Error{ErrorCode::io, std::string("pipe: ") + std::strerror(errno)};
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, captured == 1 ? 2 : 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], captured);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;  // a server that waits for its signals blocks them; the new process must heed its own
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  std::string output;
  char piece[4096];
  for (ssize_t n = 0; failed == 0 && (n = read(ends[0], piece, sizeof piece)) != 0;) {
    if (n < 0 && errno != EINTR) break;
    if (n > 0 && output.size() < max_output_bytes) output.append(piece, static_cast<std::size_t>(n));
  }
  close(ends[0]);
  if (failed != 0) return link::Error{ErrorCode::io, program.string() + ": " + std::strerror(failed)};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return output;
}

// Gone, or a zombie: its files are closed in both cases.
bool ended(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(in, text)) return true;
  const auto state = text.rfind(')');
  return state == std::string::npos || text.size() < state + 3 || text[state + 2] == 'Z' || text[state + 2] == 'X';
}

}  // namespace

link::Status run_daemon(const std::filesystem::path& program, const std::vector<std::string>& arguments) {
  int exit_code = 0;
  auto errors = run(program, arguments, 2, exit_code);
  if (!errors) return errors.error();
  if (exit_code != 0) return {ErrorCode::io, "QEMU did not start: " + last_line(*errors)};
  return {};
}

link::Result<std::string> run_and_read(const std::filesystem::path& program,
                                       const std::vector<std::string>& arguments) {
  int exit_code = 0;
  auto output = run(program, arguments, 1, exit_code);
  if (output && exit_code != 0) return link::Error{ErrorCode::io, program.string() + " fails; run the set-up again"};
  return output;
}

bool process_serves(int pid, const std::filesystem::path& folder) {
  if (pid <= 0) return false;
  std::ifstream in("/proc/" + std::to_string(pid) + "/cmdline", std::ios::binary);
  const std::string line{std::istreambuf_iterator<char>(in), {}};  // empty for a zombie
  return line.find(folder.string() + "/") != std::string::npos;
}

int read_pid_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  int pid = 0;
  return in >> pid ? pid : 0;
}

void kill_and_wait(int pid, const std::filesystem::path& folder) {
  if (!process_serves(pid, folder)) return;
  ::kill(pid, SIGKILL);
  while (!ended(pid)) std::this_thread::sleep_for(2ms);
}

}  // namespace amphion::qemu
