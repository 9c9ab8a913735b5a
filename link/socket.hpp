// SPDX-License-Identifier: Apache-2.0
// TCP sockets that never block: connecting, listening, waiting with a deadline. Used by tls.cpp only.
// Thread safety: a Socket may be used and shut down by several threads, and is closed with its last owner.
#pragma once

#include "link/tls.hpp"

namespace amphion::link {

class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket();
  [[nodiscard]] int fd() const { return fd_; }
  void shut_down() const;  // both directions; waiting threads wake up
  void shut_writing() const;

 private:
  int fd_;
};

// poll(2) for `events` until the deadline. timeout or io on failure.
Status wait_for(int fd, short events, Deadline deadline);
Result<Socket> tcp_connect(const Endpoint& to, Deadline deadline);
Result<Socket> tcp_listen(const Endpoint& at);
[[nodiscard]] std::uint16_t local_port(const Socket& socket);
[[nodiscard]] std::string peer_address(const Socket& socket);
// Low delay, and dead peers are noticed even if nothing is sent.
void tune(const Socket& socket);

}  // namespace amphion::link
