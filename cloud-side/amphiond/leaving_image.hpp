// SPDX-License-Identifier: Apache-2.0
// A docked instance as the source engine sees it (link/handover_source.hpp says the order of calls). QEMU keeps no
// dirty log that another process could read, so what is dirty is found by comparing the clone's memory and disks with
// a staged copy: at first the synchronised copy, and every block that is read for the phone is written into it. So it
// is always what the phone has, and when the clone has left it becomes the new synchronised copy.
// Thread safety: one thread at a time.
#pragma once

#include <functional>
#include <optional>

#include "cloud-side/store/image.hpp"

namespace amphion::cloud {

// What the image asks of the running instance.
struct LeavingClone {
  std::function<link::Result<link::SavedState>()> stop;  // it stands still, its files are whole
  std::function<void()> resume;                          // it goes on here
  std::function<void()> end;                             // it is gone, nothing writes into its files any more
};

class LeavingImage final : public link::SourceImage {
 public:
  // `base`: generation of the synchronised copy. The clone's run/ folder must be there.
  LeavingImage(InstanceFolder folder, LeavingClone clone, std::optional<std::uint64_t> base);

  [[nodiscard]] std::vector<link::RegionSize> regions() const override { return regions_; }
  link::Status start_tracking() override;
  link::Status candidates(link::pb::Region region, bool base_held, link::Bitmap& out) override;
  link::Status read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) override;
  link::Status take_dirty(link::pb::Region region, link::Bitmap& out) override;
  link::Result<link::SavedState> stop() override;
  void resume() override;
  void left(std::uint64_t generation) override;
  // After the hand-over: if the instance has left, keeps what the phone has as the new synchronised copy. Not part of
  // left(), which the other side waits for. If it is never called, the next dock sends everything.
  void keep_copy();

 private:
  InstanceFolder folder_;
  LeavingClone clone_;
  std::optional<std::uint64_t> base_;
  Image live_;
  std::optional<Image> sent_;
  std::vector<link::RegionSize> regions_;
  std::uint64_t left_in_ = 0;  // generation; 0: it has not left
};

}  // namespace amphion::cloud
