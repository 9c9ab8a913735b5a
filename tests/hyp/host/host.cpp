// SPDX-License-Identifier: Apache-2.0
// A host instance that only tests: no Linux, so a suite of guests runs in seconds. It makes instances by the
// hypervisor's own hypercalls, runs the suite's guests in them one after another, answers their device accesses, and
// prints
//   test NAME / [NAME.INSTANCE] what the guest said / end NAME off|silent
// for tests/hyp/run.py. Interrupts stay masked: WFI ends all the same, and what came is looked at.
#include "board/qemu-virt/board.hpp"
#include "tests/hyp/host/before.hpp"
#include "tests/hyp/host/partition.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {
namespace {

constexpr u32 patience_us = 20'000'000;  // of silence
constexpr u32 pause_us = 2000;
constexpr u32 line_bytes = 120;

struct Running {
  Partition partition;
  char text[line_bytes + 1]{};
  u32 text_bytes = 0;
  u32 kept = 0;
  u32 allow_answer = 0;
  u32 spare_page = 0;
  u32 doorbells = 0;
  u32 rings = 0;
  u32 gift = 0;
  bool deaf = false;
  u32 shortages = 0;
  u32 accesses = 0;
  amphion_slot last{};
  bool moving = false;
  bool over = false;
};
Running running[most_instances];
u64 silent_at = 0;

void heard() {
  silent_at = counter() + ticks_of_us(patience_us);
  hyp::CntvCval::write(silent_at);
}

void flush_line(const Test& test, Running& one) {
  one.text[one.text_bytes] = '\0';
  one.text_bytes = 0;
  say("[", test.name, ".", one.partition.number(), "] ", static_cast<const char*>(one.text));
  heard();
}

void take_character(const Test& test, Running& one, char c) {
  if (c != '\n') one.text[one.text_bytes++] = c;
  if (c == '\n' || one.text_bytes == line_bytes) flush_line(test, one);
}

u32 stat(const Running& one, u32 register_address, u32 vcpu) {
  must(AMPHION_HC_STATS, one.partition.id(), bounce_page());
  const auto& stats = bounced<amphion_stats>();
  return register_address == exits ? static_cast<u32>(stats.exits[vcpu]) : stats.populated_pages;
}

u32 read(const Running& one, u32 address, u32 vcpu) {
  switch (address) {
    case echo_count:
      return one.accesses;
    case echo_address:
      return one.last.address;
    case echo_bytes:
      return one.last.bytes;
    case echo_write:
      return one.last.write;
    case echo_data:
      return one.last.data;
    case number:
      return one.partition.number();
    case kept:
      return one.kept;
    case allow:
      return one.allow_answer;
    case doorbell:
      return one.doorbells;
    case ring_count:
      return one.rings;
    case board_ticks:
      return static_cast<u32>(counter());
    case clean_pages:
      must(AMPHION_HC_INFO, bounce_page());
      return bounced<amphion_info>().pool_clean_pages;
    case shortages:
      return one.shortages;
    case exits:
    case populated:
      return stat(one, address, vcpu);
    default:
      return 0;
  }
}

void write(Running& one, u32 address, u32 data) {
  Partition& partition = one.partition;
  switch (address) {
    case kept:
      one.kept = data;
      return;
    case raise:
      return partition.set_line(data, true);
    case lower:
      return partition.set_line(data, false);
    case discard:
      must(AMPHION_HC_DISCARD, partition.id(), data, 1);
      return;
    case spare:
      one.spare_page = data;
      return;
    case allow:
      one.allow_answer = call(AMPHION_HC_ALLOW, partition.id(), data).value;
      return;
    case status:
      return partition.change_status(0, data);
    case deaf:
      one.deaf = data != 0;
      return;
    case type:
      one.gift = data - partition.give(data, gift);
      return;
    case pause:
    case quit:
      one.moving = address == pause;
      return partition.ask_pause();
    default:
      return;
  }
}

void serve_slot(Running& one, u32 vcpu, const amphion_slot& slot) {
  if (echo.contains(slot.address, slot.bytes)) {
    ++one.accesses;
    one.last = slot;
    return one.partition.complete(vcpu, pattern(slot.address));
  }
  if (slot.write != 0) write(one, slot.address, slot.data);
  one.partition.complete(vcpu, slot.write != 0 ? 0 : read(one, slot.address, vcpu));
}

void serve_rung(const Test& test, Running& one) {
  if (one.deaf) return;
  const u32 rung = one.partition.take_rung();
  if (rung == 0) return;
  ++one.rings;
  if ((rung & 1) != 0) one.doorbells |= one.partition.take_doorbell(0);
  if ((rung & AMPHION_RUNG_UART) == 0) return;
  const amphion_bytes& sent = one.partition.take_sent();
  char text[sizeof sent.data];
  const u32 count = sent.count;
  for (u32 i = 0; i < count; ++i) text[i] = static_cast<char>(sent.data[i]);
  for (u32 i = 0; i < count; ++i) take_character(test, one, text[i]);
  if (one.gift != 0) one.gift -= one.partition.give(one.gift, gift);
}

void serve_events(const Test& test, Running& one, u32 events) {
  if ((events & AMPHION_EVENT_OUT_OF_MEMORY) != 0) {
    ++one.shortages;
    must(AMPHION_HC_DISCARD, one.partition.id(), one.spare_page, 1);
  }
  if ((events & AMPHION_EVENT_SYSTEM_RESET) != 0) {
    const u32 which = one.partition.number();
    one.partition.destroy();
    one.partition.create(test, which);
    one.partition.run();
  } else if ((events & AMPHION_EVENT_PAUSED) != 0 && one.moving) {
    one.moving = false;
    spin_us(pause_us);
    one.partition.move(test);
    one.partition.run();
  } else if ((events & (AMPHION_EVENT_SYSTEM_OFF | AMPHION_EVENT_PAUSED)) != 0) {
    one.over = true;
  }
}

// Events first: what rang before an end is there when the end is.
void serve(const Test& test, Running& one) {
  const u32 events = one.partition.take_events();
  serve_rung(test, one);
  for (u32 vcpu = 0; vcpu < test.vcpus; ++vcpu) {
    if (const amphion_slot* slot = one.partition.pending(vcpu)) serve_slot(one, vcpu, *slot);
  }
  if (events != 0) serve_events(test, one, events);
}

void wait_for_news() {
  wait();
  for (u32 acknowledged; (acknowledged = gic::acknowledge()) < machine::irq_lines;) gic::end(acknowledged);
}

// True if all instances came to their end.
bool serve_until_over(const Test& test) {
  for (;;) {
    const u32 news = must(AMPHION_HC_EVENTS);
    bool over = true;
    for (u32 i = 0; i < test.instances; ++i) {
      if ((news >> running[i].partition.id() & 1) != 0) serve(test, running[i]);
      over = over && running[i].over;
    }
    if (over) return true;
    if (counter() > silent_at) return false;
    if (news == 0) wait_for_news();
  }
}

void run(const Test& test) {
  say("test ", test.name);
  heard();
  for (u32 i = 0; i < test.instances; ++i) {
    running[i] = {};
    running[i].partition.create(test, i);
  }
  for (u32 i = 0; i < test.instances; ++i) running[i].partition.run();
  const bool ended = serve_until_over(test);
  say("end ", test.name, ended ? " off" : " silent");
  if (!ended) power_off();  // nothing is known about what still runs
  for (u32 i = 0; i < test.instances; ++i) running[i].partition.destroy();
}

}  // namespace
}  // namespace amphion::lab

void guest_main() {
  using namespace amphion::lab;
  gic::init();
  gic::enable(amphion::board::qemu_virt.interrupts.amphion_event);
  gic::set_targets(amphion::board::qemu_virt.interrupts.amphion_event, 1);
  gic::enable(virtual_timer);
  heard();
  amphion::hyp::CntvCtl::write(1);
  before_suite();
  for (const Test& test : suite()) run(test);
  power_off();
}
