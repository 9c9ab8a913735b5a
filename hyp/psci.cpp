// SPDX-License-Identifier: Apache-2.0
// PSCI; see psci.hpp. The host's SYSTEM_OFF and SYSTEM_RESET go to the firmware, or to nobody if that has none (the
// host's own drivers then know the board's power); a phone's stop that phone.
#include "hyp/psci.hpp"

#include <array>

#include "hyp/console.hpp"
#include "hyp/cpu.hpp"
#include "hyp/instance.hpp"
#include "hyp/panic.hpp"
#include "hyp/psr.hpp"
#include "hyp/stack.h"
#include "hyp/this_board.hpp"
#include "hyp/world.hpp"

extern "C" amphion::hyp::u32 firmware_call(amphion::hyp::u32 function, amphion::hyp::u32 a, amphion::hyp::u32 b,
                                           amphion::hyp::u32 c);

namespace amphion::hyp {
namespace {

constexpr u32 error(int value) { return static_cast<u32>(value); }
constexpr u32 success = 0, not_supported = error(-1), invalid_parameters = error(-2), denied = error(-3),
              already_on = error(-4), on_pending = error(-5), invalid_address = error(-9);
constexpr u32 affinity_on = 0, affinity_off = 1, affinity_on_pending = 2;

using Handler = u32 (*)(Vcpu& vcpu);

u32 version(Vcpu&) { return 0x1'0000; }

// Standby, which ends with an interrupt. A power-down state may be granted as standby (5.4.2): QEMU does the same, so
// an instance finds what it knows on either side.
u32 cpu_suspend(Vcpu& vcpu) {
  constexpr u32 reserved_or_level = 0xfffe'0000;
  if ((vcpu.state.r[1] & reserved_or_level) != 0) return invalid_parameters;
  if (!interrupt_deliverable(vcpu)) set_run(vcpu, Run::waiting);
  return success;
}

u32 cpu_off(Vcpu& vcpu) {
  unload(this_cpu());
  set_run(vcpu, Run::off);
  LockGuard guard(vcpu.instance->psci);
  vcpu.state.power = 0;
  return success;
}

bool is_memory(const Instance& instance, u32 address) {
  return instance.is_host() ? in_host_memory(address, 1) : instance.memory->in_ram(Ipa(address));
}

// CPU_ON was called and its home CPU has not taken it in yet. (A moment later it may have: the answer was true.)
bool pending(const Vcpu& vcpu) { return vcpu.run == Run::off; }

u32 cpu_on(Vcpu& vcpu) {
  Instance& instance = *vcpu.instance;
  const u32 target = vcpu.state.r[1], entry = vcpu.state.r[2], context = vcpu.state.r[3];
  if (target >= instance.vcpu_count) return invalid_parameters;
  if (!is_memory(instance, entry)) return invalid_address;
  LockGuard guard(instance.psci);
  Vcpu& other = instance.vcpu[target];
  if (other.state.power != 0) return pending(other) ? on_pending : already_on;
  if (other.index >= instance.vcpus_allowed) return denied;
  reset_registers(other.state);
  instance.vgic.reset_cpu(other.index);
  other.state.r[0] = context;
  other.state.pc = entry & ~1u;
  if ((entry & 1) != 0) other.state.cpsr |= psr::thumb_bit;
  other.state.power = 1;
  post(other, request::start);
  return success;
}

u32 affinity_info(Vcpu& vcpu) {
  Instance& instance = *vcpu.instance;
  const u32 target = vcpu.state.r[1], lowest_level = vcpu.state.r[2];
  if (lowest_level != 0 || target >= instance.vcpu_count) return invalid_parameters;
  LockGuard guard(instance.psci);
  const Vcpu& other = instance.vcpu[target];
  if (other.state.power == 0) return affinity_off;
  return pending(other) ? affinity_on_pending : affinity_on;
}

u32 migrate_info_type(Vcpu&) { return 2; }  // no trusted OS

u32 end_system(Vcpu& vcpu, u32 event, u32 firmware_function) {
  Instance& instance = *vcpu.instance;
  if (instance.is_host()) {
    if (firmware_function == Board::no_function) return not_supported;
    Line() << "the host instance asked for " << (event == AMPHION_EVENT_SYSTEM_OFF ? "power off" : "a reset")
           << "; deepest stack " << deepest_stack_bytes() << " of " << stack_bytes << " bytes";
    firmware_call(firmware_function, 0, 0, 0);
    panic("the firmware refused to end the system");
  }
  set_run(vcpu, Run::waiting);
  LockGuard guard(instance.control);
  instance.begin_stop(event);
  return success;
}

u32 system_off(Vcpu& vcpu) { return end_system(vcpu, AMPHION_EVENT_SYSTEM_OFF, board::board.psci_system_off); }
u32 system_reset(Vcpu& vcpu) { return end_system(vcpu, AMPHION_EVENT_SYSTEM_RESET, board::board.psci_system_reset); }

u32 features(Vcpu& vcpu);

constexpr u32 first_function = 0x8400'0000;
constexpr std::array<Handler, 11> functions{version,       cpu_suspend,  cpu_off,           cpu_on,
                                            affinity_info, nullptr,      migrate_info_type, nullptr,
                                            system_off,    system_reset, features};

Handler find(u32 function) {
  const u32 index = function - first_function;
  return index < functions.size() ? functions[index] : nullptr;
}

u32 features(Vcpu& vcpu) { return find(vcpu.state.r[1]) != nullptr ? success : not_supported; }

}  // namespace

bool on_psci(Vcpu& vcpu) {
  const Handler handler = find(vcpu.state.r[0]);
  if (handler == nullptr) return false;
  const u32 result = handler(vcpu);
  if (vcpu.run != Run::off) vcpu.state.r[0] = result;  // an off vCPU's registers belong to the next CPU_ON
  return true;
}

}  // namespace amphion::hyp
