// SPDX-License-Identifier: Apache-2.0
// Hashes of blocks and lists of them; the encoding is regions (region u32, blocks u64), then for each region its chunks
// that exist (index u32, 128 hashes), closed by index 0xffffffff. Little-endian. See hash_list.hpp.
#include "link/hash_list.hpp"

#include <mbedtls/sha256.h>

#include <algorithm>
#include <cstring>

namespace amphion::link {
namespace {

constexpr std::uint32_t end_of_region = 0xffffffff;
constexpr std::size_t max_regions = 3;

class Sha256 {
 public:
  Sha256() {
    mbedtls_sha256_init(&context_);
    (void)mbedtls_sha256_starts_ret(&context_, 0);
  }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256() { mbedtls_sha256_free(&context_); }

  void add(std::span<const std::byte> bytes) {
    (void)mbedtls_sha256_update_ret(&context_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  }
  void add_u64(std::uint64_t value) {
    std::array<std::byte, 8> bytes;
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(value >> (8 * i));
    add(bytes);
  }
  Hash finish() {
    Hash hash;
    (void)mbedtls_sha256_finish_ret(&context_, reinterpret_cast<unsigned char*>(hash.data()));
    return hash;
  }

 private:
  mbedtls_sha256_context context_;
};

void put_le(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// Takes little-endian numbers and blobs from the front; fails for good when it runs out.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t number(std::size_t count) {
    if (!need(count)) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value |= std::uint64_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    bytes_.remove_prefix(count);
    return value;
  }
  void copy(void* to, std::size_t count) {
    if (!need(count)) return;
    std::memcpy(to, bytes_.data(), count);
    bytes_.remove_prefix(count);
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }

 private:
  bool need(std::size_t count) {
    good_ = good_ && bytes_.size() >= count;
    return good_;
  }
  std::string_view bytes_;
  bool good_ = true;
};

}  // namespace

bool is_zero(std::span<const std::byte> block) {
  return block.empty() ||
         (block[0] == std::byte{0} && std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0);
}

Hash sha256(std::span<const std::byte> bytes) {
  Sha256 sha;
  sha.add(bytes);
  return sha.finish();
}

Hash hash_block(std::span<const std::byte> block) { return is_zero(block) ? zero_hash : sha256(block); }

HashList::HashList(const std::vector<RegionSize>& regions) : sizes_(regions) {
  for (const RegionSize& size : sizes_) {
    hashes_.push_back({std::vector<std::unique_ptr<Chunk>>(as_index((size.blocks + chunk_hashes - 1) / chunk_hashes))});
  }
}

HashList HashList::clone() const {
  HashList copy(sizes_);
  for (std::size_t r = 0; r < hashes_.size(); ++r) {
    for (std::size_t c = 0; c < hashes_[r].chunks.size(); ++c) {
      if (hashes_[r].chunks[c]) copy.hashes_[r].chunks[c] = std::make_unique<Chunk>(*hashes_[r].chunks[c]);
    }
  }
  return copy;
}

const HashList::RegionHashes* HashList::find(pb::Region region) const {
  for (std::size_t r = 0; r < sizes_.size(); ++r) {
    if (sizes_[r].region == region) return &hashes_[r];
  }
  return nullptr;
}

std::uint64_t HashList::blocks() const {
  std::uint64_t all = 0;
  for (const RegionSize& region : sizes_) all += region.blocks;
  return all;
}

bool HashList::contains(pb::Region region, std::uint64_t index) const {
  return std::any_of(sizes_.begin(), sizes_.end(),
                     [&](const RegionSize& size) { return size.region == region && index < size.blocks; });
}

const Hash& HashList::get(pb::Region region, std::uint64_t index) const {
  const auto& chunk = find(region)->chunks[as_index(index) / chunk_hashes];
  return chunk ? (*chunk)[as_index(index) % chunk_hashes] : zero_hash;
}

void HashList::set(pb::Region region, std::uint64_t index, const Hash& hash) {
  auto& chunk = const_cast<RegionHashes*>(find(region))->chunks[as_index(index) / chunk_hashes];
  if (!chunk) {
    if (hash == zero_hash) return;
    chunk = std::make_unique<Chunk>();
  }
  (*chunk)[as_index(index) % chunk_hashes] = hash;
}

Hash HashList::digest() const {
  static constexpr Chunk zeros{};
  Sha256 sha;
  for (std::size_t r = 0; r < sizes_.size(); ++r) {
    sha.add_u64(sizes_[r].region);
    sha.add_u64(sizes_[r].blocks);
    for (std::size_t c = 0; c < hashes_[r].chunks.size(); ++c) {
      const auto& chunk = hashes_[r].chunks[c];
      if (!chunk || *chunk == zeros) continue;  // so that a chunk of zeros and none are the same
      sha.add_u64(c);
      for (const Hash& hash : *chunk) sha.add(hash);
    }
  }
  return sha.finish();
}

Hash HashList::digest_with(std::string_view state) const {
  Sha256 sha;
  sha.add(digest());
  sha.add(std::as_bytes(std::span(state)));
  return sha.finish();
}

std::string HashList::serialize() const {
  std::string out;
  put_le(out, sizes_.size(), 4);
  for (const RegionSize& size : sizes_) {
    put_le(out, size.region, 4);
    put_le(out, size.blocks, 8);
  }
  for (const RegionHashes& region : hashes_) {
    for (std::size_t c = 0; c < region.chunks.size(); ++c) {
      if (!region.chunks[as_index(c)]) continue;
      put_le(out, c, 4);
      out.append(reinterpret_cast<const char*>(region.chunks[c]->data()), sizeof(Chunk));
    }
    put_le(out, end_of_region, 4);
  }
  return out;
}

Result<HashList> HashList::parse(std::string_view bytes) {
  const Error bad{ErrorCode::damaged, "list of hashes cannot be decoded"};
  Reader reader(bytes);
  const std::uint64_t count = reader.number(4);
  if (!reader.good() || count > max_regions) return bad;
  std::vector<RegionSize> sizes;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto region = static_cast<int>(reader.number(4));
    const std::uint64_t blocks = reader.number(8);
    if (!reader.good() || !pb::Region_IsValid(region) || blocks > max_region_blocks) return bad;
    sizes.push_back({static_cast<pb::Region>(region), blocks});
  }
  HashList list(sizes);
  for (RegionHashes& region : list.hashes_) {
    for (std::uint64_t c = reader.number(4); c != end_of_region; c = reader.number(4)) {
      if (!reader.good() || c >= region.chunks.size() || region.chunks[as_index(c)]) return bad;
      region.chunks[as_index(c)] = std::make_unique<Chunk>();
      reader.copy(region.chunks[as_index(c)]->data(), sizeof(Chunk));
    }
  }
  if (!reader.good() || !reader.empty()) return bad;
  return list;
}

}  // namespace amphion::link
