// SPDX-License-Identifier: Apache-2.0
// The last picture that the cloud sent of a docked instance's screen.
// Thread safety: all functions from any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "phone-side/phoned/picture.hpp"

namespace amphion::phoned {

class CloneScreen {
 public:
  // From the cloud: checked whole; a picture that is not exactly one screen is dropped.
  void put(const std::string& instance, std::string_view zstd_pixels);
  void clear();
  [[nodiscard]] std::shared_ptr<const Picture> of(const std::string& instance) const;

 private:
  mutable std::mutex mutex_;
  std::string instance_;
  std::shared_ptr<const Picture> picture_;
};

}  // namespace amphion::phoned
