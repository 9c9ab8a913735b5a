// SPDX-License-Identifier: Apache-2.0
// Instances by hypercall; see partition.hpp.
#include "tests/hyp/host/partition.hpp"

#include <array>

#include "hyp/psr.hpp"
#include "machine/phone.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/lab.hpp"

extern "C" void* memcpy(void* to, const void* from, std::size_t bytes);

namespace amphion::lab {

alignas(AMPHION_PAGE_BYTES) hyp::u8 bounce[AMPHION_PAGE_BYTES];

namespace {

constexpr u32 page_bytes = AMPHION_PAGE_BYTES;

struct alignas(page_bytes) RequestPage {
  amphion_request_page page;
};
RequestPage request_pages[most_instances];
alignas(page_bytes) u32 register_pages[most_instances][page_bytes / 4];

struct Saved {
  std::array<amphion_vcpu, AMPHION_MAX_VCPUS> vcpu;
  amphion_gic gic;
  amphion_uart uart;
  u64 counter;
  u32 pages;
  std::array<u32, bound_pages> index;
};
Saved saved;
__attribute__((section(".stacks"))) alignas(page_bytes) hyp::u8
    saved_pages[bound_pages][page_bytes];  // not in the image

// The host sees all memory where it is.
hyp::u8* page_of(u32 id, u32 index) {
  return reinterpret_cast<hyp::u8*>(must(AMPHION_HC_PAGE, id, index) * page_bytes);
}

void save_pages(u32 id) {
  using Words = std::array<u32, AMPHION_BITMAP_PAGES / 32>;
  must(AMPHION_HC_BITMAP, id, AMPHION_BITMAP_POPULATED, bounce_page());
  const Words populated = bounced<Words>();
  saved.pages = 0;
  for (u32 index = 0; index < instance_pages; ++index) {
    if ((populated[index / 32] >> index % 32 & 1) == 0) continue;
    saved.index[saved.pages] = index;
    memcpy(saved_pages[saved.pages++], page_of(id, index), page_bytes);
  }
}

void save(u32 id, u32 vcpus) {
  for (u32 v = 0; v < vcpus; ++v) {
    must(AMPHION_HC_VCPU_GET, id, v, bounce_page());
    saved.vcpu[v] = bounced<amphion_vcpu>();
  }
  must(AMPHION_HC_GIC_GET, id, bounce_page());
  saved.gic = bounced<amphion_gic>();
  must(AMPHION_HC_UART, id, AMPHION_UART_GET, bounce_page());
  saved.uart = bounced<amphion_uart>();
  must(AMPHION_HC_COUNTER, id, bounce_page(), 0);
  saved.counter = bounced<u64>();
  save_pages(id);
}

void restore(u32 id, u32 vcpus) {
  for (u32 i = 0; i < saved.pages; ++i) memcpy(page_of(id, saved.index[i]), saved_pages[i], page_bytes);
  for (u32 v = 0; v < vcpus; ++v) {
    bounced<amphion_vcpu>() = saved.vcpu[v];
    must(AMPHION_HC_VCPU_SET, id, v, bounce_page());
  }
  bounced<amphion_gic>() = saved.gic;
  must(AMPHION_HC_GIC_SET, id, bounce_page());
  bounced<amphion_uart>() = saved.uart;
  must(AMPHION_HC_UART, id, AMPHION_UART_SET, bounce_page());
  bounced<u64>() = saved.counter;
  must(AMPHION_HC_COUNTER, id, bounce_page(), 1);
}

}  // namespace

u32 must(u32 function, u32 a, u32 b, u32 c) {
  const Answer answer = call(function, a, b, c);
  if (answer.value != 0) {
    say("hypercall ", function & 0xff, " of the host answered -", 0u - answer.value);
    FAIL("a hypercall of the host was refused");
  }
  return answer.second;
}

amphion_request_page& Partition::requests() const { return request_pages[number_].page; }

u32* Partition::registers() const { return register_pages[number_]; }

void Partition::make(const Test& test) {
  requests() = {};
  for (u32 offset = 0; offset < page_bytes; offset += 4) registers()[offset / 4] = pattern(offset);
  bounced<amphion_config>() = {.vcpus = test.vcpus,
                               .vcpus_allowed = test.allowed,
                               .memory_pages = instance_pages,
                               .bound_pages = bound_pages,
                               .request_page = reinterpret_cast<u32>(&requests()),
                               .register_page = reinterpret_cast<u32>(registers())};
  id_ = must(AMPHION_HC_CREATE, bounce_page());
}

void Partition::destroy() {
  must(AMPHION_HC_DESTROY, id_);
  id_ = 0;
}

void Partition::create(const Test& test, u32 number) {
  number_ = number;
  make(test);
  for (u32 offset = 0; offset < test.image.size(); offset += page_bytes) {
    const u32 left = static_cast<u32>(test.image.size()) - offset;
    memcpy(page_of(id_, offset / page_bytes), test.image.data() + offset, left < page_bytes ? left : page_bytes);
  }
  must(AMPHION_HC_VCPU_GET, id_, 0, bounce_page());
  amphion_vcpu& first = bounced<amphion_vcpu>();
  first.power = 1;
  first.pc = machine::ram_base;
  must(AMPHION_HC_VCPU_SET, id_, 0, bounce_page());
}

void Partition::move(const Test& test) {
  save(id_, test.vcpus);
  destroy();
  make(test);
  restore(id_, test.vcpus);
}

u32 Partition::take_events() { return __atomic_exchange_n(&requests().events, 0, __ATOMIC_ACQUIRE); }

u32 Partition::take_rung() { return __atomic_exchange_n(&requests().rung, 0, __ATOMIC_ACQUIRE); }

u32 Partition::take_doorbell(u32 slot) { return __atomic_exchange_n(&requests().doorbell[slot], 0, __ATOMIC_ACQUIRE); }

const amphion_bytes& Partition::take_sent() {
  must(AMPHION_HC_UART, id_, AMPHION_UART_TAKE, bounce_page());
  return bounced<amphion_bytes>();
}

u32 Partition::give(u32 count, char byte) {
  amphion_bytes& bytes = bounced<amphion_bytes>();
  bytes.count = count;
  for (u32 i = 0; i < count; ++i) bytes.data[i] = static_cast<hyp::u8>(byte);
  return must(AMPHION_HC_UART, id_, AMPHION_UART_GIVE, bounce_page());
}

amphion_slot* Partition::pending(u32 vcpu) {
  amphion_slot& slot = requests().slot[vcpu];
  return __atomic_load_n(&slot.state, __ATOMIC_ACQUIRE) == AMPHION_SLOT_PENDING ? &slot : nullptr;
}

void Partition::complete(u32 vcpu, u32 data) {
  amphion_slot& slot = requests().slot[vcpu];
  slot.data = data;
  __atomic_store_n(&slot.state, AMPHION_SLOT_COMPLETE, __ATOMIC_RELEASE);
  must(AMPHION_HC_IO_DONE, id_, vcpu);
}

}  // namespace amphion::lab
