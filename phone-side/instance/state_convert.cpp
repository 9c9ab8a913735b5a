// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/state_convert.hpp"

#include <algorithm>

namespace amphion::instance {
namespace {

constexpr int general_registers = 13, fiq_registers = 5, double_registers = 32, sgis = 16, private_lines = 32;
constexpr int spis = static_cast<int>(AMPHION_IRQ_LINES) - private_lines;

void put_bank(machine::Banked& out, const amphion_vcpu& v, unsigned mode) {
  out.set_sp(v.sp[mode]);
  out.set_lr(v.lr[mode]);
  out.set_spsr(v.spsr[mode]);
}

void take_bank(amphion_vcpu& v, const machine::Banked& in, unsigned mode) {
  v.sp[mode] = in.sp();
  v.lr[mode] = in.lr();
  v.spsr[mode] = in.spsr();
}

void put_cp15(machine::Cp15& c, const amphion_vcpu& v) {
  c.set_sctlr(v.sctlr);
  c.set_actlr(v.actlr);
  c.set_cpacr(v.cpacr);
  c.set_ttbcr(v.ttbcr);
  c.set_dacr(v.dacr);
  c.set_dfsr(v.dfsr);
  c.set_ifsr(v.ifsr);
  c.set_adfsr(v.adfsr);
  c.set_aifsr(v.aifsr);
  c.set_dfar(v.dfar);
  c.set_ifar(v.ifar);
  c.set_mair0(v.mair0);
  c.set_mair1(v.mair1);
  c.set_amair0(v.amair0);
  c.set_amair1(v.amair1);
  c.set_vbar(v.vbar);
  c.set_contextidr(v.contextidr);
  c.set_tpidrurw(v.tpidrurw);
  c.set_tpidruro(v.tpidruro);
  c.set_tpidrprw(v.tpidrprw);
  c.set_csselr(v.csselr);
  c.set_teecr(v.teecr);
  c.set_teehbr(v.teehbr);
  c.set_cntkctl(v.cntkctl);
  c.set_ttbr0(v.ttbr0);
  c.set_ttbr1(v.ttbr1);
  c.set_par(v.par);
}

void take_cp15(amphion_vcpu& v, const machine::Cp15& c) {
  v.sctlr = c.sctlr();
  v.actlr = c.actlr();
  v.cpacr = c.cpacr();
  v.ttbcr = c.ttbcr();
  v.dacr = c.dacr();
  v.dfsr = c.dfsr();
  v.ifsr = c.ifsr();
  v.adfsr = c.adfsr();
  v.aifsr = c.aifsr();
  v.dfar = c.dfar();
  v.ifar = c.ifar();
  v.mair0 = c.mair0();
  v.mair1 = c.mair1();
  v.amair0 = c.amair0();
  v.amair1 = c.amair1();
  v.vbar = c.vbar();
  v.contextidr = c.contextidr();
  v.tpidrurw = c.tpidrurw();
  v.tpidruro = c.tpidruro();
  v.tpidrprw = c.tpidrprw();
  v.csselr = c.csselr();
  v.teecr = c.teecr();
  v.teehbr = c.teehbr();
  v.cntkctl = c.cntkctl();
  v.ttbr0 = c.ttbr0();
  v.ttbr1 = c.ttbr1();
  v.par = c.par();
}

void put_line(machine::GicLine& out, const amphion_gic_line& line) {
  out.set_enabled((line.flags & AMPHION_LINE_ENABLED) != 0);
  out.set_pending((line.flags & AMPHION_LINE_PENDING) != 0);
  out.set_active((line.flags & AMPHION_LINE_ACTIVE) != 0);
  out.set_level((line.flags & AMPHION_LINE_LEVEL) != 0);
  out.set_edge((line.flags & AMPHION_LINE_EDGE) != 0);
  out.set_group((line.flags & AMPHION_LINE_GROUP1) != 0 ? 1 : 0);
  out.set_priority(line.priority);
  out.set_targets(line.targets);
}

amphion_gic_line take_line(const machine::GicLine& in) {
  unsigned flags = 0;
  if (in.enabled()) flags |= AMPHION_LINE_ENABLED;
  if (in.pending()) flags |= AMPHION_LINE_PENDING;
  if (in.active()) flags |= AMPHION_LINE_ACTIVE;
  if (in.level()) flags |= AMPHION_LINE_LEVEL;
  if (in.edge()) flags |= AMPHION_LINE_EDGE;
  if (in.group() != 0) flags |= AMPHION_LINE_GROUP1;
  return {static_cast<amphion_u8>(flags), static_cast<amphion_u8>(in.priority()), static_cast<amphion_u8>(in.targets()),
          0};
}

void put_cpu(machine::GicCpu& out, const amphion_gic_cpu& cpu) {
  for (const auto& line : cpu.line) put_line(*out.add_private_lines(), line);
  for (const auto sources : cpu.sgi_sources) out.add_sgi_sources(sources);
  out.set_gicc_ctlr(cpu.ctlr);
  out.set_gicc_pmr(cpu.pmr);
  out.set_gicc_bpr(cpu.bpr);
  out.set_gicc_abpr(cpu.abpr);
  out.set_gicc_apr(cpu.apr);
}

void take_cpu(amphion_gic_cpu& cpu, const machine::GicCpu& in) {
  for (int i = 0; i < private_lines; ++i) cpu.line[i] = take_line(in.private_lines(i));
  for (int i = 0; i < sgis; ++i) cpu.sgi_sources[i] = static_cast<amphion_u8>(in.sgi_sources(i));
  cpu.ctlr = in.gicc_ctlr();
  cpu.pmr = in.gicc_pmr();
  cpu.bpr = in.gicc_bpr();
  cpu.abpr = in.gicc_abpr();
  cpu.apr = in.gicc_apr();
}

}  // namespace

machine::Vcpu to_state(const amphion_vcpu& v) {
  machine::Vcpu out;
  out.set_power(v.power != 0 ? machine::Vcpu::POWER_ON : machine::Vcpu::POWER_OFF);
  for (const auto r : v.r) out.add_r(r);
  for (const auto r : {v.sp_usr, v.lr_usr, v.pc}) out.add_r(r);
  out.set_cpsr(v.cpsr);
  put_bank(*out.mutable_svc(), v, AMPHION_MODE_SVC);
  put_bank(*out.mutable_abt(), v, AMPHION_MODE_ABT);
  put_bank(*out.mutable_und(), v, AMPHION_MODE_UND);
  put_bank(*out.mutable_irq(), v, AMPHION_MODE_IRQ);
  put_bank(*out.mutable_fiq(), v, AMPHION_MODE_FIQ);
  for (const auto r : v.r_fiq) out.add_r_fiq(r);
  for (const auto d : v.d) out.add_d(d);
  out.set_fpscr(v.fpscr);
  out.set_fpexc(v.fpexc);
  put_cp15(*out.mutable_cp15(), v);
  out.mutable_virtual_timer()->set_ctl(v.cntv_ctl);
  out.mutable_virtual_timer()->set_cval(v.cntv_cval);
  out.mutable_physical_timer()->set_ctl(v.cntp_ctl);
  out.mutable_physical_timer()->set_cval(v.cntp_cval);
  return out;
}

amphion_vcpu from_state(const machine::Vcpu& in) {
  amphion_vcpu v{};
  v.power = in.power() == machine::Vcpu::POWER_ON ? 1 : 0;
  for (int i = 0; i < general_registers; ++i) v.r[i] = in.r(i);
  v.sp_usr = in.r(general_registers);
  v.lr_usr = in.r(general_registers + 1);
  v.pc = in.r(general_registers + 2);
  v.cpsr = in.cpsr();
  take_bank(v, in.svc(), AMPHION_MODE_SVC);
  take_bank(v, in.abt(), AMPHION_MODE_ABT);
  take_bank(v, in.und(), AMPHION_MODE_UND);
  take_bank(v, in.irq(), AMPHION_MODE_IRQ);
  take_bank(v, in.fiq(), AMPHION_MODE_FIQ);
  for (int i = 0; i < fiq_registers; ++i) v.r_fiq[i] = in.r_fiq(i);
  for (int i = 0; i < double_registers; ++i) v.d[i] = in.d(i);
  v.fpscr = in.fpscr();
  v.fpexc = in.fpexc();
  take_cp15(v, in.cp15());
  v.cntv_ctl = in.virtual_timer().ctl();
  v.cntv_cval = in.virtual_timer().cval();
  v.cntp_ctl = in.physical_timer().ctl();
  v.cntp_cval = in.physical_timer().cval();
  return v;
}

machine::Gic to_state(const amphion_gic& gic, std::uint32_t vcpus) {
  machine::Gic out;
  out.set_gicd_ctlr(gic.gicd_ctlr);
  for (std::uint32_t i = 0; i < vcpus; ++i) put_cpu(*out.add_cpus(), gic.cpu[i]);
  for (const auto& line : gic.spi) put_line(*out.add_spis(), line);
  return out;
}

amphion_gic from_state(const machine::Gic& in) {
  amphion_gic gic{};
  gic.gicd_ctlr = in.gicd_ctlr();
  for (int i = 0; i < in.cpus_size(); ++i) take_cpu(gic.cpu[i], in.cpus(i));
  for (int i = 0; i < spis; ++i) gic.spi[i] = take_line(in.spis(i));
  return gic;
}

machine::Pl011 to_state(const amphion_uart& u) {
  machine::Pl011 out;
  out.set_dr_fifo_count(u.received);
  out.mutable_rx_fifo()->assign(u.fifo, u.fifo + u.received);
  out.set_rsr(u.rsr);
  out.set_ilpr(u.ilpr);
  out.set_ibrd(u.ibrd);
  out.set_fbrd(u.fbrd);
  out.set_lcr_h(u.lcr_h);
  out.set_cr(u.cr);
  out.set_ifls(u.ifls);
  out.set_imsc(u.imsc);
  out.set_ris(u.ris);
  out.set_dmacr(u.dmacr);
  return out;
}

amphion_uart from_state(const machine::Pl011& in) {
  amphion_uart u{};
  u.received = in.dr_fifo_count();
  std::copy(in.rx_fifo().begin(), in.rx_fifo().end(), u.fifo);
  u.rsr = in.rsr();
  u.ilpr = in.ilpr();
  u.ibrd = in.ibrd();
  u.fbrd = in.fbrd();
  u.lcr_h = in.lcr_h();
  u.cr = in.cr();
  u.ifls = in.ifls();
  u.imsc = in.imsc();
  u.ris = in.ris();
  u.dmacr = in.dmacr();
  return u;
}

}  // namespace amphion::instance
