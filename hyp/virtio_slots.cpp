// SPDX-License-Identifier: Apache-2.0
// Doorbells and interrupt status of virtio slots; see virtio_slots.hpp.
#include "hyp/virtio_slots.hpp"

#include <atomic>

#include "machine/phone.hpp"

namespace amphion::hyp {
namespace {

constexpr std::uint32_t slot_bytes = machine::virtio_slot_bytes;
constexpr std::uint32_t queue_notify = 0x50, interrupt_status = 0x60, interrupt_ack = 0x64;
constexpr std::uint32_t most_queues = 32;  // bits of a doorbell

static_assert(AMPHION_VIRTIO_SLOTS == machine::virtio_slots);
static_assert(AMPHION_VIRTIO_SLOTS * slot_bytes == page_bytes);

}  // namespace

void VirtioSlots::attach(amphion_request_page& requests, Phys registers, void* registers_here) {
  requests_ = &requests;
  registers_ = registers;
  words_ = static_cast<std::uint32_t*>(registers_here);
  for (std::uint32_t slot = 0; slot < AMPHION_VIRTIO_SLOTS; ++slot) {
    std::atomic_ref(words_[(slot * slot_bytes + interrupt_status) / 4]).store(0, std::memory_order_relaxed);
  }
  maintenance_.clean_invalidate(registers_, page_bytes);
}

std::optional<VirtioSlots::Outcome> VirtioSlots::write(std::uint32_t offset, std::uint32_t value) {
  const std::uint32_t slot = offset / slot_bytes;
  switch (offset % slot_bytes) {
    case queue_notify:
      return ring(slot, value);
    case interrupt_ack:
      return Outcome{.concerned = change_status(slot, value, 0)};
    default:
      return std::nullopt;
  }
}

// The doorbell before the word that names it; the host takes them the other way round.
VirtioSlots::Outcome VirtioSlots::ring(std::uint32_t slot, std::uint32_t queue) {
  if (queue >= most_queues) return {};
  std::atomic_ref(requests_->doorbell[slot]).fetch_or(1u << queue, std::memory_order_release);
  const std::uint32_t before = std::atomic_ref(requests_->rung).fetch_or(1u << slot, std::memory_order_acq_rel);
  return {.tell_host = (before >> slot & 1) == 0};
}

// Status and line under one lock: of two changes the later one decides both.
Vgic::Mask VirtioSlots::change_status(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) {
  const LockGuard guard(lock_);
  const std::uint32_t offset = slot * slot_bytes + interrupt_status;
  const std::atomic_ref word(words_[offset / 4]);
  const std::uint32_t status = (word.load(std::memory_order_relaxed) & ~clear) | set;
  word.store(status, std::memory_order_relaxed);
  maintenance_.clean_invalidate(registers_ + offset, sizeof status);
  return vgic_.set_line(machine::virtio_irq + slot, status != 0);
}

void VirtioSlots::publish(std::uint32_t offset) {
  maintenance_.clean_invalidate(registers_ + offset / slot_bytes * slot_bytes, slot_bytes);
}

}  // namespace amphion::hyp
