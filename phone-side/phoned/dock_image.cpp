// SPDX-License-Identifier: Apache-2.0
// The source image; see dock_image.hpp.
#include "phone-side/phoned/dock_image.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "phone-side/phoned/bitmap.hpp"

namespace amphion::phoned {
namespace {

using link::block_bytes;
using link::Status;

std::uint64_t file_blocks(const std::string& file) {
  struct stat facts {};
  if (file.empty() || stat(file.c_str(), &facts) != 0) return 0;
  return static_cast<std::uint64_t>(facts.st_size) / block_bytes;
}

}  // namespace

std::vector<link::RegionSize> DockImage::regions() const {
  std::vector<link::RegionSize> all{{link::pb::REGION_MEMORY, live_->memory_bytes() / block_bytes}};
  if (const auto blocks = file_blocks(slot_.disk()); blocks > 0) all.push_back({link::pb::REGION_DISK0, blocks});
  return all;
}

Status DockImage::start_tracking() {
  populated_.assign(bitmap_words(live_->memory_bytes() / block_bytes), 0);
  if (!slot_.disk().empty()) {
    disk_ = OwnedFd(open(slot_.disk().c_str(), O_RDONLY | O_CLOEXEC));
    if (!disk_.valid()) return {link::ErrorCode::io, slot_.disk() + ": " + std::generic_category().message(errno)};
  }
  if (auto status = live_->track(true); !status.ok()) return status;
  return refresh_populated();
}

Status DockImage::refresh_populated() {
  std::fill(populated_.begin(), populated_.end(), 0);
  return live_->populated(populated_);
}

// Pages that have memory; and those that were not zero in the synchronised copy, which may have been discarded since.
Status DockImage::candidates(link::pb::Region region, bool base_held, link::Bitmap& out) {
  if (region != link::pb::REGION_MEMORY) return SourceImage::candidates(region, base_held, out);
  std::copy(populated_.begin(), populated_.end(), out.begin());
  if (base_held) {
    const auto base = slot_.services_.records.load_hashes(slot_.name(), slot_.record().base);
    if (!base.ok()) return base.error();
    for (std::uint64_t page = 0; page < live_->memory_bytes() / block_bytes; ++page) {
      if (base->get(region, page) != link::zero_hash) set_bits(out, page, 1, true);
    }
  }
  expected_blocks_ = file_blocks(slot_.disk());
  for (const std::uint32_t word : out) expected_blocks_ += static_cast<std::uint64_t>(std::popcount(word));
  return {};
}

Status DockImage::read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) {
  return region == link::pb::REGION_MEMORY ? read_memory(first, out) : read_disk(first, out);
}

Status DockImage::read_memory(std::uint64_t first, std::span<std::byte> out) {
  for (std::size_t i = 0; i < out.size() / block_bytes; ++i) {
    const auto to = out.subspan(i * block_bytes, block_bytes);
    if (!bit(populated_, first + i)) {
      std::memset(to.data(), 0, block_bytes);
    } else if (auto status = live_->read((first + i) * block_bytes, to); !status.ok()) {
      return status;
    }
  }
  return {};
}

Status DockImage::read_disk(std::uint64_t first, std::span<std::byte> out) {
  std::uint64_t offset = first * block_bytes;
  while (!out.empty()) {
    const ssize_t done = pread(disk_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return {link::ErrorCode::io, slot_.disk() + ": cannot be read"};
    out = out.subspan(static_cast<std::size_t>(done));
    offset += static_cast<std::uint64_t>(done);
  }
  return {};
}

Status DockImage::take_dirty(link::pb::Region region, link::Bitmap& out) {
  if (auto status = live_->take_dirty(region, out); !status.ok()) return status;
  return region == link::pb::REGION_MEMORY ? refresh_populated() : Status();
}

link::Result<link::SavedState> DockImage::stop() {
  {
    const std::lock_guard lock(slot_.keys_mutex_);
    slot_.route_->hold();
  }
  stopped_ = true;
  if (auto status = live_->pause(); !status.ok()) return status.error();
  auto state = live_->save();
  if (!state.ok()) return state;
  try {
    const std::lock_guard lock(slot_.keys_mutex_);
    slot_.route_->leave(state->input_sequence);
  } catch (const std::runtime_error& error) {
    return link::Error{link::ErrorCode::io, error.what()};
  }
  return state;
}

void DockImage::resume() {
  if (auto status = live_->track(false); !status.ok()) spdlog::warn("{}: {}", slot_.name(), status.error().text);
  if (stopped_) {
    const auto status = live_->run();
    if (!status.ok()) slot_.fail("cannot go on: " + status.error().text);
    const std::lock_guard lock(slot_.keys_mutex_);
    slot_.route_->stay();
  }
  stopped_ = false;
}

void DockImage::left(std::uint64_t generation) {
  spdlog::info("{}: has left, generation {}", slot_.name(), generation);
  if (auto status = live_->track(false); !status.ok()) spdlog::warn("{}: {}", slot_.name(), status.error().text);
  live_->retire();
  const std::lock_guard lock(slot_.mutex_);
  slot_.base_in_memory_ = !live_->lost();
}

}  // namespace amphion::phoned
