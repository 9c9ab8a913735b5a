// SPDX-License-Identifier: Apache-2.0
// See watchdog.hpp.
#include "phone-side/phoned/watchdog.hpp"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace amphion::phoned {

link::Result<Watchdog> Watchdog::start(const std::string& path, std::chrono::seconds timeout) {
  devices::OwnedFd device(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!device.valid()) {
    const bool none = errno == ENOENT || errno == ENODEV;
    return link::Error{none ? link::ErrorCode::not_found : link::ErrorCode::io,
                       none ? "this board has no watchdog (" + path + "): a hang stays until somebody sees it"
                            : path + ": " + std::strerror(errno)};
  }
  int seconds = static_cast<int>(timeout.count());
  if (ioctl(device.get(), WDIOC_SETTIMEOUT, &seconds) != 0) {
    spdlog::warn("{}: cannot wait for {} s; it waits for as long as it does", path, timeout.count());
    if (ioctl(device.get(), WDIOC_GETTIMEOUT, &seconds) != 0) seconds = static_cast<int>(timeout.count());
  }
  return Watchdog(std::move(device), std::chrono::seconds(seconds));
}

void Watchdog::feed() {
  if (write(device_.get(), "", 1) != 1) spdlog::error("the watchdog is not fed: {}", std::strerror(errno));
}

// The driver's magic word, then the end of the file.
void Watchdog::stop() {
  if (write(device_.get(), "V", 1) != 1) spdlog::error("the watchdog is not stopped: {}", std::strerror(errno));
  device_ = {};
}

}  // namespace amphion::phoned
