// SPDX-License-Identifier: Apache-2.0
// A client of one of QEMU's unix sockets: never waits, except where a deadline is given.
// Thread safety: one thread at a time. Ownership: closed by the destructor.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "link/error.hpp"

namespace amphion::qemu {

class Port {
 public:
  Port() = default;
  ~Port() { close(); }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // Tries again until the deadline while nobody listens there yet.
  link::Status connect(const std::filesystem::path& path, std::chrono::milliseconds within);
  [[nodiscard]] bool connected() const { return fd_ >= 0; }
  void close();

  // All of it, or an error; waits at most a second for room.
  link::Status write(std::string_view bytes);
  // What is there, at most `limit` bytes; waits up to `within` for the first. "" if nothing came; closed at the end.
  link::Result<std::string> read(std::size_t limit, std::chrono::milliseconds within = std::chrono::milliseconds(0));

 private:
  int fd_ = -1;
};

}  // namespace amphion::qemu
