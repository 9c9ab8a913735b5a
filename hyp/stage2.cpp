// SPDX-License-Identifier: Apache-2.0
// An instance's memory: see stage2.hpp.
#include "hyp/stage2.hpp"

#include "machine/phone.hpp"

namespace amphion::hyp {

namespace {

constexpr Attributes ram{false, true, true};
constexpr std::uint64_t writable = 2u << 6;  // HAP[1], DDI 0406C B3.6.2

}  // namespace

static_assert(Stage2::max_ram_pages == machine::max_memory_bytes / page_bytes);
static_assert(Stage2::bitmap_pages == 8 * page_bytes);
static_assert((Stage2Format::encode(ram) & writable) != 0);

Stage2::Stage2(PagePool& pool, Maintenance& maintenance, Vmid vmid)
    : pool_(pool),
      maintenance_(maintenance),
      memory_(pool.memory()),
      vmid_(vmid),
      table_(pool, memory_, Stage2Tlb(maintenance, vmid)) {}

MapStatus Stage2::create(Ipa ram_base, std::uint32_t ram_pages, std::uint32_t bound_pages) {
  constexpr std::uint64_t limit = std::uint64_t{1} << 32;
  if (ram_pages == 0 || ram_pages > max_ram_pages || bound_pages == 0 || bound_pages > ram_pages) {
    return MapStatus::invalid;
  }
  if (!ram_base.aligned(page_bytes) || ram_base.value() >= limit ||
      std::uint64_t{ram_pages} * page_bytes > limit - ram_base.value()) {
    return MapStatus::invalid;
  }
  base_ = ram_base;
  ram_pages_ = ram_pages;
  bound_ = bound_pages;
  populated_ = 0;
  destroyed_ = 0;
  reclaim_left_ = 0;
  recent_.fill(ram_pages);
  logging_ = false;
  if (table_.create()) {
    if (take_bitmaps()) return MapStatus::ok;
    table_.destroy();
  }
  ram_pages_ = bound_ = 0;
  return MapStatus::out_of_pages;
}

bool Stage2::destroy() {
  const std::uint32_t count = within_ram(destroyed_, piece_pages);
  discard_locked(destroyed_, count);
  destroyed_ += count;
  if (destroyed_ < ram_pages_) return false;
  maintenance_.invalidate_vmid(vmid_);
  table_.destroy();
  give_bitmaps();
  ram_pages_ = bound_ = 0;
  return true;
}

bool Stage2::take_bitmaps() {
  for (std::uint32_t i = 0; i < chunks(ram_pages_); ++i) {
    for (Chunks* bitmap : all_bitmaps()) {
      const auto page = pool_.take();
      if (!page) {
        give_bitmaps();
        return false;
      }
      (*bitmap)[i] = *page;
    }
  }
  return true;
}

void Stage2::give_bitmaps() {
  for (Chunks* bitmap : all_bitmaps()) {
    for (Phys& page : *bitmap) {
      if (page != Phys()) pool_.give(page);
      page = Phys();
    }
  }
}

// How much of the range lies in RAM.
std::uint32_t Stage2::within_ram(std::uint32_t first, std::uint32_t count) const {
  if (first >= ram_pages_) return 0;
  return count < ram_pages_ - first ? count : ram_pages_ - first;
}

bool Stage2::in_ram(Ipa address) const { return address >= base_ && (address - base_) >> page_shift < ram_pages_; }

std::uint32_t Stage2::index_of(Ipa address) const {
  return static_cast<std::uint32_t>((address - base_) >> page_shift);
}

std::uint32_t* Stage2::word(const Chunks& bitmap, std::uint32_t index) const {
  auto* words = static_cast<std::uint32_t*>(memory_.at(bitmap[index / bitmap_pages]));
  return words + index % bitmap_pages / 32;
}

bool Stage2::bit(const Chunks& bitmap, std::uint32_t index) const {
  return (*word(bitmap, index) >> index % 32 & 1) != 0;
}

void Stage2::put(const Chunks& bitmap, std::uint32_t index, bool value) {
  const std::uint32_t mask = 1u << index % 32;
  std::uint32_t& w = *word(bitmap, index);
  w = value ? w | mask : w & ~mask;
}

MapStatus Stage2::map_device(Ipa start, Phys output, std::uint64_t bytes, bool write) {
  const LockGuard guard(lock_);
  return table_.map(start, output, bytes, {true, write, false});
}

Stage2::Touch Stage2::touch(Ipa address) {
  const LockGuard guard(lock_);
  return in_ram(address) ? touch_locked(index_of(address), By::guest) : Touch::outside;
}

Stage2::Touch Stage2::page(std::uint32_t index, Phys& page) {
  const LockGuard guard(lock_);
  if (index >= ram_pages_) return Touch::outside;
  const Touch result = touch_locked(index, By::host);
  if (result != Touch::mapped) return result;
  put(held_bits_, index, true);
  page = table_.lookup(ipa_of(index))->address;
  return result;
}

// Not writable, though there: another vCPU was faster, the log has not seen the page yet, or it is about to end.
Stage2::Touch Stage2::touch_locked(std::uint32_t index, By by) {
  if (!bit(populated_bits_, index)) return populate(index, by);
  if (logging_) {
    if (!table_.split(ipa_of(index))) return Touch::out_of_memory;
    put(dirty_bits_, index, true);
  }
  if (set_writable(index, 1, true, [](std::uint32_t) { return true; })) table_.tlb().invalidate(ipa_of(index));
  return Touch::mapped;
}

Stage2::Touch Stage2::populate(std::uint32_t index, By by) {
  if (populated_ >= bound_) return reclaim_zeros();
  reclaim_left_ = 0;
  if (by == By::guest && populate_block(index)) return Touch::mapped;
  const auto page = pool_.take();
  if (!page) return Touch::out_of_memory;
  maintenance_.clean_invalidate(*page, page_bytes);
  if (table_.map(ipa_of(index), *page, page_bytes, ram) != MapStatus::ok) {
    pool_.give(*page);
    return Touch::out_of_memory;
  }
  ++populated_;
  put(populated_bits_, index, true);
  if (logging_) put(dirty_bits_, index, true);
  recent_[next_recent_++ % recent_.size()] = index;
  return Touch::mapped;
}

// The block around the page, if all of it is unpopulated RAM, the bound far, and the pool has one. An empty table that
// stands there gives way.
bool Stage2::populate_block(std::uint32_t index) {
  const std::uint32_t first = index / block_pages * block_pages;
  if (logging_ || !base_.aligned(block_bytes) || first + block_pages > ram_pages_) return false;
  if (bound_ - populated_ < block_pages + bound_ / 4) return false;
  std::uint32_t* populated = word(populated_bits_, first);
  for (std::uint32_t i = 0; i < block_pages / 32; ++i) {
    if (populated[i] != 0) return false;
  }
  const auto block = pool_.take_block();
  if (!block) return false;
  if (table_.map(ipa_of(first), *block, block_bytes, ram, Largest::mib2) != MapStatus::ok) {
    pool_.give_block(*block);
    return false;
  }
  populated_ += block_pages;
  for (std::uint32_t i = 0; i < block_pages / 32; ++i) populated[i] = ~0u;
  return true;
}

// A step of a search that goes once around RAM: a few pages of zeros, or as much as can be read in good time.
Stage2::Touch Stage2::reclaim_zeros() {
  constexpr std::uint32_t most_pages = piece_pages, most_found = 8,
                          most_words = 16 * page_bytes / sizeof(std::uint32_t);
  if (reclaim_left_ == 0) reclaim_left_ = ram_pages_;
  std::uint32_t found = 0, words = 0;
  for (std::uint32_t i = 0; i < most_pages && found < most_found && words < most_words && reclaim_left_ != 0; ++i) {
    if (reclaim_at_ >= ram_pages_) reclaim_at_ = 0;
    if (reclaim_if_zeros(reclaim_at_, words)) ++found;
    ++reclaim_at_;
    --reclaim_left_;
  }
  return found != 0 || reclaim_left_ != 0 ? Touch::again : Touch::out_of_memory;
}

// A first look decides whether it is worth unmapping the page; what counts is seen when nobody can write to it any
// more, in memory as the instance may have written it with its caches off.
bool Stage2::reclaim_if_zeros(std::uint32_t index, std::uint32_t& words) {
  if (!bit(populated_bits_, index) || bit(held_bits_, index)) return false;
  for (const std::uint32_t recent : recent_) {
    if (recent == index) return false;
  }
  const Phys page = table_.lookup(ipa_of(index))->address;
  const auto zeros = [&] {
    const auto* word = static_cast<const volatile std::uint32_t*>(memory_.at(page));
    for (std::uint32_t i = 0; i < page_bytes / sizeof *word; ++i, ++words) {
      if (word[i] != 0) return false;
    }
    return true;
  };
  if (!zeros() || !split_edges(index, 1)) return false;
  bool taken = false;
  table_.visit_leaves(ipa_of(index), page_bytes, [&](const Stage2Table::Slot& slot) {
    const std::uint64_t mapped = Memory::load(slot.descriptor);
    table_.write_slot(slot.descriptor, mapped & ~descriptor::valid);
    table_.tlb().invalidate(slot.start);
    maintenance_.clean_invalidate(page, page_bytes);
    taken = zeros();
    if (taken) {
      give_back(slot);
    } else {
      table_.write_slot(slot.descriptor, mapped);
    }
  });
  return taken;
}

MapStatus Stage2::discard(std::uint32_t first, std::uint32_t count) {
  const LockGuard guard(lock_);
  if (count == 0 || count > piece_pages || first >= ram_pages_ || count > ram_pages_ - first) return MapStatus::invalid;
  if (!split_edges(first, count)) return MapStatus::out_of_pages;
  discard_locked(first, count);
  return MapStatus::ok;
}

// Blocks that lie in the range only with a part. The tables come from the reserve (overhead_pages).
bool Stage2::split_edges(std::uint32_t first, std::uint32_t count) {
  for (const std::uint32_t edge : {first, first + count}) {
    if (!ipa_of(edge).aligned(block_bytes) && !table_.split(ipa_of(edge))) return false;
  }
  return true;
}

// In three steps, so that no page is free while a TLB may still know it: slots become invalid but keep the address,
// one invalidation for all, then the pages are given back.
void Stage2::discard_locked(std::uint32_t first, std::uint32_t count) {
  if (count == 0) return;
  const std::uint64_t bytes = std::uint64_t{count} * page_bytes;
  bool any = false;
  table_.visit_leaves(ipa_of(first), bytes, [&](const Stage2Table::Slot& slot) {
    table_.write_slot(slot.descriptor, Memory::load(slot.descriptor) & ~descriptor::valid);
    any = true;
  });
  if (!any) return;
  if (count == 1) {
    table_.tlb().invalidate(ipa_of(first));
  } else {
    table_.tlb().invalidate_all();
  }
  maintenance_.invalidate_instructions();
  table_.visit_leaves(ipa_of(first), bytes, [&](const Stage2Table::Slot& slot) { give_back(slot); });
}

// A slot that no TLB knows any more.
void Stage2::give_back(const Stage2Table::Slot& slot) {
  const Phys memory(Memory::load(slot.descriptor) & descriptor::address_mask);
  Memory::store(slot.descriptor, 0);
  if (slot.block()) {
    pool_.give_block(memory);
  } else {
    pool_.give(memory);
  }
  const std::uint32_t first = index_of(slot.start), pages = static_cast<std::uint32_t>(slot.bytes / page_bytes);
  populated_ -= pages;
  for (std::uint32_t index = first; index < first + pages; ++index) {
    put(populated_bits_, index, false);
    put(held_bits_, index, false);
    if (logging_) put(dirty_bits_, index, true);
  }
}

std::optional<Phys> Stage2::translate(Ipa address) {
  const LockGuard guard(lock_);
  const auto leaf = table_.lookup(address);
  if (!leaf) return std::nullopt;
  return leaf->address;
}

// Those pages and blocks whose first page's index is `wanted`. Returns whether any descriptor changed; the caller
// invalidates.
template <typename Wanted>
bool Stage2::set_writable(std::uint32_t first, std::uint32_t count, bool write, Wanted wanted) {
  bool changed = false;
  table_.visit_leaves(ipa_of(first), std::uint64_t{count} * page_bytes, [&](const Stage2Table::Slot& slot) {
    const std::uint64_t old = Memory::load(slot.descriptor);
    const std::uint64_t now = write ? old | writable : old & ~writable;
    if (now == old || !wanted(index_of(slot.start))) return;
    table_.write_slot(slot.descriptor, now);
    changed = true;
  });
  return changed;
}

// A page that was written since the first piece has its bit already: it stays writable.
void Stage2::log_start(std::uint32_t first, std::uint32_t count) {
  const LockGuard guard(lock_);
  if (first == 0) {
    for (std::uint32_t i = 0; i < chunks(ram_pages_); ++i) __builtin_memset(memory_.at(dirty_bits_[i]), 0, page_bytes);
    logging_ = true;
  }
  const auto clean = [&](std::uint32_t index) { return !bit(dirty_bits_, index); };
  if (set_writable(first, within_ram(first, count), false, clean)) table_.tlb().invalidate_all();
}

void Stage2::log_stop(std::uint32_t first, std::uint32_t count) {
  const LockGuard guard(lock_);
  logging_ = false;
  count = within_ram(first, count);
  if (set_writable(first, count, true, [](std::uint32_t) { return true; })) table_.tlb().invalidate_all();
  if (!base_.aligned(block_bytes)) return;
  for (std::uint32_t page = first; page < first + count; page += block_pages) table_.merge(ipa_of(page));
}

MapStatus Stage2::fetch(Bitmap kind, std::uint32_t first, std::span<std::uint32_t> words) {
  const LockGuard guard(lock_);
  if (first % 32 != 0 || first / bitmap_pages >= chunks(ram_pages_) ||
      words.size() > (bitmap_pages - first % bitmap_pages) / 32) {
    return MapStatus::invalid;
  }
  switch (kind) {
    case Bitmap::populated:
      __builtin_memcpy(words.data(), word(populated_bits_, first), words.size_bytes());
      return MapStatus::ok;
    case Bitmap::dirty:
      if (!logging_) return MapStatus::invalid;
      fetch_dirty(first, words);
      return MapStatus::ok;
  }
  return MapStatus::invalid;
}

// Pages are protected, and TLBs invalidated, before the caller acts on the bits: a later write sets its bit again.
// `words` lies in memory that the host may change meanwhile: it is written and not read.
void Stage2::fetch_dirty(std::uint32_t first, std::span<std::uint32_t> words) {
  bool changed = false;
  std::uint32_t* dirty = word(dirty_bits_, first);
  for (std::uint32_t i = 0; i < words.size(); ++i) {
    const std::uint32_t word = dirty[i];
    words[i] = word;
    if (word == 0) continue;
    dirty[i] = 0;
    const auto written = [word](std::uint32_t index) { return (word >> index % 32 & 1) != 0; };
    changed |= set_writable(first + i * 32, within_ram(first + i * 32, 32), false, written);
  }
  if (changed) table_.tlb().invalidate_all();
}

void Stage2::clean_populated(std::uint32_t first, std::uint32_t count) {
  const LockGuard guard(lock_);
  count = within_ram(first, count);
  if (count == 0) return;
  table_.visit_leaves(ipa_of(first), std::uint64_t{count} * page_bytes, [&](const Stage2Table::Slot& slot) {
    const std::uint64_t offset = slot.block() ? slot.start.value() % block_bytes : 0;
    const Phys memory(Memory::load(slot.descriptor) & descriptor::address_mask);
    maintenance_.clean_invalidate(memory + offset, static_cast<std::uint32_t>(slot.bytes));
  });
}

}  // namespace amphion::hyp
