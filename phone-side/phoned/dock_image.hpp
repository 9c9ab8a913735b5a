// SPDX-License-Identifier: Apache-2.0
// An instance of this phone as the source of a hand-over: reads its memory and disk while it runs, stops it, and takes
// it back or lets it go. Thread safety: the engine's thread.
#pragma once

#include <memory>

#include "link/handover_source.hpp"
#include "phone-side/phoned/saved_image.hpp"
#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

class DockImage : public link::SourceImage {
 public:
  DockImage(Slot& slot, std::shared_ptr<LiveInstance> live) : slot_(slot), live_(std::move(live)) {}

  [[nodiscard]] std::vector<link::RegionSize> regions() const override;
  link::Status start_tracking() override;
  link::Status candidates(link::pb::Region region, bool base_held, link::Bitmap& out) override;
  link::Status read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) override;
  link::Status take_dirty(link::pb::Region region, link::Bitmap& out) override;
  link::Result<link::SavedState> stop() override;
  void resume() override;
  void left(std::uint64_t generation) override;

  // How many blocks the first round examines, as far as it is known.
  [[nodiscard]] std::uint64_t expected_blocks() const { return expected_blocks_; }

 private:
  [[nodiscard]] link::Status read_memory(std::uint64_t first, std::span<std::byte> out);
  [[nodiscard]] link::Status read_disk(std::uint64_t first, std::span<std::byte> out);
  [[nodiscard]] link::Status refresh_populated();

  Slot& slot_;
  std::shared_ptr<LiveInstance> live_;
  link::Bitmap populated_;  // as last asked; a page that came since is dirty too, and will be read again
  OwnedFd disk_;
  std::uint64_t expected_blocks_ = 0;
  bool stopped_ = false;
};

}  // namespace amphion::phoned
