// SPDX-License-Identifier: Apache-2.0
// A client of the emulated phone's serial console, of which there may be one at a time. QEMU drops what the board has
// not taken yet when the client goes away, so it stays until it has seen the answer. Thread safety: one thread an
// object.
#pragma once

#include <chrono>
#include <string>

namespace amphion::emulator {

class Serial {
 public:
  explicit Serial(const std::string& socket_path);  // throws std::runtime_error
  ~Serial();
  Serial(const Serial&) = delete;
  Serial& operator=(const Serial&) = delete;

  void send(const std::string& text) const;
  // What has come; empty after `limit` without anything, and at the end of the console.
  [[nodiscard]] std::string receive(std::chrono::milliseconds limit) const;

 private:
  int socket_;
};

}  // namespace amphion::emulator
