// SPDX-License-Identifier: Apache-2.0
// A client of QEMU's machine protocol (QMP) on a unix socket: one command, one answer, events are skipped.
// Thread safety: one thread an object. A second client of the same socket waits until the first is gone.
// Failures are std::runtime_error with one line.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace amphion::emulator {

class Qmp {
 public:
  explicit Qmp(const std::string& socket_path);
  ~Qmp();
  Qmp(const Qmp&) = delete;
  Qmp& operator=(const Qmp&) = delete;

  nlohmann::json execute(const std::string& command, const nlohmann::json& arguments = nlohmann::json::object());

 private:
  [[nodiscard]] nlohmann::json read_message();

  int socket_;
  std::string buffer_;
};

}  // namespace amphion::emulator
