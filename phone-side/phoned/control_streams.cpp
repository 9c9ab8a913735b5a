// SPDX-License-Identifier: Apache-2.0
// TLS and socket streams; see control_streams.hpp.
#include "phone-side/phoned/control_streams.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace amphion::phoned {
namespace {

constexpr std::chrono::seconds write_timeout{30};
constexpr std::chrono::hours read_timeout{1};

}  // namespace

std::size_t LinkByteStream::read(std::span<char> into) {
  for (;;) {
    if (shut_) return 0;
    const auto got = stream_->read(std::as_writable_bytes(into), link::in(read_timeout));
    if (got.ok()) return *got;
    if (got.error().code == link::ErrorCode::timeout) continue;
    if (got.error().code == link::ErrorCode::closed) return 0;
    throw std::runtime_error(got.error().text);
  }
}

void LinkByteStream::write(std::string_view bytes) {
  const auto status = stream_->write(std::as_bytes(std::span(bytes)), link::in(write_timeout));
  if (!status.ok()) throw std::runtime_error(status.error().text);
}

void LinkByteStream::shut() {
  shut_ = true;
  stream_->close();
}

SocketByteStream::~SocketByteStream() { close(socket_); }

std::size_t SocketByteStream::read(std::span<char> into) {
  for (;;) {
    const ssize_t got = recv(socket_, into.data(), into.size(), 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == ECONNRESET) return 0;
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "the connection broke");
  }
}

void SocketByteStream::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) throw std::system_error(errno, std::generic_category(), "the connection broke");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void SocketByteStream::shut() { shutdown(socket_, SHUT_RDWR); }

std::unique_ptr<ByteStream> connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::system_error(ENAMETOOLONG, std::generic_category(), path);
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  auto stream = std::make_unique<SocketByteStream>(fd);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw std::system_error(errno, std::generic_category(), path);
  }
  return stream;
}

}  // namespace amphion::phoned
