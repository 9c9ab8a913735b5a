// SPDX-License-Identifier: Apache-2.0
// Stage 2 aborts; see mmio.hpp. Encodings: DDI 0406C, B3.13.6 (HSR, HPFAR).
#include "hyp/mmio.hpp"

#include <atomic>
#include <optional>

#include "hyp/cpu.hpp"
#include "hyp/fault_ipa.hpp"
#include "hyp/instance.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"
#include "hyp/world.hpp"
#include "machine/phone.hpp"

namespace amphion::hyp {
namespace {

// ISS of a data abort
struct Abort {
  u32 hsr;
  [[nodiscard]] u32 status() const { return hsr & 0x3f; }
  [[nodiscard]] bool translation() const { return (status() & 0x3c) == 0x04; }
  [[nodiscard]] bool access_flag() const { return (status() & 0x3c) == 0x08; }
  [[nodiscard]] bool permission() const { return (status() & 0x3c) == 0x0c; }
  [[nodiscard]] bool on_walk() const { return (hsr >> 7 & 1) != 0; }
  [[nodiscard]] bool described() const { return (hsr >> 24 & 1) != 0; }
  [[nodiscard]] bool cache_operation() const { return (hsr >> 8 & 1) != 0; }
  [[nodiscard]] bool write() const { return (hsr >> 6 & 1) != 0; }
  [[nodiscard]] u32 size_log2() const { return hsr >> 22 & 3; }
  [[nodiscard]] bool sign_extend() const { return (hsr >> 21 & 1) != 0; }
  [[nodiscard]] u32 reg() const { return hsr >> 16 & 0xf; }
  [[nodiscard]] u32 instruction_bytes() const { return (hsr >> 25 & 1) != 0 ? 4 : 2; }
};

// HPFAR is not defined after a permission fault: the guest's own translation is asked. Nothing if that has changed
// meanwhile; the guest then tries again.
std::optional<u64> fault_ipa(Abort abort, u32 virtual_address) {
  if (!abort.permission() || abort.on_walk()) return ipa_of_hpfar(Hpfar::read(), virtual_address);
  const u64 guest_par = Par::read();
  Ats1cpr::write(virtual_address);
  isb();
  const u64 par = Par::read();
  Par::write(guest_par);
  return ipa_of_par(par, virtual_address);
}

u32 extend(u32 value, DeviceAccess access) {
  if (access.bytes == 4) return value;
  const u32 bits = access.bytes * 8u;
  const u32 mask = (1u << bits) - 1;
  value &= mask;
  return access.sign_extend && (value >> (bits - 1)) != 0 ? value | ~mask : value;
}

DeviceAccess describe(Abort abort, u32 ipa) {
  return {.address = ipa,
          .reg = static_cast<u8>(abort.reg()),
          .bytes = static_cast<u8>(1u << abort.size_log2()),
          .instruction_bytes = static_cast<u8>(abort.instruction_bytes()),
          .write = abort.write(),
          .sign_extend = abort.sign_extend()};
}

u32 stored_value(Vcpu& vcpu, DeviceAccess access) {
  const u32 value = read_register(vcpu, access.reg);
  return access.bytes == 4 ? value : value & ((1u << access.bytes * 8) - 1);
}

// Phones see the phone machine, the host its board.
machine::Window distributor(const Vcpu& vcpu) {
  constexpr u32 bytes = 0x1000;
  return vcpu.instance->is_host() ? machine::Window{board::board.gic.distributor, bytes} : machine::gicd;
}

bool access_distributor(Vcpu& vcpu, Abort abort, u32 address) {
  const u64 ipa = ipa_of_hpfar(Hpfar::read(), address);
  const machine::Window gicd = distributor(vcpu);
  const DeviceAccess access = describe(abort, static_cast<u32>(ipa));
  const u64 offset = ipa - gicd.base;
  if (offset > gicd.size_bytes - access.bytes) return false;
  Vgic& vgic = vcpu.instance->vgic;
  const u32 reg = static_cast<u32>(offset);
  if (Vgic::asks_lists(reg)) sync_lists(this_cpu(), vcpu);
  if (access.write && reg == Vgic::sgir && resend_sgi(this_cpu(), vcpu, stored_value(vcpu, access))) {
    // Nothing else changed.
  } else if (access.write) {
    const Vgic::Mask concerned = vgic.write(vcpu.index, reg, access.bytes, stored_value(vcpu, access));
    post_all(*vcpu.instance, concerned & ~(1u << vcpu.index));  // its own next entry sees to itself
  } else {
    write_register(vcpu, access.reg, extend(vgic.read(vcpu.index, reg, access.bytes), access));
  }
  skip_instruction(vcpu, access.instruction_bytes);
  return true;
}

constexpr machine::Window registers{machine::virtio.base, AMPHION_PAGE_BYTES};

void finish(Vcpu& vcpu, const DeviceAccess& access, Vgic::Mask concerned) {
  post_all(*vcpu.instance, concerned & ~(1u << vcpu.index));  // its own next entry sees to itself
  skip_instruction(vcpu, access.instruction_bytes);
}

void access_uart(Vcpu& vcpu, const DeviceAccess& access) {
  Uart& uart = vcpu.instance->uart;
  const u32 offset = access.address - machine::pl011.base;
  const Uart::Outcome done = access.write ? uart.write(offset, stored_value(vcpu, access)) : uart.read(offset);
  if (!access.write) write_register(vcpu, access.reg, extend(done.value, access));
  if (done.host == Uart::Tell::soon) ring_soon(vcpu);
  if (done.host == Uart::Tell::now) vcpu.instance->ring_uart();
  finish(vcpu, access, done.concerned);
}

bool write_virtio(Vcpu& vcpu, const DeviceAccess& access) {
  const auto done = vcpu.instance->slots.write(access.address - registers.base, stored_value(vcpu, access));
  if (!done) return false;
  if (done->tell_host) vcpu.instance->notify(0);
  finish(vcpu, access, done->concerned);
  return true;
}

// The payload is written before the state; the host reads them the other way round.
void ask_host(Vcpu& vcpu, const DeviceAccess& access) {
  vcpu.access = access;
  amphion_slot& slot = vcpu.instance->requests->slot[vcpu.index];
  slot.address = access.address;
  slot.bytes = vcpu.access.bytes;
  slot.write = vcpu.access.write ? 1 : 0;
  slot.data = vcpu.access.write ? stored_value(vcpu, vcpu.access) : 0;
  set_run(vcpu, Run::device);
  vcpu.io_pending.store(true, std::memory_order_relaxed);
  std::atomic_ref(slot.state).store(AMPHION_SLOT_PENDING, std::memory_order_release);
  vcpu.instance->notify(0);
}

void access_device(Vcpu& vcpu, const DeviceAccess& access) {
  const u32 page = access.address >> page_shift;
  if (page == machine::pl011.base >> page_shift) return access_uart(vcpu, access);
  const bool word = access.write && access.bytes == 4;
  if (word && page == registers.base >> page_shift && write_virtio(vcpu, access)) return;
  ask_host(vcpu, access);
}

bool touch_memory(Vcpu& vcpu, u64 ipa) {
  if (!vcpu.instance->memory) return false;
  switch (vcpu.instance->memory->touch(Ipa(ipa))) {
    case Stage2::Touch::mapped:
    case Stage2::Touch::again:
      return true;
    case Stage2::Touch::out_of_memory:
      set_run(vcpu, Run::parked);
      vcpu.instance->notify(AMPHION_EVENT_OUT_OF_MEMORY);
      return true;
    case Stage2::Touch::outside:
      break;
  }
  return false;
}

bool translation_problem(Abort abort) { return abort.translation() || abort.access_flag() || abort.permission(); }

}  // namespace

Trap on_data_abort(Vcpu& vcpu, u32 hsr) {
  const Abort abort{hsr};
  const u32 address = Hdfar::read();
  // The distributor first: no other access is as frequent.
  const bool plain = abort.described() && !abort.on_walk() && abort.size_log2() < 3;
  if (plain && abort.translation() && access_distributor(vcpu, abort, address)) return Trap::handled;
  const bool problem = translation_problem(abort);
  const std::optional<u64> ipa = problem ? fault_ipa(abort, address) : std::optional<u64>(address);
  if (!ipa) return Trap::handled;

  const bool device = problem && !vcpu.instance->is_host() && machine::devices.contains(*ipa, 1u << abort.size_log2());
  if (device && plain) {
    access_device(vcpu, describe(abort, static_cast<u32>(*ipa)));
  } else if (problem && !device && touch_memory(vcpu, *ipa)) {
    return Trap::handled;
  } else if (problem && abort.cache_operation()) {
    skip_instruction(vcpu, abort.instruction_bytes());
  } else {
    inject_data_abort(vcpu, address);
  }
  return Trap::handled;
}

Trap on_prefetch_abort(Vcpu& vcpu, u32 hsr) {
  const Abort abort{hsr};
  const u32 address = Hifar::read();
  const std::optional<u64> ipa = translation_problem(abort) ? fault_ipa(abort, address) : std::optional<u64>(address);
  if (!ipa) return Trap::handled;
  if (!translation_problem(abort) || !touch_memory(vcpu, *ipa)) inject_prefetch_abort(vcpu, address);
  return Trap::handled;
}

void complete_device_access(Vcpu& vcpu) {
  if (vcpu.run != Run::device) return;
  amphion_slot& slot = vcpu.instance->requests->slot[vcpu.index];
  if (!vcpu.access.write) write_register(vcpu, vcpu.access.reg, extend(slot.data, vcpu.access));
  std::atomic_ref(slot.state).store(AMPHION_SLOT_FREE, std::memory_order_relaxed);
  if (registers.contains(vcpu.access.address, vcpu.access.bytes)) {
    vcpu.instance->slots.publish(vcpu.access.address - registers.base);
  }
  skip_instruction(vcpu, vcpu.access.instruction_bytes);
  vcpu.run = Run::ready;  // serve() tells the scheduler, when it has seen to everything
}

}  // namespace amphion::hyp
