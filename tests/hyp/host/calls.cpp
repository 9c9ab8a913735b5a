// SPDX-License-Identifier: Apache-2.0
// Hypercalls with arguments at and beyond their bounds; see before.hpp. Each check has the first value that is refused.
#include "machine/phone.hpp"
#include "tests/hyp/host/before.hpp"
#include "tests/hyp/host/partition.hpp"
#include "tests/hyp/runtime/check.hpp"

namespace amphion::lab {
namespace {

alignas(AMPHION_PAGE_BYTES) amphion_request_page requests;
alignas(AMPHION_PAGE_BYTES) u32 registers[AMPHION_PAGE_BYTES / 4];

constexpr u32 good_pages = 4096;

#define CHECK_ERROR(answer, wanted) CHECK_EQUAL(static_cast<u32>(error_of(answer)), static_cast<u32>(wanted))

amphion_config good_config() {
  return {.vcpus = AMPHION_MAX_VCPUS,
          .vcpus_allowed = 1,
          .memory_pages = good_pages,
          .bound_pages = good_pages,
          .request_page = reinterpret_cast<u32>(&requests),
          .register_page = reinterpret_cast<u32>(&registers)};
}
Answer create(const amphion_config& config) {
  bounced<amphion_config>() = config;
  return call(AMPHION_HC_CREATE, bounce_page());
}
u32 free_pages() {
  must(AMPHION_HC_INFO, bounce_page());
  return bounced<amphion_info>().pool_free_pages;
}

// Pages that are not the host's, or not pages.
template <typename Call>
void check_page_argument(Call with_page) {
  for (const u32 page : {0u, 1u, bounce_page() + 4, machine::pl011.base, machine::ram_base, 0x4000'0000u - 4096,
                         0x5800'0000u, 0xffff'f000u}) {
    CHECK_ERROR(with_page(page), AMPHION_EINVAL);
  }
}

template <typename Change>
void check_config(Change change) {
  amphion_config config = good_config();
  change(config);
  CHECK_ERROR(create(config), AMPHION_EINVAL);
}

void check_create() {
  check_page_argument([](u32 page) { return call(AMPHION_HC_CREATE, page); });
  check_config([](amphion_config& c) { c.vcpus = 0; });
  check_config([](amphion_config& c) { c.vcpus = AMPHION_MAX_VCPUS + 1; });
  check_config([](amphion_config& c) { c.vcpus_allowed = 0; });
  check_config([](amphion_config& c) { c.vcpus = 2, c.vcpus_allowed = 3; });
  check_config([](amphion_config& c) { c.memory_pages = 0; });
  check_config([](amphion_config& c) { c.memory_pages = 524289; });
  check_config([](amphion_config& c) { c.memory_pages = ~0u; });
  check_config([](amphion_config& c) { c.bound_pages = 0; });
  check_config([](amphion_config& c) { c.bound_pages = c.memory_pages + 1; });
  for (const u64 page : {u64{0}, u64{1}, u64{0x4000'0000}, u64{0xffff'f000}, u64{1} << 32, ~u64{0} - 4095}) {
    check_config([page](amphion_config& c) { c.request_page = page; });
    check_config([page](amphion_config& c) { c.register_page = page; });
  }
  check_config([](amphion_config& c) { c.register_page = c.request_page; });
  amphion_config large = good_config();
  large.memory_pages = large.bound_pages = 524288;
  CHECK_ERROR(create(large), AMPHION_ENOMEM);
}

// Every call that names an instance.
void check_unknown_instance() {
  for (u32 function = AMPHION_HC_DESTROY; function <= AMPHION_HC_UART; ++function) {
    if (function == AMPHION_HC_EVENTS || function == AMPHION_HC_YIELD) continue;
    for (const u32 id : {0u, 1u, AMPHION_MAX_INSTANCES, AMPHION_MAX_INSTANCES + 1, ~0u}) {
      CHECK_ERROR(call(function, id, 0, bounce_page()), AMPHION_ENOENT);
    }
  }
  for (const u32 function : {AMPHION_HC_END, AMPHION_HC(0xffff), 0u, 0x8400'0007u, 0xc400'0003u, ~0u}) {
    CHECK_EQUAL(call(function, 1).value, psci::not_supported);
  }
}

void check_memory_calls(u32 id) {
  CHECK_ERROR(call(AMPHION_HC_PAGE, id, good_pages), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_PAGE, id, ~0u), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_DISCARD, id, 0, good_pages + 1), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_DISCARD, id, good_pages, 1), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_DISCARD, id, 1, ~0u), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_DISCARD, id, ~0u, 2), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_LOG, id, 2), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_LOG, id, 1, 1), AMPHION_EINVAL);  // where pieces do not begin
  CHECK_ERROR(call(AMPHION_HC_LOG, id, 1, good_pages), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, 1u << 4, bounce_page()), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, 1u << 14, bounce_page()), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, AMPHION_BITMAP_DIRTY, bounce_page()), AMPHION_EINVAL);  // the log is off
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, AMPHION_BITMAP_DIRTY + 1, bounce_page()), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, AMPHION_BITMAP_PAGES, bounce_page()), AMPHION_EINVAL);
  check_page_argument([id](u32 page) { return call(AMPHION_HC_BITMAP, id, 0, page); });
}

// Calls that are made in pieces come back when all is done, and an instance that is larger than a piece ends whole.
void check_pieces(u32 id) {
  constexpr u32 touched[] = {0, 1023, 1024, 2500, good_pages - 1};
  const auto populated = [id] {
    must(AMPHION_HC_STATS, id, bounce_page());
    return bounced<amphion_stats>().populated_pages;
  };
  for (const u32 page : touched) must(AMPHION_HC_PAGE, id, page);
  CHECK_EQUAL(populated(), 5);
  CHECK_ERROR(call(AMPHION_HC_LOG, id, 1), 0);
  CHECK_ERROR(call(AMPHION_HC_DISCARD, id, 1, good_pages - 2), 0);
  CHECK_EQUAL(populated(), 2);
  CHECK_ERROR(call(AMPHION_HC_BITMAP, id, AMPHION_BITMAP_DIRTY, bounce_page()), 0);
  for (const u32 page : {1023u, 1024u, 2500u}) CHECK(bounced<u32[good_pages / 32]>()[page / 32] >> page % 32 & 1);
  CHECK_EQUAL(bounced<u32[good_pages / 32]>()[0] & 1, 0);
  CHECK_ERROR(call(AMPHION_HC_LOG, id, 0), 0);
}

// Nobody may be given a way out of the guest's modes.
void check_vcpu_modes(u32 id) {
  constexpr u32 user = 0x10, monitor = 0x16, hyp_mode = 0x1a, jazelle = 1u << 24;
  must(AMPHION_HC_VCPU_GET, id, 0, bounce_page());
  const amphion_vcpu good = bounced<amphion_vcpu>();
  const auto set = [id, &good](auto change) {
    bounced<amphion_vcpu>() = good;
    change(bounced<amphion_vcpu>());
    return call(AMPHION_HC_VCPU_SET, id, 0, bounce_page());
  };
  for (const u32 mode : {0u, monitor, hyp_mode, 0x1cu}) {
    CHECK_ERROR(set([mode](amphion_vcpu& s) { s.cpsr = mode; }), AMPHION_EINVAL);
  }
  CHECK_ERROR(set([](amphion_vcpu& s) { s.cpsr |= jazelle; }), AMPHION_EINVAL);
  CHECK_ERROR(set([](amphion_vcpu& s) { s.power = 2; }), AMPHION_EINVAL);
  CHECK_ERROR(set([](amphion_vcpu& s) { s.cntv_ctl = 4; }), AMPHION_EINVAL);
  CHECK_ERROR(set([](amphion_vcpu& s) { s.cntp_ctl = 4; }), AMPHION_EINVAL);
  CHECK_ERROR(set([](amphion_vcpu& s) { s.cpsr = user; }), 0);
  CHECK_ERROR(set([](amphion_vcpu&) {}), 0);
}

void check_state_calls(u32 id) {
  for (const u32 function : {AMPHION_HC_VCPU_GET, AMPHION_HC_VCPU_SET}) {
    CHECK_ERROR(call(function, id, AMPHION_MAX_VCPUS, bounce_page()), AMPHION_ENOENT);
    check_page_argument([=](u32 page) { return call(function, id, 0, page); });
  }
  for (const u32 function : {AMPHION_HC_GIC_GET, AMPHION_HC_GIC_SET, AMPHION_HC_COUNTER, AMPHION_HC_STATS}) {
    check_page_argument([=](u32 page) { return call(function, id, page, 0); });
  }
  CHECK_ERROR(call(AMPHION_HC_COUNTER, id, bounce_page(), 2), AMPHION_EINVAL);
  check_vcpu_modes(id);
}

void check_line_calls(u32 id) {
  for (const u32 intid : {0u, 31u, AMPHION_IRQ_LINES, ~0u})
    CHECK_ERROR(call(AMPHION_HC_IRQ, id, intid, 1), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_IRQ, id, 32, 2), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_VIRTIO_IRQ, id, AMPHION_VIRTIO_SLOTS, 1), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_VIRTIO_IRQ, id, 0, 0x1'0000), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_ALLOW, id, 0), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_ALLOW, id, AMPHION_MAX_VCPUS + 1), AMPHION_EINVAL);
  CHECK_ERROR(call(AMPHION_HC_IO_DONE, id, AMPHION_MAX_VCPUS), AMPHION_ENOENT);
  CHECK_ERROR(call(AMPHION_HC_IO_DONE, id, 0), AMPHION_ESTATE);  // no access is under way
  requests.slot[0].state = AMPHION_SLOT_COMPLETE;
  CHECK_ERROR(call(AMPHION_HC_IO_DONE, id, 0), AMPHION_ESTATE);  // ... whatever the page says
  requests.slot[0].state = AMPHION_SLOT_FREE;
  CHECK_ERROR(call(AMPHION_HC_PAUSE, id), AMPHION_ESTATE);
}

void check_uart_calls(u32 id) {
  for (u32 what = AMPHION_UART_TAKE; what <= AMPHION_UART_SET; ++what) {
    check_page_argument([=](u32 page) { return call(AMPHION_HC_UART, id, what, page); });
  }
  CHECK_ERROR(call(AMPHION_HC_UART, id, AMPHION_UART_SET + 1, bounce_page()), AMPHION_EINVAL);
  bounced<amphion_bytes>().count = sizeof(amphion_bytes::data) + 1;
  CHECK_ERROR(call(AMPHION_HC_UART, id, AMPHION_UART_GIVE, bounce_page()), AMPHION_EINVAL);
  must(AMPHION_HC_UART, id, AMPHION_UART_GET, bounce_page());
  bounced<amphion_uart>().received = AMPHION_UART_FIFO + 1;
  CHECK_ERROR(call(AMPHION_HC_UART, id, AMPHION_UART_SET, bounce_page()), AMPHION_EINVAL);
}

void check_log_calls() {
  check_page_argument([](u32 page) { return call(AMPHION_HC_LAST_LOG, page, 0); });
  for (const u32 from : {1u, AMPHION_PAGE_BYTES - 1, ~0u}) {
    CHECK_ERROR(call(AMPHION_HC_LAST_LOG, bounce_page(), from), AMPHION_EINVAL);
  }
  CHECK_EQUAL(must(AMPHION_HC_LAST_LOG, bounce_page(), 0), 0);  // the board was switched on just now
  CHECK_EQUAL(must(AMPHION_HC_LAST_LOG, bounce_page(), 0u - AMPHION_PAGE_BYTES), 0);
  check_page_argument([](u32 page) { return call(AMPHION_HC_LAST_WORDS, page, 1); });
  for (const u32 bytes : {AMPHION_PAGE_BYTES + 1, ~0u}) {
    CHECK_ERROR(call(AMPHION_HC_LAST_WORDS, bounce_page(), bytes), AMPHION_EINVAL);
  }
  for (u32 i = 0; i < 100; ++i) must(AMPHION_HC_LAST_WORDS, bounce_page(), AMPHION_PAGE_BYTES);  // more than it holds
}

void check_sched_calls() {
  check_page_argument([](u32 page) { return call(AMPHION_HC_SCHED, page, 0); });
  CHECK_ERROR(call(AMPHION_HC_SCHED, bounce_page(), 2), AMPHION_EINVAL);
  must(AMPHION_HC_SCHED, bounce_page(), 0);
  const amphion_sched as_booted = bounced<amphion_sched>();
  const auto refused = [&](u32 amphion_sched::*field, u32 value) {
    amphion_sched& wanted = bounced<amphion_sched>();
    wanted = as_booted;
    wanted.policy = AMPHION_SCHED_DFT;
    wanted.*field = value;
    CHECK_ERROR(call(AMPHION_HC_SCHED, bounce_page(), 1), AMPHION_EINVAL);
    must(AMPHION_HC_SCHED, bounce_page(), 0);
    CHECK_EQUAL(bounced<amphion_sched>().policy, as_booted.policy);
  };
  for (const u32 value : {AMPHION_SCHED_SBCO + 1, ~0u}) refused(&amphion_sched::policy, value);
  for (const u32 value : {1025u, ~0u}) refused(&amphion_sched::threshold, value);
  for (const u32 value : {2u, ~0u}) refused(&amphion_sched::hand_over, value);
  for (const u32 value : {0u, AMPHION_SCHED_SHORTEST_US - 1, AMPHION_SCHED_LONGEST_US + 1, ~0u}) {
    refused(&amphion_sched::latency_us, value);
    refused(&amphion_sched::granularity_us, value);
  }
  for (u32 policy = AMPHION_SCHED_DFT; policy <= AMPHION_SCHED_SBCO; ++policy) {
    bounced<amphion_sched>() = as_booted;
    bounced<amphion_sched>().policy = policy;
    must(AMPHION_HC_SCHED, bounce_page(), 1);
    must(AMPHION_HC_SCHED, bounce_page(), 0);
    CHECK_EQUAL(bounced<amphion_sched>().policy, policy);
  }
}

// Times are those of now: of a CPU that idles meanwhile, too.
void check_sched_times() {
  must(AMPHION_HC_SCHED, bounce_page(), 0);
  const amphion_sched before = bounced<amphion_sched>();
  must(AMPHION_HC_SCHED, bounce_page(), 0);
  const amphion_sched& after = bounced<amphion_sched>();
  CHECK(before.host[0].run_ns != 0 && before.host[0].run_ns <= after.cpu[0].run_ns);
  CHECK(after.cpu[0].run_ns > before.cpu[0].run_ns);
  CHECK(after.cpu[0].idle_ns == before.cpu[0].idle_ns);
  for (u32 cpu = 1; cpu < after.cpus; ++cpu) {
    CHECK(after.cpu[cpu].idle_ns > before.cpu[cpu].idle_ns);
    CHECK(after.host[cpu].switches == 0);  // it is off
  }
  for (u32 cpu = after.cpus; cpu < AMPHION_MAX_CPUS; ++cpu) CHECK(after.cpu[cpu].run_ns + after.cpu[cpu].idle_ns == 0);
}

// As many as there may be, and none is lost.
void check_all_instances(u32 free_before) {
  u32 ids = 0;
  amphion_config small = good_config();
  small.bound_pages = 1;
  for (u32 n = 0; n < AMPHION_MAX_INSTANCES; ++n) {
    const Answer answer = create(small);
    CHECK_ERROR(answer, 0);
    ids |= 1u << answer.second;
  }
  CHECK_EQUAL(ids, ((1u << AMPHION_MAX_INSTANCES) - 1) << 1);
  CHECK_ERROR(create(small), AMPHION_ENOMEM);
  for (u32 id = 1; id <= AMPHION_MAX_INSTANCES; ++id) must(AMPHION_HC_DESTROY, id);
  CHECK_EQUAL(free_pages(), free_before);
}

}  // namespace

void before_suite() {
  say("test hypercalls");
  check_page_argument([](u32 page) { return call(AMPHION_HC_INFO, page); });
  const u32 free_before = free_pages();
  CHECK_EQUAL(bounced<amphion_info>().abi_version, AMPHION_ABI_VERSION);
  check_create();
  check_unknown_instance();
  CHECK_EQUAL(free_pages(), free_before);
  const Answer made = create(good_config());
  CHECK_ERROR(made, 0);
  check_memory_calls(made.second);
  check_pieces(made.second);
  check_state_calls(made.second);
  check_line_calls(made.second);
  check_uart_calls(made.second);
  must(AMPHION_HC_DESTROY, made.second);
  CHECK_ERROR(call(AMPHION_HC_DESTROY, made.second), AMPHION_ENOENT);
  check_all_instances(free_before);
  check_log_calls();
  check_sched_calls();
  check_sched_times();
  say("passed all checks of the host's calls");
  say("end hypercalls off");
}

}  // namespace amphion::lab
