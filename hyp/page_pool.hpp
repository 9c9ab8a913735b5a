// SPDX-License-Identifier: Apache-2.0
// The pool of 4 KiB pages from which instances get memory, and the hypervisor its page tables and bitmaps.
// Pages that were never given out are found by a cursor; pages that came back are chained through their first word.
// take() returns a page of zeros; give() scrubs before the page is free, outside the lock.
// Reservations are book-keeping: whoever creates an instance reserves its bound (and Stage2::overhead_pages), so that
// a page within the bound can always be had.
// Thread safety: all members but add_range() (boot only) may be called by any CPU; own lock, innermost.
// Invariants: free + taken == total; reserved <= total; every free page that was used before is zero but for its link.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hyp/address.hpp"
#include "hyp/physical_memory.hpp"
#include "hyp/spinlock.hpp"

namespace amphion::hyp {

class PagePool {
 public:
  static constexpr std::uint32_t max_ranges = 4;

  constexpr explicit PagePool(Memory memory = Memory()) : memory_(memory) {}

  // Boot. False (and no change) if the range is empty, not page aligned, overlaps another, or there are four already.
  [[nodiscard]] bool add_range(Phys base, std::uint64_t bytes);

  [[nodiscard]] std::optional<Phys> take();
  // `page` was returned by take() and has no other user: unmapped and TLBs invalidated.
  void give(Phys page);

  // A page of one of the ranges (free or not).
  [[nodiscard]] bool owns(Phys page) const;
  [[nodiscard]] bool owns(Phys base, std::uint64_t bytes) const;

  [[nodiscard]] bool reserve(std::uint32_t pages);
  void release(std::uint32_t pages);

  [[nodiscard]] std::uint32_t total_pages() const { return total_; }
  [[nodiscard]] std::uint32_t free_pages() const;
  [[nodiscard]] std::uint32_t reserved_pages() const;
  [[nodiscard]] Memory memory() const { return memory_; }

 private:
  struct Range {
    std::uint64_t first_page = 0;
    std::uint64_t pages = 0;
    std::uint64_t given_out = 0;  // pages below first_page + given_out have been taken at least once
  };

  [[nodiscard]] std::optional<Phys> take_fresh();

  Memory memory_;
  mutable SpinLock lock_;
  std::array<Range, max_ranges> ranges_{};
  std::uint32_t range_count_ = 0;
  Phys chain_{};  // first returned page; 0: none (page 0 is never in a pool)
  std::uint32_t total_ = 0;
  std::uint32_t free_ = 0;
  std::uint32_t reserved_ = 0;
};

}  // namespace amphion::hyp
