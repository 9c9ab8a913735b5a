// SPDX-License-Identifier: Apache-2.0
// The memory of one phone instance: a window of RAM whose pages come from the pool when they are first touched, up to a
// bound; which pages have memory; and which were written while the dirty log is on.
// Also the tables alone (Stage2Table), from which the host instance's identity mapping is made.
//
// Who calls it: the trap handler (touch), hypercalls (page, discard, log, fetch), instance creation and destruction.
// Costs: nothing but the first touch of a page while the log is off.
// Thread safety: own lock around every member but create() and destroy(); inside it only the pool's lock is taken.
// Invariants: populated <= bound; a bit is set in the populated bitmap iff the page's slot is valid; while the log is
// on, a page is writable iff its dirty bit is set.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "hyp/address.hpp"
#include "hyp/page_pool.hpp"
#include "hyp/page_table.hpp"
#include "hyp/physical_memory.hpp"
#include "hyp/spinlock.hpp"

namespace amphion::hyp {

class Stage2Tlb {
 public:
  constexpr Stage2Tlb(Maintenance& maintenance, Vmid vmid) : maintenance_(&maintenance), vmid_(vmid) {}
  void publish(const void* start, std::uint32_t bytes) { maintenance_->publish(start, bytes); }
  void invalidate(Ipa address) { maintenance_->invalidate_ipa(vmid_, address); }
  void invalidate_all() { maintenance_->invalidate_vmid(vmid_); }

 private:
  Maintenance* maintenance_;
  Vmid vmid_;
};
using Stage2Table = PageTable<Stage2Format, Memory, Stage2Tlb>;

[[nodiscard]] constexpr std::uint64_t vttbr(Phys root, Vmid vmid) { return root.value() | std::uint64_t{vmid} << 48; }

class Stage2 {
 public:
  static constexpr std::uint32_t bitmap_pages = 32768;    // pages that one page of bitmap tells of
  static constexpr std::uint32_t max_ram_pages = 524288;  // 2 GiB

  enum class Bitmap : std::uint32_t { populated = 0, dirty = 1 };
  enum class Touch {
    mapped,         // go on: the page is there and may be written (also if another vCPU was faster)
    outside,        // not RAM of this instance
    out_of_memory,  // the bound is reached, or the pool is empty
  };

  Stage2(PagePool& pool, Maintenance& maintenance, Vmid vmid);
  Stage2(const Stage2&) = delete;
  Stage2& operator=(const Stage2&) = delete;

  // Pool pages used beyond those of the instance itself (tables, bitmaps), at most.
  [[nodiscard]] static constexpr std::uint32_t overhead_pages(std::uint32_t ram_pages) {
    return 2 * chunks(ram_pages) + 1 + 4 + 8 + ram_pages / 512 + 1;
  }

  // One after the other, at most: create() .. destroy() .. create(). `invalid`: sizes or alignment; `out_of_pages`:
  // pool.
  [[nodiscard]] MapStatus create(Ipa ram_base, std::uint32_t ram_pages, std::uint32_t bound_pages);
  // No vCPU runs. Scrubs and frees all pages, tables and bitmaps.
  void destroy();

  // What the instance reaches without a trap: the GIC's virtual CPU interface, registers that it may only read.
  [[nodiscard]] MapStatus map_device(Ipa start, Phys output, std::uint64_t bytes, bool write);

  // A stage 2 abort (translation or permission) of the instance at `address`.
  [[nodiscard]] Touch touch(Ipa address);
  // The page `index` of RAM for the host; populates it, counts as a write. `page` is set if the result is `mapped`.
  [[nodiscard]] Touch page(std::uint32_t index, Phys& page);
  // `first` + `count` within RAM, otherwise `invalid`. Holes are skipped.
  [[nodiscard]] MapStatus discard(std::uint32_t first, std::uint32_t count);

  [[nodiscard]] std::optional<Phys> translate(Ipa address);

  void log_start();
  void log_stop();
  [[nodiscard]] bool logging() const { return logging_; }
  // Copies the bits of pages [first, first + bitmap_pages) to `words`; `dirty` clears them and protects the pages
  // again. `invalid`: first is not a multiple of bitmap_pages or outside RAM; or dirty while the log is off.
  [[nodiscard]] MapStatus fetch(Bitmap kind, std::uint32_t first, std::span<std::uint32_t, bitmap_pages / 32> words);

  // Cleans every populated page to the point of coherency: before a vCPU starts with its caches off after the host has
  // written its memory through its own cached mapping.
  void clean_populated();

  [[nodiscard]] std::uint64_t vttbr() const { return hyp::vttbr(table_.root(), vmid_); }
  [[nodiscard]] std::uint32_t populated_pages() const { return populated_; }
  [[nodiscard]] std::uint32_t bound_pages() const { return bound_; }
  [[nodiscard]] std::uint32_t ram_pages() const { return ram_pages_; }

 private:
  using Chunks = std::array<Phys, max_ram_pages / bitmap_pages>;

  [[nodiscard]] static constexpr std::uint32_t chunks(std::uint32_t ram_pages) {
    return (ram_pages + bitmap_pages - 1) / bitmap_pages;
  }
  [[nodiscard]] bool in_ram(Ipa address) const;
  [[nodiscard]] Ipa ipa_of(std::uint32_t index) const { return base_ + std::uint64_t{index} * page_bytes; }
  [[nodiscard]] std::uint32_t index_of(Ipa address) const;
  [[nodiscard]] std::uint32_t* word(const Chunks& bitmap, std::uint32_t index) const;
  [[nodiscard]] bool bit(const Chunks& bitmap, std::uint32_t index) const;
  void put(const Chunks& bitmap, std::uint32_t index, bool value);
  [[nodiscard]] bool take_bitmaps();
  void give_bitmaps();
  Touch touch_locked(std::uint32_t index);
  Touch populate(std::uint32_t index);
  void discard_locked(std::uint32_t first, std::uint32_t count);
  bool set_writable(std::uint32_t first, std::uint32_t count, bool write);
  void fetch_dirty(std::uint32_t first, std::span<std::uint32_t, bitmap_pages / 32> words);

  PagePool& pool_;
  Maintenance& maintenance_;
  Memory memory_;
  Vmid vmid_;
  SpinLock lock_;
  Stage2Table table_;
  Ipa base_{};
  std::uint32_t ram_pages_ = 0;
  std::uint32_t bound_ = 0;
  std::uint32_t populated_ = 0;
  bool logging_ = false;
  Chunks populated_bits_{};
  Chunks dirty_bits_{};
};

}  // namespace amphion::hyp
