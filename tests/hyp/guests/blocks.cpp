// SPDX-License-Identifier: Apache-2.0
// Memory that comes in blocks of 2 MiB once the hypervisor has scrubbed some in its idle time: as zeros, a page of it
// can be given back, and what moves to another instance arrives whole.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32, hyp::write32;

namespace {

constexpr u32 block_pages = 512;
constexpr u32 first_page = 4 * block_pages;  // nothing has been touched there
u32 address_of(u32 page) { return machine::ram_base + page * machine::page_bytes; }

// So that a CPU has nothing to do.
void sleep() {
  hyp::CntvCval::write(counter() + ticks_of_us(5000));
  hyp::CntvCtl::write(1);
  u32 taken;
  do wait();
  while ((taken = gic::acknowledge()) == gic::none);
  hyp::CntvCtl::write(0);
  gic::end(taken);
}

void fill() {
  for (u32 page = first_page; page < first_page + block_pages; ++page) {
    CHECK_EQUAL(read32(address_of(page)), 0);
    CHECK_EQUAL(read32(address_of(page) + machine::page_bytes - 4), 0);
    write32(address_of(page), page);
  }
}

void check_filled(u32 but) {
  u32 changed = 0;
  for (u32 page = first_page; page < first_page + block_pages; ++page) {
    if (page != but) changed |= read32(address_of(page)) ^ page;
  }
  CHECK_EQUAL(changed, 0);
}

}  // namespace

void guest_main() {
  gic::init();
  gic::enable(virtual_timer);
  CHECK(becomes([] {
    sleep();
    return read32(clean_pages) >= 16 * block_pages;
  }));
  const u32 before = read32(populated);
  write32(address_of(first_page + 3), 0);
  CHECK_EQUAL(read32(populated), before + block_pages);
  fill();
  CHECK_EQUAL(read32(populated), before + block_pages);
  constexpr u32 gone = first_page + 77;
  write32(discard, gone);
  CHECK_EQUAL(read32(populated), before + block_pages - 1);
  CHECK_EQUAL(read32(address_of(gone)), 0);
  check_filled(gone);
  const u64 begin = counter();
  const u32 board_begin = read32(board_ticks);
  write32(pause, 0);
  CHECK(becomes([=] { return read32(board_ticks) - board_begin > counter() - begin + ticks_of_us(1500); }));
  check_filled(gone);
  CHECK_EQUAL(read32(address_of(gone)), 0);
}
