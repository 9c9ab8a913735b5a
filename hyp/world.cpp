// SPDX-License-Identifier: Apache-2.0
// The world switch; see world.hpp. Save and load are two columns in the same order: a register forgotten on one side
// is seen at a glance.
#include "hyp/world.hpp"

#include "hyp/cpu.hpp"
#include "hyp/exit_reason.h"
#include "hyp/gic.hpp"
#include "hyp/instance.hpp"
#include "hyp/maintenance.hpp"
#include "hyp/page_table.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/timer.hpp"
#include "machine/identity.hpp"

extern "C" {
amphion::hyp::u32 enter_guest(amphion::hyp::u32* registers);
void save_vfp(amphion::hyp::u64* d);
void load_vfp(const amphion::hyp::u64* d);
amphion::hyp::u32 read_fpexc();
void write_fpexc(amphion::hyp::u32 value);
amphion::hyp::u32 read_fpscr();
void write_fpscr(amphion::hyp::u32 value);
}

namespace amphion::hyp {
namespace {

// vectors.S counts from r[0].
static_assert(offsetof(amphion_vcpu, lr_usr) - offsetof(amphion_vcpu, r) == 56);
static_assert(offsetof(amphion_vcpu, pc) - offsetof(amphion_vcpu, r) == 60);
static_assert(offsetof(amphion_vcpu, cpsr) - offsetof(amphion_vcpu, r) == 64);

// HCR (B4.1.65): stage 2, set/way invalidation also cleans, IRQ and FIQ come to us, WFI, WFE, SMC, implementation
// defined registers and ACTLR trap. A vCPU may move to another CPU: FB and BSU make its local TLB and cache operations and
// its barriers reach all CPUs. TSW stays clear: set/way operations do on this CPU what they do on hardware, and CPUs
// that a vCPU left have written back and dropped what they had (sched.cpp). TID3 and TVM stay clear: they cost much.
constexpr u32 hcr_vm = 1u << 0, hcr_swio = 1u << 1, hcr_ptw = 1u << 2, hcr_fmo = 1u << 3, hcr_imo = 1u << 4,
              hcr_fb = 1u << 9, hcr_bsu_inner_shareable = 1u << 10,
              hcr_twi = 1u << 13, hcr_twe = 1u << 14, hcr_tsc = 1u << 19, hcr_tidcp = 1u << 20, hcr_tac = 1u << 21;
constexpr u32 hcr = hcr_vm | hcr_swio | hcr_ptw | hcr_fmo | hcr_imo | hcr_fb | hcr_bsu_inner_shareable | hcr_twi |
                    hcr_tsc | hcr_tidcp | hcr_tac;
constexpr u32 hdcr = 1u << 11 | 1u << 10 | 1u << 9 | 1u << 6;  // debug (TDRA, TDOSA, TDA), performance monitors (TPM)
constexpr u32 hcptr = 1u << 20 | 0x33ffu;                      // trace, and coprocessors without a purpose here
constexpr u32 fpexc_enable = 1u << 30;
constexpr u32 no_instance_vttbr_vmid = 0;

void save_cp15(amphion_vcpu& s) {
  s.sctlr = Sctlr::read();
  s.cpacr = Cpacr::read();
  s.ttbcr = Ttbcr::read();
  s.ttbr0 = Ttbr0::read();
  s.ttbr1 = Ttbr1::read();
  s.dacr = Dacr::read();
  s.dfsr = Dfsr::read();
  s.ifsr = Ifsr::read();
  s.adfsr = Adfsr::read();
  s.aifsr = Aifsr::read();
  s.dfar = Dfar::read();
  s.ifar = Ifar::read();
  s.par = Par::read();
  s.mair0 = Mair0::read();
  s.mair1 = Mair1::read();
  s.amair0 = Amair0::read();
  s.amair1 = Amair1::read();
  s.vbar = Vbar::read();
  s.contextidr = Contextidr::read();
  s.tpidrurw = Tpidrurw::read();
  s.tpidruro = Tpidruro::read();
  s.tpidrprw = Tpidrprw::read();
  s.csselr = Csselr::read();
  s.teecr = Teecr::read();
  s.teehbr = Teehbr::read();
}

void load_cp15(const amphion_vcpu& s) {
  Sctlr::write(s.sctlr);
  Cpacr::write(s.cpacr);
  Ttbcr::write(s.ttbcr);
  Ttbr0::write(s.ttbr0);
  Ttbr1::write(s.ttbr1);
  Dacr::write(s.dacr);
  Dfsr::write(s.dfsr);
  Ifsr::write(s.ifsr);
  Adfsr::write(s.adfsr);
  Aifsr::write(s.aifsr);
  Dfar::write(s.dfar);
  Ifar::write(s.ifar);
  Par::write(s.par);
  Mair0::write(s.mair0);
  Mair1::write(s.mair1);
  Amair0::write(s.amair0);
  Amair1::write(s.amair1);
  Vbar::write(s.vbar);
  Contextidr::write(s.contextidr);
  Tpidrurw::write(s.tpidrurw);
  Tpidruro::write(s.tpidruro);
  Tpidrprw::write(s.tpidrprw);
  Csselr::write(s.csselr);
  Teecr::write(s.teecr);
  Teehbr::write(s.teehbr);
}

// FPEXC.EN lets the hypervisor reach the registers; the guest's own value is put in place last.
void save_fp(amphion_vcpu& s) {
  s.fpexc = read_fpexc();
  write_fpexc(fpexc_enable);
  s.fpscr = read_fpscr();
  save_vfp(s.d);
}

void load_fp(const amphion_vcpu& s) {
  write_fpexc(fpexc_enable);
  write_fpscr(s.fpscr);
  load_vfp(s.d);
  write_fpexc(s.fpexc);
}

void set_lists_control(Cpu& cpu, u32 value) {
  if (cpu.lists_control == value) return;
  cpu.lists_control = value;
  gic::write_hcr(value);
}

// Siblings share a VMID, but each may keep translations of its own under an address space number (before its kernel
// has agreed on them, or for per-CPU tables): the last one's must not be found by the next.
void own_tlb(Cpu& cpu, const Vcpu& vcpu) {
  u8& last = cpu.ran_last[vcpu.instance->id];
  const u8 number = static_cast<u8>(vcpu.index + 1);
  if (last == number) return;
  last = number;
  invalidate_own_tlb();
}

void load_gic(Vcpu& vcpu) {
  const VgicCpu& interface = vcpu.instance->vgic.cpu(vcpu.index);
  gic::write_vmcr(interface.vmcr);
  gic::write_apr(interface.apr);
}

void enter_lists(Cpu& cpu, Vcpu& vcpu) {
  Vgic& vgic = vcpu.instance->vgic;
  if (cpu.lists_loaded && !vgic.changed(vcpu.index)) return;
  sync_lists(cpu, vcpu);
  settle_timer_interrupt(cpu, vcpu);
  vgic.flush(vcpu.index);
  const VgicCpu& interface = vgic.cpu(vcpu.index);
  for (u32 i = 0; i < interface.used; ++i) gic::write_list(i, interface.lr[i]);
  for (u32 i = interface.used; i < cpu.lists_used; ++i) gic::write_list(i, 0);
  cpu.lists_used = interface.used;
  set_lists_control(cpu, interface.hcr);
  cpu.lists_loaded = true;
}

}  // namespace

void sync_lists(Cpu& cpu, Vcpu& vcpu) {
  if (!cpu.lists_loaded) return;
  cpu.lists_loaded = false;
  Vgic& vgic = vcpu.instance->vgic;
  VgicCpu& interface = vgic.cpu(vcpu.index);
  for (u32 i = 0; i < interface.used; ++i) interface.lr[i] = gic::read_list(i);
  if (interface.watched()) {
    cpu.lists_control = interface.hcr = gic::read_hcr();
    interface.vmcr = gic::read_vmcr();
  }
  post_all(*vcpu.instance, vgic.sync(vcpu.index));
}

bool resend_sgi(Cpu& cpu, Vcpu& vcpu, u32 sgir) {
  constexpr u32 pending_or_active = 3u << 28;
  if (!cpu.lists_loaded) return false;
  Vgic& vgic = vcpu.instance->vgic;
  const u32 index = vgic.list_of_own_sgi(vcpu.index, sgir);
  if (index == VgicCpu::max_lrs || (gic::read_list(index) & pending_or_active) != 0) return false;
  gic::write_list(index, vgic.cpu(vcpu.index).lr[index]);
  return true;
}

void save_banked(amphion_vcpu& s) {
  s.sp_usr = SpUsr::read();
  s.sp[AMPHION_MODE_SVC] = SpSvc::read();
  s.lr[AMPHION_MODE_SVC] = LrSvc::read();
  s.spsr[AMPHION_MODE_SVC] = SpsrSvc::read();
  s.sp[AMPHION_MODE_ABT] = SpAbt::read();
  s.lr[AMPHION_MODE_ABT] = LrAbt::read();
  s.spsr[AMPHION_MODE_ABT] = SpsrAbt::read();
  s.sp[AMPHION_MODE_UND] = SpUnd::read();
  s.lr[AMPHION_MODE_UND] = LrUnd::read();
  s.spsr[AMPHION_MODE_UND] = SpsrUnd::read();
  s.sp[AMPHION_MODE_IRQ] = SpIrq::read();
  s.lr[AMPHION_MODE_IRQ] = LrIrq::read();
  s.spsr[AMPHION_MODE_IRQ] = SpsrIrq::read();
  s.sp[AMPHION_MODE_FIQ] = SpFiq::read();
  s.lr[AMPHION_MODE_FIQ] = LrFiq::read();
  s.spsr[AMPHION_MODE_FIQ] = SpsrFiq::read();
  s.r_fiq[0] = R8Fiq::read();
  s.r_fiq[1] = R9Fiq::read();
  s.r_fiq[2] = R10Fiq::read();
  s.r_fiq[3] = R11Fiq::read();
  s.r_fiq[4] = R12Fiq::read();
}

void load_banked(const amphion_vcpu& s) {
  SpUsr::write(s.sp_usr);
  SpSvc::write(s.sp[AMPHION_MODE_SVC]);
  LrSvc::write(s.lr[AMPHION_MODE_SVC]);
  SpsrSvc::write(s.spsr[AMPHION_MODE_SVC]);
  SpAbt::write(s.sp[AMPHION_MODE_ABT]);
  LrAbt::write(s.lr[AMPHION_MODE_ABT]);
  SpsrAbt::write(s.spsr[AMPHION_MODE_ABT]);
  SpUnd::write(s.sp[AMPHION_MODE_UND]);
  LrUnd::write(s.lr[AMPHION_MODE_UND]);
  SpsrUnd::write(s.spsr[AMPHION_MODE_UND]);
  SpIrq::write(s.sp[AMPHION_MODE_IRQ]);
  LrIrq::write(s.lr[AMPHION_MODE_IRQ]);
  SpsrIrq::write(s.spsr[AMPHION_MODE_IRQ]);
  SpFiq::write(s.sp[AMPHION_MODE_FIQ]);
  LrFiq::write(s.lr[AMPHION_MODE_FIQ]);
  SpsrFiq::write(s.spsr[AMPHION_MODE_FIQ]);
  R8Fiq::write(s.r_fiq[0]);
  R9Fiq::write(s.r_fiq[1]);
  R10Fiq::write(s.r_fiq[2]);
  R11Fiq::write(s.r_fiq[3]);
  R12Fiq::write(s.r_fiq[4]);
}

void save_interface(Vcpu& vcpu) {
  VgicCpu& interface = vcpu.instance->vgic.cpu(vcpu.index);
  interface.vmcr = gic::read_vmcr();
  interface.apr = gic::read_apr();
}

void silence_lists(Cpu& cpu) {
  if (cpu.loaded != nullptr) sync_lists(cpu, *cpu.loaded);
  set_lists_control(cpu, 0);
}

void trap_wfe(Cpu& cpu, bool trap) {
  if (cpu.trap_wfe == trap) return;
  cpu.trap_wfe = trap;
  Hcr::write(trap ? hcr | hcr_twe : hcr);
}

void init_world() {
  Hcr::write(0);
  Vtcr::write(Stage2Format::vtcr);
  Vttbr::write(no_instance_vttbr_vmid);
  Hstr::write(0);
  Hcptr::write(hcptr);
  Hdcr::write(hdcr);
  init_timers();
  isb();
}

void load(Cpu& cpu, Vcpu& vcpu) {
  if (cpu.loaded == &vcpu) return;
  unload(cpu);
  Vpidr::write(vcpu.instance->is_host() ? Midr::read() : machine::midr);
  Vmpidr::write(0x8000'0000u | vcpu.index);
  Vttbr::write(vcpu.instance->vttbr());
  Hcr::write(cpu.trap_wfe ? hcr | hcr_twe : hcr);
  isb();
  own_tlb(cpu, vcpu);
  load_banked(vcpu.state);
  load_cp15(vcpu.state);
  load_fp(vcpu.state);
  load_gic(vcpu);
  load_timer(vcpu);
  isb();
  cpu.timer_raised = true;  // perhaps: settled before the guest is entered
  cpu.loaded = &vcpu;
}

void unload(Cpu& cpu) {
  if (cpu.loaded == nullptr) return;
  Vcpu& vcpu = *cpu.loaded;
  sync_lists(cpu, vcpu);
  save_banked(vcpu.state);
  save_cp15(vcpu.state);
  save_fp(vcpu.state);
  save_interface(vcpu);
  set_lists_control(cpu, 0);
  save_timer(vcpu);
  cpu.loaded = nullptr;
  unloaded(vcpu);
}

u32 run_guest(Cpu& cpu, Vcpu& vcpu) {
  enter_lists(cpu, vcpu);
  const u32 reason = enter_guest(vcpu.state.r);
  ++vcpu.exits;
  return reason;
}

}  // namespace amphion::hyp
