// SPDX-License-Identifier: Apache-2.0
// The pool of 4 KiB pages and 2 MiB blocks from which instances get memory, and the hypervisor its page tables and
// bitmaps. Scrubbing is lazy: what comes back, and what was never given out, is dirty until a CPU that has nothing to
// run scrubs it (scrub.hpp), or until somebody takes it. Blocks are only given out when they have been scrubbed, so
// that nobody waits for 2 MiB to be cleared; single pages come out of blocks that are broken already, if there are any.
// Reservations are book-keeping: whoever creates an instance reserves its bound (and Stage2::overhead_pages), so that
// a page within the bound can always be had.
//
// Each range keeps the records of its blocks in its own first pages.
// Thread safety: all members but add_range() (boot only) may be called by any CPU; own lock, innermost.
// Invariants: free + taken == total; reserved <= total; a clean page is free, holds zeros, and no cache line of it is
// dirty.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hyp/address.hpp"
#include "hyp/physical_memory.hpp"
#include "hyp/spinlock.hpp"

namespace amphion::hyp {

inline constexpr std::uint32_t block_pages = 512;
inline constexpr std::uint32_t block_bytes = block_pages * page_bytes;

class PagePool {
 public:
  static constexpr std::uint32_t max_ranges = 4;

  constexpr explicit PagePool(Memory memory = Memory()) : memory_(memory) {}

  // Boot. False (and no change) if the range is not page aligned, overlaps another, is too small for its records and a
  // page, or there are four already.
  [[nodiscard]] bool add_range(Phys base, std::uint64_t bytes);

  // Zeros.
  [[nodiscard]] std::optional<Phys> take();
  // 2 MiB of zeros, aligned, nothing of them dirty in a cache; nothing if no such block has been scrubbed.
  [[nodiscard]] std::optional<Phys> take_block();
  // What was taken and has no other user: unmapped and TLBs invalidated. A block may come back in pages.
  void give(Phys page);
  void give_block(Phys block);

  // A dirty page, to be scrubbed and returned; nothing if there is none.
  [[nodiscard]] std::optional<Phys> borrow_dirty();
  // `clean`: it holds zeros, in memory as well as in the caches.
  void give_back(Phys page, bool clean);

  [[nodiscard]] bool reserve(std::uint32_t pages);
  void release(std::uint32_t pages);

  [[nodiscard]] std::uint32_t total_pages() const { return total_; }
  [[nodiscard]] std::uint32_t free_pages() const;
  [[nodiscard]] std::uint32_t clean_pages() const;
  [[nodiscard]] std::uint32_t reserved_pages() const;
  [[nodiscard]] Memory memory() const { return memory_; }

 private:
  using Bits = std::array<std::uint32_t, block_pages / 32>;
  struct Block {
    Bits free, clean;
    std::uint16_t free_count, clean_count;
    std::uint16_t borrowed_count;
    [[nodiscard]] bool whole() const { return free_count + borrowed_count == block_pages; }
    [[nodiscard]] bool dirty() const { return free_count > clean_count; }
  };
  struct Range {
    std::uint64_t first_page = 0, pages = 0;  // the records' included
    Block* blocks = nullptr;
    [[nodiscard]] std::uint64_t first_block() const { return first_page / block_pages; }
    [[nodiscard]] std::uint32_t block_count() const {
      return static_cast<std::uint32_t>((first_page + pages - 1) / block_pages - first_block() + 1);
    }
  };
  struct Place {
    Block* block = nullptr;
    std::uint64_t number = 0;  // address / block_bytes
  };

  [[nodiscard]] Place place_of(Phys page) const;
  template <typename Worth>
  [[nodiscard]] Place best(Worth worth) const;
  [[nodiscard]] Phys take_from(Place place, const Bits& bits);
  void put(Place place, std::uint32_t index, bool clean);

  Memory memory_;
  mutable SpinLock lock_;
  std::array<Range, max_ranges> ranges_{};
  std::uint32_t range_count_ = 0;
  Place taking_{}, scrubbing_{};  // where the last search ended
  std::uint32_t total_ = 0;
  std::uint32_t free_ = 0;  // what is borrowed included
  std::uint32_t clean_ = 0;
  std::uint32_t clean_blocks_ = 0;
  std::uint32_t dirty_ = 0;  // what is borrowed not included
  std::uint32_t reserved_ = 0;
};

}  // namespace amphion::hyp
