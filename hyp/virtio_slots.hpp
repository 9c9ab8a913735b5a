// SPDX-License-Identifier: Apache-2.0
// What the hypervisor finishes of an instance's virtio-mmio slots itself (virtio 1.1 section 4.2.2): notifications,
// which become doorbells in the request page, and acknowledgements of interrupts. Everything else is the host's device
// model's, and reading costs nobody anything: the registers stand in a page of the host (amphion_hypercall.h), which
// instances read without a trap, past the caches.
//
// Thread safety: own lock over InterruptStatus and its line, with only the Vgic's inside it; doorbells are atomic.
// Invariant: a slot's line is high iff its InterruptStatus is not 0.
#pragma once

#include <cstdint>
#include <optional>

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/physical_memory.hpp"
#include "hyp/spinlock.hpp"
#include "hyp/vgic.hpp"

namespace amphion::hyp {

class VirtioSlots {
 public:
  struct Outcome {
    Vgic::Mask concerned = 0;
    bool tell_host = false;  // a doorbell that the host has not been told of
  };

  VirtioSlots(Vgic& vgic, Maintenance& maintenance) : vgic_(vgic), maintenance_(maintenance) {}
  VirtioSlots(const VirtioSlots&) = delete;
  VirtioSlots& operator=(const VirtioSlots&) = delete;

  // Nobody else knows the instance. Both pages stay until the next call; no interrupt is pending.
  void attach(amphion_request_page& requests, Phys registers, void* registers_here);
  [[nodiscard]] Phys registers() const { return registers_; }

  // The guest writes a word at `offset` of the page; nothing if that is the device model's.
  [[nodiscard]] std::optional<Outcome> write(std::uint32_t offset, std::uint32_t value);
  // Slot 0..7; bits of InterruptStatus.
  [[nodiscard]] Vgic::Mask change_status(std::uint32_t slot, std::uint32_t clear, std::uint32_t set);
  // The guest sees what the host wrote to the slot at `offset` of the page.
  void publish(std::uint32_t offset);

 private:
  [[nodiscard]] Outcome ring(std::uint32_t slot, std::uint32_t queue);

  Vgic& vgic_;
  Maintenance& maintenance_;
  SpinLock lock_;
  amphion_request_page* requests_ = nullptr;
  Phys registers_{};
  std::uint32_t* words_ = nullptr;
};

}  // namespace amphion::hyp
