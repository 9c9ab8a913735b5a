// SPDX-License-Identifier: Apache-2.0
// The local admin socket: DATA/admin.sock (mode 0600), one JSON object a line in, one JSON object a line out.
// {"do":"list"} and {"do":"console","device":D,"instance":I}; an answer has "ok":true, or "ok":false and "error".
// Made by main(), answered by a thread of its own, one connection at a time; the handler must be thread safe.
// Invariants: a request line is at most 64 KiB; a silent peer is dropped after two seconds.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace amphion::cloud {

class AdminSocket {
 public:
  using Handler = std::function<nlohmann::json(const nlohmann::json&)>;

  // Throws std::runtime_error with a one-line text when the socket cannot be made.
  AdminSocket(std::filesystem::path path, Handler handler);
  ~AdminSocket();
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;

 private:
  void serve();
  void converse(int fd);
  [[nodiscard]] std::string answer(const std::string& line) const;

  std::filesystem::path path_;
  Handler handler_;
  int listen_fd_ = -1;
  int wake_fd_ = -1;
  std::thread thread_;
};

}  // namespace amphion::cloud
