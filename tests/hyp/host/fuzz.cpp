// SPDX-License-Identifier: Apache-2.0
// The host that fuzzes: in each round a victim and a tame hostile instance, both served as a host should, and two wild
// ones whose every management call is made at random, too: states, ids, pages and counts, in any order. Prints
//   round N seed S: O operations, C calls
// and ends the board after the last round or at the first thing that is wrong ("FAILED"). tests/fuzz/board.py writes
// seed and time into the image. Nothing here waits for an answer that an instance under attack owes.
#include "board/qemu-virt/board.hpp"
#include "machine/phone.hpp"
#include "tests/hyp/host/partition.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/random.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

extern "C" void* memcpy(void* to, const void* from, std::size_t bytes);

namespace amphion::lab {
namespace {

// Found by its mark and filled in by tests/fuzz/board.py.
struct Order {
  char mark[16];
  u32 seed, rounds, round_ms;
};
volatile const Order order{
    {'A', 'M', 'P', 'H', 'I', 'O', 'N', ' ', 'F', 'U', 'Z', 'Z', ' ', '0', '1', '\n'}, 1, 3, 1000};

constexpr u32 patience_us = 10'000'000;
constexpr u32 wild_instances = 2, pages_to_give = 2 * AMPHION_MAX_INSTANCES;
const Test& victim_test() { return suite()[0]; }
const Test& hostile_test() { return suite()[1]; }

Random noise;
u32 operations_done = 0, calls_made = 0;
alignas(AMPHION_PAGE_BYTES) hyp::u8 scratch[2][AMPHION_PAGE_BYTES];            // what random calls read and write
alignas(AMPHION_PAGE_BYTES) hyp::u8 given[pages_to_give][AMPHION_PAGE_BYTES];  // request and register pages

u32 address_of(const void* place) { return reinterpret_cast<u32>(place); }

// What a guest's console line came to.
struct Said {
  char text[120];
  u32 bytes = 0;
  bool failed = false, passed = false;
};

bool begins(const Said& said, const char* words) {
  for (u32 i = 0; words[i] != '\0'; ++i) {
    if (i >= said.bytes || said.text[i] != words[i]) return false;
  }
  return true;
}

void hear(Said& said, char c) {
  if (c != '\n') {
    if (said.bytes < sizeof said.text - 1) said.text[said.bytes++] = c;
    return;
  }
  said.text[said.bytes] = '\0';
  said.passed = said.passed || begins(said, "passed");
  if (!begins(said, "passed")) say("[victim] ", static_cast<const char*>(said.text));
  said.bytes = 0;
}

// One that is served in order.
struct Served {
  Partition partition;
  Said said;
  u32 seed = 0;
  bool over = false;
};
Served victim, tame;
bool victim_may_end = false;

u32 answer_read(const Served& one, u32 address) {
  if (address == seed) return one.seed;
  if (address == enough) return victim_may_end ? 1 : 0;
  return pattern(address);
}

void take_write(const amphion_slot& slot) {
  if (slot.bytes != 4) return;
  if (slot.address == operations && slot.data == 64) operations_done += slot.data;
  if (slot.address != complaint || (slot.data & 0xffff'0000) != complaint_mark) return;
  say("FAILED: a hostile guest got an answer that it must not get, operation ", slot.data & 0xffff);
  power_off();
}

void serve(Served& one, const Test& test) {
  const u32 events = one.partition.take_events();
  if ((one.partition.take_rung() & AMPHION_RUNG_UART) != 0) {
    const amphion_bytes sent = one.partition.take_sent();
    if (&one == &victim) {
      for (u32 i = 0; i < sent.count; ++i) hear(one.said, static_cast<char>(sent.data[i]));
    }
  }
  for (u32 vcpu = 0; vcpu < test.vcpus; ++vcpu) {
    const amphion_slot* slot = one.partition.pending(vcpu);
    if (slot == nullptr) continue;
    if (slot->write != 0) take_write(*slot);
    one.partition.complete(vcpu, slot->write != 0 ? 0 : answer_read(one, slot->address));
  }
  if ((events & AMPHION_EVENT_OUT_OF_MEMORY) != 0)
    must(AMPHION_HC_DISCARD, one.partition.id(), bound_pages, bound_pages);
  if ((events & (AMPHION_EVENT_SYSTEM_OFF | AMPHION_EVENT_SYSTEM_RESET | AMPHION_EVENT_PAUSED)) != 0) one.over = true;
}

void start(Served& one, const Test& test, u32 number) {
  one.over = false;
  one.seed = noise() & ~1u;
  one.partition.create(test, number);
  one.partition.run();
}

// One that is attacked from both sides: its own, and this one.
struct Wild {
  u32 id = 0;
  u32 seed = 0;
};
Wild wild[wild_instances];

amphion_request_page& requests_of(u32 index) { return *reinterpret_cast<amphion_request_page*>(&given[index * 2]); }

Answer attempt(u32 function, u32 a = 0, u32 b = 0, u32 c = 0) {
  ++calls_made;
  return call(function, a, b, c);
}

// Its image into its memory, as far as that goes.
void fill(u32 id, const Test& test) {
  for (u32 offset = 0; offset < test.image.size(); offset += AMPHION_PAGE_BYTES) {
    const Answer page = attempt(AMPHION_HC_PAGE, id, offset / AMPHION_PAGE_BYTES);
    if (page.value != 0) return;
    const u32 left = static_cast<u32>(test.image.size()) - offset;
    memcpy(reinterpret_cast<void*>(page.second * AMPHION_PAGE_BYTES), test.image.data() + offset,
           left < AMPHION_PAGE_BYTES ? left : AMPHION_PAGE_BYTES);
  }
}

void start(Wild& one, u32 index) {
  requests_of(index) = {};
  bounced<amphion_config>() = {.vcpus = hostile_test().vcpus,
                               .vcpus_allowed = hostile_test().allowed,
                               .memory_pages = instance_pages,
                               .bound_pages = bound_pages,
                               .request_page = address_of(&given[index * 2]),
                               .register_page = address_of(&given[index * 2 + 1])};
  const Answer made = attempt(AMPHION_HC_CREATE, bounce_page());
  if (made.value != 0) return;
  one = {made.second, noise() | 1};
  fill(one.id, hostile_test());
  if (attempt(AMPHION_HC_VCPU_GET, one.id, 0, bounce_page()).value != 0) return;
  bounced<amphion_vcpu>().power = 1;
  bounced<amphion_vcpu>().pc = machine::ram_base;
  attempt(AMPHION_HC_VCPU_SET, one.id, 0, bounce_page());
  attempt(AMPHION_HC_RUN, one.id);
}

void serve(const Wild& one, u32 index) {
  amphion_request_page& page = requests_of(index);
  for (u32 vcpu = 0; vcpu < AMPHION_MAX_VCPUS; ++vcpu) {
    amphion_slot& slot = page.slot[vcpu];
    if (__atomic_load_n(&slot.state, __ATOMIC_ACQUIRE) != AMPHION_SLOT_PENDING) continue;
    if (slot.write != 0 && slot.address == operations && slot.data == 64) operations_done += 64;
    slot.data = slot.address == seed ? one.seed : noise.edge();
    __atomic_store_n(&slot.state, AMPHION_SLOT_COMPLETE, __ATOMIC_RELEASE);
    attempt(AMPHION_HC_IO_DONE, one.id, vcpu);
  }
}

bool is_served(u32 id) { return id == victim.partition.id() || id == tame.partition.id(); }

u32 any_id() {
  const u32 id = noise.one_in(4) ? noise.edge() : wild[noise.below(wild_instances)].id;
  return is_served(id) ? 0 : id;
}

// A page whose loss hurts nobody, or one that the host must not name.
u32 any_page() {
  constexpr u32 host_base = 0x4800'0000, host_end = 0x5800'0000;
  if (!noise.one_in(4)) return address_of(&scratch[noise.below(2)]);
  const u32 page = noise.edge();
  return page >= host_base && page < host_end ? page - host_base : page;
}

template <typename T>
void mutate(T* place) {
  u32* const words = reinterpret_cast<u32*>(place);
  for (u32 n = noise.below(6); n != 0; --n) words[noise.below(sizeof(T) / 4)] = noise.edge();
}

// What was got, changed here and there, and set again.
void set_state(u32 id) {
  const u32 vcpu = noise.below(AMPHION_MAX_VCPUS), page = address_of(&scratch[0]);
  switch (noise.below(4)) {
    case 0:
      attempt(AMPHION_HC_VCPU_GET, id, vcpu, page);
      mutate(reinterpret_cast<amphion_vcpu*>(page));
      attempt(AMPHION_HC_VCPU_SET, id, vcpu, page);
      return;
    case 1:
      attempt(AMPHION_HC_GIC_GET, id, page);
      mutate(reinterpret_cast<amphion_gic*>(page));
      attempt(AMPHION_HC_GIC_SET, id, page);
      return;
    case 2:
      attempt(AMPHION_HC_UART, id, AMPHION_UART_GET, page);
      mutate(reinterpret_cast<amphion_uart*>(page));
      attempt(AMPHION_HC_UART, id, AMPHION_UART_SET, page);
      return;
    default:
      mutate(reinterpret_cast<u64*>(page));
      attempt(AMPHION_HC_COUNTER, id, page, 1);
  }
}

void create_any() {
  const u32 pair = wild_instances + noise.below(AMPHION_MAX_INSTANCES - wild_instances);
  auto& config = *reinterpret_cast<amphion_config*>(&scratch[1]);
  config = {.vcpus = 1 + noise.below(5),
            .vcpus_allowed = 1 + noise.below(4),
            .memory_pages = noise.one_in(2) ? noise.edge() : 1 + noise.below(8192),
            .bound_pages = noise.one_in(2) ? noise.edge() : 1 + noise.below(8192),
            .request_page = address_of(&given[pair * 2]),
            .register_page = address_of(&given[pair * 2 + 1])};
  attempt(AMPHION_HC_CREATE, address_of(&config));
}

// The host's side of the request page, against the rules.
void scribble() { mutate(&requests_of(noise.below(wild_instances))); }

u32 third_argument(u32 function) {
  const bool page = function == AMPHION_HC_BITMAP || function == AMPHION_HC_VCPU_GET ||
                    function == AMPHION_HC_VCPU_SET || function == AMPHION_HC_UART;
  return page ? any_page() : noise.edge();
}
u32 second_argument(u32 function) {
  const bool page = function == AMPHION_HC_GIC_GET || function == AMPHION_HC_GIC_SET ||
                    function == AMPHION_HC_COUNTER || function == AMPHION_HC_STATS;
  return page ? any_page() : noise.edge();
}

bool page_comes_first(u32 function) {
  return function == AMPHION_HC_INFO || function == AMPHION_HC_CREATE || function == AMPHION_HC_LAST_LOG ||
         function == AMPHION_HC_LAST_WORDS || function == AMPHION_HC_SCHED;
}

void call_any() {
  const u32 function = AMPHION_HC_INFO + noise.below(AMPHION_HC_END - AMPHION_HC_INFO + 2);
  if (page_comes_first(function)) {
    attempt(function, any_page(), noise.edge());
  } else {
    attempt(function, any_id(), second_argument(function), third_argument(function));
  }
}

void attack() {
  const u32 id = any_id();
  switch (noise.below(16)) {
    case 0:
      return create_any();
    case 1:
      return scribble();
    case 2:
      return static_cast<void>(attempt(AMPHION_HC_RUN, id));
    case 3:
      return noise.one_in(4) ? static_cast<void>(attempt(AMPHION_HC_PAUSE, id)) : set_state(id);
    case 4:
      return static_cast<void>(attempt(AMPHION_HC_IRQ, id, 32 + noise.below(260), noise.below(2)));
    case 5:
      return static_cast<void>(attempt(AMPHION_HC_VIRTIO_IRQ, id, noise.below(9), noise() & 0xffff));
    case 6:
      return static_cast<void>(attempt(AMPHION_HC_DISCARD, id, noise.below(instance_pages), noise.below(64)));
    case 7:
      return static_cast<void>(attempt(AMPHION_HC_LOG, id, noise.below(2)));
    case 8:
    case 9:
    case 10:
      return set_state(id);
    default:
      return call_any();
  }
}

u32 state_of(u32 id) {
  must(AMPHION_HC_STATS, id, bounce_page());
  return bounced<amphion_stats>().state;
}

// Whatever else it is doing, an instance can be stopped and ended.
void end(u32 id) {
  const u64 late = counter() + ticks_of_us(patience_us);
  for (bool asked = false; state_of(id) != 0; asked = true) {
    if (!asked) attempt(AMPHION_HC_PAUSE, id);
    for (u32 vcpu = 0; vcpu < AMPHION_MAX_VCPUS; ++vcpu) {
      for (u32 pair = 0; pair < AMPHION_MAX_INSTANCES; ++pair)
        requests_of(pair).slot[vcpu].state = AMPHION_SLOT_COMPLETE;
      attempt(AMPHION_HC_IO_DONE, id, vcpu);
    }
    if (counter() > late) {
      say("FAILED: instance ", id, " does not stop");
      power_off();
    }
  }
  must(AMPHION_HC_DESTROY, id);
}

void end_all_but_served() {
  for (u32 id = 1; id <= AMPHION_MAX_INSTANCES; ++id) {
    if (!is_served(id) && attempt(AMPHION_HC_STATS, id, bounce_page()).value == 0) end(id);
  }
  for (Wild& one : wild) one = {};
}

void rest() {
  hyp::CntvCval::write(counter() + ticks_of_us(noise.below(200)));
  hyp::CntvCtl::write(1);
  wait();
  for (u32 taken; (taken = gic::acknowledge()) < machine::irq_lines;) {
    hyp::CntvCtl::write(0);
    gic::end(taken);
  }
}

void serve_all() {
  serve(victim, victim_test());
  serve(tame, hostile_test());
  for (u32 i = 0; i < wild_instances; ++i) serve(wild[i], i);
  if (!tame.over) return;
  tame.partition.destroy();
  start(tame, hostile_test(), 1);
}

bool exists(const Wild& one) { return one.id != 0 && attempt(AMPHION_HC_STATS, one.id, bounce_page()).value == 0; }

void begin_again() {
  const u32 index = noise.below(wild_instances);
  if (noise.one_in(200) && exists(wild[index])) {
    attempt(AMPHION_HC_PAUSE, wild[index].id);
    return;
  }
  if (noise.one_in(400)) end_all_but_served();  // others have taken all numbers, or it hangs
  if (!exists(wild[index])) start(wild[index], index);
}

void fight(u32 ms) {
  for (const u64 end = counter() + ticks_of_us(ms * 1000); counter() < end && !victim.over;) {
    serve_all();
    begin_again();
    for (u32 n = noise.below(4); n != 0; --n) attack();
    rest();
  }
}

void see_victim_pass() {
  victim_may_end = true;
  const u64 late = counter() + ticks_of_us(patience_us);
  while (!victim.over && counter() < late) {
    serve_all();
    rest();
  }
  if (!victim.over || !victim.said.passed) {
    say("FAILED: the victim ", victim.over ? "was hurt" : "does not end");
    power_off();
  }
}

u32 free_pages() {
  must(AMPHION_HC_INFO, bounce_page());
  return bounced<amphion_info>().pool_free_pages;
}

void play(u32 round) {
  noise = Random(order.seed + round * 65537);
  operations_done = calls_made = 0;
  victim_may_end = false;
  const u32 free_before = free_pages();
  victim = {};
  tame = {};
  start(victim, victim_test(), 0);
  start(tame, hostile_test(), 1);
  fight(order.round_ms);
  see_victim_pass();
  end_all_but_served();
  victim.partition.destroy();
  const u32 tame_id = tame.partition.id();
  if (!tame.over) {
    attempt(AMPHION_HC_PAUSE, tame_id);  // refused if it has just ended itself, of which the event tells, too
    while (!tame.over) serve(tame, hostile_test()), rest();
  }
  must(AMPHION_HC_DESTROY, tame_id);
  CHECK_EQUAL(free_pages(), free_before);
  say("round ", round, ": ", operations_done, " operations, ", calls_made, " calls");
}

}  // namespace
}  // namespace amphion::lab

void guest_main() {
  using namespace amphion::lab;
  gic::init();
  gic::enable(amphion::board::qemu_virt.interrupts.amphion_event);
  gic::set_targets(amphion::board::qemu_virt.interrupts.amphion_event, 1);
  gic::enable(virtual_timer);
  for (u32 round = 0; round < order.rounds; ++round) play(round);
  say("fuzz over");
  power_off();
}
