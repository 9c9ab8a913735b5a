// SPDX-License-Identifier: Apache-2.0
// See serial.hpp.
#include "emulator/serial.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

#include "emulator/unix_socket.hpp"

namespace amphion::emulator {

Serial::Serial(const std::string& socket_path)
    : socket_(connect_unix(socket_path, "the serial console does not answer at " + socket_path)) {}
Serial::~Serial() { close(socket_); }

void Serial::send(const std::string& text) const {
  if (::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size())) return;
  throw std::runtime_error("the serial console takes no input");
}

std::string Serial::receive(std::chrono::milliseconds limit) const {
  pollfd input{.fd = socket_, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, static_cast<int>(limit.count())) <= 0) return {};
  std::array<char, 4096> bytes{};
  const ssize_t got = recv(socket_, bytes.data(), bytes.size(), 0);
  return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
}

}  // namespace amphion::emulator
