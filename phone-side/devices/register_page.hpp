// SPDX-License-Identifier: Apache-2.0
// The virtio slots as their drivers see them: a page of registers, one slot after the other (virtio 1.1 section 4.2.2),
// that guests read without asking, and the slots' interrupts. Each register reads as what was written there last;
// InterruptStatus and the line that follows it belong to whoever implements this, since drivers acknowledge without
// asking, too.
// Thread safety: registers of one slot are written by one thread at a time; change_interrupt() from any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "machine/phone.hpp"

namespace amphion::devices {

class RegisterPage {
 public:
  static constexpr std::uint32_t page_bytes = machine::virtio_slots * machine::virtio_slot_bytes;
  static constexpr std::uint32_t interrupt_status = 0x60;

  virtual ~RegisterPage() = default;

  // `page_bytes` long, aligned to words.
  [[nodiscard]] virtual std::span<std::byte> registers() = 0;
  // Bits of InterruptStatus, cleared first and set then; what was written to the slot's registers is seen by then.
  virtual void change_interrupt(std::uint32_t slot, std::uint32_t clear, std::uint32_t set) = 0;

  [[nodiscard]] std::uint32_t shown(std::uint32_t slot, std::uint32_t offset) {
    return word(slot, offset).load(std::memory_order_acquire);
  }
  void show(std::uint32_t slot, std::uint32_t offset, std::uint32_t value) {
    word(slot, offset).store(value, std::memory_order_release);
  }

 private:
  [[nodiscard]] std::atomic_ref<std::uint32_t> word(std::uint32_t slot, std::uint32_t offset) {
    std::byte* const place = registers().data() + slot * machine::virtio_slot_bytes + offset;
    return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(place));
  }
};

}  // namespace amphion::devices
