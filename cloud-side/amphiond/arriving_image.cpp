// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/amphiond/arriving_image.hpp"

#include <spdlog/spdlog.h>

#include "cloud-side/amphiond/saved_state.hpp"

namespace amphion::cloud {
namespace {

using link::ErrorCode;

bool regions_fit(const link::pb::Offer& offer) {
  std::array<int, region_count> seen{};
  for (const auto& region : offer.regions()) {
    if (region.region() < link::pb::REGION_MEMORY || region.region() > link::pb::REGION_DISK1) return false;
    if (region.blocks() == 0 || region.blocks() > link::max_region_blocks) return false;
    if (++seen[static_cast<std::size_t>(region.region()) - 1] > 1) return false;
    const bool is_memory = region.region() == link::pb::REGION_MEMORY;
    if (is_memory && region.blocks() * link::block_bytes != offer.shape().memory_bytes()) return false;
  }
  return seen[0] == 1;
}

}  // namespace

ArrivingImage::ArrivingImage(InstanceFolder folder, std::optional<std::string> refusal, StartFn start,
                             PrepareFn prepare)
    : folder_(std::move(folder)),
      refusal_(std::move(refusal)),
      start_(std::move(start)),
      prepare_(std::move(prepare)) {}

link::Status ArrivingImage::admit(const link::pb::Offer& offer) {
  if (refusal_) return {ErrorCode::conflict, *refusal_};
  shape_ = {offer.shape().vcpus(), offer.shape().memory_bytes()};
  if (!shape_.valid()) return {ErrorCode::invalid, "the cloud cannot take a machine of this shape"};
  if (!regions_fit(offer)) return {ErrorCode::invalid, "the offered memory and disks do not fit the machine"};
  return {};
}

link::Status ArrivingImage::begin(std::uint64_t generation, const std::vector<link::RegionSize>& regions,
                                  std::uint64_t base) {
  generation_ = generation;
  disk_bytes_ = sizes_of(regions)[link::pb::REGION_DISK0 - 1];
  return guarded([&] {
    const auto from = base == 0 ? std::nullopt : std::optional(base);
    folder_.begin_staging(from, sizes_of(regions));
    image_.emplace(folder_.files(), folder_.staging(), Files::Mode::write);
  });
}

link::Status ArrivingImage::write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) {
  return guarded([&] { image_->write(region, first, blocks); });
}

link::Status ArrivingImage::zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) {
  return guarded([&] { image_->zero(region, first, count); });
}

link::Status ArrivingImage::check_state(const std::string& sealed) {
  const auto state = open_state(sealed);
  if (!state) return state.error();
  if (state->shape().vcpus() != shape_.vcpus || state->shape().memory_bytes() != shape_.memory_bytes) {
    return {ErrorCode::invalid, "the saved state is of a machine of another shape than offered"};
  }
  for (const auto& device : state->virtio()) {
    if (device.has_blk() && device.blk().capacity_sectors() * 512 != disk_bytes_) {
      return {ErrorCode::invalid, "the saved state's disk has another size than the disk that was sent"};
    }
  }
  return prepare_ ? prepare_(*state) : link::Status();
}

link::Status ArrivingImage::make_durable(const std::string& sealed) {
  return guarded([&] {
    write_small(folder_.files(), folder_.staging() / "state", std::as_bytes(std::span(sealed)));
    image_.reset();
    folder_.finish_staging(generation_);
    folder_.make_run(generation_);
  });
}

void ArrivingImage::discard(std::uint64_t generation) {
  image_.reset();
  const auto done = guarded([&] {
    folder_.discard_staging();
    if (folder_.run_is_fresh(generation)) folder_.discard_run();
    folder_.remove_generation(generation);
  });
  if (!done) spdlog::warn("{}", done.error().text);
}

link::Status ArrivingImage::start(const link::InstanceRecord& record) {
  const auto cleaned = guarded([&] { folder_.keep_only(record.saved); });
  if (!cleaned) spdlog::warn("{}", cleaned.error().text);
  return start_(record);
}

}  // namespace amphion::cloud
