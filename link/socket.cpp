// SPDX-License-Identifier: Apache-2.0
// See socket.hpp.
#include "link/socket.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace amphion::link {
namespace {

std::string name_of(const Endpoint& endpoint) {
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  return (v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + std::to_string(endpoint.port);
}

struct AddressList {
  addrinfo* first = nullptr;
  AddressList() = default;
  AddressList(const AddressList&) = delete;
  AddressList& operator=(const AddressList&) = delete;
  ~AddressList() {
    if (first != nullptr) ::freeaddrinfo(first);
  }
};

Status resolve(const Endpoint& endpoint, int flags, AddressList& list) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  const std::string port = std::to_string(endpoint.port);
  const int failure = ::getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &list.first);
  if (failure == 0) return {};
  return {ErrorCode::not_found, "cannot find host \"" + endpoint.host + "\": " + ::gai_strerror(failure)};
}

Status connect_to(const addrinfo& address, const Socket& socket, Deadline deadline) {
  if (::connect(socket.fd(), address.ai_addr, address.ai_addrlen) == 0) return {};
  if (errno != EINPROGRESS) return {ErrorCode::closed, std::strerror(errno)};
  if (Status s = wait_for(socket.fd(), POLLOUT, deadline); !s.ok()) return s;
  int failure = 0;
  socklen_t length = sizeof(failure);
  ::getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &failure, &length);
  return failure == 0 ? Status() : Status(ErrorCode::closed, std::strerror(failure));
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

void Socket::shut_down() const { ::shutdown(fd_, SHUT_RDWR); }
void Socket::shut_writing() const { ::shutdown(fd_, SHUT_WR); }

Status wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 1 << 30)));
    if (ready > 0) return {};
    if (ready == 0) return {ErrorCode::timeout, "no answer in time"};
    if (errno != EINTR) return {ErrorCode::io, std::string("poll: ") + std::strerror(errno)};
  }
}

Result<Socket> tcp_connect(const Endpoint& to, Deadline deadline) {
  AddressList list;
  if (Status s = resolve(to, 0, list); !s.ok()) return s.error();
  Error last{ErrorCode::closed, "no address"};
  for (const addrinfo* address = list.first; address != nullptr; address = address->ai_next) {
    Socket socket(::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const Status connected =
        socket.fd() >= 0 ? connect_to(*address, socket, deadline) : Status(ErrorCode::io, std::strerror(errno));
    if (connected.ok()) {
      tune(socket);
      return socket;
    }
    last = connected.error();
  }
  return Error{last.code, "no one answers at " + name_of(to) + ": " + last.text};
}

Result<Socket> tcp_listen(const Endpoint& at) {
  AddressList list;
  if (Status s = resolve(at, AI_PASSIVE, list); !s.ok()) return s.error();
  Socket socket(::socket(list.first->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(socket.fd(), list.first->ai_addr, list.first->ai_addrlen) != 0 || ::listen(socket.fd(), 16) != 0) {
    return Error{ErrorCode::io, "cannot listen at " + name_of(at) + ": " + std::strerror(errno)};
  }
  return socket;
}

std::uint16_t local_port(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  ::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &length);
  return address.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port)
                                       : ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::string peer_address(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  char host[NI_MAXHOST] = "unknown";
  char port[NI_MAXSERV] = "0";
  if (::getpeername(socket.fd(), reinterpret_cast<sockaddr*>(&address), &length) == 0) {
    ::getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV);
  }
  return std::string(host) + ":" + port;
}

void tune(const Socket& socket) {
  const int on = 1;
  const int idle_seconds = 15;
  const int interval_seconds = 5;
  ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof(idle_seconds));
  ::setsockopt(socket.fd(), IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof(interval_seconds));
}

Result<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port) {
  const Error bad{ErrorCode::invalid, "\"" + std::string(text) + "\" is no address: write HOST:PORT"};
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return bad;
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && !port.starts_with(':')) return bad;
    if (!port.empty()) port.remove_prefix(1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return bad;
  }
  Endpoint endpoint{std::string(host), default_port};
  if (!port.empty()) {
    const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
    if (failure != std::errc() || end != port.data() + port.size() || endpoint.port == 0) return bad;
  }
  if (endpoint.host.empty()) return bad;
  return endpoint;
}

}  // namespace amphion::link
