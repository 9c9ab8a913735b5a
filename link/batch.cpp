// SPDX-License-Identifier: Apache-2.0
// See batch.hpp.
#include "link/batch.hpp"

#include <zstd.h>

#include <cstring>

namespace amphion::link {
namespace {

constexpr int max_zero_ranges = 512;

Status check_bounds(const pb::Blocks& message, const HashList& regions) {
  const Error bad{ErrorCode::protocol, "a batch names blocks outside the instance"};
  if (message.zeros_size() > max_zero_ranges || static_cast<std::size_t>(message.blocks_size()) > blocks_per_batch) {
    return {ErrorCode::protocol, "a batch holds too many blocks"};
  }
  std::uint64_t zeros = 0;  // ranges that overlap would make much work out of a short message
  for (const pb::ZeroRange& range : message.zeros()) {
    if (range.count() == 0 || range.count() > max_region_blocks || range.first() > max_region_blocks) return bad;
    if (!regions.contains(range.region(), range.first() + range.count() - 1)) return bad;
    zeros += range.count();
  }
  if (zeros > regions.blocks()) return {ErrorCode::protocol, "a batch names blocks of zeros more than once"};
  for (const pb::Block& block : message.blocks()) {
    if (!regions.contains(block.region(), block.index())) return bad;
    if (block.hash().size() != sizeof(Hash)) return {ErrorCode::protocol, "a batch holds a hash of wrong length"};
  }
  return {};
}

std::string_view region_name(pb::Region region) {
  switch (region) {
    case pb::REGION_MEMORY:
      return "memory";
    case pb::REGION_DISK0:
      return "disk 0";
    case pb::REGION_DISK1:
      return "disk 1";
    default:
      return "unknown region";
  }
}

}  // namespace

struct BatchWriter::Zstd {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  int level;
  explicit Zstd(int l) : level(l) {}
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  ~Zstd() { ZSTD_freeCCtx(context); }
};

BatchWriter::BatchWriter(int zstd_level) : zstd_(std::make_unique<Zstd>(zstd_level)) {}
BatchWriter::~BatchWriter() = default;

void BatchWriter::add_zeros(pb::Region region, std::uint64_t first, std::uint64_t count) {
  if (!message_.zeros().empty()) {
    pb::ZeroRange& last = *message_.mutable_zeros(message_.zeros_size() - 1);
    if (last.region() == region && last.first() + last.count() == first) {
      last.set_count(last.count() + count);
      return;
    }
  }
  pb::ZeroRange& range = *message_.add_zeros();
  range.set_region(region);
  range.set_first(first);
  range.set_count(count);
}

void BatchWriter::add_block(pb::Region region, std::uint64_t index, const Hash& hash,
                            std::span<const std::byte> contents) {
  pb::Block& block = *message_.add_blocks();
  block.set_region(region);
  block.set_index(index);
  block.set_hash(hash.data(), hash.size());
  raw_.append(reinterpret_cast<const char*>(contents.data()), contents.size());
}

bool BatchWriter::full() const { return blocks() >= blocks_per_batch || message_.zeros_size() >= max_zero_ranges; }

Result<pb::Blocks> BatchWriter::take(const pb::HandoverId& id, std::uint64_t number) {
  pb::Blocks message;
  message.Swap(&message_);
  *message.mutable_id() = id;
  message.set_batch(number);
  if (!raw_.empty()) {
    std::string& contents = *message.mutable_contents();
    contents.resize(ZSTD_compressBound(raw_.size()));
    const std::size_t size =
        ZSTD_compressCCtx(zstd_->context, contents.data(), contents.size(), raw_.data(), raw_.size(), zstd_->level);
    if (ZSTD_isError(size)) return Error{ErrorCode::io, std::string("zstd: ") + ZSTD_getErrorName(size)};
    contents.resize(size);
    raw_.clear();
  }
  return message;
}

struct BatchReader::Zstd {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Zstd() = default;
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  ~Zstd() { ZSTD_freeDCtx(context); }
};

BatchReader::BatchReader() : zstd_(std::make_unique<Zstd>()) {}
BatchReader::~BatchReader() = default;

Status BatchReader::open(const pb::Blocks& message, const HashList& regions) {
  if (Status s = check_bounds(message, regions); !s.ok()) return s;
  raw_.resize(static_cast<std::size_t>(message.blocks_size()) * block_bytes);
  std::size_t size = 0;
  if (!raw_.empty()) {
    const std::string& in = message.contents();
    size = ZSTD_decompressDCtx(zstd_->context, raw_.data(), raw_.size(), in.data(), in.size());
  } else if (!message.contents().empty()) {
    size = 1;
  }
  if (ZSTD_isError(size) || size != raw_.size()) {
    return {ErrorCode::damaged,
            "a batch cannot be unpacked to its " + std::to_string(message.blocks_size()) + " blocks"};
  }
  for (int i = 0; i < message.blocks_size(); ++i) {
    const auto block = contents().subspan(static_cast<std::size_t>(i) * block_bytes, block_bytes);
    const Hash hash = hash_block(block);
    if (std::memcmp(hash.data(), message.blocks(i).hash().data(), hash.size()) != 0) {
      return {ErrorCode::damaged, "block " + std::to_string(message.blocks(i).index()) + " of " +
                                      std::string(region_name(message.blocks(i).region())) +
                                      " arrived damaged: its hash does not match"};
    }
  }
  return {};
}

}  // namespace amphion::link
