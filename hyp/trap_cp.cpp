// SPDX-License-Identifier: Apache-2.0
// Coprocessor traps; see trap_cp.hpp. Debug and performance monitors read as zero (DBGDIDR as it is) and ignore writes:
// a guest's kernel looks for them at boot, and an instance has none that could move with it. ID_DFR0 says all the same
// what a Cortex-A7 has: hiding it takes HCR.TID3, which would trap ID_MMFR3, too (README.md).
#include "hyp/trap_cp.hpp"

#include "hyp/instance.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/timer.hpp"

namespace amphion::hyp {
namespace {

// ISS of MCR and MRC
struct Access32 {
  u32 iss;
  [[nodiscard]] bool read() const { return (iss & 1) != 0; }
  [[nodiscard]] u32 crm() const { return iss >> 1 & 0xf; }
  [[nodiscard]] u32 rt() const { return iss >> 5 & 0xf; }
  [[nodiscard]] u32 crn() const { return iss >> 10 & 0xf; }
  [[nodiscard]] u32 opc1() const { return iss >> 14 & 7; }
  [[nodiscard]] u32 opc2() const { return iss >> 17 & 7; }
  [[nodiscard]] bool is(u32 n, u32 o1, u32 m, u32 o2) const {
    return crn() == n && opc1() == o1 && crm() == m && opc2() == o2;
  }
};

// ISS of MCRR and MRRC
struct Access64 {
  u32 iss;
  [[nodiscard]] bool read() const { return (iss & 1) != 0; }
  [[nodiscard]] u32 crm() const { return iss >> 1 & 0xf; }
  [[nodiscard]] u32 rt() const { return iss >> 5 & 0xf; }
  [[nodiscard]] u32 rt2() const { return iss >> 10 & 0xf; }
  [[nodiscard]] u32 opc1() const { return iss >> 16 & 0xf; }
};

constexpr u32 ctl_writable = 3, ctl_status = 4;

Trap ignore(Vcpu& vcpu, Access32 access, u32 value) {
  if (access.read()) write_register(vcpu, access.rt(), value);
  return Trap::handled;
}

u32 physical_timer_control(const Vcpu& vcpu) {
  const bool reached = guest_counter(vcpu) >= vcpu.state.cntp_cval;
  return vcpu.state.cntp_ctl | ((vcpu.state.cntp_ctl & 1) != 0 && reached ? ctl_status : 0);
}

Trap timer_control(Vcpu& vcpu, Access32 access) {
  if (access.read()) {
    write_register(vcpu, access.rt(), physical_timer_control(vcpu));
  } else {
    vcpu.state.cntp_ctl = read_register(vcpu, access.rt()) & ctl_writable;
    update_physical_timer(vcpu);
  }
  return Trap::handled;
}

Trap timer_value(Vcpu& vcpu, Access32 access) {
  if (access.read()) {
    write_register(vcpu, access.rt(), static_cast<u32>(vcpu.state.cntp_cval - guest_counter(vcpu)));
  } else {
    const auto offset = static_cast<std::int32_t>(read_register(vcpu, access.rt()));
    vcpu.state.cntp_cval = guest_counter(vcpu) + static_cast<u64>(std::int64_t{offset});
    update_physical_timer(vcpu);
  }
  return Trap::handled;
}

bool performance_monitors(Access32 access) { return access.crn() == 9 && access.crm() >= 12; }
bool implementation_defined(Access32 access) {
  return access.crn() == 9 || access.crn() == 10 || access.crn() == 11 || access.crn() == 15;
}

}  // namespace

Trap on_cp15_32(Vcpu& vcpu, u32 hsr) {
  const Access32 access{hsr};
  if (access.is(1, 0, 0, 1)) return ignore(vcpu, access, vcpu.state.actlr);
  if (access.is(14, 0, 2, 0)) return timer_value(vcpu, access);
  if (access.is(14, 0, 2, 1)) return timer_control(vcpu, access);
  if (access.is(9, 1, 0, 2)) return ignore(vcpu, access, (vcpu.instance->vcpu_count - 1) << 24);  // L2CTLR
  if (performance_monitors(access) || implementation_defined(access)) return ignore(vcpu, access, 0);
  return Trap::not_mine;
}

Trap on_cp15_64(Vcpu& vcpu, u32 hsr) {
  constexpr u32 timer = 14, counter_opc1 = 0, compare_opc1 = 2;
  const Access64 access{hsr};
  if (access.crm() != timer) return Trap::not_mine;
  if (access.opc1() == counter_opc1 && access.read()) {
    const u64 value = guest_counter(vcpu);
    write_register(vcpu, access.rt(), static_cast<u32>(value));
    write_register(vcpu, access.rt2(), static_cast<u32>(value >> 32));
    return Trap::handled;
  }
  if (access.opc1() != compare_opc1) return Trap::not_mine;
  if (access.read()) {
    write_register(vcpu, access.rt(), static_cast<u32>(vcpu.state.cntp_cval));
    write_register(vcpu, access.rt2(), static_cast<u32>(vcpu.state.cntp_cval >> 32));
  } else {
    vcpu.state.cntp_cval = read_register(vcpu, access.rt()) | u64{read_register(vcpu, access.rt2())} << 32;
    update_physical_timer(vcpu);
  }
  return Trap::handled;
}

Trap on_cp14_32(Vcpu& vcpu, u32 hsr) {
  const Access32 access{hsr};
  if (access.opc1() != 0) return Trap::not_mine;  // only the debug registers trap
  if (access.is(0, 0, 0, 0) && access.rt() == 15) return Trap::not_mine;
  return ignore(vcpu, access, access.is(0, 0, 0, 0) ? Dbgdidr::read() : 0);
}

// DBGDRAR, DBGDSAR: no memory-mapped debug registers.
Trap on_cp14_64(Vcpu& vcpu, u32 hsr) {
  const Access64 access{hsr};
  if (!access.read()) return Trap::not_mine;
  write_register(vcpu, access.rt(), 0);
  write_register(vcpu, access.rt2(), 0);
  return Trap::handled;
}

}  // namespace amphion::hyp
