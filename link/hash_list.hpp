// SPDX-License-Identifier: Apache-2.0
// The SHA-256 of every 4 KiB block of an instance's memory and disks: names a synchronised copy, and tells what differs
// from it. A block of zeros has the zero hash and takes no room: hashes stand in chunks that exist only where one is
// not zero. Thread safety: a value; one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "link/error.hpp"
#include "link/link.pb.h"

namespace amphion::link {

inline constexpr std::size_t block_bytes = 4096;
using Hash = std::array<std::byte, 32>;
inline constexpr Hash zero_hash{};
// 4 GiB of memory or 64 GiB of disk: above any shape, and the bound on what an Offer may ask for.
inline constexpr std::uint64_t max_region_blocks = std::uint64_t{64} << (30 - 12);

// A block number or count, bounded by max_region_blocks, as an index; size_t has 32 bits on the phone.
[[nodiscard]] constexpr std::size_t as_index(std::uint64_t number) { return static_cast<std::size_t>(number); }

[[nodiscard]] bool is_zero(std::span<const std::byte> block);
[[nodiscard]] Hash hash_block(std::span<const std::byte> block);  // zero_hash for a block of zeros
[[nodiscard]] Hash sha256(std::span<const std::byte> bytes);

struct RegionSize {
  pb::Region region;
  std::uint64_t blocks;
  friend bool operator==(const RegionSize&, const RegionSize&) = default;
};

class HashList {
 public:
  HashList() = default;
  explicit HashList(const std::vector<RegionSize>& regions);  // all zeros
  HashList(HashList&&) = default;
  HashList& operator=(HashList&&) = default;

  [[nodiscard]] HashList clone() const;
  [[nodiscard]] const std::vector<RegionSize>& regions() const { return sizes_; }
  [[nodiscard]] std::uint64_t blocks() const;  // of all regions
  [[nodiscard]] bool contains(pb::Region region, std::uint64_t index) const;
  [[nodiscard]] const Hash& get(pb::Region region, std::uint64_t index) const;  // contains() must hold
  void set(pb::Region region, std::uint64_t index, const Hash& hash);           // contains() must hold

  // Over regions, sizes and all hashes: the name of the copy.
  [[nodiscard]] Hash digest() const;
  // Over digest() and the state: what Prepare carries.
  [[nodiscard]] Hash digest_with(std::string_view state) const;

  [[nodiscard]] std::string serialize() const;
  static Result<HashList> parse(std::string_view bytes);

 private:
  static constexpr std::size_t chunk_hashes = 128;
  using Chunk = std::array<Hash, chunk_hashes>;
  struct RegionHashes {
    std::vector<std::unique_ptr<Chunk>> chunks;
  };
  [[nodiscard]] const RegionHashes* find(pb::Region region) const;

  std::vector<RegionSize> sizes_;
  std::vector<RegionHashes> hashes_;  // same order as sizes_
};

}  // namespace amphion::link
