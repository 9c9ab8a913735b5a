// SPDX-License-Identifier: Apache-2.0
// An instance's memory for those who are not its device model: phoned, which docks it, brings it home and shows its
// screen. Whatever guest and device model do meanwhile (give pages back, use up the bound), an access ends with an
// answer and never with a signal.
// Pages are the hypervisor's, 4 KiB. Mapping one counts as a write for the dirty log, so pages are mapped before the
// log starts, and before a newly dirty page is read. Thread safety: write() by one thread at a time, the others from
// any. The partition must outlive it.
#pragma once

#include <cstdint>
#include <span>

#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/instance/mapped_memory.hpp"

namespace amphion::instance {

class OutsideMemory {
 public:
  explicit OutsideMemory(Partition& partition) : partition_(partition), memory_(partition.memory()) {}

  [[nodiscard]] std::uint64_t bytes() const { return partition_.memory().size(); }
  [[nodiscard]] Problem populated(Bitmap& pages);
  // `offset` from ram_base on. Reading a page populates it: look at populated() first. What cannot be populated reads
  // as zeros: it has no contents.
  [[nodiscard]] Problem read(std::uint64_t offset, std::span<std::byte> out);
  [[nodiscard]] Problem write(std::uint64_t offset, std::span<const std::byte> in);
  [[nodiscard]] Problem discard(std::uint64_t first_page, std::uint64_t pages);

  [[nodiscard]] Problem log(bool on);               // of what vCPUs write; all clean from here on
  [[nodiscard]] Problem take_dirty(Bitmap& pages);  // what vCPUs wrote since the last call

 private:
  void touch(const Bitmap& pages);

  Partition& partition_;
  MappedMemory memory_;
};

}  // namespace amphion::instance
