// SPDX-License-Identifier: Apache-2.0
// The destination image; see home_image.hpp.
#include "phone-side/phoned/home_image.hpp"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>

#include "machine/envelope.hpp"
#include "phone-side/phoned/bitmap.hpp"
#include "phone-side/phoned/picture.hpp"

namespace amphion::phoned {
namespace {

using link::block_bytes;
using link::ErrorCode;
using link::Status;
using link::pb::REGION_DISK0;
using link::pb::REGION_MEMORY;

std::uint64_t mib(std::uint64_t bytes) { return (bytes + (1u << 20) - 1) >> 20; }

std::uint64_t size_of(const std::vector<link::RegionSize>& regions, link::pb::Region region) {
  const auto found =
      std::find_if(regions.begin(), regions.end(), [&](const auto& one) { return one.region == region; });
  return found == regions.end() ? 0 : found->blocks * block_bytes;
}

std::uint64_t file_bytes(const std::string& file) {
  struct stat facts {};
  return !file.empty() && stat(file.c_str(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
}

}  // namespace

Status HomeImage::admit(const link::pb::Offer& offer) {
  const link::InstanceRecord record = slot_.record();
  if (record.place != link::pb::SIDE_CLOUD) return {ErrorCode::conflict, slot_.name() + " is on this phone already"};
  if (offer.shape().vcpus() != record.shape.vcpus || offer.shape().memory_bytes() != record.shape.memory_bytes) {
    return {ErrorCode::invalid, slot_.name() + " has another shape on this phone"};
  }
  std::uint64_t disk = 0;
  for (const auto& one : offer.regions()) {
    const bool memory = one.region() == REGION_MEMORY && one.blocks() == record.shape.memory_bytes / block_bytes;
    if (one.region() == REGION_DISK0) disk = one.blocks() * block_bytes;
    if (!memory && one.region() != REGION_DISK0)
      return {ErrorCode::invalid, slot_.name() + " has other disks on this phone"};
  }
  if (disk != file_bytes(slot_.disk()))
    return {ErrorCode::invalid, slot_.name() + "'s disk has another size on this phone"};
  return {};
}

bool HomeImage::has_base(std::uint64_t base) {
  const auto live = slot_.live();
  return base != 0 && live && !live->lost();
}

Status HomeImage::begin(std::uint64_t generation, const std::vector<link::RegionSize>& regions, std::uint64_t base) {
  const std::uint64_t ram = size_of(regions, REGION_MEMORY);
  const std::uint64_t disk = size_of(regions, REGION_DISK0);
  image_.emplace(slot_.folder_, generation);
  pages_.present.assign(bitmap_words(ram / block_bytes), 0);
  pages_.changed = pages_.present;
  with_base_ = base != 0;
  if (auto status = image_->create(ram, disk); !status.ok() || !with_base_) return status;
  if (auto status = copy_base_memory(); !status.ok()) return status;
  if (disk != 0) {
    if (auto status = image_->base_disk(); !status.ok()) return status;
  }
  return image_->flush();
}

Status HomeImage::copy_base_memory() {
  const auto live = slot_.live();
  if (!live) return {ErrorCode::not_found, "the synchronised copy of " + slot_.name() + " is not in memory any more"};
  if (auto status = live->populated(pages_.present); !status.ok()) return status;
  std::array<std::byte, block_bytes> contents;
  for (std::size_t page = 0; page < live->memory_bytes() / block_bytes; ++page) {
    if (!bit(pages_.present, page)) continue;
    if (auto status = live->read(page * block_bytes, contents); !status.ok()) return status;
    if (link::is_zero(contents)) {
      set_bits(pages_.present, page, 1, false);
    } else if (auto status = image_->write(REGION_MEMORY, page * block_bytes, contents); !status.ok()) {
      return status;
    }
  }
  return {};
}

Status HomeImage::write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) {
  if (region == REGION_MEMORY) {
    set_bits(pages_.present, first, blocks.size() / block_bytes, true);
    set_bits(pages_.changed, first, blocks.size() / block_bytes, true);
  }
  return image_->write(region, first * block_bytes, blocks);
}

Status HomeImage::zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) {
  if (region == REGION_MEMORY) {
    set_bits(pages_.present, first, count, false);
    set_bits(pages_.changed, first, count, true);
  }
  return image_->zero(region, first * block_bytes, count * block_bytes);
}

Status HomeImage::check_state(const std::string& sealed) {
  machine::InstanceState state;
  if (const auto wrong = machine::open_envelope(sealed, state))
    return {ErrorCode::damaged, slot_.name() + ": " + *wrong};
  return within_bound();
}

Status HomeImage::within_bound() const {
  std::uint64_t pages = 0;
  link::Bitmap needed = pages_.present;  // and the screen, which phoned itself looks at
  const std::uint64_t screen = (slot_.config_.shape.screen_base() - machine::ram_base) / block_bytes;
  set_bits(needed, screen, (picture_pixels * sizeof(std::uint16_t) + block_bytes - 1) / block_bytes, true);
  for (const std::uint32_t word : needed) pages += static_cast<std::uint64_t>(std::popcount(word));
  const std::uint64_t bound = slot_.home_bound();
  if (pages * block_bytes <= bound) return {};
  return {ErrorCode::invalid, slot_.name() + " uses " + std::to_string(mib(pages * block_bytes)) +
                                  " MiB, this phone gives it " + std::to_string(mib(bound)) + " MiB"};
}

Status HomeImage::make_durable(const std::string& sealed) { return image_->seal(sealed); }

void HomeImage::discard(std::uint64_t generation) {
  SavedImage(slot_.folder_, generation).discard();
  image_.reset();
}

Status HomeImage::start(const link::InstanceRecord& record) {
  image_.reset();
  slot_.set_record(record);
  slot_.start_saved(record, with_base_ ? &pages_ : nullptr);
  if (slot_.state() == SlotState::failed) return {ErrorCode::io, slot_.name() + " came home and does not start"};
  return {};
}

}  // namespace amphion::phoned
