// SPDX-License-Identifier: Apache-2.0
// What the GIC's virtual CPU interface does with the list registers (IHI 0048B, 5.5), for one vCPU. GICH_VMCR is the
// hardware's own: load() and save() are the world switch's, leave() is what world.cpp reads back after every exit.
// Among equal priorities the lower INTID comes first; the hardware may choose, the tests want to compare.
#pragma once

#include <cstdint>
#include <functional>

#include "hyp/vgic.hpp"

namespace amphion::hyp {

class FakeGicv {
 public:
  static constexpr std::uint32_t spurious = 1023;

  struct Hardware {
    std::uint32_t vmcr = 0;
  };

  FakeGicv(VgicCpu& cpu, Hardware& hardware) : cpu_(&cpu), hardware_(&hardware) {}
  std::function<void(std::uint32_t)> deactivate_physical;

  void load() { hardware_->vmcr = cpu_->vmcr; }
  void save() { cpu_->vmcr = hardware_->vmcr; }
  void leave() {
    if (cpu_->watched()) save();
  }

  void write_ctlr(std::uint32_t value) { hardware_->vmcr = (hardware_->vmcr & ~0x21fu) | (value & 0x21f); }
  void write_pmr(std::uint32_t value) { hardware_->vmcr = (hardware_->vmcr & ~(31u << 27)) | value >> 3 << 27; }

  // GICV_IAR: INTID, and the source in bits 12:10.
  std::uint32_t acknowledge() {
    const int slot = highest();
    if (slot < 0) return spurious;
    std::uint32_t& lr = cpu_->lr[static_cast<std::uint32_t>(slot)];
    lr = (lr & ~pending) | active;
    cpu_->apr |= 1u << (lr >> 23 & 31);
    const std::uint32_t intid = lr & 1023;
    return intid < 16 ? intid | (lr >> 10 & 7) << 10 : intid;
  }

  // GICV_EOIR with EOImode 0: priority drop and deactivation.
  void end(std::uint32_t iar) {
    if (cpu_->apr == 0) return;
    cpu_->apr &= cpu_->apr - 1;
    for (std::uint32_t i = 0; i < cpu_->used; ++i) {
      std::uint32_t& lr = cpu_->lr[i];
      const bool same_source = (iar & 1023) >= 16 || (lr >> 10 & 7) == (iar >> 10 & 7);
      if ((lr & active) == 0 || (lr & 1023) != (iar & 1023) || !same_source) continue;
      lr &= ~active;
      if ((lr & hw) != 0) deactivate_physical(lr >> 10 & 1023);
      return;
    }
    cpu_->hcr += 1u << 27;
  }

  // The virtual IRQ is signalled.
  [[nodiscard]] bool signalled() const { return highest() >= 0; }

  // The maintenance interrupt is asserted (GICH_MISR is not 0).
  [[nodiscard]] bool maintenance() const {
    bool ended = false;
    bool any_pending = false;
    for (std::uint32_t i = 0; i < cpu_->used; ++i) {
      const std::uint32_t lr = cpu_->lr[i];
      ended |= (lr & (pending | active | hw)) == 0 && (lr & eoi) != 0;
      any_pending |= (lr & (pending | active)) == pending;
    }
    const bool unlisted = (cpu_->hcr & 4) != 0 && cpu_->hcr >> 27 != 0;
    const std::uint32_t groups =
        ((hardware_->vmcr & 1) != 0 ? 1u << 4 : 1u << 5) | ((hardware_->vmcr & 2) != 0 ? 1u << 6 : 1u << 7);
    if ((cpu_->hcr & groups) != 0) return true;
    return ended || unlisted || ((cpu_->hcr & 8) != 0 && !any_pending);
  }

 private:
  static constexpr std::uint32_t eoi = 1u << 19, pending = 1u << 28, active = 1u << 29, group1 = 1u << 30,
                                 hw = 1u << 31;

  [[nodiscard]] int highest() const {
    int best = -1;
    for (std::uint32_t i = 0; i < cpu_->used; ++i) {
      const std::uint32_t lr = cpu_->lr[i];
      if ((lr & (pending | active)) != pending) continue;
      if ((hardware_->vmcr >> ((lr & group1) != 0 ? 1 : 0) & 1) == 0) continue;
      if (best < 0 || rank(lr) < rank(cpu_->lr[static_cast<std::uint32_t>(best)])) best = static_cast<int>(i);
    }
    if (best < 0) return -1;
    const std::uint32_t priority = cpu_->lr[static_cast<std::uint32_t>(best)] >> 23 & 31;
    if (priority >= hardware_->vmcr >> 27) return -1;
    if (cpu_->apr != 0 && priority >= static_cast<std::uint32_t>(__builtin_ctz(cpu_->apr))) return -1;
    return best;
  }
  static std::uint32_t rank(std::uint32_t lr) { return (lr >> 23 & 31) << 10 | (lr & 1023); }

  VgicCpu* cpu_;
  Hardware* hardware_;
};

}  // namespace amphion::hyp
