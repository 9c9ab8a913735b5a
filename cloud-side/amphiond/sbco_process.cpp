// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/sbco_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace amphion::cloud {
namespace {

constexpr std::string_view in_force = "SBCO schedules this machine";  // sched/scx/main.cpp
constexpr std::size_t most_said_bytes = 4096;

// What it says next is appended; false: it has ended.
bool hear(int output, std::string& said) {
  std::array<char, 512> piece{};
  ssize_t got = 0;
  do {
    got = ::read(output, piece.data(), piece.size());
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  said.append(piece.data(), static_cast<std::size_t>(got));
  if (said.size() > most_said_bytes) said.erase(0, said.size() - most_said_bytes);
  return true;
}

std::string last_line(std::string said) {
  while (!said.empty() && said.back() == '\n') said.pop_back();
  const auto at = said.rfind('\n');
  if (at != std::string::npos) said.erase(0, at + 1);
  if (said.starts_with("amphion-scx: ")) said.erase(0, said.find(' ') + 1);
  return said.empty() ? "it ended and did not say why" : said;
}

[[noreturn]] void become(const std::filesystem::path& program, int output, pid_t parent) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  ::execl(program.c_str(), program.c_str(), nullptr);
  ::_exit(127);
}

void wait_for(pid_t process) {
  while (::waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

link::Result<std::unique_ptr<SbcoProcess>> SbcoProcess::start(const std::filesystem::path& program,
                                                              std::function<void(const std::string&)> ended) {
  using link::Error, link::ErrorCode;
  if (::access(program.c_str(), X_OK) != 0) {
    return Error{ErrorCode::refused, "there is no " + program.string() + " (toolchain/build.sh scx makes it)"};
  }
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return Error{ErrorCode::io, std::strerror(errno)};
  const pid_t parent = ::getpid(), process = ::fork();
  if (process == 0) become(program, pipe[1], parent);
  ::close(pipe[1]);
  if (process < 0) {
    ::close(pipe[0]);
    return Error{ErrorCode::io, "no process can be started"};
  }
  std::string said;
  while (said.find(in_force) == std::string::npos) {
    if (hear(pipe[0], said)) continue;
    ::close(pipe[0]);
    wait_for(process);
    return Error{ErrorCode::refused, last_line(said)};
  }
  return std::unique_ptr<SbcoProcess>(new SbcoProcess(process, pipe[0], std::move(ended)));
}

SbcoProcess::SbcoProcess(pid_t process, int output, std::function<void(const std::string&)> ended)
    : process_(process), output_(output), ended_(std::move(ended)) {
  watcher_ = std::thread([this] { watch({}); });
}

void SbcoProcess::watch(std::string said) {
  while (hear(output_, said)) {
  }
  siginfo_t end{};
  (void)::waitid(P_PID, static_cast<id_t>(process_), &end, WEXITED | WNOWAIT);
  if (unwanted_) return;
  ended_(end.si_code == CLD_EXITED ? last_line(said) : "signal " + std::to_string(end.si_status) + " ended it");
}

SbcoProcess::~SbcoProcess() {
  unwanted_ = true;
  ::kill(process_, SIGTERM);  // a zombie until it is waited for: the number is its own
  watcher_.join();
  wait_for(process_);
  ::close(output_);
}

}  // namespace amphion::cloud
