// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/store/image.hpp"

#include <algorithm>
#include <cstring>

namespace amphion::cloud {
namespace {

using link::block_bytes;

constexpr std::uint64_t piece_bytes = 1 << 20;

std::size_t slot(link::pb::Region region) { return static_cast<std::size_t>(region) - 1; }

void set_bit(link::Bitmap& map, std::uint64_t block) { map[block / 32] |= 1u << (block % 32); }

// Calls `visit` with pieces of at most piece_bytes, aligned to blocks, that cover all data of both files, each once.
template <typename Visit>
void for_each_piece(File& a, File* b, const Visit& visit) {
  const std::uint64_t end = a.size();
  std::uint64_t at = 0;
  while (at < end) {
    auto next = a.next_data(at);
    if (b != nullptr) {
      const auto other = b->next_data(at);
      if (!next || (other && other->begin < next->begin)) next = other;
    }
    if (!next || next->begin >= end) return;
    at = std::max(at, next->begin / block_bytes * block_bytes);
    const std::uint64_t data_end = std::min(end, (next->end + block_bytes - 1) / block_bytes * block_bytes);
    const std::uint64_t stop = std::min(data_end, at + piece_bytes);
    visit(at, static_cast<std::size_t>(stop - at));
    at = stop;
  }
}

}  // namespace

RegionSizes sizes_of(const std::vector<link::RegionSize>& regions) {
  RegionSizes sizes{};
  for (const auto& region : regions)
    if (slot(region.region) < region_count) sizes[slot(region.region)] = region.blocks * block_bytes;
  return sizes;
}

Image::Image(Files& files, const std::filesystem::path& folder, Files::Mode mode) {
  for (std::size_t region = 0; region < region_count; ++region) {
    const auto path = folder / region_names[region];
    if (files.exists(path)) files_[region] = files.open(path, mode);
  }
}

File& Image::file(link::pb::Region region) const {
  const auto index = slot(region);
  if (index >= region_count || !files_[index]) throw StoreError("the image has no such region", false);
  return *files_[index];
}

std::vector<link::RegionSize> Image::regions() const {
  std::vector<link::RegionSize> found;
  for (std::size_t region = 0; region < region_count; ++region) {
    if (!files_[region]) continue;
    found.push_back({static_cast<link::pb::Region>(region + 1), files_[region]->size() / block_bytes});
  }
  return found;
}

void Image::read(link::pb::Region region, std::uint64_t first, std::span<std::byte> out) {
  file(region).read(first * block_bytes, out);
}

void Image::write(link::pb::Region region, std::uint64_t first, std::span<const std::byte> blocks) {
  file(region).write(first * block_bytes, blocks);
}

void Image::zero(link::pb::Region region, std::uint64_t first, std::uint64_t count) {
  file(region).zero(first * block_bytes, count * block_bytes);
}

void Image::clear(link::pb::Region region) { file(region).zero(0, file(region).size()); }

void Image::data_blocks(link::pb::Region region, link::Bitmap& out) {
  for_each_piece(file(region), nullptr, [&](std::uint64_t at, std::size_t bytes) {
    for (std::uint64_t block = at / block_bytes; block < (at + bytes) / block_bytes; ++block) set_bit(out, block);
  });
}

std::uint64_t Image::count_nonzero(link::pb::Region region) {
  std::uint64_t count = 0;
  std::vector<std::byte> buffer(piece_bytes);
  for_each_piece(file(region), nullptr, [&](std::uint64_t at, std::size_t bytes) {
    const auto piece = std::span(buffer).first(bytes);
    file(region).read(at, piece);
    for (std::size_t block = 0; block < bytes; block += block_bytes) {
      count += link::is_zero(piece.subspan(block, block_bytes)) ? 0 : 1;
    }
  });
  return count;
}

void Image::differing(Image& a, Image& b, link::pb::Region region, link::Bitmap& out) {
  File& left = a.file(region);
  File& right = b.file(region);
  std::vector<std::byte> mine(piece_bytes);
  std::vector<std::byte> other(piece_bytes);
  for_each_piece(left, &right, [&](std::uint64_t at, std::size_t bytes) {
    left.read(at, std::span(mine).first(bytes));
    right.read(at, std::span(other).first(bytes));
    for (std::size_t block = 0; block < bytes; block += block_bytes) {
      if (std::memcmp(mine.data() + block, other.data() + block, block_bytes) != 0) {
        set_bit(out, (at + block) / block_bytes);
      }
    }
  });
}

link::Error to_error(const StoreError& error) {
  return {error.disk_full ? link::ErrorCode::no_space : link::ErrorCode::io, error.what()};
}

}  // namespace amphion::cloud
