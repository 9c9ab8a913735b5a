// SPDX-License-Identifier: Apache-2.0
// One split virtqueue (virtio 1.1 section 2.6), read with suspicion: every index, length, address and chain comes from
// the guest and is bounded before it is used. Indirect descriptors, event indexes and packed rings are not offered.
// Thread safety: none; the DeviceModel serialises. Invariant: a chain that pop() gave lies wholly inside memory, has at
// most `size` segments, and its readable segments precede its writable ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "machine/state.pb.h"
#include "phone-side/devices/guest_memory.hpp"

namespace amphion::devices {

struct Segment {
  std::uint64_t address;
  std::uint32_t bytes;
};

struct Chain {
  std::uint16_t head = 0;
  std::vector<Segment> readable, writable;

  [[nodiscard]] std::uint64_t readable_bytes() const;
  [[nodiscard]] std::uint64_t writable_bytes() const;
};

class VirtQueue {
 public:
  enum class Pop { none, chain, broken };

  VirtQueue(GuestMemory& memory, std::uint32_t size_max) : memory_(memory), size_max_(size_max) {}

  // Registers of the transport.
  [[nodiscard]] std::uint32_t size_max() const { return size_max_; }
  [[nodiscard]] bool ready() const { return ready_; }
  void set_size(std::uint32_t size);
  void set_ready(bool ready);
  std::uint64_t desc = 0, driver = 0, device = 0;

  // The next chain that the driver offers. `broken`: the driver violates the protocol; the device needs a reset.
  [[nodiscard]] Pop pop(Chain& chain);
  // How many chains the driver offers now; more than size() if its index is nonsense.
  [[nodiscard]] std::uint32_t offered();
  // Gives a chain back with `written` bytes in its writable part. False: the used ring cannot be written.
  [[nodiscard]] bool push(const Chain& chain, std::uint32_t written);
  // The driver asked for no interrupt on used buffers.
  [[nodiscard]] bool interrupt_suppressed();

  // Whether the driver shall notify of what it offers; it may all the same. After asking again, look at offered()
  // again.
  void want_notifications(bool wanted);

  [[nodiscard]] std::uint16_t used_index() const { return used_; }
  // What was taken and not given back is offered again (a statistics buffer that another engine held).
  void rewind() { last_avail_ = used_; }

  void reset();
  void save(machine::VirtQueue& state) const;
  void restore(const machine::VirtQueue& state);

 private:
  [[nodiscard]] bool read_chain(std::uint16_t head, Chain& chain);

  GuestMemory& memory_;
  std::uint32_t size_max_;
  std::uint32_t size_ = 0;
  bool ready_ = false, notifications_wanted_ = true;
  std::uint16_t last_avail_ = 0;
  std::uint16_t used_ = 0;
};

// Copies between a chain and bytes, from `offset` of the chain's readable or writable part on. False if the part is
// shorter or memory refuses.
[[nodiscard]] bool copy_from(GuestMemory& memory, const Chain& chain, std::uint64_t offset, std::span<std::byte> out);
[[nodiscard]] bool copy_to(GuestMemory& memory, const Chain& chain, std::uint64_t offset,
                           std::span<const std::byte> in);

}  // namespace amphion::devices
