// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/frame_port.hpp"

#include <cerrno>

namespace amphion::devices {

std::size_t TapPort::receive(std::span<std::byte> frame) {
  const ssize_t bytes = ::read(tap_.get(), frame.data(), frame.size());
  if (bytes < 0 && errno != EAGAIN && errno != EINTR) tap_ = OwnedFd();
  return bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

void TapPort::send(std::span<const std::byte> frame) {
  (void)!::write(tap_.get(), frame.data(), frame.size());  // refused: as lost on a cable
}

}  // namespace amphion::devices
