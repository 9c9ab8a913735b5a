// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_queue.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

namespace amphion::devices {
namespace {

constexpr std::uint16_t desc_next = 1, desc_write = 2, desc_indirect = 4;
constexpr std::uint16_t avail_no_interrupt = 1, used_no_notify = 1;
constexpr std::uint64_t desc_bytes = 16, used_bytes = 8, ring_offset = 4, index_offset = 2;

std::uint64_t total(const std::vector<Segment>& segments) {
  std::uint64_t sum = 0;
  for (const auto& s : segments) sum += s.bytes;
  return sum;
}

// Calls `access(address, position, bytes)` for the pieces of [offset, offset + bytes) of the segments.
template <typename Access>
bool for_pieces(const std::vector<Segment>& segments, std::uint64_t offset, std::uint64_t bytes, Access access) {
  std::uint64_t done = 0;
  for (const auto& s : segments) {
    if (done == bytes) break;
    if (offset >= s.bytes) {
      offset -= s.bytes;
      continue;
    }
    const std::uint64_t piece = std::min<std::uint64_t>(s.bytes - offset, bytes - done);
    if (!access(s.address + offset, done, piece)) return false;
    done += piece;
    offset = 0;
  }
  return done == bytes;
}

}  // namespace

std::uint64_t Chain::readable_bytes() const { return total(readable); }
std::uint64_t Chain::writable_bytes() const { return total(writable); }

void VirtQueue::set_size(std::uint32_t size) {
  if (!ready_ && size != 0 && size <= size_max_ && (size & (size - 1)) == 0) size_ = size;
}

void VirtQueue::set_ready(bool ready) {
  const std::uint64_t n = size_;
  ready_ = ready && n != 0 && desc % 16 == 0 && driver % 2 == 0 && device % 4 == 0 &&
           memory_.contains(desc, desc_bytes * n) && memory_.contains(driver, 6 + 2 * n) &&
           memory_.contains(device, 6 + used_bytes * n);
}

std::uint32_t VirtQueue::offered() {
  if (!ready_) return 0;
  const auto index = memory_.load16(driver + index_offset);
  return index ? static_cast<std::uint16_t>(*index - last_avail_) : size_ + 1;
}

VirtQueue::Pop VirtQueue::pop(Chain& chain) {
  const std::uint32_t count = offered();
  if (count == 0) return Pop::none;
  if (count > size_) return Pop::broken;
  const auto head = memory_.load16(driver + ring_offset + 2ull * (last_avail_ % size_));
  if (!head || *head >= size_ || !read_chain(*head, chain)) return Pop::broken;
  ++last_avail_;
  return Pop::chain;
}

bool VirtQueue::read_chain(std::uint16_t head, Chain& chain) {
  chain = Chain{.head = head, .readable = {}, .writable = {}};
  std::uint16_t index = head;
  for (std::uint32_t count = 0; count < size_; ++count) {
    std::array<std::byte, desc_bytes> raw;
    if (index >= size_ || !memory_.read(desc + desc_bytes * index, raw)) return false;
    const Segment segment{load_le<std::uint64_t>(raw, 0), load_le<std::uint32_t>(raw, 8)};
    const auto flags = load_le<std::uint16_t>(raw, 12);
    if ((flags & desc_indirect) != 0 || !memory_.contains(segment.address, segment.bytes)) return false;
    if ((flags & desc_write) != 0)
      chain.writable.push_back(segment);
    else if (chain.writable.empty())
      chain.readable.push_back(segment);
    else
      return false;
    if ((flags & desc_next) == 0) return true;
    index = load_le<std::uint16_t>(raw, 14);
  }
  return false;  // a loop, or longer than the queue
}

bool VirtQueue::push(const Chain& chain, std::uint32_t written) {
  std::array<std::byte, used_bytes> element;
  store_le<std::uint32_t>(element, 0, chain.head);
  store_le<std::uint32_t>(element, 4, written);
  if (!memory_.write(device + ring_offset + used_bytes * (used_ % size_), element)) return false;
  ++used_;
  return memory_.store16(device + index_offset, used_);
}

bool VirtQueue::interrupt_suppressed() {
  // The used index before the driver's flags: the driver clears its flag first and then looks at the used index.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto flags = memory_.load16(driver);
  return flags && (*flags & avail_no_interrupt) != 0;
}

void VirtQueue::want_notifications(bool wanted) {
  if (!ready_ || std::exchange(notifications_wanted_, wanted) == wanted) return;
  (void)memory_.store16(device, wanted ? 0 : used_no_notify);  // a hint
  // The flag before the available index that is looked at next: the driver offers first and then looks at the flag.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void VirtQueue::reset() {
  desc = driver = device = 0;
  size_ = 0;
  ready_ = false;
  notifications_wanted_ = true;
  last_avail_ = used_ = 0;
}

void VirtQueue::save(machine::VirtQueue& state) const {
  state.Clear();
  state.set_size(size_);
  state.set_size_max(size_max_);
  state.set_ready(ready_);
  state.set_desc(desc);
  state.set_driver(driver);
  state.set_device(device);
  state.set_last_avail(last_avail_);
  state.set_used(used_);
}

void VirtQueue::restore(const machine::VirtQueue& state) {
  reset();
  size_ = state.size();
  desc = state.desc();
  driver = state.driver();
  device = state.device();
  set_ready(state.ready());
  last_avail_ = static_cast<std::uint16_t>(state.last_avail());
  used_ = static_cast<std::uint16_t>(state.used());
  notifications_wanted_ = false;  // whoever served it before may have switched them off
  want_notifications(true);
}

bool copy_from(GuestMemory& memory, const Chain& chain, std::uint64_t offset, std::span<std::byte> out) {
  return for_pieces(chain.readable, offset, out.size(), [&](std::uint64_t a, std::uint64_t at, std::uint64_t n) {
    return memory.read(a, out.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)));
  });
}

bool copy_to(GuestMemory& memory, const Chain& chain, std::uint64_t offset, std::span<const std::byte> in) {
  return for_pieces(chain.writable, offset, in.size(), [&](std::uint64_t a, std::uint64_t at, std::uint64_t n) {
    return memory.write(a, in.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n)));
  });
}

}  // namespace amphion::devices
