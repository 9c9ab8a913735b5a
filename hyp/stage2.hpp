// SPDX-License-Identifier: Apache-2.0
// The memory of one phone instance: a window of RAM whose pages come from the pool when they are first touched, up to a
// bound; which pages have memory; and which were written while the dirty log is on.
//
// Far from the bound a vCPU's first touch populates the whole block of 2 MiB around it, if the pool has a scrubbed one.
// That is eager, so at the bound pages that hold zeros are taken back: the next touch finds zeros again, nobody can
// tell. Not those that the host has asked for: it may have mapped them. What the host touches is populated page by
// page. The log protects blocks whole; the first write to one splits it; when the log ends they are joined again. Also
// the tables alone (Stage2Table), from which the host instance's identity mapping is made.
//
// Who calls it: the trap handler (touch), hypercalls (page, discard, log, fetch), instance creation and destruction.
// Costs: nothing but the first touch while the log is off. Each member does a bounded piece of work: what concerns many
// pages takes a range, of which its caller gives at most `piece_pages` at a time, from the first page on.
// Thread safety: own lock around every member but create() and destroy(); inside it only the pool's lock is taken.
// Invariants: populated <= bound; a bit is set in the populated bitmap iff the page is mapped; while the log is on (all
// of log_start's pieces done), a page is writable iff its dirty bit is set, and no block has a dirty page.
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
  static constexpr std::uint32_t piece_pages = 1024;

  enum class Bitmap : std::uint32_t { populated = 0, dirty = 1 };
  enum class Touch {
    mapped,         // go on: the page is there and may be written (also if another vCPU was faster)
    outside,        // not RAM of this instance
    again,          // the bound is reached, but there is still a chance: try again
    out_of_memory,  // the bound is reached, or the pool is empty
  };

  Stage2(PagePool& pool, Maintenance& maintenance, Vmid vmid);
  Stage2(const Stage2&) = delete;
  Stage2& operator=(const Stage2&) = delete;

  // Pool pages used beyond those of the instance itself (tables, bitmaps), at most.
  [[nodiscard]] static constexpr std::uint32_t overhead_pages(std::uint32_t ram_pages) {
    return bitmaps * chunks(ram_pages) + 1 + 4 + 8 + ram_pages / block_pages + 2;
  }

  // One after the other, at most: create() .. destroy() .. create(). `invalid`: sizes or alignment; `out_of_pages`:
  // pool.
  [[nodiscard]] MapStatus create(Ipa ram_base, std::uint32_t ram_pages, std::uint32_t bound_pages);
  // No vCPU runs, and nothing is touched any more. Frees all pages, tables and bitmaps, a piece at a time: true when
  // all is done.
  [[nodiscard]] bool destroy();

  // What the instance reaches without a trap: the GIC's virtual CPU interface, registers that it may only read.
  [[nodiscard]] MapStatus map_device(Ipa start, Phys output, std::uint64_t bytes, bool write);

  // A stage 2 abort (translation or permission) of the instance at `address`.
  [[nodiscard]] Touch touch(Ipa address);
  // Page `index` of RAM for the host; populates it, counts as a write. `page` is set if the result is `mapped`.
  [[nodiscard]] Touch page(std::uint32_t index, Phys& page);
  // A piece within RAM, otherwise `invalid`. Holes are skipped. The host has unmapped it from itself.
  [[nodiscard]] MapStatus discard(std::uint32_t first, std::uint32_t count);

  [[nodiscard]] std::optional<Phys> translate(Ipa address);
  [[nodiscard]] bool in_ram(Ipa address) const;

  // Pieces that cover RAM, from page 0 on; parts outside it are ignored.
  void log_start(std::uint32_t first, std::uint32_t count);
  void log_stop(std::uint32_t first, std::uint32_t count);
  [[nodiscard]] bool logging() const { return logging_; }
  // Copies the bits of pages [first, first + 32 * words.size()) to `words`; `dirty` clears them and protects the pages
  // again. `invalid`: not multiples of 32 within one page of bitmap, or first outside RAM; or dirty while the log is
  // off.
  [[nodiscard]] MapStatus fetch(Bitmap kind, std::uint32_t first, std::span<std::uint32_t> words);

  // Cleans a piece's populated pages to the point of coherency: before a vCPU starts with its caches off after the host
  // has written its memory through its own cached mapping.
  void clean_populated(std::uint32_t first, std::uint32_t count);

  [[nodiscard]] std::uint64_t vttbr() const { return hyp::vttbr(table_.root(), vmid_); }
  [[nodiscard]] std::uint32_t populated_pages() const { return populated_; }
  [[nodiscard]] std::uint32_t bound_pages() const { return bound_; }
  [[nodiscard]] std::uint32_t ram_pages() const { return ram_pages_; }

 private:
  static constexpr std::uint32_t bitmaps = 3;
  using Chunks = std::array<Phys, max_ram_pages / bitmap_pages>;

  [[nodiscard]] static constexpr std::uint32_t chunks(std::uint32_t ram_pages) {
    return (ram_pages + bitmap_pages - 1) / bitmap_pages;
  }
  [[nodiscard]] Ipa ipa_of(std::uint32_t index) const { return base_ + std::uint64_t{index} * page_bytes; }
  [[nodiscard]] std::uint32_t index_of(Ipa address) const;
  [[nodiscard]] std::uint32_t* word(const Chunks& bitmap, std::uint32_t index) const;
  [[nodiscard]] bool bit(const Chunks& bitmap, std::uint32_t index) const;
  void put(const Chunks& bitmap, std::uint32_t index, bool value);
  [[nodiscard]] std::array<Chunks*, bitmaps> all_bitmaps() { return {&populated_bits_, &dirty_bits_, &held_bits_}; }
  [[nodiscard]] bool take_bitmaps();
  void give_bitmaps();
  [[nodiscard]] std::uint32_t within_ram(std::uint32_t first, std::uint32_t count) const;
  enum class By { guest, host };
  Touch touch_locked(std::uint32_t index, By by);
  Touch populate(std::uint32_t index, By by);
  bool populate_block(std::uint32_t index);
  Touch reclaim_zeros();
  bool reclaim_if_zeros(std::uint32_t index, std::uint32_t& words);
  [[nodiscard]] bool split_edges(std::uint32_t first, std::uint32_t count);
  void discard_locked(std::uint32_t first, std::uint32_t count);
  void give_back(const Stage2Table::Slot& slot);
  template <typename Wanted>
  bool set_writable(std::uint32_t first, std::uint32_t count, bool write, Wanted wanted);
  void fetch_dirty(std::uint32_t first, std::span<std::uint32_t> words);

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
  std::uint32_t destroyed_ = 0;   // pages that destroy() has dealt with
  std::uint32_t reclaim_at_ = 0;  // where the search for zeros goes on
  std::uint32_t reclaim_left_ = 0;
  // The last pages that came one by one: not taken back, or an instruction that needs several might never get them all.
  std::array<std::uint32_t, 8> recent_{};
  std::uint32_t next_recent_ = 0;
  Chunks populated_bits_{};
  Chunks dirty_bits_{};
  Chunks held_bits_{};  // the host has asked for the page since it was populated
};

}  // namespace amphion::hyp
