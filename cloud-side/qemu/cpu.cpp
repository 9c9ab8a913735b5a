// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/cpu.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

namespace amphion::qemu {
namespace {

using machine::Banked;
using machine::Cp15;
using machine::Vcpu;

// ---- names of system registers in the list: KVM's register numbers ----
constexpr std::uint64_t arm32 = 0x4020'0000'0000'0000;
constexpr std::uint64_t arm64bit = 0x4030'0000'0000'0000;  // MRRC/MCRR forms
constexpr std::uint64_t aarch64 = 0x6030'0000'0013'0000;
constexpr std::uint64_t non_secure = 1u << 29;

constexpr std::uint64_t cp(unsigned coproc, unsigned crn, unsigned opc1, unsigned crm, unsigned opc2) {
  return arm32 | coproc << 16 | crn << 11 | crm << 7 | opc1 << 3 | opc2;
}
constexpr std::uint64_t a64(unsigned op1, unsigned crn, unsigned crm, unsigned op2) {
  return aarch64 | 3u << 14 | op1 << 11 | crn << 7 | crm << 3 | op2;
}

// One part of an aliased register: bits [shift, shift + 32 or 64) of the list's value.
struct Alias {
  std::uint64_t id;
  unsigned shift;
  bool wide;
};

struct Register {
  std::uint64_t (*get)(const Cp15&);
  void (*set)(Cp15&, std::uint64_t);
  std::vector<Alias> aliases;  // the first one that is there is read; all are written
  bool constant = false;       // QEMU's Cortex-A7 has it as a constant and refuses any other value: not written
};

#define AMPHION_CP15(name)                                 \
  [](const Cp15& c) -> std::uint64_t { return c.name(); }, \
      [](Cp15& c, std::uint64_t v) { c.set_##name(static_cast<decltype(c.name())>(v)); }

// 32-bit register with both 32-bit forms, and its AArch64 form at `shift`.
std::vector<Alias> banked(std::uint64_t arm, std::uint64_t wide_form = 0, unsigned shift = 0) {
  std::vector<Alias> aliases;
  if (wide_form != 0) aliases.push_back({wide_form, shift, false});
  aliases.push_back({arm | non_secure, 0, false});
  aliases.push_back({arm, 0, false});
  return aliases;
}

std::vector<Alias> wide(std::uint64_t wide_form, std::uint64_t arm) {
  return {{wide_form, 0, true}, {arm | non_secure, 0, false}, {arm, 0, false}};
}

const std::vector<Register>& registers() {
  static const std::vector<Register> table{
      {AMPHION_CP15(sctlr), banked(cp(15, 1, 0, 0, 0), a64(0, 1, 0, 0))},
      {AMPHION_CP15(actlr), banked(cp(15, 1, 0, 0, 1), a64(0, 1, 0, 1)), true},
      {AMPHION_CP15(cpacr), banked(cp(15, 1, 0, 0, 2), a64(0, 1, 0, 2))},
      {AMPHION_CP15(ttbr0), wide(a64(0, 2, 0, 0), cp(15, 2, 0, 0, 0))},
      {AMPHION_CP15(ttbr1), wide(a64(0, 2, 0, 1), cp(15, 2, 0, 0, 1))},
      {AMPHION_CP15(ttbcr), banked(cp(15, 2, 0, 0, 2), a64(0, 2, 0, 2))},
      {AMPHION_CP15(dacr), banked(cp(15, 3, 0, 0, 0))},
      {AMPHION_CP15(dfsr), banked(cp(15, 5, 0, 0, 0), a64(0, 5, 2, 0))},
      {AMPHION_CP15(ifsr), banked(cp(15, 5, 0, 0, 1))},
      {AMPHION_CP15(adfsr), banked(cp(15, 5, 0, 1, 0), a64(0, 5, 1, 0)), true},
      {AMPHION_CP15(aifsr), banked(cp(15, 5, 0, 1, 1), a64(0, 5, 1, 1)), true},
      {AMPHION_CP15(dfar), banked(cp(15, 6, 0, 0, 0), a64(0, 6, 0, 0), 0)},
      {AMPHION_CP15(ifar), banked(cp(15, 6, 0, 0, 2), a64(0, 6, 0, 0), 32)},
      {AMPHION_CP15(par),
       {{arm64bit | non_secure | 15u << 16 | 7u << 7, 0, true}, {arm64bit | 15u << 16 | 7u << 7, 0, true}}},
      {AMPHION_CP15(mair0), banked(cp(15, 10, 0, 2, 0), a64(0, 10, 2, 0), 0)},
      {AMPHION_CP15(mair1), banked(cp(15, 10, 0, 2, 1), a64(0, 10, 2, 0), 32)},
      {AMPHION_CP15(amair0), banked(cp(15, 10, 0, 3, 0), a64(0, 10, 3, 0), 0), true},
      {AMPHION_CP15(amair1), banked(cp(15, 10, 0, 3, 1), a64(0, 10, 3, 0), 32), true},
      {AMPHION_CP15(vbar), banked(cp(15, 12, 0, 0, 0), a64(0, 12, 0, 0))},
      {AMPHION_CP15(contextidr), banked(cp(15, 13, 0, 0, 1), a64(0, 13, 0, 1))},
      {AMPHION_CP15(tpidrurw), banked(cp(15, 13, 0, 0, 2), a64(3, 13, 0, 2))},
      {AMPHION_CP15(tpidruro), banked(cp(15, 13, 0, 0, 3), a64(3, 13, 0, 3))},
      {AMPHION_CP15(tpidrprw), banked(cp(15, 13, 0, 0, 4), a64(0, 13, 0, 4))},
      {AMPHION_CP15(csselr), banked(cp(15, 0, 2, 0, 0), a64(2, 0, 0, 0))},
      {AMPHION_CP15(teecr), banked(cp(14, 0, 6, 0, 0))},
      {AMPHION_CP15(teehbr), banked(cp(14, 1, 6, 0, 0))},
      {AMPHION_CP15(cntkctl), banked(cp(15, 14, 0, 1, 0), a64(0, 14, 1, 0))},
  };
  return table;
}

constexpr std::uint64_t cntp_ctl = a64(3, 14, 2, 1), cntp_cval = a64(3, 14, 2, 2);
constexpr std::uint64_t cntv_ctl = a64(3, 14, 3, 1), cntv_cval = a64(3, 14, 3, 2);

// The register list of a `cpu` section: number -> position.
class RegisterList {
 public:
  explicit RegisterList(const Section& cpu) {
    const auto count = cpu.get("cpreg_vmstate_array_len");
    for (std::uint64_t i = 0; i < count; ++i) at_[cpu.get("cpreg_vmstate_indexes#" + std::to_string(i))] = i;
  }
  [[nodiscard]] bool has(std::uint64_t id) const { return at_.contains(id); }
  [[nodiscard]] std::string field(std::uint64_t id) const {
    const auto it = at_.find(id);
    if (it == at_.end()) throw StreamError("QEMU's stream has no system register " + std::to_string(id));
    return "cpreg_vmstate_values#" + std::to_string(it->second);
  }

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> at_;
};

constexpr std::uint64_t mask32 = 0xffff'ffff;

std::uint64_t read(const Section& cpu, const RegisterList& list, const Register& reg) {
  for (const Alias& alias : reg.aliases) {
    if (!list.has(alias.id)) continue;
    const std::uint64_t value = cpu.get(list.field(alias.id)) >> alias.shift;
    return alias.wide ? value : value & mask32;
  }
  return 0;  // a register that this processor does not have
}

void write(Section& cpu, const RegisterList& list, const Register& reg, std::uint64_t value) {
  for (const Alias& alias : reg.aliases) {
    if (!list.has(alias.id)) continue;
    const std::string field = list.field(alias.id);
    const std::uint64_t old = cpu.get(field);
    cpu.set(field, alias.wide ? value : (old & ~(mask32 << alias.shift)) | (value & mask32) << alias.shift);
  }
}

// ---- general registers ----
// QEMU's banks, by mode.
enum Bank : unsigned { usr = 0, svc = 1, abt = 2, und = 3, irq_bank = 4, fiq_bank = 5 };

Bank bank_of(std::uint32_t cpsr) {
  switch (cpsr & 0x1f) {
    case 0x10:
    case 0x1f:
      return usr;
    case 0x11:
      return fiq_bank;
    case 0x12:
      return irq_bank;
    case 0x13:
      return svc;
    case 0x17:
      return abt;
    case 0x1b:
      return und;
    default:
      throw StreamError("a vcpu is in a mode that a guest cannot be in");
  }
}

std::string element(const char* field, unsigned n) { return std::string(field) + "#" + std::to_string(n); }

std::uint32_t get32(const Section& s, const std::string& field) { return static_cast<std::uint32_t>(s.get(field)); }

Banked read_bank(const Section& cpu, Bank bank, Bank current) {
  Banked b;
  const bool live = bank == current;
  b.set_sp(get32(cpu, live ? element("env.regs", 13) : element("env.banked_r13", bank)));
  b.set_lr(get32(cpu, live ? element("env.regs", 14) : element("env.banked_r14", bank)));
  b.set_spsr(get32(cpu, live ? "env.spsr" : element("env.banked_spsr", bank)));
  return b;
}

void write_bank(Section& cpu, Bank bank, Bank current, const Banked& b) {
  cpu.set(element("env.banked_r13", bank), b.sp());
  cpu.set(element("env.banked_r14", bank), b.lr());
  cpu.set(element("env.banked_spsr", bank), b.spsr());
  if (bank != current) return;
  cpu.set(element("env.regs", 13), b.sp());
  cpu.set(element("env.regs", 14), b.lr());
  cpu.set("env.spsr", b.spsr());
}

void read_general(const Section& cpu, Vcpu& vcpu) {
  vcpu.set_cpsr(get32(cpu, "cpsr"));
  const Bank current = bank_of(vcpu.cpsr());
  for (unsigned n = 0; n < 8; ++n) vcpu.add_r(get32(cpu, element("env.regs", n)));
  for (unsigned n = 8; n < 13; ++n)
    vcpu.add_r(get32(cpu, current == fiq_bank ? element("env.usr_regs", n - 8) : element("env.regs", n)));
  const Banked user = read_bank(cpu, usr, current);
  vcpu.add_r(user.sp());
  vcpu.add_r(user.lr());
  vcpu.add_r(get32(cpu, element("env.regs", 15)));
  for (unsigned n = 8; n < 13; ++n)
    vcpu.add_r_fiq(get32(cpu, current == fiq_bank ? element("env.regs", n) : element("env.fiq_regs", n - 8)));
  *vcpu.mutable_svc() = read_bank(cpu, svc, current);
  *vcpu.mutable_abt() = read_bank(cpu, abt, current);
  *vcpu.mutable_und() = read_bank(cpu, und, current);
  *vcpu.mutable_irq() = read_bank(cpu, irq_bank, current);
  *vcpu.mutable_fiq() = read_bank(cpu, fiq_bank, current);
}

void write_general(const Vcpu& vcpu, Section& cpu) {
  cpu.set("cpsr", vcpu.cpsr());
  const Bank current = bank_of(vcpu.cpsr());
  for (int n = 0; n < 8; ++n) cpu.set(element("env.regs", static_cast<unsigned>(n)), vcpu.r(n));
  for (int n = 8; n < 13; ++n) {
    const auto at = static_cast<unsigned>(n);
    cpu.set(element("env.usr_regs", at - 8), vcpu.r(n));
    cpu.set(element("env.fiq_regs", at - 8), vcpu.r_fiq(n - 8));
    cpu.set(element("env.regs", at), current == fiq_bank ? vcpu.r_fiq(n - 8) : vcpu.r(n));
  }
  Banked user;
  user.set_sp(vcpu.r(13));
  user.set_lr(vcpu.r(14));
  user.set_spsr(get32(cpu, element("env.banked_spsr", usr)));  // user mode has none
  write_bank(cpu, usr, current, user);
  cpu.set(element("env.regs", 15), vcpu.r(15));
  write_bank(cpu, svc, current, vcpu.svc());
  write_bank(cpu, abt, current, vcpu.abt());
  write_bank(cpu, und, current, vcpu.und());
  write_bank(cpu, irq_bank, current, vcpu.irq());
  write_bank(cpu, fiq_bank, current, vcpu.fiq());
}

// ---- floating point: D2n and D2n+1 are the low half of zregs[n]; FPEXC is xregs[8], the array starts at xregs[2] ----
std::string d_field(int n) { return "cpu/vfp.env.vfp.zregs[" + std::to_string(n / 2) + "].d#" + std::to_string(n % 2); }
constexpr char fpexc_field[] = "cpu/vfp.env.vfp.xregs#6";
constexpr char fpscr_field[] = "cpu/vfp.fpscr";

// ---- timers ----
struct TimerNames {
  std::uint64_t ctl, cval;
  const char* field;
};
constexpr TimerNames virtual_timer{cntv_ctl, cntv_cval, "gt_timer[GTIMER_VIRT]"};
constexpr TimerNames physical_timer{cntp_ctl, cntp_cval, "gt_timer[GTIMER_PHYS]"};
constexpr std::uint32_t timer_enable = 1, timer_istatus = 4;
constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

machine::Timer read_timer(const Section& cpu, const RegisterList& list, const TimerNames& names) {
  machine::Timer timer;
  timer.set_ctl(get32(cpu, list.field(names.ctl)) & 3);
  timer.set_cval(cpu.get(list.field(names.cval)));
  return timer;
}

// An enabled timer whose time has come expires at once after the start: QEMU then works out line and status itself.
void write_timer(const machine::Timer& timer, const CpuClock& clock, const RegisterList& list, const TimerNames& names,
                 Section& cpu) {
  const bool enabled = (timer.ctl() & timer_enable) != 0;
  const bool due = enabled && clock.counter >= timer.cval();
  cpu.set(list.field(names.ctl), (timer.ctl() & 3) | (due ? timer_istatus : 0));
  cpu.set(list.field(names.cval), timer.cval());
  constexpr std::uint64_t far = std::numeric_limits<std::int64_t>::max();
  const std::uint64_t at = due ? clock.counter : timer.cval();
  const std::uint64_t at_ns = at > far / clock.period_ns ? far : at * clock.period_ns;
  cpu.set(names.field, enabled ? at_ns : never);
}

constexpr std::uint32_t interrupt_hard = 0x02, interrupt_fiq = 0x10;
constexpr std::uint32_t psci_on = 0, psci_off = 1;

}  // namespace

Vcpu vcpu_to_neutral(const Section& cpu) {
  Vcpu vcpu;
  vcpu.set_power(cpu.get("power_state") == psci_on ? Vcpu::POWER_ON : Vcpu::POWER_OFF);
  read_general(cpu, vcpu);
  for (int n = 0; n < 32; ++n) vcpu.add_d(cpu.get(d_field(n)));
  vcpu.set_fpscr(get32(cpu, fpscr_field));
  vcpu.set_fpexc(get32(cpu, fpexc_field));
  const RegisterList list(cpu);
  for (const Register& reg : registers()) reg.set(*vcpu.mutable_cp15(), read(cpu, list, reg));
  *vcpu.mutable_virtual_timer() = read_timer(cpu, list, virtual_timer);
  *vcpu.mutable_physical_timer() = read_timer(cpu, list, physical_timer);
  return vcpu;
}

void vcpu_from_neutral(const Vcpu& vcpu, std::uint32_t index, const CpuClock& clock, bool irq, bool fiq,
                       Stream& stream) {
  Section& cpu = stream.section("cpu", index);
  Section& cpu_common = stream.section("cpu_common", index);
  const bool on = vcpu.power() == Vcpu::POWER_ON;
  cpu.set("power_state", on ? psci_on : psci_off);
  cpu_common.set("halted", on ? 0 : 1);  // a WFI may end at any time
  const std::uint32_t lines = on ? (irq ? interrupt_hard : 0) | (fiq ? interrupt_fiq : 0) : 0;
  cpu_common.set("interrupt_request", lines);
  cpu.set("cpu/irq-line-state.env.irq_line_state", lines);
  // An event may have been signalled while nobody waited; one WFE too few is a hang, one too many is allowed.
  stream.set_subsection(cpu, "cpu/event", "env.event_register", 1, on ? 1 : 0);
  write_general(vcpu, cpu);
  cpu.set("env.exclusive_addr", never);
  for (int n = 0; n < 32; ++n) cpu.set(d_field(n), vcpu.d(n));
  cpu.set(fpscr_field, vcpu.fpscr());
  cpu.set(fpexc_field, vcpu.fpexc());
  const RegisterList list(cpu);
  for (const Register& reg : registers())
    if (!reg.constant) write(cpu, list, reg, reg.get(vcpu.cp15()));
  cpu.set("cpu/thumb2ee.env.teecr", vcpu.cp15().teecr());
  cpu.set("cpu/thumb2ee.env.teehbr", vcpu.cp15().teehbr());
  write_timer(vcpu.virtual_timer(), clock, list, virtual_timer, cpu);
  write_timer(vcpu.physical_timer(), clock, list, physical_timer, cpu);
}

}  // namespace amphion::qemu
