// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/admin_socket.hpp"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace amphion::cloud {
namespace {

constexpr std::size_t max_line_bytes = 64 << 10;
constexpr int patience_ms = 2000;

int listen_on(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof address.sun_path) {
    throw std::runtime_error("the data folder's path is too long for a socket: " + path.string());
  }
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  unlink(path.c_str());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const mode_t mask = umask(0177);
  const bool bound = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  umask(mask);
  if (!bound || listen(fd, 8) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    throw std::runtime_error("cannot listen on " + path.string() + ": " + why);
  }
  return fd;
}

bool readable(int fd, int stop_fd, int timeout_ms) {
  std::array<pollfd, 2> fds{{{fd, POLLIN, 0}, {stop_fd, POLLIN, 0}}};
  const int ready = poll(fds.data(), fds.size(), timeout_ms);
  return ready > 0 && fds[1].revents == 0 && fds[0].revents != 0;
}

bool send_all(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = send(fd, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (n <= 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

AdminSocket::AdminSocket(std::filesystem::path path, Handler handler)
    : path_(std::move(path)), handler_(std::move(handler)), listen_fd_(listen_on(path_)) {
  wake_fd_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { serve(); });
}

AdminSocket::~AdminSocket() {
  const std::uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof one);
  thread_.join();
  close(wake_fd_);
  close(listen_fd_);
  unlink(path_.c_str());
}

void AdminSocket::serve() {
  while (readable(listen_fd_, wake_fd_, -1)) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    const timeval patience{patience_ms / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    converse(fd);
    close(fd);
  }
}

void AdminSocket::converse(int fd) {
  std::string pending;
  std::array<char, 4096> chunk{};
  while (readable(fd, wake_fd_, patience_ms)) {
    const ssize_t n = read(fd, chunk.data(), chunk.size());
    if (n <= 0 || pending.size() + static_cast<std::size_t>(n) > max_line_bytes) return;
    pending.append(chunk.data(), static_cast<std::size_t>(n));
    for (auto end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
      if (!send_all(fd, answer(pending.substr(0, end)))) return;
      pending.erase(0, end + 1);
    }
  }
}

std::string AdminSocket::answer(const std::string& line) const {
  nlohmann::json reply;
  const auto request = nlohmann::json::parse(line, nullptr, false);
  if (!request.is_object()) {
    reply = {{"ok", false}, {"error", "a request is one JSON object a line, for example {\"do\":\"list\"}"}};
  } else {
    try {
      reply = handler_(request);
    } catch (const std::exception& error) {
      reply = {{"ok", false}, {"error", error.what()}};
    }
  }
  return reply.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace amphion::cloud
