// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/guest_shell.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>

namespace amphion::e2e {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool GuestShell::wait_for(const std::string& text, std::chrono::milliseconds limit) {
  for (const auto end = Clock::now() + limit; Clock::now() < end;) {
    seen_ += read_();
    if (seen_.find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

void GuestShell::log_in(std::chrono::seconds limit) {
  for (const auto end = Clock::now() + limit; Clock::now() < end;) {
    seen_.clear();
    write_("\n");
    if (!wait_for("login:", 5s) && seen_.find('#') == std::string::npos) continue;
    if (seen_.find("login:") != std::string::npos) {
      write_("root\n");
      if (!wait_for("assword:", 30s)) continue;
      write_("amphion\n");
      if (!wait_for("#", 30s)) continue;
    }
    write_("stty -echo; PS1=; PS2=; echo re''ady\n");
    if (wait_for("ready", 30s)) return;
  }
  throw std::runtime_error("no login on the console; last seen: " + seen_);
}

std::string GuestShell::run(const std::string& command, std::chrono::seconds limit) {
  const std::string mark = "=" + std::to_string(++count_) + "=";
  seen_.clear();
  write_("echo '" + mark + "b'; " + command + "; echo; echo '" + mark + "e'\n");
  if (!wait_for(mark + "e", limit)) throw std::runtime_error("'" + command + "' does not end; seen: " + seen_);
  seen_.erase(std::remove(seen_.begin(), seen_.end(), '\r'), seen_.end());
  const auto from = seen_.find(mark + "b\n");
  const auto to = seen_.find(mark + "e");
  if (from == std::string::npos) throw std::runtime_error("'" + command + "' was garbled: " + seen_);
  std::string out = seen_.substr(from + mark.size() + 2, to - from - mark.size() - 2);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace amphion::e2e
