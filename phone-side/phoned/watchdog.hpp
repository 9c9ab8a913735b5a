// SPDX-License-Identifier: Apache-2.0
// The board's hardware watchdog: resets the board unless it is fed in time, whatever hung: phoned, the host's kernel,
// the hypervisor. Fed by main's loop, and only after the phone and the hypervisor have answered it. Linux's
// Documentation/watchdog/watchdog-api.rst. Thread safety: main only.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "link/error.hpp"
#include "phone-side/devices/owned_fd.hpp"

namespace amphion::phoned {

class Watchdog {
 public:
  // From here on it runs. not_found: the board has none. The board may have another time than what was asked for.
  [[nodiscard]] static link::Result<Watchdog> start(const std::string& device, std::chrono::seconds timeout);

  [[nodiscard]] std::chrono::seconds timeout() const { return timeout_; }
  void feed();
  // An orderly end: it stops. Without this a phoned that ends leaves it running for the next phoned, or for a reset.
  void stop();

 private:
  Watchdog(devices::OwnedFd device, std::chrono::seconds timeout) : device_(std::move(device)), timeout_(timeout) {}
  devices::OwnedFd device_;
  std::chrono::seconds timeout_;
};

}  // namespace amphion::phoned
