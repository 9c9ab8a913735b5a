// SPDX-License-Identifier: Apache-2.0
// QMP, QEMU's control protocol: one JSON object a line over a unix socket, one command at a time; events are dropped.
// Thread safety: one thread at a time. QEMU serves one client at a time; a second waits in connect().
#pragma once

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cloud-side/qemu/port.hpp"
#include "link/error.hpp"

namespace amphion::qemu {

class Qmp {
 public:
  // Connects, takes the greeting and negotiates. After a connection that broke, execute() does so again.
  link::Status connect(const std::filesystem::path& socket, std::chrono::milliseconds within);
  [[nodiscard]] bool connected() const { return port_.connected(); }
  void close();

  // The command's `return`. refused: QEMU's own error text. closed, timeout: whether it was carried out is not known.
  link::Result<nlohmann::json> execute(const std::string& command, nlohmann::json arguments = nlohmann::json::object());

 private:
  link::Result<nlohmann::json> next_object(std::chrono::steady_clock::time_point deadline);

  std::filesystem::path socket_;  // empty: closed for good
  Port port_;
  std::string buffer_;
};

}  // namespace amphion::qemu
