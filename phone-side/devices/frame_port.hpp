// SPDX-License-Identifier: Apache-2.0
// The other end of an instance's network cable: Ethernet frames, whole, one at a time.
// Thread safety: none; the DeviceModel serialises.
#pragma once

#include <cstddef>
#include <span>

#include "phone-side/devices/owned_fd.hpp"

namespace amphion::devices {

class FramePort {
 public:
  virtual ~FramePort() = default;
  // A frame that waits, and its length; 0: none does. What is longer than `frame` is cut.
  [[nodiscard]] virtual std::size_t receive(std::span<std::byte> frame) = 0;
  virtual void send(std::span<const std::byte> frame) = 0;  // now or never
};

// A TAP without headers, not blocking.
class TapPort final : public FramePort {
 public:
  explicit TapPort(OwnedFd tap) : tap_(std::move(tap)) {}
  [[nodiscard]] std::size_t receive(std::span<std::byte> frame) override;
  void send(std::span<const std::byte> frame) override;
  // To wait at; -1 once the interface is gone, when there is nothing to wait for.
  [[nodiscard]] int descriptor() const { return tap_.get(); }

 private:
  OwnedFd tap_;
};

}  // namespace amphion::devices
