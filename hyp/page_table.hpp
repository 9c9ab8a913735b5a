// SPDX-License-Identifier: Apache-2.0
// The algorithm for LPAE translation tables (ARM ARM DDI 0406C, B3.6): stage 2. (The hypervisor's own stage 1 is four
// constant blocks: stage1.cpp.)
// Input addresses have 32 bits: four level 1 entries (1 GiB), then levels 2 (2 MiB) and 3 (4 KiB).
//
// Every change is prepared, then committed: all table pages it needs are taken first, which may fail and leaves nothing
// changed; the commit cannot fail. A valid descriptor is replaced by break-before-make (B3.10.1): cleared, published,
// invalidated, then written; only permissions change in place. Between break and make another CPU may fault on the
// address: its handler finds the mapping again and retries.
//
// Policies: Format (descriptor layout), Memory (at, store, load: physical_memory.hpp), Tlb (publish, invalidate,
// invalidate_all). Tests give a Memory and a Tlb that record.
// Thread safety: none, the owner locks. Walks by hardware go on meanwhile.
// Freestanding.
#pragma once

#include <cstdint>
#include <optional>

#include "hyp/address.hpp"
#include "hyp/page_pool.hpp"
#include "hyp/physical_memory.hpp"

namespace amphion::hyp {

struct Attributes {
  bool device = false;  // Device memory instead of Normal write-back
  bool write = true;
  bool execute = true;
  constexpr bool operator==(const Attributes&) const = default;
};

// The largest block that map() may use; the value is the table level.
enum class Largest : std::uint32_t { gib = 1, mib2 = 2, page = 3 };

enum class MapStatus { ok, invalid, out_of_pages };

namespace descriptor {
inline constexpr std::uint64_t valid = 1;
inline constexpr std::uint64_t table_or_page = 2;  // levels 1, 2: table; level 3: page (must be set)
inline constexpr std::uint64_t address_mask = 0xff'ffff'f000;
inline constexpr std::uint64_t inner_shareable = 3u << 8;
inline constexpr std::uint64_t outer_shareable = 2u << 8;
inline constexpr std::uint64_t accessed = 1u << 10;
inline constexpr std::uint64_t execute_never = std::uint64_t{1} << 54;
}  // namespace descriptor

// VTCR: table walks inner and outer write-back write-allocate, inner shareable.
namespace walk_control {
inline constexpr std::uint32_t cacheable = 3u << 12 | 1u << 10 | 1u << 8;
}

struct Stage2Format {
  using Input = Ipa;
  // VTCR: T0SZ 0 (32 bits), S 0, SL0 1 (walks start at level 1: four entries), bit 31 is one.
  static constexpr std::uint32_t vtcr = 1u << 31 | 1u << 6 | walk_control::cacheable;

  [[nodiscard]] static constexpr std::uint64_t encode(Attributes a) {
    constexpr std::uint64_t device = 1u << 2;       // MemAttr 0001
    constexpr std::uint64_t normal_wb = 0xfu << 2;  // MemAttr 1111
    constexpr std::uint64_t hap_read = 1u << 6, hap_write = 2u << 6;
    return (a.device ? device | descriptor::outer_shareable : normal_wb | descriptor::inner_shareable) | hap_read |
           (a.write ? hap_write : 0) | descriptor::accessed | (a.execute ? 0 : descriptor::execute_never);
  }
  [[nodiscard]] static constexpr Attributes decode(std::uint64_t d) {
    return {(d >> 4 & 3) == 0, (d >> 7 & 1) != 0, (d & descriptor::execute_never) == 0};
  }
};

template <typename Format, typename Mem, typename Tlb>
class PageTable {
 public:
  using Input = typename Format::Input;
  struct Leaf {
    Phys address;  // of the byte asked for
    Attributes attributes;
    std::uint32_t level;
  };

  constexpr PageTable(PagePool& pool, Mem memory, Tlb tlb) : pool_(pool), memory_(memory), tlb_(tlb) {}
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // Takes the root page. Before anything else.
  [[nodiscard]] bool create();
  // Frees all tables (not what they map). No CPU uses them any more, and TLBs have been invalidated. create() may
  // follow.
  void destroy();
  // What TTBR fields hold: the root's address.
  [[nodiscard]] Phys root() const { return root_; }

  // `bytes` > 0; all page aligned; input range within 32 bits, output within 40: otherwise `invalid`.
  // What was mapped there before is replaced.
  [[nodiscard]] MapStatus map(Input start, Phys output, std::uint64_t bytes, Attributes attributes,
                              Largest largest = Largest::page);
  // Holes are skipped by both.
  [[nodiscard]] MapStatus unmap(Input start, std::uint64_t bytes);
  [[nodiscard]] MapStatus protect(Input start, std::uint64_t bytes, bool write);

  [[nodiscard]] std::optional<Leaf> lookup(Input address) const;

  // Makes the block of 2 MiB that `address` lies in a table of its pages, if it is one. False: no page for the table.
  [[nodiscard]] bool split(Input address);
  // The other way round, if all its pages are mapped as the block would be, one behind the other.
  void merge(Input address);

  // A page, or a block of 2 MiB: its slot, and the part of the range that lies in it.
  struct Slot {
    std::uint64_t* descriptor;
    std::uint32_t level;
    Input start;
    std::uint64_t bytes;
    [[nodiscard]] bool block() const { return level < 3; }
  };
  // Calls visit(Slot) for each page and block of the range whose descriptor is not 0 (valid or not).
  template <typename Visit>
  void visit_leaves(Input start, std::uint64_t bytes, Visit visit) {
    visit_leaves_below(entries(root_), 1, start.value(), start.value() + bytes, visit);
  }
  // For callers of visit_leaves, who make their own break-before-make.
  void write_slot(std::uint64_t* slot, std::uint64_t value) {
    memory_.store(slot, value);
    tlb_.publish(slot, sizeof *slot);
  }
  [[nodiscard]] Tlb& tlb() { return tlb_; }

 private:
  enum class Kind { map, unmap, protect };
  struct Change {
    Kind kind;
    std::uint64_t first;   // input address at which `output` begins
    std::uint64_t output;  // map
    std::uint64_t bits;    // map: attribute bits
    std::uint32_t largest_level = 3;
    bool write = false;  // protect
  };

  static constexpr std::uint64_t span(std::uint32_t level) { return std::uint64_t{1} << (39 - 9 * level); }
  static constexpr std::uint32_t index(std::uint64_t input, std::uint32_t level) {
    return static_cast<std::uint32_t>(input >> (39 - 9 * level) & 511);
  }
  static constexpr bool is_valid(std::uint64_t d) { return (d & descriptor::valid) != 0; }
  static constexpr bool is_table(std::uint64_t d, std::uint32_t level) {
    return level < 3 && (d & (descriptor::valid | descriptor::table_or_page)) == 3;
  }
  static constexpr std::uint64_t leaf(std::uint64_t output, std::uint64_t bits, std::uint32_t level) {
    return output | bits | descriptor::valid | (level == 3 ? descriptor::table_or_page : 0);
  }
  static constexpr std::uint64_t attribute_bits(std::uint64_t d) {
    return d & ~(descriptor::address_mask | descriptor::valid | descriptor::table_or_page);
  }
  static constexpr std::uint64_t least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }

  [[nodiscard]] std::uint64_t* entries(Phys table) const { return static_cast<std::uint64_t*>(memory_.at(table)); }
  [[nodiscard]] std::uint64_t* child(std::uint64_t d) const { return entries(Phys(d & descriptor::address_mask)); }

  static bool range_fits(std::uint64_t start, std::uint64_t bytes) {
    constexpr std::uint64_t limit = std::uint64_t{1} << 32;
    return bytes > 0 && (start | bytes) % page_bytes == 0 && start < limit && bytes <= limit - start;
  }
  // Whether `change` is done by one descriptor at this level for the whole entry [at, at + span).
  static bool ends_here(const Change& change, std::uint64_t d, std::uint32_t level, std::uint64_t at,
                        std::uint64_t end) {
    if (level == 3) return true;
    if (end - at != span(level)) return false;
    switch (change.kind) {
      case Kind::map:
        return level >= change.largest_level && (at - change.first + change.output) % span(level) == 0;
      case Kind::unmap:
        return true;
      case Kind::protect:
        return !is_table(d, level);
    }
    return false;
  }

  MapStatus carry_out(Change change, std::uint64_t start, std::uint64_t bytes);
  std::uint32_t missing(const std::uint64_t* table, std::uint64_t inherited, std::uint32_t level, std::uint64_t start,
                        std::uint64_t end, const Change& change) const;
  bool prepare(std::uint32_t pages);
  Phys take_prepared();
  void apply(std::uint64_t* table, std::uint32_t level, std::uint64_t start, std::uint64_t end, const Change& change);
  void apply_leaf(std::uint64_t* slot, std::uint32_t level, std::uint64_t at, const Change& change);
  std::uint64_t* descend(std::uint64_t* slot, std::uint32_t level, std::uint64_t at);
  void replace(std::uint64_t* slot, std::uint64_t value, std::uint32_t level, std::uint64_t at);
  void note_stale(std::uint32_t level, std::uint64_t at);
  void flush_stale();
  void free_below(std::uint64_t table_descriptor, std::uint32_t level);
  [[nodiscard]] std::uint64_t* level2_slot(std::uint64_t input) const;
  template <typename Visit>
  void visit_leaves_below(std::uint64_t* table, std::uint32_t level, std::uint64_t start, std::uint64_t end,
                          Visit& visit);

  PagePool& pool_;
  Mem memory_;
  Tlb tlb_;
  Phys root_{};
  Phys prepared_{};          // chain of zero pages, linked through their first word
  std::uint32_t stale_ = 0;  // translations changed and not yet invalidated: 0, 1 (stale_at_) or more
  std::uint64_t stale_at_ = 0;
};

template <typename Format, typename Mem, typename Tlb>
bool PageTable<Format, Mem, Tlb>::create() {
  const auto page = pool_.take();
  if (!page) return false;
  root_ = *page;
  tlb_.publish(entries(root_), page_bytes);
  return true;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::destroy() {
  if (root_ == Phys()) return;
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint64_t d = memory_.load(entries(root_) + i);
    if (is_table(d, 1)) free_below(d, 1);
  }
  pool_.give(root_);
  root_ = Phys();
}

template <typename Format, typename Mem, typename Tlb>
MapStatus PageTable<Format, Mem, Tlb>::map(Input start, Phys output, std::uint64_t bytes, Attributes attributes,
                                           Largest largest) {
  if (!range_fits(start.value(), bytes) || !output.aligned(page_bytes) || !output.fits() ||
      !(output + (bytes - 1)).fits()) {
    return MapStatus::invalid;
  }
  return carry_out({Kind::map, start.value(), output.value(), Format::encode(attributes),
                    static_cast<std::uint32_t>(largest), false},
                   start.value(), bytes);
}

template <typename Format, typename Mem, typename Tlb>
MapStatus PageTable<Format, Mem, Tlb>::unmap(Input start, std::uint64_t bytes) {
  if (!range_fits(start.value(), bytes)) return MapStatus::invalid;
  return carry_out({Kind::unmap, start.value(), 0, 0, 3, false}, start.value(), bytes);
}

template <typename Format, typename Mem, typename Tlb>
MapStatus PageTable<Format, Mem, Tlb>::protect(Input start, std::uint64_t bytes, bool write) {
  if (!range_fits(start.value(), bytes)) return MapStatus::invalid;
  return carry_out({Kind::protect, start.value(), 0, 0, 3, write}, start.value(), bytes);
}

template <typename Format, typename Mem, typename Tlb>
MapStatus PageTable<Format, Mem, Tlb>::carry_out(Change change, std::uint64_t start, std::uint64_t bytes) {
  std::uint64_t* root = entries(root_);
  if (!prepare(missing(root, 0, 1, start, start + bytes, change))) return MapStatus::out_of_pages;
  apply(root, 1, start, start + bytes, change);
  flush_stale();
  return MapStatus::ok;
}

// How many new tables the change needs. Below a missing table every entry is what the block above it (or nothing) says.
template <typename Format, typename Mem, typename Tlb>
std::uint32_t PageTable<Format, Mem, Tlb>::missing(const std::uint64_t* table, std::uint64_t inherited,
                                                   std::uint32_t level, std::uint64_t start, std::uint64_t end,
                                                   const Change& change) const {
  std::uint32_t pages = 0;
  while (start < end) {
    const std::uint64_t stop = least(end, (start / span(level) + 1) * span(level));
    const std::uint64_t d = table != nullptr ? memory_.load(table + index(start, level)) : inherited;
    if (!ends_here(change, d, level, start, stop)) {
      if (is_table(d, level)) {
        pages += missing(child(d), 0, level + 1, start, stop, change);
      } else if (change.kind == Kind::map || is_valid(d)) {
        pages += 1 + missing(nullptr, d & ~descriptor::table_or_page, level + 1, start, stop, change);
      }
    }
    start = stop;
  }
  return pages;
}

template <typename Format, typename Mem, typename Tlb>
bool PageTable<Format, Mem, Tlb>::prepare(std::uint32_t pages) {
  for (; pages > 0; --pages) {
    const auto page = pool_.take();
    if (!page) {
      while (prepared_ != Phys()) pool_.give(take_prepared());
      return false;
    }
    *entries(*page) = prepared_.value();
    prepared_ = *page;
  }
  return true;
}

template <typename Format, typename Mem, typename Tlb>
Phys PageTable<Format, Mem, Tlb>::take_prepared() {
  const Phys page = prepared_;
  prepared_ = Phys(*entries(page));
  *entries(page) = 0;
  return page;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::apply(std::uint64_t* table, std::uint32_t level, std::uint64_t start,
                                        std::uint64_t end, const Change& change) {
  while (start < end) {
    const std::uint64_t stop = least(end, (start / span(level) + 1) * span(level));
    std::uint64_t* slot = table + index(start, level);
    const std::uint64_t d = memory_.load(slot);
    if (ends_here(change, d, level, start, stop)) {
      apply_leaf(slot, level, start, change);
    } else if (change.kind == Kind::map || is_valid(d)) {
      apply(descend(slot, level, start), level + 1, start, stop, change);
    }
    start = stop;
  }
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::apply_leaf(std::uint64_t* slot, std::uint32_t level, std::uint64_t at,
                                             const Change& change) {
  const std::uint64_t d = memory_.load(slot);
  if (change.kind == Kind::map) {
    replace(slot, leaf(at - change.first + change.output, change.bits, level), level, at);
    return;
  }
  if (!is_valid(d)) return;
  if (is_table(d, level)) {  // unmap of all that is below it
    replace(slot, 0, level, at);
    return;
  }
  Attributes attributes = Format::decode(d);
  attributes.write = change.write;
  const std::uint64_t changed =
      change.kind == Kind::unmap ? 0 : leaf(d & descriptor::address_mask, Format::encode(attributes), level);
  if (changed == d) return;
  write_slot(slot, changed);
  note_stale(level, at);
}

// The table below `slot`, made first if there is none: empty, or with what the block said.
template <typename Format, typename Mem, typename Tlb>
std::uint64_t* PageTable<Format, Mem, Tlb>::descend(std::uint64_t* slot, std::uint32_t level, std::uint64_t at) {
  const std::uint64_t d = memory_.load(slot);
  if (is_table(d, level)) return child(d);
  const Phys page = take_prepared();
  std::uint64_t* table = entries(page);
  if (is_valid(d)) {
    for (std::uint32_t i = 0; i < 512; ++i) {
      table[i] = leaf((d & descriptor::address_mask) + i * span(level + 1), attribute_bits(d), level + 1);
    }
  }
  tlb_.publish(table, page_bytes);
  replace(slot, page.value() | descriptor::valid | descriptor::table_or_page, level, at);
  return table;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::replace(std::uint64_t* slot, std::uint64_t value, std::uint32_t level,
                                          std::uint64_t at) {
  const std::uint64_t old = memory_.load(slot);
  if (old == value) return;
  if (is_valid(old)) {
    write_slot(slot, 0);
    if (level == 3) {
      tlb_.invalidate(Input(at));
    } else {
      tlb_.invalidate_all();
    }
  }
  if (value != 0) write_slot(slot, value);
  if (is_table(old, level)) free_below(old, level);
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::note_stale(std::uint32_t level, std::uint64_t at) {
  stale_ += level == 3 ? 1 : 2;
  stale_at_ = at;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::flush_stale() {
  if (stale_ == 1) tlb_.invalidate(Input(stale_at_));
  if (stale_ > 1) tlb_.invalidate_all();
  stale_ = 0;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::free_below(std::uint64_t table_descriptor, std::uint32_t level) {
  const std::uint64_t* table = child(table_descriptor);
  for (std::uint32_t i = 0; level + 1 < 3 && i < 512; ++i) {
    const std::uint64_t d = memory_.load(table + i);
    if (is_table(d, level + 1)) free_below(d, level + 1);
  }
  pool_.give(Phys(table_descriptor & descriptor::address_mask));
}

template <typename Format, typename Mem, typename Tlb>
auto PageTable<Format, Mem, Tlb>::lookup(Input address) const -> std::optional<Leaf> {
  if (address.value() >> 32 != 0) return std::nullopt;
  const std::uint64_t* table = entries(root_);
  for (std::uint32_t level = 1; level <= 3; ++level) {
    const std::uint64_t d = memory_.load(table + index(address.value(), level));
    if (!is_valid(d)) return std::nullopt;
    if (!is_table(d, level)) {
      const std::uint64_t offset = address.value() & (span(level) - 1);
      return Leaf{Phys((d & descriptor::address_mask) + offset), Format::decode(d), level};
    }
    table = child(d);
  }
  return std::nullopt;
}

// Nothing if there is no level 2 table.
template <typename Format, typename Mem, typename Tlb>
std::uint64_t* PageTable<Format, Mem, Tlb>::level2_slot(std::uint64_t input) const {
  const std::uint64_t d = memory_.load(entries(root_) + index(input, 1));
  return is_table(d, 1) ? child(d) + index(input, 2) : nullptr;
}

template <typename Format, typename Mem, typename Tlb>
bool PageTable<Format, Mem, Tlb>::split(Input address) {
  std::uint64_t* slot = level2_slot(address.value());
  if (slot == nullptr || !is_valid(memory_.load(slot)) || is_table(memory_.load(slot), 2)) return true;
  if (!prepare(1)) return false;
  descend(slot, 2, address.value());
  return true;
}

template <typename Format, typename Mem, typename Tlb>
void PageTable<Format, Mem, Tlb>::merge(Input address) {
  std::uint64_t* slot = level2_slot(address.value());
  if (slot == nullptr || !is_table(memory_.load(slot), 2)) return;
  const std::uint64_t* table = child(memory_.load(slot));
  const std::uint64_t first = memory_.load(table);
  if (!is_valid(first) || (first & descriptor::address_mask) % span(2) != 0) return;
  for (std::uint32_t i = 1; i < 512; ++i) {
    if (memory_.load(table + i) != first + i * span(3)) return;
  }
  replace(slot, leaf(first & descriptor::address_mask, attribute_bits(first), 2), 2, address.value());
}

template <typename Format, typename Mem, typename Tlb>
template <typename Visit>
void PageTable<Format, Mem, Tlb>::visit_leaves_below(std::uint64_t* table, std::uint32_t level, std::uint64_t start,
                                                     std::uint64_t end, Visit& visit) {
  while (start < end) {
    const std::uint64_t stop = least(end, (start / span(level) + 1) * span(level));
    std::uint64_t* slot = table + index(start, level);
    const std::uint64_t d = memory_.load(slot);
    if (is_table(d, level)) {
      visit_leaves_below(child(d), level + 1, start, stop, visit);
    } else if (d != 0) {
      visit(Slot{slot, level, Input(start), stop - start});
    }
    start = stop;
  }
}

}  // namespace amphion::hyp
