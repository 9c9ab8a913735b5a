// SPDX-License-Identifier: Apache-2.0
// A host instance that carries out a plan of experiments with the scheduler (tests/bench/sched/hyp.py writes it, and
// reads what is printed here): for each it chooses the policy, lets as many other instances run as it asks for, and
// then answers the instance under test (guests/contend.cpp), which waits for that with a device access. All instances
// stand from the beginning; between experiments those beside are paused. On the Orange Pi's emulation CPUs must take
// turns often: that is what its timer 0 is for.
#include <span>

#include "hyp/this_board.hpp"
#include "tests/hyp/host/partition.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/experiment.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/random.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {
namespace {

const Plan& plan = *reinterpret_cast<const Plan*>(plan_base);
const Experiment* current = &plan.experiment[0];

struct Beside {
  Partition partition;
  bool is_hog = false;
  bool runs = false;
};
Partition subject;
u64 subject_zero = 0;        // of its counter, by this one
bool subject_waits = false;  // for the next experiment
u64 begins = 0;              // what is measured, by this counter; 0: the subject has not asked yet
Beside beside[most_instances - 1];
std::span<Beside> others;

// H3 user manual, timer 0: counts down from 48 at 24 MHz and begins again; its interrupt is masked. QEMU gives the next
// CPU its turn when a timer of the machine is due.
void start_turns_of_cpus() {
  constexpr u32 timer = 0x01c2'0c00, control = timer + 0x10, interval = timer + 0x14;
  constexpr u32 enable = 1u << 0, reload = 1u << 1, from_24_mhz = 1u << 2, period_2_us = 48;
  hyp::write32(timer, 0);
  hyp::write32(interval, period_2_us);
  hyp::write32(control, from_24_mhz | reload | enable);
}

void create_all() {
  u32 number = 0;
  for (const Test& test : suite()) {
    for (u32 i = 0; i < test.instances; ++i, ++number) {
      if (number == 0) {
        subject.create(test, number);
        continue;
      }
      beside[number - 1].partition.create(test, number);
      beside[number - 1].is_hog = &test == &suite()[1];
    }
  }
  others = std::span(beside).first(number - 1);
}

u32 word(u32 address) {
  const u32 n = (address - experiment_word(0)) / 4;
  return n < experiment_words ? reinterpret_cast<const u32*>(current)[n] : 0;
}

void serve_accesses(Partition& partition) {
  for (u32 vcpu = 0; vcpu < AMPHION_MAX_VCPUS; ++vcpu) {
    const amphion_slot* slot = partition.pending(vcpu);
    if (slot == nullptr) continue;
    if (&partition == &subject && slot->address == experiment_word(0)) {
      subject_waits = true;  // answered by carry_out()
    } else if (slot->address == experiment_begins) {
      begins = counter() + ticks_of_us(current->warm_up_us);
      partition.complete(vcpu, static_cast<u32>(begins - subject_zero));
    } else {
      partition.complete(vcpu, slot->address == number ? partition.number() : word(slot->address));
    }
  }
}

void print_sent() {
  const amphion_bytes& sent = subject.take_sent();
  for (u32 i = 0; i < sent.count; ++i) print(static_cast<char>(sent.data[i]));
}

void serve_subject() {
  if (subject.take_rung() != 0) print_sent();
  if (subject.take_events() != 0) FAIL("the instance under test ended");
  serve_accesses(subject);
}

template <typename Condition>
void serve_until(Condition condition) {
  while (!condition()) {
    const u32 news = must(AMPHION_HC_EVENTS);
    if ((news >> subject.id() & 1) != 0) serve_subject();
    for (Beside& one : others) {
      if ((news >> one.partition.id() & 1) == 0) continue;
      if ((one.partition.take_events() & AMPHION_EVENT_PAUSED) != 0) one.runs = false;
      serve_accesses(one.partition);
    }
    if (news != 0 || condition()) continue;
    wait();
    for (u32 acknowledged; (acknowledged = gic::acknowledge()) < machine::irq_lines;) {
      if (acknowledged == virtual_timer) hyp::CntvCtl::write(0);
      gic::end(acknowledged);
    }
  }
}

void serve_until_time(u64 at) {
  hyp::CntvCval::write(at);
  hyp::CntvCtl::write(1);
  serve_until([at] { return counter() >= at; });
  hyp::CntvCtl::write(0);
}

bool all_paused() {
  for (const Beside& one : others) {
    if (one.runs) return false;
  }
  return true;
}

void pause_others() {
  for (Beside& one : others) {
    if (one.runs) one.partition.ask_pause();
  }
  serve_until(all_paused);
}

void set_policy(const Experiment& experiment) {
  amphion_sched& wanted = bounced<amphion_sched>();
  wanted = {};
  wanted.policy = experiment.policy;
  wanted.threshold = experiment.threshold;
  wanted.latency_us = experiment.latency_us;
  wanted.granularity_us = experiment.granularity_us;
  must(AMPHION_HC_SCHED, bounce_page(), 1);
}

// Each begins at a moment of its own within the others' round.
void run_others(const Experiment& experiment) {
  Random random(experiment.seed);
  u32 hogs = experiment.hogs, daemons = experiment.daemons;
  for (Beside& one : others) {
    u32& left = one.is_hog ? hogs : daemons;
    if (left == 0) continue;
    --left;
    one.runs = true;
    one.partition.run();
    spin_us(random.below(experiment.latency_us));
  }
}

amphion_sched_cpu sum_over_cpus() {
  must(AMPHION_HC_SCHED, bounce_page(), 0);
  const amphion_sched& sched = bounced<amphion_sched>();
  amphion_sched_cpu sum{};
  for (u32 cpu = 0; cpu < sched.cpus; ++cpu) {
    sum.switches += sched.cpu[cpu].switches;
    sum.far += sched.cpu[cpu].far;
    sum.stackings_avoided += sched.cpu[cpu].stackings_avoided;
    sum.moved_away += sched.cpu[cpu].moved_away;
  }
  return sum;
}

void carry_out(const Experiment& experiment) {
  current = &experiment;
  set_policy(experiment);
  run_others(experiment);
  say("experiment ", experiment.number);
  subject_waits = false;
  begins = 0;
  subject.complete(0, experiment.number);
  serve_until([] { return begins != 0; });
  serve_until_time(begins);
  const amphion_sched_cpu before = sum_over_cpus();
  serve_until_time(begins + ticks_of_us(experiment.measured_us));
  const amphion_sched_cpu after = sum_over_cpus();
  serve_until([] { return subject_waits; });
  print_sent();  // what no notification has come for yet
  pause_others();
  say(" switches=", static_cast<u32>(after.switches - before.switches));
  say(" lends=", static_cast<u32>(after.far - before.far));
  say(" stackings_avoided=", static_cast<u32>(after.stackings_avoided - before.stackings_avoided));
  say(" moves=", static_cast<u32>(after.moved_away - before.moved_away));
  say("end ", experiment.number);
}

}  // namespace
}  // namespace amphion::lab

void guest_main() {
  using namespace amphion::lab;
  start_turns_of_cpus();
  gic::init();
  gic::enable(amphion::board::board.interrupts.amphion_event);
  gic::set_targets(amphion::board::board.interrupts.amphion_event, 1);
  gic::enable(virtual_timer);
  CHECK_EQUAL(plan.magic, plan_magic);
  create_all();
  subject_zero = counter();
  subject.run();
  serve_until([] { return subject_waits; });
  for (u32 n = 0; n < plan.count; ++n) carry_out(plan.experiment[n]);
  say("plan done");
  for (;;) wait();
}
