// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/leaving_image.hpp"

#include <spdlog/spdlog.h>

namespace amphion::cloud {

LeavingImage::LeavingImage(InstanceFolder folder, LeavingClone clone, std::optional<std::uint64_t> base)
    : folder_(std::move(folder)),
      clone_(std::move(clone)),
      base_(base),
      live_(folder_.files(), folder_.run(), Files::Mode::read),
      regions_(live_.regions()) {}

link::Status LeavingImage::start_tracking() {
  return guarded([&] {
    folder_.begin_staging(base_, sizes_of(regions_));
    sent_.emplace(folder_.files(), folder_.staging(), Files::Mode::write);
  });
}

link::Status LeavingImage::candidates(link::pb::Region region, bool base_held, link::Bitmap& out) {
  return guarded([&] {
    if (base_held) return Image::differing(live_, *sent_, region, out);
    sent_->clear(region);
    live_.data_blocks(region, out);
  });
}

link::Status LeavingImage::read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) {
  return guarded([&] {
    live_.read(region, first, out);
    if (link::is_zero(out)) return sent_->zero(region, first, out.size() / link::block_bytes);
    sent_->write(region, first, out);
  });
}

link::Status LeavingImage::take_dirty(link::pb::Region region, link::Bitmap& out) {
  return guarded([&] { Image::differing(live_, *sent_, region, out); });
}

link::Result<link::SavedState> LeavingImage::stop() { return clone_.stop(); }

void LeavingImage::resume() {
  sent_.reset();
  if (const auto dropped = guarded([&] { folder_.discard_staging(); }); !dropped) {
    spdlog::warn("{}", dropped.error().text);
  }
  clone_.resume();
}

void LeavingImage::left(std::uint64_t generation) {
  clone_.end();
  left_in_ = generation;
}

void LeavingImage::keep_copy() {
  if (left_in_ == 0) return;
  sent_.reset();
  const auto done = guarded([&] {
    folder_.finish_staging(left_in_);
    folder_.keep_only(left_in_);
    folder_.discard_run();
  });
  if (!done) spdlog::warn("the synchronised copy is lost, the next dock sends everything: {}", done.error().text);
}

}  // namespace amphion::cloud
