// SPDX-License-Identifier: Apache-2.0
// One batch of blocks: building and compressing it at the source, checking and unpacking it at the destination.
// Used by the two engines only.
// Thread safety: one thread at a time.
#pragma once

#include <memory>

#include "link/handover.hpp"

namespace amphion::link {

class BatchWriter {
 public:
  explicit BatchWriter(int zstd_level);
  ~BatchWriter();

  void add_zeros(pb::Region region, std::uint64_t first, std::uint64_t count);  // joins neighbours
  void add_block(pb::Region region, std::uint64_t index, const Hash& hash, std::span<const std::byte> contents);
  [[nodiscard]] bool empty() const { return message_.blocks().empty() && message_.zeros().empty(); }
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t blocks() const { return static_cast<std::size_t>(message_.blocks_size()); }
  // The batch as a message; the writer is empty again.
  Result<pb::Blocks> take(const pb::HandoverId& id, std::uint64_t number);

 private:
  struct Zstd;
  std::unique_ptr<Zstd> zstd_;
  pb::Blocks message_;
  std::string raw_;
};

class BatchReader {
 public:
  BatchReader();
  ~BatchReader();
  // Checks the message whole: bounds against `regions`, sizes, and every block against its hash. On success contents()
  // are the blocks, in order.
  Status open(const pb::Blocks& message, const HashList& regions);
  [[nodiscard]] std::span<const std::byte> contents() const { return std::as_bytes(std::span(raw_)); }

 private:
  struct Zstd;
  std::unique_ptr<Zstd> zstd_;
  std::string raw_;
};

}  // namespace amphion::link
