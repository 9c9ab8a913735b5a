// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/port.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

namespace amphion::qemu {
namespace {

using namespace std::chrono_literals;

link::Error failed(const char* what) { return {link::ErrorCode::closed, std::string("the clone's socket: ") + what}; }

bool wait_for(int fd, short events, std::chrono::milliseconds within) {
  pollfd p{fd, events, 0};
  return poll(&p, 1, static_cast<int>(within.count())) > 0;
}

}  // namespace

link::Status Port::connect(const std::filesystem::path& path, std::chrono::milliseconds within) {
  close();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string text = path.string();
  if (text.size() >= sizeof address.sun_path)
    return {link::ErrorCode::invalid, text + ": too long for a socket's path; choose a shorter data folder"};
  std::copy(text.begin(), text.end(), address.sun_path);
  const auto deadline = std::chrono::steady_clock::now() + within;
  for (;;) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return {link::ErrorCode::io, std::string("socket: ") + std::strerror(errno)};
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      fd_ = fd;
      return {};
    }
    const int reason = errno;
    ::close(fd);
    if (std::chrono::steady_clock::now() >= deadline)
      return {link::ErrorCode::closed, text + ": " + std::strerror(reason)};
    std::this_thread::sleep_for(5ms);
  }
}

void Port::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

link::Status Port::write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (fd_ < 0) return failed("not connected");
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(fd_, POLLOUT, 1s)) return {link::ErrorCode::timeout, "the clone's socket takes nothing"};
    } else if (errno != EINTR) {
      close();
      return failed(std::strerror(errno));
    }
  }
  return {};
}

link::Result<std::string> Port::read(std::size_t limit, std::chrono::milliseconds within) {
  if (fd_ < 0) return failed("not connected");
  if (!wait_for(fd_, POLLIN, within)) return std::string();
  std::string buffer(std::min<std::size_t>(limit, 64 << 10), '\0');
  const ssize_t n = recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::string();
  if (n <= 0) {
    close();
    return failed("closed by QEMU");
  }
  buffer.resize(static_cast<std::size_t>(n));
  return buffer;
}

}  // namespace amphion::qemu
