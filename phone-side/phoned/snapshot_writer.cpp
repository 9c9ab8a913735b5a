// SPDX-License-Identifier: Apache-2.0
// Rounds over memory and disk; see snapshot_writer.hpp.
#include "phone-side/phoned/snapshot_writer.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "phone-side/phoned/bitmap.hpp"

namespace amphion::phoned {
namespace {

using link::block_bytes;
using link::Status;

constexpr int most_rounds = 4;
constexpr std::uint64_t few_blocks = 512;  // 2 MiB: copied within a moment

std::uint64_t count(const link::Bitmap& map) {
  std::uint64_t bits = 0;
  for (const std::uint32_t word : map) bits += static_cast<std::uint64_t>(std::popcount(word));
  return bits;
}

}  // namespace

Status SnapshotWriter::write() {
  const auto regions = source_.regions();
  std::uint64_t disk = 0;
  for (const auto& one : regions) {
    if (one.region == link::pb::REGION_DISK0) disk = one.blocks * block_bytes;
  }
  if (auto status = target_.create(regions.front().blocks * block_bytes, disk); !status.ok()) return status;
  if (auto status = source_.start_tracking(); !status.ok()) {
    source_.resume();
    return status;
  }
  auto status = first_round();
  std::uint64_t blocks = few_blocks;
  for (int round = 1; status.ok() && round < most_rounds && blocks >= few_blocks; ++round)
    status = what_changed(blocks);
  if (status.ok()) status = target_.flush();  // so that little is left to sync later
  if (!status.ok()) {
    source_.resume();
    return status;
  }
  const auto state = rest();
  return state.ok() ? target_.seal(*state) : Status(state.error());
}

Status SnapshotWriter::first_round() {
  for (const auto& one : source_.regions()) {
    link::Bitmap blocks(bitmap_words(one.blocks));
    if (auto status = source_.candidates(one.region, false, blocks); !status.ok()) return status;
    if (auto status = copy(one, blocks, false); !status.ok()) return status;
  }
  return {};
}

Status SnapshotWriter::what_changed(std::uint64_t& blocks) {
  blocks = 0;
  for (const auto& one : source_.regions()) {
    link::Bitmap dirty(bitmap_words(one.blocks));
    if (auto status = source_.take_dirty(one.region, dirty); !status.ok()) return status;
    blocks += count(dirty);
    if (auto status = copy(one, dirty, true); !status.ok()) return status;
  }
  return {};
}

link::Result<std::string> SnapshotWriter::rest() {
  const auto begun = link::Clock::now();
  const auto saved = source_.stop();
  std::uint64_t blocks = 0;
  const auto status = saved.ok() ? what_changed(blocks) : Status(saved.error());
  source_.resume();
  stopped_ = std::chrono::duration_cast<std::chrono::milliseconds>(link::Clock::now() - begun);
  if (!status.ok()) return status.error();
  return saved->sealed;
}

// `again`: there may be older contents, so zeros are written too.
Status SnapshotWriter::copy(const link::RegionSize& of, const link::Bitmap& blocks, bool again) {
  const link::pb::Region region = of.region;
  const std::uint64_t all = std::max<std::uint64_t>(1, count(blocks));
  std::uint64_t done = 0;
  std::array<std::byte, block_bytes> contents;
  for (std::uint64_t block = 0; block < of.blocks; ++block) {
    if (!bit(blocks, block)) continue;
    if (auto status = source_.read(region, block, contents); !status.ok()) return status;
    const bool zero = link::is_zero(contents);
    Status status;
    if (zero && again) status = target_.zero(region, block * block_bytes, block_bytes);
    if (!zero) status = target_.write(region, block * block_bytes, contents);
    if (!status.ok()) return status;
    if (!again && ++done % 256 == 0)
      percent_(static_cast<unsigned>((region == link::pb::REGION_MEMORY ? 0 : 50) + done * 50 / all));
  }
  return {};
}

}  // namespace amphion::phoned
