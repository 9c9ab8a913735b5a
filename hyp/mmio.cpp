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
  [[nodiscard]] u32 bytes() const { return 1u << size_log2(); }
  // A load or store of up to a word, of which HSR says everything.
  [[nodiscard]] bool plain() const { return described() && !on_walk() && size_log2() < 3; }
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

constexpr u32 word_bytes = 4;

u32 low_bytes(u32 value, u32 bytes) { return bytes == word_bytes ? value : value & ((1u << bytes * 8) - 1); }

u32 extend(u32 value, u32 bytes, bool sign) {
  value = low_bytes(value, bytes);
  return sign && bytes != word_bytes && (value >> (bytes * 8 - 1)) != 0 ? value | ~0u << bytes * 8 : value;
}

u32 stored_value(Vcpu& vcpu, Abort abort) { return low_bytes(read_register(vcpu, abort.reg()), abort.bytes()); }

void load_value(Vcpu& vcpu, Abort abort, u32 value) {
  write_register(vcpu, abort.reg(), extend(value, abort.bytes(), abort.sign_extend()));
}

// Phones see the phone machine, the host its board.
machine::Window distributor(const Vcpu& vcpu) {
  constexpr u32 bytes = 0x1000;
  return vcpu.instance->is_host() ? machine::Window{board::board.gic.distributor, bytes} : machine::gicd;
}

void finish(Vcpu& vcpu, Abort abort, Vgic::Mask concerned) {
  if (concerned != 0) post_all(*vcpu.instance, concerned & ~(1u << vcpu.index));  // its own next entry sees to itself
  skip_instruction(vcpu, abort.instruction_bytes());
}

void access_distributor(Vcpu& vcpu, Abort abort, u32 reg) {
  Vgic& vgic = vcpu.instance->vgic;
  Vgic::Mask concerned = 0;
  if (Vgic::asks_lists(reg)) sync_lists(this_cpu(), vcpu);
  if (abort.write() && reg == Vgic::sgir && resend_sgi(this_cpu(), vcpu, stored_value(vcpu, abort))) {
    // Nothing else changed.
  } else if (abort.write()) {
    concerned = vgic.write(vcpu.index, reg, abort.bytes(), stored_value(vcpu, abort));
  } else {
    load_value(vcpu, abort, vgic.read(vcpu.index, reg, abort.bytes()));
  }
  finish(vcpu, abort, concerned);
}

void access_uart(Vcpu& vcpu, Abort abort, u32 reg) {
  Uart& uart = vcpu.instance->uart;
  const Uart::Outcome done = abort.write() ? uart.write(reg, stored_value(vcpu, abort)) : uart.read(reg);
  if (!abort.write()) load_value(vcpu, abort, done.value);
  if (done.host == Uart::Tell::soon) ring_soon(vcpu);
  if (done.host == Uart::Tell::now) vcpu.instance->ring_uart();
  finish(vcpu, abort, done.concerned);
}

// Devices that are the hypervisor's wholly. Stage 2 has nothing there, so HPFAR tells the address.
bool access_here(Vcpu& vcpu, Abort abort, u32 virtual_address) {
  const u64 ipa = ipa_of_hpfar(Hpfar::read(), virtual_address);
  if (ipa >> 32 != 0) return false;
  const u32 address = static_cast<u32>(ipa);
  const machine::Window gicd = distributor(vcpu);
  if (address - gicd.base <= gicd.size_bytes - abort.bytes()) {
    access_distributor(vcpu, abort, address - gicd.base);
    return true;
  }
  if (address - machine::pl011.base >= machine::pl011.size_bytes || vcpu.instance->is_host()) return false;
  access_uart(vcpu, abort, address - machine::pl011.base);
  return true;
}

constexpr machine::Window registers{machine::virtio.base, AMPHION_PAGE_BYTES};

bool write_virtio(Vcpu& vcpu, Abort abort, u32 address) {
  if (!abort.write() || abort.bytes() != word_bytes || !registers.contains(address, word_bytes)) return false;
  const auto done = vcpu.instance->slots.write(address - registers.base, stored_value(vcpu, abort));
  if (!done) return false;
  if (done->tell_host) vcpu.instance->notify(0);
  finish(vcpu, abort, done->concerned);
  return true;
}

// The payload is written before the state; the host reads them the other way round.
void ask_host(Vcpu& vcpu, Abort abort, u32 address) {
  vcpu.access = {.address = address,
                 .reg = static_cast<u8>(abort.reg()),
                 .bytes = static_cast<u8>(abort.bytes()),
                 .instruction_bytes = static_cast<u8>(abort.instruction_bytes()),
                 .write = abort.write(),
                 .sign_extend = abort.sign_extend()};
  amphion_slot& slot = vcpu.instance->requests->slot[vcpu.index];
  slot.address = address;
  slot.bytes = abort.bytes();
  slot.write = abort.write() ? 1 : 0;
  slot.data = abort.write() ? stored_value(vcpu, abort) : 0;
  set_run(vcpu, Run::device);
  vcpu.io_pending.store(true, std::memory_order_relaxed);
  std::atomic_ref(slot.state).store(AMPHION_SLOT_PENDING, std::memory_order_release);
  vcpu.instance->notify(0);
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
  // These first: no other access is as frequent.
  if (abort.plain() && abort.translation() && access_here(vcpu, abort, address)) return Trap::handled;
  const bool problem = translation_problem(abort);
  const std::optional<u64> ipa = problem ? fault_ipa(abort, address) : std::optional<u64>(address);
  if (!ipa) return Trap::handled;

  const bool device = problem && !vcpu.instance->is_host() && machine::devices.contains(*ipa, abort.bytes());
  if (device && abort.plain()) {
    const u32 place = static_cast<u32>(*ipa);
    if (!write_virtio(vcpu, abort, place)) ask_host(vcpu, abort, place);
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
  const DeviceAccess& access = vcpu.access;
  if (!access.write) write_register(vcpu, access.reg, extend(slot.data, access.bytes, access.sign_extend));
  std::atomic_ref(slot.state).store(AMPHION_SLOT_FREE, std::memory_order_relaxed);
  if (registers.contains(access.address, access.bytes)) vcpu.instance->slots.publish(access.address - registers.base);
  skip_instruction(vcpu, access.instruction_bytes);
  vcpu.run = Run::ready;  // serve() tells the scheduler, when it has seen to everything
}

}  // namespace amphion::hyp
