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

// Every page that is touched is kept, however blocks came with them; when there is no more the host takes `spare_page`
// away, and the touch that waited goes on.
void check_bound() {
  constexpr u32 spare_page = 1000;
  constexpr u32 others = 64;  // at least so many fewer than the bound are the image's, and zeros that came lately
  write32(address_of(spare_page), 1);
  write32(spare, spare_page);
  const u32 end = memory_bytes / machine::page_bytes;
  u32 page = end;
  while (read32(shortages) == 0) {
    --page;
    write32(address_of(page), page);
  }
  CHECK(end - page + others >= bound_pages);
  CHECK_EQUAL(read32(populated), bound_pages);
  u32 changed = 0;
  for (u32 kept_page = page; kept_page < end; ++kept_page) changed |= read32(address_of(kept_page)) ^ kept_page;
  CHECK_EQUAL(changed, 0);
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
