// SPDX-License-Identifier: Apache-2.0
// Pictures from the cloud; see clone_screen.hpp.
#include "phone-side/phoned/clone_screen.hpp"

#include <zstd.h>

namespace amphion::phoned {

void CloneScreen::put(const std::string& instance, std::string_view zstd_pixels) {
  auto picture = std::make_shared<Picture>(picture_pixels);
  const std::size_t bytes = picture_pixels * sizeof(std::uint16_t);
  if (ZSTD_decompress(picture->data(), bytes, zstd_pixels.data(), zstd_pixels.size()) != bytes) return;
  const std::lock_guard lock(mutex_);
  instance_ = instance;
  picture_ = std::move(picture);
}

void CloneScreen::clear() {
  const std::lock_guard lock(mutex_);
  picture_.reset();
}

std::shared_ptr<const Picture> CloneScreen::of(const std::string& instance) const {
  const std::lock_guard lock(mutex_);
  return instance_ == instance ? picture_ : nullptr;
}

}  // namespace amphion::phoned
