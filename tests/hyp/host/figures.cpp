// SPDX-License-Identifier: Apache-2.0
// What only a host can measure: the time from reset to its first instruction, and the pages that are left while two
// instances of 192 MiB have all of theirs (the shape that Xen was measured with).
#include "machine/phone.hpp"
#include "tests/hyp/host/before.hpp"
#include "tests/hyp/host/partition.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {
namespace {

constexpr u32 pages_each = (192u << 20) / AMPHION_PAGE_BYTES;
struct Pages {
  alignas(AMPHION_PAGE_BYTES) amphion_request_page requests;
  alignas(AMPHION_PAGE_BYTES) u32 registers[AMPHION_PAGE_BYTES / 4];
};
Pages pages[2];

amphion_info info() {
  must(AMPHION_HC_INFO, bounce_page());
  return bounced<amphion_info>();
}

u32 make_populated(Pages& host) {
  bounced<amphion_config>() = {.vcpus = 1,
                               .vcpus_allowed = 1,
                               .memory_pages = pages_each,
                               .bound_pages = pages_each,
                               .request_page = reinterpret_cast<u32>(&host.requests),
                               .register_page = reinterpret_cast<u32>(&host.registers)};
  const u32 id = must(AMPHION_HC_CREATE, bounce_page());
  for (u32 index = 0; index < pages_each; ++index) must(AMPHION_HC_PAGE, id, index);
  return id;
}

void measure_memory() {
  const u32 first = make_populated(pages[0]), second = make_populated(pages[1]);
  say("value left_pages ", info().pool_free_pages, " 1");
  must(AMPHION_HC_DESTROY, first);
  must(AMPHION_HC_DESTROY, second);
}

}  // namespace

void before_suite() {
  say("value boot_ticks ", static_cast<u32>(counter()), " 1");  // the host's counter begins at reset
  measure_memory();
}

}  // namespace amphion::lab
