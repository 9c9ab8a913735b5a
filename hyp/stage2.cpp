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
  logging_ = false;
  if (table_.create()) {
    if (take_bitmaps()) return MapStatus::ok;
    table_.destroy();
  }
  ram_pages_ = bound_ = 0;
  return MapStatus::out_of_pages;
}

void Stage2::destroy() {
  discard_locked(0, ram_pages_);
  maintenance_.invalidate_vmid(vmid_);
  table_.destroy();
  give_bitmaps();
  ram_pages_ = bound_ = 0;
}

bool Stage2::take_bitmaps() {
  for (std::uint32_t i = 0; i < chunks(ram_pages_); ++i) {
    for (Chunks* bitmap : {&populated_bits_, &dirty_bits_}) {
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
  for (Chunks* bitmap : {&populated_bits_, &dirty_bits_}) {
    for (Phys& page : *bitmap) {
      if (page != Phys()) pool_.give(page);
      page = Phys();
    }
  }
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
  return in_ram(address) ? touch_locked(index_of(address)) : Touch::outside;
}

Stage2::Touch Stage2::page(std::uint32_t index, Phys& page) {
  const LockGuard guard(lock_);
  if (index >= ram_pages_) return Touch::outside;
  const Touch result = touch_locked(index);
  if (result == Touch::mapped) page = table_.lookup(ipa_of(index))->address;
  return result;
}

Stage2::Touch Stage2::touch_locked(std::uint32_t index) {
  if (!bit(populated_bits_, index)) return populate(index);
  if (logging_ && !bit(dirty_bits_, index)) {
    put(dirty_bits_, index, true);
    set_writable(index, 1, true);
    table_.tlb().invalidate(ipa_of(index));
  }
  return Touch::mapped;
}

Stage2::Touch Stage2::populate(std::uint32_t index) {
  if (populated_ >= bound_) return Touch::out_of_memory;
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
  return Touch::mapped;
}

MapStatus Stage2::discard(std::uint32_t first, std::uint32_t count) {
  const LockGuard guard(lock_);
  if (count == 0 || first >= ram_pages_ || count > ram_pages_ - first) return MapStatus::invalid;
  discard_locked(first, count);
  return MapStatus::ok;
}

// In three steps, so that no page is free while a TLB may still know it: slots become invalid but keep the address,
// one invalidation for all, then the pages are given back.
void Stage2::discard_locked(std::uint32_t first, std::uint32_t count) {
  if (count == 0) return;
  const std::uint64_t bytes = std::uint64_t{count} * page_bytes;
  bool any = false;
  table_.visit_pages(ipa_of(first), bytes, [&](Ipa, std::uint64_t* slot) {
    table_.write_slot(slot, Memory::load(slot) & ~descriptor::valid);
    any = true;
  });
  if (!any) return;
  if (count == 1) {
    table_.tlb().invalidate(ipa_of(first));
  } else {
    table_.tlb().invalidate_all();
  }
  maintenance_.invalidate_instructions();
  table_.visit_pages(ipa_of(first), bytes, [&](Ipa address, std::uint64_t* slot) {
    const Phys page(Memory::load(slot) & descriptor::address_mask);
    Memory::store(slot, 0);
    pool_.give(page);
    --populated_;
    put(populated_bits_, index_of(address), false);
    if (logging_) put(dirty_bits_, index_of(address), true);
  });
}

std::optional<Phys> Stage2::translate(Ipa address) {
  const LockGuard guard(lock_);
  const auto leaf = table_.lookup(address);
  if (!leaf) return std::nullopt;
  return leaf->address;
}

// Returns whether any descriptor changed; the caller invalidates.
bool Stage2::set_writable(std::uint32_t first, std::uint32_t count, bool write) {
  bool changed = false;
  table_.visit_pages(ipa_of(first), std::uint64_t{count} * page_bytes, [&](Ipa, std::uint64_t* slot) {
    const std::uint64_t old = Memory::load(slot);
    const std::uint64_t now = write ? old | writable : old & ~writable;
    if (now == old) return;
    table_.write_slot(slot, now);
    changed = true;
  });
  return changed;
}

void Stage2::log_start() {
  const LockGuard guard(lock_);
  for (std::uint32_t i = 0; i < chunks(ram_pages_); ++i) __builtin_memset(memory_.at(dirty_bits_[i]), 0, page_bytes);
  logging_ = true;
  if (set_writable(0, ram_pages_, false)) table_.tlb().invalidate_all();
}

void Stage2::log_stop() {
  const LockGuard guard(lock_);
  if (!logging_) return;
  logging_ = false;
  if (set_writable(0, ram_pages_, true)) table_.tlb().invalidate_all();
}

MapStatus Stage2::fetch(Bitmap kind, std::uint32_t first, std::span<std::uint32_t, bitmap_pages / 32> words) {
  const LockGuard guard(lock_);
  if (first % bitmap_pages != 0 || first >= ram_pages_) return MapStatus::invalid;
  switch (kind) {
    case Bitmap::populated:
      __builtin_memcpy(words.data(), word(populated_bits_, first), page_bytes);
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
void Stage2::fetch_dirty(std::uint32_t first, std::span<std::uint32_t, bitmap_pages / 32> words) {
  bool changed = false;
  std::uint32_t* dirty = word(dirty_bits_, first);
  for (std::uint32_t i = 0; i < words.size(); ++i) {
    const std::uint32_t word = dirty[i];
    words[i] = word;
    dirty[i] = 0;
    for (std::uint32_t rest = word; rest != 0; rest &= rest - 1) {
      const std::uint32_t index = first + i * 32 + static_cast<std::uint32_t>(__builtin_ctz(rest));
      changed |= set_writable(index, 1, false);
    }
  }
  if (changed) table_.tlb().invalidate_all();
}

void Stage2::clean_populated() {
  const LockGuard guard(lock_);
  table_.visit_pages(base_, std::uint64_t{ram_pages_} * page_bytes, [&](Ipa, std::uint64_t* slot) {
    maintenance_.clean_invalidate(Phys(Memory::load(slot) & descriptor::address_mask), page_bytes);
  });
}

}  // namespace amphion::hyp
