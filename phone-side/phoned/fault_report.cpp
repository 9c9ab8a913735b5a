// SPDX-License-Identifier: Apache-2.0
// See fault_report.hpp. Nothing in the handler allocates.
#include "phone-side/phoned/fault_report.hpp"

#include <execinfo.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <string_view>

namespace amphion::phoned {
namespace {

constexpr int most_frames = 32;
std::array<char, 64 * 1024> stack;  // the thread's own may be what has ended

void say(std::string_view text) { (void)!write(STDERR_FILENO, text.data(), text.size()); }

void report(int signal, siginfo_t* what, void*) {
  std::array<char, 128> line{};
  const int length =
      std::snprintf(line.data(), line.size(), "phoned: a fault ends it: signal %d, code %d, address %p\n", signal,
                    what->si_code, what->si_addr);
  say({line.data(), static_cast<std::size_t>(length)});
  std::array<void*, most_frames> frames{};
  backtrace_symbols_fd(frames.data(), backtrace(frames.data(), most_frames), STDERR_FILENO);
  (void)std::raise(signal);  // once more, without this handler
}

}  // namespace

void report_faults() {
  std::array<void*, 1> first{};
  (void)backtrace(first.data(), 1);  // loads what it needs, once
  const stack_t alternate{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
  sigaltstack(&alternate, nullptr);  // of the first thread; the others have none
  struct sigaction action {};
  action.sa_sigaction = report;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | static_cast<int>(SA_RESETHAND);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal, &action, nullptr);
}

}  // namespace amphion::phoned
