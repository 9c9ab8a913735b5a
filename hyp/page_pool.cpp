// SPDX-License-Identifier: Apache-2.0
// The page pool: see page_pool.hpp.
#include "hyp/page_pool.hpp"

namespace amphion::hyp {

bool PagePool::add_range(Phys base, std::uint64_t bytes) {
  const std::uint64_t pages = bytes / page_bytes;
  if (base == Phys() || !base.aligned(page_bytes) || bytes == 0 || bytes % page_bytes != 0) return false;
  if (!base.fits() || bytes > (std::uint64_t{1} << 40) - base.value()) return false;
  if (range_count_ == max_ranges || pages > UINT32_MAX - total_) return false;
  for (std::uint32_t i = 0; i < range_count_; ++i) {
    const Range& other = ranges_[i];
    if (base.page() < other.first_page + other.pages && other.first_page < base.page() + pages) return false;
  }
  ranges_[range_count_++] = {base.page(), pages, 0};
  total_ += static_cast<std::uint32_t>(pages);
  free_ += static_cast<std::uint32_t>(pages);
  return true;
}

std::optional<Phys> PagePool::take() {
  {
    const LockGuard guard(lock_);
    if (chain_ != Phys()) {  // scrubbed when it came back: only the link is to be cleared
      const Phys page = chain_;
      auto* link = static_cast<std::uint64_t*>(memory_.at(page));
      chain_ = Phys(*link);
      *link = 0;
      --free_;
      return page;
    }
  }
  const auto page = take_fresh();
  if (page) __builtin_memset(memory_.at(*page), 0, page_bytes);
  return page;
}

// A page that was never given out: holds whatever the boot left there.
std::optional<Phys> PagePool::take_fresh() {
  const LockGuard guard(lock_);
  for (std::uint32_t i = 0; i < range_count_; ++i) {
    Range& range = ranges_[i];
    if (range.given_out == range.pages) continue;
    --free_;
    return Phys::of_page(range.first_page + range.given_out++);
  }
  return std::nullopt;
}

void PagePool::give(Phys page) {
  auto* words = static_cast<std::uint64_t*>(memory_.at(page));
  __builtin_memset(words, 0, page_bytes);
  const LockGuard guard(lock_);
  *words = chain_.value();
  chain_ = page;
  ++free_;
}

bool PagePool::owns(Phys page) const { return owns(page.page_start(), page_bytes); }

bool PagePool::owns(Phys base, std::uint64_t bytes) const {
  for (std::uint32_t i = 0; i < range_count_; ++i) {
    const std::uint64_t start = ranges_[i].first_page << page_shift;
    const std::uint64_t size = ranges_[i].pages << page_shift;
    if (base.value() >= start && bytes <= size && base.value() - start <= size - bytes) return true;
  }
  return false;
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

std::uint32_t PagePool::reserved_pages() const {
  const LockGuard guard(lock_);
  return reserved_;
}

}  // namespace amphion::hyp
