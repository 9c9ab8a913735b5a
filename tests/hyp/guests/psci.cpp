// SPDX-License-Identifier: Apache-2.0
// Every PSCI call. This instance has four vCPUs, of which two may run.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

// How a vCPU begins: {cpsr, SCTLR, context} to where its context points, then it powers itself off.
extern "C" void observe_arm();
extern "C" void observe_thumb();
__asm__(R"(
        .macro  observe
        mrs     r1, cpsr
        mrc     p15, 0, r2, c1, c0, 0
        str     r1, [r0]
        str     r2, [r0, #4]
        str     r0, [r0, #8]
        dsb
        ldr     r0, =0x84000002
        hvc     #0
        .endm
        .arch_extension virt
        .syntax unified
        .text
        .arm
        .global observe_arm
observe_arm: observe
        .ltorg
        .thumb
        .thumb_func
        .global observe_thumb
observe_thumb: observe
        .ltorg
        .arm
)");

namespace {

constexpr u32 sctlr_reset = 0x00c5'0078, mmu_and_caches = 0x1005;
volatile u32 beginning[3];
volatile u32 runs = 0;

void check_names() {
  CHECK_EQUAL(call(psci::version).value, 0x1'0000);
  CHECK_EQUAL(call(psci::migrate_info_type).value, 2);
  for (const u32 function : {psci::version, psci::cpu_suspend, psci::cpu_off, psci::cpu_on, psci::affinity_info,
                             psci::migrate_info_type, psci::system_off, psci::system_reset, psci::features}) {
    CHECK_EQUAL(call(psci::features, function).value, psci::success);
  }
  for (const u32 function : {psci::migrate, 0x8400'0007u, 0x8400'000bu, 0xc400'0003u, 0u, ~0u, 0x8000'0000u}) {
    CHECK_EQUAL(call(psci::features, function).value, psci::not_supported);
    CHECK_EQUAL(call(function).value, psci::not_supported);
  }
}

void check_affinity() {
  CHECK_EQUAL(call(psci::affinity_info, 0).value, psci::is_on);
  for (const u32 vcpu : {1u, 2u, 3u}) CHECK_EQUAL(call(psci::affinity_info, vcpu).value, psci::is_off);
  for (const u32 vcpu : {4u, 0x100u, 0x1'0000u, 0x100'0001u, 0x8000'0001u}) {
    CHECK_EQUAL(call(psci::affinity_info, vcpu).value, psci::invalid_parameters);
  }
  CHECK_EQUAL(call(psci::affinity_info, 1, 1).value, psci::invalid_parameters);
}

void check_refused() {
  CHECK_EQUAL(start_vcpu(0, nullptr), psci::already_on);
  CHECK_EQUAL(start_vcpu(2, nullptr), psci::denied);
  CHECK_EQUAL(start_vcpu(3, nullptr), psci::denied);
  for (const u32 vcpu : {4u, 0x101u, 0x1'0000u, 0x100'0001u, 0x8000'0001u}) {
    CHECK_EQUAL(start_vcpu(vcpu, nullptr), psci::invalid_parameters);
  }
  constexpr u32 memory_end = machine::ram_base + 4096 * machine::page_bytes;  // as host/partition.hpp has it
  for (const u32 entry : {0u, machine::gicd.base, machine::ram_base - 4, memory_end, ~3u}) {
    CHECK_EQUAL(call(psci::cpu_on, 1, entry, 0).value, psci::invalid_address);
  }
}

// In Thumb state only Thumb code comes to its end; MRS does not tell of it.
void check_beginning(void (*entry)()) {
  const u32 place = reinterpret_cast<u32>(&beginning);
  beginning[2] = 0;
  for (u32 offset = 0; offset < sizeof beginning; offset += 4) hyp::Dccimvac::write(place + offset);
  hyp::dsb();
  CHECK_EQUAL(call(psci::cpu_on, 1, reinterpret_cast<u32>(entry), place).value, psci::success);
  wait_until_off(1);
  CHECK_EQUAL(beginning[0] & 0x1ff, 0x1d3);  // SVC, A, I and F masked
  CHECK_EQUAL(beginning[1], sctlr_reset);
  CHECK_EQUAL(beginning[1] & mmu_and_caches, 0);
  CHECK_EQUAL(beginning[2], place);
}

// Off and on again, as fast as it goes; on twice is refused as long as it is on.
void check_on_and_off() {
  for (u32 round = 1; round <= 50; ++round) {
    CHECK_EQUAL(start_vcpu(1, [] { runs = runs + 1; }), psci::success);
    wait_until_off(1);
    CHECK_EQUAL(runs, round);
  }
  CHECK_EQUAL(start_vcpu(1,
                         [] {
                           while (runs != 0) {
                           }
                         }),
              psci::success);
  const u32 again = start_vcpu(1, nullptr);
  CHECK(again == psci::on_pending || again == psci::already_on);
  CHECK(becomes([] { return call(psci::affinity_info, 1).value == psci::is_on; }));
  CHECK_EQUAL(start_vcpu(1, nullptr), psci::already_on);
  runs = 0;
  wait_until_off(1);
}

void check_allowance() {
  hyp::write32(allow, 3);
  CHECK_EQUAL(hyp::read32(allow), 0);
  CHECK_EQUAL(start_vcpu(2, [] { runs = 7; }), psci::success);
  wait_until_off(2);
  CHECK_EQUAL(runs, 7);
  CHECK_EQUAL(start_vcpu(3, nullptr), psci::denied);
  hyp::write32(allow, 2);
  CHECK_EQUAL(start_vcpu(2, nullptr), psci::denied);
}

// Standby: ends with an interrupt, masked or not, or does not begin when one waits.
void check_suspend() {
  gic::init();
  gic::enable(virtual_timer);
  const u64 end = counter() + ticks_of_us(2000);
  hyp::CntvCval::write(end);
  hyp::CntvCtl::write(1);
  for (const u32 state : {1u << 17, 1u << 24, 1u << 31}) {
    CHECK_EQUAL(call(psci::cpu_suspend, state, 0, 0).value, psci::invalid_parameters);
  }
  CHECK_EQUAL(call(psci::cpu_suspend, 0, 0, 0).value, psci::success);
  CHECK(counter() >= end);
  CHECK_EQUAL(call(psci::cpu_suspend, 1u << 16, machine::ram_base, 0).value, psci::success);  // power down, as standby
  CHECK_EQUAL(call(psci::cpu_suspend, 0, 0, 0).value, psci::success);
  CHECK_EQUAL(gic::acknowledge(), virtual_timer);
  hyp::CntvCtl::write(0);
  gic::end(virtual_timer);
}

}  // namespace

void guest_main() {
  check_names();
  check_affinity();
  check_refused();
  check_beginning(&observe_arm);
  check_beginning(&observe_thumb);
  check_on_and_off();
  check_allowance();
  check_suspend();
}
