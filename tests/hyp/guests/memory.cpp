// SPDX-License-Identifier: Apache-2.0
// Where an instance's world ends: what belongs to nobody, or to the hypervisor, faults; memory that was given back
// reads as zeros; beyond the bound a touch waits until there is room.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/lab.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32, hyp::write32;

namespace {

constexpr u32 external_abort = 0x210;  // synchronous, long descriptors
constexpr u32 write_not_read = 1u << 11;
constexpr u32 memory_bytes = 4096 * 4096, bound_pages = 1024;  // as host/partition.hpp has them

u32 address_of(u32 page) { return machine::ram_base + page * machine::page_bytes; }

void check_abort(const Fault& fault, Kind kind, u32 address) {
  CHECK(fault.kind == kind);
  CHECK_EQUAL(fault.count, 1);
  CHECK_EQUAL(fault.address, address);
  CHECK_EQUAL(fault.status & ~write_not_read, external_abort);
}

void check_nobodys(u32 address) {
  check_abort(fault_of([=] { static_cast<void>(read32(address)); }), Kind::data, address);
  check_abort(fault_of([=] { write32(address, 1); }), Kind::data, address);
}

void check_not_executable(u32 address) {
  check_abort(fault_of([=] { reinterpret_cast<void (*)()>(address)(); }), Kind::prefetch, address);
}

void check_discarded(u32 page) {
  const u32 address = address_of(page);
  write32(address, 0x1234'5678);
  write32(address + machine::page_bytes - 4, 0x9abc'def0);
  write32(discard, page);
  CHECK_EQUAL(read32(address), 0);
  CHECK_EQUAL(read32(address + machine::page_bytes - 4), 0);
}

// The host takes `spare_page` away when the bound is reached; the touch that waited then goes on.
void check_bound() {
  constexpr u32 spare_page = 1000;
  write32(address_of(spare_page), 1);
  write32(spare, spare_page);
  u32 page = memory_bytes / machine::page_bytes;
  while (read32(populated) < bound_pages) --page, write32(address_of(page), page);
  const u32 beyond = address_of(page - 1);
  write32(beyond, 7);
  CHECK_EQUAL(read32(beyond), 7);
  CHECK_EQUAL(read32(populated), bound_pages);
  CHECK_EQUAL(read32(address_of(page)), page);
}

}  // namespace

void guest_main() {
  for (const u32 address : {0u, 0x07ff'fffcu, 0x0801'2000u, 0x0802'0000u, 0x0803'0000u, 0x0804'0000u, 0x08ff'fffcu,
                            machine::ram_base + memory_bytes, 0x8000'0000u, 0xffff'fffcu}) {
    check_nobodys(address);
  }
  for (const u32 address : {machine::ram_base + memory_bytes, 0x8000'0000u, 0xffff'f000u})
    check_not_executable(address);
  for (const u32 page : {600u, 601u, 4095u}) check_discarded(page);
  check_bound();
}
