// SPDX-License-Identifier: Apache-2.0
// The page pool: see page_pool.hpp.
#include "hyp/page_pool.hpp"

namespace amphion::hyp {
namespace {

using Words = std::array<std::uint32_t, block_pages / 32>;

constexpr std::uint32_t mask(std::uint32_t index) { return 1u << index % 32; }
void set(Words& bits, std::uint32_t index) { bits[index / 32] |= mask(index); }
bool clear(Words& bits, std::uint32_t index) {
  const bool was = (bits[index / 32] & mask(index)) != 0;
  bits[index / 32] &= ~mask(index);
  return was;
}
std::uint32_t first(const Words& bits) {
  std::uint32_t word = 0;
  while (bits[word] == 0) ++word;
  return word * 32 + static_cast<std::uint32_t>(__builtin_ctz(bits[word]));
}
std::uint32_t index_in_block(Phys page) { return static_cast<std::uint32_t>(page.page() % block_pages); }
std::uint64_t least(std::uint64_t a, std::uint64_t b) { return a < b ? a : b; }
std::uint64_t largest(std::uint64_t a, std::uint64_t b) { return a > b ? a : b; }
Phys page_of(std::uint64_t block, std::uint32_t index) { return Phys::of_page(block * block_pages + index); }

}  // namespace

bool PagePool::add_range(Phys base, std::uint64_t bytes) {
  Range range{.first_page = base.page(), .pages = bytes / page_bytes};
  if (base == Phys() || !base.aligned(page_bytes) || bytes == 0 || bytes % page_bytes != 0) return false;
  if (!base.fits() || bytes > (std::uint64_t{1} << 40) - base.value()) return false;
  if (range_count_ == max_ranges || range.pages > UINT32_MAX - total_) return false;
  for (std::uint32_t i = 0; i < range_count_; ++i) {
    const Range& other = ranges_[i];
    if (range.first_page < other.first_page + other.pages && other.first_page < range.first_page + range.pages) {
      return false;
    }
  }
  const std::uint64_t records = (range.block_count() * sizeof(Block) + page_bytes - 1) / page_bytes;
  if (records >= range.pages) return false;

  range.blocks = static_cast<Block*>(memory_.at(base));
  const auto usable = static_cast<std::uint32_t>(range.pages - records);
  for (std::uint32_t i = 0; i < range.block_count(); ++i) {
    const std::uint64_t start = (range.first_block() + i) * block_pages;
    const std::uint64_t from = largest(start, range.first_page + records);
    const std::uint64_t to = least(start + block_pages, range.first_page + range.pages);
    Block& block = range.blocks[i] = {};
    block.free_count = static_cast<std::uint16_t>(to > from ? to - from : 0);
    if (block.free_count == block_pages) {
      block.free.fill(~0u);
    } else {
      for (std::uint64_t page = from; page < to; ++page) set(block.free, static_cast<std::uint32_t>(page - start));
    }
  }
  ranges_[range_count_++] = range;
  total_ += usable;
  free_ += usable;
  dirty_ += usable;
  return true;
}

PagePool::Place PagePool::place_of(Phys page) const {
  const Range* range = ranges_.data();
  while (page.page() - range->first_page >= range->pages) ++range;
  const std::uint64_t number = page.page() / block_pages;
  return {range->blocks + (number - range->first_block()), number};
}

// The block that is worth most to the caller: nothing if all are worth 0; 3 ends the search.
template <typename Worth>
PagePool::Place PagePool::best(Worth worth) const {
  constexpr std::uint32_t most = 3;
  Place found;
  std::uint32_t found_worth = 0;
  for (std::uint32_t r = 0; r < range_count_; ++r) {
    const Range& range = ranges_[r];
    for (std::uint32_t i = 0; i < range.block_count(); ++i) {
      const std::uint32_t this_worth = worth(range.blocks[i]);
      if (this_worth <= found_worth) continue;
      found_worth = this_worth;
      found = {range.blocks + i, range.first_block() + i};
      if (found_worth == most) return found;
    }
  }
  return found;
}

// One of the free pages in `bits`, which are the block's.
Phys PagePool::take_from(Place place, const Bits& bits) {
  const std::uint32_t index = first(bits);
  clear(place.block->free, index);
  --place.block->free_count;
  if (clear(place.block->clean, index)) {
    if (place.block->clean_count-- == block_pages) --clean_blocks_;
    --clean_;
  } else {
    --dirty_;
  }
  return page_of(place.number, index);
}

void PagePool::put(Place place, std::uint32_t index, bool clean) {
  set(place.block->free, index);
  ++place.block->free_count;
  if (clean) {
    set(place.block->clean, index);
    if (++place.block->clean_count == block_pages) ++clean_blocks_;
    ++clean_;
  } else {
    ++dirty_;
  }
}

std::optional<Phys> PagePool::take() {
  Phys page;
  bool clean;
  {
    const LockGuard guard(lock_);
    if (taking_.block == nullptr || taking_.block->free_count == 0 || taking_.block->whole()) {
      taking_ = best([](const Block& block) {
        if (block.free_count == 0) return 0u;
        if (!block.whole()) return 3u;
        return block.dirty() ? 2u : 1u;
      });
      if (taking_.block == nullptr) return std::nullopt;
    }
    clean = taking_.block->clean_count != 0;
    page = take_from(taking_, clean ? taking_.block->clean : taking_.block->free);
    --free_;
  }
  if (!clean) __builtin_memset(memory_.at(page), 0, page_bytes);
  return page;
}

std::optional<Phys> PagePool::take_block() {
  const LockGuard guard(lock_);
  if (clean_blocks_ == 0) return std::nullopt;
  const Place place = best([](const Block& block) { return block.clean_count == block_pages ? 3u : 0u; });
  *place.block = {};
  --clean_blocks_;
  clean_ -= block_pages;
  free_ -= block_pages;
  return page_of(place.number, 0);
}

void PagePool::give(Phys page) {
  const LockGuard guard(lock_);
  put(place_of(page), index_in_block(page), false);
  ++free_;
}

void PagePool::give_block(Phys block) {
  const LockGuard guard(lock_);
  Block& one = *place_of(block).block;
  one.free.fill(~0u);
  one.free_count = block_pages;
  dirty_ += block_pages;
  free_ += block_pages;
}

std::optional<Phys> PagePool::borrow_dirty() {
  if (__atomic_load_n(&dirty_, __ATOMIC_RELAXED) == 0) return std::nullopt;  // an idle CPU asks often
  const LockGuard guard(lock_);
  if (dirty_ == 0) return std::nullopt;
  if (scrubbing_.block == nullptr || !scrubbing_.block->dirty()) {
    scrubbing_ = best([](const Block& block) {
      if (!block.dirty()) return 0u;
      return block.whole() ? 3u : 1u;
    });
  }
  Bits dirty;
  for (std::uint32_t i = 0; i < dirty.size(); ++i) dirty[i] = scrubbing_.block->free[i] & ~scrubbing_.block->clean[i];
  ++scrubbing_.block->borrowed_count;
  return take_from(scrubbing_, dirty);
}

void PagePool::give_back(Phys page, bool clean) {
  const LockGuard guard(lock_);
  const Place place = place_of(page);
  --place.block->borrowed_count;
  put(place, index_in_block(page), clean);
}

bool PagePool::reserve(std::uint32_t pages) {
  const LockGuard guard(lock_);
  if (pages > total_ - reserved_) return false;
  reserved_ += pages;
  return true;
}

void PagePool::release(std::uint32_t pages) {
  const LockGuard guard(lock_);
  reserved_ -= pages;
}

std::uint32_t PagePool::free_pages() const {
  const LockGuard guard(lock_);
  return free_;
}

std::uint32_t PagePool::clean_pages() const {
  const LockGuard guard(lock_);
  return clean_;
}

std::uint32_t PagePool::reserved_pages() const {
  const LockGuard guard(lock_);
  return reserved_;
}

}  // namespace amphion::hyp
