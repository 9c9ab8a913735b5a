// SPDX-License-Identifier: Apache-2.0
// Random and half-valid calls, device accesses and instructions, on four vCPUs, until the host ends it (host/fuzz.cpp).
// A tame one does only what it survives, and checks the answers. A wild one also executes code that it made up, in
// every mode; whatever exception ends that, its vCPU begins again from nothing.
#include "hyp/abi/amphion_hypercall.h"
#include "hyp/psr.hpp"
#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/random.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

extern "C" {
extern char hostile_vectors[];
void hostile_run(const u32* registers, u32 mode);
void hostile_life();
}

// hostile_run: all registers from an array whose last word is where to go on; the mode last, for it may be user mode.
__asm__(R"(
        .text
        .arm
hostile_again:
        ldr     r0, =0x00c50078                 @ SCTLR as after reset: MMU, big-endian and Thumb exceptions off
        mcr     p15, 0, r0, c1, c0, 0
        isb
        ldr     r0, =hostile_life
        b       secondary_start
        .ltorg
        .balign 32
        .global hostile_vectors
hostile_vectors:
        .rept 8
        b       hostile_again
        .endr
        .global hostile_run
hostile_run:
        mov     lr, r0
        msr     cpsr_fsxc, r1
        mov     lr, r0                          @ of that mode
        ldm     lr, {r0-r12, pc}
)");

namespace {

constexpr u32 own_bytes = 1u << 20;  // of memory, from its begin on: this program

struct Mine {
  Random random;
  bool begun = false;
  bool wild = false;
  u32 tried = 0;
  alignas(64) u32 code[16];
  u32 registers[14];
};
Mine mine[machine::max_vcpus];

void complain(u32 operation) { hyp::write32(complaint, complaint_mark | operation); }

u32 device_address(Random& random) {
  const u32 bases[] = {machine::gicd.base,  machine::gicd.base,      machine::gicc.base,
                       machine::pl011.base, machine::virtio.base,    machine::virtio.base + 0x1000,
                       echo.base,           machine::pcie_ecam.base, machine::pcie_memory.base};
  return random.one_of(bases) + random.below(0x1000);
}

// Where something may be: devices, memory and where it ends, holes, the hypervisor's places; not this program.
u32 address(Random& random) {
  switch (random.below(6)) {
    case 0:
      return machine::ram_base + own_bytes + random.below(0x80'0000);
    case 1:
      return machine::ram_base + (16u << 20) - 8 + random.below(16);
    case 2: {
      const u32 any = random.edge();
      return any - machine::ram_base < own_bytes ? any + own_bytes : any;
    }
    default:
      return device_address(random);
  }
}

u32 argument(Random& random) { return random.one_in(2) ? random.edge() : address(random); }

bool management(u32 function) {
  return function - AMPHION_HC_INFO < AMPHION_HC_END - AMPHION_HC_INFO && function != AMPHION_HC_YIELD;
}
bool psci_function(u32 function) { return function - psci::version <= psci::features - psci::version; }

u32 function_of(Random& random) {
  if (random.one_in(2)) return AMPHION_HC(random.below(0x20));
  if (random.one_in(4)) return argument(random);
  const u32 function = psci::version + random.below(0x20);
  const bool ends = function == psci::system_off || function == psci::system_reset || function == psci::cpu_off;
  return ends && !random.one_in(64) ? psci::version : function;
}

void try_call(Random& random) {
  const u32 function = function_of(random);
  if (function == psci::cpu_suspend) return;  // nobody would wake it
  const Answer answer = call(function, argument(random), argument(random), argument(random));
  if (management(function) && answer.value != static_cast<u32>(AMPHION_EDENIED)) complain(1);
  if (!management(function) && function != AMPHION_HC_YIELD && !psci_function(function) &&
      answer.value != psci::not_supported) {
    complain(2);
  }
}

void try_distributor(Random& random) {
  const u32 offsets[] = {0x000, 0x004, 0x080, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380,
                         0x400, 0x41b, 0x820, 0xc00, 0xf00, 0xf00, 0xf10, 0xf20, 0xfe8};
  const u32 at = machine::gicd.base + random.one_of(offsets) + (random.one_in(2) ? random.below(64) : 0);
  const u32 value = random.edge();
  switch (random.below(4)) {
    case 0:
      return hyp::write32(at & ~3u, value);
    case 1:
      return hyp::write8(at, static_cast<hyp::u8>(value));
    case 2:
      return static_cast<void>(hyp::read32(at & ~3u));
    default:
      return static_cast<void>(*reinterpret_cast<const volatile hyp::u8*>(at));
  }
}

void try_interface(Random& random) {
  const u32 offsets[] = {0x00, 0x04, 0x08, 0x0c, 0x0c, 0x10, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0xd0, 0x1000};
  const u32 at = gic::gicc + random.one_of(offsets);
  random.one_in(2) ? hyp::write32(at, random.edge()) : static_cast<void>(hyp::read32(at));
}

void try_access(Random& random) {
  const u32 at = random.one_in(3) ? address(random) : device_address(random);
  const u32 value = random.edge();
  switch (random.below(8)) {
    case 0:
      return hyp::write32(at, value);
    case 1:
      return static_cast<void>(hyp::read32(at));
    case 2:
      return hyp::write8(at, static_cast<hyp::u8>(value));
    case 3:
      __asm__ volatile("strh %1, [%0]" ::"r"(at), "r"(value) : "memory");
      return;
    case 4:
      __asm__ volatile("ldrsh r1, [%0]" ::"r"(at) : "r1", "memory");
      return;
    case 5:
      __asm__ volatile("ldm %0, {r0, r1, r2, r3}" ::"r"(at) : "r0", "r1", "r2", "r3", "memory");
      return;
    case 6:
      __asm__ volatile("stm %0, {r0, r1, r2, r3}" ::"r"(at) : "memory");
      return;
    default:
      __asm__ volatile("ldrex r1, [%0]\n strex r2, r1, [%0]" ::"r"(at & ~3u) : "r1", "r2", "memory");
      return;
  }
}

// A word of the register page and of what the hypervisor finishes itself: doorbells, acknowledgements.
void try_virtio(Random& random) {
  const u32 slot = machine::virtio.base + random.below(10) * machine::virtio_slot_bytes;
  const u32 registers[] = {0x50, 0x50, 0x64, 0x64, 0x60, 0x70, 0x30, 0x44, random.below(0x200)};
  const u32 at = slot + random.one_of(registers);
  random.one_in(4) ? static_cast<void>(hyp::read32(at))
                   : hyp::write32(at, random.one_in(2) ? random.below(34) : random.edge());
}

void try_serial(Random& random) {
  const u32 at = machine::pl011.base + (random.one_in(4) ? random.below(0x1000) : random.below(20) * 4);
  random.one_in(2) ? hyp::write32(at, random.edge()) : static_cast<void>(hyp::read32(at));
}

void try_timer(Random& random) {
  const u64 due = counter() + (random.one_in(2) ? u64{random.below(20'000)} : u64{random.edge()}) - 1000;
  switch (random.below(4)) {
    case 0:
      return hyp::CntvCval::write(due);
    case 1:
      __asm__ volatile("mcrr p15, 2, %Q0, %R0, c14" ::"r"(due));
      return;  // CNTP_CVAL
    case 2:
      __asm__ volatile("mcr p15, 0, %0, c14, c2, 1" ::"r"(random.below(8)));
      return;
    default:
      __asm__ volatile("mcr p15, 0, %0, c14, c2, 0" ::"r"(random.edge()));
      return;
  }
}

void try_wait(Random& random) {
  hyp::CntvCval::write(counter() + ticks_of_us(random.below(100)));
  hyp::CntvCtl::write(1);
  gic::init();
  gic::enable(virtual_timer);
  gic::set_priority(virtual_timer, 0);
  if (random.one_in(2)) {
    __asm__ volatile("wfe");
  } else {
    hyp::wait_for_interrupt();
  }
}

void try_other_vcpu(Random& random) { start_vcpu(random.below(5), hostile_life); }

// MCR, MRC, MCRR, MRRC and their like of a coprocessor that may trap.
u32 coprocessor_instruction(Random& random) {
  const u32 coprocessors[] = {15, 15, 15, 14, 14, 10, 11};
  const u32 kinds[] = {0x0e00'0010, 0x0e10'0010, 0x0c40'0000, 0x0c50'0000, 0x0c10'0000, 0x0e00'0000};
  return 0xe000'0000 | random.one_of(kinds) | random.one_of(coprocessors) << 8 | (random() & 0x00ef'f0ef);
}

// Loads and stores of every kind; registers hold addresses.
u32 memory_instruction(Random& random) {
  const u32 kinds[] = {0x0400'0000, 0x0500'0000, 0x0600'0000, 0x0800'0000, 0x0900'0000, 0x0000'0090,
                       0x0000'00b0, 0x0000'00d0, 0x0000'00f0, 0x0180'0f90, 0x0190'0f9f, 0x0d00'0b00};
  return 0xe000'0000 | random.one_of(kinds) | (random() & 0x01ff'f00f);
}

u32 system_instruction(Random& random) {
  const u32 kinds[] = {0xe140'0070, 0xe160'0070, 0xe160'006e, 0xf100'0000, 0xe320'f000, 0xe120'f000, 0xe100'0200,
                       0xe120'f200, 0xf84d'0500, 0xf890'0a00, 0xef00'0000, 0xf57f'f000, 0xe320'f003, 0xf1010000};
  return random.one_of(kinds) ^ (random.one_in(2) ? random() & 0x000f'ffff : random.below(16));
}

// MRRC and MRS of a banked register to the PC are unpredictable, and end QEMU (gen_pc_plus_diff). ARM, and Thumb, whose
// halves stand the other way round.
bool ends_emulator(u32 word) {
  const u32 swapped = word << 16 | word >> 16;
  for (const u32 w : {word, swapped}) {
    if ((w & 0x0ff0'0000) == 0x0c50'0000 && ((w >> 12 & 15) == 15 || (w >> 16 & 15) == 15)) return true;
  }
  return (word & 0x0fb0'fef0) == 0x0100'f200 || (swapped & 0xffe0'ffe0) == 0xf3e0'8f20;
}

u32 any_instruction(Random& random) {
  switch (random.below(8)) {
    case 0:
    case 1:
      return coprocessor_instruction(random);
    case 2:
    case 3:
      return memory_instruction(random);
    case 4:
    case 5:
      return system_instruction(random);
    case 6:
      return (random() & 0x0fff'ffff) | 0xe000'0000;
    default:
      return random();
  }
}

u32 instruction(Random& random) {
  const u32 word = any_instruction(random);
  return ends_emulator(word) ? 0xe320'f000 : word;  // NOP
}

// Does not come back: an exception ends it, if only the timer's.
void execute(Mine& me) {
  Random& random = me.random;
  for (u32& word : me.code) word = instruction(random);
  me.code[1 + random.below(15)] = 0xe7f0'00f0;  // UDF
  for (u32& word : me.registers) word = argument(random);
  me.registers[13] = reinterpret_cast<u32>(&me.code) | (random.one_in(4) ? 1 : 0);
  __asm__ volatile("dsb\n mcr p15, 0, %0, c7, c5, 0\n dsb\n isb" ::"r"(0) : "memory");  // ICIALLU
  gic::init();
  gic::enable(virtual_timer);
  gic::set_priority(virtual_timer, 0);
  hyp::CntvCval::write(counter() + ticks_of_us(200));
  hyp::CntvCtl::write(1);
  const u32 modes[] = {hyp::psr::usr, hyp::psr::svc, hyp::psr::svc, hyp::psr::sys,
                       hyp::psr::abt, hyp::psr::und, hyp::psr::irq, hyp::psr::fiq};
  hostile_run(me.registers, random.one_of(modes) | (random() & 0xf80f'0000));
}

void operate(Mine& me) {
  Random& random = me.random;
  switch (random.below(12)) {
    case 0:
    case 1:
      return try_call(random);
    case 2:
    case 3:
      return try_distributor(random);
    case 4:
      return try_interface(random);
    case 5:
    case 6:
      return try_access(random);
    case 7:
      return try_virtio(random);
    case 8:
      return try_serial(random);
    case 9:
      return try_timer(random);
    case 10:
      return random.one_in(8) ? try_wait(random) : try_other_vcpu(random);
    default:
      return me.wild ? execute(me) : try_call(random);
  }
}

void begin(Mine& me) {
  const u32 word = hyp::read32(seed);
  me.random = Random(word + vcpu_number() * 7919);
  me.wild = (word & 1) != 0;
  me.begun = true;
}

}  // namespace

// Of every vCPU, from its start and from each exception of a wild one on.
void hostile_life() {
  Mine& me = mine[vcpu_number()];
  hyp::CntvCtl::write(0);
  for (u32 i = 0; i < 4; ++i) gic::end(gic::acknowledge());
  gic::end(virtual_timer);
  if (!me.begun) begin(me);
  if (me.wild) hyp::Vbar::write(reinterpret_cast<u32>(&hostile_vectors));
  hyp::isb();
  own().catching = true;
  for (;;) {
    if (++me.tried % 64 == 0) hyp::write32(operations, 64);
    operate(me);
  }
}

void guest_main() {
  for (u32 vcpu = 1; vcpu < machine::max_vcpus; ++vcpu) start_vcpu(vcpu, hostile_life);
  hostile_life();
}
