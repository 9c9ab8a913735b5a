// SPDX-License-Identifier: Apache-2.0
// A root shell on an instance's console, spoken to as a person would: text in, text out, with a limit on each wait.
// The transport is two functions, so that the same shell goes on when the instance has moved.
// Thread safety: one thread at a time. Errors: std::runtime_error with what was seen last.
#pragma once

#include <chrono>
#include <functional>
#include <string>

namespace amphion::e2e {

class GuestShell {
 public:
  using Write = std::function<void(const std::string&)>;
  using Read = std::function<std::string()>;  // what has come; "" if nothing has; may wait a little

  GuestShell(Write write, Read read) : write_(std::move(write)), read_(std::move(read)) {}

  // Sends newlines until the login prompt appears, and logs in; done as well where somebody is logged in.
  void log_in(std::chrono::seconds limit);
  // What the command printed, without the last newline.
  std::string run(const std::string& command, std::chrono::seconds limit = std::chrono::seconds(60));

 private:
  [[nodiscard]] bool wait_for(const std::string& text, std::chrono::milliseconds limit);

  Write write_;
  Read read_;
  std::string seen_;
  int count_ = 0;
};

}  // namespace amphion::e2e
