// SPDX-License-Identifier: Apache-2.0
// Architected timers; see timer.hpp.
#include "hyp/timer.hpp"

#include "hyp/cpu.hpp"
#include "hyp/gic.hpp"
#include "hyp/instance.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "machine/phone.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 ctl_enable = 1u << 0, ctl_mask = 1u << 1, ctl_writable = ctl_enable | ctl_mask;
constexpr u32 timer_intid = machine::timer_virtual_irq;
static_assert(board::board.interrupts.virtual_timer == machine::timer_virtual_irq);

bool armed(u32 ctl) { return (ctl & ctl_writable) == ctl_enable; }

}  // namespace

void init_timers() {
  Cnthctl::write(0);  // CNTPCT and CNTP trap
  CnthpCtl::write(0);
  CntvCtl::write(0);
}

u64 now() {
  isb();
  return Cntpct::read();
}
u64 ticks_of_us(u32 us) { return u64{us} * Cntfrq::read() / 1'000'000; }
u64 ns_of_ticks(u64 ticks) {
  const u32 frequency = Cntfrq::read();
  return ticks / frequency * 1'000'000'000 + ticks % frequency * 1'000'000'000 / frequency;
}

void arm_hypervisor_timer(Cpu& cpu, u64 deadline) {
  if (cpu.armed_deadline == deadline) return;
  cpu.armed_deadline = deadline;
  if (deadline == never) {
    CnthpCtl::write(0);
    return;
  }
  CnthpCval::write(deadline);
  CnthpCtl::write(ctl_enable);
}

void load_timer(Vcpu& vcpu) {
  gic::set_active(timer_intid, vcpu.instance->vgic.hw_active(vcpu.index, timer_intid));
  Cntvoff::write(vcpu.instance->counter_offset);
  Cntkctl::write(vcpu.state.cntkctl);
  CntvCval::write(vcpu.state.cntv_cval);
  isb();
  CntvCtl::write(vcpu.state.cntv_ctl);
}

void save_timer(Vcpu& vcpu) {
  vcpu.state.cntv_ctl = CntvCtl::read() & ctl_writable;
  vcpu.state.cntv_cval = CntvCval::read();
  vcpu.state.cntkctl = Cntkctl::read();
  CntvCtl::write(0);
  isb();
  gic::set_active(timer_intid, false);
}

void settle_timer_interrupt(Cpu& cpu, Vcpu& vcpu) {
  if (!cpu.timer_raised) return;
  if (vcpu.instance->vgic.hw_active(vcpu.index, timer_intid)) return;
  cpu.timer_raised = false;
  gic::set_active(timer_intid, false);
}

u64 physical_timer_deadline(const Vcpu& vcpu) {
  if (!armed(vcpu.state.cntp_ctl)) return never;
  if (vcpu.instance->vgic.level(vcpu.index, machine::timer_physical_irq)) return never;
  return to_physical(vcpu.state.cntp_cval, vcpu.instance->counter_offset, now());
}

u64 wake_deadline(const Cpu& cpu, const Vcpu& vcpu) {
  const u64 physical = physical_timer_deadline(vcpu);
  if (cpu.loaded == &vcpu || !armed(vcpu.state.cntv_ctl)) return physical;
  if (vcpu.instance->vgic.hw_active(vcpu.index, timer_intid)) return physical;  // raised already
  const u64 deadline = to_physical(vcpu.state.cntv_cval, vcpu.instance->counter_offset, now());
  return deadline < physical ? deadline : physical;
}

void update_physical_timer(Vcpu& vcpu) {
  const bool level = armed(vcpu.state.cntp_ctl) && guest_counter(vcpu) >= vcpu.state.cntp_cval;
  static_cast<void>(vcpu.instance->vgic.set_private_line(vcpu.index, machine::timer_physical_irq, level));
}

u64 guest_counter(const Vcpu& vcpu) { return now() - vcpu.instance->counter_offset; }

}  // namespace amphion::hyp
