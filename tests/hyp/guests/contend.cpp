// SPDX-License-Identifier: Apache-2.0
// The instance under test of the experiments with the scheduler (tests/bench/sched/hyp.py): four vCPUs with a thread
// each, which do what sched/sim's models describe: compute with spin locks on the way, pass items through bounded
// queues, meet at barriers with active waiting. Runs one experiment after another, and says what each came to.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/counted_lock.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/experiment.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"
#include "tests/hyp/runtime/work.hpp"

using namespace amphion::lab;
using amphion::hyp::read32;

namespace {

constexpr u32 vcpus = amphion::machine::max_vcpus, most_locks = 16, doorbell_sgi = 5;
// Instructions of a lock and of drawing at random, which stand for computing: from the reading that begins a tenure to
// the release, and the rest.
constexpr u32 holding_overhead = 40, free_overhead = 60;

struct Statistics {
  u32 steps = 0;
  u64 barrier_ticks = 0;
  LockStatistics locks;
};

// A bounded queue between two stages. Who finds it empty or full sleeps until an interrupt. Items are only counted.
struct Pipe {
  CountedLock lock;
  u32 filled = 0;
  bool closed = false, pusher_sleeps = false, popper_sleeps = false;
};

struct Barrier {
  u32 arrived = 0, phase = 0;
  bool over = false;  // that was the last phase
};

Experiment experiment;
CountedLock locks[most_locks];
Pipe pipes[vcpus - 1];
Barrier barrier;
Statistics statistics[vcpus];
Random randoms[vcpus];
Window window;  // steps and time count in it; begun before, ended after
u32 ended = 0;

u32 less(u32 from, u32 what) { return from > what ? from - what : 0; }

void step(u32 vcpu) {
  Random& random = randoms[vcpu];
  u32 left = experiment.step + (experiment.step_more != 0 ? exponential(random, experiment.step_more) : 0);
  while (left != 0) {
    const u32 free = experiment.locks != 0 ? exponential(random, experiment.free) + 1 : left;
    if (free >= left) return compute(left);
    compute(less(free, free_overhead));
    const u32 holding = exponential(random, experiment.holding);
    CountedLock& lock = locks[random.below(experiment.locks)];
    lock.acquire(vcpu, statistics[vcpu].locks);
    compute(less(holding, holding_overhead));
    lock.release(statistics[vcpu].locks);
    left = less(left, free + holding);
  }
}

void count_step(u32 vcpu) { statistics[vcpu].steps += window.has(ticks_now()); }

bool time_is_over() { return window.is_over(ticks_now()); }

void step_until_end(u32 vcpu) {
  for (; !time_is_over(); count_step(vcpu)) step(vcpu);
}

void sleep_until_interrupt() {
  wait();
  for (u32 acknowledged; (acknowledged = gic::acknowledge()) != gic::none;) gic::end(acknowledged);
}

// Under the pipe's lock until `change` succeeds; `sleeps` tells the other side who is to be woken.
template <typename Change>
void change_pipe(u32 vcpu, Pipe& pipe, bool Pipe::*sleeps, bool Pipe::*other_sleeps, u32 other, Change change) {
  LockStatistics& counts = statistics[vcpu].locks;
  for (;;) {
    pipe.lock.acquire(vcpu, counts);
    const bool done = change(), wake = done && pipe.*other_sleeps;
    pipe.*sleeps = !done;
    if (wake) pipe.*other_sleeps = false;
    pipe.lock.release(counts);
    if (wake) gic::send(doorbell_sgi, 1u << other);
    if (done) return;
    sleep_until_interrupt();
  }
}

// False: nothing will come any more.
bool pop(u32 vcpu) {
  Pipe& pipe = pipes[vcpu - 1];
  bool got = false;
  change_pipe(vcpu, pipe, &Pipe::popper_sleeps, &Pipe::pusher_sleeps, vcpu - 1, [&] {
    got = pipe.filled != 0;
    if (got) --pipe.filled;
    return got || pipe.closed;
  });
  return got;
}

void push(u32 vcpu) {
  Pipe& pipe = pipes[vcpu];
  change_pipe(vcpu, pipe, &Pipe::pusher_sleeps, &Pipe::popper_sleeps, vcpu + 1, [&] {
    if (pipe.filled == experiment.capacity) return false;
    ++pipe.filled;
    return true;
  });
}

void close(u32 vcpu) {
  change_pipe(vcpu, pipes[vcpu], &Pipe::pusher_sleeps, &Pipe::popper_sleeps, vcpu + 1, [&] {
    pipes[vcpu].closed = true;
    return true;
  });
}

// vCPU n is stage n; what the last one gets done counts.
void stage(u32 vcpu) {
  gic::init();
  while (vcpu == 0 ? !time_is_over() : pop(vcpu)) {
    step(vcpu);
    vcpu != vcpus - 1 ? push(vcpu) : count_step(vcpu);
  }
  if (vcpu != vcpus - 1) close(vcpu);
}

// True: go on. The last to arrive decides for all.
bool meet(u32 vcpu) {
  const u32 phase = __atomic_load_n(&barrier.phase, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&barrier.arrived, 1, __ATOMIC_ACQ_REL) == vcpus) {
    barrier.arrived = 0;
    barrier.over = time_is_over();
    __atomic_store_n(&barrier.phase, phase + 1, __ATOMIC_RELEASE);
  } else {
    const u32 absence_ticks = static_cast<u32>(ticks_of_us(absence_us));
    for (u32 last = ticks_now(); __atomic_load_n(&barrier.phase, __ATOMIC_ACQUIRE) == phase;) {
      const u32 now = ticks_now();
      if (now - last <= absence_ticks && window.has(now)) statistics[vcpu].barrier_ticks += now - last;
      last = now;
    }
  }
  return !barrier.over;
}

void step_in_phases(u32 vcpu) {
  do {
    step(vcpu);
    count_step(vcpu);
  } while (meet(vcpu));
}

void work() {
  const u32 vcpu = vcpu_number();
  switch (experiment.work) {
    case Work::lock:
    case Work::ticket:
      step_until_end(vcpu);
      break;
    case Work::pipeline:
      stage(vcpu);
      break;
    case Work::barrier:
      step_in_phases(vcpu);
      break;
  }
  __atomic_add_fetch(&ended, 1, __ATOMIC_RELEASE);
}

// The first word is answered when all that stands beside this instance runs, the last when the window is chosen.
void prepare() {
  for (u32 n = 0; n < experiment_words; ++n) reinterpret_cast<u32*>(&experiment)[n] = read32(experiment_word(n));
  CHECK(experiment.locks <= most_locks && experiment.work <= Work::barrier);
  window.begins = read32(experiment_begins);
  window.ends = window.begins + static_cast<u32>(ticks_of_us(experiment.measured_us));
  for (CountedLock& lock : locks) lock = {}, lock.init(experiment.work == Work::ticket, window);
  for (Pipe& pipe : pipes) pipe = {}, pipe.lock.init(false, window);
  barrier = {};
  for (u32 vcpu = 0; vcpu < vcpus; ++vcpu) {
    statistics[vcpu] = {};
    randoms[vcpu] = Random(experiment.seed * 64 + 32 + vcpu);
  }
  ended = 0;
}

void tell(const char* name, u64 value) { say(" ", name, "=", static_cast<u32>(value)); }

void report() {
  Statistics all;
  LockStatistics& sum = all.locks;
  for (const Statistics& one : statistics) {
    all.steps += one.steps;
    all.barrier_ticks += one.barrier_ticks;
    sum.holdings += one.locks.holdings;
    sum.waits += one.locks.waits;
    sum.preempted += one.locks.preempted;
    sum.handed += one.locks.handed;
    sum.absent_ticks += one.locks.absent_ticks;
    sum.lost_ticks += one.locks.lost_ticks;
    sum.handed_ticks += one.locks.handed_ticks;
    sum.spun_ticks += one.locks.spun_ticks;
  }
  tell("steps", all.steps);
  tell("holdings", sum.holdings);
  tell("waits", sum.waits);
  tell("preempted", sum.preempted);
  tell("handed", sum.handed);
  tell("absent", sum.absent_ticks);
  tell("lost", sum.lost_ticks);
  tell("lost_to_next", sum.handed_ticks);
  tell("spun", sum.spun_ticks);
  tell("barrier", all.barrier_ticks);
}

}  // namespace

void guest_main() {
  for (;;) {
    prepare();
    for (u32 vcpu = 1; vcpu < vcpus; ++vcpu) CHECK_EQUAL(start_vcpu(vcpu, work), psci::success);
    work();
    while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) != vcpus) {
    }
    report();
    for (u32 vcpu = 1; vcpu < vcpus; ++vcpu) wait_until_off(vcpu);
  }
}
