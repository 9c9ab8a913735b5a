// SPDX-License-Identifier: Apache-2.0
// The virtual GIC: lines, their inputs, and which vCPU has work. Registers stand in vgic_distributor.cpp, list
// registers in vgic_lists.cpp, the saved state in vgic_state.cpp.
#include "hyp/vgic.hpp"

namespace amphion::hyp {

void Vgic::init(std::uint32_t vcpus, std::uint32_t list_registers, PhysicalLines* physical) {
  const LockGuard guard(lock_);
  vcpus_ = vcpus;
  list_registers_ = list_registers < VgicCpu::max_lrs ? list_registers : VgicCpu::max_lrs;
  physical_ = physical;
  ctlr_ = 0;
  for (std::uint32_t v = 0; v < max_vcpus; ++v) {
    cpus_[v] = Cpu{};
    reset_interface(v);
    for (std::uint32_t intid = 0; intid < private_lines; ++intid) reset_line(v, intid);
  }
  for (std::uint32_t intid = private_lines; intid < lines; ++intid) reset_line(0, intid);
}

void Vgic::reset_line(std::uint32_t vcpu, std::uint32_t intid) {
  Line& l = line(vcpu, intid);
  l = Line{};
  l.enabled = l.edge = intid < sgis;
  if (intid < private_lines) {
    l.targets = static_cast<std::uint8_t>(1u << vcpu);
    l.home = static_cast<std::uint8_t>(vcpu);
  } else {
    l.targets = vcpus_ == 1 ? 1 : 0;  // a uniprocessor GIC has one target only (4.3.12)
  }
}

// The least binary points that five bits of priority allow: 2 and 3.
void Vgic::reset_interface(std::uint32_t vcpu) {
  cpus_[vcpu].interface.vmcr = 3u << 18 | 2u << 21;
  cpus_[vcpu].interface.apr = 0;
}

void Vgic::reset_cpu(std::uint32_t vcpu) {
  const LockGuard guard(lock_);
  reset_interface(vcpu);
  for (std::uint32_t intid = sgis; intid < private_lines; ++intid) {
    Line& l = line(vcpu, intid);
    l.raised = false;
    l.level = l.hw && l.active;
    static_cast<void>(refresh(vcpu, intid));
  }
}

// Of several targets an SPI goes to the first; max_vcpus if there is none.
std::uint32_t Vgic::first_target(const Line& l) {
  return l.targets == 0 ? max_vcpus : static_cast<std::uint32_t>(__builtin_ctz(l.targets));
}

// The vCPU that the line concerns; max_vcpus if none.
std::uint32_t Vgic::route(std::uint32_t vcpu, std::uint32_t intid) {
  if (intid < private_lines) return vcpu;
  const Line& l = line(vcpu, intid);
  if (l.active || l.loaded) return l.home;
  return first_target(l);
}

// The summary is one word: idle() reads it without the lock, and must not miss a line that stays.
void Vgic::put_work(std::uint32_t vcpu, std::uint32_t index, std::uint32_t value) {
  Cpu& cpu = cpus_[vcpu];
  cpu.work[index] = value;
  const std::uint32_t bit = 1u << index;
  __atomic_store_n(&cpu.busy, value != 0 ? cpu.busy | bit : cpu.busy & ~bit, __ATOMIC_RELAXED);
}

// Released after what it tells of; flush() takes it before it looks.
Vgic::Mask Vgic::concern(std::uint32_t vcpu) {
  __atomic_store_n(&cpus_[vcpu].changed, true, __ATOMIC_RELEASE);
  return 1u << vcpu;
}

bool Vgic::changed(std::uint32_t vcpu) const { return __atomic_load_n(&cpus_[vcpu].changed, __ATOMIC_RELAXED); }

bool Vgic::idle(std::uint32_t vcpu) const { return __atomic_load_n(&cpus_[vcpu].busy, __ATOMIC_RELAXED) == 0; }

// After any change of a line: moves its work bit to where it belongs, and tells whom to kick.
Vgic::Mask Vgic::refresh(std::uint32_t vcpu, std::uint32_t intid) {
  const Line& l = line(vcpu, intid);
  if (intid < private_lines) return put_line(vcpu, intid, l);
  const std::uint32_t to = route(vcpu, intid);
  for (std::uint32_t other = 0; other < max_vcpus; ++other) {
    if (other != to) put_work(other, intid / 32, cpus_[other].work[intid / 32] & ~(1u << intid % 32));
  }
  return to == max_vcpus ? 0 : put_line(to, intid, l);
}

// The line concerns this vCPU.
Vgic::Mask Vgic::put_line(std::uint32_t vcpu, std::uint32_t intid, const Line& l) {
  const std::uint32_t bit = 1u << intid % 32;
  const std::uint32_t word = cpus_[vcpu].work[intid / 32];
  const bool wanted = l.enabled && pending(l);
  put_work(vcpu, intid / 32, l.active || l.loaded || wanted ? word | bit : word & ~bit);
  const bool tell = l.loaded ? outdated(l) : wanted && !l.active && group_enabled(l);
  return tell ? concern(vcpu) : 0;
}

// Whether the list register that holds the line must be written anew: something came, or what was loaded as pending
// shall not be any more.
bool Vgic::outdated(const Line& l) const {
  if (l.latch || l.raised || l.sources != 0 || l.drop_pending || l.drop_active || l.make_active) return true;
  if (!l.hw && !l.edge && l.level && l.lr_pending && !l.lr_eoi) return true;  // nobody would sample the level again
  const bool wanted = l.enabled && group_enabled(l) && (l.lr_latch || pending(l));
  return wanted != l.lr_pending;
}

Vgic::Mask Vgic::input(std::uint32_t vcpu, std::uint32_t intid, bool level) {
  Line& l = line(vcpu, intid);
  if (l.level == level) return 0;
  l.level = level;
  if (l.hw) return 0;
  if (l.edge && level) l.latch = true;
  return refresh(vcpu, intid);
}

Vgic::Mask Vgic::set_line(std::uint32_t intid, bool level) {
  if (intid < private_lines || intid >= lines) return 0;
  const LockGuard guard(lock_);
  return input(0, intid, level);
}

Vgic::Mask Vgic::set_private_line(std::uint32_t vcpu, std::uint32_t intid, bool level) {
  if (vcpu >= vcpus_ || intid < sgis || intid >= private_lines) return 0;
  const LockGuard guard(lock_);
  return input(vcpu, intid, level);
}

bool Vgic::level(std::uint32_t vcpu, std::uint32_t intid) {
  if (vcpu >= vcpus_ || intid < sgis || intid >= lines) return false;
  const LockGuard guard(lock_);
  return line(vcpu, intid).level;
}

Vgic::Mask Vgic::pend(std::uint32_t intid) {
  if (intid < private_lines || intid >= lines) return 0;
  const LockGuard guard(lock_);
  Line& l = line(0, intid);
  if (l.latch) return 0;
  l.latch = true;
  return refresh(0, intid);
}

Vgic::Mask Vgic::raise_hw(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t physical_intid) {
  if (vcpu >= vcpus_ || intid < sgis || intid >= lines) return 0;
  const LockGuard guard(lock_);
  Line& l = line(vcpu, intid);
  l.hw = l.raised = l.level = true;
  l.physical = static_cast<std::uint16_t>(physical_intid);
  return refresh(vcpu, intid);
}

void Vgic::bind_hw(std::uint32_t vcpu, std::uint32_t intid, std::uint32_t physical_intid) {
  if (vcpu >= vcpus_ || intid < sgis || intid >= lines) return;
  const LockGuard guard(lock_);
  Line& l = line(vcpu, intid);
  l.hw = true;
  l.physical = static_cast<std::uint16_t>(physical_intid);
}

bool Vgic::hw_active(std::uint32_t vcpu, std::uint32_t intid) {
  if (vcpu >= vcpus_ || intid < sgis || intid >= lines) return false;
  const LockGuard guard(lock_);
  const Line& l = line(vcpu, intid);
  return l.hw && (l.raised || l.active);
}

}  // namespace amphion::hyp
