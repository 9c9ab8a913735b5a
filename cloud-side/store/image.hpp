// SPDX-License-Identifier: Apache-2.0
// An instance's memory and disks as open files in one folder, addressed in blocks as the hand-over does.
// Thread safety: one thread at a time. Errors: StoreError. Arguments must lie inside the regions.
#pragma once

#include <memory>
#include <vector>

#include "cloud-side/store/instance_folder.hpp"
#include "link/handover_source.hpp"

namespace amphion::cloud {

[[nodiscard]] RegionSizes sizes_of(const std::vector<link::RegionSize>& regions);

class Image {
 public:
  // Opens the region files that are in `folder`.
  Image(Files& files, const std::filesystem::path& folder, Files::Mode mode);

  [[nodiscard]] std::vector<link::RegionSize> regions() const;
  void read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out);
  void write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks);
  void zero(link::pb::Region region, std::uint64_t first, std::uint64_t count);
  void clear(link::pb::Region region);  // the whole region becomes zeros
  // Sets the bits of blocks that may hold anything but zeros.
  void data_blocks(link::pb::Region region, link::Bitmap& out);
  // Blocks that are not zeros, counted by reading.
  [[nodiscard]] std::uint64_t count_nonzero(link::pb::Region region);
  // Sets the bits of blocks in which the two images differ. Same sizes.
  static void differing(Image& a, Image& b, link::pb::Region region, link::Bitmap& out);

 private:
  [[nodiscard]] File& file(link::pb::Region region) const;
  std::array<std::unique_ptr<File>, region_count> files_;
};

// A StoreError as link's error value.
[[nodiscard]] link::Error to_error(const StoreError& error);

// Runs `work`; a StoreError becomes a Status.
template <typename Work>
[[nodiscard]] link::Status guarded(const Work& work) {
  try {
    work();
    return {};
  } catch (const StoreError& error) {
    return to_error(error);
  }
}

}  // namespace amphion::cloud
