// SPDX-License-Identifier: Apache-2.0
// See unix_socket.hpp.
#include "emulator/unix_socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

namespace amphion::emulator {

int connect_unix(const std::string& path, const std::string& otherwise) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    throw std::runtime_error("the state folder's path is too long for a unix socket: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0 || connect(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    if (descriptor >= 0) close(descriptor);
    throw std::runtime_error(otherwise);
  }
  return descriptor;
}

}  // namespace amphion::emulator
